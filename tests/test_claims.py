"""Claims are read whole, checked, named by file and line, and hashed."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from medbook.errors import MedbookError
from medbook.evaluate.stats import KINDS
from medbook.record.claims import Claim, chapter_claims, load_systems

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
    (system,) = load_systems(write(tmp_path, demo_chapter="demo:" + CLAIM))
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
        demo_chapter="demo:" + CLAIM + CLAIM.replace("demo-1", "demo-2"),
        other_chapter="other:" + CLAIM.replace("demo", "other"),
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
        ("kind: greater", "kind: larger", 2, "claim demo-1: kind: Input should be 'greater', "),
        (
            "better: higher",
            "better: up",
            2,
            "better: Input should be 'higher' or 'lower', not 'up'",
        ),
        ("profile: smoke", "profile: huge", 2, "profile: Input should be 'smoke', 'laptop' or "),
        ("margin: 0.1", "margin: -0.1", 2, "should be greater than or equal to 0, not -0.1"),
        ("margin: 0.1", "margin: some", 2, "margin: Input should be a valid number, not 'some'"),
        ("margin: 0.1", "margin: yes", 2, "margin: Input should be a valid number, not True"),
        ("margin: 0.1", "margin: .nan", 2, "should be greater than or equal to 0, not nan"),
        ("paper: not stated", "papers: 1", 2, "paper: Field required"),
        ("paper: not stated", "paper: x\n    papers: 1", 2, "papers: Unexpected keyword argument"),
        ("    paper: not stated\n", "", 2, "claim demo-1: paper: Field required"),
        ("paper: not stated", "paper: 0.93", 2, "paper: Input should be a valid string, not 0.93"),
        ("arms: {ours: A, baseline: B}", "arms: A", 2, "arms: Input should be an object, not 'A'"),
        ("  - id: demo-1", "  - id\n  - id: demo-1", 1, "expected a mapping, found 'id'"),
        ("id: demo-1", "id: other-1", 2, "claim 'other-1': ids are demo-<number>"),
        ("demo:", "strange:", 2, "ids are strange-<number>"),
        ("demo:", "- demo:", 1, "expected `slug:` and a list of claims"),
    ],
)
def test_an_error_in_a_claim_names_file_and_line(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    text = "demo:" + CLAIM
    assert old in text
    with pytest.raises(MedbookError) as caught:
        load_systems(write(tmp_path, demo_chapter=text.replace(old, new, 1)))
    assert str(caught.value).startswith(f"claims/demo_chapter.yml:{line}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_system_of_another_chapter_is_refused(tmp_path: Path) -> None:
    claims = "other:" + CLAIM.replace("demo", "other")
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
    with pytest.raises(MedbookError, match=r"yml:12: claim id 'demo-1' is used twice, .*yml:2"):
        load_systems(write(tmp_path, demo_chapter="demo:" + CLAIM + CLAIM.lstrip("\n")))


def test_the_hash_changes_with_every_field_and_with_nothing_else(tmp_path: Path) -> None:
    def read(text: str) -> Claim:
        return load_systems(write(tmp_path, demo_chapter=text))[0].claims[0]

    claim = read("demo:" + CLAIM)
    assert read("demo:" + CLAIM).hash == claim.hash
    assert read("# a comment moves all lines\ndemo:" + CLAIM).hash == claim.hash
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
