"""Trials: what is computed again, what is not, and what a store survives."""

import errno
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from medbook import chapter, paths, trials
from medbook.errors import MedbookError
from medbook.record.session import Session
from medbook.trials import fingerprint, store
from medbook.trials.machine import machine

ONE = '''
# %% tags=["define"]
import os, signal, time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from medbook.errors import MedbookError

STEPS = 10

@dataclass(frozen=True)
class Job:
    name: str
    arm: Callable = None
    images: Tensor = torch.zeros(2)
    steps: int = 3

class Outcome(NamedTuple):
    name: str
    score: Tensor

def noted(name):
    with open("@/log", "a") as log:
        log.write(f"{name} ")

def loud(function):
    @wraps(function)
    def inner(*given):
        return function(*given)
    return inner

class Base:
    """Kept."""
    def factor(self):
        return 2

class Model(Base):
    pass

def helper(x):
    """Helps."""
    return deeper(x)  # deeper down

def deeper(x):
    return x * STEPS

def by_name(x):
    return x + 1

TABLE = {"a": by_name}

def unused(x):
    return x

def plus(x):
    return x + 1

def minus(x):
    return x - 1

@loud
def trial(job, scale=STEPS):
    noted(job.name)
    score = job.images.sum() * Model().factor() + helper(scale) + TABLE["a"](job.steps)
    return Outcome(job.name, job.arm(score) if job.arm else score)

def odd(job):
    noted(job)
    draws = {
        "torch": lambda: torch.rand(1), "numpy": lambda: np.random.rand(),
        "seeded": lambda: torch.manual_seed(3),
        "own": lambda: torch.rand(1, generator=torch.Generator().manual_seed(1)),
    }
    if job in draws:
        return draws[job]()
    with torch.random.fork_rng():
        if job == "seeded inside":
            torch.manual_seed(3)
        return torch.rand(1).item()

def deadly(job):
    if job == "dies" and not Path("@/flag").exists():
        while len(Path("@/log").read_text().split()) < 2:
            time.sleep(0.02)
        time.sleep(0.5)
        Path("@/flag").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    noted(job)
    return job

def unstorable(job):
    return lambda: job

# %%
figure = 1
'''


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "World":
    monkeypatch.setattr(store, "cache_folder", lambda: tmp_path / "cache")
    for name, value in {
        "MEDBOOK_ROOT": tmp_path, "MEDBOOK_TRIALS": tmp_path / "trials",
        "MEDBOOK_PROGRESS": tmp_path / "progress",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("MEDBOOK_PERMUTE_TEST", raising=False)
    monkeypatch.delenv("MEDBOOK_SCHEDULER", raising=False)
    (tmp_path / "chapters/part").mkdir(parents=True)
    return World(tmp_path)


class World:
    """A chapter `one` that a test may edit, and a store."""

    def __init__(self, root: Path) -> None:
        self.root, self.text = root, ONE.replace("@/", f"{root}/")
        self.load()

    def load(self, id: str = "one") -> ModuleType:
        (self.root / f"chapters/part/{id}.py").write_text(self.text)
        (self.root / "log").write_text("")
        self.one = chapter.load(id)
        return self.one

    def edit(self, old: str, new: str) -> None:
        assert old in self.text
        self.text = self.text.replace(old, new)
        self.load()

    def jobs(self) -> list[Any]:
        job = self.one.Job
        return [job("none"), job("plus", self.one.plus), job("minus", self.one.minus)]

    def map(self, function: Any = None, jobs: Any = None, profile: str = "smoke") -> list[Any]:
        self.session = Session("one", profile, 0)
        return self.session.map(function or self.one.trial, self.jobs() if jobs is None else jobs)

    @property
    def computed(self) -> list[str]:
        """Which trials were called since the chapter was loaded."""
        return (self.root / "log").read_text().split()

    def why(self) -> dict[str, list[str]]:
        """Reasons by name of the job."""
        lines = (self.root / "trials/why/one.smoke.jsonl").read_text().splitlines()
        names = ["none", "plus", "minus"]
        return {names[e["index"]]: e["why"] for e in map(json.loads, lines)}

    def stored(self) -> list[Path]:
        return [f for f in (self.root / f"trials/{store.SCHEMA}").rglob("*") if f.is_file()]


# ---------------------------------------------------------------- computed once


def test_a_second_run_computes_nothing_and_gives_the_same(world: World) -> None:
    first = world.map()
    assert world.computed == ["none", "plus", "minus"]
    entry = world.session.trials["trial"]
    world.load()
    second = world.map()
    assert world.computed == []
    assert [(o.name, o.score) for o in first] == [(o.name, o.score) for o in second]
    assert all(type(outcome) is world.one.Outcome for outcome in second)
    assert world.session.trials["trial"] == entry
    assert len(set(entry["keys"])) == 3
    assert {"trial", "deeper", "STEPS", "plus", "minus", "Job"} <= set(entry["definitions"])
    assert len(entry["seconds"]) == 3
    assert entry["machines"] == [machine("cpu")]


def test_outcomes_of_another_machine_keep_its_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(trials, "machine", lambda device: "another")
        world.map()
    world.load()
    world.map()
    assert world.session.trials["trial"]["machines"] == ["another"]


def test_two_maps_of_one_function_share_an_entry(world: World) -> None:
    run = Session("one", "smoke", 0)
    run.map(world.one.trial, world.jobs()[:2])
    run.map(world.one.trial, world.jobs()[1:])
    assert world.computed == ["none", "plus", "minus"]
    assert len(run.trials["trial"]["keys"]) == 4
    assert set(run.trials["trial"]["definitions"]) >= {"plus", "minus"}


def test_the_same_job_twice_is_computed_once(world: World) -> None:
    values = world.map(jobs=[world.one.Job("a"), world.one.Job("b"), world.one.Job("a")])
    assert world.computed == ["a", "b"]
    assert [value.name for value in values] == ["a", "b", "a"]
    assert len(world.session.trials["trial"]["seconds"]) == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# deeper down", "# somewhere"),
        ('"""Helps."""', '"""Is of help."""'),
        ("figure = 1", "figure = 2"),
        ("def unused(x):\n    return x", "def unused(x):\n    return -x"),
    ],
)
def test_what_a_trial_does_not_reach_computes_nothing(world: World, old: str, new: str) -> None:
    world.map()
    world.edit(old, new)
    world.map()
    assert world.computed == []


