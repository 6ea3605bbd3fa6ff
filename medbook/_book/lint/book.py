"""Checks of a chapter's place in the book: front matter, contents, published files, README."""

from pathlib import Path

import yaml

from medbook._book import readme
from medbook._book.lint.page import Page, Problems
from medbook._book.markdown import title
from medbook._book.notebooks.card import card, notebook_links
from medbook._book.pages import withdrawn
from medbook._book.project import NOTEBOOK_BYTES, SMOKE_BUDGET, Project, read_notebook
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.claims import System, claims_file
from medbook.record.profiles import PROFILES

TEXTS, LISTS = ("title", "summary", "level"), ("systems", "data", "prerequisites")


def front_matter(page: Page) -> Problems:
    """Every field is filled in; the systems are those that systems.yml gives to the chapter."""
    meta = page.chapter.meta
    for key in TEXTS:
        if not isinstance(meta[key], str) or not meta[key].strip():
            yield page.at(0, f"front matter: `{key}` is a text, not {meta[key]!r}")
    for key in LISTS:
        if not isinstance(meta[key], list) or not (meta[key] or key == "prerequisites"):
            yield page.at(0, f"front matter: `{key}` is a list, not {meta[key]!r}")


def systems(page: Page) -> Problems:
    """The front matter and systems.yml agree on what the chapter treats."""
    known = {s.slug: s for s in page.systems}
    listed = page.chapter.meta["systems"] or []
    place = f"{page.chapter.part}/{page.chapter.id}"
    for slug in listed:
        if slug not in known:
            yield page.at(0, f"front matter: system {slug!r} is not in book/systems.yml")
        elif (given := f"{known[slug].part}/{known[slug].chapter}") != place:
            yield page.at(0, f"front matter: book/systems.yml puts {slug!r} into {given}")
    for system in page.systems:
        if system.chapter == page.chapter.id and system.claims and system.slug not in listed:
            yield page.at(0, f"front matter: `systems` lacks {system.slug!r}, which has claims")


def listed_once(page: Page) -> Problems:
    """_toc.yml lists the chapter under the caption of its part, and nowhere else."""
    toc = yaml.safe_load((page.project.root / "_toc.yml").read_text(encoding="utf-8"))
    file = f"book/notebooks/{page.chapter.id}"
    captions = [
        part.get("caption", "")
        for part in toc.get("parts", [])
        for entry in part.get("chapters", [])
        if entry.get("file") == file
    ]
    if captions != [title(page.chapter.part)]:
        yield f"_toc.yml: list {file} once, under `caption: {title(page.chapter.part)}`"


def published(page: Page) -> Problems:
    """The committed notebook is of this source and these results, and small."""
    path = page.project.notebook(page.chapter.id)
    where = path.relative_to(page.project.root).as_posix()
    if not path.exists():
        yield f"{where}: missing: run and publish {page.chapter.id}"
        return
    if path.stat().st_size > NOTEBOOK_BYTES:
        size, limit = path.stat().st_size / 2**20, NOTEBOOK_BYTES / 2**20
        yield f"{where}: {size:.1f} MiB; a notebook has less than {limit} MiB"
    shown = iter([cell.source for cell in read_notebook(path).cells])
    for number, cell in enumerate(page.cells, 1):
        if cell.source not in shown:  # looks on from the last one found: the order counts
            yield page.at(number, f"{where} is stale, it lacks this cell: publish again")
            return
    if _card_is_old(page, path):
        yield f"{where}: its card is not of the stored results: publish again"


def _card_is_old(page: Page, path: Path) -> bool:
    """The card lacks a line; links to where a checkout is served are not compared."""
    cells = read_notebook(path).cells
    for shown in (cell.source for cell in cells if cell.get("id") == "card"):
        try:
            wanted = card(page.project, page.chapter, notebook_links(None, page.chapter))
        except MedbookError:  # results that cannot be read: the README's check says so
            return False
        return not set(wanted.splitlines()) <= set(shown.splitlines())
    return False


def smoke_budget(page: Page) -> Problems:
    """Smoke fits into continuous integration and Binder."""
    path = page.project.published(page.chapter.id, "smoke")
    where = path.relative_to(page.project.root).as_posix()
    if not path.exists():
        yield f"{where}: missing: run smoke and publish {page.chapter.id}"
        return
    try:
        run = results.load(path)
    except MedbookError as error:
        yield f"book/results/{error}"
        return
    for name, limit in SMOKE_BUDGET.items():
        if run[name] > limit:
            yield f"{where}: {name} is {run[name]}; smoke has at most {limit}"


def readme_table(project: Project, systems: list[System]) -> Problems:
    """The README's table of systems is the current one."""
    try:
        if not readme.current(project):
            yield "README.md: the table of systems is out of date: publish writes it"
    except MedbookError as error:
        yield str(error)


def no_outputs(project: Project, systems: list[System]) -> Problems:
    """Sources are percent scripts: they hold no outputs."""
    for path in sorted(project.root.glob("chapters/**/*.ipynb")):
        where = path.relative_to(project.root).as_posix()
        yield f"{where}: a notebook among the sources: keep the .py only"


def orphans(project: Project, systems: list[System]) -> Problems:
    """Every stored file belongs to a chapter."""
    ids = {chapter.id for chapter in project.chapters()}
    wanted = {f"{id}.ipynb" for id in ids} | {
        f"{id}.{p}.{end}" for id in ids for p in PROFILES for end in ("json", "npz")
    }
    for folder in (project.notebooks, project.results):
        for path in sorted(folder.glob("*.*")):
            if path.name not in wanted and not path.name.startswith("."):
                yield f"{path.relative_to(project.root).as_posix()}: belongs to no chapter"


def claims_have_chapters(project: Project, systems: list[System]) -> Problems:
    """A system with claims has a chapter that tests them."""
    ids = {chapter.id for chapter in project.chapters()}
    for system in systems:
        if system.claims and system.chapter not in ids:
            yield f"{claims_file(system.chapter)}: {system.slug} has claims but no chapter"


def withdrawn_verdicts(project: Project, systems: list[System]) -> Problems:
    """Withdrawn verdicts are described, and their ids are not used again."""
    try:
        withdrawn.load(project)
    except MedbookError as error:
        yield str(error)


RULES = (front_matter, systems, listed_once, published, smoke_budget)
BOOK_RULES = (readme_table, no_outputs, orphans, claims_have_chapters, withdrawn_verdicts)
