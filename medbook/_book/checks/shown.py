"""The committed notebook against its results: does it show what was measured, and nothing else?"""

import math
from collections.abc import Iterator
from typing import Any

from nbformat import NotebookNode

from medbook._book.keys import code_cells
from medbook._book.notebooks.card import card, notebook_links
from medbook._book.notebooks.digests import digests, kind_of
from medbook._book.notebooks.surroundings import other_code
from medbook._book.project import Chapter, Project, read_notebook
from medbook._book.runs.failure import title_of
from medbook._book.runs.plan import mark
from medbook._book.stored.findings import systems_of
from medbook._book.stored.state import judge
from medbook.errors import MedbookError
from medbook.record.claims import chapter_claims
from medbook.record.results import Results
from medbook.record.session import Session
from medbook.show import effects, findings
from medbook.show.measured import measured

PUBLISHED_AS = ("current", "checked by smoke")  # states in which today's code stands on old outputs
MEASURED = ("- **Data", "- **Measured", "- **Verdicts", "- ✓", "- ✗", "- ⇄", "- ?", "- –")


def other_notebook(project: Project, chapter: Chapter, stored: Results) -> Iterator[str]:
    """What of the committed notebook does not fit the stored results or the source.

    Nothing is executed: digests tell what was changed since the run, and what the stored numbers
    give (tables, figure of effects, findings, card) is made again.

    Returns:
        messages `book/notebooks/x.ipynb: cell 5 (draw(images)): ...`.
    """
    path = project.notebook(chapter.id)
    name = path.relative_to(project.root).as_posix()
    if not path.exists():
        yield f"{name}: missing: publish the chapter"
        return
    notebook = read_notebook(path)
    if notebook.metadata.get("medbook") != mark(stored):
        yield f"{name}: does not belong to the stored results: publish the chapter again"
    if not _has_card_of_stored(project, chapter, notebook):
        yield f"{name}: its card is not of the stored results: publish the chapter again"
    problems = [*other_code(chapter, notebook), *other_cells(project, chapter, notebook, stored)]
    problems += [*other_tables(notebook, stored), *other_findings(project, notebook, stored)]
    yield from (f"{name}: {problem}" for problem in problems)


def other_cells(
    project: Project, chapter: Chapter, notebook: NotebookNode, stored: Results
) -> Iterator[str]:
    """Cells whose code or outputs are not those of the run, by their digests."""
    then = stored.get("digests", {}).get("cells")
    if then is None:
        yield "its results hold no digests of cells: publish the chapter again"
        return
    cells, now = code_cells(notebook), digests(notebook)["cells"]
    if len(now) != len(then):
        yield f"{len(now)} code cells, the run had {len(then)}"
        return
    place = {shown: number for number, cell in enumerate(then, 1) for shown in cell["shows"]}
    for number, (cell, old, new) in enumerate(zip(cells, then, now, strict=True), 1):
        named = _named(number, cell)
        if old["code"] != new["code"] and not _only_defines(project, chapter, cell):
            yield f"{named}: other code than that which was run"
        if len(old["shows"]) != len(new["shows"]):
            yield f"{named}: shows {len(new['shows'])} outputs, in the run {len(old['shows'])}"
            continue
        for output, was, here in zip(cell.outputs, old["shows"], new["shows"], strict=True):
            if was != here:
                other = f": it is that of cell {place[here]}" if here in place else ""
                yield f"{named}: its {kind_of(output)} is not that of the run{other}"


def _only_defines(project: Project, chapter: Chapter, cell: NotebookNode) -> bool:
    """True for definitions that were changed later, where smoke or the states vouch for them."""
    if "define" not in cell.metadata.get("tags", []):
        return False
    return judge(project, chapter, "laptop").name in PUBLISHED_AS


def other_tables(notebook: NotebookNode, stored: Results) -> Iterator[str]:
    """Printed rows that the stored numbers do not give, and claims that no table shows."""
    run = restored(stored)
    claims = run.claims_table()._repr_html_()
    others = run.arms_table(), run.checks_table()
    made = dict(map(_parts, (claims, *(table._repr_html_() for table in others))))
    cells, shown = code_cells(notebook), set()
    for number, cell in enumerate(cells, 1):
        for output in cell.outputs:
            head, rows = _parts(_html(output))
            shown |= rows
            for row in sorted(rows - made.get(head, rows)):
                yield f"{_named(number, cell)}: row {_first(row)} is not of the stored results"
    if any("claims_table(" in cell.source for cell in cells):
        missing = (_first(row) for row in _rows(claims) if row not in shown)
        ids = (id.removeprefix("control ") for id in missing)
        yield from (f"claims/{id}: no claims table shows it as it is stored" for id in ids)


def other_findings(project: Project, notebook: NotebookNode, stored: Results) -> Iterator[str]:
    """Figures of effects and sentences of what was found that the stored numbers do not give."""
    chapter = stored["chapter"]
    lines = measured(chapter_claims(chapter, project.root / "book/systems.yml"), stored)
    titles = {
        s.slug: s.title.partition(": ")[0] for s in systems_of(project) if s.chapter == chapter
    }
    made = {
        "effects": ("text/html", effects.table(lines, titles)),
        "findings": ("text/markdown", findings.text(lines, titles)),
    }
    for number, cell in enumerate(code_cells(notebook), 1):
        for method, (kind, text) in made.items():
            shown = [output.get("data", {}).get(kind) for output in cell.outputs]
            if lines and f"run.{method}()" in cell.source and text not in shown:
                yield f"{_named(number, cell)}: its {method} are not of the stored results"


def restored(stored: Results) -> Session:
    """A session that holds what a results file holds, to make its tables again."""
    claims = {
        claim["id"]: {part: _number(value, part) for part, value in claim.items()}
        for claim in stored["claims"]
    }
    place = stored["chapter"], stored["profile"], stored["seed"]
    checks = {check["id"]: check for check in stored.get("checks", ())}
    arms, metrics = stored.get("arms", []), stored["metrics"]
    return Session(*place, arms=arms, metrics=metrics, claims=claims, checks=checks)


def _number(value: Any, part: str) -> Any:
    """An end that the data do not bound is stored as null."""
    if value is None and part in ("low", "high"):
        return -math.inf if part == "low" else math.inf
    return value


def _named(number: int, cell: NotebookNode) -> str:
    return f"cell {number} ({title_of(cell.source)})"


def _html(output: NotebookNode) -> str:
    return str(output.get("data", {}).get("text/html", ""))


def _parts(html: str) -> tuple[str, set[str]]:
    """A table of medbook: all before its rows, and the rows."""
    return html.partition("<tbody>")[0], set(_rows(html))


def _rows(html: str) -> list[str]:
    return html.partition("<tbody>")[2].partition("</tbody>")[0].split("</tr>")[:-1]


def _first(row: str) -> str:
    """What the first column says, up to a colon.

    >>> _first("<tr><td>one-1: A claim.</td><td>0.5</td>")
    'one-1'
    """
    return row.partition("<td>")[2].partition("</td>")[0].partition(":")[0]


def _has_card_of_stored(project: Project, chapter: Chapter, notebook: NotebookNode) -> bool:
    """True if all that the card says of measurements follows from stored results.

    Damaged results are told apart.
    """
    try:
        made = card(project, chapter, notebook_links(None, chapter))
    except MedbookError:
        return True
    shown = [cell.source for cell in notebook.cells if cell["id"] == "card"]
    return [_measured(text) for text in shown] == [_measured(made)]


def _measured(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(MEASURED)]
