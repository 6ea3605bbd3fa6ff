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
from medbook.record import cases, first_edition, results, schema, session, verdicts
from medbook.record.claims import Check, Claim
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
    "demo-3": replace(
        GREATER, id="demo-3", kind="monotone", better="lower", margin=0.05, arms={"sweep": "A"}
    ),
    "demo-5": replace(GREATER, id="demo-5", better="lower"),
    "demo-c1": replace(GREATER, id="demo-c1", kind="equivalent", guards=("demo-1",)),
}
CHECKS = {"demo-k1": Check("demo-k1", "A of nothing is nothing.", 1e-6, "pneumoniamnist")}
GOOD, BAD = [0.80, 0.82, 0.81], [0.50, 0.51, 0.52]
CLEARLY = {"ours": "good", "baseline": "bad"}
LOG = TrainingLog(losses=(0.7,), n_train=600, steps=20, parameters=1234, seconds=0.25, weights="ab")


@pytest.fixture(autouse=True)
def book(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A chapter `demo` with the claims above, and a place for its results."""
    monkeypatch.setattr(session, "chapter_claims", lambda chapter: dict(CLAIMS))
    monkeypatch.setattr(session, "chapter_checks", lambda chapter: dict(CHECKS))
    monkeypatch.setenv("MEDBOOK_OUT", str(tmp_path / "out"))
    monkeypatch.delenv("MEDBOOK_PERMUTE_TEST", raising=False)


def start(profile: str = "smoke", seed: int = 0) -> Session:
    return medbook.start("demo", profile=profile, seed=seed)


def begun(profile: str = "smoke") -> Session:
    """A run with two arms that need no training, three seeds, and a metric of each."""
    run = start(profile)
    run.seeds(3)
    run.arm("A")
    run.arm("B")
    run.record("good", GOOD, on="test", arm="A")
    run.record("bad", BAD, on="test", arm="B")
    return run


def logs(n: int) -> list[TrainingLog]:
    return [replace(LOG, weights=f"of seed {k}") for k in range(n)]


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
    run = begun()
    assert run.claim("demo-1", **CLEARLY) == "reproduced"
    stored = run.claims["demo-1"]
    differences = np.subtract(GOOD, BAD)
    expected = stats.t_interval(differences)
    assert (stored["effect"], stored["low"], stored["high"], stored["n"]) == expected
    assert stored["effects"] == pytest.approx(differences)
    assert stored["hash"] == GREATER.hash
    assert stored["seeds_needed"] is None
    assert stored["scores"] == pytest.approx([0.81, 0.51])
    assert (stored["ours"], stored["baseline"], stored["arms"]) == ("good", "bad", ["A", "B"])


def test_the_metric_of_another_arm_is_refused() -> None:
    run = begun()
    exchanged = {"ours": "bad", "baseline": "good"}
    with pytest.raises(MedbookError, match="'bad' was measured with B, the claims file says A"):
        run.claim("demo-1", **exchanged)
    run.record("of no arm", GOOD, on="test")
    with pytest.raises(MedbookError, match="'of no arm' was measured with no arm"):
        run.claim("demo-1", ours="of no arm", baseline="bad")
    assert run.claims == {}
    assert run.claim("demo-5", **CLEARLY) == "opposite", "lower is better there"


def test_a_number_of_several_arms_names_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = replace(GREATER, arms={"ours": ("A", "B"), "baseline": "B"})
    monkeypatch.setattr(session, "chapter_claims", lambda chapter: {"demo-1": claim})
    run = begun()
    run.record("both", GOOD, on="test", arm=("B", "A"))
    assert run.claim("demo-1", ours="both", baseline="bad") == "reproduced"
    with pytest.raises(MedbookError, match="measured with A, the claims file says A and B"):
        run.claim("demo-1", ours="good", baseline="bad")


def test_verdicts_at_half_and_twice_the_margin() -> None:
    run = begun()
    run.record("nearer", [0.651, 0.659, 0.67], on="test", arm="A")  # 0.15 above, margin 0.1
    run.claim("demo-1", ours="nearer", baseline="bad")
    assert run.claims["demo-1"]["verdicts"] == {
        "0.5": "reproduced", "1": "reproduced", "2": "not reproduced",
    }  # fmt: skip


def test_an_open_question_says_how_many_seeds_it_needs() -> None:
    run = begun()
    run.record("wide", [0.9, 0.61, 0.82], on="test", arm="A")
    assert run.claim("demo-1", ours="wide", baseline="bad") == "inconclusive"
    assert run.claims["demo-1"]["seeds_needed"] == stats.seeds_needed(
        [0.4, 0.1, 0.3], "greater", 0.1
    )
    assert "seeds would decide" in repr(run.claims_table())


def test_below_the_profile_of_the_claim_it_is_not_tested() -> None:
    run = begun("smoke")
    assert run.claim("demo-2", **CLEARLY) == "not tested"
    assert set(run.claims["demo-2"]["verdicts"].values()) == {"not tested"}
    assert "not tested at this profile (needs laptop)" in repr(run.claims_table())
    assert begun("laptop").claim("demo-2", **CLEARLY) == "reproduced"
    assert begun("laptop").claim("demo-1", **CLEARLY) == "reproduced"


FALLING = [[0.9, 0.91, 0.89], [0.7, 0.72, 0.69], [0.4, 0.41, 0.42]]
BACK = [[0.9, 0.91, 0.89], [0.2, 0.16, 0.2], [0.4, 0.41, 0.42]]


@pytest.mark.parametrize(
    ("points", "expected"),
    [(FALLING, "reproduced"), (BACK, "not reproduced"), (FALLING[::-1], "opposite")],
)
def test_monotone_needs_the_trend_and_no_step_back(points: list, expected: str) -> None:
    run = begun()
    for k, values in enumerate(points):
        run.record(f"r={k}", values, on="test", arm="A")
    assert run.claim("demo-3", sweep=["r=0", "r=1", "r=2"]) == expected
    stored = run.claims["demo-3"]
    assert stored["sweep"] == ["r=0", "r=1", "r=2"]
    assert stored["effects"] == pytest.approx(np.subtract(points[0], points[2]))
    assert stored["scores"] == pytest.approx([np.mean(points[2]), np.mean(points[0])])


def test_cases_are_redrawn_as_units_within_strata() -> None:
    rng = np.random.default_rng(0)
    units, strata = np.arange(20) // 2, np.repeat(["sick", "healthy"], 10)
    ours = (0.5 + rng.normal(0, 0.2, 20) + rng.normal(0, 0.001, (3, 20))).astype(np.float32)
    run = begun()
    run.record("ours", ours, on="test", arm="A", units=units, strata=strata)
    run.record("zero", np.zeros((3, 20)), on="test", arm="B", units=units, strata=strata)
    run.claim("demo-1", ours="ours", baseline="zero")
    over_cases = stats.cluster_bootstrap(ours.astype(float).mean(0), units, strata)
    over_seeds = stats.t_interval(ours.astype(float).mean(1))
    found = run.claims["demo-1"]
    assert found["low"] == stats.combined(over_seeds, over_cases).low
    assert found["effects"] == pytest.approx(ours.mean(1))
    assert (found["n"], found["units"]) == (3, 10)
    assert found["low"] != stats.cluster_bootstrap(ours.astype(float).mean(0), units).low


def test_where_nothing_is_drawn_one_run_of_an_untrained_method_is_judged_by_its_units() -> None:
    rng = np.random.default_rng(0)
    run = begun()
    of_units = {"on": "test", "units": np.arange(30)}
    run.record("one", rng.normal(0.6, 0.1, (1, 30)), arm="A", **of_units)
    run.record("other", np.zeros((1, 30)), arm="B", **of_units)
    assert run.claim("demo-1", ours="one", baseline="other") == "reproduced"
    assert (run.claims["demo-1"]["n"], run.claims["demo-1"]["units"]) == (1, 30)


def test_one_trained_network_decides_nothing() -> None:
    run = start()
    run.seeds(1)
    run.arm("A", logs(1), validation=[0.9], floor=0.5)
    run.arm("B")
    of_units = {"on": "test", "units": np.arange(30)}
    run.record("one", np.full((1, 30), 0.6), arm="A", **of_units)
    run.record("other", np.zeros((1, 30)), arm="B", **of_units)
    assert run.claim("demo-1", ours="one", baseline="other") == "not tested"
    assert run.claims["demo-1"]["low"] == -np.inf


def test_what_has_no_seed_is_compared_with_each_seed() -> None:
    run = begun()
    run.record("classical", [0.5], on="test", arm="B")
    run.claim("demo-1", ours="good", baseline="classical")
    assert run.claims["demo-1"]["effects"] == pytest.approx([0.30, 0.32, 0.31])


def test_values_of_one_network_are_not_independent() -> None:
    run = start()
    run.seeds(5)
    run.arm("A", [LOG] * 5, validation=[0.9] * 5, floor=0.5)  # five times the same weights
    run.arm("B")
    run.record("good", [0.8, 0.81, 0.82, 0.83, 0.84], on="test", arm="A")
    run.record("bad", [0.5] * 5, on="test", arm="B")
    with pytest.raises(MedbookError, match="5 values from 1 trained network of 'A'"):
        run.claim("demo-1", **CLEARLY)


def test_more_values_than_seeds_are_refused() -> None:
    run = begun()
    run.record("many", GOOD * 2, on="test", arm="A")
    run.record("few", BAD * 2, on="test", arm="B")
    with pytest.raises(MedbookError, match="6 values, but the run drew 3 seeds"):
        run.claim("demo-1", ours="many", baseline="few")


@pytest.mark.parametrize(
    ("id", "values", "message"),
    [
        ("demo-9", CLEARLY, r"not in book/claims/demo\.yml: known are \['demo-1'"),
        ("demo-1", {"ours": "good"}, "takes ours and baseline, .* not ours"),
        ("demo-1", {"ours": "good", "baseline": "worse"}, "no metric 'worse' is recorded"),
        ("demo-1", {"ours": "good", "baseline": "short"}, "pair them"),
        ("demo-1", {"ours": "cases", "baseline": "bad"}, "its metrics have other units"),
        ("demo-1", {"ours": "strange", "baseline": "bad"}, "was measured with C"),
        ("demo-3", {"sweep": ["good", "good"]}, "points >= 3"),
        ("demo-3", {"ours": "good", "baseline": "bad"}, "takes sweep"),
        ("demo-3", {"sweep": ["good", "good", "bad"]}, "'bad' was measured with B"),
    ],
)
def test_claim_refuses(id: str, values: dict, message: str) -> None:
    run = begun()
    run.record("short", [0.5, 0.6], on="test", arm="B")
    run.record("strange", [0.5, 0.6, 0.7], on="test", arm="C")
    run.record("cases", np.ones((3, 4)), on="test", arm="A", units=np.arange(4))
    with pytest.raises(MedbookError, match=message):
        run.claim(id, **values)
    assert run.claims == {}


def test_arrays_and_names_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MedbookError, match="ours is ndarray: give the name of a recorded metric"):
        begun().claim("demo-1", ours=np.ones(3), baseline=np.ones(3))
    with pytest.raises(MedbookError, match="sweep is list: give the name"):
        begun().claim("demo-3", sweep=[[0.1, 0.2, 0.3]])
    monkeypatch.setattr(first_edition, "CHAPTERS", ("demo",))
    monkeypatch.setattr(first_edition, "claims_of", lambda chapter: CLAIMS)
    with pytest.raises(MedbookError, match="take demo out of the list of first editions"):
        start().claim("demo-1", ours="good", baseline="bad")


def test_a_verdict_on_twin_data_is_marked() -> None:
    run = begun()
    run.claim("demo-1", **CLEARLY)
    assert run.claims["demo-1"]["data"] == "none", "its data set was never loaded"
    run.load("pneumoniamnist")
    run.claim("demo-1", **CLEARLY)
    assert run.claims["demo-1"]["data"] == "twin"
    assert " | reproduced [twin] | " in repr(run.claims_table())
    run.datasets["pneumoniamnist"] = replace(run.datasets["pneumoniamnist"], kind="real")
    run.claim("demo-1", **CLEARLY)
    assert " | reproduced | " in repr(run.claims_table())


def test_scans_simulated_from_real_images_are_marked() -> None:
    run = start()
    source = run.load("pneumoniamnist")
    made = {"images": torch.ones(2, 1, 4, 4), "value_unit": "1", "unit": "patient"}
    assert run.simulated("of a twin", source, **made).kind == "twin"
    found = run.simulated("scans", replace(source, kind="real"), **made)
    assert found.kind == "simulated from real" and found.credit == source.credit
    assert run.datasets["scans"] is found
    run.load("breastmnist")  # what was made is no collection that could overlap


# ---------------------------------------------------------------- arms, controls, checks


def trained(validation: list[float], floor: float = 0.5) -> Session:
    run = start("laptop")
    run.seeds(5)
    run.arm("A", logs(5), validation=validation, floor=floor)
    run.arm("B")
    run.record("good", [0.80, 0.82, 0.81, 0.80, 0.81], on="test", arm="A")
    run.record("bad", [0.5] * 5, on="test", arm="B")
    return run


LEARNED, NOT_LEARNED = [0.9, 0.91, 0.89, 0.9, 0.92], [0.52, 0.49, 0.51, 0.5, 0.53]


def test_an_arm_that_has_not_learned_decides_nothing() -> None:
    run = trained(NOT_LEARNED)
    assert run.arms[0]["learned"] is False
    assert run.claim("demo-1", **CLEARLY) == "not tested"
    found = run.claims["demo-1"]
    assert found["label"] == "not tested (A has not learned)"
    assert found["not_learned"] == ["A"]
    assert set(found["verdicts"].values()) == {"not tested"}
    assert "not tested (A has not learned)" in repr(run.claims_table())
    assert trained(LEARNED).claim("demo-1", **CLEARLY) == "reproduced"


def test_what_a_pilot_found_too_short_carries_at_this_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pilot = {"A": {"full": [0.9, 0.92], "half": [0.75, 0.77], "floor": [0.5], "better": "higher"}}
    monkeypatch.setattr(verdicts, "pilot_arms", lambda chapter, profile: pilot)
    run = trained(LEARNED)
    assert run.claim("demo-1", **CLEARLY) == "reproduced"
    assert run.claims["demo-1"]["label"] == "reproduced at this budget"  # 0.15 > margin 0.1
    assert run.claims["demo-1"]["at_budget"] == ["A"]
    pilot["A"]["half"] = [0.82, 0.84]
    run.claim("demo-1", **CLEARLY)
    assert run.claims["demo-1"]["label"] == "reproduced"


def test_the_pilot_of_a_chapter_counts_at_laptop(tmp_path: Path) -> None:
    assert verdicts.pilot_arms("demo", "laptop", tmp_path) == {}
    (tmp_path / "book/pilots").mkdir(parents=True)
    arms = {"A": {"full": [0.9], "half": [0.8]}}
    (tmp_path / "book/pilots/demo.json").write_text(json.dumps({"arms": arms, "claims": {}}))
    assert verdicts.pilot_arms("demo", "laptop", tmp_path) == arms
    assert verdicts.pilot_arms("demo", "gpu", tmp_path) == {}


def test_what_a_failed_control_guards_is_not_reproduced() -> None:
    run = begun()
    assert run.claim("demo-1", **CLEARLY) == "reproduced"
    assert run.claim("demo-c1", **CLEARLY) == "not reproduced"  # the effect is there, too
    table = repr(run.claims_table())
    assert "not tested (control demo-c1 failed)" in table
    assert "control demo-c1: A is better" in table
    run.record("alike", [0.50, 0.52, 0.51], on="test", arm="A")
    assert run.claim("demo-c1", ours="alike", baseline="bad") == "reproduced"
    assert "demo-1: A is better than B. | 0.3 | 0.810 | 0.510 |  | +0.300" in repr(
        run.claims_table()
    )
    assert "failed" not in repr(run.claims_table())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"logs": logs(2)}, "a trained arm has logs, validation scores and a floor"),
        ({"logs": logs(2), "validation": [0.9, 0.8]}, "a trained arm has logs"),
        ({"validation": [0.9], "floor": 0.5}, "a trained arm has logs"),
        ({"logs": logs(2), "validation": [0.9], "floor": 0.5}, "2 logs, 1 validation scores"),
        ({"logs": logs(2), "validation": [0.9, 0.8], "floor": [0.5] * 3}, "pair them"),
        ({"logs": logs(1), "validation": [np.nan], "floor": 0.5}, "finite"),
    ],
)
def test_arm_refuses(given: dict, message: str) -> None:
    run = start()
    with pytest.raises(MedbookError, match=message):
        run.arm("A", **given)
    assert run.arms == []


def test_a_check_looks_at_the_worst_element() -> None:
    a = np.ones((3, 4, 5))
    run, b = start(), a.copy()
    assert run.check("demo-k1", a, b)
    b[1, 2, 3] += 1e-5
    assert not run.check("demo-k1", a, b)
    assert run.checks["demo-k1"]["worst"] == pytest.approx(1e-5)
    assert "does not hold" in repr(run.checks_table())
    assert not run.check("demo-k1", [np.nan]) and run.check("demo-k1", a, 1.0)
    with pytest.raises(MedbookError, match="shapes"):
        run.check("demo-k1", a, b[0])
    with pytest.raises(MedbookError, match="check 'demo-k2' is not in"):
        run.check("demo-k2", a, b)


# ---------------------------------------------------------------- first editions


def test_a_chapter_in_its_first_edition_passes_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_edition, "CHAPTERS", ("demo",))
    exact = replace(GREATER, id="demo-4", kind="exact", margin=1e-6)
    known = CLAIMS | {"demo-4": exact}
    monkeypatch.setattr(first_edition, "claims_of", lambda chapter: known)
    run = start()
    assert run.claim("demo-1", ours=GOOD, baseline=BAD) == "reproduced"
    assert run.claim("demo-1", ours=BAD, baseline=GOOD) == "opposite"
    assert run.claim("demo-2", ours=GOOD, baseline=BAD) == "not tested"
    assert run.claim("demo-3", ours=np.transpose(FALLING)) == "reproduced"
    assert run.claim("demo-3", ours=np.transpose(BACK)) == "not reproduced"
    assert run.claim("demo-4", ours=[1.0, 2.0], baseline=[1.0, 2.1]) == "not reproduced"
    assert run.claims["demo-4"]["effect"] == pytest.approx(0.1)
    rng = np.random.default_rng(0)
    scores = 0.5 + rng.normal(0, 0.2, (3, 20))
    run.claim("demo-5", ours=scores, baseline=np.zeros((3, 20)), units=np.arange(20) // 2)
    expected = stats.cluster_bootstrap(-scores.mean(0), np.arange(20) // 2)
    assert run.claims["demo-5"]["cases"] == {"low": expected.low, "high": expected.high, "n": 10}
    run.arm("clean", [LOG], trials=3)
    assert repr(run.arms_table()).splitlines()[-1] == "clean | 600 | 20 | 1234 | 3 | 0.2 | 1"
    assert "demo-4: A is better than B. | 0.3 | +0.100 [+0.100, +0.100] | 1e-06 | 1 | " in repr(
        run.claims_table()
    )
    with pytest.raises(MedbookError, match="needs a baseline"):
        run.claim("demo-1", ours=GOOD)


# ---------------------------------------------------------------- tables and the results file


def test_the_tables_say_what_was_given_and_measured() -> None:
    run = start()
    run.seeds(3)
    run.arm("A", [replace(log, seconds=0.75) for log in logs(3)], validation=[0.9] * 3, floor=0.5,
            tried=3)  # fmt: skip
    run.arm("B", tried=9)
    head, row, other = repr(run.arms_table()).splitlines()[1:]
    assert head.startswith("arm | images | steps | parameters | settings tried | seconds")
    assert row == "A | 600 | 20 | 1234 | 3 | 0.8 | 3 | 0.900 | 0.500 | yes"
    assert other == "B | 0 | 0 | 0 | 9 | 0.0 | 0 |  |  | nothing was trained"
    run.record("good", GOOD, on="test", arm="A")
    run.record("bad", BAD, on="test", arm="B")
    run.claim("demo-1", **CLEARLY)
    claim = repr(run.claims_table()).splitlines()[-1]
    assert claim.startswith("demo-1: A is better than B. | 0.3 | 0.810 | 0.510 | 0.500 | +0.300 [")
    assert claim.endswith(" | 0.1 | 3 | reproduced [none] | reproduced / reproduced")


def full_run() -> Session:
    run = begun()
    run.load("pneumoniamnist")
    run.arm("net", [LOG], validation=[0.9], floor=0.5)
    run.record("accuracy", [0.8], on="test", arm="net")
    run.record("cases", np.ones((3, 4)), on="test", arm="A", units=np.arange(4))
    for id in ("demo-1", "demo-2", "demo-5", "demo-c1"):
        run.claim(id, **CLEARLY)
    run.claim("demo-3", sweep=["good", "good", "good"])
    run.check("demo-k1", [1.0], [1.0])
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
        "demo-1", "demo-2", "demo-3", "demo-5", "demo-c1",
    ]  # fmt: skip
    assert content["claims"][0]["label"] == "not tested (control demo-c1 failed)"
    assert [check["id"] for check in content["checks"]] == ["demo-k1"]
    assert content["seeds"] == 3
    assert (cases.load(content, path)["scores/cases"] == 1).all()
    (data,) = content["data"]
    assert set(data) == {"name", "kind", "unit", "n", "sha256", "options"}
    assert (data["name"], data["kind"]) == ("pneumoniamnist", "twin")
    assert data["options"] == {"size": 28}
    assert content["arms"][2]["weights"] == ["ab"]
    assert content["arms"][2]["losses"] == [0.7]
    schema.check(content)
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
    del run.claims["demo-2"], run.checks["demo-k1"]
    with pytest.raises(MedbookError, match=r"no value was given for claim demo-2, demo-k1"):
        run.finish()
    assert not (tmp_path / "out").exists()


def test_finish_refuses_a_number_of_an_arm_that_was_not_entered() -> None:
    run = full_run()
    run.record("late", [0.1], on="test", arm="C")
    with pytest.raises(MedbookError, match=r"metric 'late': run\.arm has not entered 'C'"):
        run.finish()


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
