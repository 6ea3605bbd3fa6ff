"""Procedural twins of the image sets: the same kind of picture and values, fewer of them.

Drawn coarsely and enlarged smoothly, so that large images are quick; noise is added to each pixel
at full size. Computed in float64 and rounded to whole numbers, which are the same everywhere.
"""

import zlib
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from medbook.data.brain_twin import T1, T2, brain
from medbook.data.drawing import Array, Number, ellipse, grain, grid, step
from medbook.data.entries import ImageInfo
from medbook.data.image_files import Pictures
from medbook.data.registry import info
from medbook.data.twins import chest, colour

_COARSE = 128  # pixels that shapes are drawn with at most


def _enlarged(images: Array, size: int) -> Array:
    """Images (..., h, h) brought to a larger size by linear interpolation."""
    h = images.shape[-1]
    at = np.clip((np.arange(size) + 0.5) * h / size - 0.5, 0, h - 1)
    hats = np.maximum(1 - np.abs(at[:, None] - np.arange(h)), 0)  # (size, h)
    return hats @ images @ hats.T


def _put(image: Array, mask: Array, value: Number) -> Array:
    """Image with a value where the mask is 1."""
    return image + (value - image) * mask


def _chest_ct(rng: Generator, size: int) -> Pictures:
    """Axial slices of one drawn patient from liver to neck in HU; the liver is at the left."""
    n, coarse = (24, 4)[size == 512], min(size, _COARSE)
    y, x = grid(rng, n, coarse, 0.0, 0.0)
    height = np.linspace(0, 1, n)[:, None, None]
    body = ellipse(y, x, 0.62 - 0.1 * height, 0.88 - 0.2 * height, 0.02)
    flesh = ellipse(y, x, 0.56 - 0.1 * height, 0.8 - 0.2 * height, 0.03)
    reach = np.sqrt(1.02 - height) * (0.75 + 0.3 * np.minimum(3 * height, 1))  # of the lungs
    lungs = ellipse(y + 0.02, np.abs(x) - 0.38, 0.42 * reach, 0.27 * reach, 0.05)
    heart = ellipse(y + 0.14, x - 0.12, 0.26, 0.3, 0.06) * step(0.45 - np.abs(height - 0.35), 0.1)
    liver = ellipse(y + 0.08, x + 0.36, 0.4, 0.34, 0.05) * step(0.25 - height, 0.05)
    vessels = step(grain(rng, n, coarse, 0.04, 0.04) - 1.8, 0.3)
    ring = np.hypot(y / (0.52 - 0.1 * height), x / (0.74 - 0.2 * height))
    angle = np.arctan2(y, x)
    ribs = np.exp(-(((ring - 1) / 0.05) ** 2)) * step(np.cos(9 * angle + 14 * height) - 0.2, 0.3)
    bone = np.maximum(ribs, ellipse(y - 0.36, x, 0.12, 0.13, 0.1))
    bone = np.maximum(bone, ellipse(y - 0.5, x, 0.1, 0.04, 0.2))
    table = np.exp(-(((y - 0.8 + 0.15 * x**2) / 0.02) ** 2)) * (np.abs(x) < 0.7)
    image = _put(np.full_like(y, -1000.0), body, -100 + 8 * grain(rng, n, coarse, 0.2, 0.2))
    image = _put(image, flesh, 45 + 10 * grain(rng, n, coarse, 0.1, 0.1))
    image = _put(image, lungs, -860 + 25 * grain(rng, n, coarse, 0.3, 0.3) + 700 * vessels)
    image = _put(_put(image, liver, 60.0), heart, 40.0)
    image = _put(_put(image, bone, 500.0), ellipse(y - 0.46, x, 0.04, 0.04, 0.2), 30.0)  # canal
    image = _enlarged(image + 600 * table, size) + 15 * rng.standard_normal((n, size, size))
    hu = np.clip(image, -1024, 3071).round()[:, None].astype(np.float32)
    return Pictures(hu, np.zeros(n, np.int64))


