"""How long a run still takes, whether it stands still, and what ended it."""

import json
from pathlib import Path

import pytest

from medbook._book.runs import death, pace
from medbook._book.runs.pace import Expected, Pace, expected_of
from medbook._book.runs.watch import Watch

DUMP = """\
Fatal Python error: Segmentation fault

Thread 0x00007f01 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 331 in wait
  File "/env/lib/python3.11/site-packages/zmq/sugar/poll.py", line 106 in poll

Current thread 0x00007f02 (most recent call first):
  File "/env/lib/python3.11/site-packages/torch/autograd/graph.py", line 824 in _engine_run
  File "/env/lib/python3.11/site-packages/IPython/core/interactiveshell.py", line 3577 in run_code

Extension modules: numpy.core._multiarray_umath
kernel ended with status -11
"""


def trial(name: str, done: int, seconds: float | None, total: int = 3) -> dict[str, object]:
    return {"function": name, "done": done, "total": total, "seconds": seconds}


def test_what_is_left_follows_the_trials() -> None:
    run = Pace(Expected(100.0, {"fit": 10.0}), started=0.0)
    assert run.left(30.0) == 70.0
    run.trial(trial("fit", 1, 20.0), 30.0)  # twice as slow as the stored run
    assert run.left(30.0) == 170.0
    run.trial(trial("fit", 2, None), 30.0)  # stored: two cores save half of its time
    assert run.left(30.0) == 2 * 95.0 - 30.0
    run.trial(trial("other", 1, 500.0), 30.0)  # of which nothing is stored tells nothing
    assert run.left(30.0) == 2 * 95.0 - 30.0
    assert run.left(1000.0) == 0.0
    assert Pace(Expected(), started=0.0).left(1.0) is None


def test_a_run_stands_still_when_no_trial_ends_for_far_longer_than_they_take() -> None:
    run = Pace(Expected(), started=0.0)
    assert not run.stalled(pace.UNKNOWN_SECONDS - 1)
    assert run.stalled(pace.UNKNOWN_SECONDS).startswith("stopped: no cell and no trial has")
    run.trial(trial("fit", 1, 100.0), 1000.0)
    assert not run.stalled(1000.0 + 999)
    assert run.stalled(2000.0) == (
        "stopped: no trial of fit has finished for 1000 s, the limit here is 1000 s"
    )
    run.trial(trial("fit", 2, 1.0), 1900.0)
    assert not run.stalled(2800.0)


def test_quick_trials_are_waited_for_too_and_other_code_as_long_as_the_stored_run() -> None:
    run = Pace(Expected(100.0), started=0.0)
    run.trial(trial("fit", 1, 0.1), 1.0)
    assert not run.stalled(pace.LEAST_SECONDS) and run.stalled(1 + pace.LEAST_SECONDS)
    run.trial(trial("fit", 3, 0.1), 1.0)  # the last: what follows is other code
    assert not run.stalled(1000.0) and run.stalled(1001.0)
    run.cell(500.0)
    assert not run.stalled(1499.0)


def test_old_results_and_none_are_no_obstacle() -> None:
    assert expected_of(None) == Expected()
    assert expected_of({"seconds": 3.0}) == Expected(3.0)
    assert expected_of({"seconds": 3.0, "trials": {"f": {"seconds": []}}}) == Expected(3.0)


def test_half_a_line_of_progress_waits_for_its_end(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    watch = Watch(0, file, Expected(), lambda *_: None)
    assert list(watch._new_lines()) == []
    text = json.dumps(trial("fit", 1, 2.0))
    file.write_text(f"{text}\n{text[:10]}")
    assert list(watch._new_lines()) == [trial("fit", 1, 2.0)]
    assert list(watch._new_lines()) == []
    file.write_text(f"{text}\n{text}\n")
    assert list(watch._new_lines()) == [trial("fit", 1, 2.0)]


def test_a_crash_names_the_library_of_the_thread_that_crashed() -> None:
    assert death.cause(DUMP.splitlines(keepends=True)).startswith(
        "signal 11 (SIGSEGV): torch crashed: `medbook status`"
    )
    assert death.cause(DUMP.split("\n")).startswith("signal 11 (SIGSEGV): torch")
    loop = '\n  File "/env/site-packages/tornado/ioloop.py", line 7 in run\n\nExt'
    without = DUMP.replace("site-packages/torch/", "ipykernel_12/").replace("\n\nExt", loop)
    assert death.cause([without]).startswith("signal 11 (SIGSEGV): a library crashed")


@pytest.mark.parametrize(
    ("status", "says"),
    [(-9, "out of memory?"), (-4, "SIGILL): a library crashed"), (-8, "SIGFPE): a library"),
     (-15, "signal 15 (SIGTERM)"), (3, "exit status 3"), (-300, "exit status -300")],
)  # fmt: skip
def test_every_status_has_words(status: int, says: str) -> None:
    assert says in death.cause([f"kernel ended with status {status}\n"])


def test_a_worker_that_died_is_told_like_a_kernel() -> None:
    message = (
        "A worker process managed by the executor was unexpectedly terminated.\n"
        "The exit codes of the workers are {SIGKILL(-9), SIGTERM(-15)}"
    )
    assert death.of_worker(message) == (
        "a worker process died: signal 9 (SIGKILL): out of memory? "
        "Close programs, or take a smaller profile"
    )
    assert death.of_worker("division by zero") is None
