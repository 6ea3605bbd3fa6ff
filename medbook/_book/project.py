"""A checkout of the book: where things are and which chapters it has."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import jupytext
import yaml
from nbformat import NotebookNode

from medbook.errors import MedbookError

MARKERS = ("_toc.yml", "chapters", "book/systems.yml")
SMOKE_BUDGET = {"seconds": 30, "peak_mib": 1536}  # what continuous integration and Binder bear
NOTEBOOK_BYTES = 2**20  # GitHub and Colab show larger ones slowly or not at all
META = ("title", "summary", "systems", "data", "level", "prerequisites")


@dataclass(frozen=True)
class Chapter:
    """One chapter source, `chapters/<part>/<id>.py`."""

    path: Path
    meta: dict[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        """The file name without its ending, unique in the book."""
        return self.path.stem

    @property
    def part(self) -> str:
        """The folder: the part of the book."""
        return self.path.parent.name

    def notebook(self) -> NotebookNode:
        """The source as a notebook without outputs, its cell ids stable (`cell-<number>`)."""
        notebook = jupytext.read(self.path)
        for number, cell in enumerate(notebook.cells, 1):
            cell["id"] = f"cell-{number}"
        return notebook


@dataclass(frozen=True)
class Project:
    """A checkout of the book."""

    root: Path

    @property
    def build(self) -> Path:
        """Everything that is made and not committed."""
        return self.root / "_build"

    @property
    def notebooks(self) -> Path:
        """Committed, executed notebooks."""
        return self.root / "book/notebooks"

    @property
    def results(self) -> Path:
        """Committed reference numbers."""
        return self.root / "book/results"

    def published(self, chapter: str, profile: str) -> Path:
        """The stored results file of a chapter."""
        return self.results / f"{chapter}.{profile}.json"

    def run_folder(self, profile: str, seed: int = 0) -> Path:
        """Where `medbook run` puts notebooks and results of this machine."""
        return self.build / "run" / (profile if seed == 0 else f"{profile}-seed{seed}")

    def chapters(self) -> list[Chapter]:
        """All chapters, in the order of `_toc.yml`, those it does not list last."""
        found = {c.id: c for c in map(read_chapter, sorted(self.root.glob("chapters/*/*.py")))}
        paths = sorted(self.root.glob("chapters/*/*.py"))
        if len(found) < len(paths):
            doubles = sorted({p.stem for p in paths if [q.stem for q in paths].count(p.stem) > 1})
            raise MedbookError(f"two chapters share the id {', '.join(doubles)}: rename one")
        order = (self.root / "_toc.yml").read_text(encoding="utf-8")
        place = {name: order.find(f"notebooks/{name}") for name in found}
        return sorted(found.values(), key=lambda c: (place[c.id] < 0, place[c.id], c.id))

    def select(self, names: list[str]) -> list[Chapter]:
        """The chapters of these ids, or all of them for an empty list."""
        chapters = {c.id: c for c in self.chapters()}
        for name in names:
            if name not in chapters:
                near = get_close_matches(name, chapters, cutoff=0.4) or list(chapters)
                raise MedbookError(f"there is no chapter {name!r}; near it: {', '.join(near)}")
        return [chapters[name] for name in names] if names else list(chapters.values())


def find_project(start: Path | None = None) -> Project:
    """The checkout that a folder (the current one) lies in."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if all((folder / marker).exists() for marker in MARKERS):
            return Project(folder)
    raise MedbookError(f"{here} lies in no checkout of the book: change into one")


def read_chapter(path: Path) -> Chapter:
    """A chapter with its front matter checked."""
    where = f"chapters/{path.parent.name}/{path.name}"
    try:
        front = jupytext.read(path).metadata.get("medbook")
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise MedbookError(f"{where}:1: the front matter cannot be read: {error}") from None
    if not isinstance(front, dict):
        raise MedbookError(f"{where}:1: the front matter has no `medbook:` section")
    missing = [key for key in META if key not in front]
    if missing:
        raise MedbookError(f"{where}:1: the front matter lacks {', '.join(missing)}")
    return Chapter(path, dict(front))
