"""Stored numbers against numbers measured here, and results files against themselves."""

import json
from collections import Counter
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from book_fixtures import Book
from scipy.stats import ttest_1samp

from medbook._book.checks.first_edition import EARLIER
from medbook._book.checks.sound import unsound, unsound_replications
from medbook._book.checks.verify import Report, leaking, other_versions, without_source
from medbook._book.stored.compare import LOOSE, OTHER_MACHINE, compare, compare_metric
from medbook._book.stored.evidence import evidence
from medbook._book.stored.tolerance import kept_tolerances, measured_tolerances, told
from medbook.record import first_edition, results
from medbook.record.claims import chapter_claims

METRIC = {"unit": "", "kind": "seeded", "on": "test", "rtol": 0.02}
RESULTS = "book/results/one.laptop.json"


def metric(*values: float, **parts: object) -> dict:
    return METRIC | {"values": list(values), "mean": float(np.mean(values))} | parts


@pytest.mark.parametrize("same_machine", [True, False])
def test_equal_values_are_equal(same_machine: bool) -> None:
    assert compare_metric(metric(0.5, 0.0), metric(0.5, 0.0), same_machine) == "equal"


@pytest.mark.parametrize("same_machine", [True, False])
def test_exact_metrics_take_no_tolerance(same_machine: bool) -> None:
    old = metric(1.0, kind="exact", rtol=0.0)
    new = metric(1.0 + 1e-15, kind="exact", rtol=0.0)
    assert compare_metric(old, new, same_machine) == "differs"


@pytest.mark.parametrize("same_machine", [True, False])
def test_within_the_relative_tolerance(same_machine: bool) -> None:
    old, new = metric(0.50, 0.60), metric(0.511, 0.589)
    assert compare_metric(old, new, same_machine) == "within tolerance"


def test_beyond_the_tolerance_the_same_machine_fails() -> None:
    assert compare_metric(metric(0.5, 0.6, 0.7), metric(0.5, 0.6, 0.72), True) == "differs"


def test_another_machine_is_judged_by_the_spread_of_the_seeds() -> None:
    old = metric(0.5, 0.6, 0.7)
    assert compare_metric(old, metric(0.72, 0.5, 0.6), False) == "as predicted"
    far = compare_metric(old, metric(2.0, 2.1, 2.2), False)
    assert far == "outside the predictive interval"


@pytest.mark.parametrize("old", [metric(0.5, 0.6), metric(0.5, 0.5, 0.5)])
def test_too_few_or_equal_seeds_are_not_comparable(old: dict) -> None:
    new = metric(*(value + 0.1 for value in old["values"]))
    assert compare_metric(old, new, False).startswith("not comparable: other machine")
    assert compare_metric(old, new, True) == "differs"


def test_another_number_of_seeds_on_the_same_machine_differs() -> None:
    assert compare_metric(metric(0.5, 0.5), metric(0.5), True) == "differs"


@pytest.mark.parametrize("part", [{"unit": "dB"}, {"on": "train"}, {"kind": "exact"}])
def test_another_definition_differs(part: dict) -> None:
    assert "differs" in compare_metric(metric(0.5), metric(0.5, **part), True)


def test_metrics_of_one_side_only_are_named() -> None:
    def run(names: str, verdict: str, machine: str) -> dict:
        claims = [{"id": "one-1", "verdict": verdict}]
        metrics = {name: metric(0.5) for name in names}
        return {"environment": {"device": machine}, "metrics": metrics, "claims": claims}

    rows = compare(run("ab", "reproduced", "cpu"), run("bc", "inconclusive", "cpu"))
    assert [(row.name, row.verdict, row.same) for row in rows] == [
        ("metrics/a", "not measured here", False),
        ("metrics/b", "equal", True),
        ("metrics/c", "not stored", False),
        ("claims/one-1", "differs", False),
    ]
    other = compare(run("a", "reproduced", "cpu"), run("a", "inconclusive", "other"))[-1]
    assert not other.comparable and not other.same


# --- what no other processor excuses, and what claims and arms rest on


