"""Some stored trials computed again: do they still give what the results rest on?"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from medbook._book.project import Chapter, Project
from medbook._book.runs import outcomes
from medbook._book.runs.execute import run
from medbook._book.runs.plan import Plan, make_plan, outdated
from medbook._book.stored.compare import compare
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.results import Results

PROFILE = "laptop"


class Sampled(NamedTuple):
    """Trials of one chapter that were computed again, and what they then changed."""

    chapter: Chapter
    trials: int
    failures: list[str]


def check_trials(
    project: Project, chapters: Sequence[Chapter], count: int, console: Console
) -> list[Sampled]:
    """Compute some trials of laptop runs again, and compare all numbers that rest on them.

    A chapter is executed with a store that lacks these trials, so that its own cells give them
    their jobs; what it then measures must equal what it measured.

    Args:
        project: the checkout.
        chapters: of which ones trials are taken, if there is an up-to-date run of this machine.
        count: how many trials, drawn at random over all of them.
        console: shows the progress.

    Raises:
        MedbookError: no trial of these chapters is stored on this machine.
    """
    plan = make_plan(project, PROFILE)
    found = {c.id: _stored(plan, c) for c in chapters if not outdated(plan, c)}
    everything = [(c, file) for c in chapters for file in found.get(c.id, ())]
    if not everything:
        command = f"medbook run {' '.join(c.id for c in chapters)} --profile {PROFILE}"
        raise MedbookError(f"no trial of an up-to-date run is stored here: run `{command}`")
    drawn = random.sample(everything, min(count, len(everything)))
    return [
        _again(plan, chapter, found[chapter.id], {f for c, f in drawn if c is chapter}, console)
        for chapter in chapters
        if any(c is chapter for c, _ in drawn)
    ]


def changed(before: Results, after: Results) -> list[str]:
    """Numbers and weights that two runs of one machine do not share; times may differ."""
    rows = [f"{row.name} {row.verdict}" for row in compare(before, after) if row.verdict != "equal"]
    weights = [{arm["name"]: arm["weights"] for arm in run["arms"]} for run in (before, after)]
    names = [name for name in weights[0] if weights[0][name] != weights[1].get(name)]
    times = {f"metrics/{n}" for n, m in before["metrics"].items() if m["unit"] in results.TIMES}
    kept = [row for row in rows if row.rpartition(" ")[0] not in times]
    return kept + [f"arms/{name} (weights) differ" for name in names]


def _stored(plan: Plan, chapter: Chapter) -> list[Path]:
    """Files of the trials that a run of this machine rests on, those that are still there."""
    files = outcomes.files_of(plan.project.trials, results.load(plan.results(chapter)))
    return sorted(file for file in files.values() if file.exists())


def _again(
    plan: Plan, chapter: Chapter, files: list[Path], without: set[Path], console: Console
) -> Sampled:
    project, before = plan.project, results.load(plan.results(chapter))
    store = project.build / "scratch" / f"{chapter.id}.trials"
    outcomes.empty(store)
    outcomes.share([file for file in files if file not in without], project.trials, store)
    again = make_plan(
        project, PROFILE, out=project.build / "run/trials",
        variables={"MEDBOOK_TRIALS": str(store)},
    )  # fmt: skip
    try:
        [outcome] = run([again], [chapter], console, force=True)
        if outcome.failure:
            return Sampled(chapter, len(without), [str(outcome.failure)])
        after = results.load(again.results(chapter))
        wrong = changed(before, after)
        return Sampled(chapter, len(without), [f"{chapter.id}: {text}" for text in wrong])
    finally:
        outcomes.empty(store)
