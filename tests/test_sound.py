"""What of a results file does not follow from the rest is named, by file and number."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from book_fixtures import Book
from nbformat.v4 import new_code_cell, new_notebook, new_output

import medbook
from medbook._book.checks import shown
from medbook._book.checks.sound import unsound, unsound_replications
from medbook._book.stored import ledger
from medbook.learn.training import TrainingLog
from medbook.record import cases, results

CLAIMS = """\
one:
  claims:
  - id: one-1
    statement: The net is better than the filter.
    kind: greater
    metric: accuracy
    better: higher
    margin: 0.05
    margin_from: twice the spread of the filter
    arms: {ours: net, baseline: filter}
    data: none
    profile: laptop
    paper: not stated
  - id: one-2
    statement: The longer it is trained, the better the net.
    kind: monotone
    metric: accuracy
    better: higher
    margin: 0.05
    margin_from: as above
    arms: {sweep: net}
    data: none
    profile: laptop
    paper: not stated
  controls:
  - id: one-c1
    statement: On noise the two are alike.
    kind: equivalent
    metric: accuracy on noise
    better: higher
    margin: 0.05
    margin_from: as above
    arms: {ours: net, baseline: filter}
    data: none
    profile: laptop
    paper: not stated
    guards: [one-1]
  checks:
  - id: one-k1
    statement: A filter of nothing is nothing.
    tolerance: 1.0e-6
    data: none
