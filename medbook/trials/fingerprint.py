"""Fingerprints of functions and of jobs: by content, the same in every process.

A function counts as the text of all definitions that it reaches (see `medbook.trials.closures`),
a value as its bytes. What has no content to compare (a path, a generator, an open file) is refused.
"""

import ast
import hashlib
import linecache
import sys
import sysconfig
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import lru_cache, partial
from pathlib import Path, PurePath
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medbook import chapter as chapters
from medbook.errors import MedbookError
from medbook.trials.closures import Cell, Definition, Module, Sources, cells_of, parsed, shorten
from medbook.trials.syntax import Reference, skeleton

_heard: list[str] = []  # cells of a kernel without history
STARTED = time.time()  # a source that was edited later is not what this process executes
ATOMS = (type(None), bool, int, float, complex, str, bytes, type(...), range, slice)
TORCH_ATOMS = (torch.dtype, torch.layout, torch.memory_format)
DICTIONARIES = (dict, OrderedDict, MappingProxyType)
BUILT_IN_FUNCTIONS: tuple[type, ...] = (
    BuiltinFunctionType,
    np.ufunc,
    type(len),
    type(str.join),
    type([].append),
)
SHORT = 60  # characters: a longer text is told by its fingerprint
FEW = 32  # items: longer sequences are told as a whole


@dataclass(frozen=True)
class Print:
    """A fingerprint: 32 hex digits, and the labels of the definitions that it rests on."""

    digest: str
    labels: frozenset[str] = frozenset()


Piece = str | bytes | memoryview | Print


def definitions(function: Callable[..., Any], chapter: str = "") -> dict[str, str]:
    """The definitions that a function reaches, with their hashes.

    Args:
        function: of a chapter's `define` cells, of medbook, or made from such ones.
        chapter: id of the chapter that runs in this kernel.

    Returns:
        hashes by name: `trial` for the chapter's own, `training.fit` for others.

    Raises:
        MedbookError: a name that it reaches is not from a `define` cell.

    >>> from medbook.evaluate.stats import t_interval
    >>> sorted(definitions(t_interval))[0]
    'stats.Interval'
    """
    prints = Fingerprints(chapter)
    return prints.definitions(prints.of(function).labels)


def digest(value: Any, chapter: str = "") -> str:
    """32 hex digits of the content of a value, definitions that it carries included.

    Raises:
        MedbookError: something in it has no content that could be compared; its place is named.

    >>> digest({"a": 1, "b": (2.0, None)}) == digest({"b": (2.0, None), "a": 1})
    True
    >>> digest(torch.zeros(2)) == digest(torch.zeros(2, 1))
    False
    """
    return Fingerprints(chapter).of(value).digest


