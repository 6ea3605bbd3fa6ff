"""How long a class needs for each section of a chapter: estimates from its source."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from nbformat import NotebookNode

from medbook._book.markdown import without_fences
from medbook._book.project import Chapter

# Assumptions of this book, not measurements: nobody has timed its readers.
WORDS_A_MINUTE = 150  # prose with formulas, read once; plain prose goes faster
LINES_A_MINUTE = 8  # code that is read and understood; empty lines and comments are not counted
MINUTES_A_FIGURE = 2  # to find its message and to question it
MINUTES_AN_EXERCISE = 15  # to think, to change code and to compare with the solution
FIGURES = ("plots.show(", "explore(")
BEFORE = "Before the first section"


@dataclass(frozen=True)
class Section:
    """What a `##` section of a chapter holds."""

    title: str
    words: int
    lines: int
    figures: int
    exercises: int

    @property
    def minutes(self) -> int:
        """Estimated time in class, in whole minutes."""
        return math.ceil(
            self.words / WORDS_A_MINUTE
            + self.lines / LINES_A_MINUTE
            + self.figures * MINUTES_A_FIGURE
            + self.exercises * MINUTES_AN_EXERCISE
        )


def sections(chapter: Chapter) -> list[Section]:
    """The sections of a chapter in their order; what stands before the first is one too."""
    groups: list[tuple[str, list[NotebookNode]]] = [(BEFORE, [])]
    for cell in chapter.notebook().cells:
        if cell.cell_type == "markdown":
            for title, text in _split(cell.source):
                if title:
                    groups.append((title, []))
                groups[-1][1].append(NotebookNode(cell, source=text))
        else:
            groups[-1][1].append(cell)
    return [_measure(title, cells) for title, cells in groups]


def _split(markdown: str) -> Iterator[tuple[str, str]]:
    r"""Title and text of each `##` section of a cell; no title for what precedes the first.

    >>> list(_split("a\n## B\nc"))
    [('', 'a'), ('B', 'c')]
    """
    title, lines = "", list[str]()
    for line in without_fences(markdown).splitlines():
        if line.startswith("## "):
            yield title, "\n".join(lines)
            title, lines = line.removeprefix("## ").strip(), []
        else:
            lines.append(line)
    yield title, "\n".join(lines)


def _measure(title: str, cells: list[NotebookNode]) -> Section:
    """Solutions belong to the time of their exercise, folded code is not read."""
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    code = [cell for cell in cells if cell.cell_type == "code" and "solution" not in _tags(cell)]
    read = [cell.source for cell in code if "hide-input" not in _tags(cell)]
    lines = [line.strip() for source in read for line in source.splitlines()]
    return Section(
        title,
        words=sum(len(text.split()) for text in prose),
        lines=sum(bool(line) and not line.startswith("#") for line in lines),
        figures=sum(line.startswith(FIGURES) for cell in code for line in cell.source.splitlines()),
        exercises=sum(line.startswith("### Exercise") for t in prose for line in t.splitlines()),
    )


def _tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))
