"""Definitions and what they reach, from source text alone: nothing is imported or executed."""

import ast
import builtins
import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from medbook import chapter as chapters
from medbook.errors import MedbookError
from medbook.paths import PACKAGE
from medbook.trials.syntax import Reference, bindings, load_alias, references, skeleton

DIGITS = 12
CHAPTER = "chapter:"  # begins the names of modules that are chapters
LOADER = ("medbook.chapter", "load")  # leads to a chapter's definitions, is none of them
NO_CHAPTER_CODE = ("_book", "_content")  # folders of the package that chapters do not import
REFUSALS = ("medbook.errors", "medbook.refuse")  # end a computation or leave it as it is
BUILT_IN = {*dir(builtins), "__file__", "__name__", "__doc__", "__path__", "__spec__"}


@dataclass(frozen=True)
class Cell:
    """One cell or file; names that only glue binds are out of a trial's reach."""

    text: str
    define: bool = True


class Module:
    """Top-level definitions of one source: a chapter's cells, or a file of the package.

    Args:
        name: absolute, e.g. `medbook.learn.training`, or `chapter:diffusion`.
        cells: its source, in the order of execution.
        executed: glue cells, too, were executed before now, so what they bind counts.

    Attributes:
        statements: those that bind or change each name.
        imports: names that stand for something of another module.
    """

    def __init__(self, name: str, cells: Iterable[Cell], *, executed: bool = False) -> None:
        self.name, self.cells, self.executed = name, list(cells), executed
        self.statements: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, Reference] = {}
        self._cell_of: dict[str, int] = {}
        self._glue: set[str] = set()
        self._twice: set[str] = set()
        for number, cell in enumerate(self.cells):
            for statement in parsed(cell.text, name):
                if cell.define:
                    self._add(statement, number)
                else:
                    self._add_glue(statement)

    @property
    def label(self) -> str:
        """Last part of the name, which is what definitions are called by."""
        return self.name.replace(":", ".").rsplit(".", 1)[-1]

    @property
    def is_chapter(self) -> bool:
        """It has cells."""
        return self.name.startswith(CHAPTER)

    def check(self, name: str) -> None:
        """Refuse a name that trials must not reach."""
        if name in self._twice:
            raise MedbookError(
                f"{name!r} is defined in two different ways in {self.label}: give each its own "
                "name; in a live kernel, restart it and run the cells once"
            )
        if name in self._glue:
            raise MedbookError(
                f"{name!r} of {self.label} is not from a cell tagged `define`: a mapped function "
                "reaches only define names; pass it in the job"
            )

    def _add(self, statement: ast.stmt, cell: int) -> None:
        bound = bindings([statement])
        whole = isinstance(statement, ast.Import | ast.ImportFrom) or (
            isinstance(statement, ast.Assign) and load_alias(statement)
        )
        if not whole:
            changed = set(bound) or _mentioned(statement) & self.statements.keys()
            for name in changed:
                self._define(name, statement, cell, binds=bool(bound))
        for name, target in bound.items():
            if target:
                self._import(name, target)
        self._glue -= bound.keys()

    def _import(self, name: str, target: Reference) -> None:
        if self.is_chapter and (
            name in self.statements or self.imports.get(name, target) != target
        ):
            self._twice.add(name)
        self.imports[name] = target

    def _define(self, name: str, statement: ast.stmt, cell: int, *, binds: bool) -> None:
        before = self.statements.setdefault(name, [])
        again = self.is_chapter and binds and self._cell_of.setdefault(name, cell) != cell
        if again and skeleton(statement) in [skeleton(other) for other in before]:
            return  # the same cell, executed once more
        if again or (self.is_chapter and name in self.imports):
            self._twice.add(name)
        before.append(statement)

    def _add_glue(self, statement: ast.stmt) -> None:
        for name, target in bindings([statement]).items():
            known = name in self.statements or name in self.imports
            if not known:
                self._glue.add(name)
            elif self.executed and (target is None or target != self.imports.get(name)):
                self._twice.add(name)


Definition = tuple[Module, str]


