"""A run on the same machine that rounds otherwise, as on another processor."""

from rich.console import Console

from medbook._book.project import Chapter
from medbook._book.runs import outcomes
from medbook._book.runs.execute import run
from medbook._book.runs.plan import Plan, make_plan
from medbook.errors import MedbookError
from medbook.record import results

OTHER_PROCESSOR = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}


def rounded_otherwise(plan: Plan, chapter: Chapter) -> results.Results:
    """Results of a plan's profile and seed, computed without vector instructions.

    Its trials go into a store of their own: the usual one holds those of this processor.

    Raises:
        MedbookError: the run fails.
    """
    project = plan.project
    store = project.build / "scratch" / f"{chapter.id}.otherwise"
    other = make_plan(
        project, plan.profile, plan.seed, out=project.build / "run/otherwise",
        variables=OTHER_PROCESSOR | {"MEDBOOK_TRIALS": str(store)},
    )  # fmt: skip
    outcomes.empty(store)
    try:
        [ended] = run([other], [chapter], Console(stderr=True), force=True)
        if ended.failure:
            raise MedbookError(f"{chapter.id}: without vector instructions: {ended.failure}")
        return results.load(other.results(chapter))
    finally:
        outcomes.empty(store)
