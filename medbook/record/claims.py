"""The systems of the book and what is claimed of them: `book/systems.yml`, `book/claims/`."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le

from medbook import yamlfile
from medbook.errors import MedbookError
from medbook.evaluate.stats import Kind
from medbook.paths import content_root
from medbook.record.profiles import Profile

# Parts that enter a claim's hash only where they are given: first editions had none of them.
LATER = ("margin_from", "source", "reported", "guards")
CONTROLS = ("equivalent", "noninferior")  # kinds that say: no effect


@dataclass(frozen=True)
class Reported:
    """The paper's own table: two proportions on n cases."""

    __pydantic_config__: ClassVar = yamlfile.STRICT

    ours: Annotated[float, Ge(0), Le(1)]
    baseline: Annotated[float, Ge(0), Le(1)]
    n: Annotated[int, Ge(1)]


@dataclass(frozen=True)
class Claim:
    """One sentence of a paper in a form that can be tested, or a control beside it.

    Attributes:
        id: unique, `<slug>-<number>`; of a control `<slug>-c<number>`.
        statement: the claim in one sentence.
        kind: one of `medbook.evaluate.stats.KINDS`.
        metric: what is measured, with unit and on which cases.
        better: "higher" or "lower": which direction of the metric speaks for ours.
        margin: smallest effect that counts (greater, monotone), largest that is let pass (others).
        arms: which arms `ours` and `baseline` are, as `run.arm` calls them, several in a list; of a
            sweep, under `sweep`, the arm of each point or one arm for all.
        data: name of the data set that carries the claim.
        profile: the smallest profile at which the claim is tested.
        paper: the paper's own number, or "not stated".
        revised: why the claim was changed after its first result, if it was.
        margin_from: where the margin comes from, in a phrase.
        source: "paper", or "ours" for an idea of this book or what speaks against the method.
        reported: the paper's own two proportions and on how many cases.
        guards: of a control, the claims that cannot be reproduced if it fails.
    """

    __pydantic_config__: ClassVar = yamlfile.STRICT

    id: str
    statement: str
    kind: Kind
    metric: str
    better: Literal["higher", "lower"]
    margin: Annotated[float, Ge(0)]
    arms: dict[str, str | int | float | tuple[str, ...]]
    data: str
    profile: Profile
    paper: str
    revised: str = ""
    margin_from: str = ""
    source: Literal["paper", "ours"] = "paper"
    reported: Reported | None = None
    guards: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with any word of the claim."""
        usual = {f.name: f.default for f in fields(self) if f.name in LATER}
        content = {k: v for k, v in asdict(self).items() if k not in usual or v != usual[k]}
        return _hash(content)


@dataclass(frozen=True)
class Check:
    """An identity, or two computations that agree: it holds or it does not, and is no claim.

    Attributes:
        id: unique, `<slug>-k<number>`.
        statement: what agrees, in one sentence.
        tolerance: largest difference that is rounding.
        data: name of the data set that it is computed on, or "none".
        was: the claim of kind `exact` that it was in a chapter's first edition.
    """

    __pydantic_config__: ClassVar = yamlfile.STRICT

    id: str
    statement: str
    tolerance: Annotated[float, Ge(0)]
    data: str
    was: Claim | None = None

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with any word of the check."""
        if self.was:
            return self.was.hash
        return _hash({k: v for k, v in asdict(self).items() if k != "was"})


