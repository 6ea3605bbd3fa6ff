"""The page of a system: what is stored of its claims, controls, checks and arms, old and new."""

import json
import re

import pytest
from test_book_pages import LAPTOP, book, result, rows  # noqa: F401  a book with claims of system one

from medbook._book import pages
from medbook._book.pages import links, scoreboard, systems
from medbook._book.pages.scoreboard import examples, legend
from medbook._book.stored.findings import stored_of, systems_of
from medbook.evaluate.stats import VERDICTS
from medbook.record.claims import load_systems

SECOND = """\
one:
  claims:
  - id: one-4
    statement: Ours is better.
    kind: greater
    metric: accuracy on test images
    better: higher
    margin: 0.05
    margin_from: a tenth of what chance leaves
    source: paper
    arms: {ours: [A, B], baseline: C}
    data: x
    profile: laptop
    paper: "0.91 against 0.89"
    reported: {ours: 0.91, baseline: 0.89, n: 624}
  - {id: one-5, statement: Our idea., kind: greater, metric: m, better: higher, margin: 0.1,
     margin_from: y, source: ours, arms: {ours: A, baseline: C}, data: x, profile: laptop,
     paper: none}
  controls:
  - {id: one-c1, guards: [one-4], statement: Nothing without it., kind: equivalent, metric: m,
     better: higher, margin: 0.1, margin_from: y, source: paper, arms: {ours: A, baseline: C},
     data: x, profile: laptop, paper: none}
  checks:
  - {id: one-k1, statement: Both agree., tolerance: 1.0e-5, data: none}
"""
ARM = {"n_train": 1500, "steps": 200, "parameters": 1234, "trials": 4, "seconds": 1.0}
TRAINED = {"weights": ["ab", "cd"], "validation": [0.8, 0.9], "floor": [0.5, 0.5], "learned": True}


def measured(book, **more):  # noqa: F811
    """Records of the second edition, as a run stores them."""
    (one, *_) = load_systems(book.root / "book/systems.yml")
    hashes = {entry.id: entry.hash for entry in (*one.claims, *one.controls)}
    usual = {"n": 8, "units": 96, "data": "phantom", "effects": [0.2] * 8, "seeds_needed": None,
             "arms": ["A", "C"], "ours": "acc/A", "baseline": "acc/C"}  # fmt: skip
    words = {
        "one-4": {"verdict": "reproduced", "label": "reproduced at this budget", "effect": 0.2,
                  "low": 0.15, "high": 0.25, "scores": [0.9, 0.7],
                  "verdicts": {"0.5": "reproduced", "1": "reproduced", "2": "inconclusive"}},
        "one-5": {"verdict": "not tested", "label": "not tested (A has not learned)", "effect": 0.3,
                  "low": 0.2, "high": 0.4, "scores": [0.9, 0.6], "verdicts": {}},
        "one-c1": {"verdict": "reproduced", "label": "reproduced", "effect": 0.0, "low": -0.01,
                   "high": 0.01, "scores": [0.7, 0.7], "verdicts": {}},
    }  # fmt: skip
    return [usual | {"id": id, "hash": hashes[id]} | words[id] | more for id in words]


@pytest.fixture
def second(book):  # noqa: F811
    """The book with a chapter of the second edition, measured at laptop."""
    (book.root / "book/claims/filters.yml").write_text(SECOND)
    arms = [ARM | TRAINED | {"name": "A"}, ARM | {"name": "C", "weights": [], "n_train": 0},
            ARM | TRAINED | {"name": "unused"}]  # fmt: skip
    metrics = {"acc/A": {"unit": "%", "values": [1.0]}}
    check = {"id": "one-k1", "hash": "x", "worst": 2e-7, "holds": True, "data": "none"}
    result(book, "laptop", [], arms=arms, metrics=metrics, claims=measured(book), checks=[check])
    return book


def page_of(book):  # noqa: F811
    return pages.generated(book)["book/systems/one.md"]


def test_a_page_says_all_that_is_stored_of_a_claim(second):
    text = page_of(second)
    assert text.startswith("# A | B\n\nA, B (2024). [paper](https://example.org).\n")
    claim = text.partition("### one-4\n")[2].partition("###")[0]
    assert "\nOurs is better.\n" in claim
    assert "- *compared:* A and B with C, in accuracy on test images (higher speaks" in claim
    assert "- *kind and margin:* greater, 0.05: a tenth of what chance leaves" in claim
    assert "0.91 against 0.89 on 624 cases" in claim and "probability of 0.28" in claim
    (row,) = rows(claim, "laptop")
    assert row[:4] == ["laptop", "reproduced at this budget", "reproduced", "inconclusive"]
    assert row[4:] == [
        "0.900 %", "0.700 %", "+0.200 % [+0.150, +0.250]", "8 seeds, 96 units, phantom",
    ]  # fmt: skip
    own = text.partition("### one-5\n")[2].partition("###")[0]
    assert "our own question" in own and "not tested (A has not learned)" in own
    control = text.partition("## Controls\n")[2]
    assert "### one-c1" in control and "guards:* one-4, not reproduced if" in control
    assert "paper's number" not in control


def test_the_figure_leads_to_the_claims_of_its_page(second):
    text = page_of(second)
    ids = re.findall(r'href="#([\w-]+)"', text)
    assert ids == ["one-4", "one-5", "one-c1"] and all(f"\n### {id}\n" in text for id in ids)
    assert "\n## Effects at laptop\n" in text


