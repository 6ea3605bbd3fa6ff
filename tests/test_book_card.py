"""The card and the citation of a chapter: what they say follows from the stored results."""

import re
from pathlib import Path

import pytest
import yaml
from book_fixtures import Book
from pybtex.database import parse_string

from medbook._book.notebooks.card import card, facts, notebook_links, site_links
from medbook._book.notebooks.cite import citation
from medbook._book.project import Chapter
from medbook._book.remote import Remote
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.claims import chapter_claims

CELLS = "\n# %%\nx = 1\n"
GITHUB = Remote("github.com", "someone/book", "main")
CFF = {
    "title": "The book",
    "version": "1.2.0",
    "date-released": "2025-06-01",
    "authors": [{"name": "A group"}, {"given-names": "Ann", "family-names": "Noether"}],
}


@pytest.fixture
def chapter(book: Book) -> Chapter:
    book.add("one", CELLS, claims=("one-1", "one-2", "one-3"))
    return book.project.select(["one"])[0]


def store(book: Book, profile: str, verdicts: list[str], **more: object) -> results.Results:
    """Store results whose claims one-1, one-2, .. have these verdicts."""
    known = chapter_claims("one", book.root / "book/systems.yml")
    measured = [
        {"id": id, "hash": claim.hash, "verdict": verdict, "n": n, "data": "real"}
        for n, (verdict, (id, claim)) in enumerate(zip(verdicts, known.items(), strict=False), 3)
    ]
    run = {
        "schema": results.SCHEMA, "chapter": "one", "profile": profile, "seed": 0, "seconds": 780.0,
        "peak_mib": 1900, "device_mib": 0, "environment": {"device": "A machine"},
        "claims": measured,
        "data": [{"name": "pneumoniamnist", "kind": "real", "n": 5856, "unit": "image"}],
    }  # fmt: skip
    path = book.project.published("one", profile)
    results.save(run | more, path)
    return results.load(path)


def text(book: Book, chapter: Chapter, remote: Remote | None = GITHUB) -> str:
    return card(book.project, chapter, notebook_links(remote, chapter))


def test_before_any_result(book: Book, chapter: Chapter) -> None:
    shown = text(book, chapter)
    assert "- **Level:** easy. **You need:** nothing beyond Python" in shown
    assert "- **Paper:** Someone (2024), [About one](https://example.org/one)" in shown
    assert "- **Data:** pneumoniamnist\n" in shown + "\n"
    assert "Verdicts" not in shown and "Measured" not in shown


def test_our_own_questions_are_not_counted_among_the_papers(book: Book, chapter: Chapter) -> None:
    file = book.root / "book/claims/one.yml"
    first, rest = file.read_text().split("id: one-1", 1)
    file.write_text(f"{first}source: ours\n    id: one-1{rest}")
    store(book, "laptop", ["reproduced", "reproduced", "inconclusive"])
    shown = text(book, chapter)
    assert (
        ">✓ 1 reproduced</span>" in shown and ">? 1 inconclusive</span> and 1 of our own" in shown
    )
    assert shown.count("(our own question).") == 1


def test_costs_and_data_are_those_measured(book: Book, chapter: Chapter) -> None:
    store(book, "smoke", [], seconds=8.4)
    store(book, "laptop", ["reproduced"])
    shown = text(book, chapter)
    assert "- **Data:** pneumoniamnist (real, 5,856 images)" in shown
    measured = "smoke 8 s, 1,900 MiB; laptop 13 min, 1,900 MiB; on A machine"
    assert f"- **Measured:** {measured}" in shown
    store(book, "gpu", [], seconds=60.0, device_mib=3000, environment={"device": "H"})
    assert f"{measured}; gpu 60 s, 1,900 MiB, GPU 3,000 MiB; on H" in text(book, chapter)


