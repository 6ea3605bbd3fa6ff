"""Claims are read whole, checked, named by file and line, and hashed."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from medbook.claims import Claim, chapter_claims, load_systems
from medbook.errors import MedbookError
from medbook.stats import KINDS

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
  claims:"""


def write(folder: Path, text: str) -> Path:
    path = folder / "systems.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_system_is_read_whole(tmp_path: Path) -> None:
    (system,) = load_systems(write(tmp_path, SYSTEM + CLAIM))
    assert (system.slug, system.year, system.authors) == ("demo", 2024, ("Ada", "Bob"))
    assert system.links == {"paper": "https://example.org"}
    (claim,) = system.claims
    assert (claim.kind, claim.margin, claim.profile) == ("greater", 0.1, "smoke")
    assert claim.arms == {"ours": "A", "baseline": "B"}
    assert claim.revised == ""


def test_a_planned_system_has_no_claims(tmp_path: Path) -> None:
    (system,) = load_systems(write(tmp_path, SYSTEM + " []\n"))
    assert system.claims == ()


def test_the_claims_of_a_chapter(tmp_path: Path) -> None:
    other = (SYSTEM + CLAIM).replace("demo", "other")
    path = write(tmp_path, SYSTEM + CLAIM + CLAIM.replace("demo-1", "demo-2") + other)
    assert list(chapter_claims("demo_chapter", path)) == ["demo-1", "demo-2"]
    assert list(chapter_claims("other_chapter", path)) == ["other-1"]
    assert chapter_claims("no_such", path) == {}


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("kind: greater", "kind: larger", 10, "kind 'larger' is not one of greater"),
        ("better: higher", "better: up", 10, "better 'up' is not one of higher, lower"),
        ("profile: smoke", "profile: huge", 10, "profile 'huge' is not one of smoke"),
        ("margin: 0.1", "margin: -0.1", 10, "margin must be a number >= 0"),
        ("margin: 0.1", "margin: some", 10, "margin is 'some', expected a number"),
        ("margin: 0.1", "margin: yes", 10, "margin is True, expected a number"),
        ("margin: 0.1", "margin: .nan", 10, "margin must be a number >= 0"),
        ("paper: not stated", "papers: 1", 10, "claim has no field 'papers': known are id"),
        ("      paper: not stated\n", "", 10, "claim lacks paper"),
        ("  title: A demonstration\n", "", 2, "system lacks title"),
        ("year: 2024", "yeer: 2024", 2, "system has no field 'yeer'"),
        ("title: A demonstration", "title:", 2, "system lacks title"),
        ("paper: not stated", "paper: 0.93", 10, "paper is 0.93, expected a text (in quotes"),
        ("authors: [Ada, Bob]", "authors: Ada", 2, "authors is 'Ada', expected a list"),
        ("arms: {ours: A, baseline: B}", "arms: A", 10, "arms is 'A', expected a mapping"),
        ("    - id: demo-1", "    - id\n    - id: demo-1", 2, "a mapping for a claim, found 'id'"),
        ("authors: [Ada, Bob]", "authors: [Ada, Bob", 5, "not valid YAML: "),
    ],
)
def test_an_error_names_file_and_line(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    text = SYSTEM + CLAIM
    assert old in text
    with pytest.raises(MedbookError) as caught:
        load_systems(write(tmp_path, text.replace(old, new)))
    assert str(caught.value).startswith(f"systems.yml:{line}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


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
        load_systems(write(tmp_path, (SYSTEM + " []") * 2))
    with pytest.raises(MedbookError, match=r"yml:21: claim id 'demo-1' is used twice, .*yml:10"):
        load_systems(write(tmp_path, SYSTEM + CLAIM * 2))


def test_the_hash_changes_with_every_field_and_with_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path, SYSTEM + CLAIM)
    claim = load_systems(path)[0].claims[0]
    assert load_systems(path)[0].claims[0].hash == claim.hash
    moved = write(tmp_path, "# a comment moves all lines\n" + SYSTEM + CLAIM)
    assert load_systems(moved)[0].claims[0].hash == claim.hash
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
