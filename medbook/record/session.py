"""A run of one chapter: its profile, its seeds, and the record of what it measured."""

import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from medbook import data, pilot
from medbook.errors import MedbookError
from medbook.evaluate import stats
from medbook.learn.training import TrainingLog
from medbook.record import profiles, results
from medbook.record.claims import Claim, chapter_claims, claims_file, load_systems
from medbook.show import effects, findings
from medbook.show.measured import Measured, measured
from medbook.show.tables import Table, Verdict
from medbook.trials import Mapped, Place, compute, forget_why
from medbook.trials.fingerprint import listen
from medbook.trials.machine import machine
from medbook.trials.parallel import peak_mib, threads

Item = TypeVar("Item")
Value = TypeVar("Value")

VERSIONS = (  # of what computes, or judges what was computed
    "torch", "numpy", "scipy", "monai", "torchmetrics", "scikit-image", "scikit-learn",
)  # fmt: skip
CORES = 2  # of the machine that the laptop profile is made for
SEEDED_RTOL = 0.02  # repeats on one machine are equal; another CPU rounds differently
DEPENDS_ON = ("nothing", "train", "validation", "test")


def start(chapter: str, profile: str = "auto", seed: int = 0) -> "Session":
    """Begin a run of a chapter.

    Args:
        chapter: the chapter's id (its file name).
        profile: see `medbook.record.profiles.resolve`.
        seed: base of all seeds of the run.

    >>> start("unlearnable_examples", profile="smoke").scale(smoke=1, laptop=2, gpu=3)
    1
    """
    listen()
    run = Session(chapter, profiles.resolve(profile), int(seed))
    if run.device.type == "cuda":  # repeats of one seed agree
        torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32 = True, False
    if run.profile == "smoke":  # on so little data more threads wait for each other
        torch.set_num_threads(1)
    return run


