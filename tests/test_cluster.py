"""The same jobs on a Dask cluster of real worker processes, on this machine."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import distributed
import psutil
import pytest
from book_fixtures import BROKEN, Book, quick
from rich.console import Console

from medbook import paths
from medbook._book.runs import cluster, execute
from medbook._book.runs.execute import Outcome
from medbook._book.runs.job import make_job
from medbook._book.runs.plan import Plan, load_run, make_plans, outdated
from medbook.errors import MedbookError
from medbook.trials import cluster as trials_cluster

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from medbook._book.cli import main; main()"]
SEEDS = [0, 3]

# Notes begin and end in `log`, with the process of the worker: the parent of papermill, which is
# the parent of the kernel. The job named by `stop` waits in between as long as a file exists.
NOTED = """
# %%
import os, psutil, time
from pathlib import Path

log, name = Path("{root}/log"), f"{id}-{{seed}}"
worker = psutil.Process().parent().parent().pid
with log.open("a") as file:
    file.write(f"begin {{name}} {{worker}} {{os.environ['MEDBOOK_THREADS']}}\\n")
while name == "{stop}" and Path("{root}/wait").exists():
    time.sleep(0.05)
with log.open("a") as file:
    file.write(f"end {{name}} {{worker}}\\n")
"""
# The trial named "stops" waits as long as a file exists.
MAPPED = """
# %% tags=["define"]
import os
import time
from pathlib import Path

def note(text):
    with Path("{root}/log").open("a") as file:
        file.write(f"{{text}} {{os.getpid()}}\\n")

def trial(name):
    note(f"begin {{name}}")
    while name == "stops" and Path("{root}/wait").exists():
        time.sleep(0.05)
    note(f"end {{name}}")
    return name

# %%
import medbook

run = medbook.start("{id}", profile, seed)
names = [*"abc", "stops", *"defgh"]
assert run.map(trial, names) == names
run.finish()
"""
DEADLY = """
# %%
import psutil