def _chest_xray(rng: Generator, size: int) -> Pictures:
    """X-rays of 12 drawn patients, some with two; every fourth image lacks its mask."""
    n = 16
    images, lungs = chest(rng, rng.integers(0, 2, n), min(size, _COARSE))
    masks = (_enlarged(lungs, size) > 0.5)[:, None]
    masks[::4] = False
    return Pictures(_grey(rng, images, size)[:, None], np.arange(n) * 3 // 4, masks)


def _fundus(rng: Generator, size: int) -> Pictures:
    """One drawn eye: a reddish disc with a bright spot."""
    drawn = colour(rng, np.array([1]), _COARSE, info("retinamnist"))
    return Pictures(_grey(rng, drawn, size), np.zeros(1, np.int64))


def _phase_contrast(rng: Generator, size: int) -> Pictures:
    """One drawn field in 7 planes of 2 x 2 crops: cells with halos, sharpest in the middle."""
    from scipy.ndimage import gaussian_filter  # its import is slow, and few runs need a twin

    cells = step(grain(rng, 1, 2 * size, 0.05, 0.05) - 1.2, 0.3)[0]
    threads = np.exp(-((grain(rng, 1, 2 * size, 0.12, 0.12)[0] / 0.08) ** 2))
    optical = cells + 0.4 * threads
    halo = gaussian_filter(optical, 0.03 * size, mode="wrap")
    blurs = [0.5 + 0.8 * abs(plane - 3) for plane in range(7)]
    planes = np.stack([gaussian_filter(optical, sigma, mode="wrap") for sigma in blurs])
    field = 0.5 + 0.5 * (halo - planes) + 0.02 * rng.standard_normal(planes.shape)
    values = (np.clip(field, 0, 1) * 65535).round() / 257
    crops = values.reshape(7, 2, size, 2, size).swapaxes(2, 3).reshape(-1, 1, size, size)
    return Pictures(crops.astype(np.float32), np.zeros(len(crops), np.int64))


def _brain_slices(rng: Generator, size: int) -> Pictures:
    """Slices of six drawn brains in T1 contrast."""
    y, x = grid(rng, 6, _COARSE, 0.08, 0.06)
    drawn = _fitted(brain(rng, y, x, np.ones((6, 1, 1)), T1), size) * 255
    return Pictures(drawn.round()[:, None].astype(np.float32), np.arange(6))


def _brain_volume(rng: Generator, size: int) -> Pictures:
    """Slices of one drawn brain from its base upwards, fluid bright."""
    y, x = grid(rng, 12, _COARSE, 0.0, 0.0)
    height = np.linspace(-0.6, 0.7, 12)[:, None, None]
    drawn = _fitted(brain(rng, y, x, np.sqrt(1 - height**2), T2), size) * 1162
    return Pictures(drawn.round()[:, None].astype(np.float32), np.zeros(12, np.int64))


def _fitted(images: Array, size: int) -> Array:
    """Images (n, 128, 128) made smaller by averaging over blocks, or enlarged."""
    n, k = len(images), _COARSE // size
    return images.reshape(n, size, k, size, k).mean((2, 4)) if k else _enlarged(images, size)


def _grey(rng: Generator, images: Array, size: int) -> NDArray[np.float32]:
    """Whole grey values 0 to 255 of images whose shapes are in [0, 1]."""
    large = _enlarged(images, size)
    large = large + 0.01 * rng.standard_normal(large.shape)
    return (np.clip(large, 0, 1) * 255).round().astype(np.float32)


_DRAW: dict[str, Callable[[Generator, int], Pictures]] = {
    "chest_ct_lidc": _chest_ct,
    "chest_xray_lungs": _chest_xray,
    "fundus": _fundus,
    "mri_brain_slices": _brain_slices,
    "mri_brain_volume": _brain_volume,
    "phase_contrast": _phase_contrast,
}


def make(entry: ImageInfo, size: int) -> Pictures:
    """Generate the twin of an image set, the same on every call.

    Args:
        entry: its entry in the registry.
        size: side of the images in pixels.

    >>> from medbook.data.registry import image_info
    >>> make(image_info("chest_ct_lidc"), 64).images.shape
    (24, 1, 64, 64)
    """
    rng = np.random.default_rng(zlib.crc32(entry.name.encode()))
    return _DRAW[entry.name](rng, size)
