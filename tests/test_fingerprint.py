"""Fingerprints: what changes them, what does not, and what has none."""

import ast
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from medbook import chapter, paths
from medbook.errors import MedbookError
from medbook.evaluate import probes
from medbook.learn import networks, training
from medbook.trials import fingerprint
from medbook.trials.closures import Cell, Sources, cells_of, static_definitions
from medbook.trials.fingerprint import Fingerprints, digest

BASE = """
# %% [markdown]
# # Base, in words

# %% tags=["define"]
BASE = 1

def lent(x):
    return x + BASE
"""

TOP = '''
# %% tags=["parameters"]
seed = 0

# %%
import medbook
from medbook import chapter
from medbook.show import plots

run = medbook.start("top", seed=seed)

# %% tags=["define"]
from dataclasses import dataclass
from functools import wraps
import numpy as np
from medbook import chapter, tools
from medbook.tools import doubled as twice

STEPS = 10
TABLE = {"a": STEPS, "b": lambda x: other(x)}

def noisy(function):
    @wraps(function)
    def inner(*given):
        return function(*given) + 0
    return inner

class Base:
    """Kept."""
    size: int = 3

    def value(self):
        return helper(self.size)

class Model(Base):
    def double(self):
        return twice(self.value())

def helper(x: int) -> int:
    """A helper."""
    return deeper(x)  # of a helper

def deeper(x):
    if x is None:
        raise ValueError("no x was given")
    return x * 2

def other(x):
    return x - 1

def standard():
    return 7

def unused(x):
    return x

# %% tags=["define"]
@noisy
def trial(job, start=standard()):
    lib = chapter.load("base")
    local = [lib.lent(unused) for unused in range(3)]
    run = Model().double()
    return TABLE["b"](job) + tools.tripled(run) + sum(local) + np.add(1, 2)

# %%
figure = plots.style()
for seed in run.map(trial, [1, 2]):
    print(seed)
'''

TOOLS = '''
"""Tools."""
from medbook.deep.inner import FACTOR, half

REGISTRY = {}
REGISTRY["x"] = 1

def doubled(x):
    return FACTOR * half(x) + REGISTRY["x"]

def tripled(x):
    return 3 * x

def spare(x):
    return x
'''

INNER = """
FACTOR = 4

def half(x):
    return x / 2
"""


class World:
    """Sources of two chapters and a small package, all of which a test may edit."""

    def __init__(self, root: Path) -> None:
        self.package = root / "medbook"
        (self.package / "deep").mkdir(parents=True)
        self.chapters = {"top": TOP, "base": BASE}
        for name, text in {"__init__": "", "tools": TOOLS, "deep/inner": INNER}.items():
            (self.package / f"{name}.py").write_text(text)
        loader = "def load(chapter):\n    return 1\n"
        (self.package / "chapter.py").write_text(loader)
        (self.package / "plots.py").write_text("def style():\n    return 1\n")

    def sources(self) -> Sources:
        return Sources(self.cells, self.package)

    def cells(self, id: str) -> list[Cell]:
        if id not in self.chapters:
            raise MedbookError(f"no chapter {id}")
        return cells_of(self.chapters[id])

    def closure(self, name: str = "trial") -> dict[str, str]:
        return static_definitions("top", [name], self.sources())

    def edit(self, where: str, old: str, new: str) -> None:
        if where in self.chapters:
            assert old in self.chapters[where]
            self.chapters[where] = self.chapters[where].replace(old, new)
        else:
            file = self.package / where
            assert old in file.read_text()
            file.write_text(file.read_text().replace(old, new))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# ---------------------------------------------------------------- closures of source text


def test_the_closure_is_what_names_lead_to(world: World) -> None:
    expected = {
        "trial", "noisy", "standard", "Model", "Base", "helper", "deeper", "TABLE", "STEPS",
        "other", "tools.doubled", "tools.tripled", "tools.REGISTRY", "inner.FACTOR", "inner.half",
        "base.lent", "base.BASE",
    }  # fmt: skip
    assert set(world.closure()) == expected


