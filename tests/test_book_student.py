"""Notebooks for students: no solution, no output, no verdict, and they run."""

from pathlib import Path

import nbformat
import pytest
from book_fixtures import Book
from nbclient import NotebookClient

from medbook._book.notebooks import grade, student
from medbook._book.notebooks.surroundings import METADATA
from medbook._book.project import Chapter, find_project
from medbook.errors import MedbookError

CELLS = """
# %%
base = 20

# %% [markdown]
# ## Exercises
# ### Exercise 1: add
# Add 2 to `base`.

# %% tags=["solution"]
answer = base + 2
print(f"the secret is {answer}")

# %% tags=["check"]
assert answer == base + 2, "two more than base"

# %% [markdown]
# ### Exercise 2: square
# Square it.

# %% tags=["solution"]
def square(x):
    '''x times x.'''
    return x ** 2

# %% tags=["check"]
assert square(3) == 9

# %% [markdown]
# ## Go further
# In the stored run the answer was close.

# %%
print("end", base)
"""


def made(book: Book, cells: str = CELLS) -> nbformat.NotebookNode:
    book.add("one", cells)
    return student.student_notebook(book.project, book.project.select(["one"])[0])


def test_solutions_become_stubs_and_all_else_stays(book: Book) -> None:
    notebook = made(book)
    nbformat.validate(notebook)
    text = nbformat.writes(notebook)
    assert "secret" not in text and "** 2" not in text
    stubs = [c for c in notebook.cells if c.metadata.get("tags") == ["exercise"]]
    assert [c.source for c in stubs] == [
        "# Your answer to: Exercise 1: add\nanswer = ...",
        '# Your answer to: Exercise 2: square\ndef square(x):\n    """x times x."""\n    ...',
    ]
    checks = [c for c in notebook.cells if "check" in c.metadata.get("tags", [])]
    assert [c.source.split()[0] for c in checks] == ["assert", "assert"]
    assert all("raises-exception" in c.metadata["tags"] for c in checks)
    own = [cell for cell in notebook.cells if cell["id"] != "card" and cell not in stubs]
    source = book.project.select(["one"])[0].notebook().cells
    kept = [c.source for c in source if "solution" not in c.metadata.get("tags", [])]
    assert [cell.source for cell in own] == kept
    assert notebook.metadata == METADATA
    assert (
        notebook.cells[1]["id"] == "card" and "**Data:** pneumoniamnist" in notebook.cells[1].source
    )


def test_with_a_remote_it_installs_itself_on_colab(book: Book) -> None:
    book.served_at("https://github.com/fork/book")
    notebook = made(book)
    assert "git+https://github.com/fork/book.git" in notebook.cells[0].source
    assert "colab" not in notebook.cells[2].source.lower()  # the published one shows solutions


@pytest.mark.slow
def test_it_runs(book: Book, tmp_path: Path) -> None:
    notebook = made(book)
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert notebook.cells[-1].outputs[0].text == "end 20\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "passed"),
    [("", [False, False]), ("answer = 22", [True, False]), ("answer = 23", [False, False]),
     ("answer = 22\ndef square(x): return 9", [True, True]), ("1 / 0", [False, False])],
)  # fmt: skip
def test_answers_are_checked_by_the_checks_of_the_chapter(
    book: Book, answer: str, passed: list[bool]
) -> None:
    chapter = chapter_of(book)
    [path] = student.write_all(book.project, [chapter], None)
    notebook = nbformat.read(path, 4)
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    places = [k for k, some in enumerate(tags) if "exercise" in some]
    notebook.cells[places[-1]].source = answer
    for k in [k for k, some in enumerate(tags) if "check" in some]:
        notebook.cells[k].source = "assert True"  # a student's own idea of a check
    if passed[0]:  # the first check stands above the last answer
        notebook.cells[places[0]].source = "answer = 22"
    nbformat.write(notebook, path)
    found = grade.grade(book.project, chapter, path)
    assert [check.problem is None for check in found] == passed
    assert [check.exercise for check in found] == ["Exercise 1: add", "Exercise 2: square"]


