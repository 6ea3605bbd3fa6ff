"""What a registry can state about a data set."""

from dataclasses import dataclass


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


@dataclass(frozen=True)
class Entry:
    """What is known about any data set; ``files`` holds one for each image size."""

    name: str
    channels: int
    unit: str
    licence: str
    origin: str
    credit: str
    collections: frozenset[str]
    files: dict[int, File]


@dataclass(frozen=True)
class Info(Entry):
    """A data set with one class label an image; ``shares`` of the classes in percent."""

    classes: tuple[str, ...]
    shares: tuple[int, ...]


@dataclass(frozen=True)
class ImageInfo(Entry):
    """A data set without labels; ``value_range`` is what its format can hold, in ``value_unit``.

    ``pixel_mm`` holds the side of a pixel for each image size; it is empty where nobody states it.
    """

    value_unit: str
    value_range: tuple[float, float]
    pixel_mm: dict[int, float]


@dataclass(frozen=True)
class KSpaceInfo(Entry):
    """Measured k-space of one slice: ``channels`` coils, one file, keyed by its number of rows.

    ``shape`` is its rows and columns, ``calibration`` the side of the square around the zero
    frequency where every point was measured.
    """

    shape: tuple[int, int]
    calibration: int