def smoke(device: str, scale: float = 1.0, **parts: Any) -> dict:
    """Ten seeded numbers of one seed each, one exact one, a claim and an arm."""
    numbers = {f"m{k}": metric(scale * (1.0 + k)) for k in range(10)}
    claim = {
        "id": "one-1", "hash": "h", "verdict": "not tested", "effect": 0.5, "low": None,
        "high": None, "n": 1, "effects": [0.5], "data": "twin", "seeds_needed": None,
    }  # fmt: skip
    arm = {"name": "net", "n_train": 9, "steps": 4, "parameters": 7, "trials": 1, "weights": ["w"]}
    return {
        "environment": {"device": device},
        "metrics": numbers | {"count": metric(9.0, kind="exact", rtol=0.0)},
        "claims": [claim], "arms": [arm],
        "data": [{"name": "d", "kind": "twin", "sha256": "0123456789"}],
    } | parts  # fmt: skip


def test_forged_numbers_are_no_other_processor() -> None:
    """Every seeded number forged; then a few, as a chaotic one may be."""
    rows = compare(smoke("cpu"), smoke("other", scale=1.5))
    wrong = [row.name for row in rows if row.comparable and not row.same]
    assert wrong == [f"metrics/m{k}" for k in range(10)]
    rows = compare(smoke("cpu"), smoke("other", scale=1.08))  # as measured
    assert all(not row.comparable or row.same for row in rows)
    one = smoke("other")
    one["metrics"]["m3"] = metric(40.0)
    assert [r.name for r in compare(smoke("cpu"), one) if not r.same] == ["metrics/m3"]


def test_each_number_has_the_tolerance_that_was_measured() -> None:
    """One number moves by 1 %, one of its kind not at all; a third kind explodes."""
    before, after = smoke("cpu", metrics={}), smoke("cpu", metrics={})
    for run, shift in ((before, 0.0), (after, 1.0)):
        run["metrics"] = {
            "acc/a": metric(0.5 + 0.005 * shift), "acc/b": metric(0.8), "auc/a": metric(0.7),
            "fid/a": metric(3.0 + 9 * shift), "n": metric(4.0, kind="exact", rtol=0.0),
            "time": metric(1.0 + shift, unit="s"),
        }  # fmt: skip
    stored = measured_tolerances(before, after)
    rtol = {name: m["rtol"] for name, m in stored["metrics"].items()}
    assert rtol == {
        "acc/a": pytest.approx(0.02, abs=2e-5), "acc/b": pytest.approx(0.0125, abs=2e-5),
        "auc/a": 1e-4, "fid/a": 0.02, "n": 0.0, "time": 0.02,
    }  # fmt: skip
    assert stored["tolerances"] == {"loose": ["fid/a"]}
    assert told(stored | {"chapter": "one", "profile": "smoke"})[0].endswith("holds: fid/a")
    here = after | {"environment": {"device": "other"}}
    assert [(r.name, r.verdict) for r in compare(stored, here) if not r.same] == [
        ("metrics/fid/a", LOOSE), ("metrics/time", OTHER_MACHINE),
    ]  # fmt: skip
    for name, values in (("acc/b", 0.82), ("auc/a", 0.701)):
        forged = before["metrics"] | {name: metric(values)}
        [wrong] = [row for row in compare(stored, here | {"metrics": forged}) if not row.same]
        assert (wrong.name, wrong.verdict) == (f"metrics/{name}", "differs")


def test_equal_numbers_keep_their_tolerances() -> None:
    run = smoke("cpu")
    stored = measured_tolerances(run, run)
    assert kept_tolerances(run, stored) == stored != run


@pytest.mark.parametrize("device", ["cpu", "other"])
def test_exact_numbers_and_twins_are_equal_on_every_machine(device: str) -> None:
    forged = smoke(device, data=[{"name": "d", "kind": "twin", "sha256": "forged"}])
    forged["metrics"]["count"] = metric(8.0, kind="exact", rtol=0.0)
    wrong = [row.name for row in compare(smoke("cpu"), forged) if row.comparable and not row.same]
    assert wrong == ["data/d", "metrics/count"]


def test_a_phantom_of_another_machine_excuses_nothing_else() -> None:
    old, new = (
        smoke(device, data=[{"name": "d", "kind": "phantom", "sha256": sha}])
        for device, sha in (("cpu", "0123"), ("other", "4567"))
    )
    rows = compare(old, new)
    assert [row.name for row in rows if not row.comparable] == ["data/d"] and len(rows) == 13
    assert compare(old, new | {"environment": old["environment"]})[0].verdict == "differs"


