import io
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from book_fixtures import HEAD
from rich.console import Console

from medbook._book import site
from medbook._book.project import Project
from medbook.errors import MedbookError

ROOT = Path(__file__).parents[1]
TOC = """\
format: jb-book
root: book/intro
parts:
  - caption: Trust
    chapters:
      - file: book/notebooks/filters
  - caption: Check it
    chapters:
      - file: book/scoreboard
      - file: book/status
      - file: book/references
      - file: book/verify
      - file: book/scale
"""


@pytest.fixture
def book(tmp_path):
    """A book with the site's real configuration, one page and one executed notebook."""
    for folder in ("chapters/trust", "book/results", "book/notebooks", "ci"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copytree(ROOT / "book/_static", tmp_path / "book/_static")
    (tmp_path / "_toc.yml").write_text(TOC)
    (tmp_path / "ci/lock.txt").write_text("")
    (tmp_path / "book/systems.yml").write_text(
        "- {slug: one, title: One, authors: [A], year: 2024, links: {}, part: trust, "
        "chapter: filters}\n"
    )
    (tmp_path / "book/references.bib").write_text(
        "@misc{one, author = {A}, title = {One}, year = {2024}}"
    )
    (tmp_path / "book/intro.md").write_text("# Intro\n\nA formula $x^2$, [one](#one).\n")
    for page in ("verify", "scale"):  # the scoreboard leads to them
        (tmp_path / f"book/{page}.md").write_text(f"# {page}\n")
    (tmp_path / "chapters/trust/filters.py").write_text(HEAD.format(title="Filters", systems="one"))
    write_notebook(tmp_path)
    return Project(tmp_path)


def write_notebook(root):
    v4 = nbformat.v4
    code = v4.new_code_cell("1 / 0  # not executed at build", execution_count=1, id="a")
    html = '<figure class="medbook"><img alt="A dot." src="data:,"></figure>'
    code.outputs = [
        v4.new_output("display_data", {"text/html": html, "text/plain": "A dot."}),
        v4.new_output("display_data", {"text/markdown": "| a | b |\n|---|---|\n| 1 | $y$ |"}),
    ]
    cells = [v4.new_markdown_cell("# Filters", id="t"), code]
    notebook = v4.new_notebook(cells=cells)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, root / "book/notebooks/filters.ipynb")


@pytest.mark.slow
def test_the_site_is_rendered_once_and_again_after_a_change(book):
    said = io.StringIO()
    first = site.build(book, Console(file=said))
    html = book.build / "html"
    assert first == html / "index.html" and "url=book/intro.html" in first.read_text()
    page = (html / "book/notebooks/filters.html").read_text()
    assert '<figure class="medbook"' in page and "ZeroDivisionError" not in page
    assert "<th" in page and "<td" in page  # the Markdown output became a table
    assert 'src="../_static/mathjax/tex-chtml-full.js"' in (html / "book/intro.html").read_text()
    assert (html / "_static/mathjax/tex-chtml-full.js").stat().st_size > 10**6
    assert list((html / "_static/mathjax/output").rglob("*.woff"))
    assert "planned" in (html / "book/scoreboard.html").read_text()
    for rendered in html.rglob("book/**/*.html"):
        assert "https://cdn" not in rendered.read_text()

    before = first.stat().st_mtime_ns
    assert site.build(book, Console(file=said)).stat().st_mtime_ns == before
    assert said.getvalue().count("rendering") == 1

    intro = book.root / "book/intro.md"
    intro.write_text(intro.read_text() + "\n[gone](gone.md)\n")
    for _ in range(2):  # the second time, too: nothing of a failed build is kept
        with pytest.raises(MedbookError, match=r"\nbook/intro\.md:5: WARNING.*gone\.md"):
            site.build(book, Console(file=said))
    assert first.exists()  # the last good site stays

    intro.write_text("# Changed\n")
    site.build(book, Console(file=said))
    assert "Changed" in (html / "book/intro.html").read_text()


def test_a_listed_page_without_a_source_is_named(book):
    (book.notebooks / "filters.ipynb").unlink()
    with pytest.raises(MedbookError, match=r"no source: book/notebooks/filters \(notebooks: run"):
        site.build(book, Console(file=io.StringIO()))
    assert not (book.build / "html").exists()


