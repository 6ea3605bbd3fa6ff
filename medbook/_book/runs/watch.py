"""A thread that watches the kernel of a run: reports its pace, and ends it if it stands still."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from medbook._book.runs.pace import Expected, Pace

LOOK_SECONDS = 0.5
GRACE_SECONDS = 20  # a kernel in the middle of a long call may need them to notice
KERNEL = "ipykernel_launcher"

Report = Callable[[int, float | None], None]  # is told how many cells are done, and seconds left


class Watch:
    """Watches, in a `with` block, the kernel that some process has started.

    Args:
        process: id of the process whose child the kernel is.
        progress: file to which the kernel appends a line of JSON for each finished trial.
        expected: what a stored run took.
        report: told every now and then how far it is.
    """

    def __init__(self, process: int, progress: Path, expected: Expected, report: Report) -> None:
        self.stalled = ""
        self._process, self._progress, self._report = process, progress, report
        self._pace = Pace(expected, time.monotonic())
        self._cells, self._read = 0, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def cell_done(self) -> None:
        """Another cell has ended."""
        now = time.monotonic()
        self._cells += 1
        self._pace.cell(now)
        self._report(self._cells, self._pace.left(now))

    def _look_on(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            now = time.monotonic()
            for line in self._new_lines():
                self._pace.trial(line, now)
            self._report(self._cells, self._pace.left(now))
            if stalled := self._pace.stalled(now):
                self.stalled = stalled
                self._end_kernel()
                return

    def _new_lines(self) -> Iterator[dict[str, object]]:
        """What was appended since the last look; half a line waits for the next one."""
        if not self._progress.exists():
            return
        with self._progress.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if line.endswith(b"\n"):
                    self._read += len(line)
                    yield json.loads(line)

    def _end_kernel(self) -> None:
        """Interrupt the cell, so that the notebook shows where it was; kill what does not react."""
        with suppress(psutil.NoSuchProcess):
            below = psutil.Process(self._process).children(recursive=True)
            for kernel in (process for process in below if _is_kernel(process)):
                with suppress(psutil.NoSuchProcess):
                    kernel.send_signal(signal.SIGINT)
            if not self._ended.wait(GRACE_SECONDS):
                for process in below:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()


def _is_kernel(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return KERNEL in " ".join(process.cmdline())
    return False
