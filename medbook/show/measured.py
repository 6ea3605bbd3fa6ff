"""A claim and what was measured of it, in the form that figures, sentences and pages show."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

MARKS = {
    "reproduced": "✓", "not reproduced": "✗", "opposite": "⇄", "inconclusive": "?",
    "not tested": "–",
}  # fmt: skip
OUTCOMES = {  # of a control, which is a claim that there is no effect
    "reproduced": "held", "not reproduced": "failed", "inconclusive": "undecided",
    "not tested": "not tested",
}  # fmt: skip
MINUS, INFINITY = "−", "∞"


class Region(NamedTuple):
    """Where the whole interval must lie for the verdict `reproduced`."""

    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """A claim or a control with its record in a results file.

    Attributes:
        claim: a `medbook.record.claims.Claim`, which is built on this folder.
        record: what is stored of it: verdict, effect, low, high (null: not bounded), n, data; in
            the second edition also scores (ours, baseline), verdicts at 0.5, 1 and 2 margins,
            not_learned, at_budget.
        unit: of the metric, e.g. "dB"; empty for a fraction.
    """

    claim: Any
    record: Mapping[str, Any]
    unit: str = ""

    @property
    def slug(self) -> str:
        """The system that it belongs to."""
        return self.claim.id.rpartition("-")[0]

    @property
    def guards(self) -> tuple[str, ...]:
        """The claims that a control guards; empty for a claim."""
        return tuple(getattr(self.claim, "guards", ()))

    @property
    def verdict(self) -> str:
        """One of `medbook.evaluate.stats.VERDICTS`."""
        return str(self.record["verdict"])

    @property
    def effect(self) -> float:
        """The measured effect, positive as claimed."""
        return float(self.record["effect"])

    @property
    def low(self) -> float:
        """Lower end of the interval, minus infinity where nothing bounds it."""
        low = self.record["low"]
        return -math.inf if low is None else float(low)

    @property
    def high(self) -> float:
        """Upper end of the interval, infinity where nothing bounds it."""
        high = self.record["high"]
        return math.inf if high is None else float(high)

    @property
    def remark(self) -> str:
        """What limits the verdict, as its label says: `SALM has not learned`, `at this budget`."""
        rest = str(self.record.get("label", "")).removeprefix(self.verdict).strip()
        return rest[1:-1] if rest.startswith("(") else rest

    @property
    def names(self) -> tuple[str, str]:
        """The arms, ours first; of a sweep that of its last point, then that of its first."""
        arms = self.claim.arms
        sweep = arms.get("sweep")
        if sweep is not None:
            points = sweep if isinstance(sweep, tuple) else (sweep,)
            return str(points[-1]), str(points[0])
        ours, baseline = arms.get("ours", "ours"), arms.get("baseline", "the baseline")
        return joined(ours), joined(baseline)

    @property
    def scores(self) -> tuple[float, float] | None:
        """Both absolute scores, ours first; of a sweep its last and its first point."""
        scores = self.record.get("scores")
        if not scores:
            return None
        return float(scores[0]), float(scores[-1])

    @property
    def region(self) -> Region:
        """Where the interval must lie for the verdict `reproduced`."""
        margin = self.claim.margin
        if self.claim.kind == "equivalent":
            return Region(-margin, margin)
        return Region(-margin if self.claim.kind == "noninferior" else margin, math.inf)

    @property
    def margin(self) -> str:
        """The margin as it is printed, with its unit."""
        return f"{self.claim.margin:g} {self.unit}".rstrip()

    @property
    def interval(self) -> str:
        """Effect and interval, signed: `+0.279 [+0.248, +0.310]`."""
        low, high = (self.bare(end, signed=True) for end in (self.low, self.high))
        return f"{self.number(self.effect, signed=True)} [{low}, {high}]"

    def number(self, value: float, *, signed: bool = False) -> str:
        """A value as it is printed: with the digits that the margin makes meaningful, and unit."""
        return f"{self.bare(value, signed=signed)} {self.unit}".rstrip()

    def bare(self, value: float, *, signed: bool = False) -> str:
        """The same without unit."""
        return number(value, self.claim.margin or self.effect, signed=signed)


def measured(known: Mapping[str, Any], results: Mapping[str, Any]) -> list[Measured]:
    """The claims and controls of a results file, in the order of the claims file; no checks.

    Args:
        known: claims and controls by id.
        results: with `claims`, `metrics` and, in the second edition, `controls`.
    """
    entries = [*results["claims"], *results.get("controls", [])]
    records = {entry["id"]: entry for entry in entries}
    return [
        Measured(claim, records[id], _unit(records[id], results["metrics"]))
        for id, claim in known.items()
        if id in records and claim.kind != "exact"
    ]


def _unit(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The unit of the metric that a claim names; first editions name none."""
    names = [record.get("ours"), *(record.get("sweep") or [])]
    units = [metrics[name]["unit"] for name in names if isinstance(name, str) and name in metrics]
    return str(units[0]) if units else ""


def joined(names: Any) -> str:
    """One name, or several in a row.

    >>> joined(("a", "b", "c")), joined("a")
    ('a, b and c', 'a')
    """
    if not isinstance(names, list | tuple):
        return str(names)
    *most, last = map(str, names)
    return f"{', '.join(most)} and {last}" if most else last


def number(value: float, scale: float, *, signed: bool = False) -> str:
    """A number with two digits of `scale`, a true minus sign, and infinity as a symbol.

    >>> number(-0.27912, scale=0.05), number(31.234, scale=0.5, signed=True)
    ('−0.279', '+31.23')
    """
    if math.isinf(value):
        return (MINUS if value < 0 else "+" if signed else "") + INFINITY
    digits = 1 - math.floor(math.log10(abs(scale))) if scale else 3
    text = f"{value:{'+' if signed else ''}.{min(max(digits, 0), 6)}f}"
    bare = text.lstrip("+-")
    if not float(bare):
        return bare  # no "−0.000"
    return text.replace("-", MINUS)


def by_system(lines: Iterable[Measured]) -> Iterator[tuple[str, list[Measured]]]:
    """Lines of each system, claims before controls, systems in the order of their first line."""
    groups: dict[str, list[Measured]] = {}
    for line in lines:
        groups.setdefault(line.slug, []).append(line)
    for slug, members in groups.items():
        yield slug, sorted(members, key=lambda line: bool(line.guards))


def counted(lines: Iterable[Measured], words: Mapping[str, str] | None = None) -> str:
    """How many lines have which verdict, in words: those of the verdicts themselves, or others.

    >>> counted([])
    'none'
    """
    verdicts = [line.verdict for line in lines]
    named = words or dict(zip(MARKS, MARKS, strict=True))
    found = [f"{verdicts.count(v)} {word}" for v, word in named.items() if v in verdicts]
    return ", ".join(found) or "none"