class Fingerprints:
    """Fingerprints of one map: each object is looked at once, so it must not change meanwhile.

    Args:
        chapter: id of the chapter that runs in this kernel.
    """

    def __init__(self, chapter: str = "") -> None:
        self._chapter = chapter or "__main__"
        self._sources = _sources_of_process()
        self._sources.forget_chapters(lambda id: _cells(id, self._chapter))
        self._seen: dict[int, tuple[Any, Print]] = {}
        self._open: set[int] = set()
        self._hashes: dict[str, str] = {}

    def of(self, value: Any, path: str = "job") -> Print:
        """Fingerprint of a value or function; `path` names it in errors."""
        if type(value) in ATOMS:
            return _print(type(value).__name__, repr(value))
        key = id(value)
        if key not in self._seen:
            if key in self._open:
                raise MedbookError(f"{path}: cannot hash what contains itself")
            self._open.add(key)
            try:
                self._seen[key] = value, _print(*self._pieces(value, path))
            finally:
                self._open.discard(key)
        return self._seen[key][1]

    def definitions(self, labels: Iterable[str]) -> dict[str, str]:
        """Hashes of definitions, the chapter's own by their bare names."""
        return shorten(self.full(labels), self._chapter)

    def full(self, labels: Iterable[str]) -> dict[str, str]:
        """Hashes of definitions, those of chapters by `<chapter>.<name>`."""
        return {label: self._hashes[label] for label in sorted(labels)}

    def label(self, function: Callable[..., Any]) -> str:
        """Name of a function as `definitions` has it, whatever it is wrapped in."""
        while isinstance(function, partial | MethodType):
            function = function.func if isinstance(function, partial) else function.__func__
        where = self._home(function, "function")
        if isinstance(where, str) or "<" in function.__qualname__:
            raise MedbookError(
                f"run.map cannot store outcomes of {_name(function)}: map a function that a cell "
                "tagged `define`, or medbook, defines by name"
            )
        return f"{where.label}.{function.__qualname__}"

    def parts(self, value: Any, path: str = "job") -> Iterator[tuple[str, str]]:
        """What a value is made of, field by field, so that a difference can be named."""
        items = list(_items(value))
        if items and len(items) <= FEW:
            yield path, self._kind(value)
            for step, item in items:
                yield from self.parts(item, path + step)
        elif type(value) in ATOMS and len(repr(value)) <= SHORT:
            yield path, repr(value)
        else:
            name = getattr(value, "__qualname__", type(value).__name__)
            yield path, f"{name} {self.of(value, path).digest}"

    def _kind(self, value: Any) -> str:
        plain = type(value) in (list, tuple, *DICTIONARIES)
        return type(value).__name__ if plain else f"{type(value).__name__} {self._type(value)}"

    def _type(self, value: Any) -> str:
        return self.of(type(value)).digest

    # ------------------------------------------------------------ values

    def _pieces(self, value: Any, path: str) -> Iterator[Piece]:
        """What a fingerprint is computed from."""
        if isinstance(value, Tensor | np.ndarray | np.generic):
            yield from _numbers(value, path)
        elif isinstance(value, torch.device):
            yield f"device {value.type}"
        elif isinstance(value, TORCH_ATOMS):
            yield str(value)
        elif isinstance(value, Enum):
            yield from ("enum", self.of(type(value), path), value.name)
        elif isinstance(value, set | frozenset):
            yield type(value).__name__
            yield from sorted((self.of(x, f"{path}{{...}}") for x in value), key=_by_digest)
        elif isinstance(value, nn.Module):
            yield from ("network", self.of(type(value), path))
            yield from self._attributes(_state(value), path)
        elif (items := list(_items(value))) or type(value) in (list, tuple, torch.Size):
            yield from self._container(value, items, path)
        elif type(value) in DICTIONARIES or _is_record(value):
            yield from ("empty", self.of(type(value), path))
        elif isinstance(value, type):
            yield from self._class(value, path)
        elif isinstance(value, partial | MethodType | FunctionType) or callable(value):
            yield from self._callable(value, path)
        elif isinstance(value, ModuleType):
            yield from self._module(value, path)
        else:
            yield from self._instance(value, path)

    def _container(self, value: Any, items: list[tuple[str, Any]], path: str) -> Iterator[Piece]:
        ordered = isinstance(value, list | tuple)
        yield type(value).__name__ if type(value) in (list, tuple, dict) else ""
        if type(value) not in (list, tuple, *DICTIONARIES):
            yield self.of(type(value), path)
        if ordered:
            yield from (self.of(item, path + step) for step, item in items)
        elif isinstance(value, DICTIONARIES):
            pairs = [
                _print(self.of(k, path), self.of(x, f"{path}[{k!r}]")) for k, x in value.items()
            ]
            yield from sorted(pairs, key=_by_digest)
        else:
            yield from self._attributes(dict(_attributes(value)), path)

    def _attributes(self, named: Mapping[str, Any], path: str) -> Iterator[Piece]:
        for name, value in sorted(named.items()):
            yield from (name, self.of(value, f"{path}.{name}"))

    def _instance(self, value: Any, path: str) -> Iterator[Piece]:
        """An object of a class whose source is known: its class and its attributes."""
        if isinstance(value, PurePath):
            raise _refused(path, value, "a path is no content: load the file and pass its values")
        if isinstance(value, torch.Generator | np.random.Generator | np.random.RandomState):
            raise _refused(path, value, "its state changes: pass a seed")
        if isinstance(self._home(type(value), path), str):
            raise _refused(path, value, "pass numbers, text, tensors, arrays, dataclasses of these")
        yield from ("instance", self.of(type(value), path))
        yield from self._attributes(dict(_attributes(value)), path)

    # ------------------------------------------------------------ code

    def _class(self, value: type, path: str) -> Iterator[Piece]:
        where = self._home(value, path)
        if isinstance(where, str):
            yield f"class {where}"
        elif "<" in value.__qualname__:
            raise _refused(path, value, "define the class at the top of a cell tagged `define`")
        else:
            yield from self._named(where, value.__qualname__)

    def _callable(self, value: Any, path: str) -> Iterator[Piece]:
        if isinstance(value, partial):
            yield from ("partial", self.of(value.func, path), self.of(value.args, f"{path}.args"))
            yield self.of(value.keywords, f"{path}.keywords")
        elif isinstance(value, MethodType):
            yield from ("method", value.__name__, self.of(value.__self__, path))
        elif isinstance(value, BUILT_IN_FUNCTIONS):
            bound = getattr(value, "__self__", None)
            if bound is not None and not isinstance(bound, ModuleType | type):
                raise _refused(path, value, "a method of a library's object")
            yield f"built-in {getattr(value, '__module__', '')} {_name(value)}"
        elif isinstance(value, FunctionType) or hasattr(value, "__wrapped__"):
            yield from self._function(value, path)
        else:
            yield from self._instance(value, path)

    def _function(self, value: Any, path: str) -> Iterator[Piece]:
        where = self._home(value, path)
        if isinstance(where, str):
            yield f"function {where}"
            yield from self._captured(value, path)
        elif "<" not in value.__qualname__:
            yield from self._named(where, value.__qualname__)
        else:
            while hasattr(value, "__wrapped__"):
                value = value.__wrapped__
            code = value.__code__
            node = _node_of(code, _text_of(value, where), path)
            hashed, reached = self._sources.hash_nodes(where, [node], local=code.co_freevars)
            yield from ("local function", hashed, self._reached(reached))
            yield self.of(value.__defaults__, f"{path}.defaults")
            yield self.of(value.__kwdefaults__, f"{path}.defaults")
            yield from self._captured(value, path)

    def _captured(self, value: Any, path: str) -> Iterator[Piece]:
        """What a function holds of the one around it."""
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            yield name
            if cell.cell_contents is value:
                yield "itself"
            else:
                yield self.of(cell.cell_contents, f"{path}.<{name}>")

    def _module(self, value: ModuleType, path: str) -> Iterator[Piece]:
        where = self._home_of(value.__name__, path)
        if isinstance(where, str):
            yield f"module {value.__name__}"
        else:
            yield self._reached([(where, name) for name in where.statements])

    def _named(self, module: Module, qualname: str) -> Iterator[Piece]:
        """A definition by its name, and all that it reaches."""
        target = self._sources.resolve(module, Reference((qualname.split(".")[0],)))
        assert not isinstance(target, str)
        yield from (f"{module.label}.{qualname}", self._reached(target))

    def _reached(self, start: Iterable[Definition]) -> Print:
        found = self._sources.closure(start)
        self._hashes |= found
        pieces = [f"{label} {hashed}" for label, hashed in found.items()]
        return Print(_print(*pieces).digest, frozenset(found))

    def _home(self, value: Any, path: str) -> Module | str:
        """The source that defines a class or function; the full name of what others define."""
        name = getattr(value, "__module__", None) or "builtins"
        found = self._home_of(name, path)
        if isinstance(found, str):
            return f"{name}.{_name(value)}"
        if name.startswith(chapters.PREFIX) and not _current(value, name):
            raise _refused(path, value, "its chapter was loaded again: take it from there")
        return found

    def _home_of(self, name: str, path: str) -> Module | str:
        if name == "__main__":
            return self._sources.chapter(self._chapter)
        if name.startswith(chapters.PREFIX):
            return self._sources.chapter(name.removeprefix(chapters.PREFIX))
        if name.split(".")[0] == "medbook":
            found = self._sources.module(name)
            assert found is not None
            return found
        if not _from_library(name):
            raise MedbookError(
                f"{path}: cannot hash what {name} defines: take it from a cell tagged `define`, "
                "from medbook or from an installed library"
            )
        return name


