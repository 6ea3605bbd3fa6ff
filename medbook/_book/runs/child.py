"""papermill in a process that ends, with its kernel, when the process that started it ends.

Run as a script with the arguments of papermill; stdin is the read end of a pipe whose other end
only the starting process holds. The system closes that end even if its holder is killed.
"""

import os
import threading
from contextlib import suppress

import psutil
from papermill.cli import papermill


def _end_with_parent() -> None:
    while os.read(0, 1):  # returns nothing once the other end is closed
        pass
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    papermill()
