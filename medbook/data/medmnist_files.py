"""Read the official MedMNIST 2D files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]
"""Images (N, C, H, W) and labels (N,) of the splits ``train``, ``val`` and ``test``."""


def channels_first(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring grey (N, H, W) or colour (N, H, W, 3) images to (N, C, H, W).

    >>> channels_first(np.zeros((5, 28, 28, 3), np.uint8)).shape
    (5, 3, 28, 28)
    """
    return images[:, None] if images.ndim == 3 else np.moveaxis(images, -1, 1)


def read(path: Path) -> Arrays:
    """Read the three splits of a MedMNIST file; pickled objects are refused.

    Raises:
        ValueError, KeyError: not a file of the MedMNIST layout.
    """
    with np.load(path, allow_pickle=False) as file:
        return {
            split: (
                channels_first(file[f"{split}_images"]),
                file[f"{split}_labels"].reshape(-1).astype(np.int64),
            )
            for split in ("train", "val", "test")
        }
