"""One image of the reader's own, for the figures of a chapter; it never leaves the machine."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medbook.errors import MedbookError
from medbook.refuse import need

SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".nii", ".nii.gz")

Array = NDArray[np.float64]


def own_image(
    path: str | Path,
    size: int | None = None,
    *,
    window: tuple[float, float] | None = None,
    index: int | None = None,
) -> Tensor:
    """A grey image from a PNG, JPEG, DICOM or NIfTI file on this machine.

    Rows go from top to bottom as a viewer shows them: PNG and JPEG are turned as their EXIF tag
    says, DICOM as stored, and a NIfTI slice is axial, with the nose up and the patient's left at
    the right. MONOCHROME1 is inverted, so that bone is bright.

    Args:
        path: of the file; nothing is sent anywhere, and no copy is kept.
        size: side of the result in pixels. The image is cropped to a square around its middle and
            averaged down or interpolated up; left out, it keeps its own shape.
        window: lowest and highest value shown, in the unit of the file (HU in CT); beyond them it
            is clipped. Left out: 8 and 16 bits of PNG and JPEG whole, the window that a DICOM file
            names, else the 1st to the 99th percentile.
        index: which slice of a volume or which frame, from 0; left out, the middle one.

    Returns:
        (1, 1, H, W) float32 in [0, 1].

    Raises:
        MedbookError: no such file, another format, a damaged file, a missing package, several
            images where one is needed, an empty window, values that are not finite.

    >>> own_image("chest.gif")
    Traceback (most recent call last):
    medbook.errors.MedbookError: chest.gif: there is no such file: ...
    """
    path = Path(path).expanduser()
    need(path.is_file(), f"{path}: there is no such file: give the path of one image")
    name = path.name.lower()
    read = next((reader for suffix, reader in READERS.items() if name.endswith(suffix)), None)
    if read is None:
        raise MedbookError(
            f"{path}: unknown format: give a file that ends in {', '.join(SUFFIXES)}"
        )
    try:
        values, own_window = read(path, index)
    except MedbookError:
        raise
    except Exception as error:  # each library has its own errors for a damaged file
        why = " ".join(str(error).split())[:120]
        raise MedbookError(f"{path}: cannot be read ({type(error).__name__}: {why})") from error
    need(values.ndim == 2 and values.size > 0, f"{path}: one grey image, not {values.shape}")
    need(bool(np.isfinite(values).all()), f"{path}: holds values that are not finite")
    low, high = window or own_window or np.percentile(values, [1, 99]).tolist()
    need(low < high, f"{path}: nothing lies between {low:g} and {high:g}: give another window")
    shown = torch.from_numpy((values - low) / (high - low)).clamp(0, 1).float()[None, None]
    return shown if size is None else _square(shown, size)


def _square(image: Tensor, size: int) -> Tensor:
    """The middle of an image, (1, 1, size, size)."""
    need(size >= 1, f"size is {size}: give the side in pixels, >= 1")
    h, w = image.shape[2:]
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    middle = image[..., top : top + side, left : left + side]
    if side >= size:
        return F.adaptive_avg_pool2d(middle, size)
    return F.interpolate(middle, (size, size), mode="bilinear", align_corners=False)


def _picture(path: Path, index: int | None) -> tuple[Array, tuple[float, float] | None]:
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        need(not index, f"{path}: holds one image, not one numbered {index}")
        turned = ImageOps.exif_transpose(file)
        if turned.mode.startswith("I"):  # 16 bits
            return np.asarray(turned, dtype=float), (0.0, 65535.0)
        if "A" in turned.getbands():  # what is transparent is black
            black = Image.new("RGBA", turned.size, "black")
            turned = Image.alpha_composite(black, turned.convert("RGBA"))
        return np.asarray(turned.convert("L"), dtype=float), (0.0, 255.0)


def _dicom(path: Path, index: int | None) -> tuple[Array, tuple[float, float] | None]:
    file = _imported("pydicom").dcmread(path)
    need(file.get("SamplesPerPixel", 1) == 1, f"{path}: is in colour: a grey image is needed")
    slope, start = (float(file.get(f"Rescale{x}", y)) for x, y in (("Slope", 1), ("Intercept", 0)))
    values = slope * _chosen(file.pixel_array.astype(float), 0, index, path) + start
    window = None
    if "WindowCenter" in file and "WindowWidth" in file:
        centre, width = (float(np.ravel(file[x].value)[0]) for x in ("WindowCenter", "WindowWidth"))
        window = centre - width / 2, centre + width / 2
    if file.get("PhotometricInterpretation") == "MONOCHROME1":  # large values are dark
        values, window = -values, window and (-window[1], -window[0])
    return values, window


def _nifti(path: Path, index: int | None) -> tuple[Array, tuple[float, float] | None]:
    nibabel = _imported("nibabel")
    file = nibabel.as_closest_canonical(nibabel.load(path))  # axes to right, front, top
    volume = np.asarray(file.dataobj, dtype=float)
    while volume.ndim > 3 and volume.shape[-1] == 1:
        volume = volume[..., 0]
    need(volume.ndim in (2, 3), f"{path}: is {volume.shape}: one image or volume is needed")
    axial = volume if volume.ndim == 2 else _chosen(volume, 2, index, path)
    return np.ascontiguousarray(axial.T[::-1, ::-1]), None  # front on top, left at the right


def _chosen(values: Array, axis: int, index: int | None, path: Path) -> Array:
    """One slice or frame along an axis; an image that has two axes is one already."""
    if values.ndim == 2:
        need(not index, f"{path}: holds one image, not one numbered {index}")
        return values
    n = values.shape[axis]
    index = n // 2 if index is None else index
    need(0 <= index < n, f"{path}: has {n} slices, 0 to {n - 1}, not one numbered {index}")
    return np.take(values, [index], axis).squeeze(axis)


def _imported(package: str) -> ModuleType:
    """A package that few readers need: imported when its format is read."""
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MedbookError(f"{package} is not installed: run `pip install {package}`") from error


READERS: dict[str, Callable[[Path, int | None], tuple[Array, tuple[float, float] | None]]] = {
    ".png": _picture, ".jpg": _picture, ".jpeg": _picture,
    ".dcm": _dicom, ".nii": _nifti, ".nii.gz": _nifti,
}  # fmt: skip