@dataclass
class Session:
    """Collects what a chapter measures; made by `start`."""

    chapter: str
    profile: str
    seed: int
    started: stats.Array = field(default_factory=lambda: _clocks())
    datasets: dict[str, data.Record] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    arms: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    claims: dict[str, dict[str, Any]] = field(default_factory=dict)
    trials: dict[str, dict[str, Any]] = field(default_factory=dict)
    worker_mib: int = 0
    # seconds in maps whose trials are noted with their own, on both clocks
    mapping: stats.Array = field(default_factory=lambda: np.zeros(2))
    planned: int = 0  # seeds, the most that were asked for
    stepped: bool = False  # some arm has steps that a pilot can halve

    @property
    def device(self) -> torch.device:
        """Where this profile computes."""
        return torch.device("cuda" if self.profile == "gpu" else "cpu")

    def scale(self, *, smoke: Value, laptop: Value, gpu: Value) -> Value:
        """The size that belongs to this profile."""
        return profiles.choose(self.profile, smoke, laptop, gpu)

    def steps(self, *, smoke: int, laptop: int, gpu: int) -> int:
        """Optimiser steps of an arm at this profile; half of them in the second run of a pilot."""
        self.stepped = True
        return pilot.shortened(self.scale(smoke=smoke, laptop=laptop, gpu=gpu))

    def seeds(self, n: int) -> list[int]:
        """The first `n` seeds of this run: `SeedSequence([seed, k])`, k = 0 .. n-1.

        They are for repeats: a pilot gets two. What is drawn once, however many repeats there are,
        takes `draws`.
        """
        self.planned = max(self.planned, n)
        return _states([self.seed, k] for k in range(min(n, pilot.SEEDS) if pilot.kind() else n))

    def draws(self, n: int) -> list[int]:
        """`n` other seeds: `SeedSequence([seed, k, 1])`, for phantoms and noise of all repeats."""
        return _states([self.seed, k, 1] for k in range(n))

    def load(self, name: str, size: int | None = None, **options: Any) -> data.Record:
        """`medbook.data.load`, noted in the results; smoke takes the twin, equal everywhere."""
        size = min(data.info(name).files) if size is None else size
        record = data.load(name, size, str(self.device), self._source, **options)
        self._use(record, size=size, **options)
        return record

    def phantom(self, name: str, images: Tensor, *, value_unit: str, unit: str) -> data.Record:
        """Generated images with exact truth, noted in the results as a phantom.

        Args:
            name: of the set, for claims that it carries.
            images: (N, C, H, W), on any device.
            value_unit: of the values.
            unit: what is independent, e.g. "drawn slice".
        """
        image_set = data.phantom(name, images, value_unit=value_unit, unit=unit)
        self.datasets[name] = image_set
        return image_set

    def labelled_phantom(
        self, name: str, train: data.Split, val: data.Split, test: data.Split, *,
        classes: Sequence[str], unit: str,
    ) -> data.Record:  # fmt: skip
        """`medbook.data.labelled_phantom`, noted in the results."""
        dataset = data.labelled_phantom(name, train, val, test, classes=classes, unit=unit)
        self.datasets[name] = dataset
        return dataset

    @property
    def _source(self) -> Literal["twin", "auto"]:
        return "twin" if self.profile == "smoke" else "auto"

    def _use(self, dataset: data.Record, **options: Any) -> None:
        self.datasets[dataset.name] = dataset
        self.options[dataset.name] = options
        drawn = [d.name for d in self.datasets.values() if d.kind == "phantom"]
        data.check_overlap([name for name in self.datasets if name not in drawn])

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> list[Value]:
        """`[function(item) for item in items]`, side by side where the machine has room for it.

        Where there is a store of outcomes, what it has is not computed again; see
        `medbook.trials.compute`.

        Args:
            function: of a cell tagged `define`; takes its random numbers from the job alone.
            items: jobs, small frozen dataclasses or NamedTuples.

        Raises:
            MedbookError: see `medbook.trials.compute`.
        """
        run = f"{self.chapter}.{self.profile}" + (f"-seed{self.seed}" if self.seed else "")
        if not self.trials:
            forget_why(run)
        jobs = self.scale(smoke=1, laptop=threads(), gpu=1)
        place = Place(self.chapter, self.device.type, jobs, run)
        begun = _clocks()
        mapped = compute(function, items, place)
        if jobs > 1:
            peak = max((trial.peak_mib for trial in mapped.trials), default=0)
            self.worker_mib = max(self.worker_mib, peak * jobs)
        if mapped.function:
            self._note(mapped)
            self.mapping += _clocks() - begun
        return [trial.value for trial in mapped.trials]

    def _note(self, mapped: Mapped) -> None:
        """Enter trials in the results, after those of the same function."""
        entry = self.trials.setdefault(
            mapped.function, {"definitions": {}, "machines": [], "keys": [], "seconds": []}
        )
        entry["definitions"] |= mapped.definitions
        computed_on = {*entry["machines"], *(trial.machine for trial in mapped.trials)}
        entry["machines"] = sorted(computed_on)
        entry["keys"] += mapped.keys
        entry["seconds"] += [trial.seconds for trial in mapped.trials]

    def arm(self, name: str, logs: Sequence[TrainingLog], trials: int = 1) -> None:
        """Enter a method arm in the arms table.

        Args:
            name: as in the figures.
            logs: one a seed, from `medbook.learn.training.fit`.
            trials: settings tried on validation data to choose this arm's hyper-parameters.

        Raises:
            MedbookError: the name was used before.
        """
        if name in [arm["name"] for arm in self.arms]:
            raise MedbookError(f"arm {name!r} is in the table already: give each arm its own name")
        first = logs[0]
        seconds = float(np.mean([log.seconds for log in logs]))
        self.arms.append(
            {"name": name, "n_train": first.n_train, "steps": first.steps}
            | {"parameters": first.parameters, "trials": trials, "seconds": round(seconds, 1)}
            | {"weights": [log.weights for log in logs]}
        )

    def record(
        self,
        name: str,
        values: ArrayLike,
        *,
        on: str,
        unit: str = "",
        kind: str = "seeded",
        rtol: float = SEEDED_RTOL,
    ) -> stats.Interval:
        """Store numbers, one a seed, with their t interval.

        Args:
            name: unique in the chapter.
            values: (n_seeds,) or a single number.
            on: which targets the number depends on: "nothing", "train", "validation" or "test".
                Only numbers on "test" may change when the test targets are permuted.
            unit: e.g. "dB"; empty for a fraction.
            kind: "exact" (equal on every machine) or "seeded".
            rtol: relative tolerance of a seeded number for the same seeds and versions.

        Raises:
            MedbookError: the name was used before, or `on` or `kind` is unknown.
        """
        if name in self.metrics or on not in DEPENDS_ON or kind not in ("exact", "seeded"):
            raise MedbookError(
                f"record {name!r} (on={on!r}, kind={kind!r}): the name must be new, on one of "
                f"{', '.join(DEPENDS_ON)}, kind exact or seeded"
            )
        numbers = np.atleast_1d(np.asarray(values, dtype=float))
        interval = stats.t_interval(numbers)
        self.metrics[name] = {
            "values": numbers.tolist(), "unit": unit, "mean": interval.mean, "low": interval.low,
            "high": interval.high, "kind": kind, "rtol": 0.0 if kind == "exact" else rtol, "on": on,
        }  # fmt: skip
        return interval

    def claim(
        self,
        id: str,
        *,
        ours: ArrayLike,
        baseline: ArrayLike | None = None,
        units: ArrayLike | None = None,
    ) -> str:
        """Test a claim of `book/claims/<chapter>.yml` and return its verdict.

        Args:
            id: the claim's id.
            ours: (n_seeds,) or, with `units`, (n_seeds, n_cases); for kind monotone
                (n_seeds, n_points); for kind exact any shape.
            baseline: same shape; not for kind monotone.
            units: (n_cases,) independent unit (patient, image) of each case.

        Raises:
            MedbookError: the chapter has no such claim.
        """
        known = chapter_claims(self.chapter)
        if id not in known:
            raise MedbookError(
                f"claim {id!r} is not in {claims_file(self.chapter)}: known are {list(known)}"
            )
        claim = known[id]
        effects, interval = _effect(claim, ours, baseline, units)
        verdict = stats.verdict(claim.kind, interval, claim.margin)
        if claim.kind == "monotone":
            verdict = stats.verdict_of_sweep(ours, claim.margin, claim.better)
        tested = profiles.PROFILES.index(self.profile) >= profiles.PROFILES.index(claim.profile)
        used = self.datasets.get(claim.data)
        self.claims[id] = {
            "id": id, "hash": claim.hash, "verdict": verdict if tested else "not tested",
            "effect": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n,
            "effects": (effects if effects.ndim == 1 else effects.mean(1)).tolist(),
            "data": used.kind if used else "none",
            "seeds_needed": stats.seeds_needed(effects, claim.kind, claim.margin, units)
            if verdict == "inconclusive" else None,
        } | _evidence(claim, effects, ours, units)  # fmt: skip
        return str(self.claims[id]["verdict"])

    def arms_table(self) -> Table:
        """What each arm was given: data, steps, parameters, trials, time."""
        head = ["arm", "images", "steps", "parameters", "trials", "seconds a run", "seeds"]
        keys = ("name", "n_train", "steps", "parameters", "trials", "seconds", "weights")
        rows = [[len(a[k]) if k == "weights" else a[k] for k in keys] for a in self.arms]
        return Table(head, rows, "Arms: what each was given.")

    def claims_table(self) -> Table:
        """Every claim with its measured effect, interval and verdict."""
        head = ["claim", "paper", "measured effect [95 % interval]", "margin", "seeds", "verdict"]
        known = chapter_claims(self.chapter)
        rows = [_claim_row(known[id], self.claims[id]) for id in known if id in self.claims]
        return Table(head, rows, "Effects are positive where they speak for the claim.")

    def effects(self) -> None:
        """Display the figure of all effects, with intervals, margins and verdicts."""
        effects.show(self._measured(), self._titles())

    def findings(self) -> None:
        """Display what was found: a sentence for each claim, its words chosen by the verdict."""
        findings.show(self._measured(), self._titles())

    def _measured(self) -> list[Measured]:
        run = {"claims": list(self.claims.values()), "metrics": self.metrics}
        return measured(chapter_claims(self.chapter), run)

    def _titles(self) -> dict[str, str]:
        """Title of each system of the chapter, without what stands after a colon."""
        systems = [s for s in load_systems() if s.chapter == self.chapter]
        return {system.slug: system.title.partition(": ")[0] for system in systems}

    def finish(self) -> Path:
        """Write the results file and return where it is.

        Raises:
            MedbookError: a claim of the chapter was given no value.
        """
        missing = sorted(set(chapter_claims(self.chapter)) - set(self.claims))
        if missing:
            raise MedbookError(f"{self.chapter}: no value was given for claim {', '.join(missing)}")
        folder = Path(os.environ.get("MEDBOOK_OUT", "_build/interactive"))
        path = folder / f"{self.chapter}.{self.profile}.json"
        results.save(self._content(), path)
        return path

    def _seconds(self) -> float:
        """Time of a run that has its cores to itself: of the trials, and of the cells around them.

        Trials that came from a store count as those that were computed.
        """
        around = _alone(_clocks() - self.started - self.mapping, self.device)
        trials = sum(sum(trial["seconds"]) for trial in self.trials.values())
        return around + trials / self.scale(smoke=1, laptop=CORES, gpu=1)

    def _content(self) -> results.Results:
        return {
            "schema": results.SCHEMA, "chapter": self.chapter, "profile": self.profile,
            "seed": self.seed, "environment": environment(self.device),
            "seconds": round(self._seconds(), 1),
            "peak_mib": peak_mib() + self.worker_mib,
            "device_mib": int(torch.cuda.max_memory_allocated() / 2**20)
            if self.device.type == "cuda" else 0,
            "data": [
                {"name": d.name, "kind": d.kind, "unit": d.unit, "n": d.n, "sha256": d.sha256}
                | {"options": self.options.get(d.name, {})}
                for d in self.datasets.values()
            ],
            "trials": self.trials, "arms": self.arms, "metrics": self.metrics,
            "claims": list(self.claims.values()),
        } | self._pilot()  # fmt: skip

    def _pilot(self) -> dict[str, Any]:
        """What results of a pilot say of it."""
        if not pilot.kind():
            return {}
        return {"pilot": {"run": pilot.kind(), "seeds": self.planned, "stepped": self.stepped}}