class Sources:
    """Everything that a chapter may reach, looked up as text.

    Args:
        chapter_cells: the cells of a chapter by its id.
        package: folder of medbook.
        read: reads a file of the package.
    """

    def __init__(
        self,
        chapter_cells: Callable[[str], list[Cell]] | None = None,
        package: Path = PACKAGE,
        read: Callable[[Path], str] | None = None,
    ) -> None:
        self._cells = chapter_cells or (lambda id: cells_of(chapters.find(id).read_text("utf-8")))
        self._package = package
        self._read = read or (lambda path: path.read_text(encoding="utf-8"))
        self._modules: dict[str, Module | None] = {}
        self._own: dict[tuple[str, str], tuple[str, list[Definition]]] = {}
        self._by_label: dict[str, list[Module]] = {}

    def forget_chapters(self, cells: Callable[[str], list[Cell]]) -> None:
        """Look chapters up anew, with this function; modules of the package stay known."""
        self._cells, self._by_label = cells, {}
        self._modules = {k: m for k, m in self._modules.items() if not k.startswith(CHAPTER)}
        self._own = {k: h for k, h in self._own.items() if not k[0].startswith(CHAPTER)}

    def chapter(self, id: str) -> Module:
        """Definitions of a chapter."""
        name = CHAPTER + id
        if name not in self._modules:
            self._modules[name] = Module(name, self._cells(id))
        return self._module(name)

    def module(self, name: str) -> Module | None:
        """A module of medbook by its absolute name; None if there is none."""
        if name not in self._modules:
            base = self._package.parent.joinpath(*name.split("."))
            files = [base / "__init__.py", base.with_suffix(".py")]
            found = next((f for f in files if f.is_file()), None)
            self._modules[name] = Module(name, [Cell(self._read(found))]) if found else None
        return self._modules[name]

    def closure(self, start: Iterable[Definition]) -> dict[str, str]:
        """The definitions that these reach, themselves included, with their hashes.

        Returns:
            `<last part of the module>.<name>`: hash of its own statements and of what the names in
            them stand for; the order is that of the names. What only refuses inputs is left out:
            an outcome that was computed was not refused.

        Raises:
            MedbookError: a name that is reached is not from a `define` cell.
        """
        todo, seen = list(start), set()
        while todo:
            module, name = todo.pop()
            if (module.name, name) not in seen and module.name not in REFUSALS:
                seen.add((module.name, name))
                todo += self._look(module, name)[1]
        labels = sorted({f"{self._module(where).label}.{name}" for where, name in seen})
        return {label: hash for label in labels if (hash := self._hash(label))}

    def resolve(self, module: Module, reference: Reference) -> list[Definition] | str:
        """What a reference leads to: definitions of ours, or the name of something of others."""
        if reference.loaded:
            called = self.resolve(module, Reference(reference.path, reference.module))
            if isinstance(called, list) and [(m.name, n) for m, n in called] == [LOADER]:
                return self._inside(self.chapter(reference.loaded), reference.rest)
            return called
        if reference.module:
            return self._absolute(reference.module, reference.path)
        return self._inside(module, reference.path)

    def _inside(self, module: Module, path: tuple[str, ...]) -> list[Definition] | str:
        if not path:
            return [(module, name) for name in module.statements]
        name, rest = path[0], path[1:]
        module.check(name)
        found: list[Definition] = [(module, name)] if name in module.statements else []
        if name in module.imports and module.imports[name] != Reference((name,), module.name):
            target = self.resolve(module, module.imports[name][rest])
            return target if isinstance(target, str) else found + target
        if found:
            return found
        if not module.is_chapter and self.module(f"{module.name}.{name}"):
            return self._absolute(f"{module.name}.{name}", rest)
        if name in BUILT_IN:
            return name
        raise MedbookError(
            f"{name!r} is not defined in {module.label}: a mapped function reaches only names from "
            "cells tagged `define`, from medbook and from libraries"
        )

    def _absolute(self, name: str, path: tuple[str, ...]) -> list[Definition] | str:
        if name.split(".")[0] != self._package.name:
            return ".".join((name, *path))
        module = self.module(name)
        if module is None:
            raise MedbookError(f"there is no module {name}")
        return self._inside(module, path)

    def own_hash(self, module: Module, name: str) -> str:
        """Hash of one definition: its statements, and what the names in them stand for."""
        return self._look(module, name)[0]

    def _look(self, module: Module, name: str) -> tuple[str, list[Definition]]:
        key = module.name, name
        if key not in self._own:
            module.check(name)
            if name not in module.statements:
                raise MedbookError(f"{name!r} is not defined in {module.label}")
            self._own[key] = self.hash_nodes(module, module.statements[name])
        return self._own[key]

    def hash_nodes(
        self, module: Module, nodes: Iterable[ast.AST], local: Iterable[str] = ()
    ) -> tuple[str, list[Definition]]:
        """Hash of statements, and the definitions that they reach directly.

        Args:
            module: where they stand.
            nodes: the statements.
            local: names that a function around them binds.
        """
        nodes, meant, reached = list(nodes), [], []
        for reference in references(nodes):
            if not reference.module and reference.path[0] in local:
                continue
            target = self.resolve(module, reference)
            if isinstance(target, str):
                _refuse_global_random(target, module)
                meant.append((_written(reference), target))
                continue
            target = [(m, n) for m, n in target if (m.name, n) != LOADER]
            reached += target
            meant += [(_written(reference), f"{m.label}.{n}") for m, n in target]
        text = repr(([skeleton(node) for node in nodes], sorted(set(meant))))
        return hashlib.sha256(text.encode()).hexdigest()[:DIGITS], reached

    def current(self, chapter: str, names: Iterable[str]) -> dict[str, str | None]:
        """What definitions hash to now, None for those that are gone.

        Args:
            chapter: whose own definitions have no dot in their name.
            names: as `definitions` names them.
        """
        return {name: self._hash(name if "." in name else f"{chapter}.{name}") for name in names}

    def of_package(self, definitions: Mapping[str, str]) -> dict[str, str]:
        """Those of the package, without those of chapters."""
        return {n: h for n, h in definitions.items() if n.rpartition(".")[0] in self._names}

    def _hash(self, label: str) -> str | None:
        """One hash of all definitions of this label: two modules may have the same last part."""
        where, _, name = label.rpartition(".")
        found = {self._look(m, name)[0] for m in self._labelled(where) if name in m.statements}
        if len(found) < 2:
            return next(iter(found), None)
        return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()[:DIGITS]

    def _labelled(self, label: str) -> list[Module]:
        """All modules of this last part."""
        if label not in self._by_label:
            found = [module for name in self._names.get(label, ()) if (module := self.module(name))]
            with suppress(MedbookError):  # there is no such chapter
                found.append(self.chapter(label))
            self._by_label[label] = found
        return self._by_label[label]

    def _module(self, name: str) -> Module:
        found = self._modules[name]
        assert found is not None
        return found

    @cached_property
    def _names(self) -> Mapping[str, list[str]]:
        """Absolute names of the package's modules by their last part."""
        named: dict[str, list[str]] = {}
        for file in sorted(self._package.rglob("*.py")):
            inner = file.relative_to(self._package.parent).with_suffix("")
            parts = inner.parts[:-1] if inner.name == "__init__" else inner.parts
            if not set(parts) & set(NO_CHAPTER_CODE):
                named.setdefault(parts[-1], []).append(".".join(parts))
        return named


