"""What publishing changes in an executed notebook, and what it refuses."""

import copy
from pathlib import Path

import nbformat
import pytest
from book_fixtures import Book
from nbformat.v4 import new_code_cell, new_notebook, new_output

from medbook._book import publish
from medbook._book.card import card
from medbook._book.keys import code_cells
from medbook._book.project import Chapter
from medbook.errors import MedbookError

CELLS = """
# %%
x = 1

# %% [markdown]
# Some text.

# %% tags=["nbval-check-output"]
print(x)
"""


@pytest.fixture
def chapter(book: Book) -> Chapter:
    book.add("one", CELLS)
    return book.project.select(["one"])[0]


def executed(chapter: Chapter, *outputs: dict) -> nbformat.NotebookNode:
    """As papermill leaves a notebook; the outputs are those of the last cell."""
    notebook = copy.deepcopy(chapter.notebook())
    notebook.cells.insert(2, new_code_cell("profile = 'laptop'", metadata={
        "tags": ["injected-parameters"]}))  # fmt: skip
    for number, cell in enumerate(notebook.cells, 7):
        cell.metadata["papermill"] = {"duration": 0.123, "start_time": "2020-01-01"}
        cell.metadata["execution"] = {"iopub.execute_input": "2020-01-01"}
        if cell.cell_type == "code":
            cell.execution_count = number
    notebook.cells[-1].outputs = [nbformat.from_dict(output) for output in outputs]
    notebook.metadata["papermill"] = {"duration": 1.0}
    notebook.metadata["widgets"] = {"state": {}}
    return notebook


def stream(text: str, name: str = "stdout") -> dict:
    return new_output("stream", name=name, text=text)


def result(**data: str) -> dict:
    renamed = {kind.replace("_", "/"): text for kind, text in data.items()}
    return new_output("execute_result", data=renamed, execution_count=99)


def test_what_differs_from_run_to_run_is_dropped(book: Book, chapter: Chapter) -> None:
    bar = new_output("display_data", data={publish.WIDGETS + "-view+json": {}, "text/plain": "0%"})
    outputs = [stream("1", "stderr"), bar, stream("a"), stream("b"), result(text_plain="'c'")]
    notebook = publish.normalised(book.project, chapter, executed(chapter, *outputs))
    nbformat.validate(notebook)
    text = nbformat.writes(notebook)
    assert "papermill" not in text and "2020-01-01" not in text and "stderr" not in text
    assert [cell["id"] for cell in notebook.cells] == [
        "install", "cell-1", "cell-2", "cell-3", "cell-4", "cell-5",
    ]  # fmt: skip
    ours = code_cells(notebook)
    assert [cell.source for cell in ours] == [c.source for c in code_cells(chapter.notebook())]
    assert [cell.execution_count for cell in ours] == [1, 2, 3]
    assert ours[-1].metadata == {"tags": ["nbval-check-output"]}
    assert [output.get("text") for output in ours[-1].outputs] == ["ab", None]
    assert ours[-1].outputs[1].execution_count == 3
    assert notebook.metadata["accelerator"] == "GPU"
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    again = publish.normalised(book.project, chapter, executed(chapter, *outputs))
    assert nbformat.writes(again) == text


def test_the_install_cell_does_nothing_outside_colab(book: Book, chapter: Chapter) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    cell = publish.normalised(book.project, chapter, executed(chapter)).cells[0]
    assert "git+https://github.com/someone/book" in cell.source
    shell = InteractiveShell.instance()
    called = []
    shell.register_magic_function(called.append, magic_name="pip")
    assert shell.run_cell(cell.source).success and called == []


@pytest.mark.parametrize(
    "text", ["{root}/_build/x.png", "{home}/data/x.npz", "/home/ann/x", "see /Users/ann", "{tmp}/x"]
)
@pytest.mark.parametrize("make", [stream, lambda text: result(text_html=text)])
def test_a_path_of_this_machine_is_refused(
    book: Book, chapter: Chapter, monkeypatch: pytest.MonkeyPatch, text: str, make
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/somewhere/ann"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/somewhere/tmp")
    text = text.format(root=book.root, home="/somewhere/ann", tmp="/somewhere/tmp")
    notebook = publish.normalised(book.project, chapter, executed(chapter, make(text)))
    with pytest.raises(MedbookError, match=r"one\.ipynb: cell 3 prints a path of this machine"):
        publish._refuse_machine_paths(book.project, "one.ipynb", notebook)


@pytest.mark.parametrize("text", ["https://example.org/home/x", "and/or", "1/2", "chapters/a.py"])
def test_other_slashes_are_no_paths(book: Book, chapter: Chapter, text: str) -> None:
    notebook = publish.normalised(book.project, chapter, executed(chapter, stream(text)))
    publish._refuse_machine_paths(book.project, "one.ipynb", notebook)


def test_a_large_notebook_is_refused_and_its_largest_cell_named() -> None:
    cells = [new_code_cell("x", outputs=[result(image_png="A" * n)]) for n in (10, 2**20, 500)]
    with pytest.raises(MedbookError, match=r"one\.ipynb: 1\.0 MiB.*cell 2 \(1\.0 MiB\)"):
        publish._refuse_large("one.ipynb", new_notebook(cells=cells))
    publish._refuse_large("one.ipynb", new_notebook(cells=[cells[0], cells[2]]))


def test_what_was_not_run_is_not_published(book: Book, chapter: Chapter) -> None:
    with pytest.raises(MedbookError, match="run `medbook run one --profile laptop --seed 3` first"):
        publish.publish(book.project, chapter, "laptop", seed=3)
    assert list((book.root / "book/results").iterdir()) == []


def test_the_card_before_any_result(book: Book, chapter: Chapter) -> None:
    text = card(book.project, chapter)
    assert "[About one](https://example.org/one)" in text
    assert "**Data** pneumoniamnist" in text
    assert (
        "colab.research.google.com/github/someone/book/blob/main/book/notebooks/one.ipynb" in text
    )
    book.edit("_config.yml", "https://github.com/someone/book", "")
    assert "colab" not in card(book.project, chapter)


@pytest.mark.slow
def test_the_card_shows_what_was_measured(published: Book) -> None:
    [chapter] = published.project.chapters()
    text = card(published.project, chapter)
    assert "pneumoniamnist: twin, 960 images; independent unit: " in text
    lines = [line for line in text.splitlines() if line.startswith("| smoke |")]
    assert len(lines) == 1 and " MiB | " in lines[0]
    notebook = nbformat.read(published.project.notebooks / "clean.ipynb", 4)
    assert [cell["id"] for cell in notebook.cells[:3]] == ["install", "cell-1", "card"]
    assert notebook.cells[2].source == text


def test_without_a_repository_there_is_nothing_to_install_from(
    book: Book, chapter: Chapter
) -> None:
    book.edit("_config.yml", "https://github.com/someone/book", "")
    notebook = publish.normalised(book.project, chapter, executed(chapter))
    assert notebook.cells[0]["id"] == "cell-1"
