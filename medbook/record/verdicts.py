"""What recorded numbers say about a claim: its effect, interval and verdict.

A run derives them when it ends, and whoever checks the stored results derives them again: nothing
of a claim is stored that does not follow from metrics, arms and the claims file.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medbook.errors import MedbookError
from medbook.evaluate import stats
from medbook.evaluate.stats import Array, Interval
from medbook.paths import content_root
from medbook.record.cases import SCORES, Cases
from medbook.record.claims import Claim
from medbook.record.profiles import PROFILES

MARGINS = {"0.5": 0.5, "1": 1.0, "2": 2.0}  # times the claim's own
PILOTED = "laptop"
NOT_TESTED = "not tested"
SIDES = ("ours", "baseline")

Entry = dict[str, Any]
Named = Mapping[str, Any]  # "ours" and "baseline", or "sweep": names of metrics


@dataclass(frozen=True)
class Numbers:
    """What a run has recorded.

    Attributes:
        profile: of the run.
        metrics: by name, as in the results file.
        arms: by name, as in the results file.
        data: kind of each data set.
        seeds: how many the run has drawn; None if that is not known.
        cases: scores of single cases, see `medbook.record.cases`.
        pilot: arms of the chapter's pilot, validation scores after all and after half the steps.
    """

    profile: str
    metrics: Mapping[str, Entry]
    arms: Mapping[str, Entry]
    data: Mapping[str, str] = field(default_factory=dict)
    seeds: int | None = None
    cases: Cases = field(default_factory=dict)
    pilot: Mapping[str, Entry] = field(default_factory=dict)


class Scores(NamedTuple):
    """Values of a metric, with those of its cases where there are any."""

    values: Array  # (n_seeds,) or (n_seeds, n_cases)
    units: NDArray[Any] | None
    strata: NDArray[Any] | None

    @property
    def mean(self) -> float:
        """Over seeds and cases."""
        return float(self.values.mean())


def pilot_arms(chapter: str, profile: str, root: Path | None = None) -> dict[str, Entry]:
    """Validation scores of the chapter's pilot, with all and with half of the steps, by arm.

    None at other profiles than the pilot's, as they train longer or less, or before a pilot.
    """
    path = (root or content_root()) / f"book/pilots/{chapter}.json"
    if profile != PILOTED or not path.exists():
        return {}
    found: dict[str, Entry] = json.loads(path.read_text(encoding="utf-8"))["arms"]
    return found


def judged(claim: Claim, named: Named, run: Numbers) -> Entry:
    """The record of a claim, controls left aside.

    Args:
        claim: of the chapter's claims file.
        named: metrics that are `ours` and `baseline`, or the `sweep`.
        run: what was recorded.

    Raises:
        MedbookError: a metric is unknown, of another arm than the claim says, or does not fit.
    """
    names = _names(claim, named)
    for name, arms in zip(names, _arms_of(claim, len(names)), strict=True):
        _need_arms(claim, name, arms, run)
    scores = [_scores(name, run) for name in names]
    used = list(dict.fromkeys(arm for name in names for arm in run.metrics[name]["arm"]))
    trained = [arm for arm in used if run.arms[arm]["weights"]]
    steps = [_effect(claim, before, after, trained) for before, after in _pairs(claim, scores)]
    whole = steps[0] if len(steps) == 1 else _effect(claim, scores[0], scores[-1], trained)
    _need_independent(claim, whole, trained, run)
    interval = whole.interval
    found = {
        name: _word(claim, interval, [step.interval for step in steps], times * claim.margin)
        for name, times in MARGINS.items()
    }
    unlearned = [arm for arm in trained if run.arms[arm]["learned"] is False]
    moved = [arm for arm in trained if _moved(run.pilot.get(arm), claim.margin)]
    too_small = PROFILES.index(run.profile) < PROFILES.index(claim.profile)
    if too_small or unlearned:
        found = dict.fromkeys(found, NOT_TESTED)
    return {
        "id": claim.id, "hash": claim.hash, "verdict": found["1"],
        "label": _label(found["1"], claim, unlearned, moved, too_small=too_small), **named,
        "scores": _both(claim, scores), "effect": interval.mean,
        "low": interval.low, "high": interval.high, "n": len(whole.effects),
        "units": None if whole.units is None else len(np.unique(whole.units)),
        "effects": whole.by_seed.tolist(), "verdicts": found, "arms": used,
        "not_learned": unlearned, "at_budget": moved, "data": run.data.get(claim.data, "none"),
        "seeds_needed": whole.seeds_needed(claim) if found["1"] == "inconclusive" else None,
    }  # fmt: skip


def with_controls(records: Iterable[Entry], known: Mapping[str, Claim]) -> list[Entry]:
    """The same records; what a control guards is not reproduced if that control fails.

    Args:
        records: of claims and controls.
        known: all of the chapter, by id.
    """
    records = list(records)
    failed: dict[str, str] = {}
    for record in records:
        if known[record["id"]].guards and record["verdict"] == "not reproduced":
            for guarded in known[record["id"]].guards:
                failed[guarded] = record["id"]
    return [_guarded(r, failed[r["id"]]) if r["id"] in failed else r for r in records]


def _guarded(record: Entry, control: str) -> Entry:
    words = {k: NOT_TESTED if v == "reproduced" else v for k, v in record["verdicts"].items()}
    if record["verdict"] != "reproduced":
        return record | {"verdicts": words}
    label = f"{NOT_TESTED} (control {control} failed)"
    return record | {"verdict": NOT_TESTED, "label": label, "verdicts": words}


@dataclass(frozen=True)
class _Effect:
    """Paired differences of two metrics, positive where they speak for the claim."""

    effects: Array  # (n_seeds,) or (n_seeds, n_cases)
    units: NDArray[Any] | None
    strata: NDArray[Any] | None
    trained: bool

    @property
    def by_seed(self) -> Array:
        return self.effects if self.effects.ndim == 1 else self.effects.mean(1)

    @property
    def interval(self) -> Interval:
        """Over seeds and units; over units alone where nothing was trained or drawn."""
        if self.units is not None and len(self.effects) == 1 and not self.trained:
            return stats.cluster_bootstrap(self.effects[0], self.units, self.strata)
        return stats.paired_interval(self.effects, self.units, self.strata)

    def seeds_needed(self, claim: Claim) -> int | None:
        if len(self.effects) == 1:
            return None
        return stats.seeds_needed(self.effects, claim.kind, claim.margin, self.units, self.strata)


def _names(claim: Claim, named: Named) -> list[str]:
    """Metrics in the order of the claim's arms; of a sweep, along it."""
    wanted = ("sweep",) if claim.kind == "monotone" else SIDES
    given = tuple(what for what, name in named.items() if name)
    if given != wanted:
        raise MedbookError(
            f"claim {claim.id}: kind {claim.kind} takes {' and '.join(wanted)}, names of recorded "
            f"metrics, not {' and '.join(given) or 'nothing'}"
        )
    return list(named["sweep"]) if claim.kind == "monotone" else [named[side] for side in SIDES]


