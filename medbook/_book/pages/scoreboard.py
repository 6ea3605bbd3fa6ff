"""The scoreboard: systems by profile, all effects, and what chance alone would give."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from medbook._book.markdown import framed, link, table, title
from medbook._book.project import Project
from medbook._book.stored import replications
from medbook._book.stored.findings import (
    Finding,
    Stored,
    checks_of,
    controls_of,
    findings_of,
    stored_of,
    systems_of,
)
from medbook._book.stored.replications import Pool
from medbook._book.stored.state import State
from medbook.evaluate.stats import LEVEL, VERDICTS
from medbook.record.claims import System
from medbook.record.profiles import PROFILES
from medbook.record.results import Results
from medbook.show import effects
from medbook.show.measured import MARKS, Measured, measured

FALSE_RATE = (1 - LEVEL) / 2  # of the verdict "reproduced" where there is no effect
INTRO = (
    "Every system of the book and every claim that was tested, from the stored results. "
    "[How to verify](verify.md) explains verdicts and intervals. The name of a system leads to a "
    "page with its claims, controls, arms and checks."
)

States = Mapping[tuple[str, str], State]  # (chapter, profile) -> state of what is stored


def page(project: Project) -> str:
    """Every system by profile, every effect, and what chance alone would give."""
    systems, stored = systems_of(project), stored_of(project)
    begun = [system for system in systems if system.claims or system.checks]
    blocks = ["# Scoreboard", INTRO, "## Systems and profiles", legend()]
    blocks += [_matrix(begun, stored), *_planned([s for s in systems if s not in begun])]
    lines = [line for system in begun for line in lines_of(system, stored)]
    if lines:
        blocks += [
            "## All effects",
            ABOUT_EFFECTS,
            figure(begun, lines, "systems/{slug}.html#{id}"),
        ]
    pool = replications.collect(project, stored)
    blocks += ["## What chance alone would give", _chance(systems, stored, pool)]
    return "\n\n".join(blocks) + "\n"


ABOUT_EFFECTS = (
    "Each system at the largest profile that tested it. The id of a claim leads to its margin, its "
    "verdict at half and twice that margin, and what the paper reports. *twin* (a synthetic "
    "stand-in for a data set), *phantom* and *simulated from real* mark what was not measured on "
    "real images as they were taken."
)


def legend() -> str:
    """What the marks of the matrix mean, and what they do not count."""
    marks = " ".join(framed(verdict, f"{mark} {verdict}") for verdict, mark in MARKS.items())
    return (
        f"{marks}\n\nEach mark stands before a number of claims of the paper. Claims that are this "
        "book's own questions are counted apart; controls and checks are never counted as "
        "reproduced."
    )


def figure(systems: Sequence[System], lines: Sequence[Measured], link: str) -> str:
    """All effects as HTML, in one block of Markdown; see `medbook.show.effects.table`."""
    titles = {system.slug: short(system) for system in systems}
    return effects.table(lines, titles, link=link).replace("\n", " ")


def examples(project: Project) -> str:
    """Of the first chapter with results: the first claim of each verdict, of the simplest kind."""
    systems, stored = systems_of(project), stored_of(project)
    for system in systems:
        decided = [
            line
            for line in lines_of(system, stored)
            if line.verdict != "not tested" and line.claim.kind == "greater"
        ]
        if first := {line.verdict: line for line in reversed(decided)}:
            lines = sorted(first.values(), key=lambda line: VERDICTS.index(line.verdict))
            named = chapter_link(project, system, title(system.chapter).lower(), "notebooks")
            shown = figure([system], lines, "systems/{slug}.html#{id}")
            return f"For example, from the chapter on {named}:\n\n{shown}"
    return "No chapter is finished yet."


def lines_of(system: System, stored: Stored) -> list[Measured]:
    """Claims and controls of a system at its largest profile, those measured as they read."""
    profile = decided_at(system, stored)
    return measured_of(system, stored[system.chapter, profile]) if profile else []


def measured_of(system: System, run: Results) -> list[Measured]:
    """Claims and controls of a system in one run; what was changed since is left out."""
    known = {claim.id: claim for claim in (*system.claims, *system.controls)}
    return [line for line in measured(known, run) if line.record["hash"] == line.claim.hash]


def decided_at(system: System, stored: Stored) -> str | None:
    """The largest profile that tested a claim of a system."""
    found = [f.profile for f in findings_of(system, stored) if f.verdict != "not tested"]
    return max(found, key=PROFILES.index, default=None)


def short(system: System) -> str:
    """A title without what stands after its colon.

    >>> from medbook.record.claims import load_systems
    >>> short(load_systems()[0])
    'CSIM'
    """
    return system.title.partition(": ")[0]


def summary(system: System, stored: Stored, profile: str) -> str:
    """Verdicts on the paper's claims at one profile, counted in words."""
    if not system.claims:
        return "planned"
    found = tally(system, stored, profile)
    return ", ".join(f"{count} {verdict}" for verdict, count in found.items()) or "not run"