@pytest.mark.parametrize(
    ("old", "new", "computed", "named"),
    [
        ("STEPS = 10", "STEPS = 11", {"none", "plus", "minus"}, "STEPS changed"),
        ("return x * STEPS", "return x + STEPS", {"none", "plus", "minus"}, "deeper changed"),
        ("return 2", "return 3", {"none", "plus", "minus"}, "Base changed"),
        ("return function(*given)\n", "return function(given[0])\n", {"none", "plus", "minus"},
         "loud changed"),
        ("scale=STEPS", "scale=5", {"none", "plus", "minus"}, "trial changed"),
        ("def by_name(x):\n    return x + 1", "def by_name(x):\n    return x + 2",
         {"none", "plus", "minus"}, "by_name changed"),
        ("def plus(x):\n    return x + 1", "def plus(x):\n    return x + 2", {"plus"},
         "plus changed"),
        ("steps: int = 3", "steps: int = 4", {"none", "plus", "minus"}, "job.steps 3 -> 4"),
        ("torch.zeros(2)", "torch.ones(2)", {"none", "plus", "minus"}, "job.images changed"),
    ],
)  # fmt: skip
def test_what_a_trial_reaches_computes_again_and_is_named(
    world: World, old: str, new: str, computed: set[str], named: str
) -> None:
    world.map()
    world.edit(old, new)
    world.map()
    assert set(world.computed) == computed
    assert set(world.why()) == computed
    assert all(named in reasons for reasons in world.why().values())
    world.load()
    world.map()
    assert world.computed == []


def test_another_version_computes_again_and_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.map()
    version = trials._version("torch")
    monkeypatch.setattr(trials, "_version", lambda name: "99" if name == "torch" else "1")
    world.map()
    assert len(world.computed) == 6
    assert f"torch {version} -> 99" in world.why()["none"]


def test_permuted_test_labels_have_outcomes_of_their_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.map()
    true = world.session.trials["trial"]["keys"]
    monkeypatch.setenv("MEDBOOK_PERMUTE_TEST", "1")
    world.map()
    assert len(world.computed) == 6
    assert not set(true) & set(world.session.trials["trial"]["keys"])


