"""Tensors are made where they are used: on a GPU, one without a device would lie elsewhere."""

import ast
from collections.abc import Iterator

from medbook._book.lint.page import Page, Problems, parse
from medbook._book.project import Project

MAKERS = {
    "arange", "empty", "eye", "full", "linspace", "logspace", "ones", "rand", "randint", "randn",
    "randperm", "tensor", "zeros",
}  # fmt: skip
PLACED = {"device", "generator", None}  # a generator has a device; None: in **options, if at all
MOVED = {"to", "cpu", "Parameter", "ParameterList", "register_buffer"}  # or moves with a network


def definitions(page: Page) -> Problems:
    """In `define` cells, which other chapters and other devices use as well."""
    for number in page.code("define").keys() & page.trees.keys():
        for call in unplaced(page.trees[number]):
            yield page.at(number, _problem(call), call.lineno)


def package(project: Project) -> Problems:
    """In what chapters import."""
    root = project.root / "medbook"
    for file in sorted(f for f in root.rglob("*.py") if f.relative_to(root).parts[0] != "_book"):
        where = file.relative_to(project.root).as_posix()
        for call in unplaced(parse(file.read_text(encoding="utf-8")) or ast.Module([], [])):
            yield f"{where}:{call.lineno}: {_problem(call)}"


def unplaced(node: ast.AST, moved: bool = False) -> Iterator[ast.Call]:
    """Calls such as torch.zeros(3) with neither a device nor anything around that moves them.

    >>> code = "torch.zeros(3); torch.ones(2).to(x); torch.eye(3, device='cpu'); nn.zeros(3)"
    >>> [call.func.attr for call in unplaced(ast.parse(code))]
    ['zeros']
    """
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        moved = moved or name in MOVED
        if _makes(node) and not moved and not PLACED & {k.arg for k in node.keywords}:
            yield node
    elif isinstance(node, ast.stmt):
        moved = False
    for child in ast.iter_child_nodes(node):
        yield from unplaced(child, moved)


def _makes(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(ast.Name("torch"), name):
            return name in MAKERS
    return False


def _problem(call: ast.Call) -> str:
    maker = ast.unparse(call.func)
    return f'{maker} without device=: name that of its neighbours, or "cpu"'