@pytest.mark.parametrize(
    ("part", "value", "everywhere"),
    [
        ("effect", -0.5, False), ("effects", [-0.5], False), ("low", -1.0, False),
        ("n", 50, True), ("hash", "g", True), ("data", "real", True),
    ],
)  # fmt: skip
def test_every_part_of_a_claim_is_compared(part: str, value: object, everywhere: bool) -> None:
    for device in ("cpu", "other"):
        here = smoke(device)
        assert all(row.same for row in evidence(smoke("cpu"), here))
        here["claims"][0][part] = value
        [wrong] = [row for row in evidence(smoke("cpu"), here) if not row.same]
        assert wrong.name == f"claims/one-1/{part}"
        assert wrong.comparable == (everywhere or device == "cpu")


@pytest.mark.parametrize(
    ("part", "value", "everywhere"),
    [
        ("n_train", 8, True), ("steps", 5, True), ("parameters", 8, True), ("trials", 2, True),
        ("weights", ["v"], False), ("weights", ["w", "w"], True),
    ],
)  # fmt: skip
def test_every_part_of_an_arm_is_compared(part: str, value: object, everywhere: bool) -> None:
    for device in ("cpu", "other"):
        here = smoke(device)
        here["arms"][0][part] = value
        [wrong] = [row for row in evidence(smoke("cpu"), here) if not row.same]
        assert wrong.name == f"arms/net/{part}"
        assert wrong.comparable == (everywhere or device == "cpu")


def test_claims_and_arms_of_one_side_are_named_and_times_are_not_compared() -> None:
    here = smoke("cpu", claims=[], arms=[])
    assert [row.verdict for row in evidence(smoke("cpu"), here)] == ["not measured here"] * 2
    assert [row.verdict for row in evidence(here, smoke("cpu"))] == ["not stored"] * 2
    late = smoke("cpu")
    late["claims"][0].update(effect=9.0, effects=[9.0])
    assert all(row.same for row in evidence(smoke("cpu"), late, timed={"one-1"}))


def second(device: str, **parts: Any) -> dict:
    """A claim that names metrics, an arm with its scores, a check."""
    run = smoke(device)
    run["claims"][0] |= {"ours": "acc/net", "baseline": "acc/filter", "scores": [0.9, 0.4]}
    sweep = run["claims"][0] | {"id": "one-2", "sweep": ["r=1", "r=2", "r=3"]}
    run["claims"].append(sweep)
    run["arms"][0] |= {"validation": [0.8], "floor": [0.5]}
    run["checks"] = [{"id": "one-k1", "hash": "h", "worst": 1e-7, "holds": True, "data": "none"}]
    return run | parts


@pytest.mark.parametrize("device", ["cpu", "other"])
@pytest.mark.parametrize(
    ("part", "place", "value", "excused"),
    [
        ("claims", "ours", "acc/filter", False), ("claims", "scores", [0.9, 0.7], True),
        ("arms", "validation", [0.6], True), ("arms", "floor", [0.6], True),
        ("checks", "holds", False, False), ("checks", "hash", "other", False),
    ],
)  # fmt: skip
def test_what_a_second_edition_rests_on_is_compared(
    device: str, part: str, place: str, value: object, excused: bool
) -> None:
    assert all(row.same for row in evidence(second("cpu"), second(device)))
    here = second(device)
    here[part][0][place] = value
    [row] = [row for row in evidence(second("cpu"), here) if not row.same]
    assert row.name.startswith(part) and row.name.endswith(f"/{place}")
    assert row.comparable is not (excused and device == "other")


def test_points_of_a_sweep_and_checks_are_compared_by_name() -> None:
    here = second("cpu")
    here["claims"][1]["sweep"] = ["r=1", "r=3", "r=2"]
    [row] = [row for row in evidence(second("cpu"), here) if not row.same]
    assert row.name == "claims/one-2/sweep" and row.verdict == "differs"
    [gone] = [r for r in evidence(second("cpu"), second("cpu", checks=[])) if not r.same]
    assert (gone.name, gone.verdict) == ("checks/one-k1", "not measured here")


def test_a_listed_chapter_without_a_source_is_named(book: Book) -> None:
    book.add("one", "\n# %%\nx = 1\n")
    (book.root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nchapters:\n"
        "  - file: book/notebooks/one\n  - file: book/notebooks/gone\n"
    )
    assert list(without_source(book.project)) == [
        "_toc.yml: book/notebooks/gone has no source chapters/*/gone.py"
    ]


