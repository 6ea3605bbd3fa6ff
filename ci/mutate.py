"""Would a chapter's tests notice a mistake in its definitions? Some mistakes, made one at a time.

    python ci/mutate.py unlearnable_examples --sample 40 --seed 1

Each mutant changes one place of one `define` cell: another operator, a term, a statement, a mask, a
keyword or a `.detach()` left out, another constant, two arguments exchanged. The tests of the
chapter, `tests/test_<chapter>.py`, then run until one fails (killed) or all have passed (survived).
A survivor is either a test that is missing or a change that changes nothing: look at each.

Libraries are imported once; each mutant is a fork of that process with its own limit of processor
seconds. (mutmut mutates modules that are imported by name, cosmic-ray starts an interpreter for
each mutant; definitions live in a notebook, and importing torch takes longer than most tests.)
"""

import argparse
import ast
import gc
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

import pytest

from medbook import chapter
from medbook.errors import MedbookError
from medbook.paths import PACKAGE, content_root

INVALID, STOPPED = 90, "stopped"  # exit code of a mutant that does not load; its processor seconds
SLOWER = 4  # times as long as the tests take without a mutant, and GRACE seconds
GRACE = 10

ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
COMPARED: dict[type, type] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Lt, ast.Gt: ast.LtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPPOSITE = {
    "min": "max", "max": "min", "amin": "amax", "amax": "amin", "argmin": "argmax",
    "argmax": "argmin", "sum": "mean", "mean": "sum", "any": "all", "all": "any", "sin": "cos",
    "cos": "sin", "ceil": "floor", "floor": "ceil", "maximum": "minimum", "minimum": "maximum",
    "zeros": "ones", "ones": "zeros", "zeros_like": "ones_like", "ones_like": "zeros_like",
    "rand": "randn", "argsort": "sort", "real": "imag", "eval": "train", "train": "eval",
}  # fmt: skip
DROPPED = {  # calls that are left out: x.f(...) becomes x, f(x, ...) becomes x
    "detach", "abs", "square", "sqrt", "exp", "log", "conj", "clamp", "clamp_", "clip", "eval",
    "train", "flip", "roll", "fftshift", "ifftshift", "normalize", "softmax", "sigmoid", "relu",
    "gelu", "silu", "tanh", "sign", "round", "masked_fill", "sorted", "reversed", "fliplr",
    "log_softmax", "expm1", "log1p", "stop_gradient", "deepcopy", "requires_grad_", "softplus",
}  # fmt: skip


Place = ast.expr | ast.stmt


class Mutant(NamedTuple):
    """A stretch of source that is replaced: bytes `start` to `end`."""

    line: int
    start: int
    end: int
    new: str
    what: str

    def of(self, source: bytes) -> str:
        """The source with this one change."""
        return (source[: self.start] + self.new.encode() + source[self.end :]).decode()


# ---------------------------------------------------------------- what may be changed


