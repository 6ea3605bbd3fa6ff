"""Running chapters: what fails is named, what is done is not done again."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nbformat
import psutil
import pytest
from book_fixtures import BROKEN, CLAIMING, KILLED, Book, quick
from rich.console import Console

from medbook import paths
from medbook._book.runs import execute, job, lock, pace, watch
from medbook._book.runs.execute import Outcome
from medbook._book.runs.failure import title_of
from medbook._book.runs.job import environment
from medbook._book.runs.local import jobs_here
from medbook._book.runs.plan import load_run, make_plan, make_plans, outdated
from medbook.errors import MedbookError
from medbook.record import results, session

COMMAND = [sys.executable, "-c", "from medbook._book.cli import main; main()"]
DEAF = """
# %%
import signal, time
from pathlib import Path

log = Path("{log}")
log.write_text((log.read_text() if log.exists() else "") + "started ")
signal.signal(signal.SIGINT, signal.SIG_IGN)
time.sleep(60)
"""
TRIALS = """
# %%
import json, os, time
line = {"function": "fit", "done": 1, "total": 1, "seconds": 8.0}
with open(os.environ["MEDBOOK_PROGRESS"], "a") as file:
    print(json.dumps(line), file=file)
time.sleep(2)
"""
NO_FINISH = "\n# %%\nprint('no results')\n"


def run(book: Book, *names: str, jobs: int = 2, force: bool = False) -> dict[str, Outcome]:
    plan = make_plan(book.project, "smoke")
    chapters = book.project.select(list(names))
    outcomes = execute.run([plan], chapters, Console(), jobs=jobs, force=force)
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
    assert outcomes["shaky"].failure is None


@pytest.mark.slow
def test_a_cell_that_never_ends_is_stopped(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "UNKNOWN_SECONDS", 10)
    book.add("endless", "\n# %%\nimport time\ntime.sleep(60)\n")
    failure = str(run(book)["endless"].failure)
    assert "cell 2 (import time): stopped: no cell and no trial has finished for 10 s" in failure


@pytest.mark.slow
def test_a_kernel_that_does_not_react_is_killed_and_not_tried_again(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "UNKNOWN_SECONDS", 10)
    monkeypatch.setattr(watch, "GRACE_SECONDS", 1)
    log = book.root / "log"
    book.add("deaf", DEAF.format(log=log))
    failure = str(run(book)["deaf"].failure)
    assert "cell 2 (import signal, time): stopped: no cell and no trial" in failure
    assert log.read_text() == "started "


@pytest.mark.slow
@pytest.mark.parametrize(("number", "says"), [(9, "out of memory?"), (11, "ctypes_crash crashed")])
def test_what_ended_a_kernel_is_told(book: Book, number: int, says: str) -> None:
    """A crash names the library in whose code it was."""
    library = book.root / "site-packages/ctypes_crash"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text(
        "import os\ndef end(signal): os.kill(os.getpid(), signal)\n"
    )
    path = f"import sys\nsys.path.insert(0, {str(library.parent)!r})\n"
    book.add("dying", f"\n# %%\n{path}import ctypes_crash\nctypes_crash.end({number})\n")
    failure = str(run(book)["dying"].failure)
    name = signal.Signals(number).name
    assert f"the kernel died, twice: signal {number} ({name}): {says}" in failure


@pytest.mark.slow
def test_a_run_tells_how_long_it_will_take(book: Book) -> None:
    """From the trials that have finished, each beside its stored time."""
    book.add("one", TRIALS + quick("one"))
    [chapter], plan, told = book.project.chapters(), make_plan(book.project, "smoke"), []
    stored = {"schema": results.SCHEMA, "seconds": 20.0, "trials": {"fit": {"seconds": [4.0]}}}
    results.save(stored, book.project.published("one", "smoke"))
    made = job.make_job(plan, chapter)
    with job.Lifeline() as lifeline:
        folder = book.root / "_build/scratch/one"
        job.execute(made, book.project.build, folder, 1, lifeline, lambda *at: told.append(at))
    assert told[0] == (0, None)
    first, last = (next(left for _, left in order if left) for order in (told[1:], told[::-1]))
    assert 10 < first <= 20  # as long as the stored run, less what has passed
    assert 20 < last <= 40  # a trial took twice as long as the stored one


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
    plan = make_plan(book.project, "smoke")
    book.edit("chapters/trust/one.py", '"seconds": 0.1', '"seconds": 0.2')
    [chapter] = book.project.chapters()
    assert outdated(plan, chapter) == ["chapters/trust/one.py cell 3"]
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
    assert "'foreign-9' is not in book/claims/foreign.yml" in foreign


@pytest.mark.slow
def test_the_longest_chapter_starts_first(book: Book) -> None:
    times = {"a_short": 1.0, "b_long": 9.0, "c_never_run": None, "d_longest_here": 99.0}
    for id, seconds in times.items():
        book.add(id, quick(id))
        if seconds:
            here = make_plan(book.project, "smoke").results(book.project.select([id])[0])
            path = here if "here" in id else book.project.published(id, "smoke")
            path.parent.mkdir(parents=True, exist_ok=True)
            results.save({"schema": results.SCHEMA, "seconds": seconds}, path)
    outcomes = run(book, jobs=1)
    assert list(outcomes) == list(times)  # told in the order of the book
    made = {
        path.stem: path.stat().st_mtime_ns for path in book.root.glob("_build/run/smoke/*.ipynb")
    }
    assert sorted(made, key=made.__getitem__) == [
        "c_never_run", "d_longest_here", "b_long", "a_short",
    ]  # fmt: skip


def waiting_run(book: Book) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """`medbook run` in the middle of its second chapter, and the processes that it started."""
    book.add("a_first", quick("a_first"))
    book.add("b_second", quick("b_second", wait=str(book.root / "wait")))
    begin = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])\n"
        f"Path({str(book.root / 'begun')!r}).touch()\nwhile"
    )
    book.edit("chapters/trust/b_second.py", "while", begin)
    (book.root / "wait").touch()
    process = subprocess.Popen(
        [*COMMAND, "run", "--profile", "smoke", "--jobs", "1"],
        cwd=book.root, env=os.environ | {"PYTHONPATH": str(paths.PACKAGE.parent)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # if it is ignored here
    )  # fmt: skip
    until((book.root / "begun").exists)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3  # papermill, the kernel, and what the chapter has started
    return process, children


@pytest.mark.slow
def test_an_interrupted_run_leaves_nothing_half_and_goes_on(book: Book) -> None:
    process, children = waiting_run(book)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert messages.startswith("interrupted") and "Traceback" not in messages
    assert psutil.wait_procs(children, timeout=20)[1] == []  # no kernel is left behind
    assert files(book) == {"a_first.ipynb", "a_first.smoke.json"}
    (book.root / "wait").unlink()
    states = {name: outcome.state for name, outcome in run(book).items()}
    assert states == {"a_first": "up to date", "b_second": "ran"}


@pytest.mark.slow
def test_a_killed_run_takes_its_kernels_with_it_and_gives_the_lock_back(book: Book) -> None:
    process, children = waiting_run(book)
    with pytest.raises(MedbookError, match=r"another run is writing into .*run/smoke: wait"):
        run(book, "b_second")
    assert run(book, "a_first")["a_first"].state == "up to date"  # reading needs no lock
    process.kill()
    process.communicate()
    assert psutil.wait_procs(children, timeout=20)[1] == []
    (book.root / "wait").unlink()
    assert run(book, "b_second")["b_second"].state == "ran"
    assert not any((book.project.build / "scratch").iterdir())


def test_two_runs_may_write_into_different_folders(book: Book) -> None:
    one, two = make_plans(book.project, "smoke", [1, 2], None)
    with lock.writing([one]), lock.writing([two]), pytest.raises(MedbookError, match="smoke-seed2"):
        lock.writing([two, one]).__enter__()
    with lock.writing([one, two]):
        pass


@pytest.mark.slow
def test_the_runs_of_several_seeds_lie_side_by_side(book: Book) -> None:
    book.add("one", quick("one"))
    plans = make_plans(book.project, "smoke", [None, 4, 4], book.root / "pool")
    outcomes = execute.run(plans, book.project.chapters(), Console())
    assert [(o.name, o.state) for o in outcomes] == [("one", "ran"), ("one (seed 4)", "ran")]
    for seed, folder in [(0, "smoke"), (4, "smoke-seed4")]:
        assert results.load(book.root / "pool" / folder / "one.smoke.json")["seed"] == seed
    outcomes = execute.run(plans, book.project.chapters(), Console())
    assert {outcome.state for outcome in outcomes} == {"up to date"}


@pytest.mark.slow
def test_a_chapter_runs_from_the_seed_of_its_parameters(book: Book) -> None:
    book.add("one", quick("one"))
    book.add("two", quick("two"))
    book.edit("chapters/trust/two.py", "seed = 0", "seed = 11")
    run(book)
    folder = book.project.run_folder("smoke")
    assert [results.load(folder / f"{id}.smoke.json")["seed"] for id in ("one", "two")] == [0, 11]
    assert run(book)["two"].state == "up to date"
    book.edit("chapters/trust/two.py", "seed = 11", "seed = 12")
    [_, two] = book.project.chapters()
    assert outdated(make_plan(book.project, "smoke"), two) == ["seed"]


def test_a_chapter_without_a_seed_is_named(book: Book) -> None:
    book.add("one", quick("one"))
    book.edit("chapters/trust/one.py", "seed = 0", "seed = None")
    with pytest.raises(MedbookError, match=r"trust/one.py: its cell of parameters sets no `seed"):
        _ = book.project.chapters()[0].seed


@pytest.mark.slow
def test_a_forced_run_that_fails_leaves_no_results(book: Book) -> None:
    book.add("one", quick("one"))
    run(book)
    book.edit("chapters/trust/one.py", "text = json", "raise SystemError\ntext = json")
    assert run(book)["one"].state == "failed"
    assert files(book) == {"one.ipynb", "one.failed.ipynb"}


def test_other_versions_or_another_device_make_a_run_outdated(
    published: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    [chapter] = published.project.chapters()
    plan = make_plan(published.project, "smoke")
    assert outdated(plan, chapter) == []
    here = session.environment(session.torch.device("cpu"))
    monkeypatch.setattr(session, "environment", lambda device: here | {"torch": "9.9", "new": "1"})
    assert outdated(plan, chapter) == [f"torch ({here['torch']} then, 9.9 now)"]
    rewrite(plan, chapter, cluster=True)  # what other machines measured cannot be judged here
    assert outdated(plan, chapter) == []


def rewrite(plan, chapter, **changed) -> None:
    """Change stored results as a run would write them."""
    stored, notebook = load_run(plan, chapter)
    execute._store(plan, chapter, stored | changed, nbformat.writes(notebook))


def test_results_and_notebook_of_two_runs_are_not_taken_together(published: Book) -> None:
    [chapter] = published.project.chapters()
    plan = make_plan(published.project, "smoke")
    stored = results.load(plan.results(chapter))
    results.save(stored | {"seconds": 99.0}, plan.results(chapter))
    assert outdated(plan, chapter) == ["the notebook is of another run"]


@pytest.mark.slow
def test_sources_that_change_while_a_run_begins_are_noticed(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.add("one", quick("one"))
    before = job._package() | {"medbook/evaluate/stats.py": "0" * 64}
    found = iter([before, job._package()])
    monkeypatch.setattr(job, "_package", lambda: next(found))
    failure = str(run(book)["one"].failure)
    assert "is not that of the run (medbook/evaluate/stats.py differ)" in failure


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_the_kernel_gets_this_interpreter_and_writes_below_the_build_folder(tmp_path: Path) -> None:
    build = tmp_path / "build"
    env = environment(tmp_path, build, Path("out"), "smoke", 3, {"MORE": "1"})
    assert env["MEDBOOK_ROOT"] == str(tmp_path) and env["MORE"] == "1"
    assert env["MEDBOOK_OUT"] == "out" and env["OMP_NUM_THREADS"] == "1"
    assert env["MEDBOOK_THREADS"] == "3"
    for name in ("IPYTHONDIR", "MPLCONFIGDIR", "JUPYTER_PATH", "JUPYTER_RUNTIME_DIR"):
        assert Path(env[name]).is_relative_to(build)
    [kernel] = build.rglob("kernel.json")
    assert sys.executable in kernel.read_text()


def test_a_run_inherits_neither_a_permutation_nor_what_dask_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDBOOK_PERMUTE_TEST", "1")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    env = environment(tmp_path, tmp_path, Path("out"), "laptop", 2, {})
    unwanted = {"MEDBOOK_PERMUTE_TEST", "MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS"}
    assert not unwanted & env.keys() and env["MEDBOOK_THREADS"] == "2"


def test_jobs_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDBOOK_THREADS", "8")
    assert jobs_here("smoke", None) == 8
    assert jobs_here("laptop", None) == jobs_here("gpu", None) == 1
    assert jobs_here("laptop", 3) == 3


@pytest.mark.parametrize(("profile", "jobs"), [("smoke", -1), ("gpu", 2)])
def test_impossible_jobs_are_refused(profile: str, jobs: int) -> None:
    with pytest.raises(MedbookError, match="jobs is"):
        jobs_here(profile, jobs)


def test_a_cell_of_comments_has_a_title() -> None:
    assert title_of("# only this\n\n") == "empty"


def test_a_relative_data_folder_is_found_by_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDBOOK_DATA", "some/data")
    found = environment(tmp_path, tmp_path, tmp_path, "smoke", 1, {})
    assert found["MEDBOOK_DATA"] == str(tmp_path / "some/data")
