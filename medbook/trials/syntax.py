"""What of a piece of Python counts (its skeleton), and which names from outside it reads."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from medbook.errors import MedbookError

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSION = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
NAMED = (*DEFINITION, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)
NEW_SCOPE = (*FUNCTION, ast.ClassDef, *COMPREHENSION)


@dataclass(frozen=True)
class Reference:
    """A dotted name that is read: `path` in the module that reads it, or in the one named.

    Attributes:
        path: e.g. ("training", "fit").
        module: absolute name of the module that `path` is looked up in, for imported names.
        loaded: `path` leads to `medbook.chapter.load`, called with this chapter id.
        rest: of what that call returns, the dotted name that is read.
    """

    path: tuple[str, ...]
    module: str = ""
    loaded: str = ""
    rest: tuple[str, ...] = ()

    def __getitem__(self, names: tuple[str, ...]) -> "Reference":
        """The reference to an attribute of what this one leads to."""
        if self.loaded:
            return replace(self, rest=self.rest + names)
        return replace(self, path=self.path + names)


Scope = Mapping[str, Reference | None]  # what a local name stands for; None: a value


def skeleton(node: Any, *, in_class: bool = False) -> Any:
    """The syntax tree as nested tuples, without what cannot change an outcome.

    Left out: comments, docstrings, formatting, annotations (other than those of class bodies, from
    which dataclasses make fields) and the words of raised errors. Fields that are empty are left
    out, too: newer versions of Python add some.

    >>> skeleton(ast.parse("x: int = 1  # one")) == skeleton(ast.parse("x  =  (1)"))
    True
    """
    if isinstance(node, list):
        return [skeleton(item, in_class=in_class) for item in node]
    if not isinstance(node, ast.AST):
        return None if node is None else repr(node)
    if isinstance(node, ast.AnnAssign) and not in_class and node.value is not None:
        node = ast.Assign(targets=[node.target], value=node.value)
    inside = isinstance(node, ast.ClassDef)
    fields = {name: skeleton(x, in_class=inside) for name, x in _fields(node, in_class)}
    if _has_docstring(node):
        fields["body"] = fields["body"][1:]
    return type(node).__name__, [(name, x) for name, x in fields.items() if x not in (None, [])]


def references(nodes: Iterable[ast.AST]) -> set[Reference]:
    """Names that are read from the module around these statements, with their attributes.

    Local names, annotations and the words of raised errors are left out.

    >>> tree = ast.parse("def f(x): return np.sum(x + K)")
    >>> sorted(r.path for r in references(tree.body))
    [('K',), ('np', 'sum')]
    """
    reader = _Reader()
    for node in nodes:
        reader.read(node, {})
    return reader.found


def bindings(nodes: Iterable[ast.AST]) -> dict[str, Reference | None]:
    """Names that these statements bind in their own scope, and the modules that imports bind.

    >>> bindings(ast.parse("import numpy as np; x = 1").body)
    {'np': Reference(path=(), module='numpy', loaded='', rest=()), 'x': None}
    """
    bound: dict[str, Reference | None] = {}
    for node in _own_nodes(nodes):
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= imported(node)
        elif isinstance(node, ast.Assign) and (alias := load_alias(node)):
            bound |= alias
        else:
            bound |= {name: None for name in _bound(node) if name not in bound}
    return bound


def imported(node: ast.Import | ast.ImportFrom) -> dict[str, Reference]:
    """Names that an import binds, and what they lead to."""
    if isinstance(node, ast.ImportFrom):
        if node.level:
            raise MedbookError("a relative import: write the whole name, from medbook.x import y")
        return {a.asname or a.name: Reference((a.name,), node.module or "") for a in node.names}
    named = [(a.asname or a.name.split(".")[0], a.name, bool(a.asname)) for a in node.names]
    return {name: Reference((), full if as_ else name) for name, full, as_ in named}


def load_alias(node: ast.Assign) -> dict[str, Reference] | None:
    """`name = chapter.load("id")`, which binds a module (or, with attributes, what is in it)."""
    target = node.targets[0]
    loaded = _chain(node.value, {})
    if len(node.targets) == 1 and isinstance(target, ast.Name) and loaded and loaded.loaded:
        return {target.id: loaded}
    return None


def _fields(node: ast.AST, in_class: bool) -> Iterator[tuple[str, Any]]:
    for name, value in ast.iter_fields(node):
        if name in ("returns", "type_comment", "type_params", "kind"):
            continue
        if isinstance(node, ast.arg) and name == "annotation":
            continue
        if isinstance(node, ast.AnnAssign) and name == "annotation" and not in_class:
            continue
        if isinstance(node, ast.Assert) and name == "msg":
            continue
        is_call = isinstance(node, ast.Raise) and isinstance(value, ast.Call)
        yield name, value.func if is_call else value


def _has_docstring(node: ast.AST) -> bool:
    documented = (ast.Module, *DEFINITION)
    return isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None


def _own_nodes(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All nodes of one scope; nested scopes only as such, but `:=` in comprehensions leaks."""
    for node in nodes:
        yield node
        if isinstance(node, COMPREHENSION):
            yield from (n.target for n in ast.walk(node) if isinstance(n, ast.NamedExpr))
        elif not isinstance(node, NEW_SCOPE):
            yield from _own_nodes(ast.iter_child_nodes(node))


