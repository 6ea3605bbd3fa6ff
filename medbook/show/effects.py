"""The figure of all effects: a strip for each claim, with its interval, margin and verdict."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from IPython.display import display
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from medbook.show.measured import MARKS, MINUS, OUTCOMES, Measured, by_system, counted
from medbook.show.plots import Card, jittered

WIDTH, HEIGHT, EDGE = 300, 38, 12  # of a strip, and the room beside what it shows, in pixels
BAR, DOTS = 14, 28  # how far from the top the interval and the seeds lie
MANY_MARGINS = 25  # a margin narrower than this part of the axis could not be seen
COLOURS = {  # dark on a light ground, as in the page's style sheet
    "reproduced": "#0b6b3a", "not reproduced": "#a13a00", "opposite": "#8a2468",
    "inconclusive": "#6a5700", "not tested": "#5c5c5c",
}  # fmt: skip
GROUND, INK, RULE, SEED, TICK, YES = "#fff", "#1a1a1a", "#7a7a7a", "#9a9a9a", "#e4e4e4", "#dcefe3"
STEPS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10000)  # ticks of an axis in margins
COLUMNS = ("claim", "effect, positive as claimed", "verdict")


def show(lines: Sequence[Measured], titles: Mapping[str, str]) -> None:
    """Display the effects of a chapter; nothing if it claims nothing.

    Args:
        lines: claims and controls, measured.
        titles: the title of each system by its slug.
    """
    if lines:
        display(Card(table(lines, titles), text(lines)))


def table(lines: Sequence[Measured], titles: Mapping[str, str], *, link: str = "") -> str:
    """The figure as a table of HTML; on a narrow screen its cells stand below each other.

    Args:
        lines: claims and controls, measured; those of a system share an axis.
        titles: the title of each system by its slug, where there is one.
        link: address of a claim, `{slug}` and `{id}` filled in; none if empty.
    """
    head = "".join(f'<th scope="col">{words}</th>' for words in COLUMNS)
    bodies = [_body(members, titles.get(slug, slug), link) for slug, members in by_system(lines)]
    return (
        f'<table class="medbook effects"><caption>{escape(caption(lines))}</caption>'
        f"<thead><tr>{head}</tr></thead>{''.join(bodies)}</table>"
    )


def caption(lines: Sequence[Measured]) -> str:
    """What the figure says, and how to read it."""
    claims, controls = ([x for x in lines if bool(x.guards) is kind] for kind in (False, True))
    said = f"Of {_many(claims, 'claim')}: {counted(claims)}."
    if controls:
        said += f" Of {_many(controls, 'control')}: {counted(controls, OUTCOMES)}."
    return (
        f"{said} Bar: 95 % interval of the effect; grey dots: seeds; grey line: no effect; dashed "
        "line: margin. An interval that lies within the green area reproduces the claim."
    )


def text(lines: Sequence[Measured]) -> str:
    """The figure for a terminal."""
    rows = [f"{x.claim.id}: {x.interval}, {_mark(x)}" for x in lines]
    return "\n".join([caption(lines), *rows])


def alt(line: Measured) -> str:
    """A strip in words."""
    return f"Effect {line.interval}, margin {line.margin}: {line.verdict}."


@dataclass(frozen=True)
class Axis:
    """The scale that the strips of one system share.

    Attributes:
        low, high: its ends, after `warp`.
        ticks: where it is labelled, before `warp`.
        in_margins: effects are divided by the margin of their claim, and far ones moved closer.
        unit: what it is labelled with.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    in_margins: bool
    unit: str

    @classmethod
    def of(cls, lines: Sequence[Measured]) -> "Axis":
        """In the unit of the metric if all share one and no margin is too narrow; else in margins.

        Every finite end of an interval and every seed lies on it.
        """
        units = {line.unit for line in lines}
        margins = [abs(line.claim.margin) for line in lines if line.claim.margin]
        shown = np.concatenate([_shown(line) for line in lines])
        span = float(np.ptp(shown))
        if len(units) == 1 and len(margins) == len(lines) and span <= MANY_MARGINS * min(margins):
            low, high = _padded(shown)
            places = MaxNLocator(5).tick_values(low, high)
            ticks = tuple(float(tick) for tick in places if low <= tick <= high)
            return cls(low, high, ticks, False, units.pop())
        shown = np.concatenate([_shown(line) / scale(line) for line in lines])
        low, high = _padded(np.arcsinh(shown))
        places = [0.0, *(sign * step for step in STEPS for sign in (-1, 1))]
        ticks = tuple(sorted(tick for tick in places if low <= math.asinh(tick) <= high))
        return cls(low, high, ticks, True, "margins")

    def place(self, value: ArrayLike, line: Measured) -> np.ndarray:
        """Pixels from the left of a strip; what is infinite lies on its edge."""
        values = np.asarray(value, dtype=float) / (scale(line) if self.in_margins else 1)
        return self.pixels(values)

    def pixels(self, values: ArrayLike) -> np.ndarray:
        """Pixels from the left, of numbers on this axis."""
        warped = np.arcsinh(values) if self.in_margins else np.asarray(values, dtype=float)
        inside = EDGE + (warped - self.low) / (self.high - self.low) * (WIDTH - 2 * EDGE)
        return np.clip(inside, 0, WIDTH)


