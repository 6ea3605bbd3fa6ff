"""Bring a run into the book: results file and notebook, the same bytes each time."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from medbook._book.keys import changes, code_cells, glue_cells
from medbook._book.notebooks.card import notebook_links
from medbook._book.notebooks.digests import digests
from medbook._book.notebooks.surroundings import bare, surround, text_of
from medbook._book.project import NOTEBOOK_BYTES, Chapter, Project, read_notebook
from medbook._book.remote import find_remote
from medbook._book.runs.otherwise import rounded_otherwise
from medbook._book.runs.plan import Plan, load_run, make_plan, mark, outdated
from medbook._book.stored import ledger
from medbook._book.stored.state import agreeing, judge
from medbook._book.stored.tolerance import kept_tolerances, measured_tolerances
from medbook.errors import MedbookError
from medbook.record import cases, results

WIDGETS = "application/vnd.jupyter.widget"
HOME = re.compile(r"(?<![\w./-])(/home/|/Users/|[A-Z]:\\\\?Users\\)[\w.-]+")


def publish(
    project: Project, chapter: Chapter, profile: str, seed: int | None = None
) -> list[Path]:
    """Write a chapter's run into `book/results`, and at laptop into `book/notebooks`.

    Where there is no up-to-date laptop run but the published one is still that of the chapter's
    code and claims, its outputs stay, and prose, card, links and citation are made anew.

    Args:
        project: the checkout.
        chapter: whose run.
        profile: at which profile it ran.
        seed: from which base seed, if not the chapter's own.

    Returns:
        the files written.

    Raises:
        MedbookError: the run, or at laptop and gpu the smoke run that later changes are checked
            by, is not up to date; the notebook shows a path of this machine or is too large.
    """
    plan = make_plan(project, profile, seed)
    if profile == "laptop" and outdated(plan, chapter):
        _refuse_outlived(plan, chapter)
        return [_refresh(plan, chapter)]
    return _bring(plan, chapter)


def normalised(chapter: Chapter, executed: NotebookNode) -> NotebookNode:
    """The chapter with the outputs of an executed notebook, without what differs from run to run.

    Args:
        chapter: its prose is taken as it is now.
        executed: as papermill wrote it, or as it was published; its cells are those of the
            chapter, though what `define` cells define may have changed since.
    """
    made = bare(chapter)
    for number, cell in enumerate(code_cells(made), 1):
        cell.execution_count = number
    pairs = zip(glue_cells(made), glue_cells(executed), strict=True)  # others print nothing
    for (number, cell), (_, run) in pairs:
        cell.outputs = [_clean_output(o, number) for o in _joined(run.outputs) if _kept(o)]
    return made


def with_prose_of_today(chapter: Chapter, published: NotebookNode) -> NotebookNode:
    """A published notebook with the chapter's prose as it is now; its code must be the same."""
    made = normalised(chapter, published)
    made.metadata["medbook"] = published.metadata["medbook"]
    return made


def _bring(plan: Plan, chapter: Chapter) -> list[Path]:
    """Publish a run of this machine."""
    project = plan.project
    measured, executed = _up_to_date(plan, chapter)
    _refuse_mixed(chapter, measured)
    if plan.profile != "smoke":
        smoke, _ = _up_to_date(make_plan(project, "smoke"), chapter)
        measured["smoke"] = results.numbers(smoke)
    else:
        before = _stored(project, chapter, "smoke")
        measured["agrees"] = agreeing(before, measured)
        measured = _with_tolerances(plan, chapter, measured, before)
    measured["key"].pop("around")  # of interest where the run can be repeated at once
    published = project.notebook(chapter.id)
    results_file = project.published(chapter.id, plan.profile)
    notebook = read_notebook(published) if published.exists() else None
    if plan.profile == "laptop":
        notebook = _fit_to_publish(project, chapter, executed)
        measured["digests"] = digests(notebook)
    measured = results.sealed(measured)
    if plan.profile == "laptop" and notebook:
        notebook.metadata["medbook"] = mark(measured)
    texts: dict[Path, str | bytes] = {results_file: results.text_of(measured)}
    if "cases" in measured:
        cases.load(measured, plan.results(chapter))  # refuses a file of another run
        texts[cases.beside(results_file)] = cases.beside(plan.results(chapter)).read_bytes()
    else:
        cases.beside(results_file).unlink(missing_ok=True)  # of an earlier run
    if plan.profile != "smoke":  # where no claim is tested
        texts[project.root / ledger.NAME] = ledger.append(project, measured)
    if notebook is not None:
        texts[published] = _framed(project, chapter, notebook, measured)
    results.write_together(texts)  # a pair of two runs would be neither's
    return list(texts)


