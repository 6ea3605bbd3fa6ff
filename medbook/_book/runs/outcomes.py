"""Files of stored outcomes: which ones a result rests on, and stores made of some of them."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from medbook.record.results import Results
from medbook.trials.store import SCHEMA


def files_of(store: Path, run: Results) -> dict[str, Path]:
    """Where a store keeps the trials of a run, if it has them: key -> file."""
    return {
        key: store / SCHEMA / _folder(run, function) / key
        for function, trial in run["trials"].items()
        for key in trial["keys"]
    }


def told(store: Path, chapter: str, profile: str, seed: int) -> list[str]:
    """`trial: 12 computed: training.fit changed`, a line a function and reason of the last run."""
    found = Counter(
        (line["function"], ", ".join(line["why"]))
        for line in reasons(store, chapter, profile, seed)
    )
    lines = [f"{name}: {count} computed: {why}" for (name, why), count in found.items()]
    return lines or ["no trial was computed: the store had all of them"]


def reasons(store: Path, chapter: str, profile: str, seed: int) -> list[dict[str, Any]]:
    """Why the last run of a chapter computed trials that were not in the store.

    Args:
        store: that it used.
        chapter: its id.
        profile: at which it ran.
        seed: base seed of the run.

    Returns:
        one entry a trial that was computed: function, index, key, why (a list).
    """
    name = f"{chapter}.{profile}" + (f"-seed{seed}" if seed else "")
    file = store / "why" / f"{name}.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]


def empty(store: Path) -> None:
    """Forget every outcome of a store."""
    shutil.rmtree(store, ignore_errors=True)


def share(files: Iterable[Path], store: Path, other: Path) -> None:
    """Put outcomes of one store into another, without a copy where the disk allows it."""
    for file in files:
        target = other / file.relative_to(store)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            os.link(file, part)
        except OSError:  # another disk
            shutil.copyfile(file, part)
        part.replace(target)


def all_files(store: Path) -> Iterator[Path]:
    """Every outcome in a store."""
    return (f for f in (store / SCHEMA).glob("*/*") if not f.name.startswith("."))


def _folder(run: dict[str, Any], function: str) -> str:
    """A function of the chapter itself is stored under the chapter's name, too."""
    return function if "." in function else f"{run['chapter']}.{function}"
