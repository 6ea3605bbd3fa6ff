"""Notebooks for students: the chapters with every solution replaced by a place for the answer.

The checks stay: a cell tagged `check` follows each solution and asserts what a right answer holds.
"""

import ast
import re
import symtable
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeGuard

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from medbook._book.keys import source_name
from medbook._book.notebooks.card import boxed, facts
from medbook._book.notebooks.surroundings import add_card, bare, text_of
from medbook._book.project import Chapter, Project
from medbook._book.remote import find_remote
from medbook.errors import MedbookError
from medbook.record import results

SOLUTION, CHECK = "solution", "check"
GOES_ON = "raises-exception"  # Jupyter runs the cells below although this one raises
EXERCISE = re.compile(r"^#+\s+(Exercise\b.*)$", re.MULTILINE)


def student_notebook(project: Project, chapter: Chapter) -> NotebookNode:
    """A chapter without solutions, outputs and verdicts: a student measures these first.

    Args:
        project: the checkout.
        chapter: which one.

    Raises:
        MedbookError: a later cell needs what a solution defines, so that it would not run.
    """
    notebook = bare(chapter)
    _refuse_needed_solutions(chapter, notebook)
    exercise = "the exercise"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            exercise = (EXERCISE.findall(cell.source) or [exercise])[-1]
        elif _is(SOLUTION, cell):
            cell.source = stub(exercise, cell.source, _check_of(cell, notebook))
            cell.metadata["tags"] = ["exercise"]
        elif _is(CHECK, cell):
            cell.metadata["tags"] = [CHECK, GOES_ON]
    add_card(notebook, find_remote(project.root), boxed(facts(project, chapter)))
    return notebook


def stub(exercise: str, solution: str, check: str) -> str:
    r"""A cell that runs and names what the check reads, functions with their head.

    >>> print(stub("Exercise 1", "def f(x):\n    return x\na, b = f(1), 2", "assert f(a) == 1"))
    # Your answer to: Exercise 1
    a = ...
    def f(x):
        ...
    """
    asked = _names(check)[1] & _names(solution)[0]
    lines = [f"# Your answer to: {exercise}"]
    heads = {node.name: node for node in ast.parse(solution).body if _is_function(node)}
    lines += [f"{name} = ..." for name in sorted(asked - heads.keys())]
    for name in sorted(asked & heads.keys()):
        head, said = heads[name], ast.get_docstring(heads[name])
        docstring = [ast.Expr(ast.Constant(said))] if said else []
        head.body = [*docstring, ast.Expr(ast.Constant(...))]
        lines.append(ast.unparse(head))
    return "\n".join(lines)


def write_all(project: Project, chapters: Sequence[Chapter], out: Path | None) -> Iterator[Path]:
    """Write the student notebooks of some chapters.

    Args:
        project: the checkout.
        chapters: which ones.
        out: folder, in which a notebook that reads otherwise is left alone; if None
            `_build/student`, where they are made anew and those of other chapters stay.

    Yields:
        the files written.

    Raises:
        MedbookError: a notebook cannot be made, or one in `out` would be overwritten.
    """
    texts = {c.id: text_of(student_notebook(project, c)) for c in chapters}
    write = place if out else _replace
    for id, text in texts.items():
        target = (out or project.build / "student") / f"{id}.ipynb"
        write(text, target)
        yield target


def place(text: str, target: Path) -> None:
    """Write a notebook where there is none; one that reads otherwise may be somebody's work.

    Raises:
        MedbookError: another notebook is there.
    """
    if target.exists() and target.read_text(encoding="utf-8") != text:
        raise MedbookError(
            f"{target} is there and reads otherwise, perhaps by your changes: "
            "move it away or choose another folder"
        )
    results.write_atomic(target, text)


def _replace(text: str, target: Path) -> None:
    results.write_atomic(target, text)


def _refuse_needed_solutions(chapter: Chapter, notebook: NotebookNode) -> None:
    """Every other cell must find its names outside of the solutions before it."""
    solved: dict[str, int] = {}  # name -> number of the solution cell that defines it
    for number, cell in enumerate(_code(notebook), 1):
        bound, read = _names(cell.source)
        if _is(SOLUTION, cell):
            solved |= dict.fromkeys(bound, number)
            continue
        if _is(CHECK, cell):  # reads an answer, which is what it is for
            continue
        for name in sorted(read & solved.keys()):
            raise MedbookError(
                f"{source_name(chapter)}: cell {number} needs {name!r}, which the solution in cell "
                f"{solved[name]} defines: define it outside of the solution"
            )
        solved = {name: at for name, at in solved.items() if name not in bound}


def _names(source: str) -> tuple[set[str], set[str]]:
    r"""Names that a cell binds, and those that it or its functions read but it does not bind.

    >>> bound, read = _names("y = f(x)\ndef g(a): return a + z")
    >>> sorted(bound), sorted(read)
    (['g', 'y'], ['f', 'x', 'z'])
    """
    plain = TransformerManager().transform_cell(source)  # turns IPython's magics into Python
    top = symtable.symtable(plain, "<cell>", "exec")
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    tables = [top, *_inner(top)]
    read = {
        symbol.get_name()
        for table in tables
        for symbol in table.get_symbols()
        if symbol.is_global() and symbol.is_referenced()
    }
    return bound, read - bound


def _inner(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _inner(child)


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _is(tag: str, cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and tag in cell.metadata.get("tags", [])


def _is_function(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef)


def _check_of(solution: NotebookNode, notebook: NotebookNode) -> str:
    """Source of the check right after a solution; empty if there is none."""
    for cell, below in pairwise(_code(notebook)):
        if cell is solution and _is(CHECK, below):
            return below.source
    return ""