def mutants(source: str) -> list[Mutant]:
    """All mutants of a Python source, in its order.

    >>> [m.new for m in mutants("x = a + 2")]
    ['(a - 2)', 'a', '2', '3']
    """
    content, starts = source.encode(), [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node in _places(ast.parse(source)):
        for what, place, new in _changes(node):
            start = starts[place.lineno - 1] + place.col_offset
            end = starts[(place.end_lineno or 0) - 1] + (place.end_col_offset or 0)
            old = content[start:end].decode()
            found.append(Mutant(place.lineno, start, end, _text(new, old, place), what))
    return found


def _text(new: ast.AST, old: str, place: Place) -> str:
    """What stands in a place instead of its old text."""
    if isinstance(new, ast.Break):  # after the old text
        return f"{old}\n{' ' * place.col_offset}break"
    composed = isinstance(new, ast.BinOp | ast.BoolOp | ast.Compare | ast.UnaryOp | ast.IfExp)
    return f"({ast.unparse(new)})" if composed else ast.unparse(new)


def _places(node: ast.AST) -> Iterator[Place]:
    """Expressions and statements that compute; not types, texts, messages, decorators, imports."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.Assert | ast.JoinedStr):
        return
    if isinstance(node, ast.expr | ast.stmt):
        yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "ctx", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _places(child)


def _changes(node: Place) -> Iterator[tuple[str, Place, ast.AST]]:
    """Names of changes of one node, the place that changes, and what then stands there."""
    for rule in (_operator, _condition, _constant, _call, _part, _statement):
        for what, new in rule(node):
            yield what, node, new
    if isinstance(node, ast.If) and not _only_raises(node):
        for value in (True, False):
            yield f"if {value}", node.test, ast.Constant(value)
    if isinstance(node, ast.For) and node.body[0].lineno > node.lineno:
        yield "first round alone", node.body[-1], ast.Break()


def _operator(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.BinOp):
        if other := ARITHMETIC.get(type(node.op)):
            yield "operator", ast.BinOp(node.left, other(), node.right)
        if isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.BitAnd | ast.BitOr):
            yield "right side dropped", node.left
        if isinstance(node.op, ast.Add | ast.Mult | ast.BitAnd | ast.BitOr):
            yield "left side dropped", node.right
        if isinstance(node.op, ast.Div):
            yield "division dropped", node.left
    if isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
        yield "sign or negation dropped", node.operand


def _condition(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Compare):
        if other := COMPARED.get(type(node.ops[0])):
            yield "comparison", ast.Compare(node.left, [other(), *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield "and, or", ast.BoolOp(other(), node.values)
    elif isinstance(node, ast.IfExp):
        yield "always the first", node.body
        yield "always the second", node.orelse


def _constant(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield "constant", ast.Constant(not value)
    elif isinstance(value, int):
        yield "constant", ast.Constant(value + 1)
    elif isinstance(value, float):
        yield "constant", ast.Constant(2 * value if value else 1.0)


def _call(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if not isinstance(node, ast.Call):
        return
    name = _name(node)
    if name in OPPOSITE:
        yield "opposite", _renamed(node, OPPOSITE[name])
    if name in DROPPED and (inner := _inner(node)):
        yield f"{name} dropped", inner
    if len(node.args) > 1 and not any(isinstance(a, ast.Starred) for a in node.args[:2]):
        first, second, *rest = node.args
        yield "arguments exchanged", ast.Call(node.func, [second, first, *rest], node.keywords)
    for k, keyword in enumerate(node.keywords):
        if keyword.arg:
            others = node.keywords[:k] + node.keywords[k + 1 :]
            yield f"{keyword.arg}= dropped", ast.Call(node.func, node.args, others)


def _part(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        yield "slice dropped", node.value
    elif isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp):
        for k, part in enumerate(node.generators):
            if part.ifs:
                new = deepcopy(node)
                new.generators[k].ifs = []
                yield "filter dropped", new


def _statement(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.AugAssign) and (other := ARITHMETIC.get(type(node.op))):
        yield "operator", ast.AugAssign(node.target, other(), node.value)
    called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await)
    stored = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript)
    if called or stored or isinstance(node, ast.AugAssign):
        yield "statement dropped", ast.Pass()


def _only_raises(node: ast.If) -> bool:
    """A refusal: its condition is mutated, the branch is not worth three mutants."""
    return len(node.body) == 1 and isinstance(node.body[0], ast.Raise)


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _renamed(call: ast.Call, name: str) -> ast.Call:
    if isinstance(call.func, ast.Attribute):
        function: ast.expr = ast.Attribute(call.func.value, name, call.func.ctx)
    else:
        function = ast.Name(name, ast.Load())
    return ast.Call(function, call.args, call.keywords)


MODULES = {"F", "torch", "np", "nn", "fft", "functional", "math", "copy"}


def _inner(call: ast.Call) -> ast.expr | None:
    """What a call works on: x of x.f(...), or of f(x, ...) and F.f(x, ...)."""
    if isinstance(call.func, ast.Attribute):
        owner = call.func.value
        last = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        if last not in MODULES:
            return owner
    return call.args[0] if call.args else None


# ---------------------------------------------------------------- one mutant, tested

Done = tuple[float, list[tuple[int, int]]]  # seconds of the processor, lines from and to


@dataclass(frozen=True)
class Known:
    """What the tests do without a mutant: all together take `seconds` of the processor."""

    tests: dict[str, Done]
    seconds: float

    def place(self, test: str, line: int) -> tuple[bool, float]:
        """Tests that reach the line come first, of them the quickest."""
        seconds, reached = self.tests.get(test, (0.0, []))
        return not any(first <= line <= last for first, last in reached), seconds


class Watch:
    """A plugin of pytest that finds out what each test does, its fixtures included."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.codes: set[CodeType] = set()  # that were called lately
        self.tests: dict[str, Done] = {}
        self.fixtures: dict[str, Done] = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef) -> Iterator[None]:
        before, self.codes, started = self.codes, set(), time.process_time()
        yield
        self.fixtures[fixturedef.argname] = self._done(started)
        self.codes |= before

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        self.codes, started = set(), time.process_time()
        yield
        own, used = self._done(started), getattr(item, "fixturenames", ())
        parts = [own, *(self.fixtures[name] for name in used if name in self.fixtures)]
        lines = {reached for _, found in parts for reached in found}
        self.tests[item.nodeid] = sum(seconds for seconds, _ in parts), sorted(lines)

    def pytest_runtest_setup(self) -> None:
        sys.settrace(self._called)

    def pytest_runtest_teardown(self) -> None:
        sys.settrace(None)

    def _called(self, frame: FrameType, *_: object) -> None:
        self.codes.add(frame.f_code)

    def _done(self, started: float) -> Done:
        codes = list(self.codes)  # more are called from here on
        lines = {_lines(code) for code in codes if code.co_filename == self.file}
        return time.process_time() - started, sorted(lines)


class Order:
    """A plugin of pytest that begins with the tests that reach a line."""

    def __init__(self, known: Known, line: int) -> None:
        self.known, self.line = known, line

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.known.place(item.nodeid, self.line))


def _lines(code: CodeType) -> tuple[int, int]:
    lines = [line for *_, line in code.co_lines() if line]
    return min(lines), max(lines)


