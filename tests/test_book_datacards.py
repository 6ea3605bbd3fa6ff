"""The data cards: every set, its licence, what it may not be mixed with, the same bytes."""

import re
import shutil
from pathlib import Path

import pytest
from book_fixtures import Book

from medbook import data
from medbook._book.pages import datacards, twin_strips
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
    assert list(cards) == sorted(data.names() + list(data.IMAGES))
    for name, card in cards.items():
        info = data.ENTRIES[name]
        assert f"- **Licence:** {info.licence}\n" in card
        assert f"```text\n{info.credit}\n```" in card
        assert info.unit in card
        assert all(file.digest in card and file.path in card for file in info.files.values())
    for name in data.names():
        assert "Classes:" in cards[name]
        assert all(label in cards[name] for label in data.info(name).classes)
    assert "CC BY-NC 4.0" in cards["dermamnist"]
    assert "no public mirror" in cards["mednist"] and "zenodo" not in cards["mednist"]


def test_cards_of_images_without_labels_say_what_a_value_is(text):
    cards = cards_of(text)
    assert not any("Classes:" in cards[name] for name in data.IMAGES)
    ct = cards["chest_ct_lidc"]
    assert "- **Values:** HU, -1,024 to 3,071\n" in ct
    assert "- **Side of a pixel:** 5.625 mm at 64 px, 2.812 mm at 128 px" in ct
    assert "- **Side of a pixel:** not stated\n" in cards["chest_xray_lungs"]
    assert "comes with the Python package skimage" in cards["fundus"]
    assert "| none |" in re.search(r".*\(#fundus\).*", datacards.overview(REAL))[0]


def test_overlapping_sets_name_each_other(text):
    cards = cards_of(text)
    for one in data.ENTRIES:
        for other in data.ENTRIES:
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
    (line,) = (x for x in cards_of(text)["pneumoniamnist"].splitlines() if "**Used in:**" in x)
    assert used in line and line.count("](notebooks/") == 2
    assert "- **Used in:** no chapter yet\n" in cards_of(text)["octmnist"]


def test_pictures_have_words_and_are_the_same_each_time(text):
    for name, card in cards_of(text).items():
        (alt,) = re.findall(r'<img [^>]*alt="([^"]+)"', card)
        n = len(data.info(name).classes) if name in data.names() else 1 if name == "fundus" else 6
        assert f"{n} small generated pictures" in alt
        assert "data:image/png;base64," in card
    twin_strips.strip.cache_clear()
    assert datacards.cards(REAL) == text
    assert len(text) + len((ROOT / "book/data.md").read_text()) < 600_000


def test_numbers_of_images_are_those_of_medmnist():
    facts = datacards.load(REAL)
    assert list(facts) == sorted(data.ENTRIES)
    for name in set(data.names()) - {"mednist"}:
        assert facts[name].splits == registry._TABLE[name]["n_samples"]
    assert sum(facts["mednist"].splits.values()) == 9000


def test_licences_of_images_in_notebooks_are_stated_by_hand():
    use = (ROOT / "book/use.md").read_text()
    for chapter in REAL.chapters():
        for name in chapter.meta["data"]:
            info = {**data.ENTRIES, **data.KSPACES}[name]
            rows = [x for x in use.splitlines() if x.startswith(f"| {datacards.title(info)} |")]
            assert len(rows) == 1 and info.licence in rows[0]
            assert "NC" not in info.licence


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: mednist", "name: mednest", r"yml:\d+: data set mednest is not in the registry"),
        ("name: octmnist", "name: mednist", r"yml:\d+: data set mednist stands here twice"),
        ("train: 1080, val", "val: 1080, train", r"yml:\d+: `splits` must be train, val, test"),
        ("splits: {all: 209}", "splits: {train: 209}", r"yml:\d+: `splits` must be all"),
        ("    people: children;", "    persons: children;", r"people: Field required"),
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
