"""Is a stored results file sound: does every number in it follow from the values it was made of?"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medbook._book.checks import first_edition
from medbook._book.checks.numbers import close, number, same
from medbook._book.checks.shown import other_notebook
from medbook._book.project import Chapter, Project
from medbook._book.stored import ledger
from medbook.errors import MedbookError
from medbook.evaluate import stats
from medbook.record import cases, claims, results, schema, verdicts
from medbook.record.cases import SCORES, Cases
from medbook.record.first_edition import still
from medbook.record.results import Results
from medbook.record.verdicts import Numbers

NAMES = ("ours", "baseline", "sweep")  # of metrics


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
        found += _derived(project, stored, path)
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
        known = _known(project, run)
        same_words = {
            part: [entry for entry in run.get(part, ()) if entry["hash"] == known.get(entry["id"])]
            for part in ("claims", "checks")
        }
        found = _derived(project, run | same_words, path, whole=False)
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


def _derived(project: Project, stored: Results, path: Path, *, whole: bool = True) -> Iterator[str]:
    """What of a results file does not follow from the rest; `whole` if no claim may be missing."""
    chapter, systems = stored["chapter"], project.root / "book/systems.yml"
    known, made = claims.chapter_claims(chapter, systems), claims.chapter_checks(chapter, systems)
    if not whole:
        stands = {entry["id"] for entry in (*stored["claims"], *stored.get("checks", ()))}
        known = {id: claim for id, claim in known.items() if id in stands}
        made = {id: check for id, check in made.items() if id in stands}
    yield from _metrics(stored)
    if still(chapter):
        exact = {check.id: check.was for check in made.values() if check.was}
        yield from first_edition.unsound_claims(stored, known | exact)
        return
    try:
        scores = cases.load(stored, path)
    except MedbookError as error:
        yield str(error)
        return
    run = Numbers(
        profile=stored["profile"],
        metrics=stored["metrics"],
        arms={arm["name"]: arm for arm in stored["arms"]},
        data={entry["name"]: entry["kind"] for entry in stored["data"]},
        seeds=stored.get("seeds"),
        cases=scores,
        pilot=verdicts.pilot_arms(chapter, stored["profile"], project.root),
    )
    yield from _arms(stored)
    yield from _cases(stored, scores)
    yield from _checks(stored, made)
    yield from _claims(stored, known, run)


def _known(project: Project, run: Results) -> dict[str, str]:
    """Hashes of claims and checks as they stand today."""
    systems = project.root / "book/systems.yml"
    known = claims.chapter_claims(run["chapter"], systems).values()
    made = claims.chapter_checks(run["chapter"], systems).values()
    return {c.id: c.hash for c in known} | {c.id: c.hash for c in made}


def _metrics(stored: Results) -> Iterator[str]:
    for name, metric in stored["metrics"].items():
        try:
            expected = stats.t_interval(metric["values"])
        except MedbookError as error:
            yield f"metrics/{name}: {error}"
            continue
        for part, value in zip(("mean", "low", "high"), expected, strict=False):
            if not close(number(metric[part], part), value):
                yield f"metrics/{name}: {part} {metric[part]} does not follow from values"


def _arms(stored: Results) -> Iterator[str]:
    """Whether an arm has learned follows from its scores and floors."""
    for arm in stored.get("arms", ()):
        if arm.get("validation") is None:
            if arm.get("learned") is not None:
                yield f"arms/{arm['name']}: learned {arm['learned']} without validation scores"
        elif arm["learned"] != stats.learned(arm["validation"], arm["floor"], arm["better"]):
            yield f"arms/{arm['name']}: learned {arm['learned']} does not follow from its scores"


def _checks(stored: Results, known: dict[str, claims.Check]) -> Iterator[str]:
    """Every check of the chapter has a value, and holds if that is within its tolerance."""
    made = {check["id"]: check for check in stored.get("checks", ())}
    yield from _listed(made, known, stored["chapter"], "checks")
    for id in made.keys() & known.keys():
        holds = made[id]["worst"] <= known[id].tolerance
        if made[id]["holds"] != holds:
            yield f"checks/{id}: holds {made[id]['holds']} does not follow from {made[id]['worst']}"


def _claims(stored: Results, known: dict[str, claims.Claim], run: Numbers) -> Iterator[str]:
    """Every part of a claim's record is derived again from metrics, arms and the claims file."""
    measured = {claim["id"]: claim for claim in stored["claims"]}
    yield from _listed(measured, known, stored["chapter"], "claims")
    again = []
    for id in measured.keys() & known.keys():
        named = {part: measured[id][part] for part in NAMES if measured[id].get(part)}
        try:
            again.append(verdicts.judged(known[id], named, run))
        except MedbookError as error:
            yield f"claims/{id}: {error}"
    for record in results.finite(verdicts.with_controls(again, known)):
        found = measured[record["id"]]
        for part in record.keys() | found.keys():
            if not same(found.get(part), record.get(part)):
                shown = f"{part} {found.get(part)!r:.60}"
                yield f"claims/{record['id']}: {shown} should be {record.get(part)!r:.60}"


def _listed(
    measured: Mapping[str, Any], known: Mapping[str, Any], chapter: str, what: str
) -> Iterator[str]:
    """Values for all that stands in the claims file, as it stands there, and for nothing else."""
    where = claims.claims_file(chapter)
    for id in sorted(known.keys() - measured.keys()):
        yield f"{what}/{id}: stands in {where} but has no value"
    for id in sorted(measured.keys() - known.keys()):
        yield f"{what}/{id}: has a value but does not stand in {where}"
    for id in sorted(measured.keys() & known.keys()):
        if measured[id]["hash"] != known[id].hash:
            yield f"{what}/{id}: revised after the result: run again with a new base seed"


def _cases(stored: Results, found: Cases) -> Iterator[str]:
    """Values of seeds are means of the scores of cases, and no score is left without its metric."""
    named = set()
    for name, metric in stored["metrics"].items():
        entry = metric.get("cases")
        if entry is None:
            continue
        parts = [SCORES + name, *filter(None, (entry["units"], entry["strata"]))]
        named |= set(parts)
        if missing := [part for part in parts if part not in found]:
            yield f"metrics/{name}: the file of cases lacks {missing[0]}"
            continue
        scores = found[SCORES + name]
        if not same(metric["values"], scores.mean(1, dtype=float).tolist()):
            yield f"metrics/{name}: values are not the means of its cases"
        if any(found[part].shape[-1] != entry["n"] for part in parts):
            yield f"metrics/{name}: n of its cases is not {entry['n']}"
    for name in sorted(found.keys() - named):
        yield f"metrics: the file of cases holds {name}, which no metric names"
