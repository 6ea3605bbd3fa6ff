"""Which runs under replications/ count on the scoreboard, and what it says of the others."""

from pathlib import Path
from typing import Any

import pytest
from book_fixtures import Book

from medbook._book.pages import scoreboard, systems
from medbook._book.pages.scoreboard import States
from medbook._book.stored import replications
from medbook._book.stored.replications import Pool
from medbook._book.stored.state import State
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.profiles import PROFILES

CODE = {"cells": ["c1"], "glue": {"mean": "g1"}}
TRIALS = {"trial": {"definitions": {"training.fit": "d1"}, "keys": ["k1"], "seconds": [1.0]}}


def trials(key: str) -> dict[str, Any]:
    return {"trial": TRIALS["trial"] | {"keys": [key]}}


def metric(*values: float, **changed: str) -> dict[str, Any]:
    return {
        "values": list(values), "unit": "", "mean": values[0], "low": None, "high": None,
        "kind": "seeded", "rtol": 0.02, "on": "test",
    } | changed  # fmt: skip


def arm(weights: str) -> dict[str, Any]:
    return {
        "name": "net", "n_train": 9, "steps": 1, "parameters": 2, "trials": 1, "seconds": 0.1,
        "weights": [weights],
    }  # fmt: skip


CLAIM = {
    "id": "one-1", "hash": "h1", "data": "real", "verdict": "reproduced",
    "effect": 0.3, "low": 0.1, "high": 0.5, "n": 5, "effects": [0.3], "seeds_needed": None,
}  # fmt: skip


def a_run(seed: int, claim: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    run = {
        "schema": results.SCHEMA, "chapter": "one", "profile": "laptop", "seed": seed,
        "environment": {},
        "key": {"versions": {"torch": "2"}, **CODE}, "trials": trials(f"k{seed}"), "metrics": {},
        "claims": [CLAIM | (claim or {})],
    }  # fmt: skip
    return run | changed


def collect(tmp_path: Path, *runs: dict[str, Any]) -> Pool:
    """What a book with one laptop result, of seed 0, makes of these replications."""
    book = Book(tmp_path)
    for number, run in enumerate(runs):
        results.save(run, book.root / f"replications/{number:02d}.json")
    return replications.collect(book.project, {("one", "laptop"): a_run(0)})


def test_other_seeds_of_the_same_code_count_whatever_they_found(tmp_path: Path) -> None:
    other_versions = {"key": {"versions": {"torch": "3"}, **CODE}}
    pool = collect(
        tmp_path, a_run(1), a_run(2, {"verdict": "opposite"}), a_run(3, **other_versions)
    )
    assert pool.verdicts("laptop", CLAIM) == ["reproduced", "opposite", "reproduced"]
    assert pool.verdicts("gpu", CLAIM) == []
    assert pool.verdicts("laptop", CLAIM | {"hash": "h2"}) == []
    assert pool.summary() == "Files counted: 3."


OTHER_CODE = [
    {"key": {**CODE, "cells": ["c2"]}},
    {"key": {**CODE, "glue": {"mean": "g2"}}},
    {"trials": {"trial": TRIALS["trial"] | {"definitions": {"training.fit": "d2"}}}},
]


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (a_run(0), "from the base seed of the book"),
        (a_run(1, profile="gpu"), "of a chapter or profile that the book has no result of"),
        (a_run(1, chapter="two"), "of a chapter or profile that the book has no result of"),
        *((a_run(1, **other), "of other code") for other in [*OTHER_CODE, {"key": {}}]),
        (a_run(1, {"hash": "h2"}), "of other claims or another kind of data"),
        (a_run(1, {"data": "twin"}), "of other claims or another kind of data"),
    ],
)
def test_what_is_no_replication_is_left_out_with_its_reason(
    tmp_path: Path, run: dict[str, Any], reason: str
) -> None:
    pool = collect(tmp_path, run, a_run(9))
    assert pool.verdicts("laptop", CLAIM) == ["reproduced"]
    assert pool.summary() == f"Files counted: 1; left out: 1 {reason}."


