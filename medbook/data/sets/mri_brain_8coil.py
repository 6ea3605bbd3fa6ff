"""Measured k-space of one head slice, 8 coils, undersampled; there is no reference.

The zero frequency is at ``(H // 2, W // 2)``; the image of a coil is the centred orthonormal
inverse transform (ifftshift, ifft2, fftshift).
"""

import math
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from medbook.data.entries import Arrays, Card, Content, Entry, File
from medbook.data.twins.brain import T1, brain, scalp
from medbook.data.twins.drawing import Array, grid, seeded

COILS, SHAPE, CALIBRATION = 8, (230, 180), 24
COMMIT = "b21dcdcfac8557ebb4c2bda1e9faf2cb1e1b6a33"
FILE = File(
    "mri_brain_8coil/cartesian_ksp.npy",
    "sha256:bcfd07b767d26602bfccd08329321be57d500dc3f6b208cccddeb59162573045",
    (
        "https://raw.githubusercontent.com/mikgroup/sigpy-mri-tutorial/"
        f"{COMMIT}/data/cartesian_ksp.npy",
    ),
)
NEAREST, SPACING = 0.5, 2.6  # distance of points at the centre, its growth to the edge; pixels
NOISE = 0.0125  # standard deviation of real and imaginary part; the image's maximum is 1
GRID = 2.0**-16


def read(paths: list[Path], size: int) -> Content:
    """The complex conjugate of the stored k-space, which has the front of the head on top.

    The file has it at the bottom. Conjugating k-space turns the image by half a turn about its
    pixel (H // 2, W // 2) and conjugates it, and leaves every point where it was measured. It does
    not mirror the head, but which side is the patient's right is not stated.

    Raises:
        ValueError: not an array of complex numbers (C, H, W).
    """
    (path,) = paths
    stored = np.load(path, allow_pickle=False)
    if stored.ndim != 3 or stored.dtype != np.complex64:
        raise ValueError(f"expected complex64 (C, H, W), found {stored.dtype} {stored.shape}")
    return {"all": Arrays(stored.conj()[None])}


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


def twin(size: int) -> Content:
    """A drawn head, smooth coils and the same kind of sampling."""
    rng = seeded("mri_brain_8coil")
    image, y, x = _head(rng, SHAPE)
    coils = _coils(COILS, y, x) * image
    coils /= np.sqrt((np.abs(coils) ** 2).sum(0)).max()
    axes = (-2, -1)
    full = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(coils, axes=axes), norm="ortho"), axes=axes)
    noise = rng.standard_normal((2, *full.shape))
    noisy = full + NOISE * (noise[0] + 1j * noise[1])
    kspace = noisy * _mask(rng, SHAPE, CALIBRATION)
    return {"all": Arrays((np.round(kspace / GRID) * GRID).astype(np.complex64)[None])}


ENTRY = Entry(
    name="mri_brain_8coil",
    unit="slice (one)",
    licence="BSD-3-Clause",
    origin="data/cartesian_ksp.npy of github.com/mikgroup/sigpy-mri-tutorial",
    credit="8-coil brain k-space: SigPy MRI tutorial, mikgroup, UC Berkeley, "
    "github.com/mikgroup/sigpy-mri-tutorial; BSD-3-Clause; turned by half a turn",
    channels=COILS,
    collections=frozenset({"SigPy MRI tutorial"}),
    files={SHAPE[0]: FILE},
    read=read,
    twin=twin,
    card=Card(
        image=(
            "measured k-space of one axial slice of a head, 8 coils, 230 x 180 points, "
            "front of the head on top after conjugation; a centred square of 24 points is "
            "complete, and around it the points of an ellipse are sampled the sparser the "
            "farther out"
        ),
        splits={"all": 1},
        split_by="not split; one slice has no reference to compare a reconstruction with",
        people="one person; nothing else is stated",
        artefacts="eightfold undersampled; which side is the right is not stated",
        labels="none",
        twin=("a drawn head seen by eight smooth coils, with noise, and the same kind of sampling"),
    ),
    value_unit="arbitrary unit",
    value_range=(-math.inf, math.inf),
    calibration=CALIBRATION,
)
