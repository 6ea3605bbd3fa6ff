"""The `conftest.py` beside a notebook that nbval executes: a dead kernel is noticed at once.

It is copied there and not imported, so that the process of nbval does not load medbook. nbval alone
waits for the answer of a kernel until a time limit, without looking whether the kernel is alive.
"""

from pathlib import Path
from queue import Empty
from typing import Any

import nbval.kernel  # type: ignore[import-untyped]
import pytest

LOOK_SECONDS = 1
MESSAGES = Path(__file__).with_name("kernel.log")  # nbval throws them away
DIFFERENT = "Cell outputs differ"  # nbval's words

Kernel = nbval.kernel.RunningKernel
_await_reply, _start = Kernel.await_reply, nbval.kernel.start_new_kernel


def await_reply(kernel: Any, message: str, timeout: float | None = None) -> None:
    """Wait for an answer as long as the kernel is alive."""
    while True:
        try:
            return _await_reply(kernel, message, LOOK_SECONDS)
        except Empty:
            if not kernel.is_alive():
                status = kernel.km.provisioner.process.returncode
                raise RuntimeError(f"kernel ended with status {status}") from None


def start_new_kernel(**options: Any) -> Any:
    """Start a kernel whose messages are kept: a crash tells there in which library it was."""
    return _start(**options | {"stderr": MESSAGES.open("w")})


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Stop after a cell that raised: all that follow would fail for its sake."""
    if call.excinfo and str(call.excinfo.value) != DIFFERENT:
        item.session.shouldstop = "a cell raised"


if __name__ == "conftest":
    Kernel.await_reply = await_reply
    nbval.kernel.start_new_kernel = start_new_kernel
