"""Shapes that twins are drawn with: batches of masks in [0, 1] and smooth noise, in float64.

Rounded in the end to whole numbers, they are the same bytes on every machine.
"""

import zlib

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float64]
Number = float | NDArray[np.float64]
Labels = NDArray[np.int64]
COARSE = 128  # pixels that the shapes of large images are drawn with at most


def seeded(name: str, *more: int) -> Generator:
    """The random numbers of a twin, by its name: no other twin changes them.

    >>> seeded("fundus").random() == seeded("fundus").random() != seeded("mednist").random()
    True
    """
    words = zlib.crc32(name.encode())
    return np.random.default_rng([words, *more] if more else words)


def u(rng: Generator, n: int, low: float, high: float) -> Array:
    """Uniform random numbers, one for each of ``n`` images (n, 1, 1)."""
    return rng.uniform(low, high, (n, 1, 1))


def step(x: Array, width: float) -> Array:
    """Smooth step from 0 (x < 0) to 1 (x > 0)."""
    return 0.5 + 0.5 * np.tanh(x / width)


def grid(rng: Generator, n: int, size: int, shift: float, zoom: float) -> tuple[Array, Array]:
    """Coordinates y (down) and x (right) in [-1, 1], shifted and zoomed at random."""
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    scale = u(rng, n, 1 - zoom, 1 + zoom)
    y = (axis[:, None] + u(rng, n, -shift, shift)) * scale
    x = (axis[None, :] + u(rng, n, -shift, shift)) * scale
    return np.broadcast_to(y, (n, size, size)), np.broadcast_to(x, (n, size, size))


def ellipse(y: Array, x: Array, ry: Number, rx: Number, edge: float = 0.1) -> Array:
    """Mask in [0, 1] of an ellipse around the origin of y, x with half axes ry, rx."""
    return step(1 - np.hypot(y / ry, x / rx), edge)


def grain(rng: Generator, n: int, size: int, height: float, width: float) -> Array:
    """Smooth noise of unit variance; height and width of its grains, the image being 2 wide."""
    from scipy.ndimage import gaussian_filter  # its import is slow, and few runs need a twin

    sigma = np.maximum([height, width], 1e-3) * size / 4
    noise = gaussian_filter(rng.standard_normal((n, size, size)), (0, *sigma), mode="wrap")
    return noise / noise.std()


def blob(rng: Generator, y: Array, x: Array, radius: Array, rough: Array | float) -> Array:
    """Mask of a round shape with a wavy outline."""
    theta, outline = np.arctan2(y, x), np.ones_like(y)
    for k in (2, 3, 5):
        wave = np.cos(k * theta + u(rng, len(y), 0, 2 * np.pi))
        outline += rough * u(rng, len(y), 0, 1.6) * wave
    return step(radius * outline - np.hypot(y, x), 0.1)


def enlarged(images: Array, size: int) -> Array:
    """Images (..., h, h) brought to a larger size by linear interpolation."""
    h = images.shape[-1]
    at = np.clip((np.arange(size) + 0.5) * h / size - 0.5, 0, h - 1)
    hats = np.maximum(1 - np.abs(at[:, None] - np.arange(h)), 0)  # (size, h)
    return hats @ images @ hats.T


def fitted(images: Array, size: int) -> Array:
    """Images (n, 128, 128) made smaller by averaging over blocks, or enlarged."""
    n, k = len(images), COARSE // size
    return images.reshape(n, size, k, size, k).mean((2, 4)) if k else enlarged(images, size)


def grey_values(rng: Generator, images: Array, size: int) -> NDArray[np.float32]:
    """Whole grey values 0 to 255 of images whose shapes are in [0, 1]."""
    large = enlarged(images, size)
    large = large + 0.01 * rng.standard_normal(large.shape)
    return (np.clip(large, 0, 1) * 255).round().astype(np.float32)