def test_verdicts_are_counted_and_listed_with_words(book: Book, chapter: Chapter) -> None:
    store(book, "smoke", ["not tested"] * 3)
    store(book, "laptop", ["inconclusive", "reproduced", "not reproduced"])
    shown = text(book, chapter)
    [head] = [line for line in shown.splitlines() if line.startswith("- **Verdicts**")]
    assert "at laptop, pneumoniamnist (real), 3 to 5 seeds: <span" in head
    seen = re.sub(r"<[^>]*>", "", head)
    assert seen.endswith(": ✓ 1 reproduced ✗ 1 not reproduced ? 1 inconclusive")
    folded = shown[shown.index("<details>") : shown.index("</details>")]
    assert [line for line in folded.splitlines() if line.startswith("- ")] == [
        "- ✓ **reproduced:** The filter is right at all.",
        "- ✗ **not reproduced:** The filter is right at all.",
        "- ? **inconclusive:** The filter is right at all.",
    ]
    assert "Values and intervals: section *What" in folded
    store(book, "laptop", ["inconclusive", "opposite", "inconclusive"])
    assert '<span class="verdict opposite">⇄ 1 opposite</span>' in text(book, chapter)
    assert "**inconclusive:** The filter is right at all. The filter" in text(book, chapter)
    store(book, "gpu", ["reproduced"] * 3)
    assert "** at gpu," in text(book, chapter) and "✓ 3 reproduced<" in text(book, chapter)


def test_a_changed_claim_has_no_verdict(book: Book, chapter: Chapter) -> None:
    store(book, "laptop", ["reproduced"] * 3)
    book.edit("book/claims/one.yml", "The filter is right at all", "The filter is always right")
    assert "- ! **claim changed, not run again:** The filter is always" in text(book, chapter)


def test_facts_give_no_verdict_away(book: Book, chapter: Chapter) -> None:
    store(book, "laptop", ["reproduced", "not reproduced", "inconclusive"])
    lines = facts(book.project, chapter)
    assert not any("reproduced" in line or "inconclusive" in line for line in lines)
    assert set(lines) <= set(text(book, chapter).splitlines())


def test_ways_in_follow_the_remote_and_the_place(book: Book, chapter: Chapter) -> None:
    store(book, "laptop", ["reproduced"] * 3)
    first = text(book, chapter).splitlines()[2]  # after the beginning of the box
    assert first.startswith("- **Run:** [Open in Colab](https://colab.research.google.com/github/")
    assert " · [Source](https://github.com/someone/book/blob/main/chapters/trust/one.py)" in first
    assert "](#" not in text(book, chapter) and ".md)" not in text(book, chapter)
    assert text(book, chapter, None) == text(book, chapter).replace(first + "\n", "")
    site = card(book.project, chapter, site_links(GITHUB, chapter, colab=False))
    assert "Colab" not in site and "[Open in Binder]" in site
    assert "](#what-the-paper-claims-what-we-measure)" in site and "](../scoreboard.md)" in site
    assert "Colab" in card(book.project, chapter, site_links(GITHUB, chapter, colab=True))


def test_the_citation_names_the_numbers(book: Book, chapter: Chapter) -> None:
    (book.root / "CITATION.cff").write_text(yaml.safe_dump(CFF))
    run = store(book, "laptop", ["reproduced"])
    line, bibtex = citation(book.project, chapter, GITHUB.url).split("\n\n```bibtex\n")
    assert line.splitlines()[1] == (
        "A group and Ann Noether (2025). *One*. In: The book, version 1.2.0. "
        f"Stored results: laptop {run['digest']}. <https://github.com/someone/book>."
    )
    entry = parse_string(bibtex.removesuffix("\n```"), "bibtex").entries["medbook_one"]
    assert [str(person) for person in entry.persons["author"]] == ["{A group}", "{Ann Noether}"]
    assert dict(entry.fields) == {
        "title": "One", "booktitle": "The book", "version": "1.2.0", "year": "2025",
        "url": GITHUB.url, "note": f"Stored results: laptop {run['digest']}",
    }  # fmt: skip
    store(book, "laptop", ["opposite"])
    assert run["digest"] not in citation(book.project, chapter, GITHUB.url)
    assert "http" not in citation(book.project, chapter, "")


def test_without_a_citation_file_there_is_no_citation(book: Book, chapter: Chapter) -> None:
    assert citation(book.project, chapter, GITHUB.url) == ""
    for text, problem in [("a: [", "cannot be read"), ("title: X", "lacks authors, version")]:
        (book.root / "CITATION.cff").write_text(text)
        with pytest.raises(MedbookError, match=rf"CITATION\.cff {problem}"):
            citation(book.project, chapter, "")


def test_the_books_own_citation_can_be_made() -> None:
    book = Book.at(Path(__file__).parents[1]).project
    assert "bibtex" in citation(book, book.chapters()[0], "")