psutil.Process().parent().parent().kill()
"""


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[distributed.LocalCluster]:
    """Two worker processes of one thread each; two deaths and a job is given up."""
    settings = {
        "distributed.scheduler.allowed-failures": 1,
        "temporary-directory": str(tmp_path_factory.mktemp("workers")),
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as started,
    ):
        yield started


def run(
    book: Book, workers: distributed.LocalCluster, plans: list[Plan], console: Console | None = None
) -> dict[str, Outcome]:
    chapters, scheduler = book.project.chapters(), workers.scheduler_address
    outcomes = execute.run(plans, chapters, console or Console(), scheduler=scheduler)
    return {outcome.name: outcome for outcome in outcomes}


def plans_of(book: Book, out: str, profile: str = "smoke") -> list[Plan]:
    return make_plans(book.project, profile, [None], book.root / out)


def add_noted(book: Book, id: str, stop: str = "") -> None:
    book.add(id, NOTED.format(root=book.root, id=id, stop=stop) + quick(id))


def noted(book: Book, *begin: str) -> list[list[str]]:
    """What the log says, of lines that begin with these words."""
    log = book.root / "log"
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [line for line in lines if line[: len(begin)] == list(begin)]


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_a_job_whose_worker_is_killed_is_done_elsewhere_and_once(
    book: Book, workers: distributed.LocalCluster
) -> None:
    for id in "ab":
        add_noted(book, id, stop="b-3")
    (book.root / "wait").touch()
    seeds = [argument for seed in SEEDS for argument in ("--seed", str(seed))]
    process = subprocess.Popen(
        [*COMMAND, "run", "--profile", "smoke", *seeds, "--out", "there",
         "--scheduler", workers.scheduler_address],
        cwd=book.root, env=os.environ | {"PYTHONPATH": str(paths.PACKAGE.parent)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: noted(book, "begin", "b-3"))
    worker = psutil.Process(int(noted(book, "begin", "b-3")[0][2]))
    started = worker.children(recursive=True)
    assert len(started) >= 2  # papermill and the kernel
    worker.kill()
    assert psutil.wait_procs(started, timeout=10)[1] == []
    (book.root / "wait").unlink()
    output, messages = process.communicate(timeout=60)
    assert (process.returncode, messages) == (0, "")

    names = {(id, seed): f"{id} (seed {seed})" for id in "ab" for seed in SEEDS}
    assert output.splitlines()[-4:] == [f"{names[id, s]}: ran" for s in SEEDS for id in "ab"]
    counts = Counter((line[0], line[1]) for line in noted(book))
    for id, seed in names:
        assert counts["begin", f"{id}-{seed}"] == (2 if (id, seed) == ("b", 3) else 1)
        assert counts["end", f"{id}-{seed}"] == 1

    here, there = (make_plans(book.project, "smoke", SEEDS, book.root / o) for o in ("h", "there"))
    execute.run(here, book.project.chapters(), Console())
    for one, other in zip(here, there, strict=True):
        assert {path.name for path in one.out.iterdir()} == {p.name for p in other.out.iterdir()}
        for chapter in book.project.chapters():
            assert outdated(other, chapter) == []
            (local, notebook), (remote, same) = load_run(one, chapter), load_run(other, chapter)
            assert remote.pop("cluster") is True
            assert local | {"digest": ""} == remote | {"digest": ""}
            assert [c.source for c in notebook.cells] == [c.source for c in same.cells]


def test_a_chapter_alone_sends_its_trials_and_a_killed_worker_costs_one(
    book: Book, workers: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDBOOK_TRIALS", str(book.root / "trials"))
    book.add("one", MAPPED.format(root=book.root, id="one"))
    (book.root / "wait").touch()
    with ThreadPoolExecutor(1) as pool:
        outcomes = pool.submit(run, book, workers, plans_of(book, "out"))
        try:
            until(lambda: len(noted(book, "end")) == 8 or outcomes.done())
            os.kill(int(noted(book, "begin", "stops")[0][2]), signal.SIGKILL)
        finally:
            (book.root / "wait").unlink()
        assert outcomes.result(60)["one"].failure is None
    counts = Counter(line[0] + " " + line[1] for line in noted(book))
    assert counts.pop("begin stops") == 2
    assert set(counts.values()) == {1}
    stored = load_run(plans_of(book, "out")[0], book.project.chapters()[0])[0]
    assert len(stored["trials"]["trial"]["keys"]) == 9
    assert stored["cluster"] is True


def test_failures_have_the_same_words_as_on_this_machine(
    book: Book, workers: distributed.LocalCluster
) -> None:
    book.add("broken", BROKEN)
    book.add("deadly", DEADLY)
    book.add("working", quick("working"))
    outcomes = run(book, workers, plans_of(book, "there"))
    assert outcomes["working"].state == "ran"
    reason = str(outcomes["deadly"].failure)
    assert reason.startswith("chapters/trust/deadly.py: 2 workers died while they ran it, the last")
    assert "out of memory?" in reason
    broken = [c for c in book.project.chapters() if c.id == "broken"]
    [local] = execute.run(plans_of(book, "here"), broken, Console())
    assert outcomes["broken"].failure == local.failure is not None
    assert {path.name for path in (book.root / "there/smoke").iterdir()} == {
        "broken.failed.ipynb", "working.ipynb", "working.smoke.json",
    }  # fmt: skip


def test_a_worker_with_another_medbook_is_one_clear_failure(
    book: Book, workers: distributed.LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for id in ("one", "two"):  # more than one, so that each is a job
        book.add(id, quick(id))
    copy = tmp_path / "other/medbook"
    shutil.copytree(paths.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "show/tables.py").write_text("changed = True\n")
    monkeypatch.setattr(paths, "PACKAGE", copy)
    failure = str(run(book, workers, plans_of(book, "there"))["one"].failure)
    assert "is not that of the run (medbook/show/tables.py differ): use the same version" in failure
    assert "\n" not in failure


def test_a_gpu_job_waits_for_a_worker_with_a_gpu_and_takes_its_share_of_the_threads(
    book: Book, workers: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDBOOK_THREADS", "6")
    add_noted(book, "one")
    console = Console(record=True)

    async def start() -> distributed.Worker:
        return await distributed.Worker(workers.scheduler_address, nthreads=2, resources={"GPU": 1})

    with ThreadPoolExecutor(1) as pool:
        outcomes = pool.submit(run, book, workers, plans_of(book, "out", "gpu"), console)
        until(lambda: any(task.state == "no-worker" for task in workers.scheduler.tasks.values()))
        assert noted(book) == []
        worker = workers.sync(start)
        assert outcomes.result(60)["one"].state == "ran"
    workers.sync(worker.close)
    assert "waiting: no worker offers `--resources GPU=1`" in console.export_text()
    assert noted(book, "begin") == [["begin", "one-0", str(os.getpid()), "3"]]


def test_a_job_ends_when_nobody_waits_for_it_any_more(
    book: Book, workers: distributed.LocalCluster
) -> None:
    add_noted(book, "one", stop="one-0")
    (book.root / "wait").touch()
    [plan], [chapter] = plans_of(book, "out"), book.project.chapters()
    cells: list[int] = []
    with cluster.workers_of(workers.scheduler_address, "smoke", Console()) as submit:
        submit(make_job(plan, chapter), lambda done, _: done in cells or cells.append(done))
        until(lambda: noted(book, "begin"))
        until(lambda: cells == [0, 1, 2, 3])  # the front matter's, the parameters and the imports
    started = psutil.Process(int(noted(book, "begin")[0][2])).children(recursive=True)
    assert started
    assert psutil.wait_procs(started, timeout=20)[1] == []
    assert noted(book, "end") == []


def test_without_a_scheduler_the_error_is_one_line(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "tcp://127.0.0.1:9"
    book.add("one", quick("one"))
    monkeypatch.setattr(trials_cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(MedbookError, match=f"no Dask scheduler answers at {address}"):
        execute.run(plans_of(book, "out"), book.project.chapters(), Console(), scheduler=address)


def test_another_version_of_distributed_is_refused(
    book: Book, workers: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.add("one", quick("one"))
    monkeypatch.setattr(distributed, "__version__", "2020.1.0")
    with pytest.raises(MedbookError, match=r"scheduler runs distributed .*this process 2020\.1\.0"):
        run(book, workers, plans_of(book, "out"))


def test_distributed_is_loaded_only_for_a_cluster() -> None:
    code = "import sys, medbook._book.runs.execute; print('distributed' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n"
