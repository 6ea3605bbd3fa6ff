"""A run of one chapter: its profile, its seeds, and the record of what it measured."""

import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from medbook.record import cases, first_edition, profiles, results, tables, verdicts
from medbook.record.cases import Cases
from medbook.record.claims import chapter_checks, chapter_claims, claims_file, load_systems
from medbook.show.measured import Measured, measured
from medbook.show.tables import Table
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
CURVE = 40  # points of a loss curve that are kept


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
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)
    cases: Cases = field(default_factory=dict)
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

    def simulated(
        self, name: str, source: data.Record, images: Tensor, *, value_unit: str, unit: str
    ) -> data.Record:
        """Images that a simulated scanner made from real ones, noted as `simulated from real`.

        Args:
            name: of the set, for claims that it carries.
            source: the set of real images; if that is a twin or phantom, so is this one.
            images: (N, C, H, W), on any device.
            value_unit: of the values.
            unit: what is independent, e.g. "patient".
        """
        made = data.simulated(name, source, images, value_unit=value_unit, unit=unit)
        self.datasets[name] = made
        return made

    @property
    def _source(self) -> Literal["twin", "auto"]:
        return "twin" if self.profile == "smoke" else "auto"

    def _use(self, dataset: data.Record, **options: Any) -> None:
        self.datasets[dataset.name] = dataset
        self.options[dataset.name] = options
        loaded = [name for name in self.datasets if name in self.options]
        data.check_overlap(loaded)

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

    def arm(
        self,
        name: str,
        logs: Sequence[TrainingLog] = (),
        *,
        validation: ArrayLike | None = None,
        floor: ArrayLike | None = None,
        better: str = "higher",
        tried: int = 1,
        trials: int | None = None,
    ) -> None:
        """Enter an arm, of which numbers come: a method with its settings.

        Args:
            name: as in the figures and in the claims file.
            logs: one a seed, from `medbook.learn.training.fit`; none if nothing is trained.
            validation: (n_seeds,) score on validation data, of a trained arm.
            floor: (n_seeds,) or one number, the strongest of what has learned nothing: identity,
                majority class, untrained network.
            better: "higher" or "lower": which validation scores are good.
            tried: configurations tried on validation data to choose this arm's hyper-parameters.
            trials: the same, as the first editions of chapters call it.

        Raises:
            MedbookError: the name was used before, or a trained arm has no score or no floor.
        """
        if name in [arm["name"] for arm in self.arms]:
            raise MedbookError(f"arm {name!r} is in the table already: give each arm its own name")
        entry = {"name": name, **_training(logs), "trials": trials or tried}
        if not first_edition.still(self.chapter):
            entry |= _learning(name, logs, validation, floor, better)
        self.arms.append(entry)

    def record(
        self,
        name: str,
        values: ArrayLike,
        *,
        on: str,
        arm: str | Sequence[str] = (),
        units: ArrayLike | None = None,
        strata: ArrayLike | None = None,
        unit: str = "",
        kind: str = "seeded",
        rtol: float = SEEDED_RTOL,
    ) -> stats.Interval:
        """Store numbers, one a seed, with their t interval.

        Args:
            name: unique in the chapter.
            values: (n_seeds,) or a single number; or scores of single cases (n_seeds, n_cases),
                whose means are the values of the seeds.
            on: which targets the number depends on: "nothing", "train", "validation" or "test".
                Only numbers on "test" may change when the test targets are permuted.
            arm: the arm that it comes from, as in `run.arm`, or several.
            units: (n_cases,) independent unit (patient, image) of each case.
            strata: (n_cases,) class of each case, where the score is balanced over classes.
            unit: e.g. "dB"; empty for a fraction.
            kind: "exact" (equal on every machine) or "seeded".
            rtol: relative tolerance of a seeded number for the same seeds and versions.

        Raises:
            MedbookError: the name was used before, `on` or `kind` is unknown, or scores of cases
                lack their units.
        """
        if name in self.metrics or on not in DEPENDS_ON or kind not in ("exact", "seeded"):
            raise MedbookError(
                f"record {name!r} (on={on!r}, kind={kind!r}): the name must be new, on one of "
                f"{', '.join(DEPENDS_ON)}, kind exact or seeded"
            )
        numbers = np.atleast_1d(np.asarray(values, dtype=float))
        if (numbers.ndim == 2) != (units is not None):
            raise MedbookError(
                f"record {name!r}: values of shape {numbers.shape} and units "
                f"{'missing' if units is None else 'given'}: scores of single cases, (n_seeds, "
                "n_cases), need `units`, numbers of seeds have none"
            )
        kept = numbers.astype(np.float32)  # as they are stored
        numbers = kept.mean(1, dtype=float) if numbers.ndim == 2 else numbers
        interval = stats.t_interval(numbers)
        arms = [arm] if isinstance(arm, str) else list(arm)
        self.metrics[name] = {
            "values": numbers.tolist(), "unit": unit, "mean": interval.mean, "low": interval.low,
            "high": interval.high, "kind": kind, "rtol": 0.0 if kind == "exact" else rtol, "on": on,
        } | ({"arm": arms} if arms else {})  # fmt: skip
        if units is not None:
            entry = cases.add(self.cases, name, kept, units=units, strata=strata)
            self.metrics[name]["cases"] = entry
        return interval

    def claim(
        self,
        id: str,
        *,
        ours: Any = None,
        baseline: Any = None,
        sweep: Sequence[str] = (),
        units: ArrayLike | None = None,
    ) -> str:
        """Test a claim or control of `book/claims/<chapter>.yml` and return its verdict.

        Args:
            id: the claim's id.
            ours: name of a recorded metric, whose arm is the claim's `ours`.
            baseline: likewise.
            sweep: names of recorded metrics in order, three or more; for kind monotone alone.
            units: only in first editions, which pass arrays as `ours` and `baseline`: (n_seeds,),
                with `units` (n_seeds, n_cases), of a sweep (n_seeds, n_points).

        Raises:
            MedbookError: the chapter has no such claim, or its metrics come from other arms than
                the claims file says.
        """
        known = chapter_claims(self.chapter)
        if first_edition.still(self.chapter):
            return self._first_claim(id, ours, baseline, units)
        self._need_known("claim", id, known)
        for what, name in (("ours", ours), ("baseline", baseline), *(("sweep", s) for s in sweep)):
            if name is not None and not isinstance(name, str):
                raise MedbookError(
                    f"claim {id}: {what} is {type(name).__name__}: give the name of a recorded "
                    "metric (run.record)"
                )
        given = {"ours": ours, "baseline": baseline, "sweep": list(sweep)}
        named = {what: name for what, name in given.items() if name}
        self.claims[id] = verdicts.judged(known[id], named, self._numbers())
        return str(self._judged()[id]["verdict"])

    def _first_claim(self, id: str, ours: Any, baseline: Any, units: ArrayLike | None) -> str:
        known = first_edition.claims_of(self.chapter)
        self._need_known("claim", id, known)
        if isinstance(ours, str):
            raise MedbookError(
                f"claim {id} names metrics: take {self.chapter} out of the list of first editions "
                "(medbook/record/first_edition.py)"
            )
        claim = known[id]
        needs = profiles.PROFILES.index(claim.profile)
        tested = profiles.PROFILES.index(self.profile) >= needs
        kind = self.datasets[claim.data].kind if claim.data in self.datasets else "none"
        self.claims[id] = first_edition.judged(claim, ours, baseline, units, kind, tested=tested)
        return str(self.claims[id]["verdict"])

    def check(self, id: str, a: ArrayLike, b: ArrayLike = 0.0) -> bool:
        """Make a check of `book/claims/<chapter>.yml`: is the worst |a - b| within its tolerance?

        Args:
            id: the check's id.
            a: numbers of any shape.
            b: what they should equal, of the same shape or a single number.

        Raises:
            MedbookError: the chapter has no such check, or the shapes differ.
        """
        known = chapter_checks(self.chapter)
        self._need_known("check", id, known)
        check, first, second = known[id], np.asarray(a, float), np.asarray(b, float)
        if second.ndim and first.shape != second.shape:
            raise MedbookError(f"check {id}: shapes {first.shape} and {second.shape} differ")
        worst = float(np.abs(first - second).max())
        kind = self.datasets[check.data].kind if check.data in self.datasets else "none"
        holds = bool(worst <= check.tolerance)  # of NaN: it does not
        self.checks[id] = {
            "id": id, "hash": check.hash, "worst": worst, "holds": holds, "data": kind,
        }  # fmt: skip
        return holds

    def _need_known(self, what: str, id: str, known: Mapping[str, Any]) -> None:
        if id not in known:
            raise MedbookError(
                f"{what} {id!r} is not in {claims_file(self.chapter)}: known are {list(known)}"
            )

    def _numbers(self) -> verdicts.Numbers:
        """What claims follow from."""
        return verdicts.Numbers(
            profile=self.profile,
            metrics=self.metrics,
            arms={arm["name"]: arm for arm in self.arms},
            data={name: dataset.kind for name, dataset in self.datasets.items()},
            seeds=self.planned,
            cases=self.cases,
            pilot=verdicts.pilot_arms(self.chapter, self.profile),
        )

    def _judged(self) -> dict[str, dict[str, Any]]:
        """Records of all claims in the order of the claims file, controls taken into account."""
        known = chapter_claims(self.chapter)
        if first_edition.still(self.chapter):
            return self.claims
        records = [self.claims[id] for id in known if id in self.claims]
        return {record["id"]: record for record in verdicts.with_controls(records, known)}

    def arms_table(self) -> Table:
        """What each arm was given (data, steps, parameters, settings tried, time) and reached."""
        return tables.of_arms(self.arms)

    def claims_table(self) -> Table:
        """Every claim and control with its scores, effect, interval and verdict."""
        known, records = chapter_claims(self.chapter), self._judged().values()
        if first_edition.still(self.chapter):
            return tables.of_first_edition(records, first_edition.claims_of(self.chapter))
        return tables.of_claims(records, known, {arm["name"]: arm for arm in self.arms})

    def checks_table(self) -> Table:
        """Every check with its worst difference and its tolerance."""
        return tables.of_checks(self.checks.values(), chapter_checks(self.chapter))

    def effects(self) -> None:
        """Display the figure of all effects, with intervals, margins and verdicts."""
        from medbook.show import effects  # which draws: slow to import

        effects.show(self._measured(), self._titles())

    def findings(self) -> None:
        """Display what was found: a sentence for each claim, its words chosen by the verdict."""
        from medbook.show import findings

        findings.show(self._measured(), self._titles())

    def _measured(self) -> list[Measured]:
        run = {"claims": list(self._judged().values()), "metrics": self.metrics}
        return measured(chapter_claims(self.chapter), run)

    def _titles(self) -> dict[str, str]:
        """Title of each system of the chapter, without what stands after a colon."""
        systems = [s for s in load_systems() if s.chapter == self.chapter]
        return {system.slug: system.title.partition(": ")[0] for system in systems}

    def finish(self) -> Path:
        """Write the results file and return where it is.

        Raises:
            MedbookError: a claim or check of the chapter was given no value, or a number comes from
                an arm that was not entered.
        """
        wanted = {*chapter_claims(self.chapter), *chapter_checks(self.chapter)}
        if missing := sorted(wanted - {*self.claims, *self.checks}):
            raise MedbookError(f"{self.chapter}: no value was given for claim {', '.join(missing)}")
        entered = [arm["name"] for arm in self.arms]
        for name, metric in self.metrics.items():
            if strange := [arm for arm in metric.get("arm", ()) if arm not in entered]:
                raise MedbookError(f"metric {name!r}: run.arm has not entered {strange[0]!r}")
        folder = Path(os.environ.get("MEDBOOK_OUT", "_build/interactive"))
        path = folder / f"{self.chapter}.{self.profile}.json"
        packed = cases.pack(self.cases) if self.cases else None
        results.save(self._content(packed), path, packed)
        return path

    def _seconds(self) -> float:
        """Time of a run that has its cores to itself: of the trials, and of the cells around them.

        Trials that came from a store count as those that were computed.
        """
        around = _alone(_clocks() - self.started - self.mapping, self.device)
        trials = sum(sum(trial["seconds"]) for trial in self.trials.values())
        return around + trials / self.scale(smoke=1, laptop=CORES, gpu=1)

    def _content(self, packed: bytes | None = None) -> results.Results:
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
            "claims": list(self._judged().values()), "checks": list(self.checks.values()),
            "seeds": self.planned,
            **({"cases": {"sha256": cases.digest(packed)}} if packed else {}), **self._pilot(),
        }  # fmt: skip

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


