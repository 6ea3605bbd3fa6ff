"""Numbers measured here against stored ones."""

import math
from typing import Any, NamedTuple

import numpy as np

from medbook.evaluate import stats
from medbook.record.results import TIMES, Results

Metric = dict[str, Any]

SAME = ("equal", "within tolerance", "as predicted")
OTHER_MACHINE = "not comparable: other machine, fewer than 3 seeds"
LOOSE = "not comparable: rounding alone moves it further than any tolerance"
# For results without tolerances of their own (see `tolerance`). Measured at smoke with AVX2 in
# place of AVX-512: 13 of 72 numbers of diffusion, whose networks have hardly learned and whose
# samples explode, move by more than a quarter; 4 of 219 of structured_sparsity, 2 of 391 of
# sparse_view_ct, none in four chapters. If more than a third do, these are not the same numbers.
FAR, FEW = 0.25, 1 / 3
DEFINITION = ("unit", "kind", "on")


class Row(NamedTuple):
    """One number, stored and here; `verdict` begins with one of `SAME`, or says what is wrong."""

    name: str
    stored: float | str
    here: float | str
    verdict: str

    @property
    def same(self) -> bool:
        """The two agree."""
        return self.verdict in SAME

    @property
    def comparable(self) -> bool:
        """The two can be compared at all."""
        return not self.verdict.startswith("not comparable")


def compare(stored: Results, here: Results) -> list[Row]:
    """Every metric and every verdict of two results of one chapter, profile and seed.

    Args:
        stored: the reference: `environment`, `metrics` and `claims`.
        here: the same, measured on this machine.
    """
    if other := other_data(stored, here):
        return [Row("data", *other)]
    same_machine = stored["environment"] == here["environment"]
    rows = _data(stored, here, same_machine)
    for name in {**stored["metrics"], **here["metrics"]}:  # in the order of the chapter
        old, new = stored["metrics"].get(name), here["metrics"].get(name)
        if old is None:
            row = Row(f"metrics/{name}", "-", new["mean"], "not stored")
        elif new is None:
            row = Row(f"metrics/{name}", old["mean"], "-", "not measured here")
        else:
            verdict = _by_tolerance(stored, name, compare_metric(old, new, same_machine))
            row = Row(f"metrics/{name}", old["mean"], new["mean"], verdict)
        rows.append(row)
    if "tolerances" not in stored:
        rows = _without_excuse(rows)
    return rows + _verdicts(stored, here, same_machine)


def other_data(stored: Results, here: Results) -> tuple[str, str, str] | None:
    """The first data set of which one side had the twin and the other the images."""
    old, new = _by_name(stored), _by_name(here)
    for name in old.keys() & new.keys():
        if old[name]["kind"] != new[name]["kind"]:
            was, now = (_named(d[name]) for d in (old, new))
            return was, now, "not comparable: measured on other data"
    return None


def _data(stored: Results, here: Results, same_machine: bool) -> list[Row]:
    """Data sets that are not the same; twins and images are, on every machine, phantoms nearly."""
    old, new = _by_name(stored), _by_name(here)
    rows = [
        Row(f"data/{name}", _named(old[name]) if name in old else "-",
            _named(new[name]) if name in new else "-", "differs")
        for name in {**old, **new}
        if old.get(name, {}).get("sha256") != new.get(name, {}).get("sha256")
    ]  # fmt: skip
    drawn = {f"data/{name}" for name in old.keys() & new.keys() if old[name]["kind"] == "phantom"}
    excuse = "not comparable: drawn on another machine"
    return [
        row._replace(verdict=excuse) if row.name in drawn and not same_machine else row
        for row in rows
    ]


def _by_name(run: Results) -> dict[str, dict[str, Any]]:
    return {d["name"]: d for d in run.get("data", [])}


def _named(dataset: dict[str, Any]) -> str:
    return f"{dataset['name']} ({dataset['kind']}, {dataset['sha256'][:8]})"


def _without_excuse(rows: list[Row]) -> list[Row]:
    """Another processor moves a few numbers far; where it would be more, they are not the same."""
    far = [row.verdict == OTHER_MACHINE and _far(row) for row in rows]
    if sum(far) <= FEW * len(rows):
        return rows
    return [
        row._replace(verdict="further off than another processor explains") if off else row
        for row, off in zip(rows, far, strict=True)
    ]


def _far(row: Row) -> bool:
    old, new = float(row.stored), float(row.here)
    return abs(new - old) > FAR * max(abs(old), abs(new))


def _by_tolerance(stored: Results, name: str, verdict: str) -> str:
    """Where tolerances were measured, another machine excuses only what none holds."""
    time = stored["metrics"][name]["unit"] in TIMES
    if "tolerances" not in stored or verdict != OTHER_MACHINE or time:
        return verdict
    return LOOSE if name in stored["tolerances"]["loose"] else "differs"


def compare_metric(stored: Metric, here: Metric, same_machine: bool) -> str:
    """How a metric agrees with its stored values.

    Exact ones must be equal. Seeded ones must lie within their tolerance; on another machine their
    mean may also lie where the stored seeds (three or more) let a repetition be expected.

    Args:
        stored: a metric of a results file.
        here: the same metric, measured now.
        same_machine: environments are equal.

    >>> one = {"values": [1.0], "unit": "", "kind": "seeded", "on": "test", "rtol": 0.02}
    >>> compare_metric(one, one | {"values": [1.1]}, same_machine=False)
    'not comparable: other machine, fewer than 3 seeds'
    """
    changed = [part for part in DEFINITION if stored.get(part) != here.get(part)]
    if changed:
        return f"{changed[0]} differs: {here.get(changed[0])!r} here"
    old, new = np.asarray(stored["values"], float), np.asarray(here["values"], float)
    if old.shape == new.shape and (old == new).all():
        return SAME[0]
    if stored["kind"] == "exact":
        return "differs"
    if old.shape == new.shape and np.abs(new - old).max() <= stored["rtol"] * np.abs(old).max():
        return SAME[1]
    if same_machine:
        return "differs"
    if len(old) < 3:
        return OTHER_MACHINE
    expected = stats.predictive_interval(old, len(new))
    if not math.isfinite(expected.width):
        return "not comparable: other machine, the stored seeds show no spread"
    inside = expected.low <= new.mean() <= expected.high
    return SAME[2] if inside else "outside the predictive interval"


def _verdicts(stored: Results, here: Results, same_machine: bool) -> list[Row]:
    """Verdicts must be equal on the same machine; on another one a change is worth a note."""
    old, new = ({c["id"]: c["verdict"] for c in r.get("claims", [])} for r in (stored, here))
    other = "differs" if same_machine else "not comparable: other machine"
    return [
        Row(f"claims/{id}", old[id], new[id], SAME[0] if old[id] == new[id] else other)
        for id in old
        if id in new
    ]
