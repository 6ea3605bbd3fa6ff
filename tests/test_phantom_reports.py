"""Reports: read by rules of their own, every sentence is true, and nothing is left out."""

import re
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from medbook.errors import MedbookError
from medbook.phantom.thorax import KINDS, PREVALENCE, SLOTS, Findings
from medbook.phantom.thorax.findings import RANGES, slots
from medbook.phantom.thorax.reports import HEDGES, changes, text, write
from medbook.phantom.thorax.streams import Streams

WORDS = {
    "nodule": r"nodules?\b", "mass": r"\bmass\b", "consolidation": r"consolidation",
    "effusion": r"effusion", "pneumothorax": r"pneumothorax",
    "cardiomegaly": r"\bheart\b|cardiac|cardiomegaly", "drain": r"chest (drain|tube)",
    "sponge": r"sponge", "needle": r"needle",
}  # fmt: skip
NEGATED = re.compile(r"\b(no|not|normal|clear|resolved|resolution|removed)\b", re.IGNORECASE)
SIZED = {
    "small": 0, "mild": 0, "medium-sized": 1, "moderate": 1, "large": 2, "extensive": 2,
    "severe": 2,
}  # fmt: skip
DOUBT = re.compile(r"possible|probable|may |suggest|borderline", re.IGNORECASE)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(n, seed=0, **prevalence):
    return Findings.draw(
        Streams.start(n, seeded(seed)), {**dict.fromkeys(KINDS, 0.4), **prevalence}
    )


def kinds_named(sentence):
    """Findings that a sentence speaks of, a lung mass not being a nodule."""
    return {kind for kind, word in WORDS.items() if re.search(word, sentence, re.IGNORECASE)}


def untruths(sentences, found, number):
    """What a report says that is not so, by its words alone."""
    wrong, present = [], found.present[number]
    for one in sentences:
        said, words = one.text, one.text.lower()
        if one.change in ("new", "larger", "smaller", "unchanged"):
            continue  # "it" is what the sentence before speaks of
        named, negated = kinds_named(said), bool(NEGATED.search(said))
        negated &= "no lung markings" not in words
        if one.kind is None:
            if not negated or present.any():
                wrong.append(said)
            continue
        if named != {one.kind} or negated == one.present:
            wrong.append(said)
            continue
        if negated:
            if one.change is None and found.has(one.kind)[number]:
                wrong.append(said)
            continue
        fits = [
            slot for slot in slots(one.kind) if present[slot] and agrees(words, found, number, slot)
        ]
        if one.slot not in fits:
            wrong.append(said)
    return wrong


def agrees(words, found, number, slot):
    """Whether side, zone, size and millimetres in a sentence are those of a finding."""
    side = {"right": -1, "left": 1}
    zone = {"lower": 0, "middle": 1, "upper": 2}
    given = (
        (side, found.side), (zone, found.zone), (SIZED, found.severity),
    )  # fmt: skip
    for table, column in given:
        for word, value in table.items():
            if re.search(rf"\b{word}\b", words) and column[number, slot] != value:
                return False
    mm = re.search(r"(\d+) mm", words)
    return mm is None or abs(int(mm[1]) - found.size[number, slot].item()) <= 0.5


@pytest.fixture(scope="module")
def cases():
    found = drawn(300)
    return found, write(found, seeded(1))


def test_every_sentence_is_true_and_every_finding_is_mentioned(cases):
    found, reports = cases
    for number, sentences in enumerate(reports):
        assert untruths(sentences, found, number) == [] and sentences
        told = sorted(s.slot for s in sentences if s.present)
        assert told == found.present[number].nonzero()[:, 0].tolist()
        assert len({s.kind for s in sentences if not s.present}) == sum(
            not s.present for s in sentences
        )


@pytest.mark.parametrize("column", ["side", "zone", "severity", "present", "size"])
def test_the_reader_notices_reports_of_other_patients(cases, column):
    found, reports = cases
    low, high = (torch.tensor([RANGES[k][i] for k in SLOTS]) for i in (0, 3))
    other = {
        "side": replace(found, side=-found.side),
        "zone": replace(found, zone=(found.zone + 1) % 3),
        "severity": replace(found, size=low + high - found.size),
        "present": replace(found, present=~found.present),
        "size": replace(found, size=(found.size + 2).clamp(max=high.expand_as(found.size))),
    }[column]
    wrong = sum(bool(untruths(report, other, n)) for n, report in enumerate(reports))
    assert wrong > 50


def test_all_phrases_are_used_and_nothing_is_left_to_fill_in(cases):
    _, reports = cases
    said = [s for report in reports for s in report]
    assert not any(re.search(r"[{}]|  | a [aeiou]", s.text) for s in said)
    assert all(s.text[0].isupper() and s.text.endswith(".") for s in said)
    for kind in KINDS:
        ways = {re.sub(r"\d+", "", s.text) for s in said if s.kind == kind and s.present}
        assert len(ways) >= 3
    assert len({text(report) for report in reports}) > 290


