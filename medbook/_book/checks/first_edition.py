"""Claims of chapters in their first edition, which stored effects instead of naming metrics.

Deleted with `medbook.record.first_edition`.
"""

from collections.abc import Iterator
from typing import Any

from medbook._book.checks.numbers import close, number
from medbook.errors import MedbookError
from medbook.evaluate import stats
from medbook.record import claims
from medbook.record.claims import Claim
from medbook.record.profiles import PROFILES
from medbook.record.results import Results

EARLIER = "interval from an earlier run"  # error over cases, or sweep, that it did not store


def unsound_claims(stored: Results, known: dict[str, Claim]) -> Iterator[str]:
    measured = {claim["id"]: claim for claim in stored["claims"]}
    where = claims.claims_file(stored["chapter"])
    for id in sorted(known.keys() - measured.keys()):
        yield f"claims/{id}: stands in {where} but has no value"
    for id, claim in measured.items():
        if id not in known:
            yield f"claims/{id}: has a value but does not stand in {where}"
        elif claim["hash"] != known[id].hash:
            yield f"claims/{id}: revised after the result: run again with a new base seed"
        else:
            problems = _claim(claim, known[id], stored["profile"])
            yield from (f"claims/{id}: {problem}" for problem in problems)


def _claim(stored: dict[str, Any], claim: Claim, profile: str) -> Iterator[str]:
    """Effect, interval and verdict follow from the effects, the sweep and the error over cases."""
    found = derived(stored, claim)
    if not close(stored["effect"], found.mean):
        yield f"effect {stored['effect']} does not follow from effects"
    if stored["n"] != found.n:
        yield f"n {stored['n']} is not the number of effects"
    low, high = number(stored["low"], "low"), number(stored["high"], "high")
    if stored.get("cases") == EARLIER:  # all that can be said of it
        sound = low <= found.low and found.high <= high
    else:
        sound = close(low, found.low) and close(high, found.high)
    if not sound:
        yield f"interval [{stored['low']}, {stored['high']}] does not follow from effects"
    if claim.kind == "monotone" and not _same_trend(stored, claim):
        yield "effects do not follow from the sweep"
        return
    expected = _verdicts(stored, claim, found._replace(low=low, high=high))
    if PROFILES.index(profile) < PROFILES.index(claim.profile):
        expected = ("not tested",)
    if stored["verdict"] not in expected:
        yield f"verdict {stored['verdict']!r} should be {' or '.join(map(repr, expected))}"


def derived(stored: dict[str, Any], claim: Claim) -> stats.Interval:
    """The interval that a claim's stored effects, and its error over cases, give."""
    effects = stored["effects"]
    if claim.kind == "exact":
        return stats.Interval(effects[0], effects[0], effects[0], len(effects))
    over_seeds, cases = stats.t_interval(effects), stored.get("cases", EARLIER)
    if cases == EARLIER:
        return over_seeds
    low, high = number(cases["low"], "low"), number(cases["high"], "high")
    return stats.combined(over_seeds, stats.Interval(over_seeds.mean, low, high, cases["n"]))


def _same_trend(stored: dict[str, Any], claim: Claim) -> bool:
    if stored.get("sweep") == EARLIER:
        return True
    try:
        found = stats.trend(stored.get("sweep", ()), claim.better)
    except MedbookError:  # no sweep, or none of a monotone claim
        return False
    return len(found) == stored["n"] and all(map(close, found, stored["effects"]))


def _verdicts(stored: dict[str, Any], claim: Claim, interval: stats.Interval) -> tuple[str, ...]:
    """The verdict that follows; two where a step back on an unknown way would change it."""
    found = stats.verdict(claim.kind, interval, claim.margin)
    if claim.kind != "monotone":
        return (found,)
    if stored["sweep"] != EARLIER:
        return (stats.verdict_of_sweep(stored["sweep"], claim.margin, claim.better),)
    return (found,) if found == "opposite" else (found, "not reproduced")
