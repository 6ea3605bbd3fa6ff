"""Claims are read whole, checked, named by file and line, and hashed."""

import hashlib
import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from medbook.errors import MedbookError
from medbook.evaluate.stats import KINDS
from medbook.record.claims import LATER, Claim, chapter_checks, chapter_claims, load_systems

CLAIM = """
  - id: demo-1
    statement: A is better than B.
    kind: greater
    margin: 0.1
    metric: accuracy on the test images
    better: higher
    arms: {ours: A, baseline: B}
    data: pneumoniamnist
    profile: smoke
    paper: not stated
"""
SYSTEM = """
- slug: demo
  title: A demonstration
  authors: [Ada, Bob]
  year: 2024
  links: {paper: "https://example.org"}
  part: trust
  chapter: demo_chapter
"""


def write(folder: Path, systems: str = SYSTEM, **claims: str) -> Path:
    """A systems file, and beside it the claims of chapters by their names."""
    path = folder / "systems.yml"
    path.write_text(systems, encoding="utf-8")
    (folder / "claims").mkdir(exist_ok=True)
    for chapter, text in claims.items():
        (folder / f"claims/{chapter}.yml").write_text(text, encoding="utf-8")
    return path


def test_a_system_is_read_whole(tmp_path: Path) -> None:
    (system,) = load_systems(write(tmp_path, demo_chapter="demo:\n  claims:" + CLAIM))
    assert (system.slug, system.year, system.authors) == ("demo", 2024, ("Ada", "Bob"))
    assert system.links == {"paper": "https://example.org"}
    (claim,) = system.claims
    assert (claim.kind, claim.margin, claim.profile) == ("greater", 0.1, "smoke")
    assert claim.arms == {"ours": "A", "baseline": "B"}
    assert claim.revised == ""


def test_a_planned_system_has_no_claims(tmp_path: Path) -> None:
    (system,) = load_systems(write(tmp_path))
    assert system.claims == ()


