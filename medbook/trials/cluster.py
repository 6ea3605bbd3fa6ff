"""Trials on a Dask cluster: any machines whose workers have the same medbook."""

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

from medbook.errors import MedbookError
from medbook.trials.closures import Sources
from medbook.trials.parallel import carry_chapters, one_thread

if TYPE_CHECKING:
    import distributed

Item = TypeVar("Item")
Value = TypeVar("Value")

CONNECT_SECONDS = 10
LOOK_SECONDS = 1  # how soon a new worker gets something to do
GPU = {"GPU": 1}  # the resource that a worker with a free GPU offers
ONE_AT_A_TIME = threading.Lock()  # of a worker process: its trials share global random state


def side_by_side(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    address: str,
    *,
    gpu: bool = False,
    needed: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, Value]]:
    """`function(item)` of each item on the workers of a cluster, as `parallel` does here.

    An item whose worker dies is given to another one; a value is fetched as soon as it is there and
    then forgotten by the cluster, so that no later death costs it. A worker process computes one
    item at a time; start workers with one thread each.

    Args:
        function: called with one item; its result is sent back.
        items: one a call.
        address: of the scheduler, `tcp://host:8786`.
        gpu: an item waits for a worker that offers the resource GPU.
        needed: definitions of medbook, with their hashes, that must be the same on the workers.

    Yields:
        the place of an item and its value, as soon as it is there.

    Raises:
        MedbookError: there is no scheduler, versions differ, or workers died time after time.
    """
    import cloudpickle
    import distributed

    carry_chapters()
    with connected(address) as client:
        run, waiting = uuid4().hex, iter(enumerate(items))
        must = tuple((needed or {}).items())
        running: dict[distributed.Future, int] = {}
        while True:
            free = max(1, sum(client.nthreads().values())) - len(running)
            for place, item in islice(waiting, max(0, free)):  # none waits behind a long one
                call = cloudpickle.dumps((function, item))
                future = client.submit(
                    _alone, call, must, key=f"trial-{run}-{place}", pure=False,
                    resources=GPU if gpu else None,
                )  # fmt: skip
                running[future] = place
            if not running:
                return
            for future in _ended(list(running)):
                value, place = cloudpickle.loads(_value(future)), running.pop(future)
                future.release()
                yield place, value


def _ended(running: "list[distributed.Future]") -> "list[distributed.Future]":
    """Those that have ended; none after a while, in which workers may have come."""
    end = time.monotonic() + LOOK_SECONDS
    while time.monotonic() < end and not any(future.done() for future in running):
        time.sleep(0.01)
    return [future for future in running if future.done()]


def _alone(call: bytes, needed: tuple[tuple[str, str], ...]) -> bytes:
    """Runs on a worker; pickled here, as Dask would send what a chapter defines by its name."""
    import cloudpickle

    _check_same_medbook(needed)
    function, item = cloudpickle.loads(call)
    with ONE_AT_A_TIME, one_thread():
        return cast(bytes, cloudpickle.dumps(function(item)))


@lru_cache(maxsize=16)
def _check_same_medbook(needed: tuple[tuple[str, str], ...]) -> None:
    here = Sources(lambda _: []).current("", [name for name, _ in needed])
    if other := [name for name, hashed in needed if here[name] != hashed]:
        raise MedbookError(
            f"medbook on the worker is not that of the run ({', '.join(other[:3])} differ): "
            "use the same version everywhere"
        )


def _value(future: "distributed.Future") -> Any:
    import distributed

    try:
        return future.result()
    except MedbookError:
        raise
    except distributed.KilledWorker as error:
        raise MedbookError(
            f"{error.allowed_failures + 1} workers died while they ran a trial, the last one at "
            f"{error.last_worker.address} (out of memory?)"
        ) from None
    except distributed.CancelledError:
        raise MedbookError("the cluster gave a trial up: was its scheduler stopped?") from None
    except ImportError as error:
        raise MedbookError(
            f"on the worker: {error}: is the same medbook installed there?"
        ) from None


@contextmanager
def connected(address: str) -> Iterator["distributed.Client"]:
    """A client of a scheduler, for the length of the block.

    Raises:
        MedbookError: there is no scheduler, or it runs another version of distributed.
    """
    import distributed
    from distributed.versions import VersionMismatchWarning

    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # else tracebacks
    warnings.filterwarnings("ignore", "Sending large graph")  # jobs carry their images
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)  # told below, in one line
            client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise MedbookError(
            f"no Dask scheduler answers at {address} ({type(error).__name__}): "
            "start one with `dask scheduler` and give its address, tcp://host:8786"
        ) from None
    with client:
        _check_versions(client)
        yield client


def _check_versions(client: "distributed.Client") -> None:
    """Processes with different versions of distributed may misunderstand each other."""
    import distributed

    found = cast(dict[str, Any], client.get_versions())
    for who, versions in {"scheduler": found["scheduler"], **found["workers"]}.items():
        if (other := versions["packages"]["distributed"]) != distributed.__version__:
            raise MedbookError(
                f"{who} runs distributed {other}, this process {distributed.__version__}: "
                "install the same version everywhere (ci/lock.txt)"
            )
