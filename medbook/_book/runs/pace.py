"""How far a running chapter is: how long it still takes, and whether it makes progress at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medbook.record.results import Results

PATIENCE = 10  # times as long as anything like it has taken: then it stands still
LEAST_SECONDS = 600  # is waited for in any case: machines are slow, or busy with something else
UNKNOWN_SECONDS = 7200  # where nothing tells how long it takes
CORES = 2  # side by side in a stored run


@dataclass(frozen=True)
class Expected:
    """What a stored run of the same chapter and profile took.

    Attributes:
        seconds: the whole run; 0 if none is stored.
        trials: mean seconds of a trial of each mapped function.
    """

    seconds: float = 0.0
    trials: Mapping[str, float] = field(default_factory=dict)


def expected_of(stored: Results | None) -> Expected:
    """What a run is expected to take, from stored results.

    >>> expected_of({"seconds": 9.0, "trials": {"f": {"seconds": [1.0, 3.0]}}})
    Expected(seconds=9.0, trials={'f': 2.0})
    """
    if stored is None:
        return Expected()
    timed = {name: of["seconds"] for name, of in stored.get("trials", {}).items()}
    means = {name: sum(seconds) / len(seconds) for name, seconds in timed.items() if seconds}
    return Expected(stored["seconds"], means)


@dataclass
class Pace:
    """What is known of a run; all times in seconds of one clock.

    Attributes:
        expected: what a stored run took.
        started: when this one began.
    """

    expected: Expected
    started: float

    def __post_init__(self) -> None:
        self._last = self.started  # when something was finished last
        self._open = ""  # the function whose trials run now
        self._longest: dict[str, float] = {}
        self._measured = self._reference = self._saved = 0.0

    def cell(self, now: float) -> None:
        """A cell has ended."""
        self._last, self._open = now, ""

    def trial(self, line: Mapping[str, Any], now: float) -> None:
        """A trial has finished.

        Args:
            line: `function`, `done` of `total`, and its `seconds`, null if it was stored before.
            now: when.
        """
        name, seconds = line["function"], line["seconds"]
        self._last, self._open = now, name if line["done"] < line["total"] else ""
        usual = self.expected.trials.get(name, 0.0)
        if seconds is None:
            self._saved += usual
        else:
            self._longest[name] = max(seconds, self._longest.get(name, 0.0))
            self._measured += seconds if usual else 0.0
            self._reference += usual

    def left(self, now: float) -> float | None:
        """Seconds until the end, the rest being as slow as what was measured; None if unknown."""
        if not self.expected.seconds:
            return None
        slower = self._measured / self._reference if self._reference else 1.0
        whole = (self.expected.seconds - self._saved / CORES) * slower
        return max(whole - (now - self.started), 0.0)

    def stalled(self, now: float) -> str:
        """Why there is no hope any more; empty as long as there is."""
        quiet, limit = now - self._last, self._limit()
        if quiet < limit:
            return ""
        what = f"no trial of {self._open}" if self._open else "no cell and no trial"
        return f"stopped: {what} has finished for {quiet:.0f} s, the limit here is {limit:.0f} s"

    def _limit(self) -> float:
        """How long it may be quiet now: longer than whatever it is has ever taken."""
        if self._open:
            usual = self._longest.get(self._open, self.expected.trials.get(self._open, 0.0))
        else:
            usual = self.expected.seconds
        return max(PATIENCE * usual, LEAST_SECONDS) if usual else UNKNOWN_SECONDS