def _training(logs: Sequence[TrainingLog]) -> dict[str, Any]:
    """What training an arm took; nothing if there was none."""
    if not logs:
        return {"n_train": 0, "steps": 0, "parameters": 0, "seconds": 0.0, "weights": []}
    first, seconds = logs[0], float(np.mean([log.seconds for log in logs]))
    return {
        "n_train": first.n_train, "steps": first.steps, "parameters": first.parameters,
        "seconds": round(seconds, 1), "weights": [log.weights for log in logs],
    }  # fmt: skip


def _learning(
    name: str,
    logs: Sequence[TrainingLog],
    validation: ArrayLike | None,
    floor: ArrayLike | None,
    better: str,
) -> dict[str, Any]:
    """Validation score, floor and loss curve of a trained arm, and whether it has learned."""
    if not logs and validation is None and floor is None:
        return {"validation": None, "floor": None, "better": better, "learned": None, "losses": []}
    if not logs or validation is None or floor is None:
        raise MedbookError(
            f"arm {name!r}: a trained arm has logs, validation scores and a floor (identity, "
            "majority, untrained network: the strongest); an untrained one has none of them"
        )
    score = np.atleast_1d(np.asarray(validation, float))
    above = stats.gains(score, floor, better)
    if len(above) != len(logs):
        raise MedbookError(f"arm {name!r}: {len(logs)} logs, {len(above)} validation scores")
    floors = np.broadcast_to(np.asarray(floor, float), score.shape)
    return {
        "validation": score.tolist(), "floor": floors.tolist(), "better": better,
        "learned": stats.learned(score, floors, better), "losses": _curve(logs),
    }  # fmt: skip


def _curve(logs: Sequence[TrainingLog]) -> list[float]:
    """Mean loss over the seeds, in at most `CURVE` equal parts of the training."""
    steps = min(len(log.losses) for log in logs)
    losses = np.mean([log.losses[:steps] for log in logs], axis=0)
    parts = np.array_split(losses, min(CURVE, steps)) if steps else []
    return [float(f"{part.mean():.4g}") for part in parts]
