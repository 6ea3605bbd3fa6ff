"""How long something takes, measured side by side."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def seconds(*functions: Callable[[], Any], repeats: int = 5) -> NDArray[np.float64]:
    """Time functions in turn, so that a busy machine slows all of them alike.

    Each is called once before, to warm up. On a GPU it counts until the work is done.

    Args:
        functions: called without arguments.
        repeats: >= 1.

    Returns:
        (repeats, functions) wall time in seconds.

    >>> seconds(lambda: None, lambda: sum(range(1000)), repeats=2).shape
    (2, 2)
    """
    return np.array([[_once(f) for f in functions] for _ in range(repeats + 1)])[1:]


def race(calls: Mapping[str, Callable[[], Any]]) -> dict[str, NDArray[np.float64]]:
    """`seconds` of functions by name: (5,) each. For `run.map`, as a trial that is not repeated.

    >>> list(race({"nothing": dict}))
    ['nothing']
    """
    return dict(zip(calls, seconds(*calls.values()).T, strict=True))


def _once(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
