"""papermill in a process that ends, with its kernel, when the process that started it ends.

Run as a script with the arguments of papermill; stdin is the read end of a pipe whose other end
only the starting process holds. The system closes that end even if its holder is killed.
"""

import os
import sys
import threading
from contextlib import suppress

import psutil
from jupyter_client.provisioning import LocalProvisioner
from papermill.cli import papermill

_poll = LocalProvisioner.poll


def _end_with_parent() -> None:
    while os.read(0, 1):  # returns nothing once the other end is closed
        pass
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    os._exit(1)


async def _poll_and_tell(kernel: LocalProvisioner) -> int | None:
    """Tell with which status a kernel has ended: papermill says no more than that it has."""
    status: int | None = await _poll(kernel)
    if status:
        print(f"kernel ended with status {status}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    LocalProvisioner.poll = _poll_and_tell  # type: ignore[assignment,method-assign]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    papermill()
