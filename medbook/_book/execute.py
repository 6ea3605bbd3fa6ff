"""Chapters executed by papermill, each in a process of its own, side by side."""

import json
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from medbook import parallel, paths, results
from medbook._book import keys
from medbook._book.failure import Failure, cell_seconds, find_failure
from medbook._book.project import Chapter, Project
from medbook.errors import MedbookError

KERNEL_DIED = 138  # exit code of papermill
LOG_LINES = 50

Processes = set[subprocess.Popen[str]]


class Bar:
    """Progress of one chapter, cell by cell."""

    def __init__(self, progress: Progress, chapter: Chapter) -> None:
        self.progress = progress
        self.task = progress.add_task(chapter.id, start=False, total=None)

    def restart(self, cells: int) -> None:
        """The first of so many cells begins."""
        self.progress.reset(self.task, total=cells)

    def step(self) -> None:
        """One more cell is done."""
        self.progress.advance(self.task)


@dataclass(frozen=True)
class Outcome:
    """What became of one chapter: `state` is ran, up to date or failed."""

    chapter: Chapter
    state: str
    failure: Failure | None = None


@dataclass(frozen=True)
class Plan:
    """One run of chapters: at which profile, from which seed, to which folder."""

    project: Project
    profile: str
    seed: int
    out: Path
    jobs: int
    variables: Mapping[str, str]

    def scratch(self, chapter: Chapter) -> Path:
        """Working folder of a chapter's kernel; what it writes there is not kept."""
        return self.project.build / "scratch" / f"{chapter.id}.{self.out.name}.{self.profile}"

    def results(self, chapter: Chapter) -> Path:
        """Results file of a chapter."""
        return self.out / f"{chapter.id}.{self.profile}.json"

    def notebook(self, chapter: Chapter, kind: str = "") -> Path:
        """Executed notebook of a chapter; kind "partial" while it runs, "failed" if it did."""
        return self.out / f"{chapter.id}{kind and '.'}{kind}.ipynb"


def make_plan(
    project: Project,
    profile: str,
    seed: int = 0,
    *,
    out: Path | None = None,
    jobs: int | None = None,
    variables: Mapping[str, str] | None = None,
) -> Plan:
    """A run with its defaults filled in.

    Args:
        project: the checkout.
        profile: "smoke", "laptop" or "gpu".
        seed: base seed.
        out: folder of notebooks and results; the project's own run folder if None.
        jobs: chapters side by side; if None all cores at smoke, else one.
        variables: further environment variables of the kernels.

    Raises:
        MedbookError: jobs < 1, or more than one at a time on the GPU.
    """
    jobs = jobs or (parallel.threads() if profile == "smoke" else 1)
    if jobs < 1 or (profile == "gpu" and jobs > 1):
        raise MedbookError(f"jobs is {jobs}: give 1 or more; chapters run one at a time on a GPU")
    out = (out or project.run_folder(profile, seed)).resolve()
    return Plan(project, profile, seed, out, jobs, variables or {})


def outdated(plan: Plan, chapter: Chapter) -> list[str]:
    """Why a chapter has to be run; empty if its results are up to date."""
    try:
        stored = results.load(plan.results(chapter))
    except MedbookError as error:
        return [str(error)]
    if "key" not in stored or not plan.notebook(chapter).exists():
        return ["the last run did not end"]
    if nbformat.read(plan.notebook(chapter), 4).metadata.get("medbook") != mark(stored):
        return ["the notebook is of another run"]
    new = keys.key_of(plan.project, chapter, stored | {"seed": plan.seed})
    return keys.differences(chapter, stored["key"], new) + keys.new_real_data(stored)


def run(
    plan: Plan, chapters: Sequence[Chapter], console: Console, *, force: bool = False
) -> list[Outcome]:
    """Execute the chapters that are not up to date; a failure does not stop the others.

    Args:
        plan: from `make_plan`.
        chapters: which ones.
        console: shows the progress.
        force: execute the up-to-date ones too.

    Returns:
        one outcome a chapter, in the order of `chapters`.
    """
    todo = [chapter for chapter in chapters if force or outdated(plan, chapter)]
    ended = _run_all(plan, todo, console) if todo else []  # an empty progress bar prints a line
    done = {outcome.chapter.id: outcome for outcome in ended}
    return [done.get(chapter.id, Outcome(chapter, "up to date")) for chapter in chapters]


def mark(stored: results.Results) -> dict[str, str]:
    """Notebook metadata that tie a notebook to its results file."""
    return {"results": stored["digest"], "profile": stored["profile"]}


