import re
from pathlib import Path

import pytest
from book_fixtures import HEAD

from medbook._book import pages, readme
from medbook._book.markdown import table
from medbook._book.pages import kept, scoreboard, systems
from medbook._book.project import Project
from medbook._book.stored.state import State
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.claims import load_systems

CLAIM = (
    "{{id: {id}, statement: Claim {id} holds., kind: {kind}, metric: m, better: higher,"
    " margin: 0.1, arms: {{}}, data: x, profile: laptop, paper: '0.9', revised: '{revised}'}}"
)
CLAIMS = [
    CLAIM.format(id="one-1", kind="greater", revised=""),
    CLAIM.format(id="one-2", kind="exact", revised=""),
    CLAIM.format(id="one-3", kind="greater", revised="a typo"),
]
EXACT = [claim for claim in CLAIMS if "exact" in claim]
CLAIMED = "one:\n  claims:\n" + "".join(f"  - {c}\n" for c in CLAIMS if c not in EXACT)
CLAIMED += "  checks:\n" + "".join(f"  - {claim}\n" for claim in EXACT)
SYSTEMS = """\
- {slug: one, title: A | B, authors: [A, B], year: 2024, links: {paper: "https://example.org"},
   part: trust, chapter: filters}
- {slug: two, title: Two, authors: [A, B, C, D], year: 2023, links: {}, part: trust,
   chapter: later}
- {slug: three, title: Three, authors: [A, et al.], year: 2022, links: {}, part: few_labels,
   chapter: later_too}
"""
BIB = """\
@misc{new, author = {Last, First}, title = {Newer}, year = {2024}, eprint = {2401.00001},
  archiveprefix = {arXiv}}
@article{old_1, author = {M{\\"u}ller, A.}, title = {Older {X}}, journal = {J}, year = {1999}}
@misc{other, author = {Zuse, K.}, title = {Also newer}, year = {2024}, note = {Journal: unverified}}
"""


@pytest.fixture
def book(tmp_path):
    for folder in ("chapters/trust", "book/results", "book/notebooks", "book/claims", "ci"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "_toc.yml").write_text("chapters:\n  - file: book/notebooks/filters\n")
    (tmp_path / "ci/lock.txt").write_text("")
    (tmp_path / "book/systems.yml").write_text(SYSTEMS)
    (tmp_path / "book/claims/filters.yml").write_text(CLAIMED)
    (tmp_path / "book/references.bib").write_text(BIB)
    (tmp_path / "chapters/trust/filters.py").write_text(HEAD.format(title="Filters", systems="one"))
    return Project(tmp_path)


def result(book, profile, found, seed=0, to=None, **more):
    """Store results whose claims are (id, verdict, effect, low, high)."""
    systems = load_systems(book.root / "book/systems.yml")
    known = {c.id: c for s in systems for c in (*s.claims, *s.checks)}
    names = ("id", "verdict", "effect", "low", "high")
    measured = [dict(zip(names, claim, strict=True)) for claim in found]
    for claim in measured:
        claim |= {"hash": known[claim["id"]].hash, "n": 5, "data": "real"}
    path = to or book.published("filters", profile)
    path.parent.mkdir(parents=True, exist_ok=True)
    run = {
        "schema": results.SCHEMA, "chapter": "filters", "profile": profile, "seed": seed,
        "seconds": 750.2,
        "peak_mib": 900, "device_mib": 0, "environment": {"device": "A machine"}, "data": [],
        "metrics": {}, "claims": measured,
    }  # fmt: skip
    results.save(run | more, path)


def rows(text, start):
    """Cells of the table rows whose first cell begins with a text, without frames of verdicts."""
    text = re.sub(r"</?span[^>]*>", "", text)
    lines = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


LAPTOP = [
    ("one-1", "reproduced", 0.31234, 0.2, 0.4),
    ("one-2", "reproduced", 0.0, 0.0, 0.0),
    ("one-3", "inconclusive", 0.1, None, None),
]