def test_checks_and_arms_have_tables_of_their_own(second):
    text = page_of(second)
    assert rows(text, "one-k1") == [["one-k1: Both agree.", "1e-05", "holds (2e-07)"]]
    assert rows(text, "A ") == [["A", "1,500", "200", "1,234", "4", "2", "0.85", "0.5", "yes"]]
    assert rows(text, "C ") == [["C", "", "200", "1,234", "4", "", "", "", ""]]
    assert rows(text, "unused") == [], "no claim rests on it"
    (second.root / "book/pilots").mkdir()
    arms = {"A": {"full": [0.8, 0.9], "half": [0.7, 0.8], "floor": [0.5], "better": "higher"}}
    (second.root / "book/pilots/filters.json").write_text(json.dumps({"arms": arms}))
    assert rows(page_of(second), "A ")[0][-1] == "0.75 to 0.85"


def test_only_claims_of_the_paper_are_counted(second):
    text = pages.generated(second)["book/scoreboard.md"]
    ((name, *cells),) = rows(text, "[A")
    assert name == "[A \\| B](systems/one.md)"
    own = "✓ 11 reproduced and 1 of our own"  # mark and number, then number and word
    assert cells == ["not run", own, "not run", "1 of 1 held", "1 of 1 hold"]
    one = systems_of(second)[0]
    assert scoreboard.summary(one, stored_of(second), "laptop") == "1 reproduced"
    assert "decided 1 verdicts on this page; 1 say `reproduced`" in text


def test_a_control_or_check_that_fails_is_counted_as_such(second):
    failed = [
        m | ({"verdict": "not reproduced"} if m["id"] == "one-c1" else {}) for m in measured(second)
    ]
    check = {"id": "one-k1", "hash": "x", "worst": 1.0, "holds": False, "data": "none"}
    result(second, "laptop", [], claims=failed, checks=[check], arms=[])
    text = pages.generated(second)["book/scoreboard.md"]
    assert rows(text, "[A")[0][-2:] == ["0 of 1 held", "0 of 1 hold"]
    assert "does not hold (1)" in page_of(second)


def test_a_claim_that_was_changed_has_no_numbers(second):
    result(second, "laptop", [], claims=measured(second, hash="other"), arms=[])
    text = page_of(second)
    assert rows(text, "laptop") == [["laptop", systems.CHANGED]] * 3
    assert "## Effects" not in text and "one-4" not in pages.generated(second)["book/scoreboard.md"]


def test_a_first_edition_is_shown_with_what_it_stored(book):  # noqa: F811
    result(book, "laptop", LAPTOP, arms=[ARM | {"name": "A", "weights": ["ab"]}])
    text = page_of(book)
    claim = text.partition("### one-1\n")[2].partition("###")[0]
    assert rows(claim, "laptop") == [
        ["laptop", "reproduced", "+0.31 [+0.20, +0.40]", "5 seeds, real"]
    ]
    assert "not tested" not in text and "### one-2" not in text  # an identity, which is a check
    assert rows(text, "one-2") == [["one-2: Claim one-2 holds.", "0.1", "holds (0)"]]
    assert rows(text, "A ") == [["A", "1,500", "200", "1,234", "4", "1"]]
    open_ = text.partition("### one-3\n")[2]
    assert "[−∞, +∞]" in open_ and "(revised: a typo)" in open_


def test_effects_are_those_of_the_largest_profile(book):  # noqa: F811
    result(book, "laptop", LAPTOP)
    result(book, "gpu", [("one-1", "opposite", -0.3, -0.4, -0.2)])
    text = page_of(book)
    assert "## Effects at gpu" in text and "−0.30 [−0.40, −0.20]" in text.partition("## Claims")[0]


def test_a_system_without_results_has_a_page_that_says_so(book):  # noqa: F811
    text = page_of(book)
    assert text.count("Not tested yet: this needs laptop.") == 2
    assert "## Effects" not in text and "## Arms" not in text
    assert systems.entries(book) == {"book/systems/one": "A | B"}  # planned ones have none


def test_withdrawn_verdicts_are_on_the_page_of_their_system(second):
    entry = "{id: one-1, statement: Old., verdict: opposite, why: A mistake., instead: [one-4]}"
    (second.root / "book/withdrawn.yml").write_text(f"- {entry}\n")
    text = page_of(second).partition("## Withdrawn verdicts")[2]
    assert rows(text, "one-1") == [["one-1: Old.", "opposite", "A mistake.", "one-4"]]


def test_the_contents_list_the_pages_below_the_scoreboard(second):
    toc = b"root: a\nparts:\n- caption: C\n  chapters: [{file: book/scoreboard}, {file: b}]\n"
    made = links.contents(toc, {"book/scoreboard": systems.entries(second)}).decode()
    below = "    sections:\n    - file: book/systems/one\n      title: A | B\n"
    assert f"file: book/scoreboard\n{below}  - file: b" in made


def test_examples_show_one_claim_of_each_verdict_and_lead_to_their_pages(second):
    text = examples(second)
    assert text.startswith("For example, from the chapter on filters:")
    assert 'href="systems/one.html#one-4"' in text and "one-c1" not in text and "one-5" not in text


def test_every_verdict_has_a_mark_in_the_legend():
    assert all(f" {verdict}</span>" in legend() for verdict in VERDICTS)
