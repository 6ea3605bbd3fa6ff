"""What a result's key notices and what it lets pass."""

import shutil
from pathlib import Path

import pytest
from book_fixtures import Book
from hypothesis import given
from hypothesis import strategies as st

from medbook import paths
from medbook._book import keys
from medbook._book.project import Chapter
from medbook.trials.closures import static_definitions

CELLS = """
# %%
import medbook
from medbook.evaluate import stats

run = medbook.start("one", profile, seed)

# %% tags=["define"]
from medbook.learn.training import random_shift

STEP = 1

def helper(x):
    return x + STEP

def trial(x):
    return helper(x), random_shift(1)

def mean(values):
    return sum(values) / len(values)

def unused(x):
    return x

# %%
print(mean(run.map(trial, [1, 2])))
"""
SOURCE = "chapters/trust/one.py"


@pytest.fixture
def chapter(book: Book) -> Chapter:
    book.add("one", CELLS, claims=("one-1",))
    return book.project.select(["one"])[0]


def as_run_now(book: Book, chapter: Chapter, *functions: str, around: bool = True) -> dict:
    """What a laptop run of today's source would store, as far as keys go."""
    sources = keys.sources_of(book.project)
    trials = {
        name: {"definitions": static_definitions(chapter.id, [name], sources), "keys": ["ab"]}
        for name in functions
    }
    key = keys.key_of(book.project, chapter, "laptop", 0)
    if not around:
        key.pop("around")
    return {"profile": "laptop", "seed": 0, "trials": trials, "key": key}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x = 1", "x = 1  # why"),
        ("x = 1\ny = 2", "# first\n\nx=1\n\n\ny = (2)\n"),
        ("f('a', b)", 'f(\n    "a",\n    b,\n)'),
        ('def f():\n    "One."\n    return 1', 'def f():\n    "Two."\n    return 1'),
        ('"""Module."""\nx = 1', "x = 1"),
        ("%matplotlib inline\nx = 1", "%matplotlib inline\nx  =  1"),
    ],
)
def test_formatting_comments_and_docstrings_do_not_count(old: str, new: str) -> None:
    assert keys.code_hash(old) == keys.code_hash(new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = None", "x = ..."),
        ("f(a, b)", "f(b, a)"),
        ("return_x", "return_ x"),
        ("x = 'a'", "x = 'b'"),
        ("f'{x:.2f}'", "f'{x:.3f}'"),
        ("if a:\n    b()\nc()", "if a:\n    b()\n    c()"),
        ("%timeit f()\nx = 1", "%timeit g()\nx = 1"),
        ("!ls", "!pwd"),
        ("this is no python", "neither is this ("),
        ("def f(x): return x", "def f(x=1): return x"),
        ("", "pass"),
        ("from medbook.show import plots", "from medbook.show import tables"),
        ("from medbook.show import plots", "from medbook.show import tables as plots"),
        ("from medbook.show.plots import show", "from medbook.show.explore import show"),
        ("from numpy import linalg", "from scipy import linalg"),
    ],
)
def test_code_counts(old: str, new: str) -> None:
    assert keys.code_hash(old) != keys.code_hash(new)


@pytest.mark.parametrize(
    "cell",
    [
        "from medbook.{}show import plots",
        "from medbook.{}show.plots import show, card as one",
        "import medbook\nfrom medbook.{}show.plots import show\nshow(1)",
    ],
)
def test_a_module_that_moves_to_another_folder_changes_no_key(
    cell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "medbook")
    for folder in ("show", "deeper/show"):
        (tmp_path / "medbook" / folder).mkdir(parents=True)
        (tmp_path / "medbook" / folder / "plots.py").touch()
    hashes = {keys.code_hash(cell.format(folder)) for folder in ("", "deeper.")}
    keys.code_hash.cache_clear()
    assert len(hashes) == 1


@given(st.text(max_size=60))
def test_any_text_has_a_hash(text: str) -> None:
    assert len(keys.code_hash(text)) == keys.DIGITS


def test_an_unchanged_chapter_has_no_changes(book: Book, chapter: Chapter) -> None:
    stored = as_run_now(book, chapter, "trial")
    assert keys.changes(book.project, chapter, stored) == ([], [], [])


@pytest.mark.parametrize(
    ("path", "old", "new", "numbers", "glue"),
    [
        (SOURCE, "STEP = 1", "STEP = 2", ["STEP"], []),
        (SOURCE, "x + STEP", "x - STEP", ["helper"], []),
        (SOURCE, "helper(x),", "helper(2 * x),", ["trial"], []),
        (SOURCE, "/ len", "/ 2 / len", [], ["mean"]),
        (SOURCE, "    return x\n", "    return 2 * x\n", [], []),
        (SOURCE, "x + STEP", "x + STEP  # one more", [], []),
        (SOURCE, "def helper(x):", "def helper(x: int) -> int:", [], []),
        (SOURCE, "[1, 2]", "[1, 2, 3]", [], [f"{SOURCE} cell 4"]),
        (SOURCE, "import medbook\n", "import medbook\n\nx = 1\n", [], [f"{SOURCE} cell 2"]),
        (SOURCE, "# One", "# Another title", [], []),
        ("ci/lock.txt", "2.0", "2.1", ["ci/lock.txt numpy"], []),
        ("ci/lock.txt", "numpy==2.0", "numpy==2.0\nrich==9", [], []),
        ("book/claims/one.yml", "margin: 0.1", "margin: 0.2", ["claim one-1"], []),
    ],
)
def test_a_change_is_named(
    book: Book,
    chapter: Chapter,
    path: str,
    old: str,
    new: str,
    numbers: list[str],
    glue: list[str],
) -> None:
    stored = as_run_now(book, chapter, "trial")
    book.edit(path, old, new)
    assert keys.changes(book.project, chapter, stored) == (numbers, glue, [])


