"""Jobs on a Dask cluster: any machines whose workers have the same medbook."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import distributed
from rich.console import Console

from medbook._book.runs.job import Ended, Job, Lifeline, execute
from medbook._book.runs.local import Submit
from medbook._book.runs.watch import Report
from medbook.errors import MedbookError
from medbook.trials import parallel
from medbook.trials.cluster import GPU, connected

LOOK_SECONDS = 1  # how soon a worker notices that nobody waits for a job any more


@contextmanager
def workers_of(address: str, profile: str, console: Console) -> Iterator[Submit]:
    """A place for jobs: the workers of a cluster.

    A job whose worker dies is given to another one; only this process writes results, so nothing
    is there twice.

    Args:
        address: of the scheduler, `tcp://host:8786`.
        profile: at gpu a job waits for a worker with the resource GPU.
        console: told if no worker can take the jobs yet.

    Yields:
        a function that submits a job. The cluster gives up jobs that are open when the block ends.

    Raises:
        MedbookError: there is no scheduler, or it runs another version of distributed.
    """
    resources = GPU if profile == "gpu" else {}
    reports: dict[str, Report] = {}
    with connected(address) as client:
        _note_missing_workers(client, resources, console)
        topic = f"medbook-{uuid4()}"
        client.subscribe_topic(topic, lambda event: reports[event[1][0]](*event[1][1:]))

        def submit(job: Job, report: Report) -> Future[Ended]:
            reports[job.name] = report
            key = f"{job.name}-{topic}"
            return _concurrent(
                client.submit(_execute_on_worker, job, topic, key=key, resources=resources)
            )

        yield submit


def _note_missing_workers(
    client: distributed.Client, resources: dict[str, int], console: Console
) -> None:
    """Workers may come later, so this is no error."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if not any(resources.keys() <= worker["resources"].keys() for worker in workers):
        wanted = "offers `--resources GPU=1`" if resources else "is connected"
        console.print(f"[yellow]note:[/] waiting: no worker {wanted}", soft_wrap=True)


def _concurrent(remote: distributed.Future) -> Future[Ended]:
    """The same as a future of the standard library, its errors in plain words."""
    future: Future[Ended] = Future()

    def transfer(done: distributed.Future) -> None:
        try:
            future.set_result(done.result())
        except MedbookError as error:
            future.set_exception(error)
        except Exception as error:
            future.set_exception(MedbookError(_reason(error)))

    remote.add_done_callback(transfer)
    return future


def _reason(error: Exception) -> str:
    if isinstance(error, distributed.KilledWorker):
        return (
            f"{error.allowed_failures + 1} workers died while they ran it, the last one at "
            f"{error.last_worker.address} (out of memory?)"
        )
    if isinstance(error, distributed.CancelledError):
        return "the cluster gave it up (scheduler stopped, or job cancelled)"
    hint = ": is the same medbook installed there?" if isinstance(error, ImportError) else ""
    return f"on the worker: {type(error).__name__}: {error}{hint}"


def _execute_on_worker(job: Job, topic: str) -> Ended:
    """Runs on a worker: its folder holds the caches, its CPU threads are shared by its jobs."""
    worker = distributed.get_worker()
    key = worker.get_current_task()
    build = Path(worker.local_directory) / "medbook"
    threads = max(1, parallel.threads() // worker.state.nthreads)
    report = partial(_report, worker, topic, job.name)
    with Lifeline() as lifeline:
        threading.Thread(target=_cut_if_given_up, args=(worker, key, lifeline), daemon=True).start()
        return execute(job, build, build / "scratch" / str(key), threads, lifeline, report)


def _report(
    worker: distributed.Worker, topic: str, name: str, done: int, left: float | None
) -> None:
    worker.log_event(topic, [name, done, left])


def _cut_if_given_up(worker: distributed.Worker, key: str, lifeline: Lifeline) -> None:
    """End the job when the client has gone: Dask itself cannot stop a running function."""
    while (task := worker.state.tasks.get(key)) and task.state == "executing":
        time.sleep(LOOK_SECONDS)
    lifeline.cut()
