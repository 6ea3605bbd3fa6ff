"""Definitions of a chapter without running it."""

import sys
from pathlib import Path

import pytest

from medbook import chapter, paths
from medbook.errors import MedbookError

SOURCE = '''# ---
# medbook: {title: T}
# ---

# %% [markdown] tags=["define"]
# # Title
# not = code

# %% tags=["parameters"]
profile = "auto"

# %% tags=["define"]
from dataclasses import dataclass

@dataclass
class Point:
    """A class whose module must be found."""
    x: float = SCALE if "SCALE" in globals() else 1.0

# %%
raise SystemExit("this cell runs the experiment")

# %% tags=["hide-input", "define"]
def double(point):
    return 2 * point.x

# %% [markdown]
# The end.
'''


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    part = tmp_path / "chapters" / "trust"
    part.mkdir(parents=True)
    (part / "demo.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(chapter, "content_root", lambda: tmp_path)
    return part


@pytest.mark.usefixtures("book")
def test_load_gives_the_definitions_and_runs_nothing_else() -> None:
    module = chapter.load("demo")
    assert module.double(module.Point(1.5)) == 3.0
    assert not hasattr(module, "profile")
    assert module.Point.__module__ == module.__name__
    assert sys.modules[module.__name__] is module


def test_line_numbers_are_those_of_the_file(book: Path) -> None:
    line = SOURCE.splitlines().index("def double(point):") + 1
    module = chapter.load("demo")
    assert module.double.__code__.co_firstlineno == line
    assert module.double.__code__.co_filename == str(book / "demo.py")


def test_defining_source_keeps_only_code_cells_tagged_define() -> None:
    kept = chapter.defining_source(SOURCE).split("\n")
    assert len(kept) == len(SOURCE.splitlines())
    assert "not = code" not in "\n".join(kept)
    assert "SystemExit" not in "\n".join(kept)
    assert [line for line in kept if line.startswith("def ")] == ["def double(point):"]
    assert chapter.defining_source("") == ""


def test_a_failing_definition_is_named(book: Path) -> None:
    (book / "broken.py").write_text('# %% tags=["define"]\nuse(steps)\n')
    with pytest.raises(MedbookError, match=r"broken\.py.*does not run alone.*use"):
        chapter.load("broken")


def test_a_syntax_error_is_named_too(book: Path) -> None:
    (book / "broken.py").write_text('# %% tags=["define"]\ndef f(:\n')
    with pytest.raises(MedbookError, match=r"broken\.py"):
        chapter.load("broken")


def test_unknown_and_double_ids_are_refused(book: Path) -> None:
    with pytest.raises(MedbookError, match="no chapter 'other'; chapters are: demo"):
        chapter.find("other")
    second = book.parent / "more" / "demo.py"
    second.parent.mkdir()
    second.write_text("")
    with pytest.raises(MedbookError, match="two files share the id 'demo'"):
        chapter.find("demo")


def test_the_installed_package_carries_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "medbook")
    assert paths.content_root() == tmp_path / "medbook" / "_content"
    (tmp_path / "book").mkdir()
    (tmp_path / "book/systems.yml").touch()
    assert paths.content_root() == tmp_path
