"""Is a stored results file sound: does every number in it follow from the values it was made of?"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medbook._book.checks.shown import other_notebook
from medbook._book.project import Chapter, Project
from medbook._book.stored import ledger
from medbook.errors import MedbookError
from medbook.evaluate import stats
from medbook.record import claims, schema
from medbook.record.profiles import PROFILES
from medbook.record.results import Results

EARLIER = "interval from an earlier run"  # error over cases, or sweep, that it did not store
TOLERANCE = 1e-9  # relative; the file holds every digit, only the order of sums may differ


def unsound(project: Project, chapter: Chapter, profile: str) -> list[str]:
    """What is wrong with the stored results (and, at laptop, the notebook) of a chapter.

    Returns:
        messages `book/results/x.laptop.json: metrics/acc: ...`; empty if all is well.
    """
    path = project.published(chapter.id, profile)
    name = path.relative_to(project.root).as_posix()
    found = []
    try:
        stored = schema.load(path)
    except MedbookError as error:
        found.append(str(error).removeprefix(f"{path.name}: "))
        stored = despite_digest(path)
    if stored and (stored["chapter"], stored["profile"]) != (chapter.id, profile):
        found.append(f"holds results of {stored['chapter']} at {stored['profile']}")
    elif stored:
        known = claims.chapter_claims(chapter.id, project.root / "book/systems.yml")
        found += [*_metrics(stored), *_claims(stored, known)]
        if profile != "smoke":
            found += ledger.contradictions(project, stored)
    messages = [f"{name}: {problem}" for problem in found]
    if stored and profile == "laptop":
        messages += other_notebook(project, chapter, stored)
    return messages


def unsound_replications(project: Project) -> list[str]:
    """What is wrong in files under `replications/`; claims that were worded otherwise do not count.

    Returns:
        messages `replications/x.json: metrics/acc: ...`.
    """
    messages = []
    for path in sorted(project.root.glob("replications/**/*.json")):
        if not (run := despite_digest(path)):
            continue  # `copies` names it
        known = claims.chapter_claims(run["chapter"], project.root / "book/systems.yml")
        hashes = {id: claim.hash for id, claim in known.items()}
        same = [claim for claim in run["claims"] if claim["hash"] == hashes.get(claim["id"])]
        asked = {claim["id"]: known[claim["id"]] for claim in same}
        found = [*_metrics(run), *_claims(run | {"claims": same}, asked)]
        messages += [f"{path.relative_to(project.root).as_posix()}: {text}" for text in found]
    return messages


def despite_digest(path: Path) -> Results:
    """Stored results, though their digest be wrong, to name what was changed; else nothing."""
    try:
        stored: Results = json.loads(path.read_text(encoding="utf-8"))
        schema.check(stored)
    except (OSError, ValueError, MedbookError):
        return {}
    return stored


def _metrics(stored: Results) -> Iterator[str]:
    for name, metric in stored["metrics"].items():
        try:
            expected = stats.t_interval(metric["values"])
        except MedbookError as error:
            yield f"metrics/{name}: {error}"
            continue
        for part, value in zip(("mean", "low", "high"), expected, strict=False):
            if not _close(_number(metric[part], part), value):
                yield f"metrics/{name}: {part} {metric[part]} does not follow from values"


def _claims(stored: Results, known: dict[str, claims.Claim]) -> Iterator[str]:
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


def _claim(stored: dict[str, Any], claim: claims.Claim, profile: str) -> Iterator[str]:
    """Effect, interval and verdict follow from the effects, the sweep and the error over cases."""
    found = derived(stored, claim)
    if not _close(stored["effect"], found.mean):
        yield f"effect {stored['effect']} does not follow from effects"
    if stored["n"] != found.n:
        yield f"n {stored['n']} is not the number of effects"
    low, high = _number(stored["low"], "low"), _number(stored["high"], "high")
    if stored.get("cases") == EARLIER:  # all that can be said of it
        sound = low <= found.low and found.high <= high
    else:
        sound = _close(low, found.low) and _close(high, found.high)
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


def derived(stored: dict[str, Any], claim: claims.Claim) -> stats.Interval:
    """The interval that a claim's stored effects, and its error over cases, give."""
    effects = stored["effects"]
    if claim.kind == "exact":
        return stats.Interval(effects[0], effects[0], effects[0], len(effects))
    over_seeds, cases = stats.t_interval(effects), stored.get("cases", EARLIER)
    if cases == EARLIER:
        return over_seeds
    low, high = _number(cases["low"], "low"), _number(cases["high"], "high")
    return stats.combined(over_seeds, stats.Interval(over_seeds.mean, low, high, cases["n"]))


def _same_trend(stored: dict[str, Any], claim: claims.Claim) -> bool:
    if stored.get("sweep") == EARLIER:
        return True
    try:
        found = stats.trend(stored.get("sweep", ()), claim.better)
    except MedbookError:  # no sweep, or none of a monotone claim
        return False
    return len(found) == stored["n"] and all(map(_close, found, stored["effects"]))


def _verdicts(
    stored: dict[str, Any], claim: claims.Claim, interval: stats.Interval
) -> tuple[str, ...]:
    """The verdict that follows; two where a step back on an unknown way would change it."""
    found = stats.verdict(claim.kind, interval, claim.margin)
    if claim.kind != "monotone":
        return (found,)
    if stored["sweep"] != EARLIER:
        return (stats.verdict_of_sweep(stored["sweep"], claim.margin, claim.better),)
    return (found,) if found == "opposite" else (found, "not reproduced")


def _number(value: float | None, end: str) -> float:
    """An end that the data do not bound is stored as null."""
    if value is None:
        return -math.inf if end == "low" else math.inf
    return value


def _close(a: float, b: float) -> bool:
    return a == b or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-12)
