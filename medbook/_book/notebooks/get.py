"""A chapter to take away: its notebook and the data sets that it loads, in one folder."""

import ast
import shutil
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

from medbook import data, paths
from medbook._book.keys import source_name
from medbook._book.notebooks.frame import text_of
from medbook._book.notebooks.student import place, student_notebook
from medbook._book.project import Chapter, Project, find_project
from medbook.data import sources
from medbook.errors import MedbookError

LOADERS = ("load", "images")  # of `medbook.data`, and of a run
DATA = "data"  # the folder of the data sets, beside the notebook


def book_at_hand() -> Project:
    """The checkout around the current folder, else what the installed package carries."""
    try:
        return find_project()
    except MedbookError:
        return Project(paths.content_root())


def get(project: Project, chapter: Chapter, folder: Path, *, student: bool) -> Iterator[str]:
    """Write a chapter's notebook and data sets into a folder, telling what was done.

    Args:
        project: the book.
        chapter: which one.
        folder: made if it is not there; the data sets go into its folder `data`.
        student: the notebook without solutions and outputs, else the published one.

    Yields:
        one line for each file, for each data set that is not to be had, and how to open it.

    Raises:
        MedbookError: the notebook is not published, or another one lies in the folder; a data
            set's file is damaged; the source does not tell which size of it is loaded.
    """
    text = _student_text(project, chapter) if student else _published_text(project, chapter)
    wanted = loaded_sizes(chapter)
    target = folder / f"{chapter.id}.ipynb"
    place(text, target)
    yield f"wrote {target}"
    for name, sizes in wanted.items():
        yield from _take(name, sizes, folder / DATA)
    yield f"cd {folder}"
    given = f"MEDBOOK_DATA={DATA} " if (folder / DATA).exists() else ""
    yield f"{given}jupyter lab {target.name}"


def loaded_sizes(chapter: Chapter) -> dict[str, list[int]]:
    """Sizes at which a chapter loads each of its registered data sets, as its source says.

    Raises:
        MedbookError: a data set of the front matter is not loaded with a size that can be read.
    """
    found: dict[str, set[object]] = {n: set() for n in chapter.meta["data"] if n in data.ENTRIES}
    for call in ast.walk(ast.parse(chapter.path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and (name := _loaded_name(call)) in found:
            found[name].update(_sizes(call))
    wanted = {
        name: [s for s in data.ENTRIES[name].files if s in sizes] for name, sizes in found.items()
    }
    for name, sizes in found.items():
        if not sizes or len(wanted[name]) < len(sizes):
            loader = "images" if name in data.IMAGES else "load"
            raise MedbookError(
                f"{source_name(chapter)}: which size of {name} does it load? Write "
                f'`run.{loader}("{name}", size=...)` with one of {list(data.ENTRIES[name].files)}'
            )
    return wanted


def _loaded_name(call: ast.Call) -> str:
    """The data set of `run.load("name", ...)` or `run.images(...)`; empty for other calls."""
    first = call.args[0] if _loader(call) in LOADERS and call.args else None
    return str(first.value) if isinstance(first, ast.Constant) else ""


def _loader(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _sizes(call: ast.Call) -> list[object]:
    """The numbers of `size=64` or `size=run.scale(smoke=28, laptop=64, gpu=64)`, else the default.

    The size for smoke is left out, as smoke takes the twin; None stands for what is no number.
    """
    options = {keyword.arg: keyword.value for keyword in call.keywords}  # `**more` under None
    default = signature(getattr(data, _loader(call))).parameters["size"].default
    given = options.get("size", options.get(None, ast.Constant(default)))
    scaled = given.keywords if isinstance(given, ast.Call) else []
    values = [k.value for k in scaled if k.arg != "smoke"] or [given]
    return [value.value if isinstance(value, ast.Constant) else None for value in values]


def _take(name: str, sizes: list[int], folder: Path) -> Iterator[str]:
    """Copy the files of a data set, downloading what is not at hand."""
    files = data.ENTRIES[name].files
    for file in dict.fromkeys(f for size in sizes for f in (files[size], *files[size].parts)):
        target = folder / file.path
        try:
            source = sources.locate(file)
        except sources.Unavailable as reason:
            yield f"{name}: the notebook will use its synthetic twin: {reason}"
            continue
        _copy(source, target)
        yield f"wrote {target}"


def _copy(source: Path, target: Path) -> None:
    """A copy that is whole or not there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}")
    try:
        shutil.copyfile(source, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _published_text(project: Project, chapter: Chapter) -> str:
    path = project.notebook(chapter.id)
    if not path.exists():
        raise MedbookError(f"{chapter.id} has no published notebook: take --student, or publish it")
    return path.read_text(encoding="utf-8")


def _student_text(project: Project, chapter: Chapter) -> str:
    return text_of(student_notebook(project, chapter))
