"""A chapter with its data in a folder of one's own."""

import hashlib
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from book_fixtures import Book

from medbook import data, paths
from medbook._book import cli
from medbook._book.notebooks import get
from medbook._book.project import Chapter
from medbook.data.entries import File
from medbook.errors import MedbookError
from medbook.record import results

CONTENT = b"a file of images"


@pytest.fixture
def chapter(book: Book, monkeypatch: pytest.MonkeyPatch) -> Chapter:
    monkeypatch.setenv("MEDBOOK_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(book.root / "cache"))
    monkeypatch.delenv("MEDBOOK_DATA", raising=False)
    book.add("one", "")
    store(book, "laptop", {"name": "pneumoniamnist", "options": {"size": 28}})
    (book.project.notebooks / "one.ipynb").write_text(nbformat.writes(nbformat.v4.new_notebook()))
    return book.project.select(["one"])[0]


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, named by MEDBOOK_DATA, with a file that passes for the data set's."""
    digest = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    file = File("medmnist/pneumoniamnist.npz", digest)
    monkeypatch.setitem(data.ENTRIES["pneumoniamnist"].files, 28, file)
    path = tmp_path / "images" / file.path
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    monkeypatch.setenv("MEDBOOK_DATA", str(tmp_path / "images"))
    return path


def store(book: Book, profile: str, *used: dict[str, object]) -> None:
    """A stored run of `one` that used these data sets."""
    run = {"schema": results.SCHEMA, "chapter": "one", "profile": profile, "seconds": 1.0,
           "peak_mib": 1, "environment": {"device": "here"}, "metrics": {}, "claims": [],
           "data": [{"kind": "real", "n": 1, "sha256": "", **entry} for entry in used]}  # fmt: skip
    results.save(run, book.project.published("one", profile))


def loaded(book: Book, chapter: Chapter) -> dict[str, list[str]]:
    found = get.loaded_files(book.project, chapter)
    return {name: [file.path for file in files] for name, files in found.items()}


def test_files_are_those_that_the_stored_runs_loaded(book: Book, chapter: Chapter) -> None:
    """Of every profile but smoke, which takes the twin; phantoms have no file."""
    book.project.published("one", "laptop").unlink()
    store(book, "smoke", {"name": "breastmnist", "kind": "twin", "options": {"size": 28}})
    assert loaded(book, chapter) == {}
    path = {"name": "pathmnist", "options": {"size": 64}}
    coil = {"name": "mri_brain_8coil", "options": {}}
    store(book, "laptop", path, coil, {"name": "disc", "kind": "phantom", "options": {}})
    store(book, "gpu", path | {"options": {"size": 128}}, path)
    assert loaded(book, chapter) == {
        "pathmnist": ["medmnist/pathmnist_64.npz", "medmnist/pathmnist_128.npz"],
        "mri_brain_8coil": ["mri_brain_8coil/cartesian_ksp.npy"],
    }


def test_where_no_size_is_stored_the_hash_tells_the_file(book: Book, chapter: Chapter) -> None:
    slices = data.ENTRIES["chest_ct_lidc"].files[512]
    head = data.ENTRIES["mri_brain_slices"].files[256]
    hashes = [file.digest.removeprefix("sha256:") for file in (head, *head.parts)]
    together = hashlib.sha256("".join(hashes).encode()).hexdigest()
    store(
        book, "laptop",
        {"name": "chest_ct_lidc", "sha256": slices.digest.removeprefix("sha256:")},
        {"name": "mri_brain_slices", "sha256": together},
        {"name": "pathmnist", "sha256": "of a registered MD5"},
    )  # fmt: skip
    assert loaded(book, chapter) == {
        "chest_ct_lidc": [slices.path],
        "mri_brain_slices": [head.path, *(part.path for part in head.parts)],
        "pathmnist": ["medmnist/pathmnist.npz"],
    }


def test_without_a_stored_run_it_says_that_no_data_are_known(
    book: Book, chapter: Chapter, tmp_path: Path
) -> None:
    book.project.published("one", "laptop").unlink()
    said = list(get.get(book.project, chapter, tmp_path / "mine", student=True))
    assert said[1] == (
        "no run that is stored tells its data sets: the notebook gets them when it runs"
    )
    book.edit("chapters/trust/one.py", "data: [pneumoniamnist]", "data: []")
    [chapter] = book.project.chapters()
    assert len(list(get.get(book.project, chapter, tmp_path / "other", student=True))) == 3


def test_notebook_and_data_and_how_to_open_them(
    book: Book, chapter: Chapter, images: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    said = list(get.get(book.project, chapter, folder, student=False))
    taken = folder / "data/medmnist/pneumoniamnist.npz"
    assert said == [
        f"wrote {folder / 'one.ipynb'}",
        f"wrote {taken}",
        f"cd {folder}",
        "MEDBOOK_DATA=data jupyter lab one.ipynb",
    ]
    assert taken.read_bytes() == CONTENT
    assert (folder / "one.ipynb").read_bytes() == (
        book.project.notebooks / "one.ipynb"
    ).read_bytes()
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == ["one.ipynb", taken.name]


def test_what_is_not_to_be_had_is_said(book: Book, chapter: Chapter, tmp_path: Path) -> None:
    said = list(get.get(book.project, chapter, tmp_path / "mine", student=False))
    assert said[1].startswith("pneumoniamnist: the notebook will use its synthetic twin: no ")
    assert said[-1] == "jupyter lab one.ipynb" and not (tmp_path / "mine/data").exists()


def test_a_damaged_file_is_not_handed_out(
    book: Book, chapter: Chapter, images: Path, tmp_path: Path
) -> None:
    images.write_bytes(b"damaged")
    with pytest.raises(MedbookError, match="damaged or not the official file"):
        list(get.get(book.project, chapter, tmp_path / "mine", student=False))
    assert not (tmp_path / "mine/data").exists()


def test_a_changed_notebook_is_not_overwritten(
    book: Book, chapter: Chapter, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    for _ in range(2):
        list(get.get(book.project, chapter, folder, student=False))
    (folder / "one.ipynb").write_text("my work")
    with pytest.raises(MedbookError, match=r"one\.ipynb is there and reads otherwise"):
        list(get.get(book.project, chapter, folder, student=True))
    assert (folder / "one.ipynb").read_text() == "my work"


def test_an_unpublished_chapter_can_be_had_as_a_student(
    book: Book, chapter: Chapter, tmp_path: Path
) -> None:
    (book.project.notebooks / "one.ipynb").unlink()
    with pytest.raises(MedbookError, match="one has no published notebook"):
        list(get.get(book.project, chapter, tmp_path / "mine", student=False))
    assert not (tmp_path / "mine").exists()
    list(get.get(book.project, chapter, tmp_path / "mine", student=True))
    cells = nbformat.read(tmp_path / "mine/one.ipynb", 4).cells
    assert [cell["id"] for cell in cells][:2] == ["cell-1", "card"]


def test_away_from_a_checkout_the_package_hands_out_what_it_carries(
    book: Book, chapter: Chapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The files that pyproject.toml puts into the wheel are enough."""
    package = tmp_path / "site-packages/medbook"
    for name in (
        "_toc.yml",
        "book/notebooks",
        "book/results",
        "book/claims",
        "book/systems.yml",
        "chapters",
    ):
        target = package / "_content" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (book.root / name).is_dir() else shutil.copy
        copy(book.root / name, target)
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.setattr(paths, "PACKAGE", package)
    monkeypatch.delenv("MEDBOOK_ROOT", raising=False)
    monkeypatch.chdir(away)
    for arguments in (["one"], ["one", "--student", "--to", "student"]):
        monkeypatch.setattr(sys, "argv", ["medbook", "get", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
    assert "cd one\njupyter lab one.ipynb" in capsys.readouterr().out
    assert sorted(p.relative_to(away).as_posix() for p in away.rglob("*.ipynb")) == [
        "one/one.ipynb",
        "student/one.ipynb",
    ]
