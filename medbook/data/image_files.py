"""Read the files of the image sets."""

import csv
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


class Pictures(NamedTuple):
    """Images float32 (N, C, H, W), groups int64 (N,), masks bool (N, 1, H, W) or None."""

    images: NDArray[np.float32]
    groups: NDArray[np.int64]
    masks: NDArray[np.bool_] | None = None


def _of_one(images: NDArray[np.floating]) -> Pictures:
    """Images of one patient, eye or field."""
    return Pictures(images.astype(np.float32), np.zeros(len(images), np.int64))


def chest_ct(path: Path, size: int) -> Pictures:
    """Axial slices in HU from the feet to the head: front on top, the patient's right at the left.

    Args:
        path: the volume (256 pixels, axes to the patient's left, front and head), or the npz of
            full-resolution slices with the first two axes.
        size: side in pixels; smaller ones are means of square blocks of pixels.
    """
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            slices = file["hu"]
    else:
        import nibabel  # its import is slow, and few runs need it

        slices = np.moveaxis(np.asarray(nibabel.nifti1.load(path).dataobj), 2, 0)
    return _of_one(_averaged(_seen_from_the_feet(slices), size)[:, None])


def _seen_from_the_feet(slices: NDArray) -> NDArray:
    """Slices (N, left, front) with the front on top and the patient's right at the left."""
    return np.flip(slices, 2).swapaxes(1, 2)


def _averaged(images: NDArray, size: int) -> NDArray[np.floating]:
    """Means of square blocks of pixels: (N, H, H) to (N, size, size)."""
    blocks = images.reshape(len(images), size, images.shape[1] // size, size, -1)
    return blocks.mean((2, 4))


def brain_slices(*paths: Path, size: int) -> Pictures:
    """One grey image of 256 pixels a file, each a group; smaller ones are means of square blocks.

    Args:
        paths: of the images, the front on top.
        size: side in pixels.
    """
    slices = []
    for path in paths:
        with Image.open(path) as picture:
            slices.append(np.asarray(picture.convert("L")))
    images = _averaged(np.stack(slices), size)[:, None].astype(np.float32)
    return Pictures(images, np.arange(len(images)))


def brain_volume(path: Path, size: int) -> Pictures:
    """Axial slices of the first time point, black rows added above and below to make them square.

    Seen like the slices of ``chest_ct``.

    Args:
        path: four-dimensional volume (128, 96, slices, times) with axes to the patient's left,
            front and head.
        size: side in pixels; smaller ones are means of square blocks of pixels.
    """
    import nibabel  # its import is slow, and few runs need it

    volume = np.asarray(nibabel.nifti1.load(path).dataobj)[..., 0]
    seen = _seen_from_the_feet(np.moveaxis(volume, 2, 0))
    edge = (seen.shape[2] - seen.shape[1]) // 2
    return _of_one(_averaged(np.pad(seen, ((0, 0), (edge, edge), (0, 0))), size)[:, None])


def chest_xray(path: Path, size: int) -> Pictures:
    """X-rays and lung masks in the order of ``labels.csv``; a group is a patient by file name.

    Args:
        path: zip of 8-bit grey images whose long side has 512 pixels, masks and ``labels.csv``.
        size: side in pixels; 512 is the whole image on black, smaller ones are its centre square.
    """
    with zipfile.ZipFile(path) as archive:
        rows = list(csv.DictReader(archive.read("labels.csv").decode().splitlines()))
        images = np.stack([_square(_open(archive, row["image"]), size) for row in rows])
        masks = np.stack([_square(_open(archive, row["lung_mask"]), size) for row in rows]) > 127
    patients = [re.findall(r"(?:NORMAL2-)?IM-\d+|person\d+", row["image"])[0] for row in rows]
    groups = np.unique(patients, return_inverse=True)[1].astype(np.int64)
    return Pictures(images[:, None].astype(np.float32), groups, masks[:, None])


def _open(archive: zipfile.ZipFile, member: str) -> Image.Image:
    """A grey image of the archive; black where an image has no mask."""
    if not member:
        return Image.new("L", (1, 1))
    return Image.open(io.BytesIO(archive.read(member))).convert("L")


def _square(picture: Image.Image, size: int) -> NDArray[np.uint8]:
    shape = ImageOps.pad if size == 512 else ImageOps.fit
    return np.asarray(shape(picture, (size, size), Image.Resampling.BILINEAR))


def phase_contrast(path: Path, size: int) -> Pictures:
    """Crops of the 7 planes, plane by plane and row by row: image 16 p + 4 r + c of 256 pixels.

    The 16-bit values are divided by 257, which brings 0 and 65535 to 0 and 255.

    Args:
        path: npz with ``phase`` uint16 (7, 1024, 1024).
        size: side of a crop in pixels.
    """
    with np.load(path, allow_pickle=False) as file:
        planes = file["phase"]
    n, height, width = planes.shape
    tiles = planes.reshape(n, height // size, size, width // size, size).swapaxes(2, 3)
    return _of_one(tiles.reshape(-1, 1, size, size) / 257)


def fundus(path: Path, size: int) -> Pictures:
    """The photograph in red, green and blue, made smaller.

    Args:
        path: a square colour image.
        size: side in pixels.
    """
    with Image.open(path) as picture:
        small = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    return _of_one(np.moveaxis(np.asarray(small), -1, 0)[None])


READERS: dict[str, Callable[..., Pictures]] = {  # of the file and its parts, and size=
    "chest_ct_lidc": chest_ct,
    "chest_xray_lungs": chest_xray,
    "fundus": fundus,
    "mri_brain_slices": brain_slices,
    "mri_brain_volume": brain_volume,
    "phase_contrast": phase_contrast,
}
