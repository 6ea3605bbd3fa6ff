"""The claims of the book, read from `book/systems.yml`."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

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
    claims: tuple[Claim, ...]


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
    try:
        entries = yaml.load(path.read_text(encoding="utf-8"), _LineLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else "?"
        raise MedbookError(f"{path.name}:{line}: not valid YAML: {error}") from None
    if not isinstance(entries, list):
        raise MedbookError(f"{path.name}:1: expected a list of systems")
    systems = [_build(System, entry, path.name) for entry in entries]
    _refuse_doubles([s.slug for s in systems], path.name, "slug")
    _refuse_doubles([c.id for s in systems for c in s.claims], path.name, "claim id")
    return systems


def chapter_claims(chapter: str, path: Path | None = None) -> dict[str, Claim]:
    """The claims a chapter has to test, by id."""
    systems = load_systems(path)
    return {c.id: c for s in systems if s.chapter == chapter for c in s.claims}


class _LineLoader(yaml.SafeLoader):
    """Keeps the line of every mapping, so that an error can name it."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        mapping["__line__"] = node.start_mark.line + 1
        return mapping


def _build(cls: type, entry: Any, file: str) -> Any:
    if not isinstance(entry, dict):
        raise MedbookError(f"{file}: expected a mapping for a {cls.__name__}, found {entry!r}")
    line = entry.pop("__line__")
    for nested in entry.values():
        if isinstance(nested, dict):
            nested.pop("__line__", None)
    if cls is System:
        entry["claims"] = tuple(_build(Claim, c, file) for c in entry.get("claims") or ())
        entry["authors"] = tuple(entry.get("authors") or ())
    try:
        built = cls(**entry)
    except TypeError as error:
        wrong = str(error).split("__init__() ")[-1]
        raise MedbookError(f"{file}:{line}: {cls.__name__.lower()} {wrong}") from None
    if isinstance(built, Claim):
        _check_claim(built, f"{file}:{line}")
    return built


def _check_claim(claim: Claim, where: str) -> None:
    allowed = {"kind": KINDS, "better": ("higher", "lower"), "profile": PROFILES}
    for field, values in allowed.items():
        if getattr(claim, field) not in values:
            raise MedbookError(
                f"{where}: claim {claim.id}: {field} {getattr(claim, field)!r} "
                f"is not one of {', '.join(values)}"
            )
    if not isinstance(claim.margin, int | float) or claim.margin < 0:
        raise MedbookError(f"{where}: claim {claim.id}: margin must be a number >= 0")


def _refuse_doubles(names: list[str], file: str, what: str) -> None:
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise MedbookError(f"{file}: {what} used twice: {', '.join(doubles)}")
