"""The scoreboard: every system, every tested claim, and what chance alone would give."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from medbook._book.markdown import framed, link, table, title
from medbook._book.project import Project
from medbook._book.stored import replications
from medbook._book.stored.findings import Finding, Stored, findings_of, stored_of, systems_of
from medbook._book.stored.replications import Pool
from medbook._book.stored.state import State
from medbook.evaluate.stats import LEVEL, VERDICTS
from medbook.record.claims import Claim, System
from medbook.record.profiles import PROFILES

FALSE_RATE = (1 - LEVEL) / 2  # of the verdict "reproduced" where there is no effect
DOUBTFUL = ("checked by smoke", "stale")

States = Mapping[tuple[str, str], State]  # (chapter, profile) -> state of what is stored


def page(project: Project, states: States) -> str:
    """Every system, every tested claim, and what chance alone would give.

    Args:
        project: the checkout.
        states: state of the stored results of each chapter and profile.
    """
    systems = systems_of(project)
    stored = stored_of(project)
    pool = replications.collect(project, stored)
    blocks = [
        "# Scoreboard",
        "Every claim that was tested and every system of the book, from the stored results. "
        "[How to verify](verify.md) explains verdicts and intervals. Effects are positive where "
        "they speak for the claim; the interval holds with 95 %. `twin` (a synthetic stand-in for "
        "a data set) and `phantom` mark what was not measured on real images.",
        "## Claims",
    ]
    for system in systems:
        if findings := list(findings_of(system, stored)):
            claims = _claims_table(system, findings, pool)
            blocks += [f"### {system.title}", _standing(project, system, states), claims]
    blocks += ["## Systems", *_overview(project, systems, stored)]
    blocks += ["## What chance alone would give", _chance(systems, stored, pool)]
    return "\n\n".join(blocks) + "\n"


def examples(project: Project) -> str:
    """Of the first chapter with results: the first claim of each verdict, of the simplest kind."""
    stored = stored_of(project)
    for system in systems_of(project):
        found = list(findings_of(system, stored))
        decided = [f for f in found if f.profile == found[-1].profile and f.counts]
        first = {f.verdict: f for f in reversed(decided) if f.claim.kind == "greater"}
        if first:
            rows = [
                [f.claim.statement, _effect(f.measured), f.claim.margin, _marked(f.verdict)]
                for f in sorted(first.values(), key=lambda f: VERDICTS.index(f.verdict))
            ]
            named = chapter_link(project, system, title(system.chapter).lower(), "notebooks")
            head = ["a claim", "measured effect [95 % interval]", "must exceed", "verdict"]
            return f"For example, from the chapter on {named}:\n\n{table(head, rows)}"
    return "No chapter is finished yet."


def _overview(project: Project, systems: list[System], stored: Stored) -> Iterator[str]:
    """A table a part, a row a system, a column a profile."""
    for part, members in groupby(systems, key=lambda system: system.part):
        rows = [
            [chapter_link(project, system, system.title, "notebooks")]
            + [summary(system, stored, profile) for profile in PROFILES]
            for system in members
        ]
        yield f"### {title(part)}\n\n{table(['system', *PROFILES], rows)}"


def summary(system: System, stored: Stored, profile: str) -> str:
    """Verdicts of a system at one profile, counted."""
    if not system.claims:
        return "planned"
    verdicts = Counter(t.verdict for t in findings_of(system, stored) if t.profile == profile)
    rank = {verdict: place for place, verdict in enumerate(VERDICTS)}
    known = sorted(verdicts.items(), key=lambda item: rank.get(item[0], len(rank)))
    return ", ".join(f"{count} {verdict}" for verdict, count in known) or "not run"


def _standing(project: Project, system: System, states: States) -> str:
    """Where the system is treated, and which of its stored runs are not of today's source."""
    mine = {profile: states[system.chapter, profile] for profile in PROFILES}
    old = [f"its `{p}` run is {state.name}" for p, state in mine.items() if state.name in DOUBTFUL]
    where = chapter_link(project, system, title(system.chapter), "notebooks")
    return f"Chapter: {'; '.join([where, *old])}."


def _claims_table(system: System, findings: list[Finding], pool: Pool) -> str:
    head = ["claim", "paper", "profile", "verdict", "effect", "margin", "from"]
    rows = []
    for claim in system.claims:
        decided = [f for f in findings if f.claim is claim and f.verdict != "not tested"]
        first = [_statement(claim), claim.paper]
        if not decided:
            rows.append([*first, claim.profile, _marked("not tested"), "", claim.margin, ""])
        for f in decided:
            effect = _effect(f.measured)
            verdict, evidence = _marked(f.verdict), _evidence(f, pool)
            rows.append([*first, f.profile, verdict, effect, claim.margin, evidence])
    return table(head, rows)


def _marked(verdict: str) -> str:
    return framed(verdict, verdict) if verdict in VERDICTS else verdict


def _statement(claim: Claim) -> str:
    revised = f" (revised: {claim.revised})" if claim.revised else ""
    return f"{claim.id}: {claim.statement}{revised}"


def _effect(measured: dict[str, Any]) -> str:
    low, high = (measured[end] for end in ("low", "high"))
    lower = "−∞" if low is None else f"{low:+.3g}"
    upper = "+∞" if high is None else f"{high:+.3g}"
    return f"{measured['effect']:+.3g} [{lower}, {upper}]"


def _evidence(finding: Finding, pool: Pool) -> str:
    """Seeds, kind of data, and how many runs of other seeds came to the same verdict."""
    verdicts = pool.verdicts(finding.profile, finding.measured) if finding.current else []
    n, kind = finding.measured["n"], finding.measured["data"]
    same = verdicts.count(finding.verdict)
    replicated = f"; replicated {same} of {len(verdicts)}" if verdicts else ""
    return f"{n} {'seed' if n == 1 else 'seeds'}, {kind}{replicated}"


def _chance(systems: list[System], stored: Stored, pool: Pool) -> str:
    counted = [t for s in systems for t in findings_of(s, stored) if t.counts]
    found = sum(t.verdict == "reproduced" for t in counted)
    return (
        f"An interval decided {len(counted)} verdicts on this page; {found} say `reproduced`. "
        "If no claim were true, each would say so with a probability of at most "
        f"{100 * FALSE_RATE:.1f} %: up to {FALSE_RATE * len(counted):.2f} false `reproduced` are "
        "to be expected by chance alone.\n\n"
        "*Replicated k of n*: n further runs of the same code with other base seeds are stored "
        "under `replications/`, and k of them came to the same verdict. "
        f"[How to add one](scale.md). {pool.summary()}"
    )


def chapter_link(project: Project, system: System, text: str, folder: str) -> str:
    """A text that leads to a system's chapter, if there is one yet."""
    published = project.notebook(system.chapter).exists()
    return link(text, f"{folder}/{system.chapter}.ipynb" if published else None)
