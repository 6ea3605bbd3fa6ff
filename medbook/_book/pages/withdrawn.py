"""Verdicts that the book no longer stands by: `book/withdrawn.yml` and its tables."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

from medbook import yamlfile
from medbook._book.markdown import framed, table
from medbook._book.project import Project
from medbook._book.stored.findings import systems_of
from medbook.errors import MedbookError
from medbook.record.claims import System
from medbook.record.schema import Word

FILE = "book/withdrawn.yml"
NONE = "No verdict has been withdrawn."


@dataclass(frozen=True)
class Withdrawn:
    """A claim that was measured and is not made any more.

    Attributes:
        id: as it was; never given to another claim.
        statement: as it was.
        verdict: as the book showed it.
        why: what was wrong.
        instead: the claims, controls and checks that took its place.
    """

    __pydantic_config__: ClassVar = yamlfile.STRICT

    id: str
    statement: str
    verdict: Word
    why: str
    instead: tuple[str, ...]

    @property
    def slug(self) -> str:
        """The system that it was about."""
        return self.id.rpartition("-")[0]


def load(project: Project) -> list[Withdrawn]:
    """The withdrawn verdicts of a checkout, in the order of the file; none if it has no file.

    Raises:
        MedbookError: an entry is not as it must be; file and line are named.
    """
    path = project.root / FILE
    if not path.exists():
        return []
    listed = yamlfile.read(path, FILE)
    if not isinstance(listed, list):
        raise MedbookError(f"{FILE}:1: expected a list, found {listed!r:.40}")
    systems = {system.slug: system for system in systems_of(project)}
    known = {entry.id for system in systems.values() for entry in entries_of(system)}
    seen: set[str] = set()
    return [_checked(entry, systems, known, seen) for entry in listed]


def entries_of(system: System) -> Iterator[Any]:
    """Claims, controls and checks of a system."""
    for part in ("claims", "controls", "checks"):
        yield from getattr(system, part, ())


def section(project: Project) -> str:
    """A table for each system that a withdrawn verdict was about."""
    withdrawn = sorted(load(project), key=lambda entry: entry.slug)
    titles = {system.slug: system.title for system in systems_of(project)}
    blocks = [
        f"**{titles[slug]}**\n\n{rows(members)}"
        for slug, members in groupby(withdrawn, key=lambda entry: entry.slug)
    ]
    return "\n\n".join(blocks) or NONE


def rows(entries: Iterable[Withdrawn]) -> str:
    """Entries as a table."""
    head = ["what was claimed", "was shown as", "why it was withdrawn", "in its place"]
    return table(head, [_row(entry) for entry in entries])


def _row(entry: Withdrawn) -> list[str]:
    verdict = framed(entry.verdict, entry.verdict)
    instead = ", ".join(entry.instead) or "nothing"
    return [f"{entry.id}: {entry.statement}", verdict, entry.why, instead]


def _checked(entry: Any, systems: dict[str, System], known: set[str], seen: set[str]) -> Withdrawn:
    """An entry whose id is new and whose successors exist; its id is added to `seen`."""
    one: Withdrawn = yamlfile.checked(Withdrawn, entry, f"{FILE}:{getattr(entry, 'line', 1)}")
    where = f"{FILE}:{entry.line}: {one.id}"
    if one.slug not in systems:
        raise MedbookError(f"{where}: systems.yml has no system {one.slug!r}")
    if one.id in known:
        raise MedbookError(
            f"{where}: still stands in the claims file: withdrawn ids are not reused"
        )
    if one.id in seen:
        raise MedbookError(f"{where}: stands here twice")
    if not one.why.strip():
        raise MedbookError(f"{where}: why was it withdrawn?")
    if missing := [id for id in one.instead if id not in known]:
        raise MedbookError(f"{where}: instead: no claims file has {', '.join(missing)}")
    seen.add(one.id)
    return one