def tests_of(name: str, *plugins: object) -> int:
    """Run the tests of a chapter until one fails; pytest's exit code."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:unraisableexception"]
    return int(pytest.main([*options, f"tests/test_{name}.py"], plugins))


def watched(name: str) -> Known:
    """What the tests of a chapter do; ends the program if they fail."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "known.json"
        code, log = _in_fork(partial(_watch, name, file), Path(folder), wall=1800)
        if code:
            sys.exit(f"{log[-3000:]}\nthe tests fail without a mutant")
        tests, seconds, libraries = json.loads(file.read_text())
    for library in libraries:  # once for all forks
        with suppress(Exception):
            import_module(library)
    gc.freeze()  # forks need not look through what they share
    return Known({test: tuple(found) for test, found in tests.items()}, seconds)


def _watch(name: str, file: Path) -> int:
    watch = Watch(str(chapter.find(name)))
    code = tests_of(name, watch)
    file.write_text(json.dumps([watch.tests, time.process_time(), _libraries()]))
    return code


def _libraries() -> list[str]:
    """Modules that are imported now, but for tests and chapters."""
    found = {name: getattr(module, "__file__", "") or "" for name, module in sys.modules.items()}
    own = str(PACKAGE)
    return [name for name, file in found.items() if "site-packages" in file or own in file]


def outcome(name: str, text: str, known: Known, wall: float, mutant: Mutant) -> str:
    """`survived`, `killed`, `stopped` (its seconds were spent), `invalid` (it does not load)."""
    work = partial(_mutated, name, text, known, mutant)
    with tempfile.TemporaryDirectory() as folder:
        code, _ = _in_fork(work, Path(folder), wall)
    return {0: "survived", INVALID: "invalid", None: STOPPED}.get(code, "killed")


def _mutated(name: str, text: str, known: Known, mutant: Mutant) -> int:
    seconds = int(SLOWER * known.seconds + GRACE)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 2))
    usual = chapter.defining_source
    new = mutant.of(usual(text).encode())
    chapter.defining_source = lambda read: new if read == text else usual(read)
    try:
        chapter.load(name)
    except MedbookError:
        return INVALID
    return tests_of(name, Order(known, mutant.line))


def _in_fork(work: Callable[[], int], folder: Path, wall: float) -> tuple[int | None, str]:
    """Exit code of a fork that does this work, None if it was stopped; and what it printed."""
    log = folder / "log"
    child = multiprocessing.get_context("fork").Process(target=_child, args=(work, log))
    child.start()
    child.join(wall)
    stopped = child.is_alive() or child.exitcode == -signal.SIGXCPU
    if child.is_alive():
        child.kill()
        child.join()
    return None if stopped else child.exitcode, log.read_text(errors="replace")


def _child(work: Callable[[], int], log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = work()
    sys.stdout.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("chapter")
    parser.add_argument("--sample", type=int, default=40, help="mutants that are tested")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=1, help="side by side")
    parser.add_argument("--lines", default="", help="only mutants of these lines: 120-260")
    options = parser.parse_args(arguments)
    os.chdir(content_root())
    text = chapter.find(options.chapter).read_text(encoding="utf-8")
    source = chapter.defining_source(text)
    chapter.load(options.chapter)  # imports what the definitions need, once for all forks
    found = [m for m in mutants(source) if _asked(m.line, options.lines)]
    random.Random(options.seed).shuffle(found)

    begun = time.monotonic()
    known = watched(options.chapter)
    told = f"{len(found)} mutants; {len(known.tests)} tests, {known.seconds:.1f} s of the processor"
    print(told, flush=True)
    test = partial(outcome, options.chapter, text, known, 60 + 10 * (time.monotonic() - begun))

    counts = dict.fromkeys(("killed", "survived", STOPPED, "invalid"), 0)
    todo = iter(found)
    with ThreadPoolExecutor(options.jobs) as pool:
        while (missing := options.sample - sum(counts.values()) + counts["invalid"]) > 0:
            drawn = [m for m, _ in zip(todo, range(missing), strict=False)]
            if not drawn:
                break
            for mutant, end in zip(drawn, pool.map(test, drawn), strict=True):
                counts[end] += 1
                if end != "invalid":
                    print(f"{end:8} {_told(mutant, source)}", flush=True)
    tested = sum(counts.values()) - counts["invalid"]
    killed = counts["killed"] + counts[STOPPED]
    share = f"{killed / tested:.0%}" if tested else "none"
    print(
        f"killed {killed} of {tested} ({share}), {counts['survived']} survived, seed {options.seed}"
    )
    return 0


def _asked(line: int, lines: str) -> bool:
    first, _, last = lines.partition("-")
    return not lines or int(first) <= line <= int(last or first)


def _told(mutant: Mutant, source: str) -> str:
    old = source.encode()[mutant.start : mutant.end].decode()
    was, now = (" ".join(text.split())[:60] for text in (old, mutant.new))
    return f"line {mutant.line}: {mutant.what}: {was} -> {now}"


if __name__ == "__main__":
    sys.exit(main())
