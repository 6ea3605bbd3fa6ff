"""Grey images of one object in speckle, for the twins of several sets."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from medbook.data.twins.drawing import Array, Labels, blob, grain, grid, step, u
from medbook.data.twins.labelled import attributes


class Grey(NamedTuple):
    """Grey level and its fall with depth; contrast of the object; neighbours, speckle, layer."""

    level: float
    fall: float = 0.0
    contrast: float = 0.4
    neighbours: float = 0.0
    speckle: float = 0.1
    layer: float = 0.0


ORGAN = Grey(level=0.25, contrast=0.4, neighbours=0.15, speckle=0.06)


def grey(rng: Generator, labels: Labels, size: int, look: Grey, classes: int) -> Array:
    """An object in speckle; its class is in its outline (first attribute) and contrast."""
    level, fall, contrast, neighbours, speckle, layer = look
    n = len(labels)
    form, tone = attributes(rng, labels, classes)
    y, x = grid(rng, n, size, 0.25, 0.2)
    tall = np.exp(0.3 - 0.7 * form)  # a first attribute of 0 is taller than wide, and rough
    mask = blob(rng, y / tall, x * tall, u(rng, n, 0.3, 0.55), 0.2 * (1 - form))
    curve = y - 0.2 * np.cos(2 * x) + 0.05 * grain(rng, n, size, 1, 0.5)
    ground = level - fall * np.clip(y, -0.5, 1) + layer * np.exp(-((curve / 0.2) ** 2))
    ground = ground + neighbours * step(grain(rng, n, size, 0.4, 0.4) - 0.4, 0.2)
    inside = level + contrast * (0.5 + 0.8 * tone) * u(rng, n, 0.6, 1.2)
    image = ground + (inside - ground) * mask
    grains = grain(rng, n, size, 0.08, 0.2) + 0.5 * grain(rng, n, size, 0.2, 0.5)
    return image * (1 + speckle * grains) * u(rng, n, 0.8, 1.2)