def _states(entropies: Iterable[list[int]]) -> list[int]:
    return [int(np.random.SeedSequence(e).generate_state(1)[0]) for e in entropies]


def _clocks() -> stats.Array:
    """Seconds on the clock, and seconds of the processor that this process has used."""
    return np.array([time.perf_counter(), time.process_time()])


def _alone(seconds: stats.Array, device: torch.device) -> float:
    """What cells would take on a quiet machine: a CPU does not count them while others compute.

    Two threads use two seconds of the processor in one of the clock, hence the lesser of both.
    """
    return float(seconds[0] if device.type == "cuda" else seconds.min())


def environment(device: torch.device) -> dict[str, str]:
    """Versions and hardware that numbers may depend on.

    >>> sorted(environment(torch.device("cpu")))[:2]
    ['device', 'monai']
    """
    found = {name: version(name) for name in VERSIONS}
    return {"device": machine(device.type), "python": platform.python_version(), **found}


def _effect(
    claim: Claim, ours: ArrayLike, baseline: ArrayLike | None, units: ArrayLike | None
) -> tuple[stats.Array, stats.Interval]:
    """Effects of a claim by seed (and case), and the interval that its verdict uses."""
    if claim.kind == "monotone":
        effects = stats.trend(ours, claim.better)
    elif baseline is None:
        raise MedbookError(f"claim {claim.id}: kind {claim.kind} needs a baseline")
    elif claim.kind == "exact":
        worst = float(np.abs(stats.paired_effect(ours, baseline)).max())
        return np.array([worst]), stats.Interval(worst, worst, worst, 1)
    else:
        effects = stats.paired_effect(ours, baseline, claim.better)
    return effects, stats.paired_interval(effects, units)


