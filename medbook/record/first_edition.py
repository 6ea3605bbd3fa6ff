"""Chapters that pass arrays to `run.claim`, as all did in their first edition.

Deleted, with all that asks for it, when `CHAPTERS` is empty.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medbook.errors import MedbookError
from medbook.evaluate import stats
from medbook.record.claims import Claim, chapter_checks, chapter_claims

CHAPTERS = (
    "diffusion", "image_text_pretraining", "mri_reconstruction", "sparse_view_ct",
)  # fmt: skip

Entry = dict[str, Any]


def still(chapter: str) -> bool:
    """True of a chapter in its first edition."""
    return chapter in CHAPTERS


def claims_of(chapter: str, path: Path | None = None) -> dict[str, Claim]:
    """Claims by id, and as claims of kind `exact` the checks."""
    checks = chapter_checks(chapter, path).values()
    return chapter_claims(chapter, path) | {check.id: check.was for check in checks if check.was}


def judged(
    claim: Claim,
    ours: ArrayLike,
    baseline: ArrayLike | None,
    units: ArrayLike | None,
    data: str,
    *,
    tested: bool,
) -> Entry:
    """The record of a claim, its effects given as arrays; of an exact one, the worst difference."""
    if claim.kind == "exact":
        worst = float(np.abs(stats.paired_effect(ours, _given(claim, baseline))).max())
        interval = stats.Interval(worst, worst, worst, 1)
        word = stats.verdict("exact", interval, claim.margin)
        return _entry(claim, interval, np.array([worst]), word if tested else "not tested", data)
    if claim.kind == "monotone":
        effects = stats.trend(ours, claim.better)
    else:
        effects = stats.paired_effect(ours, _given(claim, baseline), claim.better)
    interval = stats.paired_interval(effects, units)
    word = stats.verdict(claim.kind, interval, claim.margin)
    if claim.kind == "monotone":
        word = stats.verdict_of_sweep(ours, claim.margin, claim.better)
    entry = _entry(claim, interval, effects, word if tested else "not tested", data)
    if word == "inconclusive":
        entry["seeds_needed"] = stats.seeds_needed(effects, claim.kind, claim.margin, units)
    if claim.kind == "monotone":
        return entry | {"sweep": np.asarray(ours, dtype=float).tolist()}
    if units is None:
        return entry
    cases = stats.cluster_bootstrap(effects.mean(0), units)
    return entry | {"cases": {"low": cases.low, "high": cases.high, "n": cases.n}}


def _given(claim: Claim, baseline: ArrayLike | None) -> ArrayLike:
    if baseline is None:
        raise MedbookError(f"claim {claim.id} needs a baseline")
    return baseline


def _entry(
    claim: Claim, interval: stats.Interval, effects: stats.Array, word: str, data: str
) -> Entry:
    return {
        "id": claim.id, "hash": claim.hash, "verdict": word,
        "effect": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n,
        "effects": (effects if effects.ndim == 1 else effects.mean(1)).tolist(),
        "data": data, "seeds_needed": None,
    }  # fmt: skip
