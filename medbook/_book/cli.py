"""The `medbook` command."""

import errno
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from medbook._book.project import find_project
from medbook.errors import MedbookError
from medbook.record.profiles import named, resolve

app = typer.Typer(
    help="Run, check and publish the chapters of the book.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
FAILED = 2
INTERRUPTED = 130  # exit code that typer makes of Ctrl-C
ROOM = "free some space (medbook keeps its caches in _build)"
PERMISSION = "change its permissions, or work in a copy of the checkout"
IN_THE_WAY = "a file is where a folder should be: move it, or name another folder"
CURES = {
    errno.ENOSPC: ROOM, errno.EDQUOT: ROOM, errno.EFBIG: ROOM,
    errno.EACCES: PERMISSION, errno.EPERM: PERMISSION, errno.EROFS: PERMISSION,
    errno.EEXIST: IN_THE_WAY, errno.ENOTDIR: IN_THE_WAY,
}  # fmt: skip
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

Names = Annotated[list[str] | None, typer.Argument(metavar="[CHAPTER]...", help="All if none.")]
Profile = Annotated[str, typer.Option(help="smoke, laptop, gpu or auto.")]
Seed = Annotated[
    int | None, typer.Option(min=0, help="Base of all seeds of the run, if not the chapter's own.")
]
Seeds = Annotated[
    list[int] | None,
    typer.Option(min=0, help="Base of all seeds of a run, if not the chapter's; may be repeated."),
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Chapters side by side.")]
Out = Annotated[Path | None, typer.Option(help="Folder; a run goes into OUT/PROFILE[-seedN].")]
Scheduler = Annotated[
    str | None, typer.Option(metavar="tcp://HOST:PORT", help="Of a Dask cluster to run on.")
]


def main() -> None:
    """Entry point: an error that a reader can mend is one line and exit code 2, no traceback."""
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except typer.TyperException as error:  # what was typed cannot be understood
        typed, wrong = shlex.join(sys.argv[1:]), error.format_message().rstrip(".")
        code = _refuse(f"medbook {typed}: {wrong}: --help tells what is accepted")
    except MedbookError as error:
        code = _refuse(str(error))
    except OSError as error:
        code = _refuse(_unusable(error))
    if code == INTERRUPTED:
        errors.print("interrupted: finished chapters are kept, the same command goes on")
    sys.exit(code)


@app.command()
def run(
    chapters: Names = None,
    profile: Profile = "auto",
    seed: Seeds = None,
    jobs: Jobs = None,
    out: Out = None,
    scheduler: Scheduler = None,
    force: Annotated[bool, typer.Option(help="Run up-to-date chapters too.")] = False,
    why: Annotated[bool, typer.Option(help="Say what made trials new that were computed.")] = False,
) -> None:
    """Execute chapters that are not up to date, here or on a cluster."""
    from medbook._book.runs import execute
    from medbook._book.runs.outcomes import told
    from medbook._book.runs.plan import make_plans

    project = find_project()
    asked = named(profile) if scheduler else resolve(profile)  # the GPU may be elsewhere then
    plans = make_plans(project, asked, seed or [None], out)
    outcomes = execute.run(
        plans, project.select(chapters or []), console, jobs=jobs, scheduler=scheduler, force=force
    )
    for outcome in outcomes:
        console.print(f"{outcome.name}: {outcome.state}")
        _note(outcome.notes)
        if why and outcome.state != "up to date":
            seed_of_it = outcome.plan.seed_of(outcome.chapter)
            for line in told(project.trials, outcome.chapter.id, asked, seed_of_it):
                console.print(f"  {line}", soft_wrap=True, markup=False)
    _exit_if([str(outcome.failure) for outcome in outcomes if outcome.failure])


@app.command()
def pilot(
    chapters: Annotated[list[str], typer.Argument(metavar="CHAPTER...")],
    profile: Profile = "laptop",
    write: Annotated[bool, typer.Option(help="Store it in book/pilots.")] = False,
) -> None:
    """Try a chapter before it is measured: two seeds of another base seed, no test data.

    It runs with all and with half of the steps, and tells what each claim needs, and which arms
    learn.
    """
    from medbook._book.runs.piloting import pilot_runs
    from medbook._book.stored import pilots
    from medbook.record.claims import chapter_claims

    project, systems = find_project(), "book/systems.yml"
    for chapter in project.select(chapters):
        full, half = pilot_runs(project, chapter, resolve(profile), console)
        found = pilots.summary(full, half, chapter_claims(chapter.id, project.root / systems))
        console.print(f"{chapter.id}\n\n{pilots.told(found)}\n", soft_wrap=True, markup=False)
        if write:
            path = pilots.write(project, found)
            console.print(f"wrote {path.relative_to(project.root)}")


@app.command()
def verify(
    chapters: Names = None,
    profile: Profile = "smoke",
    leaks: Annotated[bool, typer.Option(help="Run smoke with permuted test labels too.")] = False,
    notebooks: Annotated[
        Literal["changed", "all"], typer.Option(help="Which published ones to execute again.")
    ] = "changed",
    verbose: Annotated[
        bool, typer.Option(help="Print every number; _build/verify has them in any case.")
    ] = False,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Compute so many stored laptop trials again instead.")
    ] = None,
) -> None:
    """Check the stored results: sound, the same here, notebooks still run, no leaks."""
    from medbook._book.checks import sample
    from medbook._book.checks import verify as checks

    project = find_project()
    selected = project.select(chapters or [])
    if trials:
        sampled = sample.check_trials(project, selected, trials, console)
        for one in sampled:
            console.print(f"{one.chapter.id}: {one.trials} trials computed again")
        _exit_if([failure for one in sampled for failure in one.failures])
        return
    report = checks.verify(
        project, selected, resolve(profile), console,
        leaks=leaks, notebooks=notebooks, verbose=verbose,
    )  # fmt: skip
    _note([*checks.other_versions(project), *report.notes])
    _exit_if(report.failures)
    console.print(report.verdict, soft_wrap=True)


@app.command()
def publish(chapters: Names = None, profile: Profile = "laptop", seed: Seed = None) -> None:
    """Write up-to-date runs into book/results and book/notebooks, and their state into README."""
    from medbook._book import readme
    from medbook._book.notebooks import publish as publishing
    from medbook._book.runs.lock import alone
    from medbook._book.stored.tolerance import told
    from medbook.record import results

    project = find_project()
    selected = project.select(chapters or [])
    with alone(project, "publish"):
        for chapter in selected:
            for path in publishing.publish(project, chapter, named(profile), seed):
                console.print(f"wrote {path.relative_to(project.root)}")
            _note(told(results.load(project.published(chapter.id, named(profile)))))
        readme.refresh(project)


@app.command()
def status() -> None:
    """Chapters, data sets and this machine; what would fail, and how to mend it."""
    from medbook._book import status as report

    report.show(find_project(), console)


@app.command()
def site() -> None:
    """Render the site from the committed notebooks."""
    from medbook._book import site as pages

    page = pages.build(find_project(), console)
    console.print(f"[green]site:[/] {page}", soft_wrap=True)


@app.command()
def lint(chapters: Names = None) -> None:
    """Check the rules of the book that a program can check."""
    from medbook._book import lint as rules

    project = find_project()
    _exit_if(rules.check(project, project.select(chapters or [])))


@app.command()
def new(part: str, chapter: str) -> None:
    """Make the skeleton of a chapter."""
    from medbook._book.notebooks import new as skeleton

    project = find_project()
    path = skeleton.create(project, part, chapter)
    console.print(f"wrote {path.relative_to(project.root)}")


@app.command()
def student(
    chapters: Names = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default: _build/student.")] = None,
    answers: Annotated[Path | None, typer.Option(help="Run it: how many checks pass?")] = None,
) -> None:
    """Write notebooks for students, without solutions and outputs; or check the answers in one."""
    from medbook._book.notebooks import grade
    from medbook._book.notebooks import student as handouts

    project = find_project()
    if answers:
        [chapter] = project.select(chapters or [answers.stem])
        found = grade.grade(project, chapter, answers)
        for exercise, problem in found:
            console.print(f"{exercise}: {problem or 'passes'}", soft_wrap=True, markup=False)
        passed = sum(check.problem is None for check in found)
        console.print(f"{chapter.id}: {passed} of {len(found)} checks pass")
        return
    for path in handouts.write_all(project, project.select(chapters or []), out):
        console.print(f"wrote {path}", soft_wrap=True, markup=False)


@app.command()
def get(
    chapter: str,
    to: Annotated[Path | None, typer.Option(help="Folder; default: ./CHAPTER.")] = None,
    student: Annotated[bool, typer.Option(help="Without solutions and outputs.")] = False,
) -> None:
    """Write a chapter's notebook and its data sets into a folder, to be taken away."""
    from medbook._book.notebooks import get as taking

    project = taking.book_at_hand()
    [found] = project.select([chapter])
    for line in taking.get(project, found, to or Path(chapter), student=student):
        console.print(line, soft_wrap=True, markup=False)


def _note(notes: Iterable[str]) -> None:
    for note in notes:
        console.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)


def _exit_if(problems: list[str]) -> None:
    """Print problems and end the command; go on if there are none."""
    for problem in problems:
        errors.print(f"[red]failed:[/] {escape(problem)}", soft_wrap=True)
    if problems:
        raise typer.Exit(FAILED)


def _refuse(message: str) -> int:
    errors.print(f"[red]error:[/] {escape(message)}", soft_wrap=True)
    return FAILED


def _unusable(error: OSError) -> str:
    """Which file cannot be read or written, why, and what helps."""
    file, why = error.filename or "a file", error.strerror or str(error)
    parts = [f"{file} cannot be used", why, CURES.get(error.errno or 0, "")]
    return ": ".join(filter(None, parts))