# ---------------------------------------------------------------- sources of this process


@lru_cache(maxsize=1)
def _sources_of_process() -> Sources:
    return Sources(read=_read_unedited)


def _read_unedited(path: Path) -> str:
    if path.stat().st_mtime > STARTED:
        raise MedbookError(
            f"{path.name} was edited after this process began, which may execute the older text: "
            "restart the kernel, or run again"
        )
    return path.read_text(encoding="utf-8")


def _cells(id: str, running: str) -> list[Cell]:
    """Source of a chapter as this process knows it, whatever became of its file since."""
    loaded = sys.modules.get(chapters.PREFIX + id)
    if id == running and (_shell() or not loaded):
        return _executed_cells(id)
    if loaded:
        return [Cell(loaded.__dict__["__source__"])]
    return cells_of(chapters.find(id).read_text(encoding="utf-8"))


def _executed_cells(chapter: str) -> list[Cell]:
    """What this kernel has executed; cells that the chapter does not tag `define` are glue."""
    glue = _glue_of(chapter)
    return [
        Cell(text, define=not text.startswith("# Parameters") and _code(text) not in glue)
        for text in _executed_texts()
    ]


def _executed_texts() -> list[str]:
    if shell := _shell():
        return [text for text in shell.user_ns["In"] if text] or _heard
    file = getattr(sys.modules["__main__"], "__file__", None)
    return [_read_unedited(Path(file))] if file else []


