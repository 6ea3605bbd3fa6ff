"""Scores of single cases: compressed arrays in a file beside the results, which hold its hash."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medbook.errors import MedbookError

Cases = dict[str, NDArray[Any]]

SCORES = "scores/"  # name of a metric follows


def beside(path: Path) -> Path:
    """Where the scores of single cases of a results file are.

    >>> beside(Path("book/results/diffusion.laptop.json")).name
    'diffusion.laptop.npz'
    """
    return path.with_suffix(".npz")


def add(cases: Cases, name: str, scores: NDArray[np.float32], **labels: ArrayLike | None) -> Any:
    """Put the scores of a metric beside those of others, which may share units and strata.

    Args:
        cases: what there is already; changed in place.
        name: of the metric.
        scores: (n_seeds, n_cases).
        labels: by name, (n_cases,) each.

    Returns:
        what the results file says of them: number of cases, and of each label the array's name.
    """
    cases[SCORES + name] = scores
    entry: dict[str, Any] = {"n": scores.shape[1]}
    for what, given in labels.items():
        entry[what] = None if given is None else _labels(cases, what, given, scores.shape[1])
    return entry


def _labels(cases: Cases, what: str, given: ArrayLike, n: int) -> str:
    found = np.asarray(given)
    if found.shape != (n,):
        raise MedbookError(f"{what} have shape {found.shape}, the scores {n} cases: give one each")
    codes = np.unique(found, return_inverse=True)[1].astype(np.int32)
    name = f"{what}/{hashlib.sha256(codes.tobytes()).hexdigest()[:8]}"
    cases[name] = codes
    return name


def pack(cases: Cases) -> bytes:
    """The file's content: the same bytes for the same arrays.

    >>> pack({"scores/a": np.zeros((1, 2), np.float32)})[:2]
    b'PK'
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in sorted(cases):
            array = io.BytesIO()
            np.save(array, cases[name], allow_pickle=False)
            packed.writestr(zipfile.ZipInfo(f"{name}.npy"), array.getvalue(), zipfile.ZIP_DEFLATED)
    return file.getvalue()


def digest(packed: bytes) -> str:
    """SHA-256 of the file."""
    return hashlib.sha256(packed).hexdigest()


def load(results: Mapping[str, Any], path: Path) -> Cases:
    """The arrays that belong to a results file; none if it names none.

    Args:
        results: content of the results file.
        path: of the results file.

    Raises:
        MedbookError: the file beside it is missing, damaged, or of other results.
    """
    if "cases" not in results:
        return {}
    file = beside(path)
    try:
        packed = file.read_bytes()
        found = dict(np.load(io.BytesIO(packed), allow_pickle=False))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        why = "missing" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
        raise MedbookError(f"{file.name}: {why}: restore it, or run the chapter again") from None
    if digest(packed) != results["cases"]["sha256"]:
        raise MedbookError(f"{file.name}: not of {path.name} (its hash is another)")
    return found
