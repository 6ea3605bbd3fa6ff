"""Every relative link and picture of the Markdown files exists."""

import re
from functools import cache
from pathlib import Path

import pytest

from medbook._book import pages
from medbook._book.project import find_project

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("book/*.md")])
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


@cache
def made() -> set[Path]:
    """The pages that the site makes."""
    return {ROOT / name for name in pages.generated(find_project(ROOT))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    targets = [page.parent / target for target in LINK.findall(page.read_text(encoding="utf-8"))]
    missing = [t for t in targets if not t.exists() and t.resolve() not in made()]
    assert missing == []
    assert PAGES