def scale(line: Measured) -> float:
    """What is one on an axis in margins: the margin, or half the interval where it is 0."""
    half = (line.high - line.low) / 2
    return abs(line.claim.margin) or (half if math.isfinite(half) else 0) or abs(line.effect) or 1.0


def strip(line: Measured, axis: Axis) -> str:
    """Effect, interval, seeds and margin of one claim, as an SVG file."""
    svg = _canvas(HEIGHT)
    left, right = axis.place(line.region, line)
    _add(svg, "rect", x=left, y=3, width=right - left, height=HEIGHT - 6, fill=YES)
    for x in axis.pixels(axis.ticks):
        _upright(svg, float(x), TICK)
    for end, x in zip(line.region, (left, right), strict=True):
        if math.isfinite(end):
            _upright(svg, x, COLOURS["reproduced"], stroke_dasharray="4 3")
    _upright(svg, float(axis.place(0, line)), RULE)
    seeds = axis.place(line.record.get("effects", ()), line)
    for x, shift in zip(seeds, jittered(seeds, near=4), strict=True):
        _add(svg, "circle", cx=x, cy=DOTS + 4 * shift, r=2.2, fill=SEED)
    _interval(svg, line, axis)
    return ElementTree.tostring(svg, encoding="unicode")


def ruler(axis: Axis) -> str:
    """The axis below the strips of a system, as an SVG file."""
    svg = _canvas(22)
    _add(svg, "path", d=f"M0 1H{WIDTH}", stroke=RULE)
    for tick, x in zip(axis.ticks, axis.pixels(axis.ticks), strict=True):
        _add(svg, "path", d=f"M{x:.1f} 1v4", stroke=RULE)
        label = _add(svg, "text", x=x, y=17, fill=INK, font_size=11, font_family="sans-serif")
        label.set("text-anchor", "middle")
        label.text = f"{tick:g}".replace("-", MINUS)
    return ElementTree.tostring(svg, encoding="unicode")


def _body(lines: Sequence[Measured], title: str, link: str) -> str:
    axis = Axis.of(lines)
    rows = "".join(_row(line, axis, link) for line in lines)
    return (
        f'<tbody><tr><th scope="rowgroup" colspan="3">{escape(title)}</th></tr>{rows}'
        f'<tr class="axis"><td></td><td>{_picture(ruler(axis), _axis_words(lines, axis))}'
        f"<br/>{escape(_axis_words(lines, axis))}</td><td></td></tr></tbody>"
    )


def _axis_words(lines: Sequence[Measured], axis: Axis) -> str:
    if not axis.in_margins:
        return f"Axis: effect{f' in {axis.unit}' if axis.unit else ''}."
    words = "Axis: effect in margins of its own claim; far effects are moved closer."
    if all(line.claim.margin for line in lines):
        return words
    return f"{words} Where the margin is 0, one is half the length of the interval."