def test_a_notebook_without_the_checks_is_refused(book: Book, tmp_path: Path) -> None:
    chapter = chapter_of(book)
    notebook = student.student_notebook(book.project, chapter)
    notebook.cells = [c for c in notebook.cells if "check" not in c.metadata.get("tags", [])]
    nbformat.write(notebook, tmp_path / "one.ipynb")
    with pytest.raises(MedbookError, match="has 0 cells tagged `check`, one has 2"):
        grade.grade(book.project, chapter, tmp_path / "one.ipynb")


@pytest.mark.slow
def test_verdicts_and_outputs_are_not_shown(published: Book) -> None:
    [chapter] = published.project.chapters()
    text = nbformat.writes(student.student_notebook(published.project, chapter))
    notebook = nbformat.reads(text, 4)
    assert "**Measured:** smoke" in notebook.cells[1].source
    assert "Verdicts" not in text and "✓" not in text
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


@pytest.mark.parametrize(
    "use",
    ["print(answer)", "def f(x):\n    return x + answer", "class A:\n    b = answer",
     "%matplotlib inline\nprint(answer)", "z = [answer for _ in 'ab']"],
)  # fmt: skip
def test_a_cell_that_needs_a_solution_is_refused(book: Book, use: str) -> None:
    with pytest.raises(MedbookError, match=r"one\.py: cell 7 needs 'answer', which .* cell 3 def"):
        made(book, CELLS.replace('print("end", base)', use))


@pytest.mark.parametrize(
    "use",
    ["answer = 1\nprint(answer)", "def f(answer):\n    return answer", "a.answer", "'answer'"],
)
def test_a_name_of_its_own_is_no_solutions(book: Book, use: str) -> None:
    made(book, CELLS.replace('print("end", base)', use))


def test_what_another_cell_defines_anew_may_be_used(book: Book) -> None:
    made(book, CELLS + "\n# %%\nanswer = 3\n\n# %%\nprint(answer)\n")


def test_in_the_default_folder_one_is_made_anew_and_the_others_stay(book: Book) -> None:
    book.add("one", CELLS)
    book.add("two", CELLS)
    out = book.root / "_build/student"
    for chapter in book.project.chapters():
        assert list(student.write_all(book.project, [chapter], None)) == [
            out / f"{chapter.id}.ipynb"
        ]
    (out / "one.ipynb").write_text("changed")
    list(student.write_all(book.project, book.project.select(["one"]), None))
    assert sorted(path.name for path in out.iterdir()) == ["one.ipynb", "two.ipynb"]
    assert all(nbformat.read(path, 4).cells for path in out.iterdir())


def test_a_notebook_in_a_named_folder_is_not_overwritten(book: Book, tmp_path: Path) -> None:
    chapter, out = chapter_of(book), tmp_path / "handouts"
    for _ in range(2):  # the same again is no change
        [path] = student.write_all(book.project, [chapter], out)
    path.write_text("a teacher's work")
    with pytest.raises(MedbookError, match=r"one\.ipynb is there and reads otherwise"):
        list(student.write_all(book.project, [chapter], out))
    assert path.read_text() == "a teacher's work"


def chapter_of(book: Book) -> Chapter:
    book.add("one", CELLS)
    return book.project.select(["one"])[0]


def test_no_chapter_of_the_book_shows_its_solutions() -> None:
    project = find_project(Path(__file__).parent)
    for chapter in project.chapters():
        cells = chapter.notebook().cells
        solutions = [c.source for c in cells if "solution" in c.metadata.get("tags", [])]
        text = "\n".join(c.source for c in student.student_notebook(project, chapter).cells)
        assert solutions and not [s for s in solutions if s in text]