def test_scoreboard_before_any_result(book):
    text = pages.generated(book)["book/scoreboard.md"]
    (row,) = rows(text, "[A")
    assert row == ["[A \\| B](systems/one.md)", *["not run"] * 3, "", ""]
    assert (
        "<summary>2 systems are planned</summary>\n\n- *Trust:* Two\n- *Few labels:* Three" in text
    )
    assert "decided 0 verdicts" in text and "up to 0.00 false" in text
    assert "## All effects" not in text


def test_scoreboard_counts_and_draws_each_tested_claim(book):
    result(book, "laptop", LAPTOP)
    result(book, "smoke", [(c[0], "not tested", 0.0, -1.0, 1.0) for c in LAPTOP])
    text = pages.generated(book)["book/scoreboard.md"]
    (row,) = rows(text, "[A")
    counts = ["– 22 not tested", "✓ 11 reproduced ? 11 inconclusive", "not run"]  # mark, word
    assert row[1:] == [*counts, "", "1 of 1 hold"], "a check is no claim"
    assert '<span class="verdict reproduced">✓ reproduced</span>' in text
    found = re.findall(r'<a href="([^"]+)">one-\d</a>', text)
    assert found == ["systems/one.html#one-1", "systems/one.html#one-3"]
    assert "+0.31 [+0.20, +0.40]" in text and "+0.10 [−∞, +∞]" in text


def test_a_stale_run_is_named(book):
    result(book, "laptop", LAPTOP)
    states = {("filters", "smoke"): State("missing", []), ("filters", "gpu"): State("current", [])}
    stale = State("stale", ["training.fit"])
    text = systems.pages(book, states | {("filters", "laptop"): stale})["book/systems/one.md"]
    assert "Chapter: Filters; its `laptop` run is stale. [All" in text


def test_examples_hold_one_claim_of_each_verdict(book):
    assert scoreboard.examples(book) == "No chapter is finished yet."
    result(book, "laptop", LAPTOP)
    text = scoreboard.examples(book)
    assert re.findall(r">(one-\d)</a>", text) == ["one-1", "one-3"]
    result(book, "laptop", [(*LAPTOP[0][:1], "inconclusive", *LAPTOP[0][2:]), *LAPTOP[1:]])
    assert re.findall(r">(one-\d)</a>", scoreboard.examples(book)) == ["one-1"]  # the first of them


def test_chance_counts_verdicts_of_intervals_only(book):
    """Two greater claims at two profiles, an exact one not counted: 4 times 2.5 %."""
    result(book, "laptop", LAPTOP)
    result(book, "gpu", LAPTOP)
    text = pages.generated(book)["book/scoreboard.md"]
    assert "decided 4 verdicts" in text and "2 say `reproduced`" in text
    assert "2.5 %" in text and "up to 0.10 false" in text


def test_a_changed_claim_has_no_verdict(book):
    result(book, "laptop", LAPTOP)
    claims = book.root / "book/claims/filters.yml"
    claims.write_text(claims.read_text().replace("Claim one-1 holds", "Claim one-1 always holds"))
    text = pages.generated(book)["book/scoreboard.md"]
    assert rows(text, "[A")[0][2] == "? 11 inconclusive 1 claim changed, not run again"
    assert "decided 1 verdicts" in text and ">one-1</a>" not in text


def test_status_shows_the_stored_run_and_this_machines(book):
    metric = {"values": [1.0], "unit": "", "mean": 1.0, "kind": "exact", "rtol": 0.0, "on": "test"}
    stored = {"a": metric, "b": metric}
    result(book, "smoke", [], metrics=stored)
    here = {"a": metric, "b": metric | {"values": [2.0]}}
    to = book.run_folder("smoke") / "filters.smoke.json"
    result(book, "smoke", [], to=to, metrics=here, seconds=8.4)
    found = rows(pages.generated(book)["book/status.md"], "[Filters](notebooks/filters.ipynb)")
    assert [row[1] for row in found] == ["smoke", "laptop", "gpu"]
    assert found[0][3:] == ["13 min", "900 MiB", "A machine", "8 s", "1 of 2 agree"]
    assert found[1][2:] == ["missing", "", "", "", "", ""]