def _row(line: Measured, axis: Axis, link: str) -> str:
    id, slug = line.claim.id, line.slug
    name = escape(id)
    if link:
        name = f'<a href="{escape(link.format(slug=slug, id=id))}">{name}</a>'
    kind = "control: " if line.guards else ""
    return (
        f"<tr><td><strong>{name}</strong> {kind}{escape(line.claim.statement)}{_both(line)}</td>"
        f"<td>{_picture(strip(line, axis), alt(line))}<br/>{escape(line.interval)}</td>"
        f"<td>{_framed(line)}{_remark(line)}</td></tr>"
    )


def _both(line: Measured) -> str:
    """The absolute scores of both arms."""
    if not line.scores:
        return ""
    parts = (
        f"{escape(name)} {line.number(score)}"
        for name, score in zip(line.names, line.scores, strict=True)
    )
    return f"<br/><small>{', '.join(parts)}</small>"


def _mark(line: Measured) -> str:
    return f"{MARKS[line.verdict]} {line.verdict}"


def _framed(line: Measured) -> str:
    kind = line.verdict.replace(" ", "-")
    return f'<span class="verdict {kind}">{_mark(line)}</span>'


def _remark(line: Measured) -> str:
    """What stands beside the verdict: what limits it, and the kind of data."""
    kind = str(line.record.get("data", "real"))
    said = "; ".join(filter(None, [line.remark, "" if kind in ("real", "none") else kind]))
    return f"<br/><small>{escape(said)}</small>" if said else ""


def _many(lines: Sequence[Measured], what: str) -> str:
    return f"{len(lines)} {what}{'' if len(lines) == 1 else 's'}"


def _shown(line: Measured) -> np.ndarray:
    """Everything finite that a strip shows, zero and the margin included."""
    ends = [line.low, line.high, line.effect, 0.0, *line.region, *line.record.get("effects", ())]
    found = np.asarray(ends, dtype=float)
    return found[np.isfinite(found)]


def _padded(values: np.ndarray) -> tuple[float, float]:
    room = 0.03 * (float(np.ptp(values)) or 1.0)
    return float(values.min()) - room, float(values.max()) + room


def _interval(svg: Element, line: Measured, axis: Axis) -> None:
    """The interval as a bar, with an arrow where nothing bounds it, and the effect."""
    colour, hollow = COLOURS[line.verdict], line.verdict in ("inconclusive", "not tested")
    low, effect, high = axis.place([line.low, line.effect, line.high], line)
    _add(svg, "path", d=f"M{low:.1f} {BAR}H{high:.1f}", stroke=colour, stroke_width=3)
    for end, x, inward in ((line.low, low, 7), (line.high, high, -7)):
        arrow = f"M{x:.1f} {BAR}l{inward} -5v10z"
        shape = f"M{x:.1f} {BAR - 5}v10" if math.isfinite(end) else arrow
        _add(svg, "path", d=shape, fill=colour, stroke=colour)
    dot = _add(svg, "circle", cx=effect, cy=BAR, r=4.5, stroke=colour, stroke_width=2)
    dot.set("fill", GROUND if hollow else colour)


def _canvas(height: int) -> Element:
    """An empty strip, on a ground that is light in both themes."""
    box = f"0 0 {WIDTH} {height}"
    svg = Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=box)
    svg.attrib |= {"width": f"{WIDTH}", "height": f"{height}"}
    _add(svg, "rect", width=WIDTH, height=height, fill=GROUND)
    return svg


def _upright(svg: Element, x: float, colour: str, **more: str) -> None:
    _add(svg, "path", d=f"M{x:.1f} 3V{HEIGHT - 3}", stroke=colour, **more)


def _add(svg: Element, tag: str, **attributes: str | float) -> Element:
    """An element, its attributes written with underscores; lengths are tenths of a pixel."""
    texts = {
        name.replace("_", "-"): value if isinstance(value, str) else f"{value:.1f}"
        for name, value in attributes.items()
    }
    return SubElement(svg, tag, texts)


def _picture(svg: str, words: str) -> str:
    code = base64.b64encode(svg.encode()).decode()
    return f'<img class="dark-light" alt="{escape(words)}" src="data:image/svg+xml;base64,{code}"/>'
