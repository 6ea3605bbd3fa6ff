"""Pages written by hand with places that the build fills: `<!-- generated: NAME -->`."""

import re
from collections.abc import Callable
from functools import partial

from medbook._book.markdown import without_fences
from medbook._book.pages import datacards, gallery, phantom_strips, scoreboard, teaching, withdrawn
from medbook._book.pages.kept import kept
from medbook._book.project import Project
from medbook.errors import MedbookError

SLOT = re.compile(r"<!-- generated: (\S+) -->")
PAGES = ("book/*.md", "CONTRIBUTING.md")  # GitHub looks for the last in the root of a repository
BENCHMARKS = "ci/bench"


def filled(project: Project) -> dict[str, str]:
    """The pages written by hand, their places filled: path in the checkout -> Markdown.

    Raises:
        MedbookError: a page names what is not generated.
    """
    pages = {
        path.relative_to(project.root).as_posix(): path.read_text(encoding="utf-8")
        for pattern in PAGES
        for path in sorted(project.root.glob(pattern))
    }
    return {name: SLOT.sub(partial(_fill, project, name), text) for name, text in pages.items()}


def benchmarks(project: Project) -> str:
    """The tables that the benchmarks wrote, each file under a heading of its own."""
    files = sorted((project.root / BENCHMARKS).glob("*.md"))
    texts = [_one_level_down(path.read_text(encoding="utf-8").strip()) for path in files]
    return "\n\n".join(texts) or "No measurement is stored yet."


def realism(project: Project) -> str:
    """The stored comparison of phantoms with real images."""
    file = project.root / BENCHMARKS / "realism/phantoms.md"
    if not file.exists():
        return "No measurement is stored yet."
    return _one_level_down(_one_level_down(file.read_text(encoding="utf-8").strip()))


MAKERS: dict[str, Callable[[Project], str]] = {
    "gallery": gallery.page,
    "examples": scoreboard.examples,
    "standing": teaching.standing,
    "picture": teaching.picture,
    "chapters": teaching.chapters,
    "courses": teaching.programme,
    "data-overview": datacards.overview,
    "data-cards": kept("data-cards", datacards.cards),
    "benchmarks": benchmarks,
    "phantoms": kept("phantoms", phantom_strips.strips, real=phantom_strips.REAL),
    "phantoms-beside-real": realism,
    "withdrawn": withdrawn.section,
}


def _fill(project: Project, page: str, slot: re.Match[str]) -> str:
    if slot[1] not in MAKERS:
        line = slot.string.count("\n", 0, slot.start()) + 1
        accepted = ", ".join(MAKERS)
        raise MedbookError(f"{page}:{line}: nothing generates {slot[1]!r}; accepted are {accepted}")
    return MAKERS[slot[1]](project)


def _one_level_down(markdown: str) -> str:
    r"""Markdown whose headings are one level lower; a `#` in code stays.

    >>> print(_one_level_down("# A\n~~~\n# code\n~~~"))
    ## A
    ~~~
    # code
    ~~~
    """
    lines, blanked = markdown.splitlines(), without_fences(markdown).split("\n")
    return "\n".join(
        f"#{line}" if re.match(r"#{1,5} ", kept) else line
        for line, kept in zip(lines, blanked, strict=True)
    )
