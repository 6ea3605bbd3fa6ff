"""Where and why a chapter failed, read from what papermill left behind."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from medbook._book.keys import code_cells, source_name
from medbook._book.project import Chapter, read_notebook
from medbook._book.runs import death
from medbook.errors import MedbookError

ANSI = re.compile(r"(?:\x1b|#x1B)\[[0-9;]*m")  # the second is how a JUnit file writes the first
LINE_IN_CELL = re.compile(r"Cell In\[\d+\], line (\d+)")


@dataclass(frozen=True)
class Failure:
    """One failed cell; `cell` counts the code cells of the source from 1."""

    where: str
    cell: int | None
    first_line: str
    reason: str

    def __str__(self) -> str:
        if self.cell is None:
            return f"{self.where}: {self.reason}"
        return f"{self.where}: cell {self.cell} ({self.first_line}): {self.reason}"


def find_failure(
    chapter: Chapter, notebook: Path, log: Sequence[str], *, died: bool, stalled: str
) -> Failure:
    """The cell at which an execution ended.

    Args:
        chapter: what was executed.
        notebook: as papermill left it; may be missing.
        log: last lines of papermill.
        died: the kernel died.
        stalled: why the execution was given up, if it was.
    """
    try:
        cell = _last_started(read_notebook(notebook))
    except (OSError, MedbookError):  # papermill did not come so far, or the disk was full
        cell = None
    reason = f"the kernel died, twice: {death.cause(log)}" if died else _last_error(log)
    reason = stalled or reason
    if cell is None:
        return Failure(source_name(chapter), None, "", reason)
    number, node = cell
    line = 1
    for output in node.outputs:
        if output.output_type == "error":
            raised = f"{output.ename}: {output.evalue}".splitlines()[0]
            reason = stalled or death.of_worker(output.evalue) or raised
            line = _line_in_cell(output.traceback)
    where = f"{source_name(chapter)}:{_first_line_in_source(chapter, node.source) + line - 1}"
    return Failure(where, number, title_of(node.source), reason)


def title_of(source: str) -> str:
    r"""The first line of a cell that is no comment, to recognise it by.

    >>> title_of("# why\nx = 1\ny = 2")
    'x = 1'
    """
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("#")), "empty")


def _last_started(notebook: NotebookNode) -> tuple[int, NotebookNode] | None:
    cells = list(enumerate(code_cells(notebook), 1))
    started = [cell for cell in cells if cell[1].metadata.get("papermill", {}).get("start_time")]
    return started[-1] if started else None


def _last_error(log: Sequence[str]) -> str:
    """The line that names the exception, e.g. `nbclient.exceptions.CellTimeoutError: ...`."""
    lines = [line.strip() for line in log if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    return (named or lines or ["papermill ended without a message"])[-1]


def _line_in_cell(traceback: Sequence[str]) -> int:
    found = LINE_IN_CELL.search(ANSI.sub("", "\n".join(traceback)))
    return int(found.group(1)) if found else 1


def _first_line_in_source(chapter: Chapter, cell: str) -> int:
    text = chapter.path.read_text(encoding="utf-8")
    return text.count("\n", 0, max(text.find(cell), 0)) + 1