def listen() -> None:
    """Remember the cells that this kernel executes from now on: nbval leaves no history of them."""
    shell = _shell()
    if shell and _hear not in shell.events.callbacks["pre_run_cell"]:
        shell.events.register("pre_run_cell", _hear)


def _hear(info: Any) -> None:
    _heard.append(_shell().transform_cell(info.raw_cell))


def _shell() -> Any:
    """IPython, if it runs this process."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()


def _glue_of(chapter: str) -> list[Any]:
    try:
        cells = cells_of(chapters.find(chapter).read_text(encoding="utf-8"))
    except MedbookError:  # a notebook of somebody's own
        return []
    return [_code(cell.text) for cell in cells if not cell.define]


def _code(text: str) -> Any:
    """Skeleton of a cell without its magics."""
    statements = parsed(text, "a cell")
    return [skeleton(s) for s in statements if not ast.unparse(s).startswith("get_ipython()")]


def _from_library(module: str) -> bool:
    """Of an installed package, or of Python itself."""
    file = getattr(sys.modules.get(module.split(".")[0]), "__file__", None)
    if file is None:  # built in, or a namespace package
        return True
    path = Path(file)
    inside = {"site-packages", "dist-packages"} & set(path.parts)
    return bool(inside) or path.is_relative_to(sysconfig.get_path("stdlib"))


def _current(value: Any, module: str) -> bool:
    """Not of a module that another one of the same name has replaced."""
    plain = isinstance(value, FunctionType) and not hasattr(value, "__wrapped__")
    return not plain or value.__globals__ is sys.modules[module].__dict__


def _text_of(function: FunctionType, module: Module) -> str:
    if function.__module__ == "__main__":  # IPython keeps there what it compiled
        return "".join(linecache.getlines(function.__code__.co_filename))
    return "\n".join(cell.text for cell in module.cells)


def _node_of(code: Any, text: str, path: str) -> ast.AST:
    """The innermost lambda or `def` around the positions of a code object."""
    places = [p for p in code.co_positions() if None not in p and (p[0], p[2]) != (p[1], p[3])]
    first = min(((line, column) for line, _, column, _ in places), default=(0, 0))
    last = max(((line, column) for _, line, _, column in places), default=(0, 0))
    nodes = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Lambda | ast.FunctionDef)
        and getattr(node, "name", "<lambda>") == code.co_name
        and node.lineno >= code.co_firstlineno
        and (node.lineno, node.col_offset) <= first
        and (node.end_lineno or 0, node.end_col_offset or 0) >= last
    ]
    if not nodes:
        raise MedbookError(f"{path}: cannot find the source of {code.co_name}")
    return max(nodes, key=lambda node: (node.lineno, node.col_offset))


# ---------------------------------------------------------------- content of values


def _print(*pieces: Piece) -> Print:
    sha, labels = hashlib.sha256(), frozenset[str]()
    for piece in pieces:
        if isinstance(piece, Print):
            labels |= piece.labels
            piece = piece.digest
        content = piece.encode() if isinstance(piece, str) else piece
        sha.update(f"{len(content)}:".encode())
        sha.update(content)
    return Print(sha.hexdigest()[:32], labels)


def _by_digest(one: Print) -> str:
    return one.digest


def _numbers(value: Any, path: str) -> Iterator[Piece]:
    """Element type, shape and bytes of a tensor or array."""
    if isinstance(value, Tensor):
        known = type(value) in (Tensor, nn.Parameter) and value.layout == torch.strided
        if not known or value.is_meta or value.is_quantized:
            raise _refused(path, value, "pass an ordinary dense tensor")
        yield f"{type(value).__name__} {value.dtype} {value.requires_grad}"
        yield repr(tuple(value.shape))
        plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        yield memoryview(plain.view(torch.uint8).numpy())  # type: ignore[arg-type]
    else:
        array = np.asarray(value)
        if array.dtype.hasobject or type(value) not in (np.ndarray, type(array[()])):
            raise _refused(path, value, "pass an ordinary array of numbers")
        yield from (f"array {array.dtype.str}", repr(array.shape), array.tobytes())


def _is_record(value: Any) -> bool:
    """An instance of a dataclass or of a NamedTuple."""
    named = isinstance(value, tuple) and hasattr(value, "_fields")
    return named or (is_dataclass(value) and not isinstance(value, type))


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """What a container holds, each with the step that leads there."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from ((f".{name}", getattr(value, name)) for name in value._fields)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from ((f".{field.name}", getattr(value, field.name)) for field in fields(value))
    elif type(value) in (list, tuple, torch.Size):
        yield from ((f"[{k}]", item) for k, item in enumerate(value))
    elif type(value) in DICTIONARIES:
        yield from ((f"[{key!r}]", item) for key, item in value.items())


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """Fields of a dataclass; of other objects all that they hold."""
    if is_dataclass(value):
        yield from ((field.name, getattr(value, field.name)) for field in fields(value))
        return
    yield from getattr(value, "__dict__", {}).items()
    for name in {s for t in type(value).__mro__ for s in getattr(t, "__slots__", ())}:
        if hasattr(value, name):
            yield name, getattr(value, name)


def _state(network: nn.Module) -> dict[str, Any]:
    """What a network holds: weights, buffers, layers, settings; hooks where there are any."""
    held = {name: dict(x) if isinstance(x, Mapping) else x for name, x in vars(network).items()}
    return {name: x for name, x in held.items() if not (isinstance(x, dict) and not x)}


def _name(value: Any) -> str:
    known = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    return known or type(value).__name__


def _refused(path: str, value: Any, hint: str) -> MedbookError:
    kind = type(value)
    return MedbookError(f"{path}: cannot hash {kind.__module__}.{kind.__qualname__}: {hint}")
