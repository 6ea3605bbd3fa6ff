"""Do stored results still belong to today's sources? Told from their text: nothing is executed."""

from typing import NamedTuple

from medbook._book import keys
from medbook._book.project import Chapter, Project
from medbook._book.runs.outcomes import files_of
from medbook._book.runs.plan import make_plan, outdated
from medbook._book.stored.compare import compare
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.results import Results

STATES = ("current", "replay", "checked by smoke", "stale", "missing")
NAMED = 4  # reasons that a line has room for
CLAIM = "claim "


class State(NamedTuple):
    """One of `STATES`, and what speaks against "current"."""

    name: str
    reasons: list[str]

    def __str__(self) -> str:
        """The state, and what made it so: `stale: GloReDi, training.fit`.

        >>> str(State("stale", list("abcdef")))
        'stale: a, b, c, d and 2 more'
        """
        if self.name in ("current", "missing"):
            return self.name
        more = f" and {len(self.reasons) - NAMED} more" if len(self.reasons) > NAMED else ""
        return f"{self.name}: {', '.join(self.reasons[:NAMED])}{more}"


def judge(project: Project, chapter: Chapter, profile: str) -> State:
    """State of the stored results of a chapter.

    - "current": the trials reach the same definitions as when they were measured, and the cells
      that arrange them are the same;
    - "replay": only such cells have changed: a run takes every trial from the store;
    - "checked by smoke": a definition that trials reach has changed (or the versions), but the
      smoke numbers of today's sources are those that belong to these results;
    - "stale": it has changed, and smoke does not vouch for it;
    - "missing": nothing is stored.
    """
    try:
        stored = results.load(project.published(chapter.id, profile))
    except MedbookError as error:
        exists = project.published(chapter.id, profile).exists()
        return State("stale" if exists else "missing", [str(error)])
    changed = keys.changes(project, chapter, stored)
    if not changed.numbers and not changed.glue:
        return State("current", [])
    if not changed.numbers:
        return State("replay", changed.glue + _not_here(project, stored))
    if any(reason.startswith(CLAIM) for reason in changed.numbers):
        return State("stale", changed.numbers)  # another claim needs another verdict
    unchecked = smoke_differences(project, chapter, stored)
    name = "stale" if unchecked else "checked by smoke"
    return State(name, changed.numbers + changed.glue + unchecked)


def vouched(smoke: Results) -> list[str]:
    """Digests of the smoke numbers that a smoke result stands for: its own, and what they equal."""
    return [results.numbers(smoke), *smoke.get("agrees", [])]


def agreeing(before: Results | None, smoke: Results) -> list[str]:
    """Digests of earlier smoke numbers that a new run agrees with, number by number.

    Args:
        before: the smoke results that are stored, if there are any.
        smoke: the new run.
    """
    if before is None or not all(row.same for row in compare(before | {"claims": []}, smoke)):
        return []
    return [digest for digest in vouched(before) if digest != results.numbers(smoke)]


def smoke_differences(project: Project, chapter: Chapter, stored: Results) -> list[str]:
    """What keeps the smoke numbers of today's sources from vouching for stored results.

    Today's are those of the stored smoke results, if these are current, else those of an up-to-date
    smoke run of this machine.
    """
    try:
        reference = results.load(project.published(chapter.id, "smoke"))
    except MedbookError as error:
        return [f"not checked: {error}"]
    if stored["profile"] != "smoke" and stored.get("smoke") not in vouched(reference):
        return ["the smoke numbers stored now are others"]
    changed = keys.changes(project, chapter, reference)
    if not changed.numbers and not changed.glue:
        return []
    plan = make_plan(project, "smoke", chapter.other_seed(reference["seed"]))
    if outdated(plan, chapter):
        return [f"not checked: run `medbook run {chapter.id} --profile smoke`"]
    here = results.load(plan.results(chapter))
    rows = compare(reference | {"claims": []}, here)
    return [f"smoke {row.name} {row.verdict}" for row in rows if not row.same]


def _not_here(project: Project, stored: Results) -> list[str]:
    """A note that a run would compute what it could take from the store of another machine."""
    wanted = files_of(project.trials, stored)
    missing = sum(not file.exists() for file in wanted.values())
    return [f"{missing} of {len(wanted)} trials are not stored here"] if missing else []
