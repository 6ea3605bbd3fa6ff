"""Data sets by name, as tensors: real where there is a file, else a procedural twin."""

import hashlib
import os
import warnings
import zipfile
from dataclasses import replace
from typing import Literal

import torch

from medbook.data import medmnist_files, mednist, sources, twins
from medbook.data.dataset import Dataset, Split
from medbook.data.medmnist_files import Arrays
from medbook.data.registry import REGISTRY, Info, check_overlap, info, names
from medbook.errors import MedbookError

__all__ = ["REGISTRY", "Dataset", "Info", "Split", "check_overlap", "info", "load", "names"]


def _assemble(entry: Info, kind: Literal["real", "twin"], arrays: Arrays, sha256: str) -> Dataset:
    train, val, test = (
        Split(torch.from_numpy(images.copy()), torch.from_numpy(labels))
        for images, labels in (arrays[split] for split in ("train", "val", "test"))
    )
    said = (entry.licence, entry.credit, entry.origin)
    return Dataset(entry.name, kind, train, val, test, entry.classes, entry.unit, sha256, *said)


def _real(entry: Info, size: int) -> Dataset:
    path = sources.locate(entry.files[size])
    try:
        if entry.name == "mednist":
            arrays = mednist.read(path, size, entry.classes)
        else:
            arrays = medmnist_files.read(path)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise MedbookError(f"{path} cannot be read as {entry.name}: {error}; delete it") from error
    return _assemble(entry, "real", arrays, sources.file_hash(path))


def _twin(entry: Info, size: int) -> Dataset:
    arrays = twins.make(entry, size)
    content = b"".join(array.tobytes() for pair in arrays.values() for array in pair)
    entry = replace(
        entry,
        unit="generated image",
        licence="MIT",
        credit=f"procedural twin of {entry.name}, no patient data",
        origin="medbook.data.twins",
    )
    return _assemble(entry, "twin", arrays, hashlib.sha256(content).hexdigest())


def _auto(entry: Info, size: int) -> Dataset:
    try:
        return _real(entry, size)
    except sources.Unavailable as reason:
        warnings.warn(f"{entry.name}: using its procedural twin: {reason}", stacklevel=3)
        return _twin(entry, size)


_MAKERS = {"auto": _auto, "real": _real, "twin": _twin}


def load(
    name: str,
    size: int = 28,
    device: str | torch.device = "cpu",
    source: Literal["auto", "real", "twin"] = "auto",
    permute_test_seed: int | None = None,
) -> Dataset:
    """Load a data set as tensors.

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
    if source not in _MAKERS:
        raise MedbookError(f"source is {source!r}; accepted are {', '.join(_MAKERS)}")
    entry = info(name)
    if size not in entry.files:
        sizes = ", ".join(map(str, entry.files))
        raise MedbookError(f"{name} has no size {size!r}; accepted are {sizes}")
    dataset = _MAKERS[source](entry, size)
    if permute_test_seed is None and (text := os.environ.get("MEDBOOK_PERMUTE_TEST")):
        permute_test_seed = int(text)
    if permute_test_seed is not None:
        dataset = dataset.with_permuted_test(permute_test_seed)
    return dataset.to(device)
