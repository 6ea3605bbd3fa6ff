"""A pilot: what its runs see, and what it tells of the run that is planned."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from book_fixtures import Book
from rich.console import Console
from scipy import stats as scipy_stats

from medbook._book.runs.piloting import APART, pilot_runs
from medbook._book.stored import pilots
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.claims import Claim

COMMAND = [sys.executable, "-c", "from medbook._book.cli import main; main()"]

# What a trial sees goes into its numbers: steps, seed, size and sum of the images it is tested on.
SEEING = """
# %%
import medbook
run = medbook.start("seeing", profile, seed)
data = run.load("pneumoniamnist")
# %% tags=["define"]
from typing import NamedTuple
import torch

class Job(NamedTuple):
    test: torch.Tensor
    seed: int
    steps: int

def trial(job):
    return len(job.test), float(job.test.double().sum()), job.steps, job.seed
# %%
STEPS = run.steps(smoke=9, laptop=90, gpu=900)
SEEDS = run.seeds(run.scale(smoke=5, laptop=8, gpu=8))
found = run.map(trial, [Job(data.test.images, s, STEPS) for s in SEEDS])
for name, values in zip(("images", "sum", "steps", "seeds"), zip(*found)):
    run.record(name, values, on="test")
run.record("val images", [len(data.val), float(data.val.images.double().sum())], on="test")
run.finish()
"""


def values(run: results.Results, name: str) -> list[float]:
    return list(run["metrics"][name]["values"])


@pytest.mark.slow
def test_a_pilot_sees_validation_images_alone_and_halves_the_steps(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.add("seeing", SEEING)
    book.edit("chapters/trust/seeing.py", "seed = 0", "seed = 3")
    monkeypatch.setenv("MEDBOOK_PILOT", "half")  # of this process: no kernel inherits it
    [chapter] = book.project.chapters()
    full, half = pilot_runs(book.project, chapter, "smoke", Console())
    for run, steps in ((full, 9.0), (half, 4.0)):
        assert run["seed"] == 3 + APART
        assert values(run, "steps") == [steps] * 2, "two seeds of the five"
        assert [values(run, name)[0] for name in ("images", "sum")] == values(run, "val images")
        assert run["pilot"]["seeds"] == 5
    assert values(full, "seeds") == values(half, "seeds")
    before = book.project.build / "pilot/smoke-full/seeing.smoke.json"
    written = before.stat().st_mtime_ns
    pilot_runs(book.project, chapter, "smoke", Console())
    assert before.stat().st_mtime_ns == written, "what is up to date is not run again"
    assert not book.project.run_folder("smoke").exists(), "nothing is mistaken for a run"


@pytest.mark.slow
def test_the_command_tells_and_stores_only_where_it_is_asked_to(book: Book) -> None:
    book.add("seeing", SEEING)
    stored = book.root / "book/pilots/seeing.json"
    for option in ([], ["--write"]):
        assert not stored.exists()
        done = subprocess.run(
            [*COMMAND, "pilot", "seeing", "--profile", "smoke", *option],
            cwd=book.root, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "5 seeds will take about" in done.stdout
    assert "wrote book/pilots/seeing.json" in done.stdout
    assert '"seeds": 5' in stored.read_text()


@pytest.mark.slow
def test_a_pilot_that_fails_names_the_cell(book: Book) -> None:
    book.add("seeing", SEEING.replace("    return len", "    raise KeyError\n    return len"))
    [chapter] = book.project.chapters()
    with pytest.raises(MedbookError, match=r"pilot \(full steps\): chapters/trust/seeing.py:\d+"):
        pilot_runs(book.project, chapter, "smoke", Console())


# ---------------------------------------------------------------- what it tells

CLAIM = Claim(
    id="one-1", statement="A is better.", kind="greater", metric="AUC", better="higher",
    margin=0.05, arms={"ours": "A", "baseline": "B"}, data="none", profile="laptop", paper="",
)  # fmt: skip


def run_of(validation: list[float], effects: list[float], **more: object) -> results.Results:
    half = scipy_stats.t.ppf(0.975, 1) * np.std(effects, ddof=1) / 2**0.5
    width = np.hypot(half, 0.03)  # .03 of it from the units
    effect = float(np.mean(effects))
    return {
        "chapter": "one", "profile": "laptop", "seed": APART, "seconds": 100.0, "data": [],
        "trials": {"trial": {"seconds": [30.0, 50.0]}}, "metrics": {},
        "arms": [{"name": "A", "validation": validation, "floor": [0.5, 0.55], "steps": 90,
                  "better": "higher", "weights": ["a", "b"]},
                 {"name": "B", "validation": None, "floor": None, "steps": 0, "weights": []}],
        "claims": [{"id": "one-1", "effect": effect, "low": effect - width,
                    "high": effect + width, "n": 2, "effects": effects, "units": 624,
                    "arms": ["A", "B"]}],
        "pilot": {"run": "full", "seeds": 8, "stepped": True}, **more,
    }  # fmt: skip


def summary(full: results.Results, half: results.Results) -> pilots.Entry:
    return pilots.summary(full, half, {"one-1": CLAIM})


def test_arms_and_claims_and_seconds_are_told() -> None:
    effects = [0.10, 0.12]
    found = summary(run_of([0.9, 0.92], effects), run_of([0.8, 0.86], effects, seconds=60.0))
    assert found["arms"] == {
        "A": {"full": [0.9, 0.92], "half": [0.8, 0.86], "floor": [0.5, 0.55], "better": "higher",
              "steps": 90, "claims": ["one-1"]},
    }  # fmt: skip
    [claim] = found["claims"].values()
    assert claim["cases"] == pytest.approx(0.03) and claim["units"] == 624
    assert claim["spread"] == pytest.approx(np.std(effects, ddof=1) / 0.4549**0.5)
    assert found["seconds"] == {"full": 100.0, "half": 60.0, "planned": 100.0 + 40 * 3}
    text = pilots.told(found)
    assert "| A | 90 | 0.9, 0.92 | 0.8, 0.86 | 0.5, 0.55 | yes | one-1 |" in text
    assert "reproduced" not in text and "8 seeds will take about 220 s" in text


@pytest.mark.parametrize(("half", "limited"), [([0.88, 0.85], []), ([0.85, 0.85], ["one-1"]),
                                               ([0.97, 0.97], ["one-1"])])  # fmt: skip
def test_an_arm_is_budget_limited_beyond_the_margin(half: list[float], limited: list[str]) -> None:
    found = summary(run_of([0.9, 0.91], [0.1, 0.12]), run_of(half, [0.1, 0.12]))
    assert pilots.budget_limited(found["arms"]["A"], found["claims"]) == limited


@pytest.mark.parametrize(("validation", "better", "word"), [
    ([0.9, 0.92], "higher", "yes"), ([0.9, 0.54], "higher", "no"), ([0.4, 0.41], "lower", "yes"),
    ([0.9, 0.92], "lower", "no"), ([0.51, 0.75], "higher", "too few seeds"),
])  # fmt: skip
def test_an_arm_learns_above_its_floor(validation: list[float], better: str, word: str) -> None:
    arm = {"full": validation, "floor": [0.5, 0.55], "better": better}
    assert pilots.has_learned(arm, seeds=8) == word


def test_seeds_that_are_needed_decide_and_one_less_does_not() -> None:
    for effect, spread in [(0.1, 0.05), (0.0, 0.04), (0.08, 0.02)]:
        n = pilots.seeds_needed("greater", 0.05, effect, spread, cases=0.01)
        assert n is not None
        for seeds, decided in ((n, True), (n - 1, False)):
            half = scipy_stats.t.ppf(0.975, seeds - 1) * spread / seeds**0.5 if seeds > 1 else 9.0
            whole = np.hypot(half, 0.01)
            assert (effect - whole > 0.05 or effect + whole < 0.05) == decided
    assert pilots.seeds_needed("greater", 0.05, 0.1, 0.02, cases=0.06) is None, "units are too few"
    assert pilots.seeds_needed("greater", 0.05, 0.1, 0.0, cases=0.0) == 6, "equal values"


def test_units_that_are_needed_shrink_with_the_root() -> None:
    assert pilots.units_needed("greater", 0.0, 0.1, seeds=0.0, cases=0.2, units=24) == 97
    assert pilots.units_needed("greater", 0.0, 0.1, seeds=0.11, cases=0.2, units=24) is None


def test_the_spread_of_two_seeds_is_too_small_as_often_as_too_large() -> None:
    pairs = np.random.default_rng(0).normal(0, 1, (20_000, 2))
    spreads = pairs.std(1, ddof=1) / pilots.MEDIAN**0.5
    assert (spreads < 1).mean() == pytest.approx(0.5, abs=0.012)


def test_a_claim_without_anything_random_needs_units_not_seeds() -> None:
    still = run_of([0.9, 0.92], [0.1, 0.12])
    still["claims"][0] |= {"effects": [0.1], "low": 0.02, "high": 0.18, "effect": 0.1}
    [claim] = summary(still, still)["claims"].values()
    assert claim["cases"] == pytest.approx(0.08) and claim["seeds_needed"] is None
    assert claim["units_needed"] == 1598  # 624 (.08 / .05)^2, and one more


def test_what_is_stored_is_read_back(tmp_path: Path) -> None:
    import json

    found = summary(run_of([0.9, 0.92], [0.1, 0.12]), run_of([0.9, 0.92], [0.1, 0.12]))
    path = pilots.write(Book(tmp_path).project, found)
    assert json.loads(path.read_text()) == found
