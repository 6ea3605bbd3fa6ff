"""The benchmark of measures of similarity fills its table."""

import re
import subprocess
import sys

import pytest

from medbook import paths


@pytest.mark.slow
def test_the_benchmark_fills_its_table(tmp_path):
    out, root = tmp_path / "similarity.md", paths.PACKAGE.parent
    command = [sys.executable, "ci/bench/similarity.py", "--quick", "--out", str(out)]
    printed = subprocess.check_output(command, cwd=root, text=True)
    assert out.read_text(encoding="utf-8").strip() == printed.strip()
    rows = [
        line.strip("| ").split(" | ")
        for line in printed.splitlines()
        if "[" in line and "|" in line
    ]
    names = " ".join(row[0] for row in rows)
    for name in ("1 pair", "16 pairs", "floor", "scikit-image", "torchmetrics", "FSIM"):
        assert name in names
    for row in rows:
        assert all(re.fullmatch(r"[\d.,]+ \[[\d.,]+, [\d.,]+\]", cell) for cell in row[1:]), row