def static_definitions(
    chapter: str, names: Iterable[str], sources: Sources | None = None
) -> dict[str, str]:
    """The closure of names of a chapter, from its source text and that of the package.

    Args:
        chapter: its id.
        names: of its `define` cells, e.g. the functions that it maps.
        sources: where text is looked up, shared by many calls; else the files as they are now.

    Returns:
        as `medbook.trials.fingerprint.definitions`.

    Raises:
        MedbookError: a name that is reached is not from a `define` cell.
    """
    sources = sources or Sources()
    module = sources.chapter(chapter)
    start = [module_and_name for name in names for module_and_name in _ours(sources, module, name)]
    return shorten(sources.closure(start), chapter)


def shorten(definitions: Mapping[str, str], chapter: str) -> dict[str, str]:
    """The chapter's own definitions without its name in front."""
    return {label.removeprefix(f"{chapter}."): hash for label, hash in definitions.items()}


def cells_of(text: str) -> list[Cell]:
    r"""Code cells of a percent notebook, without magics.

    >>> cells_of('# %% tags=["define"]\nx = 1\n# %%\n%time y = 2\n# %% [markdown]\n# Hello')
    [Cell(text='x = 1', define=True), Cell(text='', define=False)]
    """
    cells: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("# %%"):
            cells.append((line, []))
        elif cells and not line.startswith(("%", "!")):
            cells[-1][1].append(line)
    return [
        Cell("\n".join(lines), define='"define"' in head)
        for head, lines in cells
        if "[markdown]" not in head
    ]


def _ours(sources: Sources, module: Module, name: str) -> list[Definition]:
    """A name of a chapter, or `<other chapter>.<name>`."""
    if "." in name:
        other, name = name.split(".")
        module = sources.chapter(other)
    target = sources.resolve(module, Reference((name,)))
    if isinstance(target, str):
        raise MedbookError(f"{name!r} of {module.label} is no definition of the book ({target})")
    return target


def _refuse_global_random(name: str, module: Module) -> None:
    """The state behind `random.random` cannot be watched: other threads of a kernel use it, too."""
    if name.split(".")[0] == "random" and name.split(".")[1:] != ["Random"]:
        raise MedbookError(
            f"{module.label} reads {name}, which draws from global random state: "
            "draw from random.Random(seed), or from a generator seeded with the job's seed"
        )


def parsed(text: str, name: str) -> list[ast.stmt]:
    """Statements of a source, without constants (docstrings) and what only type checkers read."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise MedbookError(f"{name} is no Python: {error}") from None
    return [s for s in body if not _for_type_checkers(s) and not _is_constant(s)]


def _for_type_checkers(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test)


def _is_constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _mentioned(statement: ast.stmt) -> set[str]:
    """Names that a statement changes which binds none: `X[k] = v`, `X.append(v)`, `register(X)`."""
    return {r.path[0] for r in references([statement]) if not r.module and r.path}


def _written(reference: Reference) -> str:
    end = (f"({reference.loaded!r})", *reference.rest) if reference.loaded else ()
    return ".".join((*reference.path, *end))
