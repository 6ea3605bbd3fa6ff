"""A committed notebook shows what was measured: whatever is edited in it is named by cell."""

import copy
from collections.abc import Callable
from itertools import pairwise

import nbformat
import pytest
from book_fixtures import Book
from IPython.core.formatters import DisplayFormatter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from medbook._book.checks import shown
from medbook._book.keys import code_cells
from medbook._book.notebooks.digests import digests, kind_of
from medbook._book.project import Chapter, find_project, read_notebook
from medbook.record import results
from medbook.record.claims import chapter_claims
from medbook.show import effects, findings

CELLS = """
# %% tags=["define"]
def twice(x):
    return 2 * x

# %%
print(twice(3))

# %%
draw(1)

# %%
draw(2)
"""
PROJECT = find_project()
MEASURED = [c for c in PROJECT.chapters() if PROJECT.notebook(c.id).exists()]

Edit = Callable[[list[NotebookNode]], None]


def picture(text: str) -> NotebookNode:
    return new_output("display_data", {"text/html": f"<img src='{text}'>", "text/plain": "a"})


@pytest.fixture
def chapter(book: Book) -> Chapter:
    book.add("one", CELLS)
    return book.project.select(["one"])[0]


def executed(chapter: Chapter) -> NotebookNode:
    notebook = chapter.notebook()
    cells = code_cells(notebook)
    cells[2].outputs = [new_output("stream", name="stdout", text="6\n")]
    cells[3].outputs, cells[4].outputs = [picture("one")], [picture("two")]
    return notebook


def found_after(book: Book, chapter: Chapter, edit: Edit) -> list[str]:
    """What is said of a notebook that was edited after its run."""
    notebook = executed(chapter)
    stored = {"digests": digests(notebook)}
    edit(code_cells(notebook))
    return list(shown.other_cells(book.project, chapter, notebook, stored))


def exchange(cells: list[NotebookNode]) -> None:
    cells[3].outputs, cells[4].outputs = cells[4].outputs, cells[3].outputs


def print_seven(cells: list[NotebookNode]) -> None:
    cells[2].outputs[0].text = "7\n"


def test_a_notebook_as_it_was_run_passes(book: Book, chapter: Chapter) -> None:
    def say_why(cells: list[NotebookNode]) -> None:
        cells[2].source += "  # why"

    assert found_after(book, chapter, lambda cells: None) == []
    assert found_after(book, chapter, say_why) == []


@pytest.mark.parametrize(
    ("edit", "messages"),
    [
        (print_seven, ["cell 3 (print(twice(3))): its printed text is not that of the run"]),
        (exchange, [
            "cell 4 (draw(1)): its picture is not that of the run: it is that of cell 5",
            "cell 5 (draw(2)): its picture is not that of the run: it is that of cell 4",
        ]),
        (lambda cells: cells[2].update(source="print(twice(4))"),
         ["cell 3 (print(twice(4))): other code than that which was run"]),
        (lambda cells: cells[1].update(source="def twice(x): return 3 * x"),
         ["cell 2 (def twice(x): return 3 * x): other code than that which was run"]),
        (lambda cells: cells[3].update(outputs=[]),
         ["cell 4 (draw(1)): shows 0 outputs, in the run 1"]),
    ],
)  # fmt: skip
def test_an_edited_cell_is_named(
    book: Book, chapter: Chapter, edit: Edit, messages: list[str]
) -> None:
    assert found_after(book, chapter, edit) == messages


def test_cells_that_were_added_and_results_without_digests_are_named(
    book: Book, chapter: Chapter
) -> None:
    notebook = executed(chapter)
    stored = {"digests": digests(notebook)}
    book.edit("chapters/trust/one.py", "draw(2)", "draw(2)\n\n# %%\ndraw(3)\n")
    longer = chapter.notebook()
    [message] = shown.other_cells(book.project, chapter, longer, stored)
    assert message == "6 code cells, the run had 5"
    [message] = shown.other_cells(book.project, chapter, notebook, {})
    assert message.startswith("its results hold no digests of cells")


