"""Fixtures of the build tool's tests: a tiny book whose one chapter was run and published."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from book_fixtures import CLEAN, Book
from filelock import FileLock
from rich.console import Console

from medbook import paths
from medbook._book.checks import cells
from medbook._book.notebooks import publish
from medbook._book.runs import execute, plan

SOURCES = paths.PACKAGE
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# A sandbox of its own needs rights that containers do not give; no calls home of the browser.
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")  # as long as it is there, nothing else can use asyncio
def browser() -> Iterator[Any]:
    """A browser without a window, of those that this machine has."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=program, args=ARGUMENTS)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """An empty book."""
    return Book(tmp_path)


class Once(Protocol):
    """Makes a folder, unless a test process of this run has made it before."""

    def __call__(self, name: str, make: Callable[[Path], object]) -> Path: ...


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """What all test processes share; who comes second waits until it is finished."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.made"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # another process failed to make it
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def _published(once: Once) -> Path:
    """A book with the chapter `clean`, measured and published, beside its own copy of medbook."""
    return once("published", _publish)


def _publish(home: Path) -> None:
    shutil.copytree(SOURCES, home / "medbook", ignore=shutil.ignore_patterns("__pycache__"))
    made = Book(home / "book")
    made.add("clean", CLEAN, claims=("clean-1",))
    with pytest.MonkeyPatch.context() as patch:
        _without_real_data(patch, home)
        patch.setattr(paths, "PACKAGE", home / "medbook")
        chapters = made.project.chapters()
        for profile in ("smoke", "laptop"):
            outcomes = execute.run([plan.make_plan(made.project, profile)], chapters, Console())
            assert [str(outcome.failure) for outcome in outcomes if outcome.failure] == []
        publish.publish(made.project, chapters[0], "laptop")
        publish.publish(made.project, chapters[0], "smoke")
        [checked] = cells.check_cells(made.project, chapters, "all", Console())
        assert (checked.executed, checked.failures) == (True, [])


def _without_real_data(patch: pytest.MonkeyPatch, home: Path) -> None:
    """The twin at every profile, whatever this machine has."""
    patch.delenv("MEDBOOK_DATA", raising=False)
    patch.setenv("MEDBOOK_OFFLINE", "1")
    patch.setenv("XDG_CACHE_HOME", str(home / "cache"))


@pytest.fixture
def published(_published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Book]:
    """A copy of the published book that a test may change; medbook lies beside it."""
    shutil.copytree(_published, tmp_path / "copy")
    _without_real_data(monkeypatch, tmp_path / "copy")  # whose cache holds the key to its trials
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "copy/medbook")
    monkeypatch.chdir(tmp_path / "copy/book")
    yield Book.at(tmp_path / "copy/book")
