"""What a result rests on and whether it has changed: told from source text, nothing is executed."""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from nbformat import NotebookNode

from medbook import paths
from medbook._book.project import Chapter, Project
from medbook.errors import MedbookError
from medbook.record import claims
from medbook.record.results import Results
from medbook.record.session import VERSIONS
from medbook.trials.closures import (
    NO_CHAPTER_CODE,
    Definition,
    Module,
    Sources,
    cells_of,
    parsed,
    shorten,
)
from medbook.trials.syntax import Reference, bindings, references, skeleton

Key = dict[str, Any]

DIGITS = 12
EARLIER = "measured by earlier definitions"  # no trial of today's was ever computed


class Changes(NamedTuple):
    """What differs from a result, by name: what its numbers rest on, and what arranges them."""

    numbers: list[str]  # definitions that trials reach, versions, claims
    glue: list[str]  # cells that no trial reaches, and the chapter's definitions that they use
    around: list[str]  # what those use of medbook: loading of data, statistics, figures


def key_of(project: Project, chapter: Chapter, profile: str, seed: int) -> Key:
    """What a run that starts now depends on, beside the definitions that its trials reach.

    Args:
        project: the checkout.
        chapter: which one.
        profile: at which it runs.
        seed: base seed.

    Returns:
        profile, seed, versions (locked ones of what computes), claims (their hashes), cells (a hash
        per cell that is not tagged `define`), glue and around (definitions that these cells reach,
        those of chapters and those of medbook, with their hashes).
    """
    reached = _reached_by_glue(project, chapter)
    ids = {path.stem for path in project.sources()}
    systems = project.root / "book/systems.yml"
    known = claims.chapter_claims(chapter.id, systems).values()
    checks = claims.chapter_checks(chapter.id, systems).values()
    return {
        "profile": profile,
        "seed": seed,
        "versions": locked(project.root / "ci/lock.txt"),
        "claims": {c.id: c.hash for c in known} | {c.id: c.hash for c in checks},
        "cells": [code_hash(cell.source) for _, cell in glue_cells(chapter.notebook())],
        "glue": {name: hash for name, hash in reached.items() if _of_chapter(name, ids)},
        "around": {name: hash for name, hash in reached.items() if not _of_chapter(name, ids)},
    }


def changes(project: Project, chapter: Chapter, stored: Results) -> Changes:
    """What has changed since a result was measured; all lists are empty if nothing has."""
    if "trials" not in stored or "versions" not in stored.get("key", {}):  # of an older medbook
        return Changes(["no key was stored with it"], [], [])
    old, new = stored["key"], key_of(project, chapter, stored["profile"], stored["seed"])
    numbers = _changed_definitions(project, chapter, stored["trials"])
    numbers += [f"ci/lock.txt {name}" for name in _differing(old["versions"], new["versions"])]
    claimed = _differing(old["claims"], new["claims"])
    numbers += [f"claim {id}" for id in claimed]
    inside = _inside_trials(project, chapter, stored["trials"])
    glue = _changed_cells(chapter, old["cells"], new["cells"])
    glue += [name for name in _differing(old["glue"], new["glue"]) if name not in inside]
    around = _differing(old["around"], new["around"]) if "around" in old else []
    return Changes(numbers, glue, [name for name in around if name not in inside])


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
        {path for file in files for part in file for path in sources.places(part) if path.is_file()}
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


def glue_cells(notebook: NotebookNode) -> list[tuple[int, NotebookNode]]:
    """The code cells that do more than define, each with its number among the code cells."""
    numbered = enumerate(code_cells(notebook), 1)
    return [(n, cell) for n, cell in numbered if "define" not in cell.metadata.get("tags", [])]


@lru_cache(maxsize=4096)
def code_hash(source: str) -> str:
    """Hash of the syntax tree of a cell: comments, docstrings and formatting do not count.

    Nor does the folder in which a module of medbook lies.

    >>> code_hash("x = 1  # one") == code_hash("x  =  1") != code_hash("x = 2")
    True
    """
    statements = _statements(source)
    text = source if statements is None else repr([_counted(s) for s in statements])
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _counted(statement: ast.stmt) -> Any:
    """What of a statement counts: of an import from medbook, what each name stands for."""
    if not isinstance(statement, ast.Import | ast.ImportFrom):
        return skeleton(statement)
    bound = bindings([statement]).items()
    if any(meant is None or meant.module.split(".")[0] != paths.PACKAGE.name for _, meant in bound):
        return skeleton(statement)
    return sorted((name, _label(meant)) for name, meant in bound if meant)


def _label(meant: Reference) -> str:
    """Last part of a module's name; for what stands in a module, its name after it.

    >>> _label(Reference(("stats", "LEVEL"), "medbook.evaluate")), _label(Reference((), "medbook"))
    ('stats.LEVEL', 'medbook')
    """
    parts = (*meant.module.split("."), *meant.path)
    file = paths.PACKAGE.parent.joinpath(*parts)
    is_module = file.is_dir() or file.with_suffix(".py").is_file()
    return ".".join(parts[-1:] if is_module else parts[-2:])


