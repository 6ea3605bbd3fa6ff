"""Every data set of the book by name, and which of them share images."""

from collections.abc import Sequence
from itertools import combinations

from medbook.data.entries import KATHER, LITS, NIH, TCIA, Entry
from medbook.data.files.medmnist import TABLE
from medbook.data.sets import discovered
from medbook.errors import MedbookError

ENTRIES: dict[str, Entry] = discovered()
# Sets that the book does not read but that share images with sets that it reads.
OTHERS = {
    "chestmnist": NIH, "organmnist3d": LITS, "pathmnist_subset": KATHER, "nodulemnist3d": TCIA
}  # fmt: skip


def info(name: str) -> Entry:
    """What the book knows of a data set.

    Args:
        name: one of ``ENTRIES``.

    Raises:
        MedbookError: unknown name, or a MedMNIST set that is multi-label or three-dimensional.

    >>> info("pneumoniamnist").classes
    ('normal', 'pneumonia')
    """
    if name in ENTRIES:
        return ENTRIES[name]
    what = f"unknown data set {name!r}"
    if name in TABLE:
        kind = "three-dimensional" if name.endswith("3d") else "multi-label"
        what = f"{name} is {kind}; only 2D sets with one label an image are read"
    raise MedbookError(f"{what}; accepted are {', '.join(ENTRIES)}")


def check_overlap(names: Sequence[str]) -> None:
    """Refuse data sets that share, or may share, source images.

    Args:
        names: data sets meant for one experiment; names of sets that the book does not read (such
            as ``chestmnist``) are accepted where their source is known.

    Raises:
        MedbookError: two of them come from one collection, or a name is unknown.

    >>> check_overlap(["pneumoniamnist", "breastmnist"])
    """
    sources = [_collections(name) for name in names]
    for (a, of_a), (b, of_b) in combinations(zip(names, sources, strict=True), 2):
        if shared := of_a & of_b:
            raise MedbookError(
                f"{a} and {b} may hold the same images (both from {', '.join(sorted(shared))}); "
                "use only one of them in an experiment"
            )


def _collections(name: str) -> frozenset[str]:
    """Where the images of a set come from."""
    return frozenset({OTHERS[name]}) if name in OTHERS else info(name).collections
