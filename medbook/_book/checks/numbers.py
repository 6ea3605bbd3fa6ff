"""Numbers of results files: null for an end that nothing bounds, equal but for rounding."""

import math
from typing import Any

TOLERANCE = 1e-9  # relative; the file holds every digit, only the order of sums may differ


def number(value: float | None, end: str) -> float:
    """An end that the data do not bound is stored as null.

    >>> number(None, "low")
    -inf
    """
    if value is None:
        return -math.inf if end == "low" else math.inf
    return value


def close(a: float, b: float) -> bool:
    """Equal, but for the order of a sum.

    >>> close(0.1 + 0.2, 0.3), close(0.3, 0.3001)
    (True, False)
    """
    return a == b or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-12)


def same(a: Any, b: Any) -> bool:
    """Records, lists, words and numbers, each as `close`.

    >>> same({"n": 5, "ends": [0.1 + 0.2, None]}, {"n": 5, "ends": [0.3, None]})
    True
    """
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return close(a, b)
    return bool(a == b and isinstance(a, bool) == isinstance(b, bool))
