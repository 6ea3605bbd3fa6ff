"""Trials: one function called with many jobs, each outcome computed once."""

import json
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

from medbook.trials import cluster, global_random
from medbook.trials.closures import Sources
from medbook.trials.fingerprint import Fingerprints
from medbook.trials.machine import machine
from medbook.trials.parallel import peak_mib, side_by_side
from medbook.trials.store import Damaged, Recipe, Store, Trial

VERSIONS = ("torch", "numpy", "scipy", "monai", "torchmetrics")  # of what computes
NEWEST = 1000  # stored outcomes that a new trial is compared with
HEX = 32  # digits that end the text of a part which is too long to be shown

Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Place:
    """Where trials are computed.

    Attributes:
        chapter: id of the chapter that runs in this kernel.
        device: "cpu" or "cuda".
        jobs: processes side by side on this machine.
        run: names the file of reasons, `<chapter>.<profile>`.
    """

    chapter: str
    device: str
    jobs: int = 1
    run: str = ""


@dataclass
class Mapped:
    """What a map gave; without a store nothing is known but the values.

    Attributes:
        trials: in the order of the jobs.
        function: its name as `medbook.trials.fingerprint.definitions` has it.
        definitions: that the function and its jobs reach, with their hashes.
        keys: of the trials.
    """

    trials: list[Trial]
    function: str = ""
    definitions: dict[str, str] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)


def compute(function: Function, items: Sequence[Any], place: Place) -> Mapped:
    """`function(item)` of each item, from the store where it has them.

    The environment says where: `MEDBOOK_TRIALS` names the folder of the store (unset: no store),
    `MEDBOOK_SCHEDULER` a Dask scheduler, `MEDBOOK_PROGRESS` a file that gets a line a trial.

    Args:
        function: of a `define` cell.
        items: jobs.
        place: where trials are computed.

    Raises:
        MedbookError: a job that cannot be hashed, a function that reaches what no `define` cell
            defines, a trial that draws from global random state, a full disk, a killed worker.
    """
    if not (folder := os.environ.get("MEDBOOK_TRIALS")):
        done = dict(_report(_computed(function, items, place, None, ()), function, len(items)))
        return Mapped([done[k] for k in range(len(items))])
    store, prints = Store.at(Path(folder)), Fingerprints(place.chapter)
    label = prints.label(function)
    recipes = list(_recipes(function, items, place, prints))
    name = label.removeprefix(f"{place.chapter}.")
    found = dict(_report(_all(function, items, place, store, recipes), name, len(items)))
    reached = {label for recipe in recipes for label in _definitions(recipe)}
    definitions = prints.definitions(reached)
    trials = [found[k] for k in range(len(items))]
    return Mapped(trials, name, definitions, [recipe.key for recipe in recipes])


def why(recipe: Recipe, others: Iterable[Recipe]) -> list[str]:
    """What distinguishes a trial from the most similar one of those stored.

    >>> stored = Recipe("one.trial", {"job.steps": "360", "definition training.fit": "ab"})
    >>> why(Recipe("one.trial", {"job.steps": "1500", "definition training.fit": "cd"}), [stored])
    ['training.fit changed', 'job.steps 360 -> 1500']
    """
    mine = set(recipe.parts.items())
    nearest = min(others, key=lambda o: len(mine ^ set(o.parts.items())), default=None)
    if nearest is None:
        return ["no outcome of this function is stored"]
    return list(_differences(nearest.parts, recipe.parts))


def _recipes(
    function: Function, items: Sequence[Any], place: Place, prints: Fingerprints
) -> Iterator[Recipe]:
    """What each trial depends on."""
    label, of_function = prints.label(function), prints.of(function, "function")
    common = {f"version {name}": _version(name) for name in VERSIONS}
    common |= {"device": place.device, "function": of_function.digest}
    common["permuted test labels"] = os.environ.get("MEDBOOK_PERMUTE_TEST", "")
    for item in items:
        labels = of_function.labels | prints.of(item).labels
        hashes = {f"definition {name}": value for name, value in prints.full(labels).items()}
        yield Recipe(label, common | hashes | dict(prints.parts(item)))


def _definitions(recipe: Recipe) -> list[str]:
    return [n.removeprefix("definition ") for n in recipe.parts if n.startswith("definition ")]