def sources_of(project: Project) -> Sources:
    """Definitions of the checkout's chapters and of medbook, read again as soon as a file changes.

    Making them takes time (every file is parsed), and every state asks for them.
    """
    package = (f for f in paths.PACKAGE.rglob("*.py") if not set(NO_CHAPTER_CODE) & set(f.parts))
    stats = ((path, path.stat()) for path in sorted((*package, *project.sources())))
    return _sources(project, paths.PACKAGE, tuple((p, s.st_mtime_ns, s.st_size) for p, s in stats))


@lru_cache(maxsize=2)
def _sources(project: Project, package: Path, stamp: tuple[tuple[Path, int, int], ...]) -> Sources:
    texts = {path.stem: path for path in project.sources()}

    def cells(id: str) -> list[Any]:
        if id not in texts:
            raise MedbookError(f"there is no chapter {id!r}")
        found = cells_of(texts[id].read_text(encoding="utf-8"))
        return [cell for cell in found if _statements(cell.text) is not None]

    return Sources(cells, package)


def _reached_by_glue(project: Project, chapter: Chapter) -> dict[str, str]:
    """The definitions that the cells which are not tagged `define` reach by name."""
    cells = tuple(cell.source for _, cell in glue_cells(chapter.notebook()))
    return dict(_reached(sources_of(project), chapter.id, cells))


@lru_cache(maxsize=256)
def _reached(sources: Sources, id: str, cells: tuple[str, ...]) -> Mapping[str, str]:
    """The same of the source of these cells; every state of a chapter asks for it."""
    module = sources.chapter(id)
    statements = [statement for source in cells for statement in _statements(source) or ()]
    start = list(_used(sources, module, references(statements), bindings(statements)))
    return shorten(sources.closure(start), id)


def _used(
    sources: Sources,
    module: Module,
    found: Iterable[Reference],
    bound: Mapping[str, Reference | None],
) -> Iterator[Definition]:
    """What references lead to, other than values of the cells themselves and libraries."""
    for reference in found:
        if not reference.module and (name := reference.path[0]) in bound:
            imported = bound[name]
            if imported is None and name not in module.statements:
                continue
            reference = imported[reference.path[1:]] if imported else reference
        try:
            target = sources.resolve(module, reference)
        except MedbookError:  # of IPython, or of a chapter that is not there
            continue
        yield from target if isinstance(target, list) else ()


def _of_chapter(name: str, ids: set[str]) -> bool:
    """A definition of this chapter or of another one, whose ids are given."""
    return "." not in name or name.split(".")[0] in ids


def _statements(source: str) -> list[Any] | None:
    """Those of a cell, IPython's magics translated; None if it is no Python, as a run will say."""
    try:
        return parsed(source, "a cell")
    except MedbookError:
        from IPython.core.inputtransformer2 import TransformerManager

    try:
        return parsed(TransformerManager().transform_cell(source), "a cell")
    except MedbookError:
        return None


def _changed_definitions(
    project: Project, chapter: Chapter, trials: Mapping[str, Any]
) -> list[str]:
    """Names of definitions that trials reach and that are no longer what they were."""
    sources, named = sources_of(project), []
    for trial in trials.values():
        if not trial["keys"]:
            named.append(EARLIER)
        now = sources.current(chapter.id, trial["definitions"])
        named += [name for name, hash in trial["definitions"].items() if now[name] != hash]
    return list(dict.fromkeys(named))


def _inside_trials(
    project: Project, chapter: Chapter, trials: Mapping[str, Any]
) -> Mapping[str, str]:
    """What trials reached when they were computed, and what the same definitions reach now."""
    sources = sources_of(project)
    module = sources.chapter(chapter.id)
    then = {name: hash for trial in trials.values() for name, hash in trial["definitions"].items()}
    own = [(module, name) for name in then if name in module.statements]
    return shorten(sources.closure(own), chapter.id) | then


def locked(path: Path) -> dict[str, str]:
    """Versions that a lock file gives to the packages that numbers depend on."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    pairs = (line.split(";")[0].split(" ")[0].partition("==") for line in lines)
    return {name: version for name, _, version in pairs if name in VERSIONS}


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]


def _changed_cells(chapter: Chapter, old: list[str], new: list[str]) -> list[str]:
    numbers = [number for number, _ in glue_cells(chapter.notebook())]
    name, named = source_name(chapter), []
    for what, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "delete":
            named += [f"{name}: a cell was removed"] * (j - i)
        elif what != "equal":
            named += [f"{name} cell {numbers[place]}" for place in range(k, m)]
    return list(dict.fromkeys(named))
