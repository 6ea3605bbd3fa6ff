"""The install cell: silent here, and on Colab it leaves torch and numpy alone."""

import sys
from importlib.metadata import version
from types import ModuleType

import pytest
from book_fixtures import Book
from IPython.core.interactiveshell import InteractiveShell
from nbformat import NotebookNode

from medbook._book.notebooks.surroundings import add_card, bare, installed_from
from medbook._book.remote import Remote


def framed(book: Book, remote: Remote | None) -> NotebookNode:
    book.add("one", "\n# %%\nx = 1\n")
    notebook = bare(book.project.select(["one"])[0])
    add_card(notebook, remote, "a card")
    return notebook


def run(source: str) -> list[str]:
    """Run a cell and return what it hands to pip."""
    shell = InteractiveShell.instance()
    called: list[str] = []
    shell.register_magic_function(called.append, magic_name="pip")
    assert shell.run_cell(source).success
    return called


def test_it_installs_on_colab_only(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = framed(book, Remote("github.com", "someone/book", "main")).cells[0]
    assert cell.metadata == {"tags": ["install", "remove-cell"]} and not cell.outputs
    assert run(cell.source) == []
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    kept = f"torch=={version('torch')} numpy=={version('numpy')}"
    address = '"medbook @ git+https://github.com/someone/book.git"'
    assert run(cell.source) == [f"install -q {kept} {address}"]


def test_where_it_installs_from_can_be_read(book: Book) -> None:
    remote = Remote("gitlab.com", "group/sub/book", "main")
    notebook = framed(book, remote)
    assert installed_from(notebook) == remote.url
    add_card(notebook, None, "another card")
    assert installed_from(notebook) == ""
    assert [cell["id"] for cell in notebook.cells] == ["cell-1", "card", "cell-2", "cell-3"]
    assert notebook.cells[1].source == "another card"
