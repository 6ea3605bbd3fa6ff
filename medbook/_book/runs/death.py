"""What ended a kernel, or a worker of one, in words."""

import re
import signal
from collections.abc import Sequence

STATUS = re.compile(r"kernel ended with status (-?\d+)")  # the words of child.py and nbval_watch.py
WORKER = re.compile(r"exit codes of the workers are \{\w+\((-\d+)\)")  # of joblib
CRASHED_IN = re.compile(r'File "[^"]*site-packages/(\w+)')  # of faulthandler
BELOW = re.compile("ipykernel|IPython")  # the cell, and what has called it
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT)


def cause(log: Sequence[str]) -> str:
    """Why a kernel ended, as the last lines of its messages tell.

    >>> cause(["kernel ended with status -9"])
    'signal 9 (SIGKILL): out of memory? Close programs, or take a smaller profile'
    """
    text = "\n".join(line.rstrip("\n") for line in log)
    statuses = STATUS.findall(text)
    return of_status(int(statuses[-1]), _library(text)) if statuses else "it does not say why"


def of_worker(message: str) -> str | None:
    """Why a worker process ended, as joblib's message tells; None for another message."""
    found = WORKER.search(message)
    return f"a worker process died: {of_status(int(found[1]))}" if found else None


def of_status(status: int, library: str = "") -> str:
    """An exit status in words; a negative one is a signal.

    >>> of_status(-11, "torch")
    'signal 11 (SIGSEGV): torch crashed: `medbook status` shows if its version is the locked one'
    """
    number = -status
    if number not in list(signal.Signals):
        return f"exit status {status}"
    name = f"signal {number} ({signal.Signals(number).name})"
    if number == signal.SIGKILL:
        return f"{name}: out of memory? Close programs, or take a smaller profile"
    if number in CRASHES:
        return (
            f"{name}: {library or 'a library'} crashed: "
            "`medbook status` shows if its version is the locked one"
        )
    return name


def _library(text: str) -> str:
    """The package in which the thread that crashed was, from faulthandler's dump."""
    _, _, current = text.partition("Current thread")
    called_by_the_cell = BELOW.split(current.partition("\n\n")[0])[0]
    found = CRASHED_IN.search(called_by_the_cell)
    return found[1] if found else ""
