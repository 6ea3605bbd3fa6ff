"""The official MedMNIST 2D files, and what the package `medmnist` states of each set."""

import ast
import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbook.data.entries import Arrays, Card, Content, Entry, File
from medbook.data.twins import labelled
from medbook.errors import MedbookError

# An older record that holds the same 28-pixel files as the one that the package names.
MIRROR = "https://zenodo.org/records/6496656/files"
CITE = "MedMNIST v2 (Yang et al. 2023, doi:10.5281/zenodo.10519652)"
PATIENTS, CT_SLICE = "image (patients not published)", "slice (CT scans not published)"
SIZES = (28, 64, 128, 224)


def entry(
    name: str,
    *,
    collection: str,
    unit: str,
    shares: tuple[int, ...],
    draw: labelled.Draw,
    card: Card,
) -> Entry:
    """The entry of a MedMNIST set.

    Args:
        name: as the package calls it.
        collection: where the images come from.
        unit: what is independent.
        shares: of the classes in percent, which the twin follows (measured for pneumonia, breast
            and retina, approximate for the others).
        draw: makes the images of the twin.
        card: what the data page says.
    """
    known = TABLE[name]
    channels, licence = known["n_channels"], known["license"]
    return Entry(
        name=name,
        unit=unit,
        licence=licence,
        origin=f"{collection}, in {CITE}",
        credit=f"{known['python_class']}: {collection}; {CITE}; {licence}",
        classes=tuple(known["label"][str(k)] for k in range(len(shares))),
        channels=channels,
        collections=frozenset({collection}),
        files={size: _file(name, size) for size in SIZES},
        read=read,
        twin=partial(labelled.make, name, channels, shares, draw),
        card=card,
        shares=shares,
    )


def read(paths: list[Path], size: int) -> Content:
    """Read the three splits of a MedMNIST file; pickled objects are refused.

    Raises:
        ValueError, KeyError: not a file of the MedMNIST layout.
    """
    (path,) = paths
    with np.load(path, allow_pickle=False) as file:
        return {
            split: Arrays(
                channels_first(file[f"{split}_images"]),
                file[f"{split}_labels"].reshape(-1).astype(np.int64),
            )
            for split in ("train", "val", "test")
        }


def channels_first(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring grey (N, H, W) or colour (N, H, W, 3) images to (N, C, H, W).

    >>> channels_first(np.zeros((5, 28, 28, 3), np.uint8)).shape
    (5, 3, 28, 28)
    """
    return images[:, None] if images.ndim == 3 else np.moveaxis(images, -1, 1)


def _table() -> dict[str, dict[str, Any]]:
    """Read ``medmnist.INFO`` as a literal: the import takes seconds and makes ``~/.medmnist``."""
    spec = importlib.util.find_spec("medmnist")
    if spec is None or spec.origin is None:
        raise MedbookError("the package medmnist is missing; run `pip install medmnist`")
    tree = ast.parse(Path(spec.origin).with_name("info.py").read_text(encoding="utf-8"))
    tables = (n for n in tree.body if isinstance(n, ast.Assign))
    return ast.literal_eval(next(t.value for t in tables if ast.unparse(t.targets[0]) == "INFO"))


TABLE = _table()


def _file(name: str, size: int) -> File:
    flag = "" if size == 28 else f"_{size}"
    mirrors = (f"{MIRROR}/{name}.npz?download=1",) if size == 28 else ()
    digest = f"md5:{TABLE[name]['MD5' + flag]}"
    return File(f"medmnist/{name}{flag}.npz", digest, (TABLE[name]["url" + flag], *mirrors))