def test_a_seed_counts_once(tmp_path: Path) -> None:
    pool = collect(tmp_path, a_run(1), a_run(1, {"verdict": "opposite"}), a_run(2))
    assert pool.verdicts("laptop", CLAIM) == ["reproduced", "reproduced"]
    assert pool.left_out == {"from a seed that is counted already": 1}


@pytest.mark.parametrize(
    ("copied", "what"),
    [
        ({"metrics": {"acc": metric(0.61, 0.64), "n": metric(9.0, kind="exact")}}, "metrics"),
        ({"arms": [arm("w1")]}, "weights of arms"),
        ({"trials": trials("k")}, "keys of trials"),
    ],
)
def test_the_numbers_of_another_seed_are_no_replication(
    tmp_path: Path, copied: dict[str, Any], what: str
) -> None:
    pool = collect(tmp_path, a_run(1, **copied), a_run(2, **copied), a_run(3))
    assert pool.summary() == "Files counted: 2; left out: 1 with the numbers of another seed."
    book = Book.at(tmp_path)
    [message] = replications.copies(book.project, {})
    first, second = "replications/00.json", "replications/01.json"
    assert message == f"{second}: {what} of seed 2 are those of seed 1 in {first}"
    own = replications.copies(book.project, {("one", "laptop"): a_run(0, **copied)})
    assert own[0] == f"{first}: {what} of seed 1 are those of seed 0 in the book"


def test_what_no_seed_decides_may_be_equal(tmp_path: Path) -> None:
    """Counts, times and one of two scores."""
    shared = {"n": metric(9.0, kind="exact"), "fbp": metric(0.7), "took": metric(1.0, unit="s")}
    runs = [a_run(k, metrics=shared | {"acc": metric(0.6 + k / 10)}) for k in (1, 2)]
    assert collect(tmp_path, *runs).summary() == "Files counted: 2."
    assert replications.copies(Book.at(tmp_path).project, {}) == []


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [('"seed": 1', '"seed": 2', "digest differs"), ("{", "[", "not valid JSON")],
)
def test_a_damaged_file_is_named(tmp_path: Path, old: str, new: str, what: str) -> None:
    collect(tmp_path, a_run(1))
    book = Book.at(tmp_path)
    book.edit("replications/00.json", old, new)
    with pytest.raises(MedbookError, match=f"^replications/00.json: .*{what}"):
        replications.collect(book.project, {})


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(MedbookError, match=r"^replications/00\.json: seed: Field required"):
        collect(tmp_path, {"schema": results.SCHEMA, "chapter": "one", "profile": "laptop"})


def test_the_scoreboard_and_the_page_of_the_system_state_both(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.add("one", "", claims=("one-1",))
    states = {("one", profile): State("current", []) for profile in PROFILES}
    [system] = scoreboard.systems_of(book.project)
    claim = {"hash": system.claims[0].hash}
    results.save(a_run(0, claim), book.project.published("one", "laptop"))
    assert "There is none yet." in scoreboard.page(book.project)
    assert "None is stored yet." in page(book, states)
    for seed, verdict in [(1, "reproduced"), (2, "inconclusive")]:
        run = a_run(seed, claim | {"verdict": verdict})
        results.save(run, book.root / f"replications/laptop-seed{seed}/one.laptop.json")
    results.save(a_run(3, {"hash": "old"}), book.root / "replications/old.json")
    text = scoreboard.page(book.project)
    assert "Files counted: 2; left out: 1 of other claims or another kind of data." in text
    assert "| 5 seeds, real | 1 of 2 |" in page(book, states)
    assert "Runs from other base seeds: 1 (laptop), 2 (laptop)." in page(book, states)
    book.edit("book/claims/one.yml", "right at all", "right everywhere")
    assert "0 of" not in page(book, states)


def page(book: Book, states: States) -> str:
    [text] = systems.pages(book.project, states).values()
    return text
