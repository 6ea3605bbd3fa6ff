"""A chapter with its data in a folder of one's own."""

import hashlib
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from book_fixtures import Book

from medbook import paths
from medbook._book import cli
from medbook._book.notebooks import get
from medbook._book.project import Chapter
from medbook.data import registry
from medbook.errors import MedbookError

LOADING = """
# %%
import medbook

run = medbook.start("one")
data = run.load("pneumoniamnist"{size})
"""
CONTENT = b"a file of images"


@pytest.fixture
def chapter(book: Book, monkeypatch: pytest.MonkeyPatch) -> Chapter:
    monkeypatch.setenv("MEDBOOK_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(book.root / "cache"))
    monkeypatch.delenv("MEDBOOK_DATA", raising=False)
    return loading(book, "")


def loading(book: Book, size: str) -> Chapter:
    """The chapter `one`, which loads its data set at a size."""
    (book.root / "book/systems.yml").write_text("[]\n")
    book.add("one", LOADING.format(size=size))
    (book.project.notebooks / "one.ipynb").write_text(nbformat.writes(nbformat.v4.new_notebook()))
    return book.project.select(["one"])[0]


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, named by MEDBOOK_DATA, with a file that passes for the data set's."""
    digest = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    file = registry.File("medmnist/pneumoniamnist.npz", digest)
    monkeypatch.setitem(registry.REGISTRY["pneumoniamnist"].files, 28, file)
    path = tmp_path / "images" / file.path
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    monkeypatch.setenv("MEDBOOK_DATA", str(tmp_path / "images"))
    return path


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ("", [28]),
        (", size=64", [64]),
        (", size=run.scale(smoke=28, laptop=64, gpu=128)", [64, 128]),
        (", size=28)\nagain = run.load('pneumoniamnist', size=128", [28, 128]),
    ],
)
def test_sizes_are_those_that_the_source_loads(
    book: Book, chapter: Chapter, size: str, sizes: list[int]
) -> None:
    assert get.loaded_sizes(loading(book, size)) == {"pneumoniamnist": sizes}


def test_sizes_of_images_without_labels_are_told_too(book: Book, chapter: Chapter) -> None:
    book.edit("chapters/trust/one.py", "data: [pneumoniamnist]", "data: [chest_ct_lidc, fundus]")
    book.edit("chapters/trust/one.py", 'run.load("pneumoniamnist")', 'run.images("chest_ct_lidc")')
    with (book.root / "chapters/trust/one.py").open("a") as file:
        file.write("eye = run.images('fundus', size=run.scale(smoke=128, laptop=128, gpu=512))\n")
    chapter = book.project.select(["one"])[0]
    assert get.loaded_sizes(chapter) == {"chest_ct_lidc": [256], "fundus": [128, 512]}
    book.edit("chapters/trust/one.py", "('fundus', size=run", "('fundus', size=n + run")
    with pytest.raises(
        MedbookError, match=r'Write `run\.images\("fundus", size=\.\.\.\)` with one of'
    ):
        get.loaded_sizes(book.project.select(["one"])[0])


@pytest.mark.parametrize(
    "size", [", size=n", ", size=29", ", **o", ")\nrun.load('pneumoniamnist', size=n"]
)
def test_a_size_that_cannot_be_told_is_refused(book: Book, chapter: Chapter, size: str) -> None:
    with pytest.raises(MedbookError, match=r"one\.py: which size of pneumoniamnist does it load"):
        get.loaded_sizes(loading(book, size))


def test_data_sets_that_are_not_registered_need_no_file(book: Book, chapter: Chapter) -> None:
    book.edit("chapters/trust/one.py", "data: [pneumoniamnist]", "data: [phantom]")
    assert get.loaded_sizes(book.project.select(["one"])[0]) == {}


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
    for name in ("_toc.yml", "book/notebooks", "book/results", "book/systems.yml", "chapters"):
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
