"""Checks of a chapter's code cells."""

import ast
import re

from medbook._book.lint.page import Page, Problems
from medbook.record.claims import claims_file

PARAMETERS = re.compile(r'profile = "auto"\nseed = \d+')
DEFINING = (
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef,
)  # fmt: skip


def plain_python(page: Page) -> Problems:
    """No magics: the source is a Python file."""
    for number in page.code().keys() - page.trees.keys():
        yield page.at(number, "this cell is not plain Python")


def parameters(page: Page) -> Problems:
    """The first code cell holds profile and seed, and nothing else."""
    tagged, first = list(page.code("parameters")), min(page.code(), default=0)
    given = ast.unparse(page.trees[first]).replace("'", '"') if first in page.trees else ""
    if tagged != [first]:
        yield page.at(first, "the first code cell, and no other, is tagged `parameters`")
    elif not PARAMETERS.fullmatch(given):
        yield page.at(first, 'the parameters are profile = "auto" and seed = <N>, nothing else')


def finishes(page: Page) -> Problems:
    """The last code cell writes the results."""
    last = max(page.code(), default=0)
    called = [n for n, call in page.calls() if _name(call) == "finish"]
    if called != [last]:
        yield page.at(last, "the last code cell, and no other, calls run.finish()")


def definitions(page: Page) -> Problems:
    """`define` cells can be loaded without running the chapter."""
    for number in page.code("define").keys() & page.trees.keys():
        for node in page.trees[number].body:
            if not _defines(node):
                yield page.at(number, "a `define` cell only defines", node.lineno)


def _defines(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return not _calls_now(node)
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return docstring or isinstance(node, DEFINING)


def _calls_now(node: ast.AST) -> bool:
    """Something is called when this runs; the body of a lambda is only called later."""
    inner = () if isinstance(node, ast.Lambda) else ast.iter_child_nodes(node)
    return isinstance(node, ast.Call) or any(_calls_now(child) for child in inner)


def check_cells(page: Page) -> Problems:
    """Something is compared when the published notebook is executed again."""
    if not page.code("nbval-check-output"):
        yield page.at(0, "no cell is tagged `nbval-check-output`")


def figures(page: Page) -> Problems:
    """Every figure is shown by plots.show or explore, with an alternative text."""
    shown = 0
    for number, call in page.calls():
        if _name(call) == "show" and _owner(call) in ("plt", "pyplot"):
            yield page.at(number, "plt.show(): use plots.show with `alt`", call.lineno)
        elif _name(call) == "explore" or (_name(call) == "show" and _owner(call) in ("plots", "")):
            shown += 1
            if not _has_text(call, "alt"):
                yield page.at(number, f"{_name(call)}() lacks `alt`", call.lineno)
    if not shown:
        yield page.at(0, "no figure: show one with plots.show or explore")


def _has_text(call: ast.Call, name: str) -> bool:
    """The argument is given; where it is a literal, it is not empty."""
    values = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return any(not isinstance(v, ast.Constant) or str(v.value or "").strip() for v in values)


def claims(page: Page) -> Problems:
    """The chapter passes values for all claims and checks of its file, and for no others."""
    mine = [s for s in page.systems if s.chapter == page.chapter.id]
    known = {c.id for s in mine for group in (s.claims, s.controls, s.checks) for c in group}
    calls = [(number, call) for number, call in page.calls() if _name(call) in ("claim", "check")]
    passed = {id: (number, call.lineno) for number, call in calls if (id := _id(call))}
    for number, call in calls:
        if not _id(call):  # in a loop over ids
            ids = _ids_in_cell(page, number) - passed.keys()
            passed |= dict.fromkeys(ids, (number, call.lineno))
            if not ids:
                yield page.at(number, "no claim's id is written out in this cell", call.lineno)
    for id in sorted(passed.keys() - known):
        number, line = passed[id]
        yield page.at(number, f"claim {id!r} is not in {claims_file(page.chapter.id)}", line)
    for id in sorted(known - passed.keys()):
        yield f"{claims_file(page.chapter.id)}: claim {id!r} gets no value in {page.where}"


def _id(call: ast.Call) -> str:
    """The id that a call of run.claim states as a literal; empty if it does not."""
    given = [*call.args[:1], *(k.value for k in call.keywords if k.arg == "id")]
    return next((str(node.value) for node in given if isinstance(node, ast.Constant)), "")


def _ids_in_cell(page: Page, number: int) -> set[str]:
    """What reads like an id of a claim of the chapter's systems."""
    slugs = "|".join(re.escape(slug) for slug in page.chapter.meta["systems"])
    texts = [n.value for n in ast.walk(page.trees[number]) if isinstance(n, ast.Constant)]
    return {t for t in texts if isinstance(t, str) and re.fullmatch(rf"({slugs})-[ck]?\d+", t)}


def imports(page: Page) -> Problems:
    """Torchvision cannot be imported beside the CPU build of torch."""
    for number, tree in page.trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom) and "torchvision" in _packages(node):
                yield page.at(number, "torchvision is not installed with the book", node.lineno)


def _packages(node: ast.Import | ast.ImportFrom) -> set[str]:
    modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return {module.split(".")[0] for module in modules}


def _name(call: ast.Call) -> str:
    """`f` of f(...) and of x.f(...)."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _owner(call: ast.Call) -> str:
    """`x` of x.f(...)."""
    value = getattr(call.func, "value", None)
    return value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")


RULES = (
    plain_python, parameters, finishes, definitions, check_cells, figures, claims, imports,
)  # fmt: skip