@pytest.fixture
def package(book: Book, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files of medbook that the chapter reaches, to be edited."""
    shutil.copytree(paths.PACKAGE, book.root / "medbook", ignore=shutil.ignore_patterns("_book"))
    monkeypatch.setattr(paths, "PACKAGE", book.root / "medbook")
    return book.root / "medbook"


def test_helpers_count_where_a_trial_reaches_them(
    book: Book, chapter: Chapter, package: Path
) -> None:
    stored = as_run_now(book, chapter, "trial")
    book.edit("medbook/learn/training.py", "-pixels, pixels + 1", "-pixels, pixels")
    book.edit("medbook/learn/training.py", "CHECK_EVERY = 50", "CHECK_EVERY = 51")  # of fit, unused
    book.edit("medbook/evaluate/stats.py", "MAX_SEEDS = 1000", "MAX_SEEDS = 1001")  # of the session
    found = keys.changes(book.project, chapter, stored)
    assert found == (["training.random_shift"], [], ["stats.MAX_SEEDS"])
    published = as_run_now(book, chapter, "trial", around=False)
    book.edit("medbook/evaluate/stats.py", "MAX_SEEDS = 1001", "MAX_SEEDS = 1002")
    assert keys.changes(book.project, chapter, published) == ([], [], [])


def test_a_definition_may_move_to_another_cell(book: Book, chapter: Chapter) -> None:
    stored = as_run_now(book, chapter, "trial")
    book.edit(SOURCE, "def mean", '# %% tags=["define"]\ndef mean')
    assert keys.changes(book.project, chapter, stored) == ([], [], [])


def test_an_inserted_cell_does_not_blame_those_after_it(book: Book, chapter: Chapter) -> None:
    before = as_run_now(book, chapter, "trial")
    book.edit(SOURCE, "# %%\nprint", "# %%\ny = 3\n\n# %%\nprint")
    assert keys.changes(book.project, chapter, before).glue == [f"{SOURCE} cell 4"]
    after = as_run_now(book, chapter, "trial")
    book.edit(SOURCE, "# %%\ny = 3\n", "")
    assert keys.changes(book.project, chapter, after).glue == [f"{SOURCE}: a cell was removed"]


def test_who_changes_a_notebook_changes_nobody_elses(chapter: Chapter) -> None:
    chapter.notebook().cells[1].source = "changed"
    assert chapter.notebook().cells[1].source != "changed"


def test_definitions_of_a_loaded_chapter_count(book: Book) -> None:
    book.add("base", '\n# %% tags=["define"]\ndef k(x):\n    return x\n\n# %%\nprint(k(1))\n')
    book.add("top", TOP)
    top = book.project.select(["top"])[0]
    stored = as_run_now(book, top, "trial")
    assert set(stored["trials"]["trial"]["definitions"]) == {"trial", "base.k"}
    book.edit("chapters/trust/base.py", "print(k(1))", "print(k(2))")  # no definition
    assert keys.changes(book.project, top, stored) == ([], [], [])
    book.edit("chapters/trust/base.py", "return x", "return 2 * x")
    assert keys.changes(book.project, top, stored) == (["base.k"], [], [])
    shown = as_run_now(book, top)
    book.edit("chapters/trust/base.py", "return 2 * x", "return x")
    book.edit("chapters/trust/top.py", "print(trial)", "print(trial, base.k)")
    assert keys.changes(book.project, top, shown).glue == ["chapters/trust/top.py cell 3", "base.k"]


TOP = """
# %% tags=["define"]
from medbook import chapter

base = chapter.load("base")

def trial(x):
    return base.k(x)

# %%
print(trial)
"""


def test_what_was_measured_by_earlier_definitions_says_so(book: Book, chapter: Chapter) -> None:
    stored = as_run_now(book, chapter, "trial")
    stored["trials"]["trial"]["keys"] = []
    assert keys.changes(book.project, chapter, stored) == ([keys.EARLIER], [], [])


def test_a_result_without_a_key_is_never_up_to_date(book: Book, chapter: Chapter) -> None:
    assert keys.changes(book.project, chapter, {"profile": "laptop", "seed": 0}).numbers


def test_a_real_file_makes_a_twin_outdated(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medbook.data.sources.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("MEDBOOK_DATA", str(tmp_path))
    entry = {"name": "pneumoniamnist", "kind": "twin", "sha256": "abc"}
    phantom = {"name": "disc", "kind": "phantom", "sha256": "abc"}
    measured = {"profile": "laptop", "data": [entry, phantom]}
    assert keys.new_real_data(measured) == []
    (tmp_path / "medmnist").mkdir()
    (tmp_path / "medmnist/pneumoniamnist.npz").write_bytes(b"")
    assert keys.new_real_data(measured)[0].startswith("data pneumoniamnist")
    assert keys.new_real_data(measured | {"profile": "smoke"}) == []
    assert keys.new_real_data({"profile": "laptop", "data": [entry | {"kind": "real"}]}) == []