def _evidence(
    claim: Claim, effects: stats.Array, ours: ArrayLike, units: ArrayLike | None
) -> dict[str, Any]:
    """What the verdict rests on beside the effects: the whole sweep, or the error over units."""
    if claim.kind == "monotone":
        return {"sweep": np.asarray(ours, dtype=float).tolist()}
    if claim.kind == "exact" or units is None:
        return {}
    cases = stats.cluster_bootstrap(effects.mean(0), units)
    return {"cases": {"low": cases.low, "high": cases.high, "n": cases.n}}


def _claim_row(claim: Claim, measured: dict[str, Any]) -> list[Any]:
    low, high = (f"{measured[end]:+.3f}" for end in ("low", "high"))
    verdict = measured["verdict"]
    if verdict == "inconclusive":
        n = measured["seeds_needed"]
        verdict += f" ({n} seeds would decide)" if n else " (1,000 seeds would not decide)"
    elif verdict == "not tested":
        verdict += f" at this profile (needs {claim.profile})"
    if measured["data"] != "real":
        verdict += f" [{measured['data']}]"
    effect = f"{measured['effect']:+.3f} [{low}, {high}]"
    text = f"{claim.id}: {claim.statement}"
    return [text, claim.paper, effect, claim.margin, measured["n"], Verdict(verdict)]
