"""What a result's key notices and what it lets pass."""

import copy

import pytest
from book_fixtures import Book
from hypothesis import given
from hypothesis import strategies as st

from medbook._book import keys
from medbook._book.project import Chapter

STORED = {
    "profile": "laptop",
    "seed": 0,
    "modules": ["stats.py", "gone.py"],
    "data": [{"name": "pneumoniamnist", "kind": "real", "sha256": "abc"}],
}

CELLS = """
# %%
def f(x):
    return x + 1

# %%
print(f(1))
"""


@pytest.fixture
def chapter(book: Book) -> Chapter:
    book.add("one", CELLS, claims=("one-1",))
    return book.project.select(["one"])[0]


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
    ],
)
def test_code_counts(old: str, new: str) -> None:
    assert keys.code_hash(old) != keys.code_hash(new)


@given(st.text(max_size=60))
def test_any_text_has_a_hash(text: str) -> None:
    assert len(keys.code_hash(text)) == keys.DIGITS


def test_an_unchanged_chapter_has_no_differences(book: Book, chapter: Chapter) -> None:
    key = keys.key_of(book.project, chapter, STORED)
    assert keys.differences(chapter, key, keys.key_of(book.project, chapter, STORED)) == []


@pytest.mark.parametrize(
    ("path", "old", "new", "named"),
    [
        ("chapters/trust/one.py", "x + 1", "x + 2", ["chapters/trust/one.py cell 2"]),
        ("chapters/trust/one.py", "x + 1", "x + 1  # one more", []),
        ("chapters/trust/one.py", "# One", "# Another title", []),
        ("ci/lock.txt", "2.0", "2.1", ["ci/lock.txt"]),
        ("book/claims/one.yml", "margin: 0.1", "margin: 0.2", ["claim one-1"]),
    ],
)
def test_a_change_is_named(
    book: Book, chapter: Chapter, path: str, old: str, new: str, named: list[str]
) -> None:
    before = keys.key_of(book.project, chapter, STORED)
    book.edit(path, old, new)
    assert keys.differences(chapter, before, keys.key_of(book.project, chapter, STORED)) == named


def test_an_inserted_cell_does_not_blame_those_after_it(book: Book, chapter: Chapter) -> None:
    before = keys.key_of(book.project, chapter, STORED)
    book.edit("chapters/trust/one.py", "# %%\ndef", "# %%\ny = 3\n\n# %%\ndef")
    after = keys.key_of(book.project, chapter, STORED)
    assert keys.differences(chapter, before, after) == ["chapters/trust/one.py cell 2"]
    assert keys.differences(chapter, after, before) == ["chapters/trust/one.py cell 2 removed"]


def test_who_changes_a_notebook_changes_nobody_elses(chapter: Chapter) -> None:
    chapter.notebook().cells[1].source = "changed"
    assert chapter.notebook().cells[1].source != "changed"


def test_a_chapter_is_named_by_a_string_not_by_a_word_in_a_comment(book: Book) -> None:
    book.add("base", '\n# %% tags=["define"]\nK = 1\n')
    book.add("top", "\n# %%\nbase = 'the base'  # as in base\n")
    top = book.project.select(["top"])[0]
    assert keys.key_of(book.project, top, STORED)["chapters"] == {}


def test_parts_of_a_stored_key_are_compared(book: Book, chapter: Chapter) -> None:
    now = keys.key_of(book.project, chapter, STORED)
    assert now["modules"]["medbook/gone.py"] == "removed"
    then = copy.deepcopy(now)
    then["modules"]["medbook/stats.py"] = "other"
    then["data"]["pneumoniamnist"] = "other"
    then["seed"] = 3
    expected = ["seed", "medbook/stats.py", "data pneumoniamnist"]
    assert keys.differences(chapter, then, now) == expected
    assert keys.differences(chapter, {}, now)  # a result without a key is never up to date


def test_definitions_of_a_loaded_chapter_count(book: Book) -> None:
    book.add("base", '\n# %% tags=["define"]\nK = 1\n\n# %%\nprint(K)\n')
    book.add("middle", '\n# %% tags=["define"]\nb = chapter.load("base")\n')
    book.add("top", '\n# %%\nm = chapter.load("middle")\n')
    top = book.project.select(["top"])[0]
    before = keys.key_of(book.project, top, STORED)
    assert set(before["chapters"]) == {"chapters/trust/base.py", "chapters/trust/middle.py"}
    book.edit("chapters/trust/base.py", "print(K)", "print(K, K)")  # not a definition
    assert keys.differences(top, before, keys.key_of(book.project, top, STORED)) == []
    book.edit("chapters/trust/base.py", "K = 1", "K = 2")
    after = keys.key_of(book.project, top, STORED)
    assert keys.differences(top, before, after) == ["chapters/trust/base.py"]


def test_the_key_of_a_run_holds_only_what_it_used(book: Book, chapter: Chapter) -> None:
    before = keys.key_before(book.project, chapter, "laptop", 0)
    assert "medbook/data/twins/labelled.py" in before["modules"]
    assert not any(name.startswith("medbook/_book") for name in before["modules"])
    used = STORED | {"modules": ["stats.py"]}
    assert keys.key_of_run(before, used) == keys.key_of(book.project, chapter, used)


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
