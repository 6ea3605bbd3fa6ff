"""The table of all systems that README.md shows."""

import re

from medbook._book.markdown import link, table, title
from medbook._book.pages.scoreboard import chapter_link, summary
from medbook._book.project import Project
from medbook._book.stored.findings import Stored, findings_of, stored_of, systems_of
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.claims import System
from medbook.record.profiles import PROFILES

START, END = "<!-- systems -->", "<!-- /systems -->"


def systems_table(project: Project) -> str:
    """All systems with their state, links relative to the root of the checkout."""
    stored = stored_of(project)
    folder = project.notebooks.relative_to(project.root).as_posix()
    head = ["part", "system", "chapter", "state"]
    rows = [
        [title(s.part), _paper(s), chapter_link(project, s, s.chapter, folder), _state(s, stored)]
        for s in systems_of(project)
    ]
    return table(head, rows)


def with_systems(readme: str, systems: str) -> str:
    """The README with its table of systems replaced.

    >>> with_systems("a <!-- systems -->old<!-- /systems --> b", "new").split()
    ['a', '<!--', 'systems', '-->', 'new', '<!--', '/systems', '-->', 'b']
    """
    pattern = re.compile(f"{START}.*?{END}", re.DOTALL)
    if not pattern.search(readme):
        raise MedbookError(f"README.md: put the lines {START} and {END} where the table shall be")
    return pattern.sub(lambda _: f"{START}\n{systems}\n{END}", readme, count=1)


def current(project: Project) -> bool:
    """README.md shows the table as it is now."""
    return _new(project) == _old(project)


def refresh(project: Project) -> None:
    """Write the table as it is now into README.md."""
    if not current(project):
        results.write_atomic(project.root / "README.md", _new(project))


def _old(project: Project) -> str:
    path = project.root / "README.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _new(project: Project) -> str:
    return with_systems(_old(project), systems_table(project))


def _state(system: System, stored: Stored) -> str:
    """The verdicts of the largest profile that tested the system."""
    if not system.claims:
        return "planned"
    for profile in reversed(PROFILES):
        findings = [f for f in findings_of(system, stored) if f.profile == profile]
        if any(finding.verdict != "not tested" for finding in findings):
            return f"{summary(system, stored, profile)} ({profile})"
    return f"{len(system.claims)} claims, not tested yet"


def _paper(system: System) -> str:
    known = [name for name in system.authors if name != "et al."]
    all_named = len(known) == len(system.authors) < 4
    names = ", ".join(known) if all_named else f"{known[0]} et al."
    return f"{link(system.title, system.links.get('paper'))}, {names} {system.year}"
