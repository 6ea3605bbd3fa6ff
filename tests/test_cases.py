"""Scores of single cases: the same bytes for the same arrays, read back equal."""

import io
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from medbook.errors import MedbookError
from medbook.record import cases

SCORES = np.random.default_rng(0).random((3, 8)).astype(np.float32)


def some() -> cases.Cases:
    made: cases.Cases = {}
    cases.add(made, "AUC/ours, r ≥ 0.1", SCORES, units=list("aabbccdd"), strata=None)
    cases.add(made, "AUC/theirs", SCORES[:1], units=[1, 1, 2, 2, 3, 3, 4, 4], strata=None)
    return made


def test_what_is_packed_is_read_back(tmp_path: Path) -> None:
    packed = cases.pack(some())
    path = tmp_path / "one.laptop.json"
    cases.beside(path).write_bytes(packed)
    found = cases.load({"cases": {"sha256": cases.digest(packed)}}, path)
    assert found.keys() == some().keys()
    assert all(np.array_equal(found[name], array) for name, array in some().items())
    assert found["scores/AUC/theirs"].dtype == np.float32
    assert cases.load({}, path) == {}


def test_equal_units_are_kept_once_whatever_they_are_called() -> None:
    assert sorted(name.partition("/")[0] for name in some()) == ["scores", "scores", "units"]
    made: cases.Cases = {}
    entry = cases.add(made, "a", SCORES, units=np.arange(8), strata=np.arange(8) % 2)
    assert entry["n"] == 8
    assert made[entry["units"]].tolist() == list(range(8))
    assert made[entry["strata"]].tolist() == [0, 1] * 4


def test_neither_the_clock_nor_the_order_changes_a_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cases.pack(some())
    monkeypatch.setattr(time, "time", lambda: 2e9)
    later = dict(reversed(some().items()))
    assert cases.pack(later) == before
    stamps = {entry.date_time for entry in zipfile.ZipFile(io.BytesIO(before)).infolist()}
    assert stamps == {(1980, 1, 1, 0, 0, 0)}


def test_labels_are_one_per_case() -> None:
    with pytest.raises(MedbookError, match=r"units have shape \(7,\), the scores 8 cases"):
        cases.add({}, "a", SCORES, units=np.arange(7))


def test_no_object_is_ever_unpickled(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez(file, a=np.array([object()], dtype=object))
    path = tmp_path / "one.laptop.json"
    cases.beside(path).write_bytes(file.getvalue())
    with pytest.raises(MedbookError, match=r"one\.laptop\.npz: damaged"):
        cases.load({"cases": {"sha256": cases.digest(file.getvalue())}}, path)
