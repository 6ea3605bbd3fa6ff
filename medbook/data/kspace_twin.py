"""Procedural twin of measured k-space: a drawn head, smooth coils and the same kind of mask.

Rounded, so that its bytes are the same on every machine.
"""

import zlib

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from medbook.data.brain_twin import T1, brain, scalp
from medbook.data.drawing import Array, grid
from medbook.data.entries import KSpaceInfo
from medbook.data.kspace_files import Measured

NEAREST, SPACING = 0.5, 2.6  # distance of points at the centre, its growth to the edge; pixels
NOISE = 0.0125  # standard deviation of real and imaginary part; the image's maximum is 1
GRID = 2.0**-16


def _head(rng: Generator, shape: tuple[int, int]) -> tuple[NDArray[np.complex128], Array, Array]:
    """A slice with a smooth phase (H, W), and its coordinates y and x; H >= W."""
    side, cut = shape[0], (shape[0] - shape[1]) // 2
    y, x = grid(rng, 1, side, 0.02, 0.02)
    reach = np.ones((1, 1, 1))
    image = brain(rng, y, x, reach, T1) + scalp(y, x, reach)
    image, y, x = (a[0, :, cut : cut + shape[1]] for a in (image, y, x))
    return image * np.exp(1j * (0.6 * y - 0.4 * x + 0.5 * x * y)), y, x


def _coils(n: int, y: Array, x: Array) -> NDArray[np.complex128]:
    """Maps (n, H, W) of coils in a ring around the head, each with a phase of its own."""
    angle = 2 * np.pi * (np.arange(n)[:, None, None] + 0.5) / n
    distance = np.hypot(y - np.cos(angle), x - 0.85 * np.sin(angle))
    return np.exp(-((distance / 0.9) ** 2) + 1j * (angle + 0.7 * distance))


def _mask(rng: Generator, shape: tuple[int, int], calibration: int) -> NDArray[np.bool_]:
    """Points in an ellipse, sparser outwards and none too near another, and a full square.

    Poisson-disc sampling: each cell of the grid has a random place in it; the cells come in random
    order, and one is taken if none before it has its place nearer than a radius that grows with the
    distance from the zero frequency.
    """
    height, width = shape
    y, x = np.indices(shape) + rng.uniform(-0.5, 0.5, (2, *shape))
    far = np.hypot((y - height // 2) / (height / 2), (x - width // 2) / (width / 2))
    radius = NEAREST + SPACING * far
    reach, mask = int(radius.max()) + 1, np.zeros(shape, bool)
    for i, j in rng.permutation(np.argwhere(far < 1)):
        here = np.s_[max(i - reach, 0) : i + reach + 1, max(j - reach, 0) : j + reach + 1]
        distance = np.hypot(y[here][mask[here]] - y[i, j], x[here][mask[here]] - x[i, j])
        mask[i, j] = (distance >= radius[i, j]).all()
    top, left = height // 2 - calibration // 2, width // 2 - calibration // 2
    mask[top : top + calibration, left : left + calibration] = True
    return mask


def make(entry: KSpaceInfo) -> Measured:
    """Generate the twin of a set of k-space (C, H, W), the same on every call.

    Args:
        entry: its entry in the registry.

    >>> from medbook.data.kspace_files import KSPACES
    >>> make(KSPACES["mri_brain_8coil"]).shape
    (8, 230, 180)
    """
    rng = np.random.default_rng(zlib.crc32(entry.name.encode()))
    image, y, x = _head(rng, entry.shape)
    coils = _coils(entry.channels, y, x) * image
    coils /= np.sqrt((np.abs(coils) ** 2).sum(0)).max()
    axes = (-2, -1)
    full = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(coils, axes=axes), norm="ortho"), axes=axes)
    noise = rng.standard_normal((2, *full.shape))
    noisy = full + NOISE * (noise[0] + 1j * noise[1])
    kspace = noisy * _mask(rng, entry.shape, entry.calibration)
    return (np.round(kspace / GRID) * GRID).astype(np.complex64)
