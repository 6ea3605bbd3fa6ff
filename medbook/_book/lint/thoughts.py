"""One thought a statement: what a reader of code would have to take apart."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from medbook._book.lint.page import Page, Problems

NAMES = 2  # that one assignment gives
BY_PLACE = {"shape", "saved_tensors"}  # torch's own tuples, which have no names to ask for
UNFORMATTED = re.compile(r"#\s*fmt:\s*(skip|off)")
DISPLAY = (ast.Dict, ast.List, ast.Tuple, ast.Set)


def one_a_line(page: Page) -> Problems:
    """No two statements share a line."""
    for number, tree in page.trees.items():
        ends: set[int] = set()
        for node in sorted(_statements(tree), key=lambda node: (node.lineno, node.col_offset)):
            if node.lineno in ends:
                yield page.at(number, "a second statement on this line", node.lineno)
            header = getattr(node, "body", None)
            ends.add(node.lineno if header else node.end_lineno or node.lineno)


def packed(page: Page) -> Problems:
    """An assignment gives one or two names; the parts of a shape may be more."""
    for number, tree in page.trees.items():
        for node in _statements(tree):
            if isinstance(node, ast.Assign) and not _by_place(node.value):
                count = max(_names(target) for target in node.targets)
                if count > NAMES:
                    problem = f"{count} names in one assignment; at most {NAMES}"
                    yield page.at(number, problem, node.lineno)


def named_lambdas(page: Page) -> Problems:
    """A function that has a name is written with `def`."""
    for number, tree in page.trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and _is_lambda(node):
                yield page.at(number, "a lambda with a name: write `def`", node.lineno)


def formatted(page: Page) -> Problems:
    """`# fmt: skip` keeps the columns of a table of data, and nothing else."""
    for number in page.trees:
        for line in _unformatted(page.cells[number - 1].source):
            if not any(_table(node, line) for node in _statements(page.trees[number])):
                yield page.at(number, "`# fmt: skip` is for tables of data: wrap the code", line)


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.stmt))


def _by_place(value: ast.expr) -> bool:
    return isinstance(value, ast.Attribute) and value.attr in BY_PLACE


def _names(target: ast.expr) -> int:
    """How many names a target gives, nested ones included."""
    if isinstance(target, ast.Tuple | ast.List):
        return sum(_names(part) for part in target.elts)
    return 1


def _is_lambda(node: ast.Assign | ast.AnnAssign | ast.NamedExpr) -> bool:
    """The value is a lambda, or one of several values is."""
    value = node.value
    several = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)
    values = value.elts if several and isinstance(value, ast.Tuple) else [value]
    return any(isinstance(part, ast.Lambda) for part in values)


def _unformatted(source: str) -> Iterator[int]:
    """Lines with a comment that stops the formatter."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and UNFORMATTED.match(token.string):
            yield token.start[0]


def _table(node: ast.stmt, line: int) -> bool:
    """The statement on this line assigns rows of a table; no part of it is called."""
    if not isinstance(node, ast.Assign) or not node.lineno <= line <= (node.end_lineno or 0):
        return False
    calls = any(isinstance(part, ast.Call) for part in ast.walk(node.value))
    return isinstance(node.value, DISPLAY) and not calls


RULES = (one_a_line, packed, named_lambdas, formatted)
