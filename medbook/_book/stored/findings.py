"""Which systems the book has, and what the stored results hold of each of their claims."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from medbook._book.project import Project
from medbook.record import results
from medbook.record.claims import Check, Claim, System, load_systems
from medbook.record.profiles import PROFILES

Stored = dict[tuple[str, str], results.Results]  # (chapter, profile) -> results


@dataclass(frozen=True)
class Finding:
    """A claim and what one profile measured of it."""

    claim: Claim
    profile: str
    seed: int
    measured: dict[str, Any]

    @property
    def verdict(self) -> str:
        """The stored verdict, void if the claim was changed after it."""
        return str(self.measured["verdict"]) if self.current else "claim changed, not run again"

    @property
    def current(self) -> bool:
        """The claim reads as it did when it was measured."""
        return bool(self.measured["hash"] == self.claim.hash)

    @property
    def counts(self) -> bool:
        """A verdict that an interval decided."""
        return self.current and self.verdict != "not tested"


@dataclass(frozen=True)
class Checked:
    """A check and what one profile computed of it; never counted among claims."""

    check: Check
    profile: str
    holds: bool
    worst: float


def systems_of(project: Project) -> list[System]:
    """The systems of a checkout."""
    return load_systems(project.root / "book/systems.yml")


def stored_of(project: Project) -> Stored:
    """The stored results of all chapters."""
    return {
        (chapter.id, profile): run
        for chapter in project.chapters()
        for profile, run in project.stored(chapter.id).items()
    }


def findings_of(system: System, stored: Stored) -> Iterator[Finding]:
    """What the stored results hold of a system's claims, profile by profile."""
    return _findings(system.claims, system, stored)


def controls_of(system: System, stored: Stored) -> Iterator[Finding]:
    """The same of its controls, which are not counted among claims."""
    return _findings(system.controls, system, stored)


def checks_of(system: System, stored: Stored) -> Iterator[Checked]:
    """The checks of a system, profile by profile; first editions stored them among the claims."""
    for profile, run in _runs(system, stored):
        made = {entry["id"]: entry for entry in (*run["claims"], *run.get("checks", ()))}
        for check in system.checks:
            if entry := made.get(check.id):
                holds = entry.get("holds", entry.get("verdict") == "reproduced")
                yield Checked(check, profile, holds, entry.get("worst", entry.get("effect")))


def _findings(claims: Iterable[Claim], system: System, stored: Stored) -> Iterator[Finding]:
    for profile, run in _runs(system, stored):
        measured = {claim["id"]: claim for claim in run["claims"]}
        for claim in claims:
            if claim.id in measured:
                yield Finding(claim, profile, run["seed"], measured[claim.id])


def _runs(system: System, stored: Stored) -> Iterator[tuple[str, results.Results]]:
    for profile in PROFILES:
        if run := stored.get((system.chapter, profile)):
            yield profile, run
