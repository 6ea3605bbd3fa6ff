"""Drawn heads: axial slices of a brain, in the contrast asked for, for the twins of MR images."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from medbook.data.twins.drawing import Array, ellipse, grain, step


class Contrast(NamedTuple):
    """Brightness of the tissues, in [0, 1]."""

    white: float
    grey: float
    fluid: float


T1 = Contrast(white=0.8, grey=0.52, fluid=0.12)
T2 = Contrast(white=0.42, grey=0.56, fluid=0.95)


def brain(rng: Generator, y: Array, x: Array, reach: Array, contrast: Contrast) -> Array:
    """Slices of a brain without skull, black around it, the front on top.

    Args:
        rng: folds and texture come from it.
        y: coordinate down (n, h, h), the brain being 1.32 long.
        x: coordinate to the right, the brain being 1.06 wide.
        reach: factor on its length and width (n, 1, 1); below 0.9 the nuclei are missing.
        contrast: brightness of the tissues.
    """
    n, size = y.shape[:2]
    folds = grain(rng, n, size, 0.06, 0.06)
    depth = 1 + 0.02 * folds - np.hypot(y / (0.66 * reach), x / (0.53 * reach))
    side = np.abs(x)
    cortex = step(0.16 + 0.12 * folds - depth, 0.04)
    nuclei = ellipse(y, side - 0.15, 0.17, 0.07) * step(reach - 0.9, 0.03)
    horns = ellipse(y + 0.17, side - 0.06 + 0.2 * y, 0.12, 0.03)
    atria = ellipse(y - 0.2, side - 0.12 - 0.2 * y, 0.12, 0.035)
    sulci = step(folds - 1.6, 0.2) * step(0.2 - depth, 0.04)
    fissure = np.exp(-((x / 0.012) ** 2)) * step(np.abs(y) - 0.33 * reach, 0.03)
    grey, fluid = np.maximum(cortex, nuclei), np.maximum.reduce([horns, atria, sulci, fissure])
    image = contrast.white + (contrast.grey - contrast.white) * grey
    image = image + (contrast.fluid - image) * fluid
    image = image * (1 + 0.04 * grain(rng, n, size, 0.03, 0.03))
    return np.clip(image, 0, 1) * (depth > 0)


def scalp(y: Array, x: Array, reach: Array) -> Array:
    """The bright ring around the dark skull of the same head."""
    ring = np.hypot(y / (0.66 * reach), x / (0.53 * reach))
    return np.exp(-(((ring - 1.17) / 0.045) ** 2))
