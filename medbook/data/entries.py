"""What the book knows of a data set, and in what form its files and its twin are read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Collections that several sets come from: such sets may hold the same images.
KERMANY, TCIA, NIH = "Kermany 2018 chest X-rays", "TCIA", "NIH ChestX-ray14"
LITS, KATHER = "LiTS", "Kather 2019 colorectal"


class Arrays(NamedTuple):
    """One split as it is read or drawn; what a set does not have is None.

    Attributes:
        images: (N, C, H, W): uint8 with labels, float32 without; complex64 k-space of C coils.
        labels: int64 (N,), None where there are no classes.
        groups: int64 (N,), the independent unit of each image; None if each is one of its own.
        masks: bool (N, 1, H, W).
    """

    images: NDArray
    labels: NDArray[np.int64] | None = None
    groups: NDArray[np.int64] | None = None
    masks: NDArray[np.bool_] | None = None


Content = dict[str, Arrays]
"""The splits `train`, `val` and `test` of a set with labels, `all` of one without."""


@dataclass(frozen=True)
class File:
    """One file: path below the data folder, ``algorithm:hexdigest``, and its mirrors in order.

    With ``package`` the path is also one inside an installed Python package. ``parts`` are files
    that are read together with it.
    """

    path: str
    digest: str
    urls: tuple[str, ...] = ()
    package: bool = False
    parts: tuple["File", ...] = ()

    def __iter__(self) -> Iterator["File"]:
        """The file and its parts."""
        return iter((self, *self.parts))


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a data card says in words: what the files or their publishers state, no more.

    What nobody stated is "not stated".

    Attributes:
        image: what one image shows, and how it came to its size.
        splits: number of images of each; of a set without labels `all`.
        split_by: how the splits were made.
        people: who is in the images.
        artefacts: what the images show beside anatomy.
        labels: where labels or outlines come from and how good they are.
        twin: what the procedural stand-in shows.
    """

    image: str
    splits: dict[str, int]
    split_by: str
    people: str = "not stated"
    artefacts: str = "not stated"
    labels: str = "not stated"
    twin: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What must be said about a data set wherever it is used.

    Attributes:
        name: that loads it.
        unit: what is independent.
        licence: of the images.
        origin: where they come from.
        credit: line to show with them.
        classes: by label; empty where there are none.
        value_unit: of the images' values.
        value_range: the least and the largest value that the format can hold.
        calibration: of k-space, the side of the square around the zero frequency where every point
            was measured.
    """

    name: str
    unit: str
    licence: str
    origin: str
    credit: str
    classes: tuple[str, ...] = ()
    value_unit: str = "grey value"
    value_range: tuple[float, float] = (0.0, 255.0)
    calibration: int = 0


@dataclass(frozen=True, kw_only=True)
class Entry(Facts):
    """A data set of the book: its facts and its card, its files, and its twin.

    Attributes:
        channels: of an image, or coils.
        collections: where the images come from: two sets of one collection may share images.
        files: one for each size.
        read: content of the files (one and its parts) at a size.
        twin: content of the procedural stand-in at a size, the same on every call.
        card: what the data page says.
        shares: of the classes in percent.
        pixel_mm: side of a pixel for each size; empty where nobody states it.
    """

    channels: int
    collections: frozenset[str]
    files: dict[int, File]
    read: Callable[[list[Path], int], Content] = field(repr=False)
    twin: Callable[[int], Content] = field(repr=False)
    card: Card = field(repr=False)
    shares: tuple[int, ...] = ()
    pixel_mm: dict[int, float] = field(default_factory=dict)
