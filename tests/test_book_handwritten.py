"""Pages written by hand: their places are filled, all wanted pages are there."""

from pathlib import Path

import pytest
import yaml
from book_fixtures import Book

from medbook._book import site
from medbook._book.pages import handwritten
from medbook.errors import MedbookError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def book(tmp_path):
    return Book(tmp_path / "book")


def test_places_are_filled_and_the_rest_stays(book):
    bench = book.root / "ci/bench"
    bench.mkdir()
    (bench / "b.md").write_text("# Second\n\n```\n# not a heading\n```\n")
    (bench / "a.md").write_text("# First\n\n| x |\n|---|\n")
    (book.root / "book/speed.md").write_text("# Speed\n\n<!-- generated: benchmarks -->\n\nEnd.\n")
    (book.root / "CONTRIBUTING.md").write_text("# Come\n")
    pages = handwritten.filled(book.project)
    assert pages["CONTRIBUTING.md"] == "# Come\n"
    assert pages["book/speed.md"] == (
        "# Speed\n\n## First\n\n| x |\n|---|\n\n## Second\n\n```\n# not a heading\n```\n\nEnd.\n"
    )


def test_without_measurements_the_page_says_so(book):
    (book.root / "book/speed.md").write_text("<!-- generated: benchmarks -->")
    assert handwritten.filled(book.project)["book/speed.md"] == "No measurement is stored yet."


def test_an_unknown_place_is_named_with_its_line(book):
    (book.root / "book/x.md").write_text("# X\n\n<!-- generated: cats -->")
    with pytest.raises(MedbookError, match=r"book/x\.md:3: .*'cats'; accepted are .*benchmarks"):
        handwritten.filled(book.project)


def test_the_contents_list_every_page_that_a_reader_is_promised():
    listed = site.entries((ROOT / "_toc.yml").read_bytes())
    wanted = (
        "intro scoreboard status verify speed teach notation glossary data phantoms references use"
    )
    assert {f"book/{name}" for name in wanted.split()} | {"CONTRIBUTING"} <= set(listed)
    assert len(listed) == len(set(listed))
    by_hand = {f"book/{path.stem}" for path in (ROOT / "book").glob("*.md")}
    assert by_hand <= set(listed)  # no page is written and then forgotten


def test_parts_come_before_the_pages_around_them():
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    chapters = ["notebooks/" in part["chapters"][0]["file"] for part in parts]
    assert chapters == sorted(chapters, reverse=True)
