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
    if any(reason.startswith("book/systems.yml") for reason in changed):
        return State("stale", changed)  # another claim needs another verdict
    unchecked = smoke_differences(project, chapter, stored)
    return State("stale" if unchecked else "checked by smoke", changed + unchecked)


def smoke_snapshot(smoke: Results) -> Results:
    """What a larger result keeps of the smoke run of the same sources, to be checked by."""
    return {key: smoke[key] for key in ("seed", "environment", "metrics")}


def smoke_differences(project: Project, chapter: Chapter, stored: Results) -> list[str]:
    """What keeps a smoke run of today's sources from vouching for stored results."""
    reference = stored if stored["profile"] == "smoke" else stored.get("smoke")
    if reference is None:
        return ["no smoke numbers were stored with it"]
    plan = make_plan(project, "smoke", reference["seed"])
    if outdated(plan, chapter):
        return [f"not checked: run `medbook run {chapter.id} --profile smoke`"]
    here = results.load(plan.results(chapter))
    rows = compare(reference | {"claims": []}, here)
    return [f"smoke {row.name} {row.verdict}" for row in rows if not row.same]
