"""Trials of one chapter on a Dask cluster of real worker processes, on this machine."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import distributed
import pytest

from medbook import chapter
from medbook.errors import MedbookError
from medbook.record.session import Session
from medbook.trials import cluster, store

pytestmark = pytest.mark.slow

CHAPTER = """
# %% tags=["define"]
import os, time
from pathlib import Path
from typing import NamedTuple

from medbook.evaluate.stats import t_interval

class Outcome(NamedTuple):
    name: str
    mean: float

def note(text):
    with open("@/log", "a") as log:
        log.write(f"{text} {os.getpid()}\\n")

def trial(name):
    note(f"begin {name}")
    while name == "stops" and Path("@/wait").exists():
        time.sleep(0.05)
    note(f"end {name}")
    return Outcome(name, t_interval([1.0, 2.0, 3.0]).mean)

def kills(name):
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[distributed.LocalCluster]:
    """Two worker processes; two deaths and a trial is given up."""
    folder = str(tmp_path_factory.mktemp("workers"))
    settings = {"distributed.scheduler.allowed-failures": 1, "temporary-directory": folder}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as started,
    ):
        yield started


@pytest.fixture
def root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: distributed.LocalCluster
) -> Path:
    monkeypatch.setattr(store, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("MEDBOOK_ROOT", str(tmp_path))
    monkeypatch.setenv("MEDBOOK_TRIALS", str(tmp_path / "trials"))
    monkeypatch.setenv("MEDBOOK_SCHEDULER", workers.scheduler_address)
    (tmp_path / "chapters/part").mkdir(parents=True)
    text = CHAPTER.replace("@/", f"{tmp_path}/")
    (tmp_path / "chapters/part/one.py").write_text(text)
    return tmp_path


def noted(root: Path) -> list[list[str]]:
    log = root / "log"
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def test_trials_of_a_killed_worker_are_done_elsewhere_and_the_others_once(root: Path) -> None:
    one, names = chapter.load("one"), [*"abc", "stops", *"defgh"]
    (root / "wait").touch()
    run = Session("one", "laptop", 0)
    with ThreadPoolExecutor(1) as pool:
        outcomes = pool.submit(run.map, one.trial, names)
        while len(noted(root)) < 2 * len(names) - 1:  # all but the one that waits
            assert not outcomes.done(), outcomes.result()
            time.sleep(0.05)
        [victim] = [
            int(pid) for what, name, pid in noted(root) if (what, name) == ("begin", "stops")
        ]
        os.kill(victim, signal.SIGKILL)
        (root / "wait").unlink()
        values = outcomes.result(60)
    assert [value.name for value in values] == names
    assert all(type(value) is one.Outcome for value in values)
    counts = Counter((what, name) for what, name, _ in noted(root))
    assert counts.pop(("begin", "stops")) == 2
    assert set(counts.values()) == {1}
    assert os.getpid() not in {int(pid) for *_, pid in noted(root)}

    (root / "log").unlink()
    assert Session("one", "smoke", 0).map(one.trial, names) == values, "stored here"
    assert noted(root) == []


def test_a_trial_that_kills_its_workers_is_one_clear_line(root: Path) -> None:
    one = chapter.load("one")
    with pytest.raises(MedbookError, match="2 workers died while they ran a trial") as error:
        Session("one", "laptop", 0).map(one.kills, ["x"])
    assert "\n" not in str(error.value)


def test_a_worker_with_another_medbook_is_refused(
    root: Path, workers: distributed.LocalCluster
) -> None:
    calls = cluster.side_by_side(
        abs, [1], workers.scheduler_address, needed={"stats.t_interval": "of another version"}
    )
    with pytest.raises(MedbookError, match=r"is not that of the run \(stats\.t_interval differ\)"):
        list(calls)


def test_a_gpu_trial_waits_for_a_worker_with_a_gpu(
    root: Path, workers: distributed.LocalCluster
) -> None:
    async def start() -> distributed.Worker:
        return await distributed.Worker(workers.scheduler_address, nthreads=1, resources={"GPU": 1})

    with ThreadPoolExecutor(1) as pool:
        calls = cluster.side_by_side(abs, [-1, -2], workers.scheduler_address, gpu=True)
        values = pool.submit(lambda: sorted(calls))
        end = time.monotonic() + 30
        while not any(task.state == "no-worker" for task in workers.scheduler.tasks.values()):
            assert time.monotonic() < end
            time.sleep(0.05)
        worker = workers.sync(start)
        assert values.result(60) == [(0, 1), (1, 2)]
    workers.sync(worker.close)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://host:1", "tcp://host:port"])
def test_without_a_scheduler_the_error_is_one_line(
    root: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    monkeypatch.setenv("MEDBOOK_SCHEDULER", address)
    with pytest.raises(MedbookError, match=f"no Dask scheduler answers at {address}"):
        Session("one", "laptop", 0).map(chapter.load("one").trial, ["a"])


def test_another_version_of_distributed_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "__version__", "2020.1.0")
    with pytest.raises(MedbookError, match=r"scheduler runs distributed .*this process 2020\.1\.0"):
        Session("one", "laptop", 0).map(chapter.load("one").trial, ["a"])
