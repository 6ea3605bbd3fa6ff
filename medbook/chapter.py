"""Definitions of a chapter, for tests and for other chapters, without running it."""

import sys
from pathlib import Path
from types import ModuleType

from medbook.errors import MedbookError
from medbook.paths import content_root

PREFIX = "medbook_chapter_"  # of the names of the modules


def load(chapter: str) -> ModuleType:
    """A module with what the cells tagged `define` of a chapter define.

    Args:
        chapter: the chapter's id.

    Raises:
        MedbookError: there is no such chapter, or a `define` cell fails.

    >>> load("unlearnable_examples").__name__
    'medbook_chapter_unlearnable_examples'
    """
    path = find(chapter)
    name = PREFIX + chapter
    module = ModuleType(name, f"Definitions of {path.name}.")
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and pickling look their module up here
    source = defining_source(path.read_text(encoding="utf-8"))
    module.__dict__["__source__"] = source  # of what is executed now, whatever becomes of the file
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except Exception as error:
        message = f"{path.name}: a cell tagged `define` does not run alone: {error!r}"
        raise MedbookError(message) from error
    return module


def find(chapter: str) -> Path:
    """The chapter's source file."""
    found = sorted((content_root() / "chapters").glob(f"*/{chapter}.py"))
    if len(found) == 1:
        return found[0]
    known = sorted(p.stem for p in (content_root() / "chapters").glob("*/*.py"))
    what = "two files share the id" if found else "there is no chapter"
    raise MedbookError(f"{what} {chapter!r}; chapters are: {', '.join(known) or 'none'}")


def defining_source(text: str) -> str:
    """The `define` cells of a percent notebook; all other lines blank, so line numbers hold."""
    lines, inside = [], False
    for line in text.splitlines():
        if line.startswith("# %%"):
            inside = "[markdown]" not in line and '"define"' in line
        lines.append(line if inside and not line.startswith("# %%") else "")
    return "\n".join(lines)