def test_a_page_that_was_not_built_is_named(book, monkeypatch):
    def render(project, source):
        (source.parent / "pages").mkdir()
        return source.parent / "pages"

    monkeypatch.setattr(site, "_render", render)
    with pytest.raises(MedbookError, match=r"was not built: book/intro, book/notebooks/filters"):
        site.build(book, Console(file=io.StringIO()))


def test_two_calls_at_once_take_turns_and_both_succeed(book, monkeypatch):
    pages = ("book/intro", "book/notebooks/filters", "book/scoreboard", "book/status")
    pages += ("book/references", "book/verify", "book/scale")
    inside = []

    def render(project, source):
        inside.append("in")
        assert inside.count("in") == 1 + inside.count("out"), "two at once"
        time.sleep(0.3)
        for page in pages:
            (source.parent / f"pages/{page}.html").parent.mkdir(parents=True, exist_ok=True)
            (source.parent / f"pages/{page}.html").write_text("")
        inside.append("out")
        return source.parent / "pages"

    monkeypatch.setattr(site, "_render", render)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(site.build, book, Console(file=io.StringIO())) for _ in range(2)]
    assert {call.result() for call in calls} == {book.build / "html/index.html"}
    assert inside == ["in", "out"]  # the second finds nothing left to do


@pytest.mark.parametrize("found", ["2.0.0", "2.1.0b1", "10.0"])
def test_a_newer_jupyter_book_is_refused(monkeypatch, found):
    monkeypatch.setattr(site, "version", lambda tool: found)
    with pytest.raises(MedbookError, match=rf"jupyter-book {found} .* 'jupyter-book>=1.0.4,<2'"):
        site.tool_versions()


def test_a_missing_tool_is_named(monkeypatch):
    def version(tool):
        raise site.PackageNotFoundError(tool)

    monkeypatch.setattr(site, "version", version)
    with pytest.raises(MedbookError, match="jupyter-book is not installed"):
        site.tool_versions()


def test_staged_holds_pages_and_nothing_of_the_sources(book):
    (book.root / "book/notes.py").write_text("x = 1")
    (book.root / "book/status.md").write_text("written by hand")
    files = site.staged(book)
    assert {"_config.yml", "_toc.yml", "book/intro.md", "book/notebooks/filters.ipynb"} <= {*files}
    assert files["book/status.md"].startswith(b"# Status")
    assert not [name for name in files if name.endswith((".py", ".bib")) or "chapters" in name]


def test_stage_removes_what_is_gone_and_keeps_what_is_the_same(tmp_path):
    site.stage({"a/x": b"1", "y": b"2"}, tmp_path)
    before = (tmp_path / "y").stat().st_mtime_ns
    site.stage({"y": b"2", "z": b"3"}, tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["y", "z"]
    assert (tmp_path / "y").stat().st_mtime_ns == before


def test_fingerprint_tells_name_content_and_version_apart():
    versions = {"sphinx": "7"}
    prints = [
        site.fingerprint({"a": b"bc"}, versions),
        site.fingerprint({"ab": b"c"}, versions),
        site.fingerprint({"a": b"bd"}, versions),
        site.fingerprint({"a": b"bc"}, {"sphinx": "8"}),
        site.fingerprint({"a": b"bc", "d": b""}, versions),
    ]
    assert len(set(prints)) == 5
    assert prints[0] == site.fingerprint({"a": b"bc"}, versions)


def test_complaints_are_short():
    log = "reading\na.md:1: WARNING: x\n\x1b[91ma.md:1: WARNING: x\nb.md:2: ERROR: y\x1b[0m\ndone"
    assert site.complaints(log) == "a.md:1: WARNING: x\nb.md:2: ERROR: y"
    assert site.complaints("\n".join(map(str, range(30)))).splitlines()[0] == "10"


def test_the_book_lists_only_pages_that_it_has():
    """Notebooks are there once they are published."""
    project = Project(ROOT)
    generated = {"book/scoreboard", "book/status", "book/references"}
    listed = site.entries((ROOT / "_toc.yml").read_bytes())
    pages = [e for e in listed if "notebooks" not in e and e not in generated]
    assert pages and all((ROOT / f"{page}.md").exists() for page in pages)
    chapters = {f"book/notebooks/{chapter.id}" for chapter in project.chapters()}
    assert {e for e in listed if "notebooks" in e} == chapters
