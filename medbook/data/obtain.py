"""The content of a data set of either kind: of its real file, else of its twin."""

import hashlib
import os
import warnings
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Literal, TypeVar

from numpy.typing import NDArray

from medbook.data import sources
from medbook.data.entries import Entry, File
from medbook.errors import MedbookError

Known = TypeVar("Known", bound=Entry)
Content = TypeVar("Content")
Kind = Literal["real", "twin"]
Source = Literal["auto", "real", "twin"]
SOURCES = ("auto", "real", "twin")


@dataclass(frozen=True)
class Found(Generic[Known, Content]):
    """What was found, and the entry that says what it is: of a twin, not that of the real set."""

    entry: Known
    kind: Kind
    content: Content
    sha256: str


def obtain(
    entry: Known,
    size: int,
    source: str,
    read: Callable[[Known, list[Path], int], Content],
    draw: Callable[[Known, int], Content],
    arrays: Callable[[Content], Iterable[NDArray]],
) -> Found[Known, Content]:
    """Read the real file of a data set or draw its twin.

    Args:
        entry: the data set.
        size: one of the sizes of its files.
        source: one of ``SOURCES``.
        read: gives the content of a file and its parts.
        draw: gives the content of the twin.
        arrays: gives the arrays of a content, whose bytes are the identity of a twin.

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
            return _real(entry, size, read)
        except sources.Unavailable as reason:
            if source == "real":
                raise
            warnings.warn(f"{entry.name}: using its procedural twin: {reason}", stacklevel=3)
    content = draw(entry, size)
    pixels = b"".join(array.tobytes() for array in arrays(content))
    return Found(_entry_of_twin(entry), "twin", content, hashlib.sha256(pixels).hexdigest())


def _real(
    entry: Known, size: int, read: Callable[[Known, list[Path], int], Content]
) -> Found[Known, Content]:
    paths = _located(entry.files[size])
    try:
        content = read(entry, paths, size)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        names = " or ".join(map(str, paths))
        raise MedbookError(f"{names} cannot be read as {entry.name}: {error}; delete it") from error
    return Found(entry, "real", content, identity([sources.file_hash(path) for path in paths]))


def _located(file: File) -> list[Path]:
    return [sources.locate(part) for part in (file, *file.parts)]


def identity(hashes: list[str]) -> str:
    """What stands for files: the SHA-256 of one, of several the hash of their hashes."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _entry_of_twin(entry: Known) -> Known:
    return replace(
        entry,
        unit="generated image",
        licence="MIT",
        credit=f"procedural twin of {entry.name}, no patient data",
        origin="medbook.data.twins",
    )


def permutation(seed: int | None) -> int | None:
    """The seed of the leak check: the given one, else ``MEDBOOK_PERMUTE_TEST``, if set."""
    text = os.environ.get("MEDBOOK_PERMUTE_TEST")
    if seed is not None or not text:
        return seed
    if not text.isdecimal():
        raise MedbookError(f"MEDBOOK_PERMUTE_TEST is {text!r}: set a whole number, or unset it")
    return int(text)
