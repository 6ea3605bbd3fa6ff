"""What a pilot tells before anything is measured: spread, seeds and units needed, what learns.

It has two seeds, so a spread is known to a factor of two or three at best: plan with reserve.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from medbook._book.markdown import duration, table
from medbook._book.project import Project
from medbook._book.runs.pace import CORES
from medbook.evaluate import stats
from medbook.evaluate.stats import Interval
from medbook.record import results
from medbook.record.claims import Claim
from medbook.record.results import Results

SCHEMA = 1
MAX_UNITS = 100_000
# The median of a chi-squared variable of one degree of freedom: the standard deviation of two
# values is too small as often as too large once it is divided by the root of it.
MEDIAN = 0.4549

Entry = dict[str, Any]


def summary(full: Results, half: Results, known: Mapping[str, Claim]) -> Entry:
    """What both runs of a pilot tell of the run that is planned.

    Args:
        full: results with all steps.
        half: results with half of them.
        known: the chapter's claims and controls, by id.

    Returns:
        arms (validation scores after all and after half of the steps, floors; `better`) and claims
        (effect, spread over seeds, half width over units, seeds and units needed), by name; the
        number of seeds that is planned; seconds of the pilot and of the planned run.
    """
    planned = full["pilot"]["seeds"]
    measured = [entry for entry in full["claims"] if entry["id"] in known]
    return {
        "schema": SCHEMA, "chapter": full["chapter"], "profile": full["profile"],
        "seed": full["seed"], "seeds": planned, "halved": full["pilot"]["stepped"],
        "seconds": _seconds(full, half, planned),
        "data": {entry["name"]: entry["kind"] for entry in full["data"]},
        "arms": _arms(full, half),
        "claims": {e["id"]: _needs(known[e["id"]], e, planned) for e in measured},
    }  # fmt: skip


def file_of(project: Project, chapter: str) -> Path:
    """Where the pilot of a chapter is stored."""
    return project.root / f"book/pilots/{chapter}.json"


def write(project: Project, found: Entry) -> Path:
    """Store a pilot in `book/pilots`; its path."""
    path = file_of(project, found["chapter"])
    results.write_atomic(path, results.text_of(found))
    return path


def told(found: Entry) -> str:
    """Both tables and the times, in Markdown."""
    seconds, planned = found["seconds"], found["seeds"]
    times = (
        f"{duration(seconds['full'])} for all steps, {duration(seconds['half'])} for half of them; "
        f"{planned} seeds will take about {duration(seconds['planned'])}"
    )
    twins = [name for name, kind in found["data"].items() if kind == "twin"]
    notes = [f"the twin stands in for {name}, which has no validation split" for name in twins]
    if not found["halved"]:
        notes.append("no steps were halved, as none come from run.steps")
    parts = [_claims_table(found), _arms_table(found), times, *notes]
    return "\n\n".join(part for part in parts if part)


# ---------------------------------------------------------------- claims


def seeds_needed(
    kind: str, margin: float, effect: float, spread: float, cases: float
) -> int | None:
    """The least number of seeds that decides, if effect and spread are what the pilot says.

    Args:
        kind: of the claim.
        margin: of the claim.
        effect: mean.
        spread: standard deviation over seeds.
        cases: half width of the interval over units, which more seeds do not shorten.

    >>> seeds_needed("greater", 0.05, effect=0.1, spread=0.02, cases=0.0)
    3
    """
    first = 2 if spread else stats.SIGN_TEST_N
    return next(
        (
            n
            for n in range(first, stats.MAX_SEEDS + 1)
            if _decides(kind, margin, effect, math.hypot(_half(spread, n), cases))
        ),
        None,
    )


def units_needed(
    kind: str, margin: float, effect: float, seeds: float, cases: float, units: int
) -> int | None:
    """The least number of units that decides with the planned seeds.

    Args:
        kind: of the claim.
        margin: of the claim.
        effect: mean.
        seeds: half width of the interval over the planned seeds.
        cases: half width over the units that there are; it shrinks with the root of their number.
        units: that there are.

    >>> units_needed("greater", 0.0, effect=0.1, seeds=0.0, cases=0.2, units=25)
    101
    """
    return next(
        (
            n
            for n in range(2, MAX_UNITS + 1)
            if _decides(kind, margin, effect, math.hypot(seeds, cases * math.sqrt(units / n)))
        ),
        None,
    )


def _needs(claim: Claim, measured: Entry, planned: int) -> Entry:
    effects = np.asarray(measured["effects"], float)
    spread = float(effects.std(ddof=1) / math.sqrt(MEDIAN)) if len(effects) > 1 else 0.0
    cases, units = _over_units(measured, effects)
    about = claim.kind, claim.margin, measured["effect"]
    found = {
        "effect": measured["effect"], "margin": claim.margin, "hash": claim.hash,
        "spread": spread, "cases": cases, "units": units,
        "seeds_needed": seeds_needed(*about, spread, cases), "units_needed": None,
    }  # fmt: skip
    if units:
        planned_half = _half(spread, planned) if len(effects) > 1 and planned > 1 else 0.0
        found["units_needed"] = units_needed(*about, planned_half, cases, units)
    if len(effects) == 1:  # nothing random: seeds do not help
        found["seeds_needed"] = None if units else 1
    return found


def _over_units(measured: Entry, effects: stats.Array) -> tuple[float, int]:
    """Half width of the part of the interval that comes from the units, and their number."""
    if "cases" in measured:  # a first edition keeps it apart
        cases = measured["cases"]
        return (cases["high"] - cases["low"]) / 2, cases["n"]
    if not measured.get("units") or measured["low"] is None:
        return 0.0, measured.get("units") or 0
    whole = (measured["high"] - measured["low"]) / 2
    seeds = 0.0 if len(effects) == 1 else stats.t_interval(effects).width / 2
    return math.sqrt(max(whole**2 - seeds**2, 0.0)), measured["units"]


def _half(spread: float, n: int, quantile: float = 0.5 + stats.LEVEL / 2) -> float:
    return float(stdtrit(n - 1, quantile)) * spread / math.sqrt(n)


def _decides(kind: str, margin: float, effect: float, half: float) -> bool:
    interval = Interval(effect, effect - half, effect + half, 0)
    return stats.verdict(kind, interval, margin) != "inconclusive"


def _claims_table(found: Entry) -> str:
    head = ["claim", "margin", "effect in the pilot", "spread over seeds", "seeds needed",
            "half width over units", "units needed"]  # fmt: skip
    rows = [
        [id, c["margin"], _number(c["effect"]), _number(c["spread"]), _of(c["seeds_needed"]),
         _number(c["cases"]) if c["units"] else "",
         f"{_of(c['units_needed'])} (has {c['units']})" if c["units"] else ""]
        for id, c in found["claims"].items()
    ]  # fmt: skip
    return table(head, rows) if rows else ""


# ---------------------------------------------------------------- arms


def _arms(full: Results, half: Results) -> dict[str, Entry]:
    """Trained arms that both runs know, with what the claims beside them may not exceed."""
    short = {arm["name"]: arm for arm in half["arms"]}
    margins = {entry["id"]: entry.get("arms", ()) for entry in full["claims"]}
    return {
        arm["name"]: {
            "full": arm["validation"], "half": short[arm["name"]]["validation"],
            "floor": arm["floor"], "better": arm["better"], "steps": arm["steps"],
            "claims": [id for id, names in margins.items() if arm["name"] in names],
        }
        for arm in full["arms"]
        if arm.get("validation") and arm["name"] in short
    }  # fmt: skip


def has_learned(arm: Entry, seeds: int) -> str:
    """Whether an arm beats its floor: `yes`, `no`, or `too few seeds`.

    With the last it does in both seeds, but not clearly enough for the planned number of them.

    >>> has_learned({"full": [0.9, 0.8], "floor": [0.5, 0.85], "better": "higher"}, seeds=8)
    'no'
    """
    gain = stats.paired_effect(arm["full"], arm["floor"], arm["better"])
    if gain.min() <= 0:
        return "no"
    spread = float(gain.std(ddof=1)) / math.sqrt(MEDIAN) if len(gain) > 1 else 0.0
    needed = _half(spread, max(seeds, 2), 1 - stats.LEARNED_ERROR)
    return "yes" if gain.mean() > needed else "too few seeds"


def moved(arm: Entry) -> float:
    """How far the second half of the steps moved the validation score of an arm."""
    return float(np.mean(arm["full"]) - np.mean(arm["half"]))


def budget_limited(arm: Entry, claims: Mapping[str, Entry]) -> list[str]:
    """Claims whose margin the second half of an arm's steps exceeds."""
    return [id for id in arm["claims"] if abs(moved(arm)) > claims[id]["margin"]]


def _arms_table(found: Entry) -> str:
    head = ["arm", "steps", "validation", "with half of the steps", "floor", "learned?",
            "budget-limited for"]  # fmt: skip
    rows = [
        [name, a["steps"], _numbers(a["full"]), _numbers(a["half"]), _numbers(a["floor"]),
         has_learned(a, found["seeds"]), ", ".join(budget_limited(a, found["claims"])) or "no"]
        for name, a in found["arms"].items()
    ]  # fmt: skip
    return table(head, rows) if rows else ""


# ---------------------------------------------------------------- times and numbers


def _seconds(full: Results, half: Results, planned: int) -> Entry:
    """Of both runs, and of the planned one if every trial belongs to a seed."""
    trials = sum(sum(t["seconds"]) for t in full["trials"].values()) / CORES
    more = max(planned / min(planned or 1, 2) - 1, 0)
    return {
        "full": full["seconds"], "half": half["seconds"],
        "planned": round(full["seconds"] + trials * more, 1),
    }  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.3g}"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(map(_number, values))


def _of(count: int | None) -> str:
    return "too many" if count is None else str(count)
