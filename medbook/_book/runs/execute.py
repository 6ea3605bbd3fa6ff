"""Chapters executed, on this machine or on a cluster, and their files put in place."""

import math
import re
from collections.abc import Sequence
from concurrent.futures import Future, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import nbformat
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from medbook._book import keys
from medbook._book.markdown import duration
from medbook._book.project import Chapter
from medbook._book.runs import local, lock
from medbook._book.runs.failure import Failure, find_failure
from medbook._book.runs.job import Ended, Job, make_job
from medbook._book.runs.local import Submit
from medbook._book.runs.pace import expected_of
from medbook._book.runs.plan import Plan, last_run, mark, outdated
from medbook._book.runs.watch import Report
from medbook.errors import MedbookError
from medbook.record import results

ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://\S+:\d+")  # of a Dask scheduler

Task = tuple[Plan, Chapter]


@dataclass(frozen=True)
class Outcome:
    """What became of one chapter from one seed: `state` is ran, up to date or failed."""

    plan: Plan
    chapter: Chapter
    state: str
    failure: Failure | None = None

    @property
    def name(self) -> str:
        """The chapter, and the seed if it is not its own."""
        return _name(self.plan, self.chapter)

    @property
    def notes(self) -> list[str]:
        """What to say of data sets that their twin replaced where the profile asks for images."""
        if self.failure or self.plan.profile == "smoke":
            return []
        used = results.load(self.plan.results(self.chapter))["data"]
        return [
            f"{self.name}: twin of {dataset['name']} in place of the real images "
            "(`medbook status` tells why)"
            for dataset in used
            if dataset["kind"] == "twin"
        ]


def run(
    plans: Sequence[Plan],
    chapters: Sequence[Chapter],
    console: Console,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    force: bool = False,
) -> list[Outcome]:
    """Execute what is not up to date; a failure does not stop the others.

    Args:
        plans: one a seed, from `make_plan`; all of one profile.
        chapters: which ones.
        console: shows the progress.
        jobs: side by side on this machine; if None all cores at smoke, else one.
        scheduler: address of a Dask scheduler, whose workers then execute the jobs.
        force: execute what is up to date too.

    Returns:
        one outcome a plan and chapter.

    Raises:
        MedbookError: another run writes into one of the folders; impossible `jobs`; no scheduler
            has or answers at the address.
    """
    if scheduler is not None and not ADDRESS.fullmatch(scheduler):
        raise MedbookError(f"scheduler is {scheduler!r}: give its address, tcp://host:8786")
    tasks = [(plan, chapter) for plan in plans for chapter in chapters]
    ended: list[Outcome] = []
    if _due(tasks, force):
        with lock.writing(plans):
            due = _longest_first(_due(tasks, force))  # another run may just have ended
            if scheduler is not None and len(due) == 1 and plans[0].profile != "gpu":
                due, place = _trials_to(scheduler, *due[0]), None
            else:
                place = scheduler
            with _place(plans[0], jobs, place, console) as submit:
                ended = _run_all(due, submit, console, on_cluster=scheduler is not None)
    done = {(outcome.plan.out, outcome.chapter.id): outcome for outcome in ended}
    return [
        done.get((plan.out, chapter.id), Outcome(plan, chapter, "up to date"))
        for plan, chapter in tasks
    ]


def _due(tasks: Sequence[Task], force: bool) -> list[Task]:
    return [task for task in tasks if force or outdated(*task)]


def _longest_first(tasks: Sequence[Task]) -> list[Task]:
    """So that none is left alone at the end; those that nobody has timed come first."""
    return sorted(tasks, key=lambda task: -(expected_of(last_run(*task)).seconds or math.inf))


def _trials_to(scheduler: str, plan: Plan, chapter: Chapter) -> list[Task]:
    """A chapter alone runs here, and the cluster computes its trials.

    (On a GPU they stay together: this machine may have none.)
    """
    from medbook.trials.cluster import connected

    with connected(scheduler):  # else the chapter would find out
        variables = {**plan.variables, "MEDBOOK_SCHEDULER": scheduler}
    return [(replace(plan, variables=variables), chapter)]


