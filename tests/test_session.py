"""A run of a chapter: seeds, records, verdicts and the file they end in."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import medbook
from medbook import trials
from medbook.errors import MedbookError
from medbook.evaluate import stats
from medbook.learn.training import TrainingLog
from medbook.record import results, session
from medbook.record.claims import Claim
from medbook.record.session import Session, environment
from medbook.trials import Place, compute

GREATER = Claim(
    id="demo-1", statement="A is better than B.", kind="greater", metric="accuracy",
    better="higher", margin=0.1, arms={"ours": "A", "baseline": "B"}, data="pneumoniamnist",
    profile="smoke", paper="0.3",
)  # fmt: skip
CLAIMS = {
    "demo-1": GREATER,
    "demo-2": replace(GREATER, id="demo-2", profile="laptop"),
    "demo-3": replace(GREATER, id="demo-3", kind="monotone", better="lower", margin=0.05),
    "demo-4": replace(GREATER, id="demo-4", kind="exact", margin=1e-6),
    "demo-5": replace(GREATER, id="demo-5", better="lower"),
}
CLEARLY_BETTER = {"ours": [0.80, 0.82, 0.81], "baseline": [0.50, 0.51, 0.52]}
LOG = TrainingLog(losses=(0.7,), n_train=600, steps=20, parameters=1234, seconds=0.25, weights="ab")


@pytest.fixture(autouse=True)
def book(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A chapter `demo` with the claims above, and a place for its results."""
    monkeypatch.setattr(session, "chapter_claims", lambda chapter: dict(CLAIMS))
    monkeypatch.setenv("MEDBOOK_OUT", str(tmp_path / "out"))
    monkeypatch.delenv("MEDBOOK_PERMUTE_TEST", raising=False)


def start(profile: str = "smoke", seed: int = 0) -> Session:
    return medbook.start("demo", profile=profile, seed=seed)


# ---------------------------------------------------------------- profile and seeds


def test_sizes_and_device_follow_the_profile() -> None:
    assert start("smoke").scale(smoke=1, laptop=2, gpu=3) == 1
    assert start("laptop").scale(smoke=1, laptop=2, gpu=3) == 2
    assert start("laptop").device == torch.device("cpu")
    assert Session("demo", "gpu", 0).device == torch.device("cuda")
    with pytest.raises(MedbookError, match="choose one of"):
        start("enormous")


def test_seeds_are_the_documented_streams_and_never_change() -> None:
    for base in (0, 7):
        expected = [int(np.random.SeedSequence([base, k]).generate_state(1)[0]) for k in range(4)]
        assert start(seed=base).seeds(4) == expected
    assert start().seeds(2) == [2968811710, 3964924996], "stored numbers belong to these seeds"
    assert start().seeds(5)[:2] == start().seeds(2), "more seeds leave the first ones alone"
    many = start().seeds(50) + start(seed=1).seeds(50)
    assert len(set(many)) == 100
    assert all(type(seed) is int for seed in many)
    assert start().seeds(0) == []


def test_a_pilot_has_two_seeds_and_its_second_half_of_the_steps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usual = start("laptop")
    assert usual.steps(smoke=3, laptop=1501, gpu=9) == 1501
    for kind, steps in (("full", 1501), ("half", 750)):
        monkeypatch.setenv("MEDBOOK_PILOT", kind)
        run = start("laptop")
        assert run.seeds(8) == usual.seeds(8)[:2] and run.seeds(1) == usual.seeds(1)
        assert run.steps(smoke=3, laptop=1501, gpu=9) == steps
        assert run.draws(8) == usual.draws(8), "what is drawn once is drawn in a pilot, too"
        assert run._content()["pilot"] == {"run": kind, "seeds": 8, "stepped": True}
    assert start("smoke").steps(smoke=1, laptop=8, gpu=8) == 1, "a training has a step at least"
    monkeypatch.delenv("MEDBOOK_PILOT")
    assert "pilot" not in usual._content()


def test_draws_are_other_numbers_than_seeds() -> None:
    run = start()
    assert len({*run.seeds(50), *run.draws(50), *start(seed=1).draws(50)}) == 150
    assert run.draws(5)[:2] == run.draws(2)


