"""What continuous integration costs, and how that grows with the number of chapters.

The committed table is made by `python ci/bench/ci.py --copies 0 10 40 --out ci/bench/ci.md`; it
takes hours.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from copies import add_copies, copy_book
from measure import BUILD, arguments, machine, publish

from medbook._book.markdown import table
from medbook._book.project import Project

PLANNED, MINUTES, CHAPTER_SECONDS = 38, 40, 35  # chapters, and the goals on two cores
WEEKLY = "medbook verify --notebooks all"
TEXT = f"""\
Each step of `ci/test.sh` in the book and in books with real copies of its chapters, taken in turn,
with their tests. All is executed once, as on a fresh machine whose environment is installed.
Minutes by the clock, and in brackets half the processor time: what two cores need at least, which
other work on the machine does not change. The last columns follow from the latter. The goal:
{MINUTES} minutes for {PLANNED} chapters, {CHAPTER_SECONDS} s for one more. Not in the sum: all notebooks again, as
each week; a change executes only those of the chapters that it concerns."""  # noqa: E501


class Spent(NamedTuple):
    """Seconds by the clock, and half of the processors' seconds."""

    wall: float
    cores: float

    def __str__(self) -> str:
        return f"{self.wall / 60:.1f} [{self.cores / 60:.1f}]"


Column = Mapping[str, Spent]  # of a book: what each step took


def main() -> None:
    parser = arguments(__doc__, "ci.md")
    parser.add_argument("--copies", type=int, nargs="+", default=[0, 10, 40])
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    columns: dict[int, Column] = {}
    for n in sorted(options.copies):
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            project = copy_book(Path(folder))
            add_copies(project, n)
            chapters = len(project.chapters())
            columns[chapters] = {step: spent(project, step) for step in steps(project.root)}
        blocks = ["# Continuous integration: benchmark", machine(1), TEXT, growth(columns)]
        publish(blocks, options.out)  # what there is so far


def steps(root: Path) -> list[str]:
    """The commands of `ci/test.sh`, and that of the weekly check."""
    script = (root / "ci/test.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in script.splitlines()]
    return [line.removeprefix("step ") for line in lines if line.startswith("step ")] + [WEEKLY]


def spent(project: Project, step: str) -> Spent:
    """What a step costs; what it finds is told and does not matter."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "PYTHONPATH": str(project.root)}
    before, start = processors(), time.perf_counter()
    done = subprocess.run(
        ["bash", "-c", f"source ci/env.sh\n{step}"],
        cwd=project.root, env=env, capture_output=True, text=True,
    )  # fmt: skip
    taken = Spent(time.perf_counter() - start, (processors() - before) / 2)
    print(f"{step}: {taken} minutes, exit code {done.returncode}", file=sys.stderr)
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-1000:], file=sys.stderr)
    return taken


def processors() -> float:
    """Processor seconds of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def growth(columns: Mapping[int, Column]) -> str:
    """A row a step, a column a book of so many chapters; what one more costs; what 38 cost."""
    counted = [step for step in columns[min(columns)] if step != WEEKLY]
    total = {
        n: Spent(*map(sum, zip(*(column[step] for step in counted), strict=True)))
        for n, column in columns.items()
    }
    rows = [row(f"`{step}`", {n: columns[n][step] for n in columns}) for step in counted]
    rows.append(row("**all**", total))
    rows.append(row(f"`{WEEKLY}`", {n: columns[n][WEEKLY] for n in columns}))
    heads = ["step", *(f"{n} chapters" for n in columns), "a chapter, s", f"{PLANNED} chapters"]
    return table(heads, rows)


def row(name: str, times: Mapping[int, Spent]) -> list[str]:
    """A step in all books, and the line through the smallest and the largest."""
    few, many = min(times), max(times)
    cells = [name, *map(str, times.values())]
    if few == many:
        return [*cells, "", ""]
    slope = (times[many].cores - times[few].cores) / (many - few)
    planned = times[few].cores + slope * (PLANNED - few)
    return [*cells, f"{slope:.0f}", f"{planned / 60:.1f}"]


if __name__ == "__main__":
    main()
