"""Verdicts that the book no longer stands by."""

import pytest
from test_book_pages import book  # noqa: F401  a tiny book whose chapter has claims

from medbook._book.lint.book import withdrawn_verdicts
from medbook._book.pages import handwritten, withdrawn
from medbook.errors import MedbookError

ENTRY = (
    "- {id: one-9, statement: Old | claim., verdict: reproduced, "
    "why: The baseline was weak., instead: [one-1]}\n"
)


def test_an_entry_becomes_a_row_on_the_page(book):  # noqa: F811
    (book.root / "book/verify.md").write_text("# V\n\n<!-- generated: withdrawn -->\n")
    assert withdrawn.NONE in handwritten.filled(book)["book/verify.md"]
    (book.root / withdrawn.FILE).write_text("# none\n[]\n")
    assert withdrawn.section(book) == withdrawn.NONE
    (book.root / withdrawn.FILE).write_text(ENTRY)
    text = handwritten.filled(book)["book/verify.md"]
    assert "**A | B**" in text
    assert (
        '| one-9: Old \\| claim. | <span class="verdict reproduced">reproduced</span> '
        "| The baseline was weak. | one-1 |" in text
    )
    assert list(withdrawn_verdicts(book, [])) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("one-9", "one-1", "still stands in the claims file"),
        ("one-9", "six-9", "no system 'six'"),
        ("reproduced", "exact", "verdict"),
        ("The baseline was weak.", "''", "why was it withdrawn"),
        ("[one-1]", "[one-77]", "no claims file has one-77"),
        ("[one-1]", "one-1", "instead"),
        (", instead: [one-1]", "", "instead"),
        ("{id", "{more: 1, id", "more"),
        (ENTRY, ENTRY + ENTRY, ":2: one-9: stands here twice"),
        (ENTRY, "a: 1", "expected a list"),
        (ENTRY, "- text", "expected a mapping"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(book, old, new, said):  # noqa: F811
    (book.root / withdrawn.FILE).write_text(ENTRY.replace(old, new))
    with pytest.raises(
        MedbookError, match=rf"^book/withdrawn.yml:\d.*{said}|^book/withdrawn.yml{said}"
    ) as error:
        withdrawn.load(book)
    assert "\n" not in str(error.value)
    assert list(withdrawn_verdicts(book, [])) == [str(error.value)]
