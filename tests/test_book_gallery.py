"""The gallery of the home page: which figure, which words, which chapters."""

import base64
import io

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image
from test_book_courses import book, finish  # noqa: F401  three chapters, none of them finished

from medbook._book import site
from medbook._book.pages import gallery
from medbook.show.plots import card


def figure(colour: tuple[int, int, int], alt: str, size: tuple[int, int] = (900, 700), **cell):
    """A cell that shows a figure of one colour."""
    drawn = io.BytesIO()
    Image.new("RGB", size, colour).save(drawn, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(drawn.getvalue()).decode()
    output = new_output("display_data", data={"text/html": card(uri, alt, "Caption.")})
    return new_code_cell("show()", outputs=[output], metadata=cell)


def publish(book, chapter, *cells):  # noqa: F811
    finish(book, chapter)
    nbformat.write(new_notebook(cells=list(cells)), book.project.notebook(chapter))


RED, BLUE = (200, 0, 0), (0, 0, 200)


@pytest.mark.parametrize(
    ("tags", "colour", "alt"), [([], RED, "A < B"), (["gallery"], BLUE, "Two")]
)
def test_the_first_figure_stands_for_a_chapter_unless_one_is_marked(book, tags, colour, alt):  # noqa: F811
    publish(book, "a", new_code_cell("1"), figure(RED, "A < B"), figure(BLUE, "Two", tags=tags))
    picture = gallery.picture_of(book.project, "a")
    assert picture.alt == alt
    shown = np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB"))
    assert shown.shape[:2] == (320, 480)  # 480 wide, the lower part cut off
    assert abs(shown.reshape(-1, 3) - np.array(colour)).max() <= 2


def test_a_chapter_without_a_figure_has_a_card_without_a_picture(book):  # noqa: F811
    publish(book, "a", new_code_cell("1"))
    assert gallery.pictures(book.project) == {}
    text = gallery.page(book.project)
    assert "<img" not in text and 'href="notebooks/a.html"' in text


def test_parts_show_what_is_finished_and_name_what_is_planned(book):  # noqa: F811
    book.edit("book/courses.yml", "chapters:\n", "parts: {few: How few?}\nchapters:\n")
    publish(book, "a", figure(RED, 'The "red" one.'))
    text = gallery.page(book.project)
    assert text.split("\n\n")[0] == "### Trust"
    assert text.split("\n\n")[-3:] == ["### Few", "How few?", "Planned: Third."]
    assert "Planned: Second." in text
    assert "<strong>First &amp; best</strong><span>Why?</span>" in text
    assert 'alt="The &quot;red&quot; one."' in text


def test_the_site_holds_the_pictures(book, monkeypatch):  # noqa: F811
    publish(book, "a", figure(RED, "Red."))
    monkeypatch.setattr(site.pages, "generated", lambda project: {})
    monkeypatch.setattr(site.links, "notebooks", lambda project, remote: {})
    (book.root / "_config.yml").write_text("title: x\n")
    (book.root / "_toc.yml").write_text("root: x\nchapters:\n  - file: book/notebooks/a\n")
    files = site.staged(book.project)
    assert files["book/_static/gallery/a.png"].startswith(b"\x89PNG")
