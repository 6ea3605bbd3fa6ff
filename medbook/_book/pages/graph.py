"""The picture of which chapter builds on which: an SVG that takes its colours from the page."""

import textwrap
from collections import defaultdict
from collections.abc import Collection, Mapping
from itertools import groupby
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from medbook._book.markdown import title
from medbook._book.pages.courses import Curriculum, Topic

BOX, GAP = (152, 36), (44, 10)  # width and height of a box, and the space beside and below it
NAME = 28  # height of the name of a part, above its boxes
LETTERS = 19  # in a line of a box
EDGE = 2  # half of the thickest line must fit beside the outermost box
_STEP = BOX[0] + GAP[0], BOX[1] + GAP[1]
INK, GROUND = "currentColor", "var(--pst-color-background, Canvas)"
Place = tuple[int, int]
Places = dict[str, Place]  # chapter -> left and top of its box


def draw(curriculum: Curriculum, links: Mapping[str, str]) -> str:
    """The graph as one line of SVG: a lane for each part, prerequisites to the left.

    Args:
        curriculum: the chapters and what each builds on.
        links: the address of each finished chapter.
    """
    places, lanes, size = _layout(curriculum)
    svg = _canvas(size, _description(curriculum, links))
    for part, top in lanes.items():
        _text(svg, 0, top - 10, title(part), weight="bold")
    for topic in curriculum.topics.values():
        for before in topic.after:
            _arrow(svg, places[before], places[topic.id])
    for topic in curriculum.topics.values():
        _box(svg, topic, places[topic.id], links.get(topic.id))
    return ElementTree.tostring(svg, encoding="unicode")


def _layout(curriculum: Curriculum) -> tuple[Places, dict[str, int], Place]:
    """Where the boxes and the lanes begin, and the size of the whole."""
    depth, places, lanes, top = curriculum.depth(), {}, {}, 0
    for part, members in groupby(curriculum.topics.values(), key=lambda topic: topic.part):
        lanes[part] = top = top + NAME
        rows: dict[int, int] = defaultdict(int)  # boxes so far in each column of the lane
        for topic in members:
            column = depth[topic.id]
            places[topic.id] = EDGE + column * _STEP[0], top + rows[column] * _STEP[1]
            rows[column] += 1
        top += max(rows.values()) * _STEP[1]
    width = 2 * EDGE + max(depth.values(), default=0) * _STEP[0] + BOX[0]
    return places, lanes, (width, top)


def _description(curriculum: Curriculum, finished: Collection[str]) -> str:
    topics = curriculum.topics
    first = sum(not topic.after for topic in topics.values())
    done = ", ".join(topics[id].title for id in topics if id in finished) or "none"
    return (
        f"{len(topics)} boxes, one for each chapter, in a row for each part of the book. An arrow "
        "leads from a chapter to one that builds on it, from left to right. "
        f"{first} chapters build on no other. Finished: {done}; the others are planned. "
        "The table below the picture says the same."
    )


def _canvas(size: Place, description: str) -> Element:
    width, height = size
    svg = Element("svg", {
        "xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}",
        "width": f"{width}", "height": f"{height}", "role": "img", "fill": INK,
        "aria-labelledby": "graph-title graph-description", "font-size": "12",
        "font-family": "inherit", "style": "display:block;max-width:none",
    })  # fmt: skip
    SubElement(svg, "title", id="graph-title").text = "Which chapter builds on which"
    SubElement(svg, "desc", id="graph-description").text = description
    head = SubElement(SubElement(svg, "defs"), "marker", {
        "id": "graph-arrow", "viewBox": "0 0 8 8", "refX": "8", "refY": "4",
        "markerWidth": "7", "markerHeight": "7", "orient": "auto",
    })  # fmt: skip
    SubElement(head, "path", d="M0 0L8 4L0 8z")
    return svg


def _arrow(svg: Element, start: Place, end: Place) -> None:
    """From the right of one box to the left of another; past boxes between them, not behind."""
    (x, y), (to_x, to_y) = (
        (start[0] + BOX[0], start[1] + BOX[1] // 2),
        (end[0], end[1] + BOX[1] // 2),
    )
    path = f"M{x} {y}"
    if to_x - x > GAP[0]:  # columns are skipped: along the free line above the row of the target
        free = end[1] - GAP[1] // 2
        path += _curve((x, y), (x + GAP[0], free)) + f"H{to_x - GAP[0] // 2}"
        x, y = to_x - GAP[0] // 2, free
    SubElement(svg, "path", {
        "d": path + _curve((x, y), (to_x, to_y)), "fill": "none", "stroke": INK,
        "stroke-opacity": "0.6", "marker-end": "url(#graph-arrow)",
    })  # fmt: skip


def _curve(start: Place, end: Place) -> str:
    """A curve that leaves and arrives level."""
    bend = (end[0] - start[0]) * 4 // 5
    return f"C{start[0] + bend} {start[1]} {end[0] - bend} {end[1]} {end[0]} {end[1]}"


def _box(svg: Element, topic: Topic, place: Place, link: str | None) -> None:
    """A chapter: a link with a thick line if it is finished, dashed if it is planned."""
    # The picture is one image to a screen reader; the table below it holds the links for the keys.
    parent = SubElement(svg, "a", href=link, tabindex="-1") if link else svg
    line = {"stroke-width": "3"} if link else {"stroke-dasharray": "4 3", "stroke-opacity": "0.7"}
    (x, y), (width, height) = place, BOX
    SubElement(parent, "rect", {
        "x": f"{x}", "y": f"{y}", "width": f"{width}", "height": f"{height}", "rx": "5",
        "fill": GROUND, "stroke": INK, **line,
    })  # fmt: skip
    lines = textwrap.wrap(topic.title, LETTERS, break_on_hyphens=False)
    for number, words in enumerate(lines):
        middle = y + height / 2 + 4.5 + 14 * (number - (len(lines) - 1) / 2)
        weight = "bold" if link else "normal"
        _text(parent, x + width / 2, middle, words, anchor="middle", weight=weight)


def _text(
    parent: Element, x: float, y: float, words: str, *, anchor: str = "start", weight: str
) -> None:
    place = {"x": f"{x}", "y": f"{y}", "text-anchor": anchor, "font-weight": weight}
    SubElement(parent, "text", place).text = words
