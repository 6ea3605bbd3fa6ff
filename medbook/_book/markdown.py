"""Markdown: tables, and the few texts and readings that several modules share."""

import re
from collections.abc import Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    r"""A pipe table; bars and line breaks inside cells are made harmless.

    >>> print(table(["a", "b"], [["x|y", 1]]))
    | a | b |
    |---|---|
    | x\|y | 1 |
    """
    lines = [[_cell(value) for value in row] for row in rows]
    text = [" | ".join(row) for row in ([_cell(name) for name in head], *lines)]
    rule = "|" + "---|" * len(head)
    return "\n".join([f"| {text[0]} |", rule, *(f"| {row} |" for row in text[1:])])


def link(text: str, target: str | None) -> str:
    """A link, or the plain text where there is no target.

    >>> link("CSIM", "https://arxiv.org/abs/2410.01411"), link("CSIM", None)
    ('[CSIM](https://arxiv.org/abs/2410.01411)', 'CSIM')
    """
    return f"[{text}]({target})" if target else text


def framed(verdict: str, words: str) -> str:
    """Words in the frame that the site draws for a verdict; elsewhere the words alone.

    >>> framed("not reproduced", "2 not reproduced")
    '<span class="verdict not-reproduced">2 not reproduced</span>'
    """
    return f'<span class="verdict {verdict.replace(" ", "-")}">{words}</span>'


def title(name: str) -> str:
    """A folder or file name as words: the caption of a part, the title of a page.

    >>> title("few_labels")
    'Few labels'
    """
    return name.replace("_", " ").capitalize()


def duration(seconds: float) -> str:
    """Seconds, or minutes from ten minutes on.

    >>> duration(8.26), duration(1500)
    ('8 s', '25 min')
    """
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def without_fences(markdown: str) -> str:
    r"""Markdown with the content of its fenced code blanked; the opening fence stays.

    >>> without_fences("a\n```\n# no heading\n```\nb").split("\n")
    ['a', '```', '', '', 'b']
    """
    lines, fence = [], ""
    for line in markdown.splitlines():
        mark = re.match(r"\s*(`{3,}|~{3,})", line)
        lines.append("" if fence else line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).replace("|", "\\|").split())