def _place(
    plan: Plan, jobs: int | None, scheduler: str | None, console: Console
) -> AbstractContextManager[Submit]:
    if scheduler is None:
        return local.threads_here(local.jobs_here(plan.profile, jobs), plan.project.build)
    from medbook._book.runs import (
        cluster,  # without a scheduler nobody needs to wait for its import
    )

    return cluster.workers_of(scheduler, plan.profile, console)


def _run_all(
    tasks: Sequence[Task], submit: Submit, console: Console, *, on_cluster: bool
) -> list[Outcome]:
    """Submit every task, and put its files in place as soon as it has ended."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    more = TimeElapsedColumn(), TextColumn("{task.fields[left]}")
    with Progress(*columns, *more, console=console) as progress:
        submitted: dict[Future[Ended], tuple[Plan, Chapter, Job]] = {}
        for plan, chapter in tasks:
            job = make_job(plan, chapter)
            report = _bar(progress, _name(plan, chapter), job.cells)
            submitted[submit(job, report)] = plan, chapter, job
        outcomes = []
        for future in as_completed(submitted):
            plan, chapter, job = submitted[future]
            failure = _settle(plan, chapter, job, future, on_cluster)
            outcomes.append(Outcome(plan, chapter, "failed" if failure else "ran", failure))
        return outcomes


def _name(plan: Plan, chapter: Chapter) -> str:
    return chapter.id if plan.seed is None else f"{chapter.id} (seed {plan.seed})"


def _bar(progress: Progress, name: str, cells: int) -> Report:
    """Progress of one job, cell by cell; it pulses as long as the job waits."""
    task = progress.add_task(name, start=False, total=None, left="")

    def show(done: int, left: float | None) -> None:
        progress.start_task(task)
        rest = "" if left is None or done == cells else remaining(left)
        progress.update(task, completed=done, total=cells, left=rest)

    return show


def remaining(seconds: float) -> str:
    """An estimate in words.

    >>> remaining(8.3), remaining(1500), remaining(0)
    ('about 8 s left', 'about 25 min left', 'longer than the stored run')
    """
    return f"about {duration(seconds)} left" if seconds else "longer than the stored run"


def _settle(
    plan: Plan, chapter: Chapter, job: Job, future: Future[Ended], on_cluster: bool
) -> Failure | None:
    """Put the files of a job in place that has ended; why it failed, if it did."""
    plan.notebook(chapter, "failed").unlink(missing_ok=True)
    try:
        ended = future.result()
    except MedbookError as error:  # it could not be executed at all
        ended = Ended(code=1, log=[str(error)], notebook=None, results=None)
    if ended.code or ended.notebook is None or ended.results is None:
        return _fail(plan, chapter, ended)
    measured = ended.results | {"key": job.key}
    measured |= {"cluster": True} if on_cluster else {}
    _store(plan, chapter, measured, ended.notebook, ended.cases)
    return None


def _fail(plan: Plan, chapter: Chapter, ended: Ended) -> Failure:
    """Keep the notebook up to the cell that failed, and no older results."""
    plan.results(chapter).unlink(missing_ok=True)
    failed = plan.notebook(chapter, "failed")
    if ended.notebook:
        results.write_atomic(failed, ended.notebook)
    if ended.code:
        return find_failure(chapter, failed, ended.log, died=ended.died, stalled=ended.stalled)
    return Failure(keys.source_name(chapter), None, "", "the last cell must call run.finish()")


def _store(
    plan: Plan,
    chapter: Chapter,
    measured: results.Results,
    executed: str,
    packed: bytes | None = None,
) -> None:
    """Tie the notebook to the results; these come last, so that they never stand alone."""
    measured["digest"] = results.digest(measured)
    notebook = nbformat.reads(executed, 4)
    notebook.metadata["medbook"] = mark(measured)
    results.write_atomic(plan.notebook(chapter), nbformat.writes(notebook) + "\n")
    results.save(measured, plan.results(chapter), packed)
