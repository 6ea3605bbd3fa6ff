"""Parts of pages that take seconds to draw, kept under `_build` until what they show changes."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from medbook import paths
from medbook._book.keys import real_files
from medbook._book.project import Project
from medbook.record import results

Draw = Callable[[Project], str]


def kept(name: str, draw: Draw, real: str = "") -> Draw:
    """A part of a page that is drawn once.

    Args:
        name: of the file that keeps it.
        draw: makes the text; of the package, of the chapters' front matter and of `real` alone.
        real: data set whose real files it shows where they are at hand.
    """

    def text(project: Project) -> str:
        file = project.build / "parts" / f"{name}-{_key(project, real)}.md"
        if not file.exists():
            results.write_atomic(file, draw(project))
        return file.read_text(encoding="utf-8")

    return text


def _key(project: Project, real: str) -> str:
    """16 hex digits over all sources of the package, the chapters' front matter and real files."""
    sha = hashlib.sha256()
    for file in sorted(paths.PACKAGE.rglob("*.py")):
        sha.update(file.relative_to(paths.PACKAGE).as_posix().encode() + file.read_bytes())
    known = {chapter.id: chapter.meta for chapter in project.chapters()}
    shown = [_state(file) for file in real_files(real)]
    sha.update(json.dumps([known, shown], sort_keys=True, default=str).encode())
    return sha.hexdigest()[:16]


def _state(file: Path) -> tuple[str, int, int]:
    return str(file), file.stat().st_size, file.stat().st_mtime_ns
