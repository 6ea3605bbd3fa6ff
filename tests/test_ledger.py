"""The list of measured claims: what contradicts it is named, and nothing in it is changed alone."""

from typing import Any

import pytest
from book_fixtures import Book

from medbook._book.stored import ledger
from medbook.errors import MedbookError


def run(seed: int = 0, words: str = "h1", value: float = 0.5, **claim: Any) -> dict[str, Any]:
    measured = {
        "id": "one-1", "hash": words, "verdict": "reproduced", "effect": 0.5, "low": 0.25,
        "high": 0.75, "n": 3, "effects": [0.25, 0.5, 0.75],
    }  # fmt: skip
    return {
        "chapter": "one", "profile": "laptop", "seed": seed,
        "metrics": {"acc": {"values": [value], "unit": ""}}, "claims": [measured | claim],
    }  # fmt: skip


def publish(book: Book, *runs: dict[str, Any]) -> None:
    for one in runs:
        (book.root / ledger.NAME).write_text(ledger.append(book.project, one))


def said(book: Book, one: dict[str, Any]) -> list[str]:
    return list(ledger.contradictions(book.project, one))


def test_what_was_published_stands_and_once(book: Book) -> None:
    assert said(book, run()) == ["not in book/ledger.jsonl: publish the chapter"]
    publish(book, run(), run())
    assert said(book, run()) == []
    assert len((book.root / ledger.NAME).read_text().splitlines()) == 1


TWICE = [0.25, 0.5, 0.75] * 10


@pytest.mark.parametrize(
    "forged",
    [
        {"effects": [-0.25, -0.5, -0.75], "effect": -0.5, "verdict": "opposite"},
        {"effects": TWICE, "n": 30}, {"low": -0.25, "verdict": "inconclusive"}, {"high": 0.7},
    ],
)  # fmt: skip
def test_a_forged_claim_is_named(book: Book, forged: dict[str, Any]) -> None:
    publish(book, run())
    assert said(book, run(**forged)) == ["claims/one-1: not what was measured (book/ledger.jsonl)"]


def test_other_numbers_and_the_results_of_another_seed_are_named(book: Book) -> None:
    publish(book, run())
    [numbers] = said(book, run(value=0.6))
    assert numbers.startswith("numbers ") and numbers.endswith(" in book/ledger.jsonl")
    assert said(book, run(seed=3))[0] == "seed 3 here, 0 in book/ledger.jsonl"


def test_a_claim_changed_after_its_result_needs_a_new_seed(book: Book) -> None:
    publish(book, run())
    why = "claims/one-1: changed after its result from base seed 0: run again with a new base seed"
    assert said(book, run(words="h2"))[0] == why
    with pytest.raises(MedbookError, match=f"^one: {why}"):
        publish(book, run(words="h2"))
    publish(book, run(seed=1, words="h2"))
    assert said(book, run(seed=1, words="h2")) == []
    with pytest.raises(MedbookError, match="base seed 0"):  # not after a detour either
        publish(book, run(words="h2"))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"h1"', '"h2"', "book/ledger.jsonl:2: a line before was changed: restore the file"),
        ('{"chapter"', '["chapter"', "book/ledger.jsonl:1: not an entry: restore the file"),
    ],
)
def test_a_changed_line_is_named(book: Book, old: str, new: str, says: str) -> None:
    publish(book, run(), run(seed=1, words="h3"))
    path = book.root / ledger.NAME
    path.write_text(path.read_text().replace(old, new, 1))
    assert said(book, run(seed=1, words="h3")) == [says]
