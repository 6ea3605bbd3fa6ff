"""Running chapters: what fails is named, what is done is not done again."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from book_fixtures import BROKEN, CLAIMING, KILLED, Book, quick
from rich.console import Console

from medbook import paths, results
from medbook._book import execute
from medbook._book.execute import Outcome
from medbook._book.failure import title_of
from medbook._book.project import Project
from medbook.errors import MedbookError

COMMAND = [sys.executable, "-c", "from medbook._book.cli import main; main()"]
NO_FINISH = "\n# %%\nprint('no results')\n"


def run(book: Book, *names: str, jobs: int = 2, force: bool = False) -> dict[str, Outcome]:
    plan = execute.make_plan(book.project, "smoke", jobs=jobs)
    outcomes = execute.run(plan, book.project.select(list(names)), Console(), force=force)
    return {outcome.chapter.id: outcome for outcome in outcomes}


def files(book: Book) -> set[str]:
    return {path.name for path in book.project.run_folder("smoke").iterdir()}


@pytest.mark.slow
def test_a_failed_chapter_is_named_by_cell_and_stops_no_other(book: Book) -> None:
    book.add("broken", BROKEN)
    book.add("silent", NO_FINISH)
    book.add("working", quick("working"))
    outcomes = run(book)
    assert [(name, outcome.state) for name, outcome in sorted(outcomes.items())] == [
        ("broken", "failed"), ("silent", "failed"), ("working", "ran"),
    ]  # fmt: skip
    lines = book.source("broken").read_text().splitlines()
    line = lines.index('raise ValueError("this cell raises")')
    expected = f"chapters/trust/broken.py:{line + 1}: cell 2 (x = 1): ValueError: this cell raises"
    assert str(outcomes["broken"].failure) == expected
    assert "the last cell must call run.finish()" in str(outcomes["silent"].failure)
    assert files(book) == {
        "broken.failed.ipynb", "silent.failed.ipynb", "working.ipynb", "working.smoke.json",
    }  # fmt: skip


@pytest.mark.slow
def test_a_killed_kernel_gets_a_second_chance_and_is_then_named(book: Book) -> None:
    log = book.root / "log"
    book.add("killed", KILLED.format(log=log, deaths=9))
    book.add("shaky", KILLED.format(log=book.root / "log2", deaths=1) + quick("shaky"))
    outcomes = run(book)
    assert log.read_text().count("started") == 2
    failure = str(outcomes["killed"].failure)
    assert "chapters/trust/killed.py:" in failure and "cell 2 (import os, signal)" in failure
    assert "the kernel died" in failure
    assert outcomes["shaky"].state == "ran"


@pytest.mark.slow
def test_a_cell_that_never_ends_is_stopped(book: Book) -> None:
    book.add("endless", "\n# %%\nimport time\ntime.sleep(60)\n")
    book.edit("chapters/trust/endless.py", "level: easy", "level: easy\n#     timeout: 1")
    failure = str(run(book)["endless"].failure)
    assert "cell 2 (import time)" in failure and "timed out" in failure.lower()


@pytest.mark.slow
def test_up_to_date_chapters_are_skipped(book: Book) -> None:
    book.add("one", quick("one"))
    assert run(book)["one"].state == "ran"
    written = book.project.run_folder("smoke") / "one.smoke.json"
    before = written.stat().st_mtime_ns
    assert run(book)["one"].state == "up to date"
    assert written.stat().st_mtime_ns == before
    book.edit("chapters/trust/one.py", "# %%\nresults", "# %%\n# a comment\nresults")
    assert run(book)["one"].state == "up to date"
    plan = execute.make_plan(book.project, "smoke")
    book.edit("chapters/trust/one.py", '"seconds": 0.1', '"seconds": 0.2')
    [chapter] = book.project.chapters()
    assert execute.outdated(plan, chapter) == ["chapters/trust/one.py cell 3"]
    assert run(book)["one"].state == "ran"
    assert results.load(written)["seconds"] == 0.2
    assert not (book.project.build / "scratch").exists() or not any(
        (book.project.build / "scratch").iterdir()
    )


@pytest.mark.slow
def test_a_claim_without_a_value_and_a_value_without_a_claim_are_named(book: Book) -> None:
    book.add("lacking", CLAIMING.format(id="lacking", claim="lacking-1"),
             claims=("lacking-1", "lacking-2"))  # fmt: skip
    book.add("foreign", CLAIMING.format(id="foreign", claim="foreign-9"), claims=("foreign-1",))
    outcomes = run(book)
    lacking, foreign = (str(outcomes[name].failure) for name in ("lacking", "foreign"))
    assert "chapters/trust/lacking.py:" in lacking and "cell 4 (run.finish())" in lacking
    assert "no value was given for claim lacking-2" in lacking
    assert "chapters/trust/foreign.py:" in foreign and "cell 3 (run.claim(" in foreign
    assert "'foreign-9' is not in systems.yml" in foreign


@pytest.mark.slow
def test_an_interrupted_run_leaves_nothing_half_and_goes_on(book: Book) -> None:
    wait = book.root / "wait"
    wait.touch()
    book.add("a_first", quick("a_first"))
    book.add("b_second", quick("b_second", wait=str(wait)))
    out = book.project.run_folder("smoke")
    process = subprocess.Popen(
        [*COMMAND, "run", "--profile", "smoke", "--jobs", "1"],
        cwd=book.root, env=os.environ | {"PYTHONPATH": str(paths.PACKAGE.parent)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # if it is ignored here
    )  # fmt: skip
    until((out / "b_second.partial.ipynb").exists)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert messages.startswith("interrupted") and "Traceback" not in messages
    assert psutil.wait_procs(children, timeout=20)[1] == []  # no kernel is left behind
    assert {"a_first.ipynb", "a_first.smoke.json"} <= files(book)
    assert not {"b_second.ipynb", "b_second.smoke.json"} & files(book)
    wait.unlink()
    states = {name: outcome.state for name, outcome in run(book).items()}
    assert states == {"a_first": "up to date", "b_second": "ran"}


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_the_kernel_gets_this_interpreter_and_writes_below_the_build_folder(book: Book) -> None:
    env = execute.environment(book.project, "smoke", Path("out"), 2, {"MORE": "1"})
    assert env["MEDBOOK_ROOT"] == str(book.root) and env["MORE"] == "1"
    assert env["MEDBOOK_OUT"] == "out" and env["OMP_NUM_THREADS"] == "1"
    for name in ("IPYTHONDIR", "MPLCONFIGDIR", "JUPYTER_PATH", "JUPYTER_RUNTIME_DIR"):
        assert Path(env[name]).is_relative_to(book.project.build)
    spec = Path(env["JUPYTER_PATH"]) / "kernels/python3/kernel.json"
    assert sys.executable in spec.read_text()


def test_threads_are_shared_and_permutation_is_not_inherited(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDBOOK_THREADS", "8")
    monkeypatch.setenv("MEDBOOK_PERMUTE_TEST", "1")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    env = execute.environment(book.project, "laptop", Path("out"), 3, {})
    assert env["MEDBOOK_THREADS"] == "2"
    assert "MEDBOOK_PERMUTE_TEST" not in env and "OMP_NUM_THREADS" not in env
    assert execute.make_plan(book.project, "smoke").jobs == 8
    assert execute.make_plan(book.project, "laptop").jobs == 1


@pytest.mark.parametrize(("profile", "jobs"), [("smoke", -1), ("gpu", 2)])
def test_impossible_jobs_are_refused(book: Book, profile: str, jobs: int) -> None:
    with pytest.raises(MedbookError, match="jobs is"):
        execute.make_plan(book.project, profile, jobs=jobs)


def test_a_cell_of_comments_has_a_title() -> None:
    assert title_of("# only this\n\n") == "empty"


def test_a_relative_data_folder_is_found_by_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDBOOK_DATA", "some/data")
    found = execute.environment(Project(tmp_path), "smoke", tmp_path, 1, {})
    assert found["MEDBOOK_DATA"] == str(tmp_path / "some/data")
