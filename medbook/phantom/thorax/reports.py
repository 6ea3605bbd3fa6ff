"""Reports whose every sentence follows from the findings, and says of which it speaks."""

from dataclasses import dataclass
from operator import itemgetter

import torch

from medbook.errors import MedbookError
from medbook.phantom.thorax import phrases
from medbook.phantom.thorax.findings import (
    DEVICES,
    GROWTH,
    KINDS,
    NAMES,
    SLOTS,
    Findings,
    slots,
)
from medbook.phantom.thorax.streams import Streams

HEDGES = 0.3  # probability of a hedge where a finding is small
MENTIONED = 0.5  # probability that what is absent is said to be absent


@dataclass(frozen=True)
class Sentence:
    """A sentence of a report, with what it says in numbers.

    Attributes:
        text: in English.
        kind: one of `KINDS`, or None: the sentence says that none of them is there.
        slot: column of the finding, -1 for a sentence that negates.
        present: whether it says that the finding is there.
        hedged: whether it says so with doubt.
        change: "new", "larger", "smaller", "unchanged", "resolved", or None if it names none.
    """

    text: str
    kind: str | None
    slot: int
    present: bool
    hedged: bool = False
    change: str | None = None


class _Choice:
    """Random choices for what a report says of one part."""

    def __init__(self, draw: Streams, part: str) -> None:
        self.draw = draw.of(f"{part}, words")

    def share(self) -> float:
        return self.draw.uniform(0, 1).item()

    def of(self, options: tuple[str, ...]) -> str:
        return options[int(self.share() * len(options))]


def write(
    found: Findings, generator: torch.Generator, before: Findings | None = None
) -> list[list[Sentence]]:
    """Write a report for each patient.

    Every finding is mentioned; some of what is absent is negated; a small finding may be hedged.
    With an earlier examination each finding is compared with its former size (a change of less
    than 18 % counts as none), and what is gone is said to have resolved.

    Args:
        found: of n patients.
        generator: its numbers choose words, order, hedges and negations.
        before: of the same patients in an earlier examination.

    Returns:
        n lists of sentences; `text` joins them.

    Raises:
        MedbookError: `before` is of other patients.

    >>> from medbook.phantom.thorax.streams import Streams
    >>> rng = torch.Generator().manual_seed(0)
    >>> one = Findings.draw(Streams.start(1, rng), dict.fromkeys(KINDS, 0.0) | {"needle": 1.0})
    >>> [s.present for s in write(one, rng)[0] if s.kind == "needle"]
    [True]
    """
    if before is not None and len(before) != len(found):
        raise MedbookError(f"{len(before)} earlier examinations of {len(found)} patients")
    seeds = Streams.start(len(found), generator).seeds
    return [
        _one(found, number, Streams(seeds[number : number + 1]), before)
        for number in range(len(found))
    ]


def text(sentences: list[Sentence]) -> str:
    """The report as one string.

    >>> text([Sentence("No mass.", "mass", -1, False), Sentence("Heart size is normal.", None, -1,
    ...       False)])
    'No mass. Heart size is normal.'
    """
    return " ".join(sentence.text for sentence in sentences)


def changes(before: Findings, after: Findings) -> list[list[str | None]]:
    """What became of each slot of each patient; None where nothing was or is.

    Returns:
        n lists of F: "new", "larger", "smaller", "unchanged", "resolved" or None.
    """
    ratio = (after.size / before.size).tolist()
    was, now = before.present.tolist(), after.present.tolist()
    return [
        [_change(*one) for one in zip(*patient, strict=True)]
        for patient in zip(was, now, ratio, strict=True)
    ]


def _change(was: bool, now: bool, ratio: float) -> str | None:
    if not was:
        return "new" if now else None
    if not now:
        return "resolved"
    return "larger" if ratio >= GROWTH else "smaller" if ratio <= 1 / GROWTH else "unchanged"


def _one(found: Findings, number: int, draw: Streams, before: Findings | None) -> list[Sentence]:
    """The report of one patient: each finding, and each kind that is absent, has its own words."""
    present = found.present[number].tolist()
    groups: list[tuple[float, list[Sentence]]] = []  # with a number that puts them in order
    change: list[str | None] = [None] * len(SLOTS)
    if before is not None:
        this = slice(number, number + 1)
        (change,) = changes(before[this], found[this])
    for slot, name in enumerate(NAMES):
        choice = _Choice(draw, name)
        if before is not None and change[slot] == "resolved":
            groups.append((choice.share(), [_resolved(before, number, slot, choice)]))
        elif present[slot]:
            groups.append((choice.share(), _finding(found, number, slot, choice, change[slot])))
    for kind in KINDS:
        choice = _Choice(draw, kind)
        if not any(present[slot] for slot in slots(kind)) and choice.share() < MENTIONED:
            groups.append((choice.share(), [_absent(kind, choice)]))
    choice = _Choice(draw, "clear")
    if not any(present) and (choice.share() < 0.5 or not groups):
        clear = Sentence(choice.of(phrases.CLEAR), None, -1, False)
        groups.append((choice.share(), [clear]))
    return [sentence for _, group in sorted(groups, key=itemgetter(0)) for sentence in group]


def _finding(
    found: Findings, number: int, slot: int, choice: _Choice, change: str | None
) -> list[Sentence]:
    """That a finding is there, and if asked for what became of it."""
    kind, small = SLOTS[slot], found.severity[number, slot] == 0
    hedged = kind in phrases.HEDGED and bool(small) and choice.share() < HEDGES
    options = (phrases.HEDGED if hedged else phrases.PRESENT)[kind]
    words = _words(found, number, slot)
    sentence = Sentence(choice.of(options).format(**words), kind, slot, True, hedged)
    if change is None:
        return [sentence]
    said = choice.of(phrases.CHANGE[change])
    return [sentence, Sentence(said, kind, slot, True, False, change)]


def _resolved(before: Findings, number: int, slot: int, choice: _Choice) -> Sentence:
    said = choice.of(phrases.RESOLVED[SLOTS[slot]]).format(**_words(before, number, slot))
    return Sentence(said, SLOTS[slot], slot, False, False, "resolved")


def _absent(kind: str, choice: _Choice) -> Sentence:
    return Sentence(choice.of(phrases.ABSENT[kind]), kind, -1, False)


def _words(found: Findings, number: int, slot: int) -> dict[str, str]:
    """What fills the gaps of a phrase."""
    kind = SLOTS[slot]
    side = phrases.SIDE[int(found.side[number, slot])]
    size = "" if kind in DEVICES else phrases.SIZE[kind][int(found.severity[number, slot])]
    article = "an" if size[:1] in "aeiou" and size else "a"
    return {
        "side": side, "Side": side.capitalize(), "size": size, "Size": size.capitalize(),
        "zone": phrases.ZONE[int(found.zone[number, slot])], "a": article,
        "A": article.capitalize(), "mm": f"{float(found.size[number, slot]):.0f}",
    }  # fmt: skip