def _arms_of(claim: Claim, n: int) -> list[tuple[str, ...]]:
    """Arms that each metric has to come from, as the claims file says."""
    if claim.kind == "monotone":
        points = claim.arms.get("sweep")
        listed = points if isinstance(points, tuple) else (points,) * n
        if points is None or len(listed) != n:
            raise MedbookError(
                f"claim {claim.id}: arms: {{sweep: ...}} has to name the arm of each of {n} points"
            )
        return [(str(arm),) for arm in listed]
    if missing := [side for side in SIDES if side not in claim.arms]:
        raise MedbookError(f"claim {claim.id}: arms lack {' and '.join(missing)}")
    sides = (claim.arms[side] for side in SIDES)
    return [side if isinstance(side, tuple) else (str(side),) for side in sides]


def _need_arms(claim: Claim, name: str, arms: Sequence[str], run: Numbers) -> None:
    if name not in run.metrics:
        raise MedbookError(f"claim {claim.id}: no metric {name!r} is recorded: run.record it first")
    measured = run.metrics[name].get("arm") or []
    if sorted(measured) != sorted(arms):
        raise MedbookError(
            f"claim {claim.id}: {name!r} was measured with {_listed(measured) or 'no arm'}, the "
            f"claims file says {_listed(arms)}"
        )
    if missing := [arm for arm in arms if arm not in run.arms]:
        raise MedbookError(f"claim {claim.id}: run.arm has not entered {_listed(missing)}")


