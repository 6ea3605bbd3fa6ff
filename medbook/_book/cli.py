"""The `medbook` command."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from medbook._book.project import find_project
from medbook.errors import MedbookError
from medbook.profiles import resolve

app = typer.Typer(
    help="Run, check and publish the chapters of the book.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
INTERRUPTED = 130  # exit code that typer makes of Ctrl-C
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

Names = Annotated[list[str] | None, typer.Argument(metavar="[CHAPTER]...", help="All if none.")]
Profile = Annotated[str, typer.Option(help="smoke, laptop, gpu or auto.")]
Seed = Annotated[int, typer.Option(min=0, help="Base of all seeds of the run.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Chapters side by side.")]
Out = Annotated[Path | None, typer.Option(help="Folder for notebooks and results.")]


def main() -> None:
    """Entry point: an error that a reader can mend is one line, not a traceback."""
    try:
        app()
    except MedbookError as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            errors.print("interrupted: finished chapters are kept, the same command goes on")
        raise


@app.command()
def run(
    chapters: Names = None,
    profile: Profile = "auto",
    seed: Seed = 0,
    jobs: Jobs = None,
    out: Out = None,
    force: Annotated[bool, typer.Option(help="Run up-to-date chapters too.")] = False,
) -> None:
    """Execute chapters that are not up to date."""
    from medbook._book import execute

    project = find_project()
    plan = execute.make_plan(project, resolve(profile), seed, out=out, jobs=jobs)
    outcomes = execute.run(plan, project.select(chapters or []), console, force=force)
    for outcome in outcomes:
        console.print(f"{outcome.chapter.id}: {outcome.state}")
    _exit_if([str(outcome.failure) for outcome in outcomes if outcome.failure])


@app.command()
def verify(
    chapters: Names = None,
    profile: Profile = "smoke",
    leaks: Annotated[bool, typer.Option(help="Run smoke with permuted test labels too.")] = False,
) -> None:
    """Check the stored results: sound, the same here, notebooks still run, no leaks."""
    from medbook._book import verify as checks

    project = find_project()
    selected = project.select(chapters or [])
    report = checks.verify(project, selected, resolve(profile), console, leaks=leaks)
    for note in report.notes:
        console.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
    _exit_if(report.failures)
    console.print(f"[green]verified:[/] {', '.join(chapter.id for chapter in selected)}")


@app.command()
def publish(chapters: Names = None, profile: Profile = "laptop", seed: Seed = 0) -> None:
    """Write up-to-date runs into book/results and book/notebooks, and their state into README."""
    from medbook._book import publish as publishing
    from medbook._book import readme

    project = find_project()
    for chapter in project.select(chapters or []):
        for path in publishing.publish(project, chapter, resolve(profile), seed):
            console.print(f"wrote {path.relative_to(project.root)}")
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
    from medbook._book import new as skeleton

    project = find_project()
    path = skeleton.create(project, part, chapter)
    console.print(f"wrote {path.relative_to(project.root)}")


def _exit_if(problems: list[str]) -> None:
    """Print problems and end with exit code 1; go on if there are none."""
    for problem in problems:
        errors.print(f"[red]failed:[/] {escape(problem)}", soft_wrap=True)
    if problems:
        raise typer.Exit(1)
