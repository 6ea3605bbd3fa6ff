"""A chapter to take away: its notebook and the data sets that it loads, in one folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medbook import data, paths
from medbook._book.notebooks.student import place, student_notebook
from medbook._book.notebooks.surroundings import text_of
from medbook._book.project import Chapter, Project, find_project
from medbook.data import sources
from medbook.data.entries import File
from medbook.data.real_or_twin import identity
from medbook.errors import MedbookError

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
            set's file is damaged.
    """
    text = _student_text(project, chapter) if student else _published_text(project, chapter)
    wanted = loaded_files(project, chapter)
    target = folder / f"{chapter.id}.ipynb"
    place(text, target)
    yield f"wrote {target}"
    for name, files in wanted.items():
        yield from _take(name, files, folder / DATA)
    if chapter.meta["data"] and not wanted:
        yield "no run that is stored tells its data sets: the notebook gets them when it runs"
    yield f"cd {folder}"
    given = f"MEDBOOK_DATA={DATA} " if (folder / DATA).exists() else ""
    yield f"{given}jupyter lab {target.name}"


def loaded_files(project: Project, chapter: Chapter) -> dict[str, list[File]]:
    """Files of the registered data sets that the stored runs of a chapter loaded; smoke loads none.

    A run that was stored before it noted a size tells the file by its hash, else it took the
    smallest images.
    """
    found: dict[str, list[File]] = {}
    for profile, run in project.stored(chapter.id).items():
        for used in run["data"] if profile != "smoke" else []:
            if used["name"] in data.ENTRIES:
                files = found.setdefault(used["name"], [])
                files += [f for f in _files_of(used) if f not in files]
    return found


def _files_of(used: dict[str, Any]) -> tuple[File, ...]:
    """The file that an entry of a results file stands for, and those that are read with it."""
    sizes = data.ENTRIES[used["name"]].files
    groups = {size: tuple(file) for size, file in sizes.items()}
    same = (size for size, files in groups.items() if _identity(files) == used["sha256"])
    stored = groups.get(used.get("options", {}).get("size"))
    return stored or groups[next(same, min(groups))]


def _identity(files: tuple[File, ...]) -> str:
    return identity([file.digest.removeprefix("sha256:") for file in files])


def _take(name: str, files: list[File], folder: Path) -> Iterator[str]:
    """Copy the files of a data set, downloading what is not at hand."""
    for file in files:
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