@pytest.mark.parametrize("chapter", MEASURED, ids=lambda chapter: chapter.id)
def test_every_output_of_the_book_is_tied_to_its_results(chapter: Chapter) -> None:
    """Each output in turn is replaced by the next one, as if somebody had exchanged them."""
    notebook = read_notebook(PROJECT.notebook(chapter.id))
    stored = results.load(PROJECT.published(chapter.id, "laptop"))
    assert list(shown.other_cells(PROJECT, chapter, notebook, stored)) == []
    places = [(n, i) for n, c in enumerate(code_cells(notebook)) for i in range(len(c.outputs))]
    assert len(places) > 5
    for (n, i), (m, j) in pairwise(places):
        edited = copy.deepcopy(notebook)
        cells = code_cells(edited)
        cells[n].outputs[i] = cells[m].outputs[j]
        found = list(shown.other_cells(PROJECT, chapter, edited, stored))
        assert len(found) == 1 and found[0].startswith(f"cell {n + 1} ("), found


@pytest.mark.parametrize("chapter", MEASURED, ids=lambda chapter: chapter.id)
def test_every_row_of_a_claims_table_follows_from_the_stored_results(chapter: Chapter) -> None:
    """Each stored effect in turn is another one; the table in the notebook then is not its own."""
    notebook = read_notebook(PROJECT.notebook(chapter.id))
    stored = results.load(PROJECT.published(chapter.id, "laptop"))
    assert list(shown.other_tables(notebook, stored)) == []
    for number, claim in enumerate(stored["claims"]):
        edited = copy.deepcopy(stored)
        edited["claims"][number]["effect"] += 1.0
        found = list(shown.other_tables(notebook, edited))
        assert f"claims/{claim['id']}: no claims table shows it as it is stored" in found
        assert any(f"{claim['id']} is not of the stored results" in text for text in found)


@pytest.mark.parametrize("chapter", MEASURED, ids=lambda chapter: chapter.id)
def test_effects_and_findings_follow_from_the_stored_results(chapter: Chapter) -> None:
    """Each stored effect in turn is another one; figure and sentences then are not its own."""
    stored = results.load(PROJECT.published(chapter.id, "laptop"))
    run = shown.restored(stored)
    figure, sentences = displayed(run.effects), displayed(run.findings)
    cells = [
        new_code_cell("run.effects()", outputs=[figure]),
        new_code_cell("run.findings()", outputs=[sentences]),
    ]
    notebook = new_notebook(cells=cells)
    assert list(shown.other_findings(PROJECT, notebook, stored)) == []
    known = chapter_claims(chapter.id)
    for number, claim in enumerate(stored["claims"]):
        if claim["id"] not in known:
            continue  # a check, which has no effect
        edited = copy.deepcopy(stored)
        edited["claims"][number]["effect"] += 1.0
        assert list(shown.other_findings(PROJECT, notebook, edited)) == [
            "cell 1 (run.effects()): its effects are not of the stored results",
            "cell 2 (run.findings()): its findings are not of the stored results",
        ]


def displayed(call: Callable[[], None]) -> NotebookNode:
    """What a call displays, as a kernel stores it."""
    with pytest.MonkeyPatch.context() as patch:
        found: list[object] = []
        for module in (effects, findings):
            patch.setattr(module, "display", found.append)
        call()
    data, _ = DisplayFormatter().format(found[0])
    return new_output("display_data", data)


def test_an_output_is_named_as_a_reader_would() -> None:
    table = new_output("display_data", {"text/html": '<table class="medbook">', "text/plain": ""})
    assert [kind_of(o) for o in (picture("x"), table)] == ["picture", "table"]
    assert kind_of(new_output("execute_result", {"text/plain": "3"})) == "printed text"


def test_the_digest_of_an_output_is_of_every_byte_but_its_number() -> None:
    one = new_output("execute_result", {"text/plain": "3"}, execution_count=1)
    same = nbformat.from_dict(one | {"execution_count": 9})
    other = new_output("execute_result", {"text/plain": "4"}, execution_count=1)
    made = [digests(_with(o))["cells"][0]["shows"] for o in (one, same, other)]
    assert made[0] == made[1] != made[2]


def _with(output: NotebookNode) -> NotebookNode:
    return new_notebook(cells=[new_code_cell("1", outputs=[output])])