def _all(
    function: Function, items: Sequence[Any], place: Place, store: Store, recipes: list[Recipe]
) -> Iterator[tuple[int, tuple[Trial, bool]]]:
    """Each trial with its place, and whether it was computed just now: stored ones come first."""
    missing: dict[str, int] = {}
    copies: list[int] = []
    damaged = 0
    for k, recipe in enumerate(recipes):
        if recipe.key in missing:  # the same job twice
            copies.append(k)
            continue
        try:
            trial = store.load(recipe, function)
        except Damaged:
            damaged, trial = damaged + 1, None
        if trial is None:
            missing[recipe.key] = k
        else:
            yield k, (trial, False)
    if damaged:
        warnings.warn(
            f"{damaged} stored outcomes are damaged or of another user: computed again",
            stacklevel=2,
        )
    places = list(missing.values())
    _note_why(store, [recipes[k] for k in places], places, place)
    todo = [items[k] for k in places]
    for n, done in _computed(function, todo, place, store, [recipes[k] for k in places]):
        yield places[n], done
    for k in copies:
        if trial := store.load(recipes[k], function):
            yield k, (trial, False)


def _computed(
    function: Function,
    items: Sequence[Any],
    place: Place,
    store: Store | None,
    recipes: Sequence[Recipe],
) -> Iterator[tuple[int, tuple[Trial, bool]]]:
    """Each trial as soon as it is computed; stored by the process that computed it.

    What a cluster computes is stored here: its workers need not share this machine's disk.
    """
    address = os.environ.get("MEDBOOK_SCHEDULER")
    attempt = _Attempt(function, place.device, None if address else store)
    works = [(item, recipes[k] if recipes else None) for k, item in enumerate(items)]
    if not works:
        return
    if not address:
        for k, trial in side_by_side(attempt, works, jobs=place.jobs):
            yield k, (trial, True)
        return
    gpu, needed = place.device == "cuda", _of_medbook(recipes)
    for k, trial in cluster.side_by_side(attempt, works, address, gpu=gpu, needed=needed):
        if store:
            store.save(recipes[k], trial, function)
        yield k, (trial, True)


def _of_medbook(recipes: Iterable[Recipe]) -> dict[str, str]:
    """Definitions of the package that trials rest on, with their hashes."""
    named = {name: value for recipe in recipes for name, value in recipe.parts.items()}
    inside = {n.removeprefix("definition "): v for n, v in named.items() if n[:10] == "definition"}
    return Sources(lambda _: []).of_package(inside)


@dataclass(frozen=True)
class _Attempt:
    """One trial, in whatever process."""

    function: Function
    device: str
    store: Store | None

    def __call__(self, work: tuple[Any, Recipe | None]) -> Trial:
        item, recipe = work
        # time of the processor does not depend on what else the machine does
        clock = time.process_time if self.device == "cpu" else time.perf_counter
        with global_random.untouched():
            start = clock()
            value = self.function(item)
            seconds = round(clock() - start, 3)
        trial = Trial(value, seconds, peak_mib(), machine(self.device))
        if self.store and recipe:
            self.store.save(recipe, trial, self.function)
        return trial


def _report(
    trials: Iterable[tuple[int, tuple[Trial, bool]]], function: Any, total: int
) -> Iterator[tuple[int, Trial]]:
    """Pass trials on; a line of JSON each for whoever shows the progress."""
    file = os.environ.get("MEDBOOK_PROGRESS")
    name = function if isinstance(function, str) else getattr(function, "__name__", "trial")
    for done, (k, (trial, new)) in enumerate(trials, 1):
        if file:
            line = {"function": name, "done": done, "total": total}
            with Path(file).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line | {"seconds": trial.seconds if new else None}) + "\n")
        yield k, trial


# ---------------------------------------------------------------- why a trial was new


def _note_why(store: Store, missing: list[Recipe], places: list[int], place: Place) -> None:
    """A line of JSON for each trial that is about to be computed: `<store>/why/<run>.jsonl`."""
    if not missing or not place.run:
        return
    known = list(islice(store.recipes(missing[0].function), NEWEST))
    own = f"{place.chapter}."
    file = store.folder / "why" / f"{place.run}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        for k, recipe in zip(places, missing, strict=True):
            reasons = [reason.removeprefix(own) for reason in why(recipe, known)]
            line = {"function": recipe.function.removeprefix(own), "index": k}
            line |= {"key": recipe.key, "why": reasons}
            lines.write(json.dumps(line) + "\n")


def forget_why(run: str) -> None:
    """Begin the file of reasons anew: a run has started."""
    if folder := os.environ.get("MEDBOOK_TRIALS"):
        (Path(folder) / "why" / f"{run}.jsonl").unlink(missing_ok=True)


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    if any(name.startswith("definition ") for name in changed):
        changed.discard("function")  # it rests on them
    for name in sorted(changed):
        before, after = old.get(name), new.get(name)
        shown = name.removeprefix("definition ").removeprefix("version ")
        if before is None or after is None:
            yield f"{shown} is {'new' if before is None else 'gone'}"
        elif name.startswith("definition ") or _is_long(before) or _is_long(after):
            yield f"{shown} changed"
        else:
            yield f"{shown} {before} -> {after}"


def _is_long(text: str) -> bool:
    return len(text.split(" ")[-1]) == HEX


@lru_cache(maxsize=16)
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
