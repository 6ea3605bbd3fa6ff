"""Which jobs of a chapter an edit of its definitions changes."""

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any
from unittest import mock

from medbook import chapter
from medbook.trials.fingerprint import Fingerprints

Jobs = Callable[[ModuleType], Mapping[str, Any]]  # jobs by name, of a chapter's definitions


def changed_by(id: str, jobs: Jobs, old: str, new: str) -> set[str]:
    """Names of the jobs whose fingerprint differs once `old` in the chapter's source is `new`."""
    text = chapter.find(id).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {id}"
    before, after = (_digests(id, jobs, source) for source in (text, text.replace(old, new)))
    return {name for name in before if before[name] != after[name]}


@lru_cache(maxsize=4)  # the text before is the same for all edits
def _digests(id: str, jobs: Jobs, source: str) -> dict[str, str]:
    with TemporaryDirectory() as folder, mock.patch.dict(sys.modules):
        file = Path(folder) / f"{id}.py"
        file.write_text(source, encoding="utf-8")
        find = chapter.find
        with mock.patch.object(chapter, "find", lambda name: file if name == id else find(name)):
            named, known = jobs(chapter.load(id)), Fingerprints()
            return {name: known.of(job).digest for name, job in named.items()}