@pytest.mark.parametrize(
    ("where", "old", "new"),
    [
        ("top", "# of a helper", "# a comment"),
        ("top", '"""A helper."""', '"""Another text."""'),
        ("top", '"""Kept."""', '"""Changed."""'),
        ("top", "x: int) -> int", "x: float) -> float"),
        ("top", "return x * 2", "return (x  *\n        2)"),
        ("top", '"no x was given"', '"give an x"'),
        ("top", "figure = plots.style()", "figure = plots.style() + 2"),
        ("top", "def unused(x):\n    return x", "def unused(x):\n    return x + 5"),
        ("top", "[1, 2]", "[1, 2, 3]"),
        ("tools.py", "def spare(x):\n    return x", "def spare(x):\n    return x + 5"),
        ("tools.py", '"""Tools."""', '"""Other tools."""'),
        ("base", "in words", "in other words"),
    ],
)
def test_what_is_not_reached_or_says_nothing_counts_for_nothing(
    world: World, where: str, old: str, new: str
) -> None:
    before = world.closure()
    world.edit(where, old, new)
    assert world.closure() == before


@pytest.mark.parametrize(
    ("where", "old", "new", "changed"),
    [
        ("top", "STEPS = 10", "STEPS = 11", {"STEPS"}),
        ("top", "return x * 2", "return x * 3", {"deeper"}),
        ("top", "size: int = 3", "size: int = 4", {"Base"}),
        ("top", "size: int = 3", "size: float = 3", {"Base"}),
        ("top", "return function(*given) + 0", "return function(*given) + 1", {"noisy"}),
        ("top", "return 7", "return 8", {"standard"}),
        ("top", "return x - 1", "return x - 2", {"other"}),
        ("top", "@noisy\ndef trial", "def trial", {"trial", "noisy"}),
        ("top", "import doubled as twice", "import tripled as twice",
         {"Model", "tools.doubled", "tools.REGISTRY", "inner.FACTOR", "inner.half"}),
        ("top", "import numpy as np", "import numpy.ma as np", {"trial"}),
        ("tools.py", "FACTOR * half", "FACTOR + half", {"tools.doubled"}),
        ("tools.py", 'REGISTRY["x"] = 1', 'REGISTRY["x"] = 2', {"tools.REGISTRY"}),
        ("deep/inner.py", "FACTOR = 4", "FACTOR = 5", {"inner.FACTOR"}),
        ("deep/inner.py", "x / 2", "x / 3", {"inner.half"}),
        ("base", "BASE = 1", "BASE = 2", {"base.BASE"}),
    ],
)  # fmt: skip
def test_what_is_reached_counts_and_is_named(
    world: World, where: str, old: str, new: str, changed: set[str]
) -> None:
    before = world.closure()
    world.edit(where, old, new)
    after = world.closure()
    differing = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
    assert differing == changed


def test_a_moved_module_changes_nothing(world: World) -> None:
    before = world.closure()
    (world.package / "deep/inner.py").rename(world.package / "inner.py")
    world.edit("tools.py", "medbook.deep.inner", "medbook.inner")
    assert world.closure() == before


def test_current_hashes_tell_a_stored_closure_apart(world: World) -> None:
    stored = world.closure()
    assert world.sources().current("top", stored) == stored
    world.edit("tools.py", "3 * x", "4 * x")
    world.edit("top", "return x - 1", "return x - 3")
    world.edit("base", "BASE", "BASIS")
    now = world.sources().current("top", stored)
    changed = {name for name in stored if now[name] != stored[name]}
    assert changed == {"tools.tripled", "other", "base.BASE", "base.lent"}
    assert now["base.BASE"] is None


def test_definitions_of_the_same_name_in_two_modules_are_told_apart(world: World) -> None:
    (world.package / "tools").mkdir()
    (world.package / "deep/tools.py").write_text("def tripled(x):\n    return 1\n")
    before = world.closure()
    (world.package / "deep/tools.py").write_text("def tripled(x):\n    return 2\n")
    assert world.closure() != before
    assert world.sources().current("top", before) == world.closure()


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("return x - 1", "return x - seed", "seed"),
        ("return x - 1", "return x - run.seed", "run"),
        ("return x - 1", "return x - nowhere", "nowhere"),
        ("def other", 'STEPS = 5\n\n# %% tags=["define"]\nSTEPS = 6\n\ndef other', "STEPS"),
    ],
)
def test_names_that_no_define_cell_settles_are_refused(
    world: World, old: str, new: str, name: str
) -> None:
    world.edit("top", old, new)
    with pytest.raises(MedbookError, match=f"'{name}'"):
        world.closure()


