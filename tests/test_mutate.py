"""Mistakes made in definitions: which places are changed, and what is told of them."""

import ast
import os
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest
from book_fixtures import Book

from medbook import chapter

FILE = Path(__file__).parents[1] / "ci/mutate.py"
SPEC = util.spec_from_file_location("mutate", FILE)
assert SPEC and SPEC.loader
mutate = util.module_from_spec(SPEC)
sys.modules["mutate"] = mutate
SPEC.loader.exec_module(mutate)


@pytest.mark.parametrize(("source", "news"), [
    ("x = a * b", {"x = (a / b)", "x = a", "x = b"}),
    ("x = h.detach()", {"x = h"}),
    ("x = F.softmax(h)", {"x = h"}),
    ("x = f(a, b)", {"x = f(b, a)"}),
    ("x = f(a, mask=m)", {"x = f(a)"}),
    ("update.zero_grad()", {"pass"}),
    ("x[mask] = y", {"pass"}),
    ("x = y[1:]", {"x = y", "x = y[2:]"}),
    ("x = a if b else c", {"x = a", "x = c"}),
    ("if a:\n    b()", {"if True:\n    b()", "if False:\n    b()", "if a:\n    pass"}),
    ("for a in b:\n    c = a", {"for a in b:\n    c = a\n    break"}),
    ("x = [a for a in b if a]", {"x = [a for a in b]"}),
    ("x = torch.min(a)", {"x = torch.max(a)"}),
    ("x = not a", {"x = a"}),
    ("x = a < b", {"x = (a >= b)"}),
])  # fmt: skip
def test_what_is_changed(source: str, news: set[str]) -> None:
    assert {m.of(source.encode()) for m in mutate.mutants(source)} == news


@pytest.mark.parametrize("source", [
    'import a', 'def f(x: int | None) -> list[2]: pass', 'raise E(f"{a + b}", 1)', '"""1 + 1"""',
    "assert a + b", "@f(2)\nclass A(b[1]): pass", 'x = f"{a + 1}"',
])  # fmt: skip
def test_what_computes_nothing_is_left_alone(source: str) -> None:
    assert mutate.mutants(source) == []


@pytest.mark.parametrize("id", ["image_similarity", "unlearnable_examples"])
def test_mutants_of_a_chapter_are_python_and_differ_from_it(id: str) -> None:
    source = chapter.defining_source(chapter.find(id).read_text(encoding="utf-8"))
    found = mutate.mutants(source)
    assert len(found) > 100
    for mutant in found[::20]:
        assert ast.dump(ast.parse(mutant.of(source.encode()))) != ast.dump(ast.parse(source))


CELLS = """
# %% tags=["define"]
LAST = [1, 2][1]

def area(w, h):
    return w * h

def forgotten(x):
    return x - 1
"""
TESTS = """
from medbook import chapter

book = chapter.load("small")

def test_area():
    assert book.area(2, 5) == 10
"""


@pytest.mark.slow
def test_survivors_are_told_and_counted(book: Book) -> None:
    book.add("small", CELLS)
    (book.root / "tests").mkdir()
    (book.root / "tests/test_small.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, str(FILE), "small", "--sample", "99"], cwd=book.root, check=True,
        env=os.environ | {"MEDBOOK_ROOT": str(book.root)}, capture_output=True, text=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    line = next(n for n, text in enumerate(book.source("small").read_text().splitlines(), 1)
                if "x - 1" in text)  # fmt: skip
    assert f"survived line {line}: operator: x - 1 -> (x + 1)" in lines
    assert sum(text.startswith("killed ") and "w * h" in text for text in lines) == 3
    # of LAST the two numbers; with another index it does not load, and is not counted
    assert lines[-1].startswith("killed 3 of 8 (38%), 5 survived")
