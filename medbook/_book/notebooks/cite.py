"""How to cite a chapter: one line and BibTeX, naming the stored numbers."""

from typing import Any

import yaml
from pybtex.database import BibliographyData, Entry  # type: ignore[import-untyped]

from medbook._book.project import Chapter, Project
from medbook.errors import MedbookError

HEADING = "## Cite this chapter"
FILE = "CITATION.cff"
NEEDED = ("authors", "title", "version")


def citation(project: Project, chapter: Chapter, url: str) -> str:
    """How to cite a chapter, as Markdown; empty if the checkout has no `CITATION.cff`.

    Args:
        project: the checkout; `CITATION.cff` names authors, title, version and date of the book.
        chapter: which one.
        url: address of the repository; empty if there is none.
    """
    if not (project.root / FILE).exists():
        return ""
    book = _read(project)
    year = str(book.get("date-released", ""))[:4]
    runs = project.stored(chapter.id)
    numbers = ", ".join(f"{profile} {run['digest']}" for profile, run in runs.items())
    parts = [
        f"{' and '.join(_authors(book))}{f' ({year})' if year else ''}",
        f"*{chapter.meta['title']}*",
        f"In: {book['title']}, version {book['version']}",
        f"Stored results: {numbers}" if numbers else "",
        f"<{url}>" if url else "",
    ]
    fields = {
        "title": chapter.meta["title"], "booktitle": book["title"],
        "version": str(book["version"]), "year": year, "url": url,
        "note": f"Stored results: {numbers}" if numbers else "",
    }  # fmt: skip
    line = ". ".join(part for part in parts if part) + "."
    return f"{HEADING}\n{line}\n\n```bibtex\n{_bibtex(chapter, _authors(book), fields)}\n```"


def _read(project: Project) -> dict[str, Any]:
    try:
        book = yaml.safe_load((project.root / FILE).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise MedbookError(f"{FILE} cannot be read: {error}") from None
    missing = [key for key in NEEDED if not (isinstance(book, dict) and book.get(key))]
    if missing:
        raise MedbookError(f"{FILE} lacks {', '.join(missing)}")
    return dict(book)


def _authors(book: dict[str, Any]) -> list[str]:
    """Groups by their name, people as `Given Family`."""
    return [
        a.get("name") or f"{a.get('given-names', '')} {a['family-names']}".strip()
        for a in book["authors"]
    ]


def _bibtex(chapter: Chapter, authors: list[str], fields: dict[str, str]) -> str:
    given = [("author", " and ".join(f"{{{name}}}" for name in authors)), *fields.items()]
    entry = Entry("incollection", [(name, value) for name, value in given if value])
    return str(BibliographyData({f"medbook_{chapter.id}": entry}).to_string("bibtex")).strip()