def test_links_to_chapters_that_are_not_in_the_contents_become_text(book):
    (book.root / "book/intro.md").write_text("See [Filters](notebooks/filters.ipynb).")
    (book.root / "_toc.yml").write_text("chapters:\n  # - file: book/notebooks/filters\n")
    found = pages.generated(book)
    assert found["book/intro.md"] == "See Filters."
    assert rows(found["book/status.md"], "Filters") and "](notebooks/" not in str(found)


def test_memory_names_that_of_the_gpu():
    assert pages.memory({"peak_mib": 5, "device_mib": 7}) == "5 MiB, GPU 7 MiB"


def test_references_are_sorted_by_year_and_author(book):
    text = pages.references(book)
    assert re.findall(r"^## (.*)|^\((.*)\)=", text, re.MULTILINE) == [
        ("2024", ""), ("", "new"), ("", "other"), ("1999", ""), ("", "old_1"),
    ]  # fmt: skip
    assert "[arXiv:2401\\.00001](https://arxiv.org/abs/2401.00001)" in text
    assert "A. Müller" in text.replace("\\", "") and "Journal: unverified" in text


@pytest.mark.parametrize("text", ["@misc{a, title = {", "@article{a, year = {2024}}"])
def test_references_that_cannot_be_read(book, text):
    (book.root / "book/references.bib").write_text(text)
    with pytest.raises(MedbookError, match=r"book/references\.bib"):
        pages.references(book)


def test_readme_table(book):
    found = rows(readme.systems_table(book), "")
    one = "[A \\| B](https://example.org), A, B 2024"
    assert found[1:] == [
        ["Trust", one, "filters", "2 claims, not tested yet"],
        ["Trust", "Two, A et al. 2023", "later", "planned"],
        ["Few labels", "Three, A et al. 2022", "later_too", "planned"],
    ]
    result(book, "laptop", LAPTOP)
    (book.notebooks / "filters.ipynb").write_text("{}")
    assert rows(readme.systems_table(book), "Trust")[0][2:] == [
        "[filters](book/notebooks/filters.ipynb)",
        "1 reproduced, 1 inconclusive (laptop)",
    ]


def test_the_books_own_systems_are_all_in_its_table():
    book = Project(Path(__file__).parents[1])
    systems = scoreboard.systems_of(book)
    text = readme.systems_table(book)
    assert len(systems) == 59 and len(text.splitlines()) == 61
    parts = [system.part for system in systems]
    assert [p for n, p in enumerate(parts) if p not in parts[:n]] == [
        p for n, p in enumerate(parts) if n == 0 or parts[n - 1] != p
    ]  # the systems of a part stand together


def test_cells_cannot_break_a_table():
    assert table(["a"], [["x\ny | z"]]).splitlines()[-1] == "| x y \\| z |"


def test_a_part_is_drawn_again_only_when_what_it_shows_has_changed(book, monkeypatch, tmp_path):
    package, drawn = tmp_path / "package", []
    (package / "phantom").mkdir(parents=True)
    (package / "phantom/ribs.py").write_text("N = 12\n")
    monkeypatch.setattr(kept.paths, "PACKAGE", package)
    monkeypatch.setattr(kept, "real_files", lambda name: [])
    part = kept.kept("ribs", lambda project: drawn.append(1) or f"drawing {len(drawn)}")
    assert [part(book), part(book)] == ["drawing 1", "drawing 1"]
    (package / "phantom/ribs.py").write_text("N = 13\n")
    assert part(book) == "drawing 2"
    source = book.root / "chapters/trust/filters.py"
    source.write_text(source.read_text().replace("title: Filters", "title: Other filters"))
    assert part(book) == "drawing 3"
    monkeypatch.setattr(kept, "real_files", lambda name: [source])
    assert part(book) == "drawing 4"
