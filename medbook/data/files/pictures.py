"""What readers of single images and volumes share: orientation, means over blocks, one group."""

import numpy as np
from numpy.typing import NDArray

from medbook.data.entries import Arrays, Content


def of_one(images: NDArray[np.floating]) -> Content:
    """Images (N, C, H, W) of one patient, eye or field."""
    groups = np.zeros(len(images), np.int64)
    return {"all": Arrays(images.astype(np.float32), groups=groups)}


def seen_from_the_feet(slices: NDArray) -> NDArray:
    """Slices (N, left, front) with the front on top and the patient's right at the left."""
    return np.flip(slices, 2).swapaxes(1, 2)


def averaged(images: NDArray, size: int) -> NDArray[np.floating]:
    """Means of square blocks of pixels: (N, H, H) to (N, size, size).

    >>> averaged(np.arange(4.0).reshape(1, 2, 2), 1)
    array([[[1.5]]])
    """
    blocks = images.reshape(len(images), size, images.shape[1] // size, size, -1)
    return blocks.mean((2, 4))
