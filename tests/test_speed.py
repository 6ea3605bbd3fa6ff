"""Limits on time, with room for a machine that is busy; `ci/bench` measures the real numbers."""

import importlib
import re
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import jupytext
import numpy as np
import pytest
import torch
from book_fixtures import Book
from torch import Tensor, nn

from medbook import data, paths, yamlfile
from medbook._book import keys
from medbook._book.stored.state import judge
from medbook.chapter import load as load_chapter
from medbook.data.entries import File
from medbook.data.sources import file_hash
from medbook.learn.training import Augment, fit, random_shift
from medbook.trials.parallel import one_thread

ROOT = paths.PACKAGE.parent
SLOW_IMPORTS = ("IPython", "pandas", "scipy.ndimage", "scipy.stats", "sklearn", "torchmetrics")


class Blind(nn.Module):
    """Does not look at the images: a step without its network."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(1, 2))

    def forward(self, batch: Tensor) -> Tensor:
        return self.scores.expand(len(batch), 2)


def python(code: str) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True)


def test_medbook_imports_nothing_slow() -> None:
    before = "import sys, torch; before = set(sys.modules); import medbook; "
    loaded = set(python(before + "print(*set(sys.modules) - before)").split())
    assert "medbook.learn.training" in loaded
    assert loaded.isdisjoint(SLOW_IMPORTS)


def test_medbook_adds_little_to_the_import_of_torch() -> None:
    code = (
        "import time, torch; start = time.process_time(); import medbook; "
        "print(time.process_time() - start)"
    )
    assert min(float(python(code)) for _ in range(3)) < 1


def test_ten_thousand_images_are_ready_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in {"train": 7000, "val": 1000, "test": 2000}.items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, 28, 28, 3), np.uint8)
        arrays[f"{split}_labels"] = np.zeros((n, 1), np.uint8)
    path = tmp_path / "large.npz"
    np.savez_compressed(path, **arrays)
    entry = replace(
        data.info("bloodmnist"), files={28: File(path.name, f"md5:{file_hash(path, 'md5')}")}
    )
    monkeypatch.setitem(data.ENTRIES, "large", entry)
    monkeypatch.setenv("MEDBOOK_DATA", str(tmp_path))
    start = time.perf_counter()
    assert data.load("large", source="real").n == 10_000
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize("augment", [None, random_shift(2)])
def test_the_input_takes_a_small_part_of_a_step(augment: Augment | None) -> None:
    images = torch.randint(0, 256, (512, 1, 28, 28), dtype=torch.uint8)
    labels = torch.randint(0, 2, (512,))
    book = load_chapter("unlearnable_examples")
    resnet = book.make_network(partial(book.resnet, stride=1), images, seed=0)
    train = partial(fit, images=images, labels=labels, steps=8, seed=0, augment=augment)
    with one_thread():  # threads that wait for each other on a busy machine blur the ratio
        without = min(train(Blind()).seconds for _ in range(3))
        whole = train(resnet).seconds
    assert 0 < without < 0.3 * whole


def test_sources_are_converted_once_however_often_chapters_are_judged(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted, parsed = [], []
    reads, parse = jupytext.reads, yamlfile.parse
    monkeypatch.setattr(jupytext, "reads", lambda *a, **k: converted.append(1) or reads(*a, **k))
    monkeypatch.setattr(yamlfile, "parse", lambda *a: parsed.append(1) or parse(*a))
    for number in range(3):
        book.add(f"chapter_{number}", f"\n# %%\nx = {number}\n", claims=(f"chapter_{number}-1",))
    for chapter in book.project.chapters() * 4:
        keys.key_of(book.project, chapter, "laptop", 0)
        judge(book.project, chapter, "laptop")
    assert (len(converted), len(parsed)) == (3, 3)


def rows_of(page: str) -> list[list[str]]:
    """Cells of the rows of all tables, without their heads."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    heads = {k - 1 for k, line in enumerate(lines) if line.startswith("|---")}
    kept = [line for k, line in enumerate(lines) if k not in heads and "|---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in kept]


def bench(script: str, out: Path) -> list[list[str]]:
    """Rows that a benchmark prints and writes in its quick mode; all but the first are numbers."""
    command = [sys.executable, f"ci/bench/{script}", "--quick", "--out", str(out)]
    printed = subprocess.check_output(command, cwd=ROOT, text=True)
    assert out.read_text(encoding="utf-8").strip() == printed.strip()
    rows = rows_of(printed)
    for row in rows:
        for cell in row[1:]:
            assert re.fullmatch(r"-?[\d.,]+( \[-?[\d.,]+, -?[\d.,]+\])?", cell), row
    return rows


@pytest.mark.slow
def test_the_training_benchmark_fills_its_tables(tmp_path: Path) -> None:
    rows = bench("train.py", tmp_path / "train.md")
    names = " ".join(row[0] for row in rows)
    assert [len(row) for row in rows] == [5] * 4 + [2] * 4 + [2] * 2
    for name in ("`fit`", "random_shift", "0 workers", "2 workers", "10,000", "twin", "medbook"):
        assert name in names


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git says what belongs to the book")
@pytest.mark.skip(reason="copies of chapters in their first edition are read as second editions")
def test_the_book_benchmark_fills_its_tables(tmp_path: Path) -> None:
    rows = bench("book.py", tmp_path / "book.md")
    assert [row[0].split()[1].strip("`,") for row in rows] == ["run", "status", "lint", "verify"]
    assert {len(row) for row in rows} == {4}


def test_the_benchmark_of_ci_takes_every_step_and_follows_its_growth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "ci/bench"))
    ci = importlib.import_module("ci")
    steps = ci.steps(ROOT)
    assert [step.split()[0] for step in steps] == [
        "shellcheck", "ruff", "mypy", "env", "medbook", "medbook", "medbook", "medbook",
    ]  # fmt: skip
    assert steps[3].endswith("--cov-fail-under=90")
    books = {
        n: dict.fromkeys(steps, ci.Spent(wall=120, cores=60 + 2 * n)) for n in (7, 17)
    }  # seven steps count: 14 s a chapter, 7 minutes without any
    lines = ci.growth(books).splitlines()
    assert "| **all** | 14.0 [8.6] | 14.0 [11.0] | 14 | 15.9 |" in lines
    assert lines[-1].startswith(f"| `{ci.WEEKLY}` | 2.0 [1.2] |")
