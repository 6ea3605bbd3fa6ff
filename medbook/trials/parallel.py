"""One function over many seeds: side by side on CPU cores, one after the other on a GPU."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TypeVar

import torch

from medbook.chapter import PREFIX
from medbook.errors import MedbookError

Item = TypeVar("Item")
Value = TypeVar("Value")

PICKLERS = ("cloudpickle", "joblib.externals.cloudpickle")  # joblib before 1.6 has its own copy


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


def side_by_side(
    function: Callable[[Item], Value], items: Sequence[Item], *, jobs: int
) -> Iterator[tuple[int, Value]]:
    """`function(item)` of each item in worker processes, one CPU thread each.

    One thread an item, however many run at once: the numbers do not depend on the machine's cores.
    Functions defined in a notebook, or taken from another chapter, work too.

    Args:
        function: called with one item; its result is sent back.
        items: one a call.
        jobs: processes; 1 runs in this one.

    Yields:
        the place of an item and its value, as soon as it is there, in any order.

    Raises:
        MedbookError: a worker process was killed.

    >>> sorted(side_by_side(abs, [-1, 2], jobs=1))
    [(0, 1), (1, 2)]
    """
    if jobs == 1 or len(items) < 2:
        for place, item in enumerate(items):
            yield _numbered(function, place, item)
        return
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    carry_chapters()
    workers = Parallel(n_jobs=min(jobs, len(items)), return_as="generator_unordered", batch_size=1)
    calls = (delayed(_numbered)(function, place, item) for place, item in enumerate(items))
    try:
        yield from workers(calls)
    except TerminatedWorkerError:
        raise MedbookError(
            "a worker process was killed (out of memory?): close other programs or set "
            "MEDBOOK_THREADS=1, then run again; what is stored stays"
        ) from None


def carry_chapters() -> None:
    """Send what `medbook.chapter.load` defined as it is: other processes cannot import it."""
    for pickler in PICKLERS:
        with suppress(ImportError):
            found = import_module(pickler)
            for name in [name for name in sys.modules if name.startswith(PREFIX)]:
                found.register_pickle_by_value(sys.modules[name])


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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (2**20 if sys.platform == "darwin" else 2**10))


def _numbered(function: Callable[[Item], Value], place: int, item: Item) -> tuple[int, Value]:
    with one_thread():
        return place, function(item)