def _bound(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, NAMED) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def _chain(node: ast.AST, scope: Scope) -> Reference | None:
    """What a dotted name leads to; None for other expressions and for local values."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    path = tuple(names)
    if isinstance(node, ast.Name):
        if node.id not in scope:
            return Reference((node.id, *path))
        known = scope[node.id]
        return known[path] if known else None
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        called, given = _chain(node.func, scope), node.args[0]
        is_load = called and not called.loaded and (called.path[-1:] == ("load",))
        if called and is_load and isinstance(given, ast.Constant) and isinstance(given.value, str):
            return replace(called, loaded=given.value, rest=path)
    return None


class _Reader:
    """Collects references; a scope maps local names, `fields` are those of a class body."""

    def __init__(self) -> None:
        self.found: set[Reference] = set()

    def read(self, node: ast.AST, scope: Scope, fields: Scope | None = None) -> None:
        visible = {**scope, **fields} if fields else scope
        chain = _chain(node, visible)
        if isinstance(node, ast.Name | ast.Attribute | ast.Call) and chain:
            if not (isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)):
                self.found.add(chain)
        elif isinstance(node, FUNCTION):
            self._function(node, scope, visible)
        elif isinstance(node, ast.ClassDef):
            self._class(node, scope, visible)
        elif isinstance(node, COMPREHENSION):
            self._comprehension(node, scope, visible)
        elif isinstance(node, ast.Assign) and (alias := load_alias(node)):
            # what is read of the loaded module is found where it is read
            self.found |= {replace(loaded, loaded="", rest=()) for loaded in alias.values()}
        else:
            for child in _children(node):
                self.read(child, scope, fields)

    def _function(self, node: Any, scope: Scope, visible: Scope) -> None:
        arguments = node.args
        outside = [*arguments.defaults, *filter(None, arguments.kw_defaults)]
        for child in [*outside, *getattr(node, "decorator_list", [])]:
            self.read(child, visible)
        body = node.body if isinstance(node.body, list) else [node.body]
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        named += filter(None, [arguments.vararg, arguments.kwarg])
        inner = {**scope, **bindings(body), **{a.arg: None for a in named}}
        for name in (n for s in _own_nodes(body) if isinstance(s, ast.Global) for n in s.names):
            inner.pop(name, None)
            self.found.add(Reference((name,)))
        for statement in body:
            self.read(statement, inner)

    def _class(self, node: ast.ClassDef, scope: Scope, visible: Scope) -> None:
        for child in [*node.bases, *(k.value for k in node.keywords), *node.decorator_list]:
            self.read(child, visible)
        fields: dict[str, Reference | None] = {}
        for statement in node.body:
            self.read(statement, scope, fields)
            fields |= bindings([statement])

    def _comprehension(self, node: Any, scope: Scope, visible: Scope) -> None:
        first, *others = node.generators
        self.read(first.iter, visible)
        inner = {**scope, **bindings(g.target for g in node.generators)}
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        tests = [test for g in node.generators for test in g.ifs]
        for child in [*results, *tests, *(g.iter for g in others)]:
            self.read(child, inner)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Child nodes in which names are read."""
    for _, value in _fields(node, in_class=False):
        yield from (v for v in (value if isinstance(value, list) else [value]) if _is_node(v))


def _is_node(value: Any) -> bool:
    return isinstance(value, ast.AST)