def _with_tolerances(
    plan: Plan, chapter: Chapter, measured: results.Results, before: results.Results | None
) -> results.Results:
    """Smoke results that say of each number how far another processor may move it.

    Raises:
        MedbookError: the run that measures it fails.
    """
    same = before and results.numbers(before) == results.numbers(measured)
    if before and same and "tolerances" in before:
        return kept_tolerances(measured, before)
    return measured_tolerances(measured, rounded_otherwise(plan, chapter))


def _fit_to_publish(project: Project, chapter: Chapter, executed: NotebookNode) -> NotebookNode:
    """What of an executed notebook goes into the book, if nothing forbids it."""
    notebook = normalised(chapter, executed)
    name = project.notebook(chapter.id).name
    _refuse_machine_paths(project, name, notebook)
    _refuse_large(name, notebook)
    return notebook


def _stored(project: Project, chapter: Chapter, profile: str) -> results.Results | None:
    try:
        return results.load(project.published(chapter.id, profile))
    except MedbookError:  # missing or damaged: nothing to go by
        return None


def _refresh(plan: Plan, chapter: Chapter) -> Path:
    """Today's prose around the outputs that are published."""
    path = plan.project.notebook(chapter.id)
    notebook = with_prose_of_today(chapter, read_notebook(path))
    results.write_atomic(path, _framed(plan.project, chapter, notebook))
    return path


def _refuse_outlived(plan: Plan, chapter: Chapter) -> None:
    """Raise if what is published is of another run than asked for, or of other code or claims."""
    state, reasons = judge(plan.project, chapter, plan.profile)
    if state in ("current", "checked by smoke"):
        stored = results.load(plan.project.published(chapter.id, plan.profile))
        reasons = changes(plan.project, chapter, stored).glue  # outputs are of these cells
        published = plan.project.notebook(chapter.id)
        if stored["seed"] != plan.seed_of(chapter):
            reasons.append(f"seed {stored['seed']} is published")
        elif not published.exists() or _mark(published) != mark(stored):
            reasons.append(f"book/notebooks/{published.name} is not of the stored run")
    if reasons:
        raise _run_first(plan, chapter, reasons)


def _framed(
    project: Project, chapter: Chapter, notebook: NotebookNode, new: results.Results | None = None
) -> str:
    """The file of a notebook in its frame, whose card shows the stored results and the new ones."""
    remote = find_remote(project.root)
    surround(notebook, project, chapter, remote, notebook_links(remote, chapter), new)
    return text_of(notebook)


def _up_to_date(plan: Plan, chapter: Chapter) -> tuple[results.Results, NotebookNode]:
    if reasons := outdated(plan, chapter):
        raise _run_first(plan, chapter, reasons)
    return load_run(plan, chapter)


def _run_first(plan: Plan, chapter: Chapter, reasons: list[str]) -> MedbookError:
    command = f"medbook run {chapter.id} --profile {plan.profile}"
    command += "" if plan.seed is None else f" --seed {plan.seed}"
    named = ", ".join(dict.fromkeys([*reasons[:2], reasons[-1]]))
    return MedbookError(f"{chapter.id}: run `{command}` first: {named}")


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


def _refuse_mixed(chapter: Chapter, measured: results.Results) -> None:
    """One result is of one kind of machine, or its numbers cannot be compared with any."""
    found = {name for trial in measured["trials"].values() for name in trial.get("machines", ())}
    if len(found) > 1:
        raise MedbookError(
            f"{chapter.id}: its trials were computed on {' and on '.join(sorted(found))}: run it "
            "again with an empty folder of trials (MEDBOOK_TRIALS), or on one kind of machine"
        )


def _refuse_machine_paths(project: Project, name: str, notebook: NotebookNode) -> None:
    here = [str(project.root), f"{Path.home()}/", tempfile.gettempdir() + "/"]
    for number, cell in enumerate(code_cells(notebook), 1):
        for text in _texts(cell.outputs):
            home = HOME.search(text)
            found = home.group() if home else next((path for path in here if path in text), None)
            if found:
                raise MedbookError(f"{name}: cell {number} prints a path of this machine: {found}")


def _refuse_large(name: str, notebook: NotebookNode) -> None:
    size = len(text_of(notebook).encode())
    if size >= NOTEBOOK_BYTES:
        sizes = {n: len(str(c.outputs)) for n, c in enumerate(code_cells(notebook), 1)}
        largest = max(sizes, key=sizes.__getitem__)
        raise MedbookError(
            f"{name}: {size / 2**20:.1f} MiB, must be below {NOTEBOOK_BYTES / 2**20}; "
            f"the largest output is that of cell {largest} ({sizes[largest] / 2**20:.1f} MiB)"
        )


def _texts(outputs: list[NotebookNode]) -> Iterator[str]:
    for output in outputs:
        data: dict[str, Any] = output.get("data", {})
        yield output.get("text", "")
        yield from (str(data[kind]) for kind in data if not kind.startswith("image/"))


def _mark(path: Path) -> Any:
    return read_notebook(path).metadata.get("medbook")
