"""Checks of what a chapter computes for long: it does so in maps, whose outcomes are stored."""

import ast

from medbook._book.keys import sources_of
from medbook._book.lint.page import Page, Problems
from medbook.errors import MedbookError
from medbook.trials.closures import static_definitions
from medbook.trials.syntax import bindings

LOOPS = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def mapped(page: Page) -> Problems:
    """A mapped function reaches only what `define` cells, medbook and libraries define."""
    imported = {name for tree in page.trees.values() for name in _of_medbook(tree)}
    for number, call in page.calls():
        function = call.args[0] if is_map(call) and call.args else None
        if isinstance(function, ast.Name) and function.id in imported:
            continue
        if isinstance(function, ast.Name):
            try:
                static_definitions(page.chapter.id, [function.id], sources_of(page.project))
            except MedbookError as error:
                yield page.at(number, f"run.map({function.id}): {error}", call.lineno)
        elif is_map(call):
            yield page.at(number, "run.map: give a function by its name", call.lineno)


def nothing_long(page: Page) -> Problems:
    """Cells that run at once neither train nor map in a loop; solutions and checks may."""
    answers = page.code("solution").keys() | page.code("check").keys()
    for number in page.trees.keys() - page.code("define").keys() - answers:
        loops = [node for node in ast.walk(page.trees[number]) if isinstance(node, LOOPS)]
        repeated = {call for loop in loops for call in _repeated(loop)}
        for call in (node for node in ast.walk(page.trees[number]) if isinstance(node, ast.Call)):
            stepped = (
                _name(call) == "step" and not call.args
            )  # an optimiser; matplotlib has one, too
            if _name(call) == "fit" or (stepped and call in repeated):
                problem = f"{_name(call)}() outside of a mapped function: make it a trial"
                yield page.at(number, problem, call.lineno)
            elif is_map(call) and call in repeated:
                problem = "run.map in a loop: make one list of jobs, and map it once"
                yield page.at(number, problem, call.lineno)


def is_map(call: ast.Call) -> bool:
    """`run.map(...)`."""
    function = call.func
    owner = function.value if isinstance(function, ast.Attribute) else None
    return _name(call) == "map" and isinstance(owner, ast.Name) and owner.id == "run"


def _of_medbook(tree: ast.Module) -> list[str]:
    """Names that a cell imports from medbook."""
    found = bindings(tree.body).items()
    return [name for name, to in found if to and to.module.split(".")[0] == "medbook"]


def _repeated(loop: ast.AST) -> set[ast.AST]:
    """What a loop does again and again: not what it goes through."""
    first = getattr(loop, "generators", [loop])[0]
    once = set(ast.walk(first.iter)) if hasattr(first, "iter") else set()
    return {node for node in ast.walk(loop) if node not in once}


def _name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


RULES = (mapped, nothing_long)