def test_the_claims_of_a_chapter(tmp_path: Path) -> None:
    path = write(
        tmp_path, SYSTEM + SYSTEM.replace("demo", "other"),
        demo_chapter="demo:\n  claims:" + CLAIM + CLAIM.replace("demo-1", "demo-2"),
        other_chapter="other:\n  claims:" + CLAIM.replace("demo", "other"),
    )  # fmt: skip
    assert list(chapter_claims("demo_chapter", path)) == ["demo-1", "demo-2"]
    assert list(chapter_claims("other_chapter", path)) == ["other-1"]
    assert chapter_claims("no_such", path) == {}


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("  title: A demonstration\n", "", 2, "system: title: Field required"),
        ("year: 2024", "yeer: 2024", 2, "system: year: Field required"),
        ("year: 2024", "year: '2024'", 2, "year: Input should be a valid integer, not '2024'"),
        ("title: A demonstration", "title:", 2, "system: title: Field required"),
        ("authors: [Ada, Bob]", "authors: Ada", 2, "authors: Input should be a valid"),
        ("authors: [Ada, Bob]", "authors: [Ada, Bob", 5, "not valid YAML: "),
        ("year: 2024", "year: 2024\n  claims: []", 2, "claims stand in book/claims/demo_chapter"),
    ],
)
def test_an_error_in_a_system_names_file_and_line(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    assert old in SYSTEM
    with pytest.raises(MedbookError) as caught:
        load_systems(write(tmp_path, SYSTEM.replace(old, new)))
    assert str(caught.value).startswith(f"systems.yml:{line}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("kind: greater", "kind: larger", 3, "claim demo-1: kind: Input should be 'greater', "),
        (
            "better: higher",
            "better: up",
            3,
            "better: Input should be 'higher' or 'lower', not 'up'",
        ),
        ("profile: smoke", "profile: huge", 3, "profile: Input should be 'smoke', 'laptop' or "),
        ("margin: 0.1", "margin: -0.1", 3, "should be greater than or equal to 0, not -0.1"),
        ("margin: 0.1", "margin: some", 3, "margin: Input should be a valid number, not 'some'"),
        ("margin: 0.1", "margin: yes", 3, "margin: Input should be a valid number, not True"),
        ("margin: 0.1", "margin: .nan", 3, "should be greater than or equal to 0, not nan"),
        ("paper: not stated", "papers: 1", 3, "paper: Field required"),
        ("paper: not stated", "paper: x\n    papers: 1", 3, "papers: Unexpected keyword argument"),
        ("    paper: not stated\n", "", 3, "claim demo-1: paper: Field required"),
        ("paper: not stated", "paper: 0.93", 3, "paper: Input should be a valid string, not 0.93"),
        ("arms: {ours: A, baseline: B}", "arms: A", 3, "arms: Input should be an object, not 'A'"),
        ("  - id: demo-1", "  - id\n  - id: demo-1", 2, "expected a mapping, found 'id'"),
        ("id: demo-1", "id: other-1", 3, "claim 'other-1': ids are demo-<number>"),
        ("demo:", "strange:", 3, "ids are strange-<number>"),
        ("demo:", "- demo:", 1, "expected `slug:` and its claims"),
        ("  claims:", "  claim:", 1, "demo: expected claims, controls, checks, found claim"),
        ("kind: greater", "kind: exact", 3, "claim demo-1: kind exact belongs under `checks`"),
        ("paper:", "guards: [demo-1]\n    paper:", 3, "claim demo-1: only controls guard"),
        ("paper:", "source: theirs\n    paper:", 3, "source: Input should be 'paper' or 'ours'"),
        (
            "paper:",
            "reported: {ours: 91, baseline: 0.8, n: 9}\n    paper:",
            3,
            "reported.ours: Input should be less than or equal to 1, not 91",
        ),
        ("claims:", "controls:", 3, "control demo-1: kind: choose equivalent or noninferior"),
    ],
)
def test_an_error_in_a_claim_names_file_and_line(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    text = "demo:\n  claims:" + CLAIM
    assert old in text
    with pytest.raises(MedbookError) as caught:
        load_systems(write(tmp_path, demo_chapter=text.replace(old, new, 1)))
    assert str(caught.value).startswith(f"claims/demo_chapter.yml:{line}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_system_of_another_chapter_is_refused(tmp_path: Path) -> None:
    claims = "other:\n  claims:" + CLAIM.replace("demo", "other")
    with pytest.raises(MedbookError, match=r"^claims/demo_chapter\.yml:1: .* no other there"):
        load_systems(write(tmp_path, demo_chapter=claims))


def test_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "systems.yml"
    path.write_bytes(SYSTEM.replace("Ada", "Adélaïde").encode("latin-1"))
    with pytest.raises(MedbookError, match=r"systems\.yml:1: not valid YAML: .*(UTF|utf)-8"):
        load_systems(path)


@pytest.mark.parametrize("text", ["", "slug: demo", "- just a word"])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(MedbookError, match=r"systems\.yml.*expected"):
        load_systems(write(tmp_path, text))


def test_doubles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MedbookError, match=r"yml:10: slug 'demo' is used twice, .* systems.yml:2"):
        load_systems(write(tmp_path, SYSTEM * 2))
    with pytest.raises(MedbookError, match=r"yml:13: claim id 'demo-1' is used twice, .*yml:3"):
        load_systems(write(tmp_path, demo_chapter="demo:\n  claims:" + CLAIM + CLAIM.lstrip("\n")))


CONTROL = """
  controls:
  - id: demo-c1
    statement: Where nothing is hidden, A and B are alike.
    kind: equivalent
    margin: 0.1
    metric: accuracy on the test images
    better: higher
    arms: {ours: [A, C], baseline: B}
    data: pneumoniamnist
    profile: smoke
    paper: not stated
    guards: [demo-1]
  checks:
  - id: demo-k1
    statement: A of nothing is nothing.
    tolerance: 1.0e-6
    data: none
"""


def test_controls_and_checks_stand_beside_the_claims(tmp_path: Path) -> None:
    path = write(tmp_path, demo_chapter="demo:\n  claims:" + CLAIM + CONTROL.lstrip("\n"))
    (system,) = load_systems(path)
    assert [claim.id for claim in system.claims] == ["demo-1"]
    assert [(c.id, c.guards, c.arms["ours"]) for c in system.controls] == [
        ("demo-c1", ("demo-1",), ("A", "C"))
    ]
    assert [(check.id, check.tolerance) for check in system.checks] == [("demo-k1", 1e-6)]
    assert list(chapter_claims("demo_chapter", path)) == ["demo-1", "demo-c1"]
    assert list(chapter_checks("demo_chapter", path)) == ["demo-k1"]
    assert replace(system.checks[0], tolerance=1e-5).hash != system.checks[0].hash


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("guards: [demo-1]", "guards: [demo-2]", "guards: name claims of demo-1"),
        ("    guards: [demo-1]\n", "", "guards: name claims of demo-1"),
        ("kind: equivalent", "kind: monotone", "kind: choose equivalent or noninferior"),
        ("tolerance: 1.0e-6", "tolerance: -1", "tolerance: Input should be greater than or equal"),
        ("id: demo-k1", "id: demo-1", "claim id 'demo-1' is used twice"),
    ],
)
def test_an_error_in_a_control_or_check_is_named(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in CONTROL
    text = "demo:\n  claims:" + CLAIM + CONTROL.lstrip("\n").replace(old, new)
    with pytest.raises(MedbookError, match=r"^claims/demo_chapter\.yml:\d+: ") as caught:
        load_systems(write(tmp_path, demo_chapter=text))
    assert message in str(caught.value)


def test_a_check_of_a_first_edition_keeps_the_hash_of_the_claim_that_it_was(tmp_path: Path) -> None:
    text = "demo:\n  checks:" + CLAIM.replace("greater", "exact")
    (check,) = load_systems(write(tmp_path, demo_chapter=text))[0].checks
    assert check.was is not None and check.hash == check.was.hash
    assert (check.id, check.tolerance) == ("demo-1", 0.1)


def test_parts_that_came_later_change_a_hash_only_where_they_are_given(tmp_path: Path) -> None:
    """The hash of before there were any, written out."""
    path = write(tmp_path, demo_chapter="demo:\n  claims:" + CLAIM)
    claim = load_systems(path)[0].claims[0]
    first = {f.name: getattr(claim, f.name) for f in fields(Claim) if f.name not in LATER}
    text = json.dumps(first, sort_keys=True, ensure_ascii=False)
    assert claim.hash == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert replace(claim, source="paper").hash == claim.hash
    assert replace(claim, margin_from="twice the spread").hash != claim.hash


def test_the_hash_changes_with_every_field_and_with_nothing_else(tmp_path: Path) -> None:
    def read(text: str) -> Claim:
        return load_systems(write(tmp_path, demo_chapter=text))[0].claims[0]

    claim = read("demo:\n  claims:" + CLAIM)
    assert read("demo:\n  claims:" + CLAIM).hash == claim.hash
    assert read("# a comment moves all lines\ndemo:\n  claims:" + CLAIM).hash == claim.hash
    changed = {"margin": 0.2, "arms": {"ours": "A", "baseline": "C"}}
    hashes = {
        replace(claim, **{f.name: changed.get(f.name, "changed")}).hash for f in fields(Claim)
    }
    assert len(hashes | {claim.hash}) == len(fields(Claim)) + 1
    assert len(claim.hash) == 12


def test_the_book_itself() -> None:
    systems = load_systems()
    assert len(systems) == 59
    for claim in (claim for system in systems for claim in system.claims):
        assert claim.kind in KINDS
        assert claim.id.rsplit("-", 1)[0] in {system.slug for system in systems}
        assert claim.statement.endswith(".")