def nap(job: float) -> float:
    time.sleep(job)
    return job


def test_seconds_are_those_of_a_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the processor, or asleep, is not counted."""
    [trial] = compute(nap, [0.3], Place("demo", "cpu")).trials
    assert trial.seconds < 0.1
    monkeypatch.setattr(trials, "machine", lambda device: device)
    [trial] = compute(nap, [0.3], Place("demo", "cuda")).trials
    assert trial.seconds >= 0.3, "a GPU computes while the processor waits"
    run = start("laptop")
    time.sleep(0.3)
    assert run._seconds() < 0.1
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert run._seconds() >= 0.2


def test_map_gives_the_values_in_order() -> None:
    run = start()
    assert run.map(lambda seed: seed * 2, [3, 1]) == [6, 2]
    assert run.worker_mib == 0, "smoke runs in this process"


def test_map_of_laptop_uses_the_threads_that_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDBOOK_THREADS", "2")
    run = start("laptop")
    assert run.map(lambda seed: os.getpid() + 0 * seed, [1, 2]) != [os.getpid()] * 2
    assert run.worker_mib > 0


# ---------------------------------------------------------------- data


def test_smoke_computes_on_one_thread() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        start("laptop")
        assert torch.get_num_threads() == 2
        start("smoke")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_smoke_takes_the_twin_and_notes_it() -> None:
    run = start()
    dataset = run.load("pneumoniamnist")
    assert dataset.kind == "twin"
    assert run.datasets == {"pneumoniamnist": dataset}
    assert len(run.load("pneumoniamnist").train) == len(dataset.train), "again is no overlap"


def test_sets_that_share_images_are_not_loaded_together() -> None:
    run = start()
    run.load("organamnist")
    with pytest.raises(MedbookError, match="organ"):
        run.load("organcmnist")


# ---------------------------------------------------------------- records


def test_record_stores_values_with_their_interval() -> None:
    run = start()
    found = run.record("psnr", [30.0, 31.0, 32.0], on="train", unit="dB", rtol=0.1)
    assert found == stats.t_interval([30.0, 31.0, 32.0])
    assert run.metrics["psnr"] == {
        "values": [30.0, 31.0, 32.0], "unit": "dB", "mean": 31.0, "low": found.low,
        "high": found.high, "kind": "seeded", "rtol": 0.1, "on": "train",
    }  # fmt: skip


def test_record_takes_one_number_and_exact_ones_have_no_tolerance() -> None:
    run = start()
    run.record("pixels", 784, on="nothing", kind="exact", rtol=0.5)
    assert run.metrics["pixels"]["values"] == [784.0]
    assert run.metrics["pixels"]["rtol"] == 0.0


@pytest.mark.parametrize(
    "wrong", [{"on": "tests"}, {"kind": "rough"}, {"name": "used"}, {"values": [0.1, np.nan]}]
)
def test_record_refuses(wrong: dict) -> None:
    run = start()
    run.record("used", [0.1], on="test")
    before = dict(run.metrics)
    with pytest.raises(MedbookError):
        run.record(**({"name": "new", "values": [0.1], "on": "test", "kind": "seeded"} | wrong))
    assert run.metrics == before


# ---------------------------------------------------------------- claims


def test_a_clear_effect_is_reproduced_and_stored_with_the_hash() -> None:
    run = start()
    assert run.claim("demo-1", **CLEARLY_BETTER) == "reproduced"
    stored = run.claims["demo-1"]
    differences = np.subtract(CLEARLY_BETTER["ours"], CLEARLY_BETTER["baseline"])
    expected = stats.t_interval(differences)
    assert (stored["effect"], stored["low"], stored["high"], stored["n"]) == expected
    assert stored["effects"] == pytest.approx(differences)
    assert stored["hash"] == GREATER.hash
    assert stored["seeds_needed"] is None


def test_the_baseline_passed_as_ours_is_not_reproduced() -> None:
    baseline = CLEARLY_BETTER["baseline"]
    assert start().claim("demo-1", ours=baseline, baseline=baseline) != "reproduced"
    assert start().claim("demo-1", ours=baseline, baseline=CLEARLY_BETTER["ours"]) == "opposite"
    assert start().claim("demo-5", **CLEARLY_BETTER) == "opposite", "lower is better there"


def test_an_open_question_says_how_many_seeds_it_needs() -> None:
    run = start()
    assert run.claim("demo-1", ours=[0.9, 0.6, 0.8], baseline=[0.5, 0.5, 0.5]) == "inconclusive"
    assert run.claims["demo-1"]["seeds_needed"] == stats.seeds_needed(
        [0.4, 0.1, 0.3], "greater", 0.1
    )
    assert "seeds would decide" in repr(run.claims_table())


def test_below_the_profile_of_the_claim_it_is_not_tested() -> None:
    run = start("smoke")
    assert run.claim("demo-2", **CLEARLY_BETTER) == "not tested"
    assert "not tested at this profile (needs laptop)" in repr(run.claims_table())
    assert start("laptop").claim("demo-2", **CLEARLY_BETTER) == "reproduced"
    assert start("laptop").claim("demo-1", **CLEARLY_BETTER) == "reproduced"


def test_monotone_needs_the_trend_and_no_step_back() -> None:
    falling = [[0.9, 0.7, 0.4], [0.91, 0.72, 0.41], [0.89, 0.69, 0.42]]
    with_reversal = [[0.9, 0.2, 0.4], [0.91, 0.16, 0.41], [0.89, 0.2, 0.42]]
    run = start()
    assert run.claim("demo-3", ours=falling) == "reproduced"
    assert run.claims["demo-3"]["sweep"] == falling
    assert (
        stats.verdict("monotone", stats.t_interval(stats.trend(with_reversal, "lower")), 0.05)
        == "reproduced"
    )
    assert start().claim("demo-3", ours=with_reversal) == "not reproduced"
    assert start().claim("demo-3", ours=np.array(falling)[:, ::-1]) == "opposite"


def test_exact_looks_at_the_worst_element() -> None:
    a = np.ones((3, 4, 5))
    b = a.copy()
    assert start().claim("demo-4", ours=a, baseline=b) == "reproduced"
    b[1, 2, 3] += 1e-5
    run = start()
    assert run.claim("demo-4", ours=a, baseline=b) == "not reproduced"
    assert run.claims["demo-4"]["effect"] == pytest.approx(1e-5)


def test_cases_are_redrawn_as_units() -> None:
    rng = np.random.default_rng(0)
    units = np.arange(20) // 2
    ours = 0.5 + rng.normal(0, 0.2, 20) + rng.normal(0, 0.001, (3, 20))
    run = start()
    run.claim("demo-1", ours=ours, baseline=np.zeros((3, 20)), units=units)
    expected = stats.cluster_bootstrap(ours.mean(0), units)  # the seeds add next to nothing
    found = run.claims["demo-1"]["low"], run.claims["demo-1"]["high"]
    assert found == pytest.approx(expected[1:3], abs=1e-4)
    assert run.claims["demo-1"]["effects"] == pytest.approx(ours.mean(1))
    assert run.claims["demo-1"]["n"] == 3
    assert run.claims["demo-1"]["cases"] == {"low": expected.low, "high": expected.high, "n": 10}


@pytest.mark.parametrize(
    ("id", "values", "message"),
    [
        ("demo-9", CLEARLY_BETTER, r"not in book/claims/demo\.yml: known are \['demo-1'"),
        ("demo-1", {"ours": [1.0, 2.0]}, "needs a baseline"),
        ("demo-1", {"ours": [1.0, 2.0], "baseline": [1.0]}, "pair them"),
        ("demo-1", {"ours": [1.0, np.nan], "baseline": [1.0, 1.0]}, "finite"),
        ("demo-1", {"ours": np.ones((2, 3)), "baseline": np.ones((2, 3))}, "units"),
        ("demo-3", {"ours": [0.1, 0.2]}, "points >= 3"),
    ],
)
def test_claim_refuses(id: str, values: dict, message: str) -> None:
    run = start()
    with pytest.raises(MedbookError, match=message):
        run.claim(id, **values)
    assert run.claims == {}


def test_a_verdict_on_twin_data_is_marked() -> None:
    run = start()
    run.claim("demo-1", **CLEARLY_BETTER)
    assert run.claims["demo-1"]["data"] == "none", "its data set was never loaded"
    run.load("pneumoniamnist")
    run.claim("demo-1", **CLEARLY_BETTER)
    assert run.claims["demo-1"]["data"] == "twin"
    assert repr(run.claims_table()).endswith("reproduced [twin]")
    run.datasets["pneumoniamnist"] = replace(run.datasets["pneumoniamnist"], kind="real")
    run.claim("demo-1", **CLEARLY_BETTER)
    assert repr(run.claims_table()).endswith("reproduced")


# ---------------------------------------------------------------- tables and the results file


def test_the_tables_say_what_was_given_and_measured() -> None:
    run = start()
    run.arm("clean", [LOG, replace(LOG, seconds=0.75, weights="cd")], trials=3)
    head, row = repr(run.arms_table()).splitlines()[1:]
    assert head.startswith("arm | images | steps | parameters")
    assert row == "clean | 600 | 20 | 1234 | 3 | 0.5 | 2"
    run.claim("demo-1", **CLEARLY_BETTER)
    claim = repr(run.claims_table()).splitlines()[-1]
    assert claim.startswith("demo-1: A is better than B. | 0.3 | +0.300 [")
    assert " | 0.1 | 3 | " in claim


def full_run() -> Session:
    run = start()
    run.load("pneumoniamnist")
    run.arm("clean", [LOG])
    run.record("accuracy", [0.8], on="test")
    for id in ("demo-1", "demo-2", "demo-5"):
        run.claim(id, **CLEARLY_BETTER)
    run.claim("demo-3", ours=[[0.9, 0.5, 0.1]])
    run.claim("demo-4", ours=[1.0], baseline=[1.0])
    return run


def test_finish_writes_strict_json_where_it_is_told(tmp_path: Path) -> None:
    path = full_run().finish()
    assert path == tmp_path / "out" / "demo.smoke.json"

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert content == results.load(path)
    assert (content["schema"], content["chapter"], content["profile"], content["seed"]) == (
        2, "demo", "smoke", 0,
    )  # fmt: skip
    one_seed = content["metrics"]["accuracy"]
    assert (one_seed["values"], one_seed["low"], one_seed["high"]) == ([0.8], None, None)
    assert [claim["id"] for claim in content["claims"]] == [
        "demo-1", "demo-2", "demo-5", "demo-3", "demo-4",
    ]  # fmt: skip
    (data,) = content["data"]
    assert set(data) == {"name", "kind", "unit", "n", "sha256", "options"}
    assert (data["name"], data["kind"]) == ("pneumoniamnist", "twin")
    assert data["options"] == {"size": 28}
    assert content["arms"][0]["weights"] == ["ab"]
    assert content["peak_mib"] > 10
    assert content["seconds"] >= 0


def test_the_same_run_gives_the_same_numbers() -> None:
    first, second = results.load(full_run().finish()), results.load(full_run().finish())
    changing = {"seconds", "peak_mib", "digest"}
    assert {k: v for k, v in first.items() if k not in changing} == {
        k: v for k, v in second.items() if k not in changing
    }


def test_finish_refuses_a_claim_without_a_value(tmp_path: Path) -> None:
    run = full_run()
    del run.claims["demo-2"], run.claims["demo-4"]
    with pytest.raises(MedbookError, match=r"no value was given for claim demo-2, demo-4"):
        run.finish()
    assert not (tmp_path / "out").exists()


def test_without_the_variable_results_stay_in_the_build_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDBOOK_OUT")
    monkeypatch.chdir(tmp_path)
    assert full_run().finish() == Path("_build/interactive/demo.smoke.json")
    assert Path("_build/interactive/demo.smoke.json").exists()


def test_the_environment_names_what_numbers_depend_on() -> None:
    found = environment(torch.device("cpu"))
    assert found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert all(isinstance(value, str) and value for value in found.values())
