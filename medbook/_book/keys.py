"""The key of a result: everything its numbers depend on, so that a change can be named."""

import ast
import hashlib
from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from medbook import claims, paths
from medbook._book.project import Chapter, Project
from medbook.chapter import defining_source
from medbook.results import Results

Key = dict[str, Any]

DIGITS = 12


def key_of(project: Project, chapter: Chapter, results: Results) -> Key:
    """What a result would depend on, were it measured now.

    Args:
        project: the checkout.
        chapter: whose result.
        results: stored results; they say which modules and data sets the run used.

    Returns:
        profile, seed, lock (hash of `ci/lock.txt`), cells (a hash per code cell), modules, chapters
        (whose definitions are loaded), claims (their hashes) and data (their hashes).
    """
    cells = [cell.source for cell in code_cells(chapter.notebook())]
    known = claims.chapter_claims(chapter.id, project.root / "book/systems.yml")
    return {
        "profile": results["profile"],
        "seed": results["seed"],
        "lock": _file_hash(project.root / "ci/lock.txt"),
        "cells": [code_hash(source) for source in cells],
        "modules": {
            f"medbook/{module}": _module_hash(paths.PACKAGE / module)
            for module in results.get("modules", [])
        },
        "chapters": _loaded_chapters(project, chapter, "\n".join(cells)),
        "claims": {id: claim.hash for id, claim in known.items()},
        "data": _data_hashes(results),
    }


def key_before(project: Project, chapter: Chapter, profile: str, seed: int) -> Key:
    """The key of a run that is about to start: with every module that it might use.

    Taken before the run, so that a source edited meanwhile does not pass for what was executed.
    """
    files = [file.relative_to(paths.PACKAGE) for file in paths.PACKAGE.rglob("*.py")]
    inner = [file for file in sorted(files) if file.parts[0] not in ("_book", "_content")]
    modules = [file.as_posix() for file in inner]
    return key_of(project, chapter, {"profile": profile, "seed": seed, "modules": modules})


def key_of_run(before: Key, results: Results) -> Key:
    """The key of a run that has ended: with the modules and data that it did use."""
    used = {f"medbook/{module}" for module in results["modules"]}
    modules = {name: value for name, value in before["modules"].items() if name in used}
    return before | {"modules": modules, "data": _data_hashes(results)}


def differences(chapter: Chapter, old: Key, new: Key) -> list[str]:
    """Names of what differs between two keys.

    Returns:
        e.g. `chapters/trust/x.py cell 7`, `medbook/data/twins.py`, `ci/lock.txt`,
        `claim salm-1`, `data mednist`; empty if the keys are equal.
    """
    named = [part for part in ("profile", "seed") if old.get(part) != new[part]]
    named += ["ci/lock.txt"] if old.get("lock") != new["lock"] else []
    named += _changed_cells(source_name(chapter), old.get("cells", []), new["cells"])
    prefixes = {"modules": "", "chapters": "", "claims": "claim ", "data": "data "}
    for part, prefix in prefixes.items():
        before, after = old.get(part, {}), new[part]
        names = sorted(before.keys() | after.keys())
        named += [prefix + name for name in names if before.get(name) != after.get(name)]
    return named


def new_real_data(results: Results) -> list[str]:
    """Data sets that a run replaced by their twin although a real file lies here now."""
    if results["profile"] == "smoke":  # takes the twin everywhere
        return []
    twins = [entry["name"] for entry in results.get("data", []) if entry["kind"] == "twin"]
    return [f"data {name} (twin then, real file now)" for name in twins if real_files(name)]


def real_files(name: str) -> list[Path]:
    """Files of a registered data set that lie on this machine."""
    from medbook.data import ENTRIES, sources

    files = ENTRIES[name].files.values() if name in ENTRIES else []
    return sorted(
        {
            path
            for file in files
            for part in file
            for path in sources.places(part)
            if path.is_file()
        }
    )


def source_name(chapter: Chapter) -> str:
    """`chapters/<part>/<id>.py`, as messages name it."""
    return f"chapters/{chapter.part}/{chapter.id}.py"


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells that come from the chapter's source: "cell 3" is the third of them."""
    made = {"injected-parameters", "install"}
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and not made & set(cell.metadata.get("tags", []))
    ]


@lru_cache(maxsize=4096)
def code_hash(source: str) -> str:
    """Hash of the syntax tree: comments, docstrings and formatting do not count.

    Stable over Python versions, as empty fields (which newer ones add) are left out.

    >>> code_hash("x = 1  # one") == code_hash("x  =  1") != code_hash("x = 2")
    True
    """
    tree = _parse(source)
    text = source if tree is None else repr(_skeleton(tree))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _parse(source: str) -> ast.Module | None:
    """Syntax tree of a cell; None for what is no Python even without IPython's magics."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):  # ValueError: null bytes
        from IPython.core.inputtransformer2 import TransformerManager

    try:
        return ast.parse(TransformerManager().transform_cell(source))
    except (SyntaxError, ValueError):
        return None


def _skeleton(node: Any) -> Any:
    if isinstance(node, list):
        return [_skeleton(item) for item in node]
    if not isinstance(node, ast.AST):
        return None if node is None else repr(node)
    fields = {name: _skeleton(value) for name, value in ast.iter_fields(node)}
    if _has_docstring(node):
        fields["body"] = fields["body"][1:]
    return type(node).__name__, [(name, x) for name, x in fields.items() if x not in (None, [])]


def _has_docstring(node: ast.AST) -> bool:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None


def _module_hash(path: Path) -> str:
    return code_hash(path.read_text(encoding="utf-8")) if path.exists() else "removed"


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:DIGITS] if path.exists() else "none"


def _data_hashes(results: Results) -> dict[str, str]:
    return {entry["name"]: entry["sha256"] for entry in results.get("data", [])}


def _loaded_chapters(project: Project, chapter: Chapter, source: str) -> dict[str, str]:
    """Definitions of the chapters that this one names in a string, and of those that they name."""
    others = {path.stem: path for path in project.sources() if path.stem != chapter.id}
    named, todo = {}, _named_in(source, others)
    while todo:
        path = others.pop(todo.pop())
        text = defining_source(path.read_text(encoding="utf-8"))
        named[path.relative_to(project.root).as_posix()] = code_hash(text)
        todo |= _named_in(text, others)
    return named


def _named_in(source: str, chapters: Iterable[str]) -> set[str]:
    """Those chapters whose id is a string in the code."""
    mentioned = {name for name in chapters if name in source}
    tree = _parse(source) if mentioned else None  # few chapters name another: parse only those
    nodes = ast.walk(tree) if tree else ()
    return mentioned & {node.value for node in nodes if isinstance(node, ast.Constant)}


def _changed_cells(source: str, old: list[str], new: list[str]) -> list[str]:
    named = []
    for what, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "delete":
            named += [f"{source} cell {number} removed" for number in range(i + 1, j + 1)]
        elif what != "equal":
            named += [f"{source} cell {number}" for number in range(k + 1, m + 1)]
    return named