def _need_independent(claim: Claim, effect: _Effect, trained: list[str], run: Numbers) -> None:
    """No more values than networks were trained, or than seeds were drawn."""
    n = len(effect.effects)
    for arm in trained:
        if n > (networks := len(set(run.arms[arm]["weights"]))):
            raise MedbookError(
                f"claim {claim.id}: {n} values from {networks} trained {_networks(networks)} of "
                f"{arm!r}: only those are independent, so average over the others"
            )
    if run.seeds is not None and n > max(1, run.seeds):
        raise MedbookError(f"claim {claim.id}: {n} values, but the run drew {run.seeds} seeds")


def _networks(n: int) -> str:
    return "network" if n == 1 else "networks"


def _scores(name: str, run: Numbers) -> Scores:
    metric = run.metrics[name]
    if "cases" not in metric:
        return Scores(np.asarray(metric["values"], float), None, None)
    units, strata = (metric["cases"][what] for what in ("units", "strata"))
    try:
        values = run.cases[SCORES + name].astype(float)
        units, strata = (None if label is None else run.cases[label] for label in (units, strata))
    except KeyError as error:
        raise MedbookError(f"metrics/{name}: the file of cases lacks {error}") from None
    return Scores(values, units, strata)


def _pairs(claim: Claim, scores: list[Scores]) -> list[tuple[Scores, Scores]]:
    """(ours, baseline); of a sweep each point and the next."""
    if claim.kind != "monotone":
        return [(scores[0], scores[1])]
    if len(scores) < 3:
        raise MedbookError(f"claim {claim.id}: a sweep has points >= 3, not {len(scores)}")
    return list(pairwise(scores))


def _effect(claim: Claim, first: Scores, second: Scores, trained: list[str]) -> _Effect:
    """Of (ours, baseline), or of a step of a sweep from `first` to `second`."""
    for what, one, other in (("units", first.units, second.units),
                             ("strata", first.strata, second.strata)):  # fmt: skip
        if not _same(one, other):
            raise MedbookError(f"claim {claim.id}: its metrics have other {what}: record the same")
    ours, baseline = (second, first) if claim.kind == "monotone" else (first, second)
    a, b = _aligned(ours.values, baseline.values)
    effects = stats.paired_effect(a, b, claim.better)
    return _Effect(effects, ours.units, ours.strata, bool(trained))


def _both(claim: Claim, scores: list[Scores]) -> list[float]:
    """Mean of ours and of the baseline; of a sweep, of its last and its first point."""
    ours, baseline = (scores[-1], scores[0]) if claim.kind == "monotone" else scores
    return [ours.mean, baseline.mean]


def _same(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other))


def _aligned(a: Array, b: Array) -> tuple[Array, Array]:
    """What has one value, as it is the same for all seeds, is paired with each of the other's."""
    n = max(len(a), len(b))
    a, b = (np.repeat(x, n, axis=0) if len(x) == 1 else x for x in (a, b))
    return a, b


def _word(claim: Claim, whole: Interval, steps: list[Interval], margin: float) -> str:
    """The verdict; a sweep with a step that surely runs back is not reproduced."""
    found = stats.verdict(claim.kind, whole, margin)
    back = claim.kind == "monotone" and any(step.high < -margin for step in steps)
    return "not reproduced" if back and found != "opposite" else found


def _moved(pilot: Entry | None, margin: float) -> bool:
    """True if the second half of an arm's steps moved its validation score by more than that."""
    if not pilot:
        return False
    return bool(abs(np.mean(pilot["full"]) - np.mean(pilot["half"])) > margin)


def _label(
    word: str, claim: Claim, unlearned: list[str], moved: list[str], *, too_small: bool
) -> str:
    """The verdict with what limits it, as tables show it."""
    if too_small:
        return f"{word} at this profile (needs {claim.profile})"
    if unlearned:
        have = "has" if len(unlearned) == 1 else "have"
        return f"{word} ({_listed(unlearned)} {have} not learned)"
    return f"{word} at this budget" if moved else word


def _listed(names: Sequence[str]) -> str:
    return " and ".join(", ".join(names).rsplit(", ", 1)) if len(names) > 1 else "".join(names)