def test_a_new_function_says_that_nothing_is_stored(world: World) -> None:
    world.map()
    assert world.why()["plus"] == ["no outcome of this function is stored"]


def test_without_a_store_anything_can_be_mapped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDBOOK_TRIALS")
    assert world.map(lambda path: path.name, [Path("a"), Path("b")]) == ["a", "b"]
    assert world.session.trials == {}
    assert not (world.root / "trials").exists()


def test_with_a_store_a_function_needs_a_name(world: World) -> None:
    with pytest.raises(MedbookError, match=r"what .*test_trials defines"):
        world.map(lambda job: job)


def test_progress_is_a_line_a_trial(world: World) -> None:
    world.map(jobs=world.jobs()[:1])
    (world.root / "progress").unlink()
    world.map()
    lines = [json.loads(line) for line in (world.root / "progress").read_text().splitlines()]
    assert [(line["function"], line["done"], line["total"]) for line in lines] == [
        ("trial", 1, 3), ("trial", 2, 3), ("trial", 3, 3),
    ]  # fmt: skip
    assert [line["seconds"] is None for line in lines] == [True, False, False]


def test_workers_store_and_give_what_one_process_gives(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDBOOK_THREADS", "2")
    together = world.map(profile="laptop")
    assert sorted(world.computed) == ["minus", "none", "plus"]
    assert world.session.worker_mib > 0
    assert [type(value) is world.one.Outcome for value in together] == [True] * 3
    world.load()
    assert [o.score for o in world.map()] == [o.score for o in together]
    assert world.computed == []


# ---------------------------------------------------------------- what a store survives


def spoil_end(content: bytes) -> bytes:
    return content[:-5]


def spoil_middle(content: bytes) -> bytes:
    at = len(content) - 20
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("spoil", [spoil_end, spoil_middle, lambda _: b"", lambda _: b"\n\n"])
def test_a_damaged_entry_is_computed_again_and_said(
    world: World, spoil: Callable[[bytes], bytes]
) -> None:
    first = world.map()
    file = next(f for f in world.stored() if f.name == world.session.trials["trial"]["keys"][1])
    file.write_bytes(spoil(file.read_bytes()))
    world.load()
    with pytest.warns(UserWarning, match="1 stored outcomes are damaged"):
        second = world.map()
    assert world.computed == ["plus"]
    assert second[1].score == first[1].score
    world.load()
    world.map()
    assert world.computed == []


class Evil:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("evil"),)


def test_a_store_of_somebody_else_is_never_unpickled(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    world.map()
    strange = store.Store(world.root / "trials", b"another secret")
    for file in world.stored():
        _, header, _ = file.read_bytes().split(b"\n", 2)
        sealed = header + b"\n" + pickle.dumps(Evil())
        file.write_bytes(strange._seal(sealed) + b"\n" + sealed)
    world.load()
    with pytest.warns(UserWarning, match="3 stored outcomes are damaged or of another user"):
        world.map()
    assert len(world.computed) == 3
    assert not Path("evil").exists()


def test_a_store_of_another_schema_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(store, "SCHEMA", "v0")
        world.map()
    world.load()
    world.map()
    assert len(world.computed) == 3
    assert len(list((world.root / "trials/v0").rglob("*"))) == 4


def test_a_full_disk_is_one_clear_line_and_what_is_stored_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = Path.write_bytes, []

    def fill(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == 2:
            write(path, content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    (store.Store.at(world.root / "trials"), monkeypatch.setattr(Path, "write_bytes", fill))
    with pytest.raises(MedbookError, match=r"No space left on device\): make room") as error:
        world.map()
    assert "\n" not in str(error.value)
    assert len(world.stored()) == 1
    world.load()
    world.map()
    assert world.computed == ["plus", "minus"]


def test_a_killed_worker_costs_its_own_trial(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDBOOK_THREADS", "2")
    jobs = ["dies", "a", "b"]
    with pytest.raises(MedbookError, match="a worker process was killed"):
        world.map(world.one.deadly, jobs, profile="laptop")
    assert sorted(world.computed) == ["a", "b"]
    world.load()
    assert world.map(world.one.deadly, jobs, profile="laptop") == ["dies", "a", "b"]
    assert world.computed == ["dies"]


def test_an_outcome_that_cannot_be_stored_is_an_error(world: World) -> None:
    with pytest.raises(MedbookError, match="an outcome cannot be stored"):
        world.map(world.one.unstorable, [1])
    assert world.stored() == []


RUNNER = """
import sys
from medbook import chapter
from medbook.trials import store
from pathlib import Path
from medbook.record.session import Session

store.cache_folder = lambda: Path({cache!r})
one = chapter.load("one")
values = Session("one", "smoke", 0).map(one.trial, [one.Job(str(k)) for k in range(40)])
print([value.name for value in values] == [str(k) for k in range(40)])
"""


def test_two_runs_at_once_are_fine(world: World, tmp_path: Path) -> None:
    code = RUNNER.format(cache=str(tmp_path / "cache"))
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0] for process in started] == ["True\n"] * 2
    world.load()
    world.map(jobs=[world.one.Job(str(k)) for k in range(40)])
    assert world.computed == []
    assert len(world.stored()) == 40, "no part of a file is left"


# ---------------------------------------------------------------- random numbers


@pytest.mark.parametrize("job", ["torch", "numpy", "seeded"])
@pytest.mark.parametrize("with_store", [True, False])
def test_a_trial_that_moves_global_random_state_is_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch, job: str, with_store: bool
) -> None:
    if not with_store:
        monkeypatch.delenv("MEDBOOK_TRIALS")
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with pytest.raises(MedbookError, match="a trial drew from the global random state of"):
        world.map(world.one.odd, [job])
    after = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1] == after[1]


