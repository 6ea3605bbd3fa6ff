"""The page on phantoms: pictures with words, the credit of real ones, the stored comparison."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from book_fixtures import Book

from medbook._book.pages import handwritten, phantom_strips
from medbook.data import ENTRIES

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_pictures_say_what_they_show_and_real_ones_carry_their_credit(tmp_path, monkeypatch):
    monkeypatch.setattr(phantom_strips, "SIDE", 24)
    monkeypatch.setattr(phantom_strips, "_real", lambda: None)
    project = Book(tmp_path / "book").project
    text = phantom_strips.strips(project)
    alts = re.findall(r'alt="([^"]+)"', text)
    assert len(alts) == 3 and all(len(alt.split()) > 8 for alt in alts)
    assert text.count("data:image/png;base64,") == 3
    assert ENTRIES[phantom_strips.REAL].credit not in text and "Not pictures of anybody" in text
    assert re.search(r"The first report: There|The first report: \w", text)


@pytest.mark.slow
def test_real_pictures_carry_their_credit(monkeypatch):
    shown = phantom_strips._screen(
        phantom_strips._drawn(16, {})[0].xray(phantom_strips._view()),
        phantom_strips._drawn(1, {})[1],
    )
    credit = ENTRIES[phantom_strips.REAL].credit
    monkeypatch.setattr(phantom_strips, "_real", lambda: (shown, credit))
    text = phantom_strips._beside_real_ones.__wrapped__()
    assert credit.split(";")[0] in text and "sixteen real X-rays" in text


def test_the_stored_comparison_is_on_the_page_and_not_on_that_of_speed(tmp_path):
    book = Book(tmp_path / "book")
    assert handwritten.realism(book.project) == "No measurement is stored yet."
    folder = book.root / "ci/bench/realism"
    folder.mkdir(parents=True)
    (folder / "phantoms.md").write_text("# Beside\n\n## Dice\n")
    assert handwritten.realism(book.project) == "### Beside\n\n#### Dice"
    assert "Beside" not in handwritten.benchmarks(book.project)


def test_phantoms_look_enough_like_real_pictures_for_a_network_that_never_saw_one():
    """The stored numbers hold what the page says; the script makes them again."""
    stored = (ROOT / "ci/bench/realism/phantoms.md").read_text(encoding="utf-8")
    assert "Pictures called real: real," in stored
    rows = [line.strip("| ").split(" | ") for line in stored.splitlines()]
    dice = {row[0]: float(row[2]) for row in rows if len(row) == 5 and row[1].isdigit()}
    assert dice["real, other patients"] > 0.9
    assert min(dice["healthy phantoms"], dice["phantoms with findings"]) >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("script", ["phantom.py", "phantom_realism.py"])
def test_the_benchmarks_fill_their_tables(script, tmp_path):
    out = tmp_path / "table.md"
    command = [sys.executable, f"ci/bench/{script}", "--quick", "--out", str(out)]
    alone = os.environ | {
        "MEDBOOK_THREADS": "1"
    }  # two threads on a busy machine wait for each other
    printed = subprocess.check_output(command, cwd=ROOT, env=alone, text=True)
    assert out.read_text(encoding="utf-8").strip() == printed.strip()
    rows = [line for line in printed.splitlines() if line.startswith("| ")]
    assert len(rows) >= 10 and "nan" not in printed
