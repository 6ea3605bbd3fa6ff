"""What the commands of the book cost, and how that grows with the number of chapters.

The committed table is made by `python ci/bench/book.py --setup --out ci/bench/book.md`.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from copies import book_with_copies, copy_book
from measure import BUILD, arguments, interleaved, machine, publish, spread

from medbook._book.markdown import table
from medbook._book.project import Project

COMMANDS = {
    "`medbook run --profile smoke`": ("run", "--profile", "smoke"),
    "`medbook status`": ("status",),
    "`medbook lint`": ("lint",),
    "`medbook verify`": ("verify",),
    "`medbook site`": ("site",),
}
FIRST_SITE = "`medbook site`, the first call"
CHECKS, FINDINGS = ("lint", "verify"), 2  # this exit code tells what they found: no matter here

ONCE = """\
In a copy of the book. `run` executes a chapter, `verify` after it executes its committed
notebook."""
GROWTH = """\
The book and copies of its chapters in turn: source, systems, line in `_toc.yml`, tests, notebook
and results under other names. The copies are not executed: what their runs would leave behind is
made out of the stored results. So all of this are calls that find everything up to date, but
for the first rendering of the site, which is done once. *A chapter*: slope between the fewest
and the most copies, to be some tens of milliseconds; the rest of a call is the start of Python
and torch."""


def main() -> None:
    parser = arguments(__doc__, "book.md")
    parser.add_argument("--setup", action="store_true", help="ci/setup.sh, too (takes minutes)")
    options = parser.parse_args()
    copies, rounds = ((1, 2), 1) if options.quick else ((1, 10, 40), 3)
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        once = once_table(Path(folder, "once"), setup=options.setup, execute=not options.quick)
        growth = growth_table(Path(folder), copies, rounds, site=not options.quick)
    title = "# Commands of the book: benchmark"
    blocks = [title, machine(rounds), "## First calls", ONCE, once, "## Growth", GROWTH, growth]
    publish(blocks, options.out)


def once_table(root: Path, *, setup: bool, execute: bool) -> str:
    """Set-up, execution of each chapter, first check of its notebook."""
    project, rows = copy_book(root), []
    if setup:
        for which in ("nothing there", "second call"):
            rows.append([f"`ci/setup.sh`, {which}", f"{call(project, 'bash', 'ci/setup.sh'):.1f}"])
    for chapter in project.chapters() if execute else []:
        for command in (("run", "--profile", "smoke"), ("verify",)):
            taken = medbook(project, *command, chapter.id)
            rows.append([f"`medbook {' '.join(command)} {chapter.id}`", f"{taken:.1f}"])
    return table(["command", "seconds"], rows)


def growth_table(folder: Path, copies: tuple[int, ...], rounds: int, *, site: bool) -> str:
    """A row a command, a column a number of copies, and the cost of one more chapter."""
    commands = {name: words for name, words in COMMANDS.items() if site or "site" not in words}
    books = {n: book_with_copies(folder / f"copies-{n}", n) for n in copies}
    calls = books.items() if site else ()
    first = {(FIRST_SITE, n): [medbook(book, "site")] for n, book in calls}
    arms = {
        (name, n): partial(medbook, book, *command)
        for name, command in commands.items()
        for n, book in books.items()
    }
    found = interleaved(arms, rounds) | first
    few, many = min(copies), max(copies)
    rows = []
    for name in (*commands, *([FIRST_SITE] if site else [])):
        ends = zip(found[name, few], found[name, many], strict=True)
        slope = statistics.median((last - first) / (many - few) for first, last in ends)
        rows.append([name, *(spread(found[name, n]) for n in copies), f"{1000 * slope:.0f}"])
    return table(["command", *(f"copies: {n}" for n in copies), "a chapter, ms"], rows)


def medbook(project: Project, *command: str) -> float:
    """Time of a `medbook` command."""
    start = [sys.executable, "-c", "from medbook._book.cli import main; main()"]
    return call(project, *start, *command, accepted=(0, FINDINGS) if command[0] in CHECKS else (0,))


def call(project: Project, *command: str, accepted: tuple[int, ...] = (0,)) -> float:
    """Time of a command in a copy of the book, with that copy's sources."""
    env = os.environ | {"PYTHONPATH": str(project.root)}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=project.root, env=env, capture_output=True, text=True)
    taken = time.perf_counter() - start
    if done.returncode not in accepted:
        raise SystemExit(f"{' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return taken


if __name__ == "__main__":
    main()
