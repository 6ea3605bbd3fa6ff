"""What was found, in words: every verdict of every kind, and what must not be said."""

import itertools

import pytest
from test_effects import FREE, GOOD, HELD, NOUGHT, Control, claim, record

from medbook.record import session
from medbook.record.claims import System
from medbook.show import effects, findings
from medbook.show.findings import sentence
from medbook.show.measured import Measured

SIZES = {  # low, effect, high that lead to a verdict with a margin of 0.05
    ("greater", "reproduced"): (0.25, 0.28, 0.31),
    ("greater", "not reproduced"): (-0.02, 0.01, 0.04),
    ("greater", "opposite"): (-0.31, -0.28, -0.25),
    ("greater", "inconclusive"): (-0.02, 0.04, 0.1),
    ("noninferior", "reproduced"): (-0.04, -0.01, 0.02),
    ("noninferior", "not reproduced"): (-0.31, -0.28, -0.25),
    ("noninferior", "inconclusive"): (-0.1, -0.04, 0.02),
    ("equivalent", "reproduced"): (-0.04, -0.01, 0.02),
    ("equivalent", "not reproduced"): (0.25, 0.28, 0.31),
    ("equivalent", "inconclusive"): (-0.02, 0.04, 0.1),
    ("monotone", "reproduced"): (0.25, 0.28, 0.31),
    ("monotone", "not reproduced"): (0.01, 0.02, 0.04),
    ("monotone", "opposite"): (-0.31, -0.28, -0.25),
    ("monotone", "inconclusive"): (-0.02, 0.04, 0.1),
}


def line(kind: str, verdict: str, better: str = "lower", **more) -> Measured:
    low, effect, high = SIZES[kind, verdict]
    return Measured(claim(kind=kind, better=better), record(verdict, low, effect, high, **more))


@pytest.mark.parametrize(("kind", "verdict"), SIZES)
def test_each_verdict_has_its_own_words_and_its_numbers(kind: str, verdict: str) -> None:
    said = sentence(line(kind, verdict, scores=[0.61, 0.89]))
    assert said.startswith(f"**{verdict.capitalize()}** (salm-1): ")
    assert said.endswith(".") and ".." not in said and "\n" not in said and "  " not in said
    low, effect, high = (f"{abs(value):.3f}" for value in SIZES[kind, verdict])
    assert all(number in said for number in (low, effect, high, "0.610", "0.890", "AUC"))
    others = [
        sentence(line(k, v, scores=[0.61, 0.89])) for k, v in SIZES if (k, v) != (kind, verdict)
    ]
    assert said.partition(": ")[2] not in [other.partition(": ")[2] for other in others]


@pytest.mark.parametrize(
    ("kind", "better"), itertools.product(["greater", "monotone"], ["higher", "lower"])
)
def test_the_direction_is_that_of_the_scores(kind: str, better: str) -> None:
    """A claim of `lower` that is reproduced says lower, and its opposite says higher."""
    words = {"higher": ("higher", "rises"), "lower": ("lower", "falls")}
    other = {"higher": "lower", "lower": "higher"}[better]
    found, opposite = (sentence(line(kind, v, better)) for v in ("reproduced", "opposite"))
    assert any(word in found for word in words[better])
    assert not any(word in found for word in words[other])
    assert any(word in opposite for word in words[other])
    assert not any(word in opposite for word in words[better])
    assert "against the claim" in opposite and "0.280 [0.250, 0.310]" in opposite


def test_nothing_undecided_or_failed_reads_as_if_it_were_so() -> None:
    for kind, verdict in SIZES:
        said = sentence(line(kind, verdict))
        assert (" is open; " in said) == (verdict == "inconclusive")
    assert "about 12 seeds would decide" in sentence(
        line("greater", "inconclusive", seeds_needed=12)
    )
    assert "more seeds alone would not decide" in sentence(line("greater", "inconclusive"))


def test_a_small_effect_is_told_from_none() -> None:
    some = Measured(claim(), record("not reproduced", 0.01, 0.02, 0.04))
    assert "scores lower than *unprotected* by 0.020 [0.010, 0.040], but less than" in sentence(
        some
    )
    assert "does not score lower" in sentence(line("greater", "not reproduced"))


