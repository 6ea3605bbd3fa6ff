"""The systems of the book and what is claimed of them: `book/systems.yml`, `book/claims/`."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from medbook import yamlfile
from medbook.errors import MedbookError
from medbook.evaluate.stats import Kind
from medbook.paths import content_root
from medbook.record.profiles import Profile


@dataclass(frozen=True)
class Claim:
    """One sentence of a paper in a form that can be tested.

    Attributes:
        id: unique, `<slug>-<number>`.
        statement: the claim in one sentence.
        kind: one of `medbook.evaluate.stats.KINDS`.
        metric: what is measured, with unit and on which cases.
        better: "higher" or "lower": which direction of the metric speaks for ours.
        margin: smallest effect that counts (greater, monotone), largest that is let pass (others).
        arms: what `ours` and `baseline` (or the points of the sweep) are.
        data: name of the data set that carries the claim.
        profile: the smallest profile at which the claim is tested.
        paper: the paper's own number, or "not stated".
        revised: why the claim was changed after its first result, if it was.
    """

    __pydantic_config__: ClassVar = yamlfile.STRICT

    id: str
    statement: str
    kind: Kind
    metric: str
    better: Literal["higher", "lower"]
    margin: Annotated[float, Ge(0)]
    arms: dict[str, str | int | float]
    data: str
    profile: Profile
    paper: str
    revised: str = ""

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with any word of the claim."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class System:
    """One published system of the book and its claims."""

    __pydantic_config__: ClassVar = yamlfile.STRICT

    slug: str
    title: str
    authors: tuple[str, ...]
    year: int
    links: dict[str, str]
    part: str
    chapter: str
    claims: tuple[Claim, ...] = ()


def load_systems(path: Path | None = None) -> list[System]:
    """All systems, in the book's order, each with the claims of its chapter's file.

    Args:
        path: a systems file, with a folder `claims` beside it; the book's own if None.

    Raises:
        MedbookError: a file is not what it should be; file and line are named.

    >>> {"salm", "csim"} <= {system.slug for system in load_systems()}
    True
    """
    path = path or content_root() / "book/systems.yml"
    systems = _systems(path.read_bytes(), path.name)
    given = {s.chapter: _claims(s.chapter, path.parent / "claims") for s in systems}
    for chapter, claims in given.items():
        if others := claims.keys() - {s.slug for s in systems if s.chapter == chapter}:
            raise MedbookError(
                f"claims/{chapter}.yml:1: {path.name} puts no {', '.join(sorted(others))} there"
            )
    return [replace(s, claims=given[s.chapter].get(s.slug, ())) for s in systems]


def chapter_claims(chapter: str, path: Path | None = None) -> dict[str, Claim]:
    """The claims a chapter has to test, by id."""
    folder = (path or content_root() / "book/systems.yml").parent / "claims"
    return {c.id: c for claims in _claims(chapter, folder).values() for c in claims}


def claims_file(chapter: str) -> str:
    """Where the claims of a chapter stand, relative to the checkout."""
    return f"book/claims/{chapter}.yml"


@lru_cache(maxsize=8)
def _systems(content: bytes, name: str) -> tuple[System, ...]:
    """The systems of a file; every claim and every key asks for them, so they are kept."""
    entries = yamlfile.parse(content, name)
    if not isinstance(entries, list):
        raise MedbookError(f"{name}:1: expected a list of systems, found {entries!r:.40}")
    for entry in entries:
        if isinstance(entry, yamlfile.Located) and "claims" in entry:
            where = claims_file(entry.get("chapter", "<chapter>"))
            raise MedbookError(f"{name}:{entry.line}: claims stand in {where}")
    systems = tuple(_build(System, entry, name, 1) for entry in entries)
    _refuse_doubles("slug", [(e["slug"], f"{name}:{e.line}") for e in entries])
    return systems


def _claims(chapter: str, folder: Path) -> dict[str, tuple[Claim, ...]]:
    """Slug -> claims of the systems of a chapter; none as long as it has no file."""
    try:
        content = (folder / f"{chapter}.yml").read_bytes()
    except FileNotFoundError:
        return {}
    return _claims_in(content, f"claims/{chapter}.yml")


@lru_cache(maxsize=256)
def _claims_in(content: bytes, name: str) -> dict[str, tuple[Claim, ...]]:
    by_system = yamlfile.parse(content, name)
    if not isinstance(by_system, yamlfile.Located):
        raise MedbookError(
            f"{name}:1: expected `slug:` and a list of claims, found {by_system!r:.40}"
        )
    for slug, entries in by_system.items():
        if not isinstance(entries, list):
            raise MedbookError(f"{name}:{by_system.line}: {slug}: expected a list of claims")
    built = {
        slug: tuple(_build(Claim, entry, name, by_system.line) for entry in entries)
        for slug, entries in by_system.items()
    }
    _refuse_doubles("claim id", list(_named(by_system, name)))
    return built


def _named(by_system: yamlfile.Located, name: str) -> Iterator[tuple[str, str]]:
    """Id and `file:line` of each claim, which has to begin with its system's slug."""
    for slug, entries in by_system.items():
        for entry in entries:
            where = f"{name}:{entry.line}"
            if entry["id"].rpartition("-")[0] != slug:
                raise MedbookError(f"{where}: claim {entry['id']!r}: ids are {slug}-<number>")
            yield entry["id"], where


def _build(kind: type, entry: Any, name: str, line: int) -> Any:
    """A system or a claim of a file; `line` is that of what it stands in."""
    line = getattr(entry, "line", line)
    known = entry.get("id", "") if isinstance(entry, dict) else ""
    what = f"{kind.__name__.lower()} {known}".rstrip()
    built = yamlfile.checked(kind, entry, f"{name}:{line}: {what}")
    # 0 stays 0, where the validator made 0.0 of it: the hash is that of the claim as it is written
    return replace(built, margin=entry["margin"]) if kind is Claim else built


def _refuse_doubles(what: str, names: list[tuple[str, str]]) -> None:
    """Names are unique; each comes with its `file:line`."""
    first: dict[str, str] = {}
    for name, where in names:
        if name in first:
            raise MedbookError(f"{where}: {what} {name!r} is used twice, first on {first[name]}")
        first[name] = where
