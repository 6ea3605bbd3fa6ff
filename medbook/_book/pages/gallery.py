"""The gallery of the home page: of each chapter a picture and its question, part by part."""

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape, unescape
from itertools import groupby

from nbformat import NotebookNode
from PIL import Image

from medbook._book.markdown import title
from medbook._book.pages import courses
from medbook._book.pages.courses import Topic
from medbook._book.pages.teaching import finished
from medbook._book.project import Project, read_notebook

MARK = "gallery"  # tag of the cell whose figure is shown; without it the first one of the chapter
SIZE = (480, 320)  # what a picture may have at most, in pixels
FIGURE = re.compile(r'<img[^>]* src="data:image/png;base64,([^"]+)"[^>]* alt="([^"]+)"')
FOLDER = "book/_static/gallery"


@dataclass(frozen=True)
class Picture:
    """A figure of a committed notebook, made small, and its text for readers who cannot see it."""

    png: bytes
    alt: str


def page(project: Project) -> str:
    """Cards of the finished chapters and a list of the planned ones, under a heading a part."""
    done = finished(project)
    plan = courses.load(project)
    blocks = []
    for part, members in groupby(plan.topics.values(), key=lambda topic: topic.part):
        planned, cards = [], []
        for topic in members:
            if topic.id in done:
                cards.append(_card(project, topic))
            else:
                planned.append(topic.title)
        blocks += [f"### {title(part)}", plan.parts.get(part, "")]
        blocks += [f'<div class="gallery">{"".join(cards)}</div>'] if cards else []
        blocks += [f"Planned: {'; '.join(planned)}."] if planned else []
    return "\n\n".join(filter(None, blocks))


def pictures(project: Project) -> dict[str, bytes]:
    """The files that the cards show: path in the checkout -> PNG."""
    found = ((id, picture_of(project, id)) for id in project.listed())
    return {f"{FOLDER}/{id}.png": picture.png for id, picture in found if picture}


def picture_of(project: Project, chapter: str) -> Picture | None:
    """The figure that stands for a chapter; none if its notebook shows none."""
    path = project.notebook(chapter)
    figures = list(_figures(read_notebook(path))) if path.exists() else []
    if not figures:
        return None
    marked = [figure for figure, is_marked in figures if is_marked]
    code, alt = (marked or [figures[0][0]])[0]
    return Picture(_small(base64.b64decode(code)), unescape(alt))


def _figures(notebook: NotebookNode) -> Iterator[tuple[tuple[str, str], bool]]:
    """Data and alternative text of each figure, and whether its cell is marked."""
    for cell in notebook.cells:
        marked = MARK in cell.metadata.get("tags", [])
        for output in cell.get("outputs", []):
            html = str(output.get("data", {}).get("text/html", ""))
            for figure in FIGURE.findall(html):
                yield figure, marked


def _card(project: Project, topic: Topic) -> str:
    picture, image = picture_of(project, topic.id), ""
    if picture:
        image = (
            f'<img class="dark-light" src="../_static/gallery/{topic.id}.png" '
            f'alt="{escape(picture.alt)}" loading="lazy"/>'
        )
    return (
        f'<a class="gallery-card" href="notebooks/{topic.id}.html">{image}'
        f"<strong>{escape(topic.title)}</strong><span>{escape(topic.question)}</span></a>"
    )


def _small(png: bytes) -> bytes:
    """The picture as it fits into a card, in 64 colours."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.thumbnail((SIZE[0], 10 * SIZE[1]), Image.Resampling.LANCZOS)
    image = image.crop((0, 0, image.width, min(image.height, SIZE[1])))
    small = io.BytesIO()
    image.quantize(64, Image.Quantize.MAXCOVERAGE).save(small, "PNG", optimize=True)
    return small.getvalue()
