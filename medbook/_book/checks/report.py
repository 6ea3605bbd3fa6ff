"""What `verify` tells a reader: a line a chapter, what differs, and every number in a file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medbook._book.markdown import table
from medbook._book.stored.compare import SAME, Row
from medbook.record import results

HEAD = ("number", "stored", "here", "verdict")


def summary(rows: Sequence[Row]) -> str:
    """How many numbers are equal, and what the others are.

    >>> summary([Row("a", 1, 1, "equal"), Row("b", 1, 2, "differs")])
    'numbers equal 1 of 2, 1 differs'
    """
    counts = Counter(row.verdict.partition(":")[0] for row in rows)
    others = [f"{n} {verdict}" for verdict, n in counts.items() if verdict != SAME[0]]
    return ", ".join([f"numbers equal {counts[SAME[0]]} of {len(rows)}", *others])


def differing(path: str, rows: Sequence[Row]) -> list[str]:
    """A message for each number that is not the stored one."""
    return [
        f"{path}: {row.name}: {text(row.stored)} stored, {text(row.here)} here: {row.verdict}"
        for row in rows
        if row.comparable and not row.same
    ]


def incomparable(path: str, rows: Sequence[Row]) -> list[str]:
    """A message for each reason why numbers cannot be compared, with the first of them."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if not row.comparable:
            found.setdefault(row.verdict, []).append(row)
    return [f"{path}: {_first(same)}: {verdict}" for verdict, same in found.items()]


def whole_table(rows: Sequence[Row]) -> str:
    """Every number as a Markdown table."""
    return table(HEAD, [[r.name, text(r.stored), text(r.here), r.verdict] for r in rows])


def write(rows: Sequence[Row], path: Path) -> None:
    """Store the whole table in a file."""
    results.write_atomic(path, whole_table(rows) + "\n")


def text(value: Any) -> str:
    """A number with six digits, or a word.

    >>> text(0.123456789), text("reproduced")
    ('0.123457', 'reproduced')
    """
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _first(rows: Sequence[Row]) -> str:
    one = f"{rows[0].name}: {text(rows[0].stored)} stored, {text(rows[0].here)} here"
    more = len(rows) - 1
    return f"{one} (and {more} more number{'s' if more > 1 else ''})" if more else one
