"""The committed notebooks: do they still run, and print what is stored in them?"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple
from xml.etree import ElementTree

import nbformat
from nbformat import NotebookNode
from rich.console import Console

from medbook._book import keys
from medbook._book.checks.sound import despite_digest
from medbook._book.project import Chapter, Project, read_notebook
from medbook._book.runs import death
from medbook._book.runs.failure import ANSI, title_of
from medbook._book.runs.job import environment
from medbook._book.runs.pace import expected_of
from medbook._book.runs.plan import make_plan, outdated
from medbook._book.runs.watch import Watch
from medbook._book.stored.state import judge
from medbook.record import results
from medbook.trials import parallel

Which = Literal["changed", "all"]
Decision = tuple[bool, str]  # is it due, and why (not)

CONFTEST = Path(__file__).with_name("nbval_watch.py")
COMPARED = re.compile(r"reference_output == test_output failed:\s+(.+)")  # nbval's words
DIFFERS = "output differs, stored == here fails:"
MEASURED_AT = "laptop"  # profile of the results that a committed notebook belongs to
CHECKED = "nbval-check-output"
REASONS = 3  # as many are named; an edited chapter may have changed in every cell


class Cells(NamedTuple):
    """What became of one notebook: was it executed again, why (not), and what failed."""

    chapter: Chapter
    executed: bool
    why: str
    failures: list[str]


def check_cells(
    project: Project, chapters: Sequence[Chapter], which: Which, console: Console
) -> list[Cells]:
    """What the tagged cells of the committed notebooks print must hold at smoke, too.

    A notebook is executed again, or what is stored in it is compared with the last smoke run: that
    has executed the same code, as long as nothing has changed.

    Args:
        project: the checkout.
        chapters: which ones; those without a notebook are left out.
        which: "changed": execute those whose results are not `current`, as something that they
            depend on has changed; "all": the others too. What has passed on this machine is
            remembered until the notebook or the sources change.
        console: told what is executed and what is not, and why.

    Returns:
        one entry a notebook.
    """
    published = [chapter for chapter in chapters if project.notebook(chapter.id).exists()]
    decisions = [_due(project, chapter, which) for chapter in published]
    _tell(published, decisions, console)
    jobs = min(parallel.threads(), sum(due for due, _ in decisions)) or 1
    threads = parallel.threads() // jobs

    def check(chapter: Chapter, decision: Decision) -> Cells:
        due, why = decision
        failures = _execute(project, chapter, threads) if due else _compare(project, chapter)
        return Cells(chapter, due, why, failures)

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(check, published, decisions))


def _due(project: Project, chapter: Chapter, which: Which) -> Decision:
    fingerprint, stamp = _fingerprint(project, chapter), _stamp(project, chapter)
    if fingerprint and stamp.exists() and stamp.read_text(encoding="utf-8") == fingerprint:
        return False, "passed on this machine before"
    if which == "all":
        return True, "asked for"
    found = judge(project, chapter, MEASURED_AT)
    if found.name == "current":
        return False, "nothing changed since it was published"
    return True, f"{found.name}: {', '.join(found.reasons[:REASONS])}"


def _tell(chapters: Sequence[Chapter], decisions: Sequence[Decision], console: Console) -> None:
    """A line a notebook that is executed, a line for all that are left out for one reason."""
    left: dict[str, list[str]] = {}
    for chapter, (due, why) in zip(chapters, decisions, strict=True):
        if due:
            console.print(
                f"notebook executed again: {chapter.id} ({why})", soft_wrap=True, markup=False
            )
        else:
            left.setdefault(why, []).append(chapter.id)
    for why, names in left.items():
        console.print(
            f"not executed again, {why}: {', '.join(names)}", soft_wrap=True, markup=False
        )


def _compare(project: Project, chapter: Chapter) -> list[str]:
    """Tagged cells of a notebook against those of an up-to-date smoke run, if there is one."""
    plan = make_plan(project, "smoke")
    if outdated(plan, chapter):
        return []
    path = project.notebook(chapter.id)
    stored, here = (keys.code_cells(read_notebook(p)) for p in (path, plan.notebook(chapter)))
    return [
        f"book/notebooks/{path.name}: cell {number} ({title_of(cell.source)}): "
        f"{DIFFERS} {_printed(cell)!r} == {_printed(now)!r}"
        for number, (cell, now) in enumerate(zip(stored, here, strict=False), 1)
        if CHECKED in cell.metadata.get("tags", []) and _printed(cell) != _printed(now)
    ]


def _printed(cell: NotebookNode) -> str:
    """What a cell shows as plain text; messages on stderr are not stored."""
    shown = (o for o in cell.outputs if o.get("name") != "stderr")
    return "".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in shown)


def _execute(project: Project, chapter: Chapter, threads: int) -> list[str]:
    """Execute a notebook; remember if it passed."""
    stamp = _stamp(project, chapter)
    stamp.unlink(missing_ok=True)
    fingerprint = _fingerprint(project, chapter)
    failures = _nbval(project, chapter, threads)
    if fingerprint and not failures:
        results.write_atomic(stamp, fingerprint)
    return failures


def _stamp(project: Project, chapter: Chapter) -> Path:
    return project.build / "verify" / f"{chapter.id}.json"


def _fingerprint(project: Project, chapter: Chapter) -> str:
    """What the check depends on; empty as long as there is no smoke run to tell."""
    plan = make_plan(project, "smoke")
    if outdated(plan, chapter):
        return ""
    key = results.load(plan.results(chapter))["key"]
    notebook = project.notebook(chapter.id).read_bytes()
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode() + notebook).hexdigest()


def _nbval(project: Project, chapter: Chapter, threads: int) -> list[str]:
    notebook = project.notebook(chapter.id)
    scratch = project.build / "scratch" / f"{chapter.id}.nbval"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    copy = Path(shutil.copy(notebook, scratch))  # nbval runs where the notebook lies
    (scratch / "pytest.ini").write_text("[pytest]\n")  # not the options of the book's own tests
    shutil.copy(CONFTEST, scratch / "conftest.py")
    report, progress = scratch / "report.xml", scratch / "progress.jsonl"
    process = subprocess.Popen(
        [
            sys.executable, "-m", "pytest", "--nbval-lax", copy.name, f"--junitxml={report}",
            "--color=no", "-p", "no:cacheprovider",
        ],
        cwd=scratch,
        env=environment(
            project.root, project.build, scratch / "out", "smoke", threads,
            {"PYTEST_ADDOPTS": "", "MEDBOOK_PROGRESS": str(progress)},
        ),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, encoding="utf-8",
    )  # fmt: skip
    expected = expected_of(despite_digest(project.published(chapter.id, "smoke")) or None)
    with Watch(process.pid, progress, expected, lambda *_: None) as watch:
        said, _ = process.communicate()
    failures = _failed_cells(notebook, scratch, watch.stalled) if report.exists() else []
    if process.returncode and not failures:
        last = watch.stalled or "".join(said.strip().splitlines()[-1:])
        return [f"book/notebooks/{notebook.name}: nbval failed: {last}"]
    return failures


def _failed_cells(notebook: Path, scratch: Path, stalled: str) -> list[str]:
    """Messages of nbval, its cell numbers (of all code cells, from 0) turned into ours."""
    log = scratch / "kernel.log"
    messages = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    read = nbformat.read(notebook, 4)
    code = [cell for cell in read.cells if cell.cell_type == "code"]
    ours = {cell["id"]: number for number, cell in enumerate(keys.code_cells(read), 1)}
    found = []
    for case in ElementTree.parse(scratch / "report.xml").iter("testcase"):
        for failure in (*case.iter("failure"), *case.iter("error")):
            cell = code[int(str(case.get("name")).split()[-1])]
            number = f"cell {ours[cell['id']]}" if cell["id"] in ours else "the install cell"
            title, why = title_of(cell.source), stalled or _reason(failure.text or "", messages)
            found.append(f"book/notebooks/{notebook.name}: {number} ({title}): {why}")
            if not why.startswith(DIFFERS):
                return found  # cells after one that raised fail for its sake
    return found


def _reason(text: str, kernel: str) -> str:
    """One line out of nbval's message: the exception, or what was printed instead of what.

    Args:
        text: the message.
        kernel: what the kernel wrote on stderr; after a crash it tells in which library that was.
    """
    plain = ANSI.sub("", text)
    if death.STATUS.search(plain):
        return f"the kernel died: {death.cause([kernel, plain])}"
    if compared := COMPARED.search(plain):
        return f"{DIFFERS} {compared.group(1)}"
    head, _, traceback = plain.partition("Traceback:")
    lines = [line.strip() for line in traceback.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    return (named[-1:] or lines[:1] or head.strip().splitlines()[1:2] or ["failed"])[0]
