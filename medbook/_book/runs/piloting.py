"""The two runs of a pilot: all steps and half of them, on validation data, from another seed."""

from rich.console import Console

from medbook import pilot
from medbook._book.project import Chapter, Project
from medbook._book.runs.execute import run
from medbook._book.runs.plan import make_plan
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.results import Results

APART = 1_000_000  # from a chapter's own base seed; nobody replicates with such a number


def pilot_runs(
    project: Project, chapter: Chapter, profile: str, console: Console
) -> tuple[Results, Results]:
    """Results of both runs, which are taken from this machine where they are up to date.

    Args:
        project: the checkout.
        chapter: which one.
        profile: "smoke", "laptop" or "gpu".
        console: shows the progress.

    Raises:
        MedbookError: a run fails; cell and line are named.
    """
    full, half = (
        _run(project, chapter, profile, kind, console) for kind in (pilot.FULL, pilot.HALF)
    )
    return full, half


def _run(project: Project, chapter: Chapter, profile: str, kind: str, console: Console) -> Results:
    plan = make_plan(
        project, profile, chapter.seed + APART, out=project.build / f"pilot/{profile}-{kind}",
        variables={pilot.VARIABLE: kind},
    )  # fmt: skip
    [outcome] = run([plan], [chapter], console)
    if outcome.failure:
        raise MedbookError(f"pilot ({kind} steps): {outcome.failure}")
    return results.load(plan.results(chapter))
