"""Twins with class labels: splits of few images, whose classes are as frequent as the real ones.

A twin shows that code runs and learns; a number measured on it says nothing about real images.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from medbook.data.entries import Arrays, Content
from medbook.data.twins.drawing import Array, Labels, seeded

COUNTS = {"train": 600, "val": 120, "test": 240}
FINEST = 56  # larger images repeat the pixels of smaller ones: quick to draw, little memory
Draw = Callable[[Generator, Labels, int], Array]
"""Images (N, H, W) or (N, C, H, W) in [0, 1], about, of labels and a size."""


def make(name: str, channels: int, shares: tuple[int, ...], draw: Draw, size: int) -> Content:
    """Generate the twin of a labelled set, the same on every call.

    Args:
        name: of the set; its random numbers follow from it.
        channels: of an image.
        shares: of the classes.
        draw: makes the images.
        size: side of the images in pixels.

    Returns:
        Images uint8 (N, C, H, W) and labels int64 (N,) by split, ``COUNTS`` images each.
    """
    repeat = max(size // FINEST, 1)
    splits: Content = {}
    for k, (split, n) in enumerate(COUNTS.items()):
        rng = seeded(name, k)
        labels = _labels(rng, shares, n)
        images = draw(rng, labels, size // repeat)
        images = images.reshape(n, channels, *images.shape[-2:])
        images = images * rng.uniform(0.8, 1.1, (n, 1, 1, 1))
        images += 0.01 * rng.standard_normal(images.shape)
        pixels = (np.clip(images, 0, 1) * 255).round().astype(np.uint8)
        splits[split] = Arrays(pixels.repeat(repeat, -1).repeat(repeat, -2), labels)
    return splits


def attributes(rng: Generator, labels: Labels, n_classes: int) -> tuple[Array, Array]:
    """Two attributes in [0, 1] that tell the classes apart: a point of a lattice, blurred."""
    side = int(np.ceil(np.sqrt(n_classes)))
    lattice = np.stack([labels % side, labels // side]) / max(side - 1, 1)
    first, second = np.clip(lattice + rng.normal(0, 0.3 / side, lattice.shape), 0, 1)
    return first[:, None, None], second[:, None, None]


def _labels(rng: Generator, shares: tuple[int, ...], n: int) -> Labels:
    """``n`` labels in random order with the given shares, at least one of each class."""
    exact = np.asarray(shares) / sum(shares) * n
    counts = np.maximum(exact.round().astype(int), 1)
    counts[np.argmax(counts)] += n - counts.sum()
    return rng.permutation(np.repeat(np.arange(len(shares)), counts))