def _hash(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Group:
    """What the file of a chapter holds of one system."""

    claims: tuple[Claim, ...] = ()
    controls: tuple[Claim, ...] = ()
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class System:
    """One published system of the book, its claims, and the controls and checks beside them."""

    __pydantic_config__: ClassVar = yamlfile.STRICT

    slug: str
    title: str
    authors: tuple[str, ...]
    year: int
    links: dict[str, str]
    part: str
    chapter: str
    claims: tuple[Claim, ...] = ()
    controls: tuple[Claim, ...] = ()
    checks: tuple[Check, ...] = ()


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
    given = {s.chapter: _groups(s.chapter, path.parent / "claims") for s in systems}
    for chapter, groups in given.items():
        if others := groups.keys() - {s.slug for s in systems if s.chapter == chapter}:
            raise MedbookError(
                f"claims/{chapter}.yml:1: {path.name} puts no {', '.join(sorted(others))} there"
            )
    return [replace(s, **vars(given[s.chapter].get(s.slug, Group()))) for s in systems]


def chapter_claims(chapter: str, path: Path | None = None) -> dict[str, Claim]:
    """The claims and controls that a chapter has to test, by id."""
    groups = _groups(chapter, _folder(path)).values()
    return {c.id: c for group in groups for c in (*group.claims, *group.controls)}


def chapter_checks(chapter: str, path: Path | None = None) -> dict[str, Check]:
    """The checks that a chapter has to make, by id."""
    groups = _groups(chapter, _folder(path)).values()
    return {check.id: check for group in groups for check in group.checks}


def _folder(path: Path | None) -> Path:
    return (path or content_root() / "book/systems.yml").parent / "claims"


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


def _groups(chapter: str, folder: Path) -> dict[str, Group]:
    """Slug -> claims, controls and checks of a chapter; none as long as it has no file."""
    try:
        content = (folder / f"{chapter}.yml").read_bytes()
    except FileNotFoundError:
        return {}
    return _groups_in(content, f"claims/{chapter}.yml")


@lru_cache(maxsize=256)
def _groups_in(content: bytes, name: str) -> dict[str, Group]:
    by_system = yamlfile.parse(content, name)
    if not isinstance(by_system, yamlfile.Located):
        raise MedbookError(f"{name}:1: expected `slug:` and its claims, found {by_system!r:.40}")
    built = {
        slug: _group(slug, parts, f"{name}:{by_system.line}", name)
        for slug, parts in by_system.items()
    }
    _refuse_doubles("claim id", list(_named(by_system, name)))
    return built


def _group(slug: str, parts: Any, where: str, name: str) -> Group:
    """The lists under a slug."""
    known = [f.name for f in fields(Group)]
    if not isinstance(parts, yamlfile.Located) or not parts.keys() <= set(known):
        found = ", ".join(map(str, parts)) if isinstance(parts, dict) else f"{parts!r:.40}"
        raise MedbookError(f"{where}: {slug}: expected {', '.join(known)}, found {found}")
    for part, entries in parts.items():
        if not isinstance(entries, list):
            raise MedbookError(f"{name}:{parts.line}: {slug}: {part}: expected a list")
    claims, controls, checks = (parts.get(part, []) for part in known)
    line = parts.line
    return Group(
        tuple(_claim(entry, name, line) for entry in claims),
        tuple(_control(entry, name, line, claims) for entry in controls),
        tuple(_check(entry, name, line) for entry in checks),
    )


def _claim(entry: Any, name: str, line: int) -> Claim:
    claim: Claim = _build(Claim, entry, name, line)
    if claim.kind == "exact" or claim.guards:
        why = "kind exact belongs under `checks`" if not claim.guards else "only controls guard"
        raise MedbookError(f"{name}:{entry.line}: claim {claim.id}: {why}")
    return claim


def _control(entry: Any, name: str, line: int, claims: list[Any]) -> Claim:
    """A claim that there is no effect, which names the claims that fall with it."""
    control: Claim = _build(Claim, entry, name, line)
    where, known = f"{name}:{entry.line}: control {control.id}", [c["id"] for c in claims]
    if control.kind not in CONTROLS:
        raise MedbookError(f"{where}: kind: choose {' or '.join(CONTROLS)}, not {control.kind}")
    if not control.guards or not set(control.guards) <= set(known):
        raise MedbookError(f"{where}: guards: name claims of {', '.join(known)}")
    return control


def _check(entry: Any, name: str, line: int) -> Check:
    """A check; one of a first edition is written as the claim that it was."""
    if "kind" not in entry:
        check: Check = _build(Check, entry, name, line)
        return check
    claim: Claim = _build(Claim, entry, name, line)
    return Check(claim.id, claim.statement, claim.margin, claim.data, claim)


def _named(by_system: yamlfile.Located, name: str) -> Iterator[tuple[str, str]]:
    """Id and `file:line` of each entry, which has to begin with its system's slug."""
    for slug, parts in by_system.items():
        for entry in (entry for entries in parts.values() for entry in entries):
            where = f"{name}:{entry.line}"
            if entry["id"].rpartition("-")[0] != slug:
                raise MedbookError(f"{where}: claim {entry['id']!r}: ids are {slug}-<number>")
            yield entry["id"], where


def _build(kind: type, entry: Any, name: str, line: int) -> Any:
    """A system, a claim or a check of a file; `line` is that of what it stands in."""
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
