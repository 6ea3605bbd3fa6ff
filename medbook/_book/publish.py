"""Bring a run into the book: results file and notebook, the same bytes each time."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from medbook import results
from medbook._book.card import card, repository
from medbook._book.execute import make_plan, mark, outdated
from medbook._book.keys import code_cells
from medbook._book.project import NOTEBOOK_BYTES, Chapter, Project
from medbook._book.state import smoke_snapshot
from medbook.errors import MedbookError

WIDGETS = "application/vnd.jupyter.widget"
HOME = re.compile(r"(?<![\w./-])(/home/|/Users/|[A-Z]:\\\\?Users\\)[\w.-]+")


def publish(project: Project, chapter: Chapter, profile: str, seed: int = 0) -> list[Path]:
    """Write a chapter's run into `book/results`, and at laptop into `book/notebooks`.

    Args:
        project: the checkout.
        chapter: whose run.
        profile: at which profile it ran.
        seed: from which base seed.

    Returns:
        the files written.

    Raises:
        MedbookError: the run, or at laptop and gpu the smoke run that later changes are checked
            by, is not up to date; the notebook shows a path of this machine or is too large.
    """
    measured = _measured(project, chapter, profile, seed)
    if profile != "smoke":
        measured["smoke"] = smoke_snapshot(_measured(project, chapter, "smoke", 0))
    measured["digest"] = results.digest(measured)
    target = project.notebooks / f"{chapter.id}.ipynb"
    results_file = project.published(chapter.id, profile)
    if profile == "laptop":
        executed = nbformat.read(make_plan(project, profile, seed).notebook(chapter), 4)
        notebook = normalised(project, chapter, executed)
        notebook.metadata["medbook"] = mark(measured)
        _refuse_machine_paths(project, target.name, notebook)
        _refuse_large(target.name, notebook)
    elif target.exists():
        notebook = nbformat.read(target, 4)
    else:
        results.save(measured, results_file)
        return [results_file]
    results.save(measured, results_file)
    _set_card(notebook, card(project, chapter))  # it shows the times just stored
    results.write_atomic(target, _text(notebook))
    return [results_file, target]


def normalised(project: Project, chapter: Chapter, executed: NotebookNode) -> NotebookNode:
    """An executed notebook without what differs from run to run, ready for Colab.

    Args:
        project: the checkout.
        chapter: whose notebook.
        executed: as papermill wrote it.
    """
    sources = iter(chapter.notebook().cells)
    cells = [cell for cell in executed.cells if "injected-parameters" not in _tags(cell)]
    for cell, source in zip(cells, sources, strict=True):
        cell.metadata = {k: v for k, v in source.metadata.items() if k != "lines_to_next_cell"}
        cell["id"] = source["id"]
        cell.source = source.source  # the run is up to date: only prose and comments can differ
    made = nbformat.v4.new_notebook(cells=cells)
    for number, cell in enumerate(code_cells(made), 1):
        cell.execution_count = number
        cell.outputs = [_clean_output(o, number) for o in _joined(cell.outputs) if _kept(o)]
    if url := repository(project):
        made.cells.insert(0, _install_cell(url))
    made.metadata = {
        "accelerator": "GPU",
        "colab": {"gpuType": "T4", "provenance": []},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return made


def _measured(project: Project, chapter: Chapter, profile: str, seed: int) -> results.Results:
    plan = make_plan(project, profile, seed)
    if reasons := outdated(plan, chapter):
        command = f"medbook run {chapter.id} --profile {profile} --seed {seed}"
        raise MedbookError(f"{chapter.id}: run `{command}` first: {', '.join(reasons[:3])}")
    return results.load(plan.results(chapter))


def _install_cell(url: str) -> NotebookNode:
    """Installs medbook on Colab and does nothing elsewhere."""
    command = f'%pip install -q "medbook @ git+{url}"'
    source = f'import sys\nif "google.colab" in sys.modules:\n    {command}'
    cell = new_code_cell(source, id="install", metadata={"tags": ["install", "remove-cell"]})
    cell.execution_count = None
    return cell


def _set_card(notebook: NotebookNode, text: str) -> None:
    """Put the card under the title, in place of an older one."""
    cells = [cell for cell in notebook.cells if cell["id"] != "card"]
    title = next((i for i, cell in enumerate(cells) if cell.cell_type == "markdown"), 0)
    cells.insert(title + 1, new_markdown_cell(text, id="card", metadata={"tags": ["card"]}))
    notebook.cells = cells


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Consecutive pieces of one stream as one output: how it was cut depends on the clock."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last and output.output_type == "stream" == last.output_type and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def _kept(output: NotebookNode) -> bool:
    """Neither messages on stderr nor widgets (progress bars) belong into the book."""
    widget = any(kind.startswith(WIDGETS) for kind in output.get("data", {}))
    return not widget and not (output.output_type == "stream" and output.name == "stderr")


def _clean_output(output: NotebookNode, number: int) -> NotebookNode:
    if output.output_type == "execute_result":
        output["execution_count"] = number
    return output


def _refuse_machine_paths(project: Project, name: str, notebook: NotebookNode) -> None:
    here = [str(project.root), f"{Path.home()}/", tempfile.gettempdir() + "/"]
    for number, cell in enumerate(code_cells(notebook), 1):
        for text in _texts(cell.outputs):
            home = HOME.search(text)
            found = home.group() if home else next((path for path in here if path in text), None)
            if found:
                raise MedbookError(f"{name}: cell {number} prints a path of this machine: {found}")


def _refuse_large(name: str, notebook: NotebookNode) -> None:
    size = len(_text(notebook).encode())
    if size >= NOTEBOOK_BYTES:
        sizes = {n: len(str(c.outputs)) for n, c in enumerate(code_cells(notebook), 1)}
        largest = max(sizes, key=sizes.__getitem__)
        raise MedbookError(
            f"{name}: {size / 2**20:.1f} MiB, must be below 1; the largest output is that of "
            f"cell {largest} ({sizes[largest] / 2**20:.1f} MiB)"
        )


def _texts(outputs: list[NotebookNode]) -> Iterator[str]:
    for output in outputs:
        data: dict[str, Any] = output.get("data", {})
        yield output.get("text", "")
        yield from (str(data[kind]) for kind in data if not kind.startswith("image/"))


def _text(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook, indent=1, sort_keys=True) + "\n"


def _tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))
