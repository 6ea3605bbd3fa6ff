"""A checkout of the book: where things are and which chapters it has."""

import re
from copy import deepcopy
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml
from jupytext.header import header_to_metadata_and_cell
from nbformat import NotebookNode
from sphinx_external_toc.parsing import MalformedError, parse_toc_data

from medbook import yamlfile
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.profiles import PROFILES
from medbook.record.results import Results

CONFIG, TOC = "_config.yml", "_toc.yml"
MARKERS = (TOC, "chapters", "book/systems.yml")
SMOKE_BUDGET = {"seconds": 30, "peak_mib": 1536}  # what continuous integration and Binder bear
NOTEBOOK_BYTES = 3 * 2**19  # 1.5 MiB: GitHub and Colab show larger ones slowly or not at all
TEXT, LIST = (str, "a text"), (list, "a list")
META: dict[str, tuple[type, str]] = {
    "title": TEXT, "summary": TEXT, "level": TEXT,
    "systems": LIST, "data": LIST, "prerequisites": LIST,
}  # fmt: skip


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

    @property
    def seed(self) -> int:
        """The base seed of its own results: `seed` of its parameters.

        Raises:
            MedbookError: its first cells set no such number.
        """
        cells = _converted(self.path.read_text(encoding="utf-8")).cells
        tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        source = "\n".join(cell.source for cell in tagged)
        if found := re.search(r"^seed = (\d+)\b", source, re.MULTILINE):
            return int(found[1])
        raise MedbookError(f"{_relative(self.path)}: its cell of parameters sets no `seed = 0`")

    def other_seed(self, seed: int | None) -> int | None:
        """A base seed, None if it is that of the chapter itself."""
        return None if seed == self.seed else seed

    def notebook(self) -> NotebookNode:
        """The source as a notebook without outputs, its cell ids stable (`cell-<number>`)."""
        return deepcopy(_converted(self.path.read_text(encoding="utf-8")))


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

    def notebook(self, chapter: str) -> Path:
        """The committed, executed notebook of a chapter."""
        return self.notebooks / f"{chapter}.ipynb"

    def published(self, chapter: str, profile: str) -> Path:
        """The stored results file of a chapter."""
        return self.results / f"{chapter}.{profile}.json"

    def stored(self, chapter: str, new: Results | None = None) -> dict[str, Results]:
        """The stored results of a chapter by profile, the smallest first.

        Args:
            chapter: its id.
            new: results that take the place of those of their profile.
        """
        found = {new["profile"]: new} if new else {}
        for profile in PROFILES:
            path = self.published(chapter, profile)
            if profile not in found and path.exists():
                found[profile] = results.load(path)
        return {profile: found[profile] for profile in PROFILES if profile in found}

    def run_folder(self, profile: str, seed: int | None = None) -> Path:
        """Where `medbook run` puts notebooks and results of this machine.

        Args:
            profile: at which chapters run.
            seed: base seed, None for that of each chapter itself.
        """
        return self.build / "run" / (profile if seed is None else f"{profile}-seed{seed}")

    @property
    def trials(self) -> Path:
        """Outcomes of trials that this machine has computed."""
        return self.build / "trials"

    def sources(self) -> list[Path]:
        """The files of all chapters, by part and name."""
        return sorted(self.root.glob("chapters/*/*.py"))

    def listed(self) -> list[str]:
        """Ids of the chapters that `_toc.yml` lists, in its order."""
        toc = (self.root / TOC).read_text(encoding="utf-8")
        return re.findall(r"^ *- file: book/notebooks/(\w+)", toc, re.MULTILINE)

    def chapters(self) -> list[Chapter]:
        """All chapters, in the order of `_toc.yml`, those it does not list last."""
        paths: dict[str, Path] = {}
        for path in self.sources():
            if other := paths.get(path.stem):
                both = f"{_relative(other)} and {_relative(path)}"
                raise MedbookError(f"{both} share the id {path.stem!r}: rename one")
            paths[path.stem] = path
        found = {id: read_chapter(path) for id, path in paths.items()}
        place = {name: number for number, name in enumerate(self.listed())}
        return sorted(found.values(), key=lambda c: (place.get(c.id, len(place)), c.id))

    def select(self, names: list[str]) -> list[Chapter]:
        """The chapters of these ids, each once, or all of them for an empty list."""
        chapters = {c.id: c for c in self.chapters()}
        for name in names:
            if name not in chapters:
                near = ", ".join(get_close_matches(name, chapters, cutoff=0.4))
                what = f"near it: {near}" if near else f"chapters are: {', '.join(chapters)}"
                raise MedbookError(f"there is no chapter {name!r}; {what}")
        return [chapters[name] for name in dict.fromkeys(names or chapters)]