def test_doubt_is_said_of_small_findings_alone_and_not_of_all(cases):
    found, reports = cases
    said = [(n, s) for n, report in enumerate(reports) for s in report if s.present]
    hedged = [(n, s) for n, s in said if s.hedged]
    assert all(found.severity[n, s.slot] == 0 for n, s in hedged)
    assert all(bool(DOUBT.search(s.text)) == s.hedged for _, s in said)
    could = [
        s
        for n, s in said
        if found.severity[n, s.slot] == 0 and s.kind not in ("drain", "sponge", "needle")
    ]
    assert abs(len(hedged) / len(could) - HEDGES) < 0.1


def test_half_of_what_is_absent_is_negated(cases):
    found, reports = cases
    negated = sum(s.kind is not None and not s.present for report in reports for s in report)
    absent = (~found.labels()).sum().item()
    assert abs(negated / absent - 0.5) < 0.05


def test_the_healthy_are_said_to_be_healthy():
    found = drawn(40, **dict.fromkeys(KINDS, 0.0))
    for number, report in enumerate(write(found, seeded())):
        assert report and not any(s.present for s in report)
        assert untruths(report, found, number) == []


def test_changes_are_those_of_the_sizes():
    before, after = drawn(200), drawn(200, seed=5)
    told = write(after, seeded(2), before)
    what = changes(before, after)
    assert {one for row in what for one in row} == {
        None, "new", "larger", "smaller", "unchanged", "resolved",
    }  # fmt: skip
    for n, report in enumerate(told):
        assert untruths(report, after, n) == []
        for slot in range(len(SLOTS)):
            was, now = bool(before.present[n, slot]), bool(after.present[n, slot])
            ratio = (after.size[n, slot] / before.size[n, slot]).item()
            expected = (
                None if not was and not now else "new" if not was else "resolved" if not now
                else "larger" if ratio >= 1.18 else "smaller" if ratio <= 1 / 1.18 else "unchanged"
            )  # fmt: skip
            assert what[n][slot] == expected
            told_of = [s for s in report if s.slot == slot and s.change]
            assert [s.change for s in told_of] == ([expected] if expected else [])
            if expected == "resolved":
                assert agrees(told_of[0].text.lower(), before, n, slot)
    for report in told:
        for first, second in pairwise(report):
            if second.change in ("new", "larger", "smaller", "unchanged"):
                assert first.slot == second.slot and first.present  # "it" has something to refer to
    words = {"larger": r"increased|larger", "smaller": r"decreased|smaller",
             "new": r"new|not there before", "unchanged": r"unchanged|No change"}  # fmt: skip
    for report in told:
        for s in report:
            if s.change in words:
                assert re.search(words[s.change], s.text)


def test_the_generator_alone_decides():
    found, state = drawn(5), torch.get_rng_state()
    first, again, other = ([text(r) for r in write(found, seeded(s))] for s in (0, 0, 1))
    assert first == again and first != other and torch.equal(state, torch.get_rng_state())
    with pytest.raises(MedbookError, match="earlier"):
        write(found, seeded(), drawn(4))


def test_findings_are_as_frequent_as_told():
    found = Findings.draw(Streams.start(6000, seeded()), {"mass": torch.linspace(0, 1, 6000)})
    for kind in KINDS:
        wanted = 0.5 if kind == "mass" else PREVALENCE[kind]
        assert abs(found.has(kind).float().mean() - wanted) < 0.025
    early, late = found.has("mass")[:1000].float().mean(), found.has("mass")[-1000:].float().mean()
    assert early < 0.15 and late > 0.85
    assert torch.equal(found.labels()[:, KINDS.index("mass")], found.has("mass"))
    two = found.present[:, slots("effusion")].all(1)
    assert (found.side[two][:, slots("effusion")].sum(1) == 0).all() and two.any()
    assert found.without("mass", "needle").labels().sum(0)[[KINDS.index("mass"), 8]].tolist() == [
        0,
        0,
    ]


def test_bad_findings_are_refused():
    found = drawn(3)
    for bad in (
        {"side": 0 * found.side}, {"zone": found.zone + 3}, {"size": 1000 + found.size},
        {"place": found.place - 2}, {"present": found.present[:, :4]},
    ):  # fmt: skip
        with pytest.raises(MedbookError):
            replace(found, **bad)
    with pytest.raises(MedbookError, match="prevalence"):
        drawn(2, mass=1.5)
    with pytest.raises(MedbookError, match="no finding"):
        drawn(2, cat=0.5)
    with pytest.raises(MedbookError, match="nodule"):
        found.has("cat")