def test_local_names_hide_those_of_the_module(world: World) -> None:
    world.edit("top", "return x - 1", "run = x; return [seed for seed in range(run)] + [run]")
    world.closure()


def test_a_module_used_as_a_value_counts_as_a_whole(world: World) -> None:
    world.edit("top", "return x - 1", "return getattr(tools, x)")
    assert {"tools.spare", "tools.tripled"} <= set(world.closure())


@pytest.mark.parametrize("id", sorted(f.stem for f in paths.content_root().glob("chapters/*/*.py")))
def test_every_function_that_a_chapter_maps_has_the_same_closure_loaded_and_as_text(
    id: str,
) -> None:
    loaded, known = chapter.load(id), Fingerprints(id)
    calls = [
        n for n in ast.walk(ast.parse(chapter.find(id).read_text())) if isinstance(n, ast.Call)
    ]
    mapped = {ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) == "run.map"}
    names = sorted(mapped & vars(loaded).keys())  # others are those of medbook
    assert names
    reached = frozenset().union(*(known.of(getattr(loaded, name)).labels for name in names))
    assert known.definitions(reached) == static_definitions(id, names)


# ---------------------------------------------------------------- in a kernel


def test_a_kernel_knows_what_it_executed_not_the_file(tmp_path: Path) -> None:
    book = tmp_path / "chapters/part"
    book.mkdir(parents=True)
    (tmp_path / "book").mkdir()
    text = (
        '# %% tags=["define"]\nK = 1\ndef trial(x):\n    return x + K\n'
        "# %%\nglue = 3\n# %%\ndef wrong(x):\n    return glue\n"
    )
    (book / "one.py").write_text(text)
    code = f"""
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
run = lambda text: shell.run_cell(text, store_history=True).raise_error()
run("K = 1\\ndef trial(x):\\n    return x + K")
run("glue = 3")
run("def wrong(x):\\n    return glue")
file = Path({str(book / "one.py")!r})
file.write_text(file.read_text().replace("K = 1", "K = 2"))
run('''
from medbook.trials.fingerprint import definitions, digest
from medbook.trials.closures import static_definitions
then, now = definitions(trial, "one"), static_definitions("one", ["trial"])
assert then["trial"] == now["trial"] and then["K"] != now["K"]
''')
for bad in ["definitions(wrong, 'one')", "digest(lambda x: x + glue, 'one')"]:
    run(f'''
from medbook.errors import MedbookError
try:
    {{bad}}
except MedbookError as error:
    assert "define" in str(error), error
else:
    raise AssertionError("accepted")
''')
run("before = [digest(f, 'one') for f in (lambda x: x + K, lambda x: x - K, lambda x: x + K)]")
run("assert before[0] == before[2] != before[1]")
run("def trial(x):\\n    return x + K + 1")
run('''
try:
    definitions(trial, "one")
except MedbookError as error:
    assert "two different ways" in str(error)
else:
    raise AssertionError("accepted")
''')
"""
    env = {
        "MEDBOOK_ROOT": str(tmp_path),
        "PYTHONPATH": str(paths.PACKAGE.parent),
        "HOME": str(tmp_path),
    }
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_a_source_edited_while_the_process_runs_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "STARTED", 0.0)
    with pytest.raises(MedbookError, match=r"tools\.py was edited after this process began"):
        fingerprint._read_unedited(world.package / "tools.py")


# ---------------------------------------------------------------- values


@dataclass(frozen=True)
class Plain:
    x: int


Colour = Enum("Colour", "RED BLUE")


def load(text: str, name: str = "sample") -> ModuleType:
    """Definitions as of a chapter."""
    module = ModuleType(chapter.PREFIX + name)
    module.__dict__["__source__"] = text
    sys.modules[module.__name__] = module
    exec(compile(text, name, "exec"), module.__dict__)
    return module


