"""What `verify` says of the numbers: counts, what differs, and a file with all of them."""

from pathlib import Path

from medbook._book.checks import report
from medbook._book.stored.compare import Row

OTHER = "not comparable: other machine, fewer than 3 seeds"
ROWS = [
    Row("metrics/a", 1.0, 1.0, "equal"),
    Row("metrics/b", 0.123456789, 0.1234568, "within tolerance"),
    Row("metrics/c", 1.0, 2.0, "differs"),
    Row("metrics/d", 1.0, 2.0, OTHER),
    Row("claims/e", "reproduced", "inconclusive", OTHER),
    Row("claims/f", "reproduced", "inconclusive", "not comparable: other machine"),
]


def test_the_line_of_a_chapter_counts_every_number() -> None:
    assert report.summary(ROWS) == (
        "numbers equal 1 of 6, 1 within tolerance, 1 differs, 3 not comparable"
    )
    assert report.summary(ROWS[:1] * 143) == "numbers equal 143 of 143"


def test_only_what_differs_is_a_message_of_its_own() -> None:
    assert report.differing("x.json", ROWS) == ["x.json: metrics/c: 1 stored, 2 here: differs"]


def test_numbers_that_cannot_be_compared_are_told_once_for_each_reason() -> None:
    assert report.incomparable("x.json", ROWS) == [
        f"x.json: metrics/d: 1 stored, 2 here (and 1 more number): {OTHER}",
        "x.json: claims/f: reproduced stored, inconclusive here: not comparable: other machine",
    ]
    [message] = report.incomparable("x.json", ROWS[3:5] * 2)
    assert "(and 3 more numbers)" in message


def test_the_file_holds_all_of_them(tmp_path: Path) -> None:
    report.write(ROWS, tmp_path / "verify/x.md")
    lines = (tmp_path / "verify/x.md").read_text().splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert lines[3] == "| metrics/b | 0.123457 | 0.123457 | within tolerance |"
