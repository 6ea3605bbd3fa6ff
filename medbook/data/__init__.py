"""Data sets by name, as tensors: real where there is a file, else a procedural twin."""

import hashlib
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from medbook import pilot
from medbook.data.entries import Arrays, Entry, Facts
from medbook.data.real_or_twin import Source, obtain, permutation
from medbook.data.record import Kind, Record, Split
from medbook.data.registry import ENTRIES, check_overlap, info
from medbook.errors import MedbookError

__all__ = [
    "ENTRIES", "Entry", "Record", "Split", "check_overlap", "info", "labelled_phantom", "load",
    "phantom", "simulated",
]  # fmt: skip

DRAWN: dict[str, Any] = {
    "licence": "MIT",
    "credit": "drawn by formula, no patient data",
    "origin": "medbook.phantom",
}


def load(
    name: str,
    size: int | None = None,
    device: str | torch.device = "cpu",
    source: Source = "auto",
    permute_test_seed: int | None = None,
    val_units: int = 0,
) -> Record:
    """Load a data set as tensors.

    Real files are looked for in the folder ``MEDBOOK_DATA``, then in the user's cache, then
    downloaded (not if ``MEDBOOK_OFFLINE`` is 1). A file with a wrong hash is an error.

    Args:
        name: one of ``ENTRIES``.
        size: one of the sizes of the set, which its module in ``medbook.data.sets`` explains: the
            side of the images in pixels; the smallest if left out.
        device: where the tensors go.
        source: ``"real"`` (else an error), ``"twin"`` (looks at no file; has fewer images), or
            ``"auto"``: real, else the twin and a warning.
        permute_test_seed: shuffle the labels of the test split, or the targets, with this seed, to
            check that nothing is chosen on them; default: ``MEDBOOK_PERMUTE_TEST``, if set.
        val_units: divide a set without labels by its independent units: so many, evenly spaced,
            become the split ``val``, the others ``test``; 0 leaves it whole.

    Returns:
        Sets with labels: splits of images uint8 (N, C, H, W) and labels int64 (N,). Others: images
        float32 in their unit, or complex64 k-space. And what must be said about them.

    Raises:
        MedbookError: unknown name, size or source; damaged file; no real file for ``"real"``.

    >>> load("pneumoniamnist", source="twin").train.images.shape
    torch.Size([600, 1, 28, 28])
    >>> load("chest_xray_lungs", 256, source="twin").images.shape
    torch.Size([16, 1, 256, 256])
    """
    known = info(name)
    size = min(known.files) if size is None else size
    if pilot.kind() and not known.classes and not val_units:
        source = "twin"  # has no validation split, and a pilot must not see what is tested on
    found = obtain(known, size, source)
    facts = {field.name: getattr(found.entry, field.name) for field in fields(Facts)}
    splits = {split: _tensors(arrays) for split, arrays in found.content.items()}
    record = Record(
        kind=found.kind,
        sha256=found.sha256,
        splits=splits,
        pixel_mm=known.pixel_mm.get(size),
        **facts,
    )
    record = record.divided(val_units) if val_units else record
    return _checked(record, permute_test_seed).to(device)


def _tensors(arrays: Arrays) -> Split:
    images, *rest = (None if a is None else torch.from_numpy(a.copy()) for a in arrays)
    assert images is not None
    labels, groups, masks = rest
    return Split(images, images if labels is None else labels, groups, masks)


def _checked(record: Record, seed: int | None) -> Record:
    """The record as a pilot or the leak check wants it, if one is under way."""
    if pilot.kind():
        record = _without_test(record)
    seed = permutation(seed)
    return record if seed is None else record.with_permuted_test(seed)


def _without_test(record: Record) -> Record:
    """In place of the test images of a set with labels, those to choose with."""
    if not len(record.splits.get("test", ())):
        return record
    if not len(record.val):
        raise MedbookError(
            f"{record.name} has no validation images, which a pilot takes in place of the test "
            "images: set some of the training images aside"
        )
    return replace(record, splits=record.splits | {"test": record.val})


def phantom(
    name: str,
    images: Tensor,
    *,
    value_unit: str,
    unit: str,
    permute_test_seed: int | None = None,
) -> Record:
    """Generated images as a set, each an independent unit, its hash that of its values.

    Args:
        name: of the set.
        images: (N, C, H, W) float.
        value_unit: of the values.
        unit: what an image is, e.g. "drawn slice".
        permute_test_seed: as for ``load``.

    >>> phantom("discs", torch.ones(2, 1, 4, 4), value_unit="1/mm", unit="disc").kind
    'phantom'
    """
    span = float(images.min()), float(images.max())
    splits = {"all": Split(images, images)}
    made = _generated(name, splits, unit=unit, value_unit=value_unit, value_range=span)
    return _checked(made, permute_test_seed)


def simulated(
    name: str,
    source: Record,
    images: Tensor,
    *,
    value_unit: str,
    unit: str,
    permute_test_seed: int | None = None,
) -> Record:
    """Images that a simulated scanner made from real ones: neither phantom nor measurement.

    Args:
        name: of the set.
        source: what they were made from; of a twin or phantom the kind stays what it is.
        images: (N, C, H, W) float, the truth of the simulation.
        value_unit: of the values.
        unit: what is independent, e.g. "patient".
        permute_test_seed: as for ``load``.

    >>> real = load("pneumoniamnist", source="twin")
    >>> simulated("scans", real, torch.ones(2, 1, 4, 4), value_unit="1", unit="patient").kind
    'twin'
    """
    made = phantom(
        name, images, value_unit=value_unit, unit=unit, permute_test_seed=permute_test_seed
    )
    kind: Kind = "simulated from real" if source.kind == "real" else source.kind
    origin = f"simulated scans of {source.name}"
    return replace(made, kind=kind, origin=origin, licence=source.licence, credit=source.credit)


def labelled_phantom(
    name: str,
    train: Split,
    val: Split,
    test: Split,
    *,
    classes: Sequence[str],
    unit: str,
    permute_test_seed: int | None = None,
) -> Record:
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
    splits = {"train": train, "val": val, "test": test}
    made = _generated(name, splits, unit=unit, classes=tuple(classes))
    return _checked(made, permute_test_seed)


def _generated(name: str, splits: dict[str, Split], **facts: Any) -> Record:
    sha = hashlib.sha256()
    for split in splits.values():
        for tensor in dict.fromkeys((split.images, split.labels)):  # once where they are one
            sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return Record(
        name=name, kind="phantom", sha256=sha.hexdigest(), splits=splits, **DRAWN, **facts
    )