SAMPLE = """
from dataclasses import dataclass
from typing import NamedTuple
from torch import nn
from functools import partial

@dataclass(frozen=True)
class Arm:
    name: str
    build: object = None

    def size(self):
        return 1

class Pair(NamedTuple):
    a: object
    b: object

class Net(nn.Module):
    def __init__(self, rate=0.5):
        super().__init__()
        self.layer, self.rate = nn.Linear(1, 1, bias=False), rate
        nn.init.ones_(self.layer.weight)

class Thing:
    def __init__(self, x):
        self.x = x

    def step(self, y):
        return self.x + y

def first(x):
    return x

def second(x):
    return x

def make(k):
    def inner(x):
        return x * k
    return inner

def pair(k):
    return (lambda x: x + k), (lambda x: x - k)
"""


def test_equal_values_have_equal_fingerprints_and_others_do_not() -> None:
    m = load(SAMPLE)
    makers: list[Callable[[], Any]] = [
        lambda: None, lambda: True, lambda: 1, lambda: 1.0, lambda: "1", lambda: b"1", lambda: (1,),
        lambda: [1], lambda: {1}, lambda: frozenset({1}), lambda: {"a": 1}, lambda: {"a": {}},
        lambda: (), lambda: [], lambda: {}, lambda: ((), ()), lambda: ([1], 2), lambda: ([1, 2],),
        lambda: np.float32(1), lambda: np.float64(1), lambda: np.ones(1), lambda: np.ones((1, 1)),
        lambda: np.ones(1, dtype=int), lambda: torch.ones(1), lambda: torch.ones(1, 1),
        lambda: torch.ones(()), lambda: torch.ones(1, dtype=torch.bfloat16), lambda: torch.float32,
        lambda: torch.device("cpu"), lambda: nn.Parameter(torch.ones(1)), lambda: slice(1),
        lambda: float("nan"), lambda: -0.0, lambda: 0.0, lambda: m.Arm("a"), lambda: m.Arm("b"),
        lambda: m.Arm("a", m.first), lambda: m.Arm("a", m.second), lambda: m.Pair(1, 2),
        lambda: m.Pair(2, 1), lambda: (1, 2), lambda: m.Net(), lambda: m.Net(0.1), lambda: m.first,
        lambda: m.second, lambda: m.make(1), lambda: m.make(2), lambda: m.pair(1)[0],
        lambda: m.pair(1)[1], lambda: m.pair(2)[1], lambda: partial(m.first, 1),
        lambda: partial(m.first, x=1), lambda: partial(m.first, 2), lambda: m.Thing(1),
        lambda: m.Thing(2), lambda: m.Thing(1).step, lambda: m.Thing(2).step, lambda: m.Arm,
        lambda: m.Net, lambda: nn.functional.relu, lambda: nn.functional.gelu, lambda: torch.relu,
        lambda: np.add, lambda: training.random_shift(1), lambda: training.random_shift(2),
        lambda: networks.UNet, lambda: m.Arm("a", lambda_of(m)),
    ]  # fmt: skip
    once, again = ([digest(make()) for make in makers] for _ in range(2))
    assert once == again
    same = [(k, j) for j, x in enumerate(once) for k in range(j) if once[k] == x]
    assert same == []


def lambda_of(module: ModuleType) -> Any:
    return module.pair(3)[0]


def test_the_order_of_dictionaries_and_sets_does_not_count() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"x", "y", "z"}) == digest({"z", "y", "x"})


def test_layout_in_memory_does_not_count_but_content_does() -> None:
    image = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert digest(image) == digest(image.to(memory_format=torch.channels_last))
    assert digest(image) == digest(torch.cat([image, image])[:1])
    assert digest(image) != digest(image + 1)


@given(st.lists(st.floats(allow_nan=False, width=32), max_size=5))
def test_tensors_are_told_by_their_bytes(values: list[float]) -> None:
    tensor = torch.tensor(values)
    assert digest(tensor) == digest(tensor.clone())
    assert digest(tensor) != digest(torch.cat([tensor, torch.ones(1)]))


