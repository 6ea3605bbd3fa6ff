"""What the book puts around a chapter's own cells: install cell, card, citation, metadata."""

import re

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from medbook._book import keys
from medbook._book.notebooks.card import Links, card
from medbook._book.notebooks.cite import citation
from medbook._book.project import Chapter, Project
from medbook._book.remote import Remote
from medbook.record.results import Results

MADE = ("install", "card", "cite")  # ids of the cells that are not the chapter's own
METADATA = {
    "accelerator": "GPU",
    "colab": {"gpuType": "T4", "provenance": []},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# What Colab brings stays: pip fails rather than replace it, as replacing it takes minutes, asks
# for a restart and can break the GPU.
INSTALL = """\
import sys

if "google.colab" in sys.modules:
    from importlib.metadata import version

    kept = " ".join(f"{{name}}=={{version(name)}}" for name in ("torch", "numpy"))
    %pip install -q {{kept}} "medbook @ git+{url}.git\""""
INSTALLED_FROM = re.compile(r'git\+(https://\S+?)\.git"')


def bare(chapter: Chapter) -> NotebookNode:
    """A chapter's own cells without outputs, with the metadata that Jupyter and Colab need."""
    notebook = chapter.notebook()
    for cell in notebook.cells:
        cell.metadata.pop("lines_to_next_cell", None)
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def surround(
    notebook: NotebookNode,
    project: Project,
    chapter: Chapter,
    remote: Remote | None,
    links: Links,
    new: Results | None = None,
) -> None:
    """Put the cells around a chapter's own, in place of older ones.

    Args:
        notebook: the chapter's; changed in place.
        project: the checkout.
        chapter: which one.
        remote: where Colab installs medbook from; without one there is no install cell.
        links: of the card.
        new: results that are about to be stored, for the card.
    """
    add_card(notebook, remote, card(project, chapter, links, new))
    if text := citation(project, chapter, remote.url if remote else ""):
        notebook.cells.append(new_markdown_cell(text, id="cite", metadata={"tags": ["cite"]}))


def add_card(notebook: NotebookNode, remote: Remote | None, text: str) -> None:
    """Put the install cell first and a card under the title, and drop all that was made before."""
    cells = [cell for cell in notebook.cells if cell["id"] not in MADE]
    title = next((i for i, cell in enumerate(cells) if cell.cell_type == "markdown"), -1)
    cells.insert(title + 1, new_markdown_cell(text, id="card", metadata={"tags": ["card"]}))
    notebook.cells = [*([_install_cell(remote)] if remote else []), *cells]


def other_code(chapter: Chapter, notebook: NotebookNode) -> list[str]:
    """What of a published notebook's code is not the chapter's as it is now; comments aside."""
    cells, sources = keys.code_cells(notebook), keys.code_cells(chapter.notebook())
    found = []
    if len(cells) != len(sources):
        found.append(f"{len(cells)} code cells, the source has {len(sources)}")
    for number, (cell, source) in enumerate(zip(cells, sources, strict=False), 1):
        if keys.code_hash(cell.source) != keys.code_hash(source.source):
            found.append(f"cell {number} is not the source's ({keys.source_name(chapter)})")
        elif cell.metadata.get("tags", []) != source.metadata.get("tags", []):
            found.append(f"cell {number} has other tags than the source")
    return found


def installed_from(notebook: NotebookNode) -> str:
    """Address that a notebook's install cell installs medbook from; empty if it has none."""
    sources = (cell.source for cell in notebook.cells if cell["id"] == "install")
    found = INSTALLED_FROM.search(next(sources, ""))
    return found[1] if found else ""


def text_of(notebook: NotebookNode) -> str:
    """The file of a notebook, the same bytes for the same content."""
    return str(nbformat.writes(notebook, indent=1, sort_keys=True)) + "\n"


def _install_cell(remote: Remote) -> NotebookNode:
    """Installs medbook on Colab and does nothing elsewhere."""
    source = INSTALL.format(url=remote.url)
    return new_code_cell(source, id="install", metadata={"tags": ["install", "remove-cell"]})
