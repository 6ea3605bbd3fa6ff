"""The data cards: every set, its licence, what it may not be mixed with, the same bytes."""

import re
from pathlib import Path

import pytest

from medbook import data
from medbook._book.pages import datacards, twin_strips
from medbook._book.project import Project
from medbook.data.files.medmnist import TABLE
from medbook.errors import MedbookError

ROOT = Path(__file__).parents[1]
LABELLED = {name for name, entry in data.ENTRIES.items() if entry.classes}
FEW = {"fundus": range(1)}  # twins of fewer than six pictures
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


def cards_of(text):
    """Card by name."""
    parts = re.split(r"^\((\w+)\)=$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_set_has_a_card_with_its_licence_credit_and_hashes(text):
    cards = cards_of(text)
    assert list(cards) == list(data.ENTRIES) == sorted(data.ENTRIES)
    for name, card in cards.items():
        info = data.ENTRIES[name]
        assert f"- **Licence:** {info.licence}\n" in card
        assert f"```text\n{info.credit}\n```" in card
        assert info.unit in card
        assert all(file.digest in card and file.path in card for file in info.files.values())
    for name in LABELLED:
        assert "Classes:" in cards[name]
        assert all(label in cards[name] for label in data.info(name).classes)
    assert "CC BY-NC 4.0" in cards["dermamnist"]
    assert "no public mirror" in cards["mednist"] and "zenodo" not in cards["mednist"]


def test_cards_of_images_without_labels_say_what_a_value_is(text):
    cards = cards_of(text)
    assert not any("Classes:" in cards[name] for name in cards.keys() - LABELLED)
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
        n = len(data.info(name).classes) or len(FEW.get(name, range(6)))
        assert f"{n} small generated pictures" in alt
        assert "data:image/png;base64," in card
    twin_strips.strip.cache_clear()
    assert datacards.cards(REAL) == text
    assert len(text) + len((ROOT / "book/data.md").read_text()) < 600_000


def test_numbers_of_images_are_those_of_medmnist():
    for name in LABELLED - {"mednist"}:
        assert data.ENTRIES[name].card.splits == TABLE[name]["n_samples"]
    assert sum(data.ENTRIES["mednist"].card.splits.values()) == 9000


def test_licences_of_images_in_notebooks_are_stated_by_hand():
    use = (ROOT / "book/use.md").read_text()
    for chapter in REAL.chapters():
        for name in chapter.meta["data"]:
            info = data.ENTRIES[name]
            rows = [x for x in use.splitlines() if x.startswith(f"| {datacards.title(info)} |")]
            assert len(rows) == 1 and info.licence in rows[0]
            assert "NC" not in info.licence
