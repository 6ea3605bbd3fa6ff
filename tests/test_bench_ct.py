"""The benchmark of the CT operators fills its tables, with and without ASTRA."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_ct_benchmark_fills_its_tables(tmp_path: Path) -> None:
    out = tmp_path / "ct.md"
    command = [sys.executable, "ci/bench/ct.py", "--quick", "--out", str(out)]
    printed = subprocess.check_output(command, cwd=ROOT, text=True)
    assert out.read_text(encoding="utf-8").strip() == printed.strip()
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    programs = [row for row in rows if row[0].startswith(("medbook", "scikit-image", "ASTRA"))]
    astra = find_spec("astra") is not None
    assert len({row[0] for row in programs}) >= 3 + 3 * astra
    for row in programs:
        times = [cell for cell in row[1:4] if cell.strip()]
        assert len(times) >= (3 if row[0].startswith("medbook") else 2)
        for cell in times:
            middle, low, high = map(float, re.findall(r"[\d.]+", cell))
            assert 0 < low <= middle <= high
    setup = rows[-2:]
    assert [float(row[2]) > 1 and float(row[4]) > 1 for row in setup] == [True, True]