def find_project(start: Path | None = None) -> Project:
    """The checkout that a folder (the current one) lies in.

    Raises:
        MedbookError: it lies in none, or _toc.yml or _config.yml is not valid.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if all((folder / marker).exists() for marker in MARKERS):
            _check_configuration(folder)
            return Project(folder)
    raise MedbookError(f"{here} lies in no checkout of the book: change into one")


def _check_configuration(root: Path) -> None:
    """Refuse here what would otherwise be a traceback of whoever reads these files."""
    if not isinstance(yamlfile.read(root / CONFIG, CONFIG), dict):
        raise MedbookError(f"{CONFIG}:1: expected a mapping (`title: ...`)")
    try:
        parse_toc_data(yamlfile.read(root / TOC, TOC))
    except MalformedError as error:
        raise MedbookError(f"{TOC}: not a table of contents of Jupyter Book: {error}") from None


def read_chapter(path: Path) -> Chapter:
    """A chapter with its front matter checked.

    Raises:
        MedbookError: the front matter is not valid; the message begins with file and line.
    """
    where = _relative(path)
    try:
        front = _front_matter(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise yamlfile.invalid(error, where, first_line=2) from None  # the first is `# ---`
    if not isinstance(front, dict):
        raise MedbookError(f"{where}:1: the front matter has no `medbook:` section")
    if missing := [name for name in META if name not in front]:
        line = _line_of("medbook", path)
        raise MedbookError(f"{where}:{line}: the front matter lacks {', '.join(missing)}")
    for name in front.keys() & META.keys():
        accepted, called = META[name]
        if not isinstance(front[name], accepted):
            found = f"{where}:{_line_of(name, path)}: `{name}` is {front[name]!r}"
            raise MedbookError(f"{found}, expected {called}")
    return Chapter(path, dict(front))


def read_notebook(path: Path) -> NotebookNode:
    """A notebook file.

    Raises:
        MedbookError: it is no notebook, or only a part of one.
    """
    try:
        return nbformat.read(path, 4)
    except (ValueError, nbformat.ValidationError, AttributeError, TypeError) as error:
        why = str(error).partition(":")[0]  # after the colon comes the whole file
        message = f"{path.name}: not a valid notebook ({why}): restore it, or run the chapter again"
        raise MedbookError(message) from None


@lru_cache(maxsize=256)
def _converted(source: str) -> NotebookNode:
    """A percent script as a notebook with stable cell ids; copy it before you change it."""
    notebook = jupytext.reads(source, fmt="py")
    for number, cell in enumerate(notebook.cells, 1):
        cell["id"] = f"cell-{number}"
    return notebook


def _front_matter(source: str) -> Any:
    """What the header of a percent script holds under `medbook:`; its cells are not parsed."""
    metadata, *_ = header_to_metadata_and_cell(source.splitlines(), "#", "", ".py")
    return metadata.get("medbook")


def _relative(chapter: Path) -> str:
    """A chapter's source as messages name it."""
    return f"chapters/{chapter.parent.name}/{chapter.name}"


def _line_of(name: str, path: Path) -> int:
    """The line of a front matter field in a chapter's source."""
    lines = path.read_text(encoding="utf-8").splitlines()
    fields = [line.removeprefix("#").strip() for line in lines]
    return next((n for n, text in enumerate(fields, 1) if text.startswith(f"{name}:")), 1)
