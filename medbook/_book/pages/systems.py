"""A page for each system: its claims, controls, arms and checks, from what is stored."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medbook._book.markdown import link, table, title
from medbook._book.pages import scoreboard, withdrawn
from medbook._book.pages.scoreboard import States, chapter_link, decided_at, marked
from medbook._book.project import Project
from medbook._book.stored import replications
from medbook._book.stored.findings import Checked, Stored, checks_of, stored_of, systems_of
from medbook._book.stored.replications import Pool
from medbook.evaluate import stats
from medbook.record.claims import Claim, Reported, System
from medbook.record.profiles import PROFILES
from medbook.record.results import Results
from medbook.show.measured import Measured, joined, measured

FOLDER = "book/systems"
CHANGED = "claim changed, not run again"
ABOUT_ARMS = (
    "What each arm was given. An arm *has learned* if its validation score is clearly better than "
    "its floor in every seed; the pilot also trained it with half of its steps."
)
DOUBTFUL = ("checked by smoke", "stale")
RESULTS = ["profile", "verdict", "at ½ margin", "at 2 margins", "ours", "baseline",
           "effect [95 % interval]", "from", "replicated"]  # fmt: skip
ARMS = ["arm", "images", "steps", "parameters", "settings tried", "seeds", "validation", "floor",
        "has learned", "half the steps (pilot)"]  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """What all pages are made from."""

    project: Project
    stored: Stored
    pool: Pool
    states: States
    withdrawn: Sequence[withdrawn.Withdrawn]


def pages(project: Project, states: States) -> dict[str, str]:
    """The pages of all systems that claim or check something: path in the checkout -> Markdown.

    Args:
        project: the checkout.
        states: state of the stored results of each chapter and profile.
    """
    stored = stored_of(project)
    pool = replications.collect(project, stored)
    evidence = Evidence(project, stored, pool, states, withdrawn.load(project))
    return {path_of(system): page(system, evidence) for system in begun(project)}


def begun(project: Project) -> list[System]:
    """The systems that have a page."""
    return [system for system in systems_of(project) if system.claims or system.checks]


def entries(project: Project) -> dict[str, str]:
    """The pages as a table of contents names them, and how it calls them."""
    named = {path_of(system): scoreboard.short(system) for system in begun(project)}
    return {path.removesuffix(".md"): name for path, name in named.items()}


def path_of(system: System) -> str:
    """Where the page of a system lies in the checkout that the site is made from."""
    return f"{FOLDER}/{system.slug}.md"


def page(system: System, evidence: Evidence) -> str:
    """Everything that is stored of one system."""
    stored = evidence.stored
    blocks = [f"# {system.title}", *_head(system, evidence)]
    if lines := scoreboard.lines_of(system, stored):
        blocks += [f"## Effects at {decided_at(system, stored)}"]
        blocks += [scoreboard.figure([system], lines, "#{id}")]
    blocks += _claims("Claims", system, system.claims, evidence)
    blocks += _claims("Controls", system, system.controls, evidence)
    blocks += [*_checks(system, stored), *_arms(system, evidence)]
    blocks += [*_replications(system, evidence.pool), *_withdrawn(system, evidence)]
    return "\n\n".join(blocks) + "\n"


def _head(system: System, evidence: Evidence) -> Iterator[str]:
    """Who, when, where to read it, and which stored runs are not of today's source."""
    places = [link(name, url) for name, url in system.links.items()]
    yield ". ".join([f"{', '.join(system.authors)} ({system.year})", *places]) + "."
    mine = {p: evidence.states[system.chapter, p] for p in PROFILES}
    old = [f"its `{p}` run is {state.name}" for p, state in mine.items() if state.name in DOUBTFUL]
    where = chapter_link(evidence.project, system, title(system.chapter), "../notebooks")
    yield f"Chapter: {'; '.join([where, *old])}. [All systems](../scoreboard.md)."


def _claims(
    head: str, system: System, claims: Sequence[Claim], evidence: Evidence
) -> Iterator[str]:
    """A heading for each claim, what it says, and a row for each profile that measured it."""
    if claims:
        yield f"## {head}"
    for claim in claims:
        yield f"### {claim.id}"
        yield f"{claim.statement}{f' (revised: {claim.revised})' if claim.revised else ''}"
        yield "\n".join(f"- *{name}:* {words}" for name, words in _words(claim))
        large_enough = PROFILES[PROFILES.index(claim.profile) :]
        runs = [evidence.stored.get((system.chapter, profile)) for profile in large_enough]
        rows = [row for run in runs if run for row in _results(claim, run, evidence.pool)]
        yield _narrow(RESULTS, rows) if rows else f"Not tested yet: this needs {claim.profile}."


def _words(claim: Claim) -> Iterator[tuple[str, str]]:
    """What is compared, where the margin comes from, and what the paper reports."""
    line = Measured(claim, {})
    ours, baseline = line.names
    better = f"{claim.better} speaks for the {'control' if claim.guards else 'claim'}"
    yield "compared", f"{ours} with {baseline}, in {claim.metric} ({better}); data {claim.data}"
    yield (
        "kind and margin",
        f"{claim.kind}, {line.margin}" + (f": {claim.margin_from}" if claim.margin_from else ""),
    )
    if claim.guards:
        yield "guards", f"{joined(claim.guards)}, not reproduced if this control fails"
        return
    if claim.source == "ours":
        yield "source", "our own question, not counted among the paper's claims"
    yield "the paper's number", claim.paper
    if claim.reported:
        yield "the paper's own table", _chance(claim.reported)