def test_a_lock_of_other_versions_is_named(book: Book) -> None:
    here = version("numpy")
    assert list(other_versions(book.project)) == [
        f"ci/lock.txt: numpy==2.0 is locked, {here} is installed"
    ]
    (book.root / "ci/lock.txt").write_text(f"numpy=={here}\nrich==0.1\n")
    assert list(other_versions(book.project)) == []


def test_verified_is_said_only_of_what_was_compared() -> None:
    other = "other machine, fewer than 3 seeds"
    report = Report(compared={"one": Counter({"": 3, other: 2}), "two": Counter({other: 5})})
    assert report.verdict == (
        "[green]verified:[/] one; [yellow]not verified:[/] two; "
        "3 numbers compared, 7 not (other machine, fewer than 3 seeds)"
    )


# --- soundness of a stored file, without running anything

STORED = {
    "schema": 2, "chapter": "one", "profile": "laptop", "seed": 0, "environment": {},
    "metrics": {
        "acc": {"values": [0.8, 0.9, 0.7], "unit": "", "mean": 0.8, "low": None, "high": None,
                "kind": "seeded", "rtol": 0.02, "on": "test"},
    },
    "claims": [
        {"id": "one-1", "hash": "", "verdict": "reproduced", "effect": 0.4, "low": None,
         "high": None, "n": 3, "effects": [0.3, 0.4, 0.5], "data": "real", "seeds_needed": None},
    ],
}  # fmt: skip


MALFORMED = [
    ("metrics/acc/values/0", "0.8", "metrics/acc/values/0: Input should be a valid number"),
    ("metrics/acc/values/1", True, "metrics/acc/values/1: Input should be a valid number"),
    ("metrics/acc/mean", None, "metrics/acc/mean: Input should be a valid number, not None"),
    ("metrics", [], "metrics: Input should be a valid dictionary, not []"),
    ("environment", None, "environment: Input should be a valid dictionary, not None"),
    ("claims/0/verdict", "true", "claims/0/verdict: Input should be 'reproduced'"),
    ("claims/0/n", -1, "claims/0/n: Input should be greater than or equal to 0, not -1"),
    ("digests", {"of": "the run", "cells": [{"code": "a"}]}, "digests/cells/0/shows: Field"),
    ("profile", "large", "profile: Input should be 'smoke', 'laptop' or 'gpu', not 'large'"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "message"), MALFORMED)
def test_what_is_malformed_is_one_line(
    book: Book, stored: dict, path: str, value: object, message: str
) -> None:
    *folders, last = path.split("/")
    part: Any = stored
    for folder in folders:
        part = part[int(folder)] if isinstance(part, list) else part[folder]
    part[int(last) if isinstance(part, list) else last] = value
    [found] = problems(book, stored)
    assert found.startswith(f"{RESULTS}: {message}"), found


def test_a_value_that_is_no_number_is_named(book: Book, stored: dict) -> None:
    """NaN is no JSON, though Python reads it; `save` would make null of it."""
    stored["metrics"]["acc"]["values"][2] = float("nan")
    text = results.text_of(stored | {"digest": results.digest(stored)})
    (book.root / RESULTS).write_text(text)
    [chapter] = book.project.select(["one"])
    found = unsound(book.project, chapter, "laptop")
    assert any("metrics/acc/values/2: Input should be a finite number" in f for f in found), found


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"schema": 2}', "3"])
def test_a_file_of_something_else_is_one_line(book: Book, stored: dict, text: str) -> None:
    (book.root / RESULTS).write_text(text)
    [chapter] = book.project.select(["one"])
    [found] = unsound(book.project, chapter, "laptop")
    assert found.startswith(f"{RESULTS}: ")


def test_results_of_another_chapter_or_profile_are_named(book: Book, stored: dict) -> None:
    stored["chapter"] = "two"
    assert problems(book, stored) == [f"{RESULTS}: holds results of two at laptop"]