def test_a_sweep_that_runs_back_is_told_from_one_that_hardly_moves() -> None:
    back = Measured(claim(kind="monotone"), record("not reproduced", 0.25, 0.28, 0.31))
    assert "a step on the way runs back" in sentence(back)
    assert "less than the margin" in sentence(line("monotone", "not reproduced"))
    ends = sentence(line("monotone", "reproduced", scores=[0.61, 0.89]))  # last, first
    assert "(AUC: 0.890 to 0.610)" in ends  # along the sweep
    arms = {"sweep": ("r = 0", "r = 1", "r = 2")}
    swept = Measured(claim(kind="monotone", arms=arms), record("reproduced", 0.25, 0.28, 0.31))
    assert "from *r = 0* to *r = 2* the score falls by" in sentence(swept)
    one = Measured(claim(kind="monotone", arms={"sweep": "SALM"}), swept.record)
    assert "along the sweep of *SALM* the score falls by" in sentence(one)


def test_an_arm_that_has_not_learned_gives_no_result() -> None:
    untested = Measured(claim(), record("not tested", 0.2, 0.3, 0.4, not_learned=["SALM", "EM"]))
    text = sentence(untested)
    assert "SALM and EM have not learned" in text and "nothing follows for" in text
    assert "0.3" not in text
    assert "needs the profile laptop" in sentence(Measured(claim(), record("not tested", 0, 0, 0)))
    why = "not tested (control salm-c1 failed)"
    guarded = sentence(Measured(claim(), record("not tested", 0.2, 0.3, 0.4, label=why)))
    assert "control salm-c1 failed, so the effect may" in guarded


def test_budget_data_and_source_are_said() -> None:
    words = record("reproduced", 0.25, 0.28, 0.31, at_budget=["EM"], data="phantom")
    text = sentence(Measured(claim(), words))
    assert text.endswith("[phantom] At this budget: EM was still improving when training ended.")
    assert "[" not in sentence(line("greater", "reproduced")).replace("[0.250, 0.310]", "")


def test_controls_say_what_they_guard_when_they_fail() -> None:
    assert sentence(HELD).startswith("**Control held** (salm-c1): ")
    assert "cannot count" not in sentence(HELD)
    failed = sentence(Measured(Control(), record("not reproduced", 0.1, 0.2, 0.3)))
    assert failed.startswith("**Control failed**")
    assert failed.endswith("So salm-1 cannot count as reproduced.")
    open_ = sentence(
        Measured(Control(("salm-1", "salm-2")), record("inconclusive", -0.1, 0.2, 0.3))
    )
    assert open_.startswith("**Control undecided**") and "cannot count" not in open_


def test_a_margin_of_nought_is_not_mentioned() -> None:
    assert "margin" not in sentence(NOUGHT) and "scores lower than" in sentence(NOUGHT)


def test_our_own_questions_are_marked() -> None:
    own = Measured(claim(source="ours"), GOOD.record)
    assert "(salm-1, our own question)" in sentence(own)
    assert "our own" not in sentence(GOOD)


def test_an_interval_without_ends_is_said() -> None:
    assert "[−∞, ∞]" in sentence(FREE)


def test_systems_have_lists_of_their_own_controls_last() -> None:
    other = Measured(claim("csim-1"), GOOD.record)
    text = findings.text([HELD, GOOD, other], {"salm": "SALM"})
    place = [
        text.index(part) for part in ("**SALM**", "(salm-1)", "(salm-c1)", "**csim**", "(csim-1)")
    ]
    assert place == sorted(place)
    assert text.count("\n- ") == 3


def test_a_session_shows_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        session, "chapter_claims", lambda _: {"salm-1": claim(), "salm-2": claim("salm-2")}
    )
    systems = [System("salm", "SALM: masks", (), 2024, {}, "trust", "demo")]
    monkeypatch.setattr(session, "load_systems", lambda: systems)
    run = session.Session("demo", "laptop", 0)
    run.claims["salm-1"] = GOOD.record | {"id": "salm-1"}  # the other one has no value yet
    shown: list = []
    for module in (effects, findings):
        monkeypatch.setattr(module, "display", shown.append)
    run.effects()
    run.findings()
    assert "Of 1 claim: 1 reproduced." in shown[0]._repr_html_() and "SALM</th>" in shown[0].html
    assert "salm-1: +0.280 [+0.250, +0.310], ✓ reproduced" in repr(shown[0])
    assert shown[1].data == findings.text([GOOD], {"salm": "SALM"})
