"""What this checkout and this machine can do, and how to mend what they cannot."""

import os
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from medbook import data
from medbook._book.keys import real_files
from medbook._book.notebooks.surroundings import installed_from
from medbook._book.project import Project, read_notebook
from medbook._book.remote import find_remote
from medbook._book.stored.state import judge
from medbook.record import profiles, session
from medbook.trials import parallel

MEMORY_GIB = {"smoke": 1.5, "laptop": 6.0}  # what a chapter may take
NO_REMOTE = "none: no buttons, no Colab; mend: git remote add origin ADDRESS"
DISK_GIB = 2.0  # notebooks, caches and the site of the whole book
TOOLS = ("ipykernel", "jupyter_book", "nbval", "papermill")


def show(project: Project, console: Console) -> None:
    """Print the state of chapters, data and machine, then what would fail."""
    console.print(_chapters(project))
    console.print(_data())
    console.print(_machine(project))
    for problem, cure in problems(project):
        console.print(f"[yellow]{escape(problem)}[/]: {escape(cure)}", soft_wrap=True)


def problems(project: Project) -> Iterator[tuple[str, str]]:
    """What would fail or differ here, each with how to mend it."""
    for tool in TOOLS:
        if find_spec(tool) is None:
            yield f"{tool} is not installed", 'pip install "medbook[book]"'
    memory = profiles.memory_gib()
    for profile, needed in MEMORY_GIB.items():
        if memory < needed:
            cure = "run chapters with --profile smoke" if profile != "smoke" else "close programs"
            yield f"{memory:.1f} GiB of memory, {profile} may take {needed}", cure
    if not torch.cuda.is_available():
        yield "no CUDA device, profile gpu does not run", "use laptop, or install a CUDA torch"
    if _free_gib(project) < DISK_GIB:
        yield f"{_free_gib(project):.1f} GiB of disk left", "remove _build"
    given = os.environ.get("MEDBOOK_DATA")
    if given and not Path(given).is_dir():
        yield f"MEDBOOK_DATA is {given}, which is no folder", "correct or unset it"
    missing = sorted(name for name in _used_data(project) if not real_files(name))
    if missing and os.environ.get("MEDBOOK_OFFLINE") == "1":
        cure = "unset MEDBOOK_OFFLINE, or put the files into MEDBOOK_DATA"
        yield f"{', '.join(missing)}: laptop takes the twin", cure
    yield from _made_elsewhere(project)
    if differing := list(_unlike_lock(project)):
        yield f"not as in ci/lock.txt: {', '.join(differing)}", "pip install -r ci/lock.txt"


def _chapters(project: Project) -> Table:
    table = Table("chapter", *profiles.PROFILES, "why", title="Chapters")
    for chapter in project.chapters():
        found = [judge(project, chapter, profile) for profile in profiles.PROFILES]
        why = {reason for state in found if state.name != "missing" for reason in state.reasons}
        table.add_row(chapter.id, *(state.name for state in found), escape("\n".join(sorted(why))))
    return table


def _data() -> Table:
    table = Table("data set", "laptop and gpu take", title="Data")
    for name in data.ENTRIES:
        files = "\n".join(map(str, real_files(name)))
        table.add_row(name, f"real: {files}" if files else _without_file(name))
    return table


def _without_file(name: str) -> str:
    """What a run does about a data set that no file of lies here."""
    if not any(file.urls for file in data.ENTRIES[name].files.values()):
        return "twin (there is no public mirror)"
    return "twin" if os.environ.get("MEDBOOK_OFFLINE") == "1" else "download, else twin"


def _machine(project: Project) -> Table:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    table = Table("", "", title="This machine", show_header=False)
    for name, value in session.environment(device).items():
        table.add_row(name, value)
    remote = find_remote(project.root)
    table.add_row("repository", remote.url if remote else NO_REMOTE)
    table.add_row("cores", str(parallel.threads()))
    table.add_row("memory", f"{profiles.memory_gib():.1f} GiB")
    table.add_row("free disk", f"{_free_gib(project):.1f} GiB")
    table.add_row("profile auto", profiles.resolve())
    return table


def _made_elsewhere(project: Project) -> Iterator[tuple[str, str]]:
    """Published notebooks that install medbook from another repository than this one."""
    remote = find_remote(project.root)
    if remote is None:
        return
    for path in sorted(project.notebooks.glob("*.ipynb")):
        address = installed_from(read_notebook(path))
        if address != remote.url:
            name = path.relative_to(project.root).as_posix()
            where = f"installs medbook on Colab from {address or 'nowhere'}, not from {remote.url}"
            yield f"{name} {where}: no Colab button on the site", f"medbook publish {path.stem}"


def _free_gib(project: Project) -> float:
    return shutil.disk_usage(project.root).free / 2**30


def _used_data(project: Project) -> set[str]:
    named = {name for chapter in project.chapters() for name in chapter.meta["data"]}
    return named & set(data.ENTRIES)


def _unlike_lock(project: Project) -> Iterator[str]:
    """Packages whose version is not the locked one: numbers may differ with them."""
    lock = project.root / "ci/lock.txt"
    lines = lock.read_text(encoding="utf-8").splitlines() if lock.exists() else []
    for line in lines:
        name, _, locked = line.split(";")[0].split(" ")[0].partition("==")
        try:
            found = version(name) if locked else ""
        except (PackageNotFoundError, ValueError):
            continue
        if found.split("+")[0] != locked.split("+")[0]:
            yield f"{name} {found} (locked {locked})"
