"""The results file is written whole, read back equal, and refuses what was changed."""

import errno
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from medbook.errors import MedbookError
from medbook.record import results

SAMPLE = {
    "schema": 2,
    "chapter": "démo",
    "metrics": {"a": {"values": [0.1, 2.0], "low": -math.inf, "high": math.inf}},
    "claims": [{"id": "x-1", "effect": math.nan}],
}


def strict(text: str) -> dict:
    """JSON as the standard has it: no NaN, no Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_saved_results_are_strict_json_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "demo.smoke.json"
    results.save(SAMPLE, path)
    content = strict(path.read_text(encoding="utf-8"))
    assert content["metrics"]["a"] == {"values": [0.1, 2.0], "low": None, "high": None}
    assert content["claims"] == [{"id": "x-1", "effect": None}]
    assert results.load(path) == content
    assert "digest" not in SAMPLE
    assert math.isinf(SAMPLE["metrics"]["a"]["low"]), "the caller's results are left alone"


def test_saving_again_gives_the_same_bytes(tmp_path: Path) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    results.save(SAMPLE, a)
    results.save(results.load(a), b)
    assert a.read_bytes() == b.read_bytes()


def test_one_changed_digit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    results.save(SAMPLE, path)
    path.write_text(path.read_text(encoding="utf-8").replace("0.1", "0.2"), encoding="utf-8")
    with pytest.raises(MedbookError, match=r"demo\.json: changed after it was measured"):
        results.load(path)


def test_a_changed_number_is_a_changed_line() -> None:
    metrics = {name: {"values": [0.5], "unit": ""} for name in "ab"}
    trials = {"train": {"definitions": {"fit": "0a"}, "keys": ["1b"], "seconds": [2.0]}}
    lists = {"claims": [{"id": "x"}], "data": []}
    before = {"schema": 2, "metrics": metrics, "trials": trials, **lists}
    after = before | {"metrics": metrics | {"b": {"values": [0.6], "unit": ""}}}
    texts = [results.text_of(run) for run in (before, after)]
    assert [strict(text) for text in texts] == [before, after]
    old, new = (set(text.splitlines()) for text in texts)
    assert old - new == {' "b": {"values": [0.5], "unit": ""}'}
    assert ' "definitions": {"fit": "0a"},' in old
    assert ' {"id": "x"}' in old and '"data": []' in old


def test_times_are_no_numbers_of_a_run() -> None:
    run = {"seed": 0, "metrics": {"a": {"values": [0.5], "unit": ""}}}

    def plus(value: float, unit: str) -> results.Results:
        return run | {"metrics": run["metrics"] | {"b": {"values": [value], "unit": unit}}}

    assert results.numbers(plus(1.0, "s")) == results.numbers(plus(2.0, "ms"))
    assert results.numbers(plus(1.0, "mm")) != results.numbers(plus(2.0, "mm"))
    assert results.numbers(run) != results.numbers(run | {"seed": 1})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such results file"),
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        ("[]", "not a results file of schema 2"),
        ('{"schema": 9}', "not a results file of schema 2"),
        ('{"schema": 2}', "digest differs"),
    ],
)
def test_what_is_no_results_file_is_refused(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "demo.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(MedbookError, match=f"demo.json: .*{message}"):
        results.load(path)


def test_digest_sees_values_and_not_the_order_of_keys() -> None:
    assert results.digest({"a": 1, "b": [2]}) == results.digest({"b": [2], "a": 1})
    assert results.digest({"a": 1, "b": [2]}) != results.digest({"a": 1, "b": [2.5]})
    assert len(results.digest({})) == 16


def test_write_atomic_keeps_the_old_file_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    results.write_atomic(path, "old")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        results.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path], "no temporary file stays behind"


def test_write_atomic_names_the_target_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    results.write_atomic(path, "old")

    def half(self: Path, content: bytes) -> None:
        self.write_text(content[: len(content) // 2].decode())
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        results.write_atomic(path, "new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_write_atomic_writes_utf8_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    results.write_atomic(path, "ρ ≤ 16/255")
    assert path.read_bytes().decode("utf-8") == "ρ ≤ 16/255"
    assert path.stat().st_mode & 0o777 == 0o644


def test_numpy_numbers_are_not_stored_as_something_else(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    results.save({"schema": 1, "x": np.float64(0.25), "y": (np.float64("inf"),)}, path)
    content = strict(path.read_text())
    assert (content["x"], content["y"]) == (0.25, [None])
