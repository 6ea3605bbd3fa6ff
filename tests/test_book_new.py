from pathlib import Path

import pytest
import yaml

from medbook import chapter as chapters
from medbook._book import lint
from medbook._book.notebooks import new
from medbook._book.project import Project
from medbook.errors import MedbookError

TOC = """\
# a comment
format: jb-book
root: book/intro
parts:
  - caption: Trust
    chapters:
      - file: book/notebooks/first
  - caption: Look it up
    chapters:
      - file: book/notation
"""
SYSTEMS = """\
- {slug: n-m, title: N of M, authors: [A], year: 2024, links: {}, part: trust,
   chapter: sparsity}
- {slug: other, title: Other, authors: [B], year: 2024, links: {paper: "https://example.org"},
   part: trust, chapter: sparsity}
- {slug: third, title: Third, authors: [C], year: 2024, links: {}, part: few_labels,
   chapter: clusters}
"""
CLAIMS = """\
n-m:
  claims:
  - {id: n-m-1, statement: It works., kind: greater, metric: m, better: higher, margin: 0, arms: {},
   data: x, profile: laptop, paper: not stated}
"""


@pytest.fixture
def book(tmp_path):
    (tmp_path / "chapters").mkdir()
    (tmp_path / "book/claims").mkdir(parents=True)
    (tmp_path / "book/claims/sparsity.yml").write_text(CLAIMS)
    (tmp_path / "_toc.yml").write_text(TOC)
    (tmp_path / "book/systems.yml").write_text(SYSTEMS)
    (tmp_path / "README.md").write_text("<!-- systems --><!-- /systems -->")
    return Project(tmp_path)


def files(book):
    toc = yaml.safe_load((book.root / "_toc.yml").read_text())
    return {p["caption"]: [c["file"] for c in p["chapters"]] for p in toc["parts"]}


def test_skeleton_breaks_only_rules_about_what_is_to_be_written(book):
    path = new.create(book, "trust", "sparsity")
    assert path == book.root / "chapters/trust/sparsity.py"
    problems = lint.check(book, book.select(["sparsity"]))
    here = [p for p in problems if p.startswith("chapters/")]
    lines = path.read_text().splitlines()
    assert [p for p in here if "TODO is left" not in p] == []
    assert len(here) == sum("TODO" in line for line in lines) > 10
    assert any("'n-m-1' gets no value" in p for p in problems)


def test_every_system_gets_a_section_and_a_definition(book, monkeypatch):
    path = new.create(book, "trust", "sparsity")
    text = path.read_text()
    assert text.index("# ## N of M") < text.index("# ## Other") < text.index("## The experiment")
    assert 'run.claim("n-m-1"' in text and "https://example.org" in text
    monkeypatch.setattr(chapters, "content_root", lambda: book.root)
    defined = chapters.load("sparsity")
    assert defined.n_m(1) == defined.other(1) == 1


@pytest.mark.slow
def test_skeleton_runs(book, monkeypatch, tmp_path):
    path = new.create(book, "few_labels", "clusters")
    monkeypatch.setenv("MEDBOOK_PROFILE", "smoke")
    monkeypatch.setenv("MEDBOOK_OUT", str(tmp_path / "out"))
    exec(compile(path.read_text(), str(path), "exec"), {"__name__": "skeleton"})
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["clusters.smoke.json"]


def test_contents_list_the_chapter_last_in_its_part(book):
    new.create(book, "trust", "sparsity")
    assert files(book) == {
        "Trust": ["book/notebooks/first", "book/notebooks/sparsity"],
        "Look it up": ["book/notation"],
    }
    assert (book.root / "_toc.yml").read_text().startswith("# a comment\nformat")


def test_a_new_part_comes_after_the_last_one_with_chapters(book):
    new.create(book, "few_labels", "clusters")
    assert list(files(book)) == ["Trust", "Few labels", "Look it up"]
    assert files(book)["Few labels"] == ["book/notebooks/clusters"]


@pytest.mark.parametrize(
    ("part", "chapter", "message"),
    [
        ("trust", "Sparsity", "small letters"),
        ("../trust", "sparsity", "small letters"),
        ("trust", "", "small letters"),
        ("few_labels", "sparsity", "puts n-m into part 'trust'"),
        ("trust", "unknown", "choose one of clusters, sparsity"),
    ],
)
def test_names_that_cannot_be_used(book, part, chapter, message):
    before = sorted(book.root.rglob("*"))
    with pytest.raises(MedbookError, match=message):
        new.create(book, part, chapter)
    assert sorted(book.root.rglob("*")) == before
    assert (book.root / "_toc.yml").read_text() == TOC


def test_an_existing_chapter_is_kept(book):
    path: Path = new.create(book, "trust", "sparsity")
    path.write_text("mine")
    with pytest.raises(MedbookError, match=r"already: chapters/trust/sparsity\.py"):
        new.create(book, "trust", "sparsity")
    assert path.read_text() == "mine"