def tally(system: System, stored: Stored, profile: str, source: str = "paper") -> dict[str, int]:
    """Verdicts on the claims of one source at one profile, the best known ones first."""
    findings = [f for f in findings_of(system, stored) if f.claim.source == source]
    counts = Counter(f.verdict for f in findings if f.profile == profile)
    rank = {verdict: place for place, verdict in enumerate(VERDICTS)}
    return dict(sorted(counts.items(), key=lambda item: rank.get(item[0], len(rank))))


def chapter_link(project: Project, system: System, text: str, folder: str) -> str:
    """A text that leads to a system's chapter, if there is one yet."""
    published = project.notebook(system.chapter).exists()
    return link(text, f"{folder}/{system.chapter}.ipynb" if published else None)


def marked(verdict: str, words: str = "") -> str:
    """A verdict in its frame, or plain where it is none."""
    return framed(verdict, words or verdict) if verdict in VERDICTS else verdict


def _matrix(systems: Sequence[System], stored: Stored) -> str:
    """A row a system, a column a profile; controls and checks apart."""
    head = ["system", *PROFILES, "controls", "checks"]
    rows = [
        [link(short(system), f"systems/{system.slug}.md")]
        + [_cell(system, stored, profile) for profile in PROFILES]
        + [_controls(system, stored), _checks(system, stored)]
        for system in systems
    ]
    return table(head, rows)


def _cell(system: System, stored: Stored, profile: str) -> str:
    """Marks and numbers; the words are for who cannot see the marks."""
    counts = tally(system, stored, profile)
    cell = " ".join(_count(verdict, n) for verdict, n in counts.items())
    own = sum(tally(system, stored, profile, "ours").values())
    return (cell or "not run") + (f" and {own} of our own" if own else "")


def _count(verdict: str, n: int) -> str:
    if verdict not in MARKS:
        return f"{n} {verdict}"
    shown = f'<span aria-hidden="true">{MARKS[verdict]} {n}</span>'
    return framed(verdict, f'{shown}<span class="visually-hidden">{n} {verdict}</span>')


def _controls(system: System, stored: Stored) -> str:
    """How many controls held at the largest profile that tested the system."""
    profile = decided_at(system, stored)
    found = [f for f in controls_of(system, stored) if f.profile == profile and f.current]
    held = sum(f.verdict == "reproduced" for f in found)
    return f"{held} of {len(found)} held" if found else ""


def _checks(system: System, stored: Stored) -> str:
    """How many checks hold at the largest profile that made them."""
    made = list(checks_of(system, stored))
    last = [check for check in made if check.profile == made[-1].profile]
    return f"{sum(check.holds for check in last)} of {len(last)} hold" if last else ""


def _planned(systems: Sequence[System]) -> Iterator[str]:
    """The systems that are only planned, folded away."""
    if systems:
        parts = groupby(systems, key=lambda system: system.part)
        lists = [f"- *{title(part)}:* {'; '.join(map(short, members))}" for part, members in parts]
        head = f"<details><summary>{len(systems)} systems are planned</summary>"
        yield "\n\n".join([head, "\n".join(lists), "</details>"])


def _chance(systems: Sequence[System], stored: Stored, pool: Pool) -> str:
    counted: list[Finding] = [f for s in systems for f in findings_of(s, stored) if f.counts]
    found = sum(t.verdict == "reproduced" for t in counted)
    return (
        f"An interval decided {len(counted)} verdicts on this page; {found} say `reproduced`. "
        "If no claim were true, each would say so with a probability of at most "
        f"{100 * FALSE_RATE:.1f} %: up to {FALSE_RATE * len(counted):.2f} false `reproduced` are "
        "to be expected by chance alone.\n\n"
        "*Replicated k of n* on the page of a system: n further runs of the same code with other "
        "base seeds are stored under `replications/`, and k of them came to the same verdict. "
        f"[How to add one](scale.md). {pool.summary()}"
    )
