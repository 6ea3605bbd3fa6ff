"""What is known about each labelled data set, and which sets share images."""

import ast
import importlib.util
from collections import ChainMap
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, cast

from medbook.data.entries import Entry, File, ImageInfo, Info, KSpaceInfo
from medbook.data.image_registry import IMAGES, KERMANY, TCIA
from medbook.data.kspace_files import KSPACES
from medbook.errors import MedbookError

# An older record that holds the same 28-pixel files as the one that the medmnist package names.
_MIRROR = "https://zenodo.org/records/6496656/files"
_CITE = "MedMNIST v2 (Yang et al. 2023, doi:10.5281/zenodo.10519652)"
_NIH, _LITS = "NIH ChestX-ray14", "LiTS"
_PATHOLOGY, _PATIENTS = "Kather 2019 colorectal", "image (patients not published)"
_SLICES = "slice (CT scans not published)"

# Source collection, independent unit, and share of each class in percent, which the twins follow
# (measured for pneumonia, breast and retina; approximate for the others).
_MEDMNIST_2D: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "pathmnist": (_PATHOLOGY, "patch (slides not published)", (10, 11, 12, 12, 9, 13, 9, 10, 14)),
    "dermamnist": ("HAM10000", "image (lesions not published)", (3, 5, 11, 1, 11, 67, 2)),
    "octmnist": ("Kermany 2018 OCT", _PATIENTS, (34, 11, 8, 47)),
    "pneumoniamnist": (KERMANY, _PATIENTS, (26, 74)),
    "retinamnist": ("DeepDRiD", _PATIENTS, (45, 12, 19, 18, 6)),
    "breastmnist": ("BUSI", _PATIENTS, (27, 73)),
    "bloodmnist": ("Acevedo 2020", "cell (donors not published)", (7, 18, 9, 17, 7, 8, 20, 14)),
    "tissuemnist": ("BBBC051", "cell (from three specimens)", (32, 5, 3, 9, 4, 5, 24, 18)),
    "organamnist": (_LITS, _SLICES, (6, 4, 4, 4, 11, 11, 18, 11, 11, 9, 11)),
    "organcmnist": (_LITS, _SLICES, (9, 5, 5, 5, 8, 9, 23, 8, 8, 9, 11)),
    "organsmnist": (_LITS, _SLICES, (8, 5, 4, 5, 8, 8, 25, 5, 6, 15, 11)),
}

# Sets that the book does not read but that share images with sets that it reads.
_OTHERS = {
    "chestmnist": _NIH, "organmnist3d": _LITS, "pathmnist_subset": _PATHOLOGY, "nodulemnist3d": TCIA
}  # fmt: skip


def _medmnist_table() -> dict[str, dict[str, Any]]:
    """Read ``medmnist.INFO`` as a literal: the import takes seconds and makes ``~/.medmnist``."""
    spec = importlib.util.find_spec("medmnist")
    if spec is None or spec.origin is None:
        raise MedbookError("the package medmnist is missing; run `pip install medmnist`")
    tree = ast.parse(Path(spec.origin).with_name("info.py").read_text(encoding="utf-8"))
    tables = (n for n in tree.body if isinstance(n, ast.Assign))
    return ast.literal_eval(next(t.value for t in tables if ast.unparse(t.targets[0]) == "INFO"))


def _medmnist_file(name: str, size: int, entry: dict[str, Any]) -> File:
    flag = "" if size == 28 else f"_{size}"
    mirrors = (f"{_MIRROR}/{name}.npz?download=1",) if size == 28 else ()
    digest = f"md5:{entry['MD5' + flag]}"
    return File(f"medmnist/{name}{flag}.npz", digest, (entry["url" + flag], *mirrors))


def _medmnist_info(name: str, entry: dict[str, Any]) -> Info:
    collection, unit, shares = _MEDMNIST_2D[name]
    return Info(
        name=name,
        classes=tuple(entry["label"][str(k)] for k in range(len(shares))),
        channels=entry["n_channels"],
        shares=shares,
        unit=unit,
        licence=entry["license"],
        origin=f"{collection}, in {_CITE}",
        credit=f"{entry['python_class']}: {collection}; {_CITE}; {entry['license']}",
        collections=frozenset({collection}),
        files={size: _medmnist_file(name, size, entry) for size in (28, 64, 128, 224)},
    )


