"""A table that a notebook shows as HTML and a terminal as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True)
class Table:
    """Rows under a head, with a caption that states what they say.

    >>> Table(["arm", "accuracy"], [["clean", 0.84]], "One arm.")
    One arm.
    arm | accuracy
    clean | 0.84
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str

    def __repr__(self) -> str:
        lines = [" | ".join(map(str, row)) for row in (self.head, *self.rows)]
        return "\n".join([self.caption, *lines])

    def _repr_html_(self) -> str:
        """Called by Jupyter."""
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.head)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>"
            for row in self.rows
        )
        return (
            f'<table class="medbook"><caption>{escape(self.caption)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )
