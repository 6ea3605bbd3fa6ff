"""The claims of the book, read from `book/systems.yml`."""

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from medbook import yamlfile
from medbook.errors import MedbookError
from medbook.paths import content_root
from medbook.profiles import PROFILES
from medbook.stats import KINDS


@dataclass(frozen=True)
class Claim:
    """One sentence of a paper in a form that can be tested.

    Attributes:
        id: unique, `<slug>-<number>`.
        statement: the claim in one sentence.
        kind: one of `medbook.stats.KINDS`.
        metric: what is measured, with unit and on which cases.
        better: "higher" or "lower": which direction of the metric speaks for ours.
        margin: smallest effect that counts (greater, monotone), largest that is let pass (others).
        arms: what `ours` and `baseline` (or the points of the sweep) are.
        data: name of the data set that carries the claim.
        profile: the smallest profile at which the claim is tested.
        paper: the paper's own number, or "not stated".
        revised: why the claim was changed after its first result, if it was.
    """

    id: str
    statement: str
    kind: str
    metric: str
    better: str
    margin: float
    arms: dict[str, str]
    data: str
    profile: str
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

    slug: str
    title: str
    authors: tuple[str, ...]
    year: int
    links: dict[str, str]
    part: str
    chapter: str
    claims: tuple[Claim, ...] = ()


# What stands in YAML for a field of each type, and how messages call it.
IN_YAML: dict[Any, tuple[Any, str]] = {
    str: (str, "a text (in quotes if it looks like a number)"),
    int: (int, "a whole number"),
    float: (int | float, "a number"),
    dict[str, str]: (dict, "a mapping"),
    tuple[str, ...]: (list, "a list"),
    tuple[Claim, ...]: (list, "a list"),
}


def load_systems(path: Path | None = None) -> list[System]:
    """All systems, in the book's order.

    Args:
        path: a systems file; the book's own if None.

    Raises:
        MedbookError: the file is no valid list of systems; file and line are named.

    >>> {"salm", "csim"} <= {system.slug for system in load_systems()}
    True
    """
    path = path or content_root() / "book/systems.yml"
    return list(_systems(path.read_bytes(), path.name))


def chapter_claims(chapter: str, path: Path | None = None) -> dict[str, Claim]:
    """The claims a chapter has to test, by id."""
    systems = load_systems(path)
    return {c.id: c for s in systems if s.chapter == chapter for c in s.claims}


@lru_cache(maxsize=8)
def _systems(content: bytes, name: str) -> tuple[System, ...]:
    """The systems of a file; every claim and every key asks for them, so they are kept."""
    entries = yamlfile.parse(content, name)
    if not isinstance(entries, list):
        raise MedbookError(f"{name}:1: expected a list of systems, found {entries!r:.40}")
    systems = tuple(_build(System, entry, f"{name}:1") for entry in entries)
    _refuse_doubles("slug", [(e["slug"], f"{name}:{e.line}") for e in entries])
    claims = [claim for entry in entries for claim in entry.get("claims") or ()]
    _refuse_doubles("claim id", [(c["id"], f"{name}:{c.line}") for c in claims])
    return systems


def _build(cls: type, entry: Any, where: str) -> Any:
    """A system or a claim; `where` is the `file:line` of what it stands in."""
    kind = cls.__name__.lower()
    if not isinstance(entry, yamlfile.Located):
        raise MedbookError(f"{where}: expected a mapping for a {kind}, found {entry!r:.40}")
    where = f"{where.rpartition(':')[0]}:{entry.line}"
    given = {name: value for name, value in entry.items() if value is not None}
    _check_fields(cls, given, f"{where}: {kind}")
    if cls is Claim:
        claim = Claim(**given)
        _check_claim(claim, f"{where}: claim {claim.id}")
        return claim
    claims = tuple(_build(Claim, c, where) for c in given.get("claims", ()))
    return System(**given | {"claims": claims, "authors": tuple(given["authors"])})


def _check_fields(cls: type, given: dict[str, Any], what: str) -> None:
    """Every field is there and of its type, and there are no others."""
    known = {field.name: field for field in fields(cls)}
    if unknown := [name for name in given if name not in known]:
        raise MedbookError(f"{what} has no field {unknown[0]!r}: known are {', '.join(known)}")
    if missing := [n for n, f in known.items() if f.default is MISSING and n not in given]:
        raise MedbookError(f"{what} lacks {', '.join(missing)}")
    for name, value in given.items():
        accepted, called = IN_YAML[known[name].type]
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise MedbookError(f"{what}: {name} is {value!r:.40}, expected {called}")


def _check_claim(claim: Claim, what: str) -> None:
    allowed = {"kind": KINDS, "better": ("higher", "lower"), "profile": PROFILES}
    for field, values in allowed.items():
        if (value := getattr(claim, field)) not in values:
            raise MedbookError(f"{what}: {field} {value!r} is not one of {', '.join(values)}")
    if not claim.margin >= 0:
        raise MedbookError(f"{what}: margin must be a number >= 0, not {claim.margin}")


def _refuse_doubles(what: str, names: list[tuple[str, str]]) -> None:
    """Names are unique; each comes with its `file:line`."""
    first: dict[str, str] = {}
    for name, where in names:
        if name in first:
            raise MedbookError(f"{where}: {what} {name!r} is used twice, first on {first[name]}")
        first[name] = where
