"""The data cards: every set, its licence, what it may not be mixed with, the same bytes."""

import re
import shutil
from pathlib import Path

import pytest
from book_fixtures import Book

from medbook import data
from medbook._book.pages import datacards
from medbook._book.project import Project
from medbook.data import registry
from medbook.errors import MedbookError

ROOT = Path(__file__).parents[1]
REAL = Project(ROOT)


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No data folder; a download would fail the test."""
    monkeypatch.setenv("MEDBOOK_DATA", str(tmp_path / "none"))
    monkeypatch.setattr(
        "medbook.data.sources.locate", lambda file: pytest.fail("looked for a file")
    )


@pytest.fixture(scope="module")
def text():
    return datacards.cards(REAL)


@pytest.fixture
def book(tmp_path):
    made = Book(tmp_path / "book")
    shutil.copy(ROOT / "book/datasets.yml", made.root / "book")
    return made


def cards_of(text):
    """Card by name."""
    parts = re.split(r"^\((\w+)\)=$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_set_has_a_card_with_its_licence_credit_and_hashes(text):
    cards = cards_of(text)
    assert list(cards) == data.names()
    for name, card in cards.items():
        info = data.info(name)
        assert f"- **Licence:** {info.licence}\n" in card
        assert f"```text\n{info.credit}\n```" in card
        assert info.unit in card and all(label in card for label in info.classes)
        assert all(file.digest in card and file.path in card for file in info.files.values())
    assert "CC BY-NC 4.0" in cards["dermamnist"]
    assert "no public mirror" in cards["mednist"] and "zenodo" not in cards["mednist"]


def test_overlapping_sets_name_each_other(text):
    cards = cards_of(text)
    for one in data.names():
        for other in data.names():
            row = next(
                x for x in cards[one].splitlines() if x.startswith("- **Not together with:**")
            )
            try:
                data.check_overlap([one, other] if one != other else [one])
                assert f"{other} (" not in row
            except MedbookError:
                assert f"{other} (both from" in row
    assert "organcmnist (both from LiTS)" in cards["organamnist"]
    assert "organcmnist" in re.search(r".*\(#organamnist\).*", datacards.overview(REAL))[0]


def test_chapters_that_use_a_set_are_linked(text):
    used = "[Unlearnable examples](notebooks/unlearnable_examples.ipynb)"
    assert f"- **Used in:** {used}\n" in cards_of(text)["pneumoniamnist"]
    assert "- **Used in:** no chapter yet\n" in cards_of(text)["retinamnist"]


def test_pictures_have_words_and_are_the_same_each_time(text):
    for name, card in cards_of(text).items():
        (alt,) = re.findall(r'<img [^>]*alt="([^"]+)"', card)
        assert f"{len(data.info(name).classes)} small generated pictures" in alt
        assert "data:image/png;base64," in card
    datacards._strip.cache_clear()
    assert datacards.cards(REAL) == text
    assert len(text) + len((ROOT / "book/data.md").read_text()) < 600_000


def test_numbers_of_images_are_those_of_medmnist():
    facts = datacards.load(REAL)
    assert list(facts) == data.names()
    for name in facts.keys() - {"mednist"}:
        assert facts[name].splits == registry._TABLE[name]["n_samples"]
    assert sum(facts["mednist"].splits.values()) == 9000


def test_licences_of_images_in_notebooks_are_stated_by_hand():
    use = (ROOT / "book/use.md").read_text()
    for chapter in REAL.chapters():
        for name in chapter.meta["data"]:
            info = data.info(name)
            rows = [x for x in use.splitlines() if x.startswith(f"| {datacards.title(info)} |")]
            assert len(rows) == 1 and info.licence in rows[0]
            assert "NC" not in info.licence


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: mednist", "name: mednest", r"yml:\d+: data set mednest is not in the registry"),
        ("name: octmnist", "name: mednist", r"yml:\d+: data set mednist stands here twice"),
        ("train: 1080, val", "val: 1080, train", r"yml:\d+: `splits` must be train, val and test"),
        ("    people: children;", "    persons: children;", r"unknown: people, persons"),
    ],
)
def test_what_is_wrong_is_named(book, old, new, message):
    book.edit("book/datasets.yml", old, new)
    with pytest.raises(MedbookError, match=message):
        datacards.load(book.project)


def test_a_set_without_facts_is_named(book, monkeypatch):
    monkeypatch.setitem(data.REGISTRY, "another", data.info("mednist"))
    with pytest.raises(MedbookError, match=r"missing: another"):
        datacards.load(book.project)
