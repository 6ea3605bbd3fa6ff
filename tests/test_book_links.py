"""The pages that a site is made from lead to the repository of this checkout."""

import nbformat
import pytest
import yaml
from book_fixtures import Book

from medbook._book import site, status
from medbook._book.keys import code_cells
from medbook._book.notebooks import publish
from medbook._book.pages import links
from medbook._book.remote import Remote

pytestmark = pytest.mark.slow
UPSTREAM, FORK = "https://github.com/upstream/book", "git@github.com:fork/book.git"


@pytest.fixture
def upstream(published: Book) -> Book:
    """A book whose notebook was published where `origin` is upstream."""
    published.served_at(UPSTREAM)
    [chapter] = published.project.chapters()
    publish.publish(published.project, chapter, "laptop")
    return published


def become_fork(book: Book) -> None:
    book.edit(".git/config", UPSTREAM, FORK)


def staged(book: Book) -> tuple[dict, nbformat.NotebookNode]:
    """Configuration and notebook of the staged site."""
    (book.root / "book/references.bib").write_text("")
    files = site.staged(book.project)
    notebook = nbformat.reads(files["book/notebooks/clean.ipynb"].decode(), 4)
    return yaml.safe_load(files["_config.yml"]), notebook


def card_of(notebook: nbformat.NotebookNode) -> str:
    return next(cell.source for cell in notebook.cells if cell["id"] == "card")


def test_the_site_of_a_fork_leads_to_the_fork(upstream: Book) -> None:
    committed = (upstream.project.notebooks / "clean.ipynb").read_bytes()
    become_fork(upstream)
    config, notebook = staged(upstream)
    assert config["repository"] == {"url": "https://github.com/fork/book", "branch": "main"}
    assert config["html"]["use_repository_button"] and config["html"]["use_issues_button"]
    assert notebook.cells[0]["id"] == "install"
    assert "git+https://github.com/fork/book.git" in notebook.cells[0].source
    assert "github.com/fork/book/raw/main" in card_of(notebook)
    assert "upstream" not in nbformat.writes(notebook)
    assert (upstream.project.notebooks / "clean.ipynb").read_bytes() == committed


def test_colab_only_if_the_committed_notebook_installs_from_here(upstream: Book) -> None:
    assert "Open in Colab" in card_of(staged(upstream)[1])
    assert list(status._made_elsewhere(upstream.project)) == []
    become_fork(upstream)
    assert "Open in Colab" not in card_of(staged(upstream)[1])
    [(problem, cure)] = status._made_elsewhere(upstream.project)
    assert problem.startswith("book/notebooks/clean.ipynb installs medbook on Colab from")
    assert UPSTREAM in problem and "fork/book" in problem and cure == "medbook publish clean"
    publish.publish(upstream.project, upstream.project.chapters()[0], "laptop")
    assert "Open in Colab" in card_of(staged(upstream)[1])


def test_without_a_remote_there_are_no_buttons(published: Book) -> None:
    config, notebook = staged(published)
    assert config["repository"] == {"url": ""} and not config["html"]["use_issues_button"]
    assert config["title"] == "A book"
    assert "install" not in [cell["id"] for cell in notebook.cells]
    assert "**Run:**" not in card_of(notebook) and "**Verdicts**" in card_of(notebook)
    assert list(status._made_elsewhere(published.project)) == []


def test_the_theme_gets_no_host_that_it_does_not_know() -> None:
    config = yaml.safe_load(links.configuration(b"html: {x: 1}", Remote("a.org", "b/c", "main")))
    assert config["repository"]["url"] == "" and config["html"]["x"] == 1
    assert not config["html"]["use_repository_button"]
    config = yaml.safe_load(links.configuration(b"a: 1", Remote("gitlab.com", "b/c", "main")))
    assert config["repository"]["url"] == "https://gitlab.com/b/c"


def test_status_names_the_repository(published: Book) -> None:
    def row() -> str:
        table = status._machine(published.project)
        names, values = (list(column.cells) for column in table.columns)
        return str(values[names.index("repository")])

    assert row().startswith("none: no buttons")
    published.served_at(FORK)
    assert row() == "https://github.com/fork/book"


def test_the_site_shows_the_prose_of_today_without_a_run(published: Book) -> None:
    path = published.project.notebooks / "clean.ipynb"
    committed = path.read_bytes()
    published.edit("chapters/trust/clean.py", "# # Clean", "# # Clean\n# A sentence of today.")
    _, notebook = staged(published)
    assert "A sentence of today." in notebook.cells[0].source
    printed = [code_cells(n)[3].outputs for n in (notebook, nbformat.reads(committed, 4))]
    assert printed[0] == printed[1] != []
    assert path.read_bytes() == committed
    assert links.outlived(published.project) == []


def test_outputs_are_never_shown_under_code_that_did_not_make_them(published: Book) -> None:
    source = "chapters/trust/clean.py"
    published.edit(source, "# # Clean", "# # Clean\n# A sentence of today.")
    published.edit(source, "CANDIDATES = 41", "CANDIDATES = 42")
    _, notebook = staged(published)
    text = nbformat.writes(notebook)
    assert "A sentence of today." not in text and "CANDIDATES = 41" in text
    [note] = links.outlived(published.project)
    assert note.startswith("book/notebooks/clean.ipynb: shown as it was published, cell 3 is not")
