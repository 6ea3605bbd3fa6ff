"""What claims and arms rest on, stored and here: not the word of a verdict alone."""

from collections.abc import Collection
from typing import Any

import numpy as np

from medbook._book.stored.compare import SAME, Row
from medbook.record.results import Results

# Of a claim, equal on every machine: names of metrics, and of arms, since the second edition.
WORDS = ("hash", "n", "data", "ours", "baseline", "sweep", "units", "arms")
NUMBERS = ("scores", "effect", "low", "high", "effects")
GIVEN = ("n_train", "steps", "parameters", "trials")  # to an arm; equal on every machine
REACHED = ("validation", "floor")  # by an arm, where that is stored
RTOL = 0.02  # as of seeded metrics
EARLIER = "interval from an earlier run"
OTHER = "not comparable: other machine"


def evidence(stored: Results, here: Results, timed: Collection[str] = ()) -> list[Row]:
    """Every part of every claim, check and arm of two results of one chapter, profile and seed.

    Args:
        stored: the reference.
        here: the same, measured on this machine.
        timed: claims on times, whose effects no two runs share.
    """
    same_machine = stored["environment"] == here["environment"]
    old, new = ({c["id"]: c for c in run["claims"]} for run in (stored, here))
    rows = [Row(f"claims/{id}", "stored", "-", "not measured here") for id in old.keys() - new]
    rows += [Row(f"claims/{id}", "-", "measured", "not stored") for id in new.keys() - old]
    for id in old.keys() & new:
        rows += _claim(f"claims/{id}", old[id], new[id], same_machine, timed=id in timed)
    return rows + _checks(stored, here) + _arms(stored, here, same_machine)


def _checks(stored: Results, here: Results) -> list[Row]:
    """Checks hold on every machine, or on none."""
    old, new = ({check["id"]: check for check in run.get("checks", [])} for run in (stored, here))
    rows = [Row(f"checks/{id}", "stored", "-", "not measured here") for id in old.keys() - new]
    rows += [Row(f"checks/{id}", "-", "measured", "not stored") for id in new.keys() - old]
    for id in old.keys() & new:
        for part in ("hash", "holds", "data"):
            was, now = old[id][part], new[id][part]
            rows.append(Row(f"checks/{id}/{part}", str(was), str(now), _word(was == now)))
    return rows


def _claim(
    name: str, old: dict[str, Any], new: dict[str, Any], same_machine: bool, *, timed: bool
) -> list[Row]:
    numbers = NUMBERS if _names(old.get("sweep")) else (*NUMBERS, "sweep")
    rows = [
        Row(f"{name}/{part}", str(old.get(part)), str(new.get(part)), _word(same))
        for part in WORDS
        if part not in numbers and (part in old or part in new)
        for same in [old.get(part) == new.get(part)]
    ]
    earlier = EARLIER in (old.get("cases"), old.get("sweep"))
    for part in numbers:
        if part not in old or part not in new or old[part] == EARLIER or timed:
            continue
        if part in ("low", "high") and earlier:
            continue  # other parts were stored then
        verdict = _number(old[part], new[part])
        if verdict not in SAME and not same_machine:
            verdict = OTHER
        rows.append(Row(f"{name}/{part}", _shown(old[part]), _shown(new[part]), verdict))
    return rows


def _arms(stored: Results, here: Results, same_machine: bool) -> list[Row]:
    old, new = ({arm["name"]: arm for arm in run.get("arms", [])} for run in (stored, here))
    rows = [Row(f"arms/{name}", "stored", "-", "not measured here") for name in old.keys() - new]
    rows += [Row(f"arms/{name}", "-", "measured", "not stored") for name in new.keys() - old]
    for name in old.keys() & new:
        for part in (*GIVEN, "weights"):
            was, now = old[name][part], new[name][part]
            excused = part == "weights" and not same_machine and len(was) == len(now)
            verdict = _word(was == now) if was == now or not excused else OTHER
            rows.append(Row(f"arms/{name}/{part}", str(was), str(now), verdict))
        for part in REACHED:
            was, now = old[name].get(part), new[name].get(part)
            if was is None and now is None:
                continue
            verdict = _number(was, now)
            if verdict not in SAME and not same_machine:
                verdict = OTHER
            rows.append(Row(f"arms/{name}/{part}", _shown(was), _shown(now), verdict))
    return rows


def _names(sweep: Any) -> bool:
    """Names of metrics; first editions store the numbers of a sweep."""
    return isinstance(sweep, list) and all(isinstance(name, str) for name in sweep)


def _word(same: bool) -> str:
    return SAME[0] if same else "differs"


def _number(old: Any, new: Any) -> str:
    """Numbers or tables of them; an end that nothing bounds is null on both sides."""
    if old == new:
        return SAME[0]
    if old is None or new is None or np.shape(old) != np.shape(new):
        return "differs"
    a, b = np.asarray(old, float), np.asarray(new, float)
    close = np.abs(b - a).max() <= RTOL * np.abs(a).max()
    return SAME[1] if close else "differs"


def _shown(value: Any) -> float | str:
    return value if isinstance(value, float) else f"{value!s:.60}"