@pytest.fixture
def stored(book: Book, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Sound results of a chapter `one`, in its first edition; their intervals come from scipy."""
    monkeypatch.setattr(first_edition, "CHAPTERS", ("one",))
    book.add("one", "\n# %%\nx = 1\n", claims=("one-1",))
    content = json.loads(json.dumps(STORED))
    for part, values in (
        (content["metrics"]["acc"], [0.8, 0.9, 0.7]),
        (content["claims"][0], [0.3, 0.4, 0.5]),
    ):
        interval = ttest_1samp(values, 0).confidence_interval(0.95)
        part["low"], part["high"] = float(interval.low), float(interval.high)
    content["claims"][0]["hash"] = claim_hash(book)
    return content


def claim_hash(book: Book) -> str:
    return chapter_claims("one", book.root / "book/systems.yml")["one-1"].hash


def problems(book: Book, content: dict) -> list[str]:
    profile = "smoke" if content["profile"] == "smoke" else "laptop"
    results.save(content, book.project.published("one", profile))
    chapter = book.project.select(["one"])[0]
    found = unsound(book.project, chapter, profile)
    aside = ("book/notebooks/", f"{RESULTS}: not in book/ledger.jsonl")
    return [message for message in found if not message.startswith(aside)]


def test_sound_results_pass(book: Book, stored: dict) -> None:
    assert problems(book, stored) == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("metrics/acc/mean", 0.81, "metrics/acc: mean 0.81 does not follow from values"),
        ("metrics/acc/low", 0.6, "metrics/acc: low 0.6 does not follow from values"),
        ("metrics/acc/high", None, "metrics/acc: high None does not follow from values"),
        ("metrics/acc/values", [], "metrics/acc: expected a non-empty"),
        ("metrics/acc/values/1", 0.91, "metrics/acc: mean 0.8 does not follow from values"),
        ("claims/0/effect", 0.41, "claims/one-1: effect 0.41 does not follow from effects"),
        ("claims/0/effects/0", 0.31, "claims/one-1: effect 0.4 does not follow from effects"),
        ("claims/0/low", 0.2, "claims/one-1: interval [0.2, "),
        ("claims/0/n", 5, "claims/one-1: n 5 is not the number of effects"),
        ("claims/0/verdict", "opposite", "claims/one-1: verdict 'opposite' should be 'reproduced'"),
        ("claims/0/verdict", "not tested", "claims/one-1: verdict 'not tested' should be"),
        ("claims/0/hash", "0" * 12, "claims/one-1: revised after the result"),
        ("claims/0/id", "one-9", "claims/one-1: stands in book/claims/one.yml but has no value"),
        ("claims/0/id", "one-9", "claims/one-9: has a value but does not stand in"),
    ],
)
def test_what_does_not_follow_is_named(
    book: Book, stored: dict, path: str, value: object, message: str
) -> None:
    *parents, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    place = stored
    for step in parents:
        place = place[step]
    place[last] = value
    assert any(problem.startswith(f"{RESULTS}: {message}") for problem in problems(book, stored))


def test_an_interval_follows_from_seeds_and_cases_together(book: Book, stored: dict) -> None:
    claim = stored["claims"][0]
    seeds = claim["high"] - 0.4
    claim["cases"] = {"low": 0.1, "high": 0.8, "n": 90}  # half widths 0.3 and 0.4 around 0.4
    assert "does not follow from effects" in problems(book, stored)[0]
    claim["low"], claim["high"] = 0.4 - np.hypot(seeds, 0.3), 0.4 + np.hypot(seeds, 0.4)
    assert "should be 'inconclusive'" in problems(book, stored)[0]
    claim["verdict"] = "inconclusive"
    assert problems(book, stored) == []
    claim["high"] += 1e-6  # wider than it should be
    assert "does not follow from effects" in problems(book, stored)[0]
    claim["cases"] |= {"low": None, "high": None}  # a single unit bounds nothing
    claim["low"] = claim["high"] = None
    assert problems(book, stored) == []


def test_an_interval_of_an_earlier_run_is_at_least_that_over_seeds(
    book: Book, stored: dict
) -> None:
    claim = stored["claims"][0]
    claim |= {"cases": EARLIER, "low": -0.2, "high": 1.0, "verdict": "inconclusive"}
    assert problems(book, stored) == []
    claim["low"] = 0.39
    assert "does not follow from effects" in problems(book, stored)[0]
    claim["low"] = -0.2
    del claim["cases"]
    assert "does not follow from effects" in problems(book, stored)[0]


def test_an_unsound_replication_is_named(book: Book, stored: dict) -> None:
    path = book.root / "replications/laptop-seed7/one.laptop.json"
    results.save(stored | {"seed": 7}, path)
    assert unsound_replications(book.project) == []
    stored["claims"][0]["effect"] = 4.0
    results.save(stored | {"seed": 7}, path)
    assert unsound_replications(book.project) == [
        "replications/laptop-seed7/one.laptop.json: claims/one-1: "
        "effect 4.0 does not follow from effects"
    ]
    stored["claims"][0]["hash"] = "of other words"
    results.save(stored | {"seed": 7}, path)
    assert unsound_replications(book.project) == []


def test_below_its_profile_a_claim_is_not_tested(book: Book, stored: dict) -> None:
    stored["profile"] = "smoke"
    assert "should be 'not tested'" in problems(book, stored)[0]


@pytest.mark.parametrize(
    ("middle", "verdict"),
    [([0.2, 0.3, 0.2], "reproduced"), ([-0.8, -0.81, -0.79], "not reproduced")],
)
def test_the_verdict_on_a_sweep_follows_from_all_its_points(
    book: Book, stored: dict, middle: list[float], verdict: str
) -> None:
    book.edit("book/claims/one.yml", "kind: greater", "kind: monotone")
    claim = stored["claims"][0]
    claim |= {"hash": claim_hash(book), "verdict": verdict}
    assert "effects do not follow from the sweep" in problems(book, stored)[0]
    last = claim["effects"]
    claim["sweep"] = [[0.0, m, e] for m, e in zip(middle, last, strict=True)]
    assert problems(book, stored) == []
    claim["verdict"] = "reproduced" if verdict != "reproduced" else "not reproduced"
    assert f"should be {verdict!r}" in problems(book, stored)[0]
    claim["sweep"][0][2] += 0.1
    assert "effects do not follow from the sweep" in problems(book, stored)[0]


def test_an_edited_digit_is_found_by_the_digest_and_named(book: Book, stored: dict) -> None:
    assert problems(book, stored) == []
    book.edit(RESULTS, "0.9", "0.8")
    found = unsound(book.project, book.project.select(["one"])[0], "laptop")
    changed = f"{RESULTS}: changed after it was measured (digest differs)"
    assert any(problem.startswith(changed) for problem in found)
    assert any(f"{RESULTS}: metrics/acc: mean" in message for message in found)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 1}'])
def test_a_file_that_is_no_results_file_is_named(book: Book, stored: dict, text: str) -> None:
    (book.root / RESULTS).write_text(text)
    found = unsound(book.project, book.project.select(["one"])[0], "laptop")
    assert found and found[0].startswith(f"{RESULTS}: ")


# --- leaks


def test_only_test_metrics_may_change() -> None:
    def run(validation: float, test: float, weights: str, seconds: float) -> dict:
        metrics = {"v": metric(validation, on="validation"), "t": metric(test)}
        arms = [{"name": "net", "weights": [weights], "steps": 5, "seconds": seconds}]
        return {"metrics": metrics, "arms": arms}

    before = run(0.5, 0.9, "aa", 1.0)
    assert leaking(before, run(0.5, 0.5, "aa", 2.0)) == []
    assert leaking(before, run(0.6, 0.9, "aa", 1.0)) == ["metrics/v"]
    assert leaking(before, run(0.5, 0.9, "bb", 1.0)) == ["arms/net (weights)"]
    assert leaking(before, {"metrics": {}, "arms": []}) != []


def test_a_metric_cannot_hide_by_calling_itself_a_test_metric_in_one_run() -> None:
    before = {"metrics": {"v": metric(0.5, on="validation")}, "arms": []}
    after = {"metrics": {"v": metric(0.6, on="test")}, "arms": []}
    assert leaking(before, after) == ["metrics/v"]


def test_numbers_of_other_data_are_not_compared() -> None:
    def run(sha256: str, kind: str) -> dict:
        data = [{"name": "mednist", "kind": kind, "sha256": sha256}]
        return {"environment": {}, "metrics": {"acc": metric(0.9)}, "claims": [], "data": data}

    [row] = compare(run("a" * 64, "real"), run("b" * 64, "twin"))
    assert not row.comparable and not row.same
    assert row.stored == "mednist (real, aaaaaaaa)" and row.here == "mednist (twin, bbbbbbbb)"
    assert [r.verdict for r in compare(run("a" * 64, "real"), run("a" * 64, "real"))] == ["equal"]
