"""A table that a notebook shows as HTML and a terminal as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from medbook.evaluate.stats import VERDICTS


class Verdict(str):
    """A verdict, perhaps with a remark after it; a page may colour the verdict by its class.

    >>> Verdict("not reproduced [twin]")._repr_html_()
    '<span class="verdict not-reproduced">not reproduced</span> [twin]'
    """

    def _repr_html_(self) -> str:
        """Called by `Table`; what begins with no verdict stays plain."""
        for name in VERDICTS:
            if self.startswith(name):
                kind = name.replace(" ", "-")
                return f'<span class="verdict {kind}">{name}</span>{escape(self[len(name) :])}'
        return escape(self)


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
            "<tr>" + "".join(f"<td>{_html(cell)}</td>" for cell in row) + "</tr>"
            for row in self.rows
        )
        return (
            f'<table class="medbook"><caption>{escape(self.caption)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )


def _html(cell: Any) -> str:
    return cell._repr_html_() if isinstance(cell, Verdict) else escape(str(cell))
