"""A chapter as the checks see it."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from nbformat import NotebookNode

from medbook._book.markdown import without_fences
from medbook._book.project import Chapter, Project
from medbook.record.claims import System

Problems = Iterator[str]


class Heading(NamedTuple):
    """A heading: its cell, its line in the cell, its level and its text."""

    cell: int
    line: int
    level: int
    text: str


@dataclass(frozen=True)
class Page:
    """A chapter's source, its cells counted from 1."""

    project: Project
    chapter: Chapter
    systems: list[System]

    @property
    def where(self) -> str:
        """The source, relative to the checkout."""
        return self.chapter.path.relative_to(self.project.root).as_posix()

    def at(self, cell: int, problem: str, line: int = 0) -> str:
        """A problem of one cell, or of a line in it; code cells are also counted, as in runs."""
        place = f"{self.where}:{self._starts[cell - 1] + line if cell else 1}"
        count = list(self.code()).index(cell) + 1 if cell in self.code() else 0
        return f"{place}: cell {count}: {problem}" if count else f"{place}: {problem}"

    @cached_property
    def _starts(self) -> list[int]:
        """Line of the file at which each cell begins."""
        lines = enumerate(self.text.splitlines(), 1)
        starts = [number for number, line in lines if line.startswith("# %%")]
        return starts if len(starts) == len(self.cells) else [1] * len(self.cells)

    @cached_property
    def text(self) -> str:
        """The source."""
        return self.chapter.path.read_text(encoding="utf-8")

    @cached_property
    def cells(self) -> list[NotebookNode]:
        """All cells of the source."""
        return list(self.chapter.notebook().cells)

    def markdown(self) -> Iterator[tuple[int, str]]:
        """Number and text of the Markdown cells, fenced code blanked."""
        for number, cell in enumerate(self.cells, 1):
            if cell.cell_type == "markdown":
                yield number, without_fences(cell.source)

    def code(self, tag: str = "") -> dict[int, NotebookNode]:
        """The code cells by number, those with a tag if one is given."""
        numbered = enumerate(self.cells, 1)
        code = {number: cell for number, cell in numbered if cell.cell_type == "code"}
        return {n: c for n, c in code.items() if not tag or tag in c.metadata.get("tags", [])}

    @cached_property
    def trees(self) -> dict[int, ast.Module]:
        """Syntax tree of each code cell that is plain Python."""
        return {n: tree for n, cell in self.code().items() if (tree := parse(cell.source))}

    def calls(self) -> Iterator[tuple[int, ast.Call]]:
        """Every call in the code, with its cell."""
        for number, tree in self.trees.items():
            yield from ((number, n) for n in ast.walk(tree) if isinstance(n, ast.Call))

    @cached_property
    def headings(self) -> list[Heading]:
        """All headings of the chapter."""
        return [
            Heading(number, line, len(match[1]), match[2].strip())
            for number, text in self.markdown()
            for line, content in enumerate(text.splitlines(), 1)
            if (match := re.match(r"(#{1,6})\s+(.+)$", content))
        ]

    def section(self, name: str) -> str:
        """Markdown under a `##` heading; empty if there is no such heading."""
        text = "\n".join(source for _, source in self.markdown())
        pattern = rf"^## {re.escape(name)}[ ]*$(.*?)(?=^##? |\Z)"
        found = re.search(pattern, text, re.MULTILINE | re.DOTALL)
        return found[1] if found else ""


def parse(source: str) -> ast.Module | None:
    """The syntax tree, or None for what is not plain Python."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return None