def test_an_edited_class_or_function_in_a_job_is_another_job() -> None:
    def prints(text: str) -> tuple[str, ...]:
        m = load(text)
        values = m.Arm("a", m.first), m.Arm("a", m.make(1)), m.Net(), m.Thing(1), m.pair(1)[0]
        return tuple(digest(value) for value in values)

    before = prints(SAMPLE)
    assert prints(SAMPLE + "# a comment\n") == before

    def changed(old: str, new: str) -> list[int]:
        after = prints(SAMPLE.replace(old, new))
        return [k for k, (x, y) in enumerate(zip(before, after, strict=True)) if x != y]

    assert changed("def first(x):\n    return x", "def first(x):\n    return -x") == [0]
    assert changed("return x * k", "return x / k") == [1]
    assert changed("return self.x + y", "return self.x - y") == [3]
    assert changed("lambda x: x + k", "lambda x: x + k + 0") == [4]
    assert changed("lambda x: x - k", "lambda x: x - k - 0") == []
    assert changed("return 1", "return 2") == [0, 1]
    assert changed("super().__init__()", "super().__init__(); self.x = None") == [2]


def test_definitions_that_only_a_job_reaches_are_noted() -> None:
    m = load(SAMPLE)
    prints = Fingerprints("sample")
    labels = prints.of(m.Arm("a", m.make(2))).labels | prints.of(m.Arm("b", m.first)).labels
    assert set(prints.definitions(labels)) == {"Arm", "first"}


class Loop:
    pass


def test_what_cannot_be_compared_is_refused_with_its_place() -> None:
    m = load(SAMPLE)
    looped: list[Any] = []
    looped.append(looped)
    refused: dict[str, Any] = {
        r"job\.build: cannot hash pathlib\..*Path: a path is no content": m.Arm("a", Path("x")),
        r"job\.b\['k'\]\[1\]: cannot hash torch.*Generator: its state changes: pass a seed": m.Pair(
            1, {"k": [0, torch.Generator()]}
        ),
        r"job: cannot hash numpy.*Generator: its state": np.random.default_rng(0),
        r"job\[0\]: cannot hash what contains itself": looped,
        r"job: cannot hash torch.Tensor: pass an ordinary dense": torch.ones(2, 2).to_sparse(),
        r"job: cannot hash numpy.ndarray: pass an ordinary": np.array([object()]),
        r"job: cannot hash _thread": __import__("threading").Lock(),
        r"job: cannot hash what .*test_fingerprint defines": Loop(),
        r"cannot hash builtins.builtin_function_or_method": [].append,
    }
    for message, value in refused.items():
        with pytest.raises(MedbookError, match=message):
            digest(value)


def test_a_refused_value_is_refused_again() -> None:
    prints, value = Fingerprints(), {"a": Path("x")}
    for _ in range(2):
        with pytest.raises(MedbookError, match="a path is no content"):
            prints.of(value)


def test_parts_name_the_fields_of_a_job() -> None:
    m = load(SAMPLE)
    parts = dict(Fingerprints("sample").parts(m.Pair(m.Arm("a", m.first), {"steps": 3, "x": (1,)})))
    assert parts["job.a.name"] == "'a'"
    assert parts["job.b['steps']"] == "3"
    assert parts["job.b['x'][0]"] == "1"
    assert parts["job.a.build"].startswith("first ")


def test_labels_look_through_partials() -> None:
    m = load(SAMPLE)
    prints = Fingerprints("sample")
    assert prints.label(partial(m.first, x=1)) == "sample.first"
    with pytest.raises(MedbookError, match="map a function that a cell tagged `define`"):
        prints.label(m.pair(1)[0])


def test_what_only_refuses_inputs_is_no_part_of_an_outcome() -> None:
    reached = fingerprint.definitions(probes.auc)
    assert {"probes.auc", "probes._area"} <= reached.keys()
    assert not [name for name in reached if name.startswith(("refuse.", "errors."))]


class Named(NamedTuple):
    x: int


@pytest.mark.parametrize("value", [Plain(1), Named(1), Colour.RED, Plain])
def test_classes_of_an_unknown_source_are_refused(value: Any) -> None:
    with pytest.raises(MedbookError, match="cannot hash what"):
        digest(value)


def test_fingerprints_are_the_same_in_another_process() -> None:
    code = (
        "from medbook.learn import training; from medbook.trials import fingerprint as f\n"
        "print(f.digest([training.fit, {'a', 'b'}]))"
    )
    env = {"PYTHONPATH": str(paths.PACKAGE.parent), "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == digest([training.fit, {"a", "b"}]), done.stderr[-500:]