"""
RESULTS = "book/results/one.laptop.json"
SEEDS, CASES = 5, 60
Forge = Callable[[dict[str, Any], cases.Cases], object]


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Book:
    """A book with one chapter, measured."""
    made = Book(tmp_path)
    made.add("one", "\n# %%\nx = 1\n")
    (tmp_path / "book/claims/one.yml").write_text(CLAIMS)
    (tmp_path / "book/pilots").mkdir()
    pilot = {"arms": {"net": {"full": [0.9, 0.9], "half": [0.82, 0.82]}}, "claims": {}}
    (tmp_path / "book/pilots/one.json").write_text(json.dumps(pilot))
    monkeypatch.setenv("MEDBOOK_ROOT", str(tmp_path))
    monkeypatch.setenv("MEDBOOK_OUT", str(tmp_path / "book/results"))
    measure(seed=1)
    return made


def measure(seed: int) -> Path:
    """A net whose seeds agree that it is better by more than the margin; its cases do not."""
    rng = np.random.default_rng(seed)
    run = medbook.start("one", profile="laptop", seed=seed)
    run.seeds(SEEDS)
    run.arm("net", [TrainingLog((1.0, 0.5), 9, 2, 3, 0.1, f"{seed} {k}") for k in range(SEEDS)],
            validation=rng.normal(0.9, 0.01, SEEDS), floor=0.5)  # fmt: skip
    run.arm("filter")
    given = {"on": "test", "units": np.arange(CASES) // 2, "strata": np.arange(CASES) % 3}
    of_cases = rng.normal(0, 0.15, CASES)
    noise = rng.normal(0, 0.02, (4, SEEDS, CASES))
    run.record("acc/net", 0.575 + of_cases + noise[0], arm="net", **given)
    run.record("acc/filter", np.full((1, CASES), 0.5), arm="filter", **given)
    run.record("noise/net", 0.5 + noise[1], arm="net", **given)
    run.record("noise/filter", 0.5 + noise[2], arm="filter", **given)
    for k, level in enumerate((0.5, 0.7, 0.9)):
        run.record(f"step {k}", level + rng.normal(0, 0.01, SEEDS), on="test", arm="net")
    run.claim("one-1", ours="acc/net", baseline="acc/filter")
    run.claim("one-2", sweep=["step 0", "step 1", "step 2"])
    run.claim("one-c1", ours="noise/net", baseline="noise/filter")
    run.check("one-k1", [1.0], [1.0])
    return run.finish()


def forged(book: Book, forge: Forge) -> list[str]:
    """What is found after a change to the stored files, all digests made anew."""
    path = book.root / RESULTS
    content = results.load(path)
    arrays = cases.load(content, path)
    forge(content, arrays)
    packed = cases.pack(arrays)
    results.save(content | {"cases": {"sha256": cases.digest(packed)}}, path, packed)
    return problems(book)


def problems(book: Book) -> list[str]:
    found = unsound(book.project, book.project.select(["one"])[0], "laptop")
    aside = ("book/notebooks/", f"{RESULTS}: not in book/ledger.jsonl")
    assert all(message.startswith((f"{RESULTS}: ", *aside)) for message in found)
    return [m.removeprefix(f"{RESULTS}: ") for m in found if not m.startswith(aside)]


def claim(run: dict[str, Any], id: str = "one-1") -> dict[str, Any]:
    return next(entry for entry in run["claims"] if entry["id"] == id)


def test_sound_results_pass(book: Book) -> None:
    assert problems(book) == []
    content = results.load(book.root / RESULTS)
    assert [entry["label"] for entry in content["claims"]] == [
        "inconclusive at this budget", "reproduced at this budget", "reproduced at this budget",
    ]  # fmt: skip
    assert forged(book, lambda run, arrays: None) == []


def negate(run: dict, arrays: cases.Cases) -> None:
    entry = claim(run)
    low, high = -entry["high"], -entry["low"]
    effects = [-effect for effect in entry["effects"]]
    entry |= {"effect": -entry["effect"], "low": low, "high": high, "effects": effects}


def repeat_effects(run: dict, arrays: cases.Cases) -> None:
    entry = claim(run)
    entry |= {"effects": entry["effects"] * 10, "n": 50}


def repeat_values(run: dict, arrays: cases.Cases) -> None:
    for k in range(3):
        run["metrics"][f"step {k}"]["values"] *= 10
    run["seeds"] = 50


def drop_cases(run: dict, arrays: cases.Cases) -> None:
    for name in ("acc/net", "acc/filter"):
        del run["metrics"][name]["cases"]


def drop_cases_from_interval(run: dict, arrays: cases.Cases) -> None:
    from medbook.evaluate.stats import t_interval

    found = t_interval(claim(run)["effects"])
    claim(run).update(low=found.low, high=found.high, verdict="reproduced")


def exchange(run: dict, arrays: cases.Cases) -> None:
    claim(run).update(ours="acc/filter", baseline="acc/net")


def other_case(run: dict, arrays: cases.Cases) -> None:
    arrays["scores/acc/net"] = arrays["scores/acc/net"] + np.float32(0.1)


def permute_cases(run: dict, arrays: cases.Cases) -> None:
    arrays["scores/acc/net"] = arrays["scores/acc/net"][:, ::-1].copy()


FORGERIES: dict[str, tuple[Forge, str]] = {
    "negated": (negate, "claims/one-1: effect -0."),
    "repeated effects": (repeat_effects, "claims/one-1: n 50 should be 5"),
    "repeated values": (repeat_values, "claims/one-2: claim one-2: 50 values from 5 trained net"),
    "an interval widened": (
        lambda run, arrays: claim(run, "one-2").update(low=-1.0, verdict="inconclusive"),
        "claims/one-2: low -1.0 should be",
    ),
    "the part of the cases dropped": (
        drop_cases_from_interval, "claims/one-1: verdict 'reproduced' should be 'inconclusive'"
    ),
    "scores of cases no longer named": (
        drop_cases, "metrics: the file of cases holds scores/acc/filter, which no metric names"
    ),
    "ours and baseline exchanged": (
        exchange, "claims/one-1: claim one-1: 'acc/filter' was measured with filter, the claims"
    ),
    "scores of cases changed": (other_case, "metrics/acc/net: values are not the means"),
    "scores of cases permuted": (permute_cases, "claims/one-1: low"),
    "scores of cases left out": (
        lambda run, arrays: arrays.pop("scores/acc/net"),
        "metrics/acc/net: the file of cases lacks scores/acc/net",
    ),
    "units left out": (
        lambda run, arrays: run["metrics"]["acc/net"]["cases"].update(units="units/none"),
        "metrics/acc/net: the file of cases lacks units/none",
    ),
    "strata no longer named": (
        lambda run, arrays: run["metrics"]["acc/net"]["cases"].update(strata=None),
        "claims/one-1: claim one-1: its metrics have other strata",
    ),
    "another verdict": (
        lambda run, arrays: claim(run).update(verdict="reproduced"),
        "claims/one-1: verdict 'reproduced' should be 'inconclusive'",
    ),
    "another verdict at twice the margin": (
        lambda run, arrays: claim(run)["verdicts"].update({"2": "reproduced"}),
        "claims/one-1: verdicts {'0.5': 'reproduced', '1': 'inconclusive', '2': 'reproduced'",
    ),
    "at this budget left out": (
        lambda run, arrays: claim(run).update(at_budget=[], label="inconclusive"),
        "claims/one-1: at_budget [] should be ['net']",
    ),
    "has learned": (
        lambda run, arrays: run["arms"][0].update(validation=[0.52, 0.49, 0.5, 0.51, 0.5]),
        "arms/net: learned True does not follow from its scores",
    ),
    "an untrained arm that has learned": (
        lambda run, arrays: run["arms"][1].update(learned=True),
        "arms/filter: learned True without validation scores",
    ),
    "a phantom that is real": (
        lambda run, arrays: claim(run).update(data="real"),
        "claims/one-1: data 'real' should be 'none'",
    ),
    "a control left out": (
        lambda run, arrays: run["claims"].remove(claim(run, "one-c1")),
        "claims/one-c1: stands in book/claims/one.yml but has no value",
    ),
    "a check that holds": (
        lambda run, arrays: run["checks"][0].update(worst=0.1),
        "checks/one-k1: holds True does not follow from 0.1",
    ),
    "a check left out": (
        lambda run, arrays: run["checks"].clear(),
        "checks/one-k1: stands in book/claims/one.yml but has no value",
    ),
    "a score of another sign": (
        lambda run, arrays: claim(run).update(scores=[0.9, 0.5]), "claims/one-1: scores [0.9, 0.5]"
    ),
    "a part too many": (
        lambda run, arrays: claim(run).update(remark="proved"), "claims/one-1: remark 'proved'"
    ),
    "a metric no longer there": (
        lambda run, arrays: run["metrics"].pop("step 1"),
        "claims/one-2: claim one-2: no metric 'step 1' is recorded",
    ),
    "seeds": (
        lambda run, arrays: run.update(seeds=2),
        "claims/one-1: claim one-1: 5 values, but the run drew 2 seeds",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_named(book: Book, name: str) -> None:
    forge, message = FORGERIES[name]
    found = forged(book, forge)
    assert any(problem.startswith(message) for problem in found), found


def test_another_file_of_cases_is_named(book: Book) -> None:
    file = cases.beside(book.root / RESULTS)
    before = file.read_bytes()
    file.write_bytes(before + b"x")
    assert problems(book) == ["one.laptop.npz: not of one.laptop.json (its hash is another)"]
    file.write_bytes(b"x")
    assert "one.laptop.npz: damaged" in problems(book)[0]
    file.unlink()
    assert "one.laptop.npz: missing" in problems(book)[0]


def test_a_claim_changed_after_its_result_is_named(book: Book) -> None:
    """Under the same base seed, even where its whole record was made anew."""
    path = book.root / RESULTS
    (book.root / ledger.NAME).write_text(ledger.append(book.project, results.load(path)))
    book.edit("book/claims/one.yml", "margin: 0.05", "margin: 0.01")
    assert "claims/one-1: revised after the result: run again with a new base seed" in problems(
        book
    )
    measure(seed=1)
    found = problems(book)
    assert "claims/one-1: changed after its result from base seed 1" in found[0]
    measure(seed=2)
    assert not any("changed after its result" in problem for problem in problems(book))


def test_scores_of_arms_and_checks_are_those_that_were_listed(book: Book) -> None:
    """What follows from nothing else: forged, digests made anew, it passes all but the list."""
    (book.root / ledger.NAME).write_text(
        ledger.append(book.project, results.load(book.root / RESULTS))
    )
    assert problems(book) == []
    before = (book.root / RESULTS).read_bytes()
    found = forged(book, lambda run, arrays: run["arms"][0].update(validation=[0.99] * SEEDS))
    assert len(found) == 1 and found[0].startswith("arms ")
    (book.root / RESULTS).write_bytes(before)
    found = forged(book, lambda run, arrays: run["checks"][0].update(worst=1e-9))
    assert found == ["claims/one-k1: not what was measured (book/ledger.jsonl)"]


def test_tables_of_a_notebook_are_made_again_from_the_results(book: Book) -> None:
    stored = results.load(book.root / RESULTS)
    run = shown.restored(stored)
    tables = [run.claims_table(), run.arms_table(), run.checks_table()]
    html = [table._repr_html_() for table in tables]
    for old, new in (("", ""), ("+0.0", "+0.1"), ("0.9", "0.8"), ("holds", "does not hold")):
        edited = [text.replace(old, new, 1) if old else text for text in html]
        outputs = [new_output("display_data", {"text/html": text}) for text in edited]
        notebook = new_notebook(cells=[new_code_cell("run.claims_table()", outputs=outputs)])
        found = list(shown.other_tables(notebook, stored))
        assert any("is not of the stored results" in text for text in found) is bool(old), old


def test_a_replication_is_derived_again_too(book: Book) -> None:
    folder = book.root / "replications/laptop-seed7"
    measured = measure(seed=7)
    folder.mkdir(parents=True)
    for file in (measured, cases.beside(measured)):
        (folder / file.name).write_bytes(file.read_bytes())
    assert unsound_replications(book.project) == []
    path = folder / measured.name
    content = results.load(path)
    claim(content)["effect"] = 4.0
    results.save(content, path)
    [message] = unsound_replications(book.project)
    assert message.startswith("replications/laptop-seed7/one.laptop.json: claims/one-1: effect 4.0")
    claim(content)["hash"] = "of other words"
    results.save(content, path)
    assert unsound_replications(book.project) == []