def test_module_random_is_refused_but_for_generators_of_ones_own(world: World) -> None:
    world.edit("import os, signal, time", "import os, random, signal, time")
    world.edit("return x * STEPS", "return x * random.Random(3).random()")
    world.map()
    world.edit("random.Random(3)", "random")
    with pytest.raises(MedbookError, match=r"one reads random\.random, which draws from global"):
        world.map()


def test_numbers_of_generators_and_inside_a_fork_are_fine(world: World) -> None:
    torch.manual_seed(1)
    first = world.map(world.one.odd, ["own", "seeded inside", "unseeded inside"])
    world.edit("def odd(job):", "def odd(job, again=1):")
    torch.manual_seed(2)
    second = world.map(world.one.odd, ["unseeded inside", "seeded inside", "own"])
    assert second == first[::-1], "whatever ran before"


# ---------------------------------------------------------------- a chapter that runs, and one read


def test_outcomes_of_a_kernel_are_those_of_the_loaded_chapter(world: World, tmp_path: Path) -> None:
    cells = [world.text.replace('# %% tags=["define"]\n', "").split("# %%")[0]]
    cells.append("from pathlib import Path; import medbook.trials.store as store\n")
    cells[-1] += f"store.cache_folder = lambda: Path({str(tmp_path / 'cache')!r})"
    cells.append("from medbook.record.session import Session\nrun = Session('one', 'laptop', 0)")
    cells.append("done = run.map(trial, [Job('none'), Job('plus', plus), Job('minus', minus)])")
    cells.append("assert [type(outcome) is Outcome for outcome in done] == [True] * 3")
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        f"for cell in {cells!r}:\n"
        "    shell.run_cell(cell, store_history=True).raise_error()\n"
    )
    env = {"MEDBOOK_THREADS": "2", "PYTHONPATH": str(paths.PACKAGE.parent), "HOME": str(tmp_path)}
    env |= {"MEDBOOK_ROOT": str(tmp_path), "MEDBOOK_TRIALS": str(tmp_path / "trials")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert sorted(world.computed) == ["minus", "none", "plus"]
    (world.root / "log").write_text("")
    outcomes = world.map()
    assert world.computed == []
    assert [type(outcome) is world.one.Outcome for outcome in outcomes] == [True] * 3
    two = Session("two", "smoke", 0)  # another chapter that maps the first one's function
    two.map(world.one.trial, world.jobs())
    assert world.computed == []
    assert list(two.trials) == ["one.trial"]
    assert fingerprint.definitions(world.one.trial, "two").keys() >= {"one.trial", "one.STEPS"}
