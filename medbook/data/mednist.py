"""Read the subset of MedNIST: 1,500 images of each of its six classes.

There is no official split. Neighbouring file numbers may be slices of one patient, so each class
is cut into contiguous blocks of its sorted files (train 60 %, val 20 %, test 20 %): a random split
would put slices of one patient on both sides. A patient at the border of two blocks may still be
in both.
"""

import io
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medbook.data.medmnist_files import Arrays
from medbook.data.sources import cache_folder, file_hash


def _decode(path: Path, size: int, classes: Sequence[str]) -> NDArray[np.uint8]:
    """Images (class, number, H, W) in the order of the file names; ``reduce`` averages blocks."""
    with zipfile.ZipFile(path) as archive:
        members = sorted(name for name in archive.namelist() if name.endswith(".jpeg"))
        jpegs = [Image.open(io.BytesIO(archive.read(name))).convert("L") for name in members]
    images = np.stack([np.asarray(jpeg.reduce(jpeg.width // size)) for jpeg in jpegs])
    folders = np.array([name.split("/")[0] for name in members])
    return np.stack([images[folders == label] for label in classes])


def _store(target: Path, images: NDArray[np.uint8]) -> None:
    """Write atomically; a cache that cannot be written only costs the next load some seconds."""
    with suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            np.savez(Path(folder, "images.npz"), images=images)
            Path(folder, "images.npz").replace(target)


def _decoded(path: Path, size: int, classes: Sequence[str]) -> NDArray[np.uint8]:
    """Decoded images, from the user's cache where the same archive was decoded before."""
    target = cache_folder() / "mednist" / f"decoded_{file_hash(path)}_{size}.npz"
    try:
        with np.load(target, allow_pickle=False) as file:
            return file["images"]  # a damaged copy fails the CRC of the zip and is made anew
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        images = _decode(path, size, classes)
        _store(target, images)
        return images


def read(path: Path, size: int, classes: Sequence[str]) -> Arrays:
    """Read the archive and split each class into blocks of neighbouring files.

    Args:
        path: zip with members ``CLASS/NUMBER.jpeg`` of 64x64 grey pixels.
        size: 64, or 32 for the average of 2x2 pixels.
        classes: folder names in label order.
    """
    images = _decoded(path, size, classes)
    n = images.shape[1]
    cuts = {"train": (0, n * 3 // 5), "val": (n * 3 // 5, n * 4 // 5), "test": (n * 4 // 5, n)}
    return {
        split: (
            images[:, start:stop].reshape(-1, 1, size, size),
            np.repeat(np.arange(len(classes)), stop - start),
        )
        for split, (start, stop) in cuts.items()
    }
