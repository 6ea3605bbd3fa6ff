"""Data sets by name, as tensors: real where there is a file, else a procedural twin."""

import hashlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from medbook.data import (
    image_files,
    image_twins,
    kspace_files,
    kspace_twin,
    medmnist_files,
    mednist,
    twins,
)
from medbook.data.dataset import Dataset, Split
from medbook.data.entries import Entry, ImageInfo, Info, KSpaceInfo
from medbook.data.image_registry import IMAGES
from medbook.data.imageset import ImageSet
from medbook.data.kspace_files import KSPACES
from medbook.data.kspaceset import KSpace
from medbook.data.medmnist_files import Arrays
from medbook.data.obtain import Source, obtain, permutation
from medbook.data.registry import (
    ENTRIES,
    REGISTRY,
    check_overlap,
    image_info,
    info,
    kspace_info,
    names,
)

__all__ = [
    "ENTRIES", "IMAGES", "KSPACES", "REGISTRY", "Dataset", "Entry", "ImageInfo", "ImageSet", "Info",
    "KSpace", "KSpaceInfo", "Split", "check_overlap", "image_info", "images", "info", "kspace",
    "kspace_info", "labelled_phantom", "load", "names", "phantom",
]  # fmt: skip


def load(
    name: str,
    size: int = 28,
    device: str | torch.device = "cpu",
    source: Source = "auto",
    permute_test_seed: int | None = None,
) -> Dataset:
    """Load a data set with labels as tensors.

    Real files are looked for in the folder ``MEDBOOK_DATA``, then in the user's cache, then
    downloaded (not if ``MEDBOOK_OFFLINE`` is 1). A file with a wrong hash is an error.

    Args:
        name: one of ``names()``.
        size: side of the images in pixels: 28, 64, 128 or 224; of ``mednist`` 32 or 64.
        device: where the tensors go.
        source: ``"real"`` (else an error), ``"twin"`` (looks at no file), or ``"auto"``: real,
            else the twin and a warning.
        permute_test_seed: shuffle the labels of the test split with this seed, to check that
            nothing is chosen on them; default: ``MEDBOOK_PERMUTE_TEST``, if set.

    Returns:
        Images uint8 (N, C, H, W), labels int64 (N,), and what must be said about them.

    Raises:
        MedbookError: unknown name, size or source; damaged file; no real file for ``"real"``.

    >>> load("pneumoniamnist", source="twin").train.images.shape
    torch.Size([600, 1, 28, 28])
    """
    found = obtain(
        info(name), size, source, _read, twins.make, lambda arrays: chain(*arrays.values())
    )
    entry, arrays = found.entry, found.content
    train, val, test = (
        Split(torch.from_numpy(images.copy()), torch.from_numpy(labels))
        for images, labels in (arrays[split] for split in ("train", "val", "test"))
    )
    dataset = Dataset(
        name, found.kind, train, val, test, entry.classes,
        entry.unit, found.sha256, entry.licence, entry.credit, entry.origin,
    )  # fmt: skip
    if (seed := permutation(permute_test_seed)) is not None:
        dataset = dataset.with_permuted_test(seed)
    return dataset.to(device)


def _read(entry: Info, paths: list[Path], size: int) -> Arrays:
    (path,) = paths
    if entry.name == "mednist":
        return mednist.read(path, size, entry.classes)
    return medmnist_files.read(path)


def images(
    name: str,
    size: int = 256,
    device: str | torch.device = "cpu",
    source: Source = "auto",
    permute_test_seed: int | None = None,
) -> ImageSet:
    """Load images without labels as tensors.

    Files are looked for as by ``load``; few of these have a mirror. What a size is:

    - ``chest_ct_lidc``: the slices of one patient from the feet to the head, in HU, the front on
      top and the patient's right at the left. 256, 128, 64: all 133, averaged over square blocks;
      512: four of them unaveraged.
    - ``chest_xray_lungs``: 209 X-rays of children, 166 with lung masks. 256, 128: the centre
      square; 512: the whole picture on black.
    - ``fundus``: one photograph in colour, made smaller to 512, 256 or 128.
    - ``mri_brain_slices``: 256: six brain slices without skull, the front on top; 128, 64: averaged
      over square blocks.
    - ``mri_brain_volume``: 128: 24 axial slices of one head from its base upwards, oriented like
      the CT, black rows added above and below; 64: averaged over square blocks.
    - ``phase_contrast``: 256: 16 crops of each of 7 focus planes of one field, plane by plane;
      16-bit values are brought to 0 to 255 with their fractions.

    Args:
        name: one of ``IMAGES``.
        size: side of the images in pixels, see above.
        device: where the tensors go.
        source: as for ``load``; a twin has fewer images.
        permute_test_seed: shuffle the targets with this seed, to check that nothing is chosen on
            them; default: ``MEDBOOK_PERMUTE_TEST``, if set.

    Raises:
        MedbookError: unknown name, size or source; damaged file; no real file for ``"real"``.

    >>> images("chest_xray_lungs", source="twin").images.shape
    torch.Size([16, 1, 256, 256])
    """
    found = obtain(
        image_info(name), size, source,
        lambda entry, paths, size: image_files.READERS[entry.name](*paths, size=size),
        image_twins.make,
        lambda pictures: (array for array in pictures if array is not None),
    )  # fmt: skip
    entry, pictures = found.entry, found.content
    pixels, groups = torch.from_numpy(pictures.images), torch.from_numpy(pictures.groups)
    masks = None if pictures.masks is None else torch.from_numpy(pictures.masks)
    image_set = ImageSet(
        name, found.kind, pixels, pixels, entry.value_unit, entry.value_range,
        entry.pixel_mm.get(size), groups, masks,
        entry.unit, found.sha256, entry.licence, entry.credit, entry.origin,
    )  # fmt: skip
    if (seed := permutation(permute_test_seed)) is not None:
        image_set = image_set.with_permuted_targets(seed)
    return image_set.to(device)