def _chance(reported: Reported) -> str:
    """Could the paper's own table decide?"""
    chance = stats.chance_of_difference(reported.ours, reported.baseline, reported.n)
    return (
        f"{reported.ours:g} against {reported.baseline:g} on {reported.n} cases. Two methods that "
        "are equally good, and err independently of each other, differ by as much with a "
        f"probability of {chance:.2g}"
    )


def _results(claim: Claim, run: Results, pool: Pool) -> Iterator[list[str]]:
    """The row of a claim in the results of one profile, if they hold it."""
    for line in measured({claim.id: claim}, run):
        record, profile = line.record, run["profile"]
        if record["hash"] != claim.hash:
            yield [profile, CHANGED, *[""] * (len(RESULTS) - 2)]
            continue
        others = (record.get("verdicts", {}).get(margin, "") for margin in ("0.5", "2"))
        scores = [line.number(score) for score in line.scores] if line.scores else ["", ""]
        verdict = marked(line.verdict, record.get("label", ""))
        same = _replicated(record, pool.verdicts(profile, record))
        yield [profile, verdict, *others, *scores, line.interval, _from(record), same]


def _from(record: Mapping[str, Any]) -> str:
    """How many seeds and independent units, and what kind of data."""
    n, units = record["n"], record.get("units")
    parts = [f"{n} {'seed' if n == 1 else 'seeds'}", f"{units} units" if units else ""]
    kind = str(record["data"])
    return ", ".join(filter(None, [*parts, kind if kind != "none" else ""]))


def _replicated(record: Mapping[str, Any], verdicts: Sequence[str]) -> str:
    """How many runs of other seeds came to the same verdict."""
    return f"{verdicts.count(record['verdict'])} of {len(verdicts)}" if verdicts else ""


def _checks(system: System, stored: Stored) -> Iterator[str]:
    """Identities and agreements: they hold or not, and are no claims."""
    made = list(checks_of(system, stored))
    rows = [
        [f"{check.id}: {check.statement}", f"{check.tolerance:g}"]
        + [_outcome([m for m in made if m.check is check and m.profile == p]) for p in PROFILES]
        for check in system.checks
    ]
    if rows:
        yield "## Checks"
        yield "What must hold if the code is right. It is shown with the worst difference."
        yield _narrow(["check", "tolerance", *PROFILES], rows)


def _outcome(made: Sequence[Checked]) -> str:
    return f"{'holds' if made[0].holds else 'does not hold'} ({made[0].worst:.2g})" if made else ""


def _arms(system: System, evidence: Evidence) -> Iterator[str]:
    """What the arms that the claims rest on were given, and whether they learned."""
    profile = decided_at(system, evidence.stored)
    if profile is None:
        return
    run, pilot = evidence.stored[system.chapter, profile], _pilot(evidence.project, system.chapter)
    lines = scoreboard.lines_of(system, evidence.stored)
    used = {arm for line in lines for arm in line.record.get("arms", ())}
    shown = [arm for arm in run.get("arms", ()) if not used or arm["name"] in used]
    if shown:
        yield f"## Arms at {profile}"
        yield ABOUT_ARMS
        yield _narrow(ARMS, [_arm(arm, pilot.get(arm["name"])) for arm in shown])


def _arm(arm: Mapping[str, Any], pilot: Mapping[str, Any] | None) -> list[str]:
    learned = {True: "yes", False: "no", None: ""}[arm.get("learned")]
    given = (f"{arm[key]:,}" if arm.get(key) else "" for key in ("n_train", "steps", "parameters"))
    halved = f"{_mean(pilot['half'])} to {_mean(pilot['full'])}" if pilot else ""
    scores = _mean(arm.get("validation")), _mean(arm.get("floor"))
    seeds = len(arm.get("weights", ())) or ""
    return [arm["name"], *given, str(arm["trials"]), str(seeds), *scores, learned, halved]


def _mean(values: Sequence[float] | None) -> str:
    return f"{sum(values) / len(values):.3g}" if values else ""


def _pilot(project: Project, chapter: str) -> dict[str, Any]:
    """Arms of the chapter's pilot, by name."""
    path = project.root / f"book/pilots/{chapter}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return dict(found.get("arms", {}))


def _replications(system: System, pool: Pool) -> Iterator[str]:
    """The runs from other base seeds that count."""
    yield "## Replications"
    runs = [run for run in pool.counted if run["chapter"] == system.chapter]
    how = "[How to replicate](../verify.md) says how to add one."
    seeds = ", ".join(f"{run['seed']} ({run['profile']})" for run in runs)
    yield f"Runs from other base seeds: {seeds}." if runs else f"None is stored yet. {how}"


def _withdrawn(system: System, evidence: Evidence) -> Iterator[str]:
    """Verdicts on this system that the book no longer stands by."""
    mine = [entry for entry in evidence.withdrawn if entry.slug == system.slug]
    if mine:
        yield "## Withdrawn verdicts"
        yield withdrawn.rows(mine)


def _narrow(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table without the columns in which nothing stands."""
    kept = [i for i in range(len(head)) if any(row[i] for row in rows)]
    return table([head[i] for i in kept], [[row[i] for i in kept] for row in rows])
