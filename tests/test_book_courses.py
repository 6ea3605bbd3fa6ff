"""The curriculum: what courses.yml may say, the picture, the courses."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from book_fixtures import Book

from medbook._book.pages import courses, graph, teaching
from medbook._book.project import Project
from medbook.errors import MedbookError

REAL = Project(Path(__file__).parents[1])
SYSTEMS = "".join(
    f"- {{slug: {slug}, title: About {slug}, authors: [Ann, Bo], year: 2024, links: {{}}, "
    f"part: {part}, chapter: {chapter}}}\n"
    for slug, part, chapter in [("s1", "trust", "a"), ("s2", "trust", "b"), ("s3", "few", "c")]
)
COURSES = """\
chapters:
  - {id: a, title: First & best, level: introductory, after: []}
  - {id: b, title: Second, level: advanced, after: [a]}
  - {id: c, title: Third, level: advanced, after: [b]}
courses:
  - id: short
    title: A short course
    audience: Everybody.
    unit: Week
    sessions:
      - {title: One, chapters: [b], objectives: [know b], hand_in: ["exercise 1"], reading: [s2]}
      - {title: Two, chapters: [c], objectives: [know c], hand_in: [a number], reading: []}
"""
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def book(tmp_path):
    made = Book(tmp_path / "book")
    (made.root / "book/systems.yml").write_text(SYSTEMS)
    (made.root / "book/courses.yml").write_text(COURSES)
    return made


def finish(book, chapter, cells="", level="introductory"):
    """Write a source and a published notebook, and list it."""
    with (book.root / "_toc.yml").open("a") as toc:
        toc.write(f"  - file: book/notebooks/{chapter}\n")
    systems = (book.root / "book/systems.yml").read_text()
    book.add(chapter, cells)
    book.edit("book/courses.yml", f"{{id: {chapter}, ", f"{{id: {chapter}, question: 'Why?', ")
    (book.root / "book/systems.yml").write_text(systems)
    book.edit(f"chapters/trust/{chapter}.py", "level: easy", f"level: {level}")
    (book.project.notebooks / f"{chapter}.ipynb").write_text("{}")


def test_chapters_follow_the_order_of_the_systems(book):
    plan = courses.load(book.project)
    assert [(t.id, t.part) for t in plan.topics.values()] == [
        ("a", "trust"), ("b", "trust"), ("c", "few"),
    ]  # fmt: skip
    assert plan.depth() == {"a": 0, "b": 1, "c": 2}
    assert plan.needed(["c"]) == ("a", "b")
    assert plan.needed(["b", "c"]) == ("a",)
    (course,) = plan.courses
    assert course.chapters == ("b", "c")
    assert [s.slug for s in course.sessions[0].reading] == ["s2"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("advanced, after: [a]}", "advanced, after: [c]}", r"yml:3: .*build on each other: .*b"),
        ("introductory, after: []", "introductory, after: [a]", r"yml:2: .*each other: a after a"),
        ("after: [b]", "after: [z]", r"yml:4: there is no chapter in systems.yml called z"),
        ("{id: c,", "{id: z,", r"yml:4: there is no chapter in systems.yml called z"),
        ("{id: c,", "{id: a,", r"yml:4: chapter a stands here twice"),
        ("  - {id: c, title: Third, level: advanced, after: [b]}\n", "", r"yml:1: .* lacks c of"),
        ("level: introductory", "level: easy", r"yml:2: there is no level easy"),
        ("after: [b]", "after: b", r"yml:4: after: Input should be a valid array, not 'b'"),
        ("hand_in: [a number]", "hand_in: [a: 1]", r"yml:12: hand_in.0: Input should be a"),
        (", after: [b]", "", r"yml:4: after: Field required"),
        ("unit: Week", "weeks: 2", r"yml:6: unit: Field required"),
        ("reading: [s2]", "reading: [s9]", r"yml:11: there is no system .* s9"),
        ("chapters: [c]", "chapters: [z]", r"yml:12: there is no chapter z"),
        ("chapters: [c]", "chapters: [a]", r"yml:11: b is taught before a"),
        ("courses:\n", "courses: 1\nrest:\n", r"yml:1: `courses` must be a list"),
        ("chapters:\n", "parts: {gone: What?}\nchapters:\n", r"yml:1: there is no part gone"),
        ("chapters:\n", "parts: [trust]\nchapters:\n", r"yml:1: `parts` must say"),
        ("chapters:\n  - {id: a", "chapters:\n  - {id: [a", r"yml:\d: not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(book, old, new, message):
    book.edit("book/courses.yml", old, new)
    with pytest.raises(MedbookError, match=rf"^courses\.{message}"):
        courses.load(book.project)


def test_a_missing_file_is_named(book):
    (book.root / "book/courses.yml").unlink()
    with pytest.raises(MedbookError, match=r"courses\.yml cannot be read"):
        courses.load(book.project)


def test_a_finished_chapter_asks_something(book):
    finish(book, "a")
    assert courses.load(book.project).topics["a"].question == "Why?"
    book.edit("book/courses.yml", "question: 'Why?'", "question: 'Because.'")
    with pytest.raises(MedbookError, match=r"courses.yml:2: a is finished: give it a `question`"):
        courses.load(book.project)


def test_the_level_of_a_finished_chapter_is_that_of_its_source(book):
    finish(book, "a", level="advanced")
    with pytest.raises(MedbookError, match=r"courses.yml:2: a is introductory here and advanced"):
        courses.load(book.project)


def test_the_books_own_curriculum():
    plan = courses.load(REAL)
    assert set(plan.topics) == {s.chapter for s in courses.systems_of(REAL)}
    assert [len(course.sessions) for course in plan.courses] == [5, 4, 12]
    week = plan.courses[0]
    assert set(week.chapters) <= teaching.finished(REAL)  # it can be taught today, all of it


def test_the_picture_is_well_formed_and_says_in_words_what_it_shows(book):
    plan = courses.load(book.project)
    svg = graph.draw(plan, {"a": "notebooks/a.html"})
    root = ElementTree.fromstring(svg)  # `First & best` must be escaped
    assert root.get("role") == "img" and "\n" not in svg
    named = root.get("aria-labelledby").split()
    words = {e.get("id"): e.text for e in root if e.tag in (f"{SVG}title", f"{SVG}desc")}
    assert set(named) == set(words) and "Finished: First & best;" in words[named[1]]
    assert [a.get("href") for a in root.iter(f"{SVG}a")] == ["notebooks/a.html"]
    drawn = "".join(text.text for text in root.iter(f"{SVG}text"))
    assert all(topic.title in drawn for topic in plan.topics.values())
    dashed = [r for r in root.iter(f"{SVG}rect") if r.get("stroke-dasharray")]
    assert len(dashed) == 2  # planned
    arrows = [p for p in root.iter(f"{SVG}path") if p.get("marker-end")]
    assert len(arrows) == 2


def test_no_box_of_the_picture_covers_another_and_arrows_go_right():
    plan = courses.load(REAL)
    root = ElementTree.fromstring(graph.draw(plan, {}))
    width, height = (float(root.get(side)) for side in ("width", "height"))
    boxes = [
        tuple(float(rect.get(key)) for key in ("x", "y", "width", "height"))
        for rect in root.iter(f"{SVG}rect")
    ]
    assert len(boxes) == len(plan.topics)
    for n, (x, y, w, h) in enumerate(boxes):
        assert min(x, y) >= 0 and x + w <= width and y + h <= height
        assert all(abs(x - a) >= w or abs(y - b) >= h for a, b, _, _ in boxes[:n])
    for path in root.iter(f"{SVG}path"):
        if path.get("marker-end"):
            numbers = [int(n) for n in re.findall(r"\d+", path.get("d"))]
            assert numbers[0] < numbers[-2]


def test_the_table_says_what_the_picture_shows(book):
    finish(book, "a")
    text = teaching.chapters(book.project).splitlines()
    assert text[2:] == [
        "| Trust | [First & best](notebooks/a.ipynb) | introductory |  | finished |",
        "| Trust | Second | advanced | First & best | planned |",
        "| Few | Third | advanced | Second | planned |",
    ]
    assert 'href="notebooks/a.html"' in teaching.picture(book.project)


def test_a_course_says_what_can_be_taught_today(book):
    text = teaching.programme(book.project)
    assert "today:** nothing (0 of its 2 chapters)" in text
    assert "outside the course:** First & best." in text
    assert "- *Chapters:* Second (planned)." in text and "- *Hand in:* exercise 1." in text
    assert "- *Read:* Ann and Bo 2024." in text
    finish(book, "b", level="advanced")
    assert "today:** week 1 (1 of its 2 chapters)" in teaching.programme(book.project)
    book.edit("book/courses.yml", "chapters: [b]", "chapters: [a, b]")
    assert "today:** a part of week 1 (1 of its 3" in teaching.programme(book.project)
    finish(book, "a")
    finish(book, "c", level="advanced")
    assert "today:** all of it (3 of its 3 chapters)" in teaching.programme(book.project)


def test_standing_counts_what_is_published(book):
    assert "Finished so far, 0 of 3: none." in teaching.standing(book.project)
    finish(book, "a")
    text = teaching.standing(book.project)
    assert "3 systems in 3 chapters. Finished so far, 1 of 3: [First & best](notebooks/a.i" in text
