"""One function over many seeds: side by side on CPU cores, one after the other on a GPU."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch

from medbook.errors import MedbookError

Item = TypeVar("Item")
Value = TypeVar("Value")


def threads() -> int:
    """CPU threads this process may use: `MEDBOOK_THREADS`, else the cores it may run on.

    Raises:
        MedbookError: `MEDBOOK_THREADS` is no number that can be.
    """
    if given := os.environ.get("MEDBOOK_THREADS"):
        if not given.strip().isdecimal() or int(given) < 1:
            raise MedbookError(f"MEDBOOK_THREADS is {given!r}: set a whole number, 1 or more")
        return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


def parallel_map(
    function: Callable[[Item], Value], items: Sequence[Item], *, jobs: int
) -> tuple[list[Value], int]:
    """`[function(item) for item in items]` in worker processes, one CPU thread each.

    One thread an item, however many run at once: the numbers do not depend on the machine's cores.
    Functions defined in a notebook work too.

    Args:
        function: called with one item; its result is sent back.
        items: one a call.
        jobs: processes; 1 runs in this one.

    Returns:
        the values in the order of the items, and the largest peak memory of a worker in MiB.

    >>> parallel_map(abs, [-1, 2], jobs=1)[0]
    [1, 2]
    """
    if jobs == 1 or len(items) < 2:
        with one_thread():
            return [function(item) for item in items], 0
    from joblib import Parallel, delayed

    done = Parallel(n_jobs=min(jobs, len(items)))(delayed(_measured)(function, i) for i in items)
    return [value for value, _ in done], max(peak for _, peak in done)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the block on one CPU thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_mib() -> int:
    """Largest resident memory of this process so far, in MiB (0 where the system does not say)."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (2**20 if sys.platform == "darwin" else 2**10))


def _measured(function: Callable[[Item], Value], item: Item) -> tuple[Value, int]:
    with one_thread():
        return function(item), peak_mib()
