"""The pages of the site around the chapters, as Markdown."""

import re
from itertools import groupby
from typing import Any

from pybtex.database import BibliographyData, parse_file  # type: ignore[import-untyped]
from pybtex.exceptions import PybtexError  # type: ignore[import-untyped]
from pybtex.plugin import find_plugin  # type: ignore[import-untyped]

from medbook._book.markdown import duration, link, table
from medbook._book.pages import handwritten, scoreboard, systems
from medbook._book.pages.scoreboard import States
from medbook._book.project import Chapter, Project
from medbook._book.stored.compare import compare
from medbook._book.stored.state import State, judge
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.profiles import PROFILES

TO_CHAPTER = re.compile(r"\[([^\]]*)\]\((?:book/|\.\./)?notebooks/(\w+)\.ipynb\)")


def generated(project: Project) -> dict[str, str]:
    """Every page of the site that is no notebook: path in the checkout -> Markdown."""
    states = {
        (chapter.id, profile): judge(project, chapter, profile)
        for chapter in project.chapters()
        for profile in PROFILES
    }
    pages = (
        handwritten.filled(project)
        | systems.pages(project, states)
        | {
            "book/scoreboard.md": scoreboard.page(project),
            "book/status.md": status(project, states),
            "book/references.md": references(project),
        }
    )
    chapters = set(project.listed())
    return {name: _only_links_to(chapters, text) for name, text in pages.items()}


def _only_links_to(chapters: set[str], markdown: str) -> str:
    """A page of a fork that leaves chapters out: links to these become plain text.

    >>> _only_links_to({"a"}, "[A](notebooks/a.ipynb), [B](notebooks/b.ipynb)")
    '[A](notebooks/a.ipynb), B'
    """
    return TO_CHAPTER.sub(lambda link: link[0] if link[2] in chapters else link[1], markdown)


def status(project: Project, states: States) -> str:
    """Every chapter and profile: the stored run, and this machine's beside it.

    Args:
        project: the checkout.
        states: state of the stored results of each chapter and profile.
    """
    head = ["chapter", "profile", "state", "time", "memory", "machine", "time here", "numbers here"]
    rows = [
        _status_row(project, chapter, profile, states[chapter.id, profile])
        for chapter in project.chapters()
        for profile in PROFILES
    ]
    text = (
        "What is stored for each chapter, and what this machine got. `current`: measured with "
        "today's definitions. `replay`: only cells around the measurements changed since, a run "
        "takes seconds where these are stored. `checked by smoke`: definitions changed since, the "
        "smoke numbers did not. `stale`: to be run again; what changed is named. `missing`: not "
        "run yet. [How to verify](verify.md) says more. *Here* is the machine that built "
        "this page; its numbers are compared as [How to verify](verify.md) explains."
    )
    return "\n\n".join(["# Status", text, table(head, rows)]) + "\n"


def _status_row(project: Project, chapter: Chapter, profile: str, state: State) -> list[str]:
    path = project.published(chapter.id, profile)
    stored = results.load(path) if path.exists() else None
    seed = chapter.other_seed(stored["seed"]) if stored else None
    mine = project.run_folder(profile, seed) / path.name
    here = results.load(mine) if mine.exists() else None
    name = link(chapter.meta["title"], f"notebooks/{chapter.id}.ipynb")
    run = ["", "", ""]
    if stored:
        run = [duration(stored["seconds"]), memory(stored), stored["environment"]["device"]]
    took = duration(here["seconds"]) if here else ""
    return [name, profile, str(state), *run, took, agreement(stored, here)]


def agreement(stored: results.Results | None, here: results.Results | None) -> str:
    """How many numbers of two runs agree, and how many cannot be compared.

    >>> agreement(None, None)
    ''
    """
    if not stored or not here:
        return ""
    rows = compare(stored, here)
    mute = sum(not row.comparable for row in rows)
    text = f"{sum(row.same for row in rows)} of {len(rows)} agree"
    return text + (f", {mute} not comparable" if mute else "")


def memory(run: dict[str, Any]) -> str:
    """Peak memory of a run, of its GPU too.

    >>> memory({"peak_mib": 812, "device_mib": 0})
    '812 MiB'
    """
    gpu = f", GPU {run['device_mib']} MiB" if run.get("device_mib") else ""
    return f"{run['peak_mib']} MiB{gpu}"


def references(project: Project) -> str:
    """The bibliography, newest first; an entry's key is its anchor.

    Raises:
        MedbookError: references.bib cannot be read or lacks a field that its kind needs.
    """
    path = project.root / "book/references.bib"
    try:
        entries = parse_file(str(path), encoding="utf-8")
        texts = _formatted(entries)
    except (PybtexError, OSError) as error:
        raise MedbookError(f"book/references.bib: {error}") from None
    years = {key: entries.entries[key].fields.get("year", "no year") for key in texts}
    ordered = sorted(texts, key=lambda key: (years[key], texts[key]))
    blocks = ["# References"]
    for year, keys in groupby(sorted(ordered, key=years.__getitem__, reverse=True), years.get):
        blocks.append(f"## {year}")
        blocks += [f"({key})=\n{texts[key]}" for key in keys]
    return "\n\n".join(blocks) + "\n"


def _formatted(entries: BibliographyData) -> dict[str, str]:
    style = find_plugin("pybtex.style.formatting", "unsrt")()
    backend = find_plugin("pybtex.backends", "markdown")()
    formatted = style.format_bibliography(entries)
    return {entry.key: " ".join(entry.text.render(backend).split()) for entry in formatted}