def kspace(
    name: str,
    device: str | torch.device = "cpu",
    source: Source = "auto",
) -> KSpace:
    """Load measured k-space, undersampled and without a reference.

    Files are looked for as by ``load``. ``mri_brain_8coil`` is one axial slice of a head, 8 coils,
    230 x 180 points: a centred square of 24 points is complete, and around it the points of an
    ellipse are sampled the sparser the farther out. The front of the head is on top.

    Args:
        name: one of ``KSPACES``.
        device: where the tensors go.
        source: as for ``load``.

    Returns:
        K-space complex64 (1, C, H, W), zero frequency at (H // 2, W // 2), and its mask: the points
        that are not 0 in any coil.

    Raises:
        MedbookError: unknown name or source; damaged file; no real file for ``"real"``.

    >>> kspace("mri_brain_8coil", source="twin").measured.shape
    torch.Size([1, 8, 230, 180])
    """
    known = kspace_info(name)
    found = obtain(
        known, known.shape[0], source,
        lambda _, paths, __: kspace_files.read(*paths),
        lambda entry, _: kspace_twin.make(entry),
        lambda content: [content],
    )  # fmt: skip
    entry = found.entry
    measured = torch.from_numpy(found.content)[None]
    mask = (measured != 0).all(1, keepdim=True)
    return KSpace(
        name, found.kind, measured, mask, entry.calibration,
        entry.unit, found.sha256, entry.licence, entry.credit, entry.origin,
    ).to(device)  # fmt: skip


def phantom(
    name: str,
    images: Tensor,
    *,
    value_unit: str,
    unit: str,
    permute_test_seed: int | None = None,
) -> ImageSet:
    """Generated images as a set, each an independent unit, its hash that of its values.

    Args:
        name: of the set.
        images: (N, C, H, W) float.
        value_unit: of the values.
        unit: what an image is, e.g. "drawn slice".
        permute_test_seed: as for ``images``.

    >>> phantom("discs", torch.ones(2, 1, 4, 4), value_unit="1/mm", unit="disc").kind
    'phantom'
    """
    sha256 = hashlib.sha256(images.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
    span = float(images.min()), float(images.max())
    groups = torch.arange(len(images), device=images.device)
    said = unit, sha256, "MIT", "drawn by formula, no patient data", "medbook.phantom"
    image_set = ImageSet(
        name, "phantom", images, images, value_unit, span, None, groups, None, *said
    )
    if (seed := permutation(permute_test_seed)) is not None:
        image_set = image_set.with_permuted_targets(seed)
    return image_set


def labelled_phantom(
    name: str,
    train: Split,
    val: Split,
    test: Split,
    *,
    classes: Sequence[str],
    unit: str,
    permute_test_seed: int | None = None,
) -> Dataset:
    """Generated images with exact labels as a data set, its hash that of images and labels.

    Args:
        name: of the set.
        train: images and labels to learn from; a split may be empty.
        val: to choose with.
        test: to test with.
        classes: what the labels, or the columns of multi-label ones, are called.
        unit: what an image is, e.g. "phantom patient".
        permute_test_seed: as for ``load``.

    >>> split = Split(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
    >>> labelled_phantom("dots", split, split, split, classes=("a", "b"), unit="dot").kind
    'phantom'
    """
    sha = hashlib.sha256()
    for split in (train, val, test):
        for tensor in (split.images, split.labels):
            sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    said = sha.hexdigest(), "MIT", "drawn by formula, no patient data", "medbook.phantom"
    dataset = Dataset(name, "phantom", train, val, test, tuple(classes), unit, *said)
    if (seed := permutation(permute_test_seed)) is not None:
        dataset = dataset.with_permuted_test(seed)
    return dataset
