"""The content of a data set of either kind: of its real file, else of its twin."""

import hashlib
import os
import warnings
import zipfile
from dataclasses import replace
from typing import Literal, NamedTuple

from medbook.data import sources
from medbook.data.entries import Content, Entry
from medbook.errors import MedbookError

Kind = Literal["real", "twin"]
Source = Literal["auto", "real", "twin"]
SOURCES = ("auto", "real", "twin")


class Found(NamedTuple):
    """What was found, and the entry that says what it is: of a twin, not that of the real set."""

    entry: Entry
    kind: Kind
    content: Content
    sha256: str


def obtain(entry: Entry, size: int, source: str) -> Found:
    """Read the real file of a data set or draw its twin.

    Args:
        entry: the data set.
        size: one of the sizes of its files.
        source: one of ``SOURCES``.

    Raises:
        MedbookError: unknown size or source; damaged file; no real file for ``"real"``.
    """
    if source not in SOURCES:
        raise MedbookError(f"source is {source!r}; accepted are {', '.join(SOURCES)}")
    if size not in entry.files:
        sizes = ", ".join(map(str, entry.files))
        raise MedbookError(f"{entry.name} has no size {size!r}; accepted are {sizes}")
    if source != "twin":
        try:
            return _real(entry, size)
        except sources.Unavailable as reason:
            if source == "real":
                raise
            warnings.warn(f"{entry.name}: using its procedural twin: {reason}", stacklevel=3)
    return _twin(entry, size)


def _real(entry: Entry, size: int) -> Found:
    paths = [sources.locate(file) for file in entry.files[size]]
    try:
        content = entry.read(paths, size)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        names = " or ".join(map(str, paths))
        raise MedbookError(f"{names} cannot be read as {entry.name}: {error}; delete it") from error
    return Found(entry, "real", content, identity([sources.file_hash(path) for path in paths]))


def _twin(entry: Entry, size: int) -> Found:
    said = replace(
        entry,
        unit="generated image",
        licence="MIT",
        credit=f"procedural twin of {entry.name}, no patient data",
        origin="medbook.data.twins",
    )
    content = entry.twin(size)
    arrays = [array for split in content.values() for array in split if array is not None]
    sha256 = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    return Found(said, "twin", content, sha256)


def identity(hashes: list[str]) -> str:
    """What stands for files: the SHA-256 of one, of several the hash of their hashes."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def permutation(seed: int | None) -> int | None:
    """The seed of the leak check: the given one, else ``MEDBOOK_PERMUTE_TEST``, if set."""
    text = os.environ.get("MEDBOOK_PERMUTE_TEST")
    if seed is not None or not text:
        return seed
    if not text.isdecimal():
        raise MedbookError(f"MEDBOOK_PERMUTE_TEST is {text!r}: set a whole number, or unset it")
    return int(text)
