"""Jobs on this machine, side by side."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from medbook._book.runs.job import Ended, Job, Lifeline, execute
from medbook._book.runs.watch import Report
from medbook.errors import MedbookError
from medbook.trials import parallel

Submit = Callable[[Job, Report], Future[Ended]]


def jobs_here(profile: str, jobs: int | None) -> int:
    """How many jobs run side by side: all cores at smoke, else one, unless a number is given.

    Raises:
        MedbookError: jobs < 1, or more than one at a time on the GPU.
    """
    jobs = jobs or (parallel.threads() if profile == "smoke" else 1)
    if jobs < 1 or (profile == "gpu" and jobs > 1):
        raise MedbookError(f"jobs is {jobs}: give 1 or more; chapters run one at a time on a GPU")
    return jobs


@contextmanager
def threads_here(jobs: int, build: Path) -> Iterator[Submit]:
    """A place for jobs: so many at a time, the CPU threads shared out among them.

    Args:
        jobs: side by side.
        build: for what kernels cache, and for the working folders.

    Yields:
        a function that submits a job. No job outlives the block.
    """
    threads = max(1, parallel.threads() // jobs)
    with Lifeline() as lifeline, ThreadPoolExecutor(jobs) as pool:
        try:
            yield lambda job, report: pool.submit(
                execute, job, build, build / "scratch" / job.name, threads, lifeline, report
            )
        finally:  # after Ctrl-C too
            pool.shutdown(wait=False, cancel_futures=True)
            lifeline.cut()