_TABLE = _medmnist_table()
# A subset of 1,500 images of each class; no public mirror holds it, so it is not downloaded.
_MEDNIST_FILE = File(
    "mednist/mednist_6x1500.zip",
    "sha256:28a17bcfb5934d4fbec3554f4adb14b9df828dfc4597f1fecb4dbe186c065041",
)
REGISTRY: dict[str, Info] = {name: _medmnist_info(name, _TABLE[name]) for name in _MEDMNIST_2D}
REGISTRY["mednist"] = Info(
    name="mednist",
    classes=("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT"),
    channels=1,
    shares=(1,) * 6,
    unit="image (patients not published; neighbouring numbers may be slices of one)",
    licence="CC BY-SA 4.0",
    origin="MedNIST, gathered from TCIA, RSNA Bone Age and NIH ChestX-ray14",
    credit="MedNIST: Dr Bradley J. Erickson, Mayo Clinic; CC BY-SA 4.0",
    collections=frozenset({_NIH, TCIA, "RSNA Bone Age"}),
    files={32: _MEDNIST_FILE, 64: _MEDNIST_FILE},
)
ENTRIES = cast(Mapping[str, Entry], ChainMap(REGISTRY, IMAGES))
"""Every data set of images, with labels or without."""


def names() -> list[str]:
    """Names that ``load`` accepts, sorted.

    >>> "pneumoniamnist" in names()
    True
    """
    return sorted(REGISTRY)


def info(name: str) -> Info:
    """What the registry states about a data set.

    Args:
        name: one of ``names()``.

    Raises:
        MedbookError: unknown name, a set without labels, or a MedMNIST set that is multi-label or
            three-dimensional.

    >>> info("pneumoniamnist").classes
    ('normal', 'pneumonia')
    """
    if name in REGISTRY:
        return REGISTRY[name]
    what = f"unknown data set {name!r}"
    if name in IMAGES:
        what = f"{name} has no labels: load it with medbook.data.images"
    elif name in _TABLE:
        kind = "three-dimensional" if name.endswith("3d") else "multi-label"
        what = f"{name} is {kind}; only 2D sets with one label an image are read"
    raise MedbookError(f"{what}; accepted are {', '.join(names())}")


def image_info(name: str) -> ImageInfo:
    """What the registry states about a set of images without labels.

    Args:
        name: one of ``IMAGES``.

    Raises:
        MedbookError: unknown name, or a set with labels.

    >>> image_info("chest_ct_lidc").value_unit
    'HU'
    """
    if name in IMAGES:
        return IMAGES[name]
    what = f"unknown set of images {name!r}"
    if name in REGISTRY:
        what = f"{name} has labels: load it with medbook.data.load"
    raise MedbookError(f"{what}; accepted are {', '.join(IMAGES)}")


def kspace_info(name: str) -> KSpaceInfo:
    """What the registry states about a set of measured k-space.

    Args:
        name: one of ``KSPACES``.

    Raises:
        MedbookError: unknown name, or a set of images.

    >>> kspace_info("mri_brain_8coil").shape
    (230, 180)
    """
    if name in KSPACES:
        return KSPACES[name]
    what = f"unknown set of k-space {name!r}"
    if name in ENTRIES:
        what = f"{name} holds images: load it with medbook.data.{_loader(name)}"
    raise MedbookError(f"{what}; accepted are {', '.join(KSPACES)}")


def _loader(name: str) -> str:
    return "images" if name in IMAGES else "load"


def check_overlap(names: Sequence[str]) -> None:
    """Refuse data sets that share, or may share, source images.

    Args:
        names: data sets meant for one experiment, with labels or without; names of sets that the
            book does not read (such as ``chestmnist``) are accepted where their source is known.

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
    if name in _OTHERS:
        return frozenset({_OTHERS[name]})
    if name in KSPACES:
        return KSPACES[name].collections
    return ENTRIES[name].collections if name in ENTRIES else info(name).collections
