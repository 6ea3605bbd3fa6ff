"""What was found, in words: one sentence for each claim, chosen by its verdict."""

from collections.abc import Callable, Mapping, Sequence

from IPython.display import Markdown, display

from medbook.show.measured import OUTCOMES, Measured, by_system, joined

LEAD = (
    "A difference is positive where it speaks for the claim; brackets hold its 95 % interval, "
    "parentheses say what was measured."
)


def show(lines: Sequence[Measured], titles: Mapping[str, str]) -> None:
    """Display what was found; see `text`."""
    if lines:
        display(Markdown(text(lines, titles)))


def text(lines: Sequence[Measured], titles: Mapping[str, str]) -> str:
    """A list for each system as Markdown, a sentence for each claim, then one for each control.

    Args:
        lines: claims and controls, measured.
        titles: the title of each system by its slug; shown where there are several systems.
    """
    blocks = [LEAD]
    for slug, members in by_system(lines):
        blocks += [f"**{titles.get(slug, slug)}**"]
        blocks += ["\n".join(f"- {sentence(line)}" for line in members)]
    return "\n\n".join(blocks)


def sentence(line: Measured) -> str:
    """What was found of one claim or control."""
    verdict = f"**{_headline(line)}** ({line.claim.id}{_source(line)}): "
    return verdict + _said(line) + _kind(line) + _budget(line)


def _headline(line: Measured) -> str:
    if not line.guards:
        return line.verdict.capitalize()
    return f"Control {OUTCOMES[line.verdict]}"


def _source(line: Measured) -> str:
    return ", our own question" if getattr(line.claim, "source", "paper") == "ours" else ""


def _said(line: Measured) -> str:
    if line.verdict == "not tested":
        return _untested(line)
    say: Mapping[str, Callable[[Measured], str]] = {
        "greater": _greater, "noninferior": _noninferior, "equivalent": _equivalent,
        "monotone": _monotone,
    }  # fmt: skip
    said = say[line.claim.kind](line)
    if line.guards and line.verdict == "not reproduced":
        said += f" So {joined(line.guards)} cannot count as reproduced."
    return said


def _untested(line: Measured) -> str:
    """Why there is no result; the claim is quoted, since nothing is said of it."""
    quoted = f"“{line.claim.statement}”"
    if arms := line.record.get("not_learned"):
        verb = "have" if len(arms) > 1 else "has"
        return (
            f"{joined(arms)} {verb} not learned, not every seed is clearly better than the floor, "
            f"so nothing follows for {quoted}"
        )
    if line.remark.startswith("control"):
        return f"{line.remark}, so the effect may have another cause than {quoted} says"
    return f"this needs the profile {line.claim.profile}: {quoted}"


def _greater(line: Measured) -> str:
    """Ours is better than the baseline by more than the margin."""
    ours, baseline = line.names
    higher, lower = _directions(line)
    fact, size = f"*{ours}* scores {higher} than *{baseline}*", _size(line)
    above = f" by more than the margin of {line.margin}" if line.claim.margin else ""
    beyond = f", more than the margin of {line.margin}" if line.claim.margin else ""
    small = f"{fact} by {size}, but less than the margin of {line.margin}"
    if line.low <= 0:
        small = (
            f"*{ours}* does not score {higher} than *{baseline}* by as much as the margin of "
            f"{line.margin}; the difference is {size}"
        )
    return {
        "reproduced": f"{fact} by {size}{beyond}{_where(line)}.",
        "not reproduced": f"{small}{_where(line)}.",
        "opposite": f"*{ours}* scores {lower} than *{baseline}*, against the claim, by "
        f"{_size(line, -1)}{_where(line)}.",
        "inconclusive": f"whether {fact}{above} is open; the difference is {size}"
        f"{_where(line)}, and {_more(line)}.",
    }[line.verdict]


def _noninferior(line: Measured) -> str:
    """Ours is worse than the baseline by less than the margin, if at all."""
    ours, baseline = line.names
    _, lower = _directions(line)
    worse = f"*{ours}* scores {lower} than *{baseline}* by more than the margin of {line.margin}"
    return {
        "reproduced": f"*{ours}* does not score {lower} than *{baseline}* by as much as the margin "
        f"of {line.margin}; the difference is {_size(line)}{_where(line)}.",
        "not reproduced": f"{worse}, by {_size(line, -1)}{_where(line)}.",
        "inconclusive": f"whether {worse} is open; the difference is {_size(line)}{_where(line)}, "
        f"and {_more(line)}.",
    }[line.verdict]


def _equivalent(line: Measured) -> str:
    """The two differ by less than the margin."""
    pair = " and ".join(f"*{name}*" for name in line.names)
    within = f"{pair} agree within the margin of {line.margin}"
    size = f"the difference is {_size(line)}{_where(line)}"
    return {
        "reproduced": f"{within}; {size}.",
        "not reproduced": f"{pair} differ by more than the margin of {line.margin}; {size}.",
        "inconclusive": f"whether {within} is open; {size}, and {_more(line)}.",
    }[line.verdict]


def _monotone(line: Measured) -> str:
    """A sweep changes as claimed from its first to its last point, and no step runs back."""
    way, back = ("rises", "falls") if line.claim.better == "higher" else ("falls", "rises")
    last, first = line.names
    places = f"along the sweep of *{last}*" if last == first else f"from *{first}* to *{last}*"
    sweep, margin = f"{places} the score", f"the margin of {line.margin}"
    fact = f"{sweep} {way} by {_size(line)}"
    little = f"{fact}, less than {margin}"
    if line.high >= line.claim.margin:
        little = f"{fact}, but a step on the way runs back by more than {margin}"
    return {
        "reproduced": f"{fact}, more than {margin}, and no step runs back{_where(line)}.",
        "not reproduced": f"{little}{_where(line)}.",
        "opposite": f"{sweep} {back}, against the claim, by {_size(line, -1)}{_where(line)}.",
        "inconclusive": f"whether {sweep} {way} by more than {margin} is open; the change is "
        f"{_size(line)}{_where(line)}, and {_more(line)}.",
    }[line.verdict]


def _directions(line: Measured) -> tuple[str, str]:
    """How ours should score, and the other way."""
    return ("higher", "lower") if line.claim.better == "higher" else ("lower", "higher")


def _where(line: Measured) -> str:
    """The metric, and what both arms score; of a sweep its first and its last point."""
    if not line.scores:
        return f" ({line.claim.metric})"
    ours, theirs = (line.number(score) for score in line.scores)
    pair = f"{theirs} to {ours}" if line.claim.kind == "monotone" else f"{ours} against {theirs}"
    return f" ({line.claim.metric}: {pair})"


def _size(line: Measured, sign: int = 1) -> str:
    """The effect and its interval; with sign -1 seen from the other side."""
    low, high = (line.low, line.high) if sign > 0 else (-line.high, -line.low)
    return f"{line.number(sign * line.effect)} [{line.bare(low)}, {line.bare(high)}]"


def _more(line: Measured) -> str:
    """Whether more seeds would close what stays open."""
    n = line.record.get("seeds_needed")
    return f"about {n} seeds would decide" if n else "more seeds alone would not decide"


def _kind(line: Measured) -> str:
    kind = line.record.get("data", "real")
    return "" if kind in ("real", "none") else f" [{kind}]"


def _budget(line: Measured) -> str:
    arms = line.record.get("at_budget")
    if not arms or line.verdict == "not tested":
        return ""
    were = "were" if len(arms) > 1 else "was"
    return f" At this budget: {joined(arms)} {were} still improving when training ended."
