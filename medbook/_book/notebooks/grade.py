"""How many checks of a student's notebook pass."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nbclient import NotebookClient
from nbformat import NotebookNode

from medbook._book.notebooks.student import CHECK, EXERCISE, student_notebook
from medbook._book.project import Chapter, Project, read_notebook
from medbook.errors import MedbookError

SECONDS = 600  # for one cell


class Check(NamedTuple):
    """A check of an exercise, and what it raised; None if it passes."""

    exercise: str
    problem: str | None


def grade(project: Project, chapter: Chapter, answers: Path) -> list[Check]:
    """Run a student's notebook at smoke, with the checks as the chapter has them.

    Args:
        project: the checkout.
        chapter: whose exercises are answered.
        answers: the notebook, as `medbook student` wrote it, with answers; it is not changed.

    Returns:
        one entry per exercise, in order.

    Raises:
        MedbookError: the notebook cannot be read, or has other checks than the chapter.
    """
    notebook = read_notebook(answers)
    ours, theirs = checks(student_notebook(project, chapter)), checks(notebook)
    if len(ours) != len(theirs):
        raise MedbookError(
            f"{answers} has {len(theirs)} cells tagged `check`, {chapter.id} has {len(ours)}: "
            "take the notebook that `medbook student` writes, and answer in its cells"
        )
    for (_, right), (_, cell) in zip(ours, theirs, strict=True):
        cell.source = right.source  # whatever became of it in the student's copy
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=SECONDS, allow_errors=True, resources={"metadata": {"path": folder}}
        )
        client.execute(env=os.environ | {"MEDBOOK_PROFILE": "smoke"})
    return [Check(exercise, problem_of(cell)) for exercise, cell in theirs]


def checks(notebook: NotebookNode) -> list[tuple[str, NotebookNode]]:
    """The cells tagged `check`, each with the heading of its exercise."""
    return list(_checks(notebook))


def problem_of(cell: NotebookNode) -> str | None:
    """What an executed cell raised, in one line."""
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            return " ".join(f"{output.ename}: {output.evalue}".split())
    return None


def _checks(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    exercise = "an exercise"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            exercise = (EXERCISE.findall(cell.source) or [exercise])[-1]
        elif CHECK in cell.metadata.get("tags", []):
            yield exercise, cell