def environment(
    project: Project, profile: str, out: Path, jobs: int, variables: Mapping[str, str]
) -> dict[str, str]:
    """Environment variables of a kernel; everything it caches goes under `_build`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MEDBOOK_PERMUTE")}
    if given := kept.get("MEDBOOK_DATA"):  # the kernel runs in another folder
        kept["MEDBOOK_DATA"] = str(Path(given).resolve())
    path = [str(paths.PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return kept | {
        "MEDBOOK_ROOT": str(project.root),
        "MEDBOOK_OUT": str(out),
        "MEDBOOK_PROFILE": profile,
        "MEDBOOK_THREADS": str(max(1, parallel.threads() // jobs)),
        "PYTHONPATH": os.pathsep.join(path),
        "IPYTHONDIR": str(project.build / "ipython"),
        "MPLCONFIGDIR": str(project.build / "matplotlib"),
        "JUPYTER_PATH": str(_own_kernel(project)),
        "JUPYTER_RUNTIME_DIR": str(project.build / "jupyter/runtime"),
        **({"OMP_NUM_THREADS": "1"} if profile == "smoke" else {}),
        **variables,
    }


def _own_kernel(project: Project) -> Path:
    """A Jupyter folder whose `python3` is this interpreter, whatever kernels the user has."""
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    folder = project.build / "jupyter"
    results.write_atomic(folder / "kernels/python3/kernel.json", json.dumps(spec))
    return folder


def _run_all(plan: Plan, chapters: Sequence[Chapter], console: Console) -> list[Outcome]:
    processes: Processes = set()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        Progress(*columns, TimeElapsedColumn(), console=console) as progress,
        ThreadPoolExecutor(plan.jobs) as pool,
    ):
        futures = [
            pool.submit(_execute, plan, chapter, processes, Bar(progress, chapter))
            for chapter in chapters
        ]
        try:
            return [future.result() for future in futures]
        except BaseException:  # Ctrl-C: leave no kernel behind
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(processes):
                process.terminate()
            raise


def _execute(plan: Plan, chapter: Chapter, processes: Processes, bar: Bar) -> Outcome:
    """Run one chapter; nothing half-written is left under a final name."""
    partial_notebook = plan.notebook(chapter, "partial")
    before = keys.key_before(plan.project, chapter, plan.profile, plan.seed)
    plan.out.mkdir(parents=True, exist_ok=True)
    plan.results(chapter).unlink(missing_ok=True)
    for _ in range(2):  # a kernel that dies gets a second chance
        code, log = _papermill(plan, chapter, processes, bar)
        if code != KERNEL_DIED:
            break
    shutil.rmtree(plan.scratch(chapter), ignore_errors=True)
    if code == 0 and plan.results(chapter).exists():
        _complete(plan, chapter, before)
        return Outcome(chapter, "ran")
    failure = (
        find_failure(chapter, partial_notebook, log, died=code == KERNEL_DIED)
        if code
        else Failure(keys.source_name(chapter), None, "", "the last cell must call run.finish()")
    )
    if partial_notebook.exists():
        partial_notebook.replace(plan.notebook(chapter, "failed"))
    return Outcome(chapter, "failed", failure)


def _papermill(
    plan: Plan, chapter: Chapter, processes: Processes, bar: Bar
) -> tuple[int, list[str]]:
    """Execute a chapter from its first cell; the exit code and the last lines of the log."""
    scratch = plan.scratch(chapter)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    source = scratch / "source.ipynb"
    notebook = chapter.notebook()
    nbformat.write(notebook, source)
    bar.restart(len(notebook.cells) + 1)  # with the cell that papermill injects
    process = subprocess.Popen(
        [
            sys.executable, "-m", "papermill",
            str(source), str(plan.notebook(chapter, "partial")),
            "-p", "profile", plan.profile, "-p", "seed", str(plan.seed),
            "--kernel", "python3", "--cwd", str(scratch),
            "--execution-timeout", str(cell_seconds(chapter)),
            "--log-output", "--no-progress-bar",
        ],
        env=environment(plan.project, plan.profile, plan.out, plan.jobs, plan.variables),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    processes.add(process)
    log: deque[str] = deque(maxlen=LOG_LINES)
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line)
        if line.startswith("Ending Cell"):
            bar.step()
    processes.discard(process)
    return process.wait(), list(log)


def _complete(plan: Plan, chapter: Chapter, before: keys.Key) -> None:
    """Put the key into the results and tie the notebook to them; the results come last."""
    measured = results.load(plan.results(chapter))
    measured["key"] = keys.key_of_run(before, measured)
    measured["digest"] = results.digest(measured)
    notebook = nbformat.read(plan.notebook(chapter, "partial"), 4)
    notebook.metadata["medbook"] = mark(measured)
    results.write_atomic(plan.notebook(chapter), nbformat.writes(notebook) + "\n")
    results.save(measured, plan.results(chapter))
    plan.notebook(chapter, "partial").unlink()
    plan.notebook(chapter, "failed").unlink(missing_ok=True)
