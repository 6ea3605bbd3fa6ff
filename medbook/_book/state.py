"""Do stored results still belong to today's sources?"""

from typing import NamedTuple

from medbook import results
from medbook._book import keys
from medbook._book.checks.compare import compare
from medbook._book.project import Chapter, Project
from medbook._book.runs.plan import make_plan, outdated
from medbook.errors import MedbookError
from medbook.results import Results

STATES = ("current", "checked by smoke", "stale", "missing")


class State(NamedTuple):
    """One of `STATES`, and what speaks against "current"."""

    name: str
    reasons: list[str]


def state(project: Project, chapter: Chapter, profile: str) -> str:
    """One of `STATES`: see `judge`."""
    return judge(project, chapter, profile).name


def judge(project: Project, chapter: Chapter, profile: str) -> State:
    """State of the stored results of a chapter.

    "checked by smoke": something that they depend on has changed, but a smoke run of today's
    sources still gives the smoke numbers that belong to them. Nothing is run here: without an
    up-to-date smoke run of this machine, what has changed is "stale".
    """
    try:
        stored = results.load(project.published(chapter.id, profile))
    except MedbookError as error:
        exists = project.published(chapter.id, profile).exists()
        return State("stale" if exists else "missing", [str(error)])
    changed = keys.differences(
        chapter, stored.get("key", {}), keys.key_of(project, chapter, stored)
    )
    if not changed:
        return State("current", [])
    if any(reason.startswith("claim ") for reason in changed):
        return State("stale", changed)  # another claim needs another verdict
    unchecked = smoke_differences(project, chapter, stored)
    return State("stale" if unchecked else "checked by smoke", changed + unchecked)


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
    """What keeps a smoke run of today's sources from vouching for stored results."""
    try:
        reference = results.load(project.published(chapter.id, "smoke"))
    except MedbookError as error:
        return [f"not checked: {error}"]
    if stored["profile"] != "smoke" and stored.get("smoke") not in vouched(reference):
        return ["the smoke numbers stored now are others"]
    plan = make_plan(project, "smoke", reference["seed"])
    if outdated(plan, chapter):
        return [f"not checked: run `medbook run {chapter.id} --profile smoke`"]
    here = results.load(plan.results(chapter))
    rows = compare(reference | {"claims": []}, here)
    return [f"smoke {row.name} {row.verdict}" for row in rows if not row.same]
