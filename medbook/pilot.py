"""A pilot of a chapter: two seeds, no test target in sight, and once with half of the steps.

`medbook pilot` says so to the kernel by a variable of its environment; nothing else sets it.
"""

import os

VARIABLE = "MEDBOOK_PILOT"
FULL, HALF = "full", "half"
SEEDS = 2


def kind() -> str:
    """`FULL` or `HALF`; empty in every other run.

    >>> kind()
    ''
    """
    return os.environ.get(VARIABLE, "")


def shortened(steps: int) -> int:
    """The steps of an arm in this run: half of them, but one at least, in the half of a pilot.

    >>> shortened(9)
    9
    """
    return max(1, steps // 2) if kind() == HALF else steps
