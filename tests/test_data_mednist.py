"""The reader of MedNIST on a small archive of the same layout."""

import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pooch
import pytest
from PIL import Image
from test_data import alone  # noqa: F401

from medbook import data
from medbook.data import sources
from medbook.data.entries import File
from medbook.data.sets import mednist
from medbook.errors import MedbookError

REAL = os.environ.get("MEDBOOK_DATA", "")
CLASSES = ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")


def jpeg(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def register(monkeypatch, path):
    file = File("mednist/mednist_6x1500.zip", f"sha256:{pooch.file_hash(str(path))}")
    entry = replace(data.info("mednist"), files={32: file, 64: file})
    monkeypatch.setitem(data.ENTRIES, "mednist", entry)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Ten flat images a class: number k of class c has the grey value 40 c + 3 k."""
    path = tmp_path / "data" / "mednist" / "mednist_6x1500.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as file:
        for k in (3, 9, 0, 5, 1, 7, 2, 8, 6, 4):
            for c, label in enumerate(CLASSES):
                flat = np.full((64, 64), 40 * c + 3 * k, np.uint8)
                file.writestr(f"{label}/{k * 7:06d}.jpeg", jpeg(flat))
    register(monkeypatch, path)
    monkeypatch.setenv("MEDBOOK_DATA", str(tmp_path / "data"))
    return path


@pytest.mark.parametrize("size", [32, 64])
def test_each_class_is_cut_into_blocks_of_neighbouring_numbers(archive, size):
    ds = data.load("mednist", size=size, source="real")
    assert ds.classes == CLASSES and ds.sha256 == pooch.file_hash(str(archive))
    for split, numbers in (("train", range(6)), ("val", (6, 7)), ("test", (8, 9))):
        got = getattr(ds, split)
        assert got.images.shape == (6 * len(numbers), 1, size, size)
        expected = [(c, 40 * c + 3 * k) for c in range(6) for k in numbers]
        assert got.labels.tolist() == [c for c, _ in expected]
        for image, (_, grey) in zip(got.images, expected, strict=True):
            assert (image.int() - grey).abs().max() <= 1


def test_size_32_averages_two_by_two(archive, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    content = jpeg(pixels)
    with zipfile.ZipFile(archive, "w") as file:
        for label in CLASSES:
            file.writestr(f"{label}/000000.jpeg", content)
    register(monkeypatch, archive)
    decoded = np.asarray(Image.open(io.BytesIO(content))).astype(float)
    mean = (decoded[::2, ::2] + decoded[1::2, ::2] + decoded[::2, 1::2] + decoded[1::2, 1::2]) / 4
    got = data.load("mednist", size=32, source="real").test.images[0, 0].numpy()
    assert np.abs(got - mean).max() <= 0.5


def test_decoded_images_are_cached_by_content(archive, monkeypatch):
    first = data.load("mednist", size=32, source="real")
    files = [p.name for p in (sources.cache_folder() / "mednist").iterdir()]
    assert files == [f"decoded_{first.sha256}_32.npz"]
    monkeypatch.setattr(mednist, "_decode", lambda *_: pytest.fail("decoded again"))
    assert data.load("mednist", size=32, source="real").train.images.equal(first.train.images)


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_damaged_cache_is_made_anew(archive, damage):
    first = data.load("mednist", size=32, source="real")
    (cached,) = (sources.cache_folder() / "mednist").iterdir()
    content = cached.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    cached.write_bytes({"truncate": content[:-500], "flip": flipped, "empty": b""}[damage])
    again = data.load("mednist", size=32, source="real")
    assert again.train.images.equal(first.train.images)
    assert cached.read_bytes() == content


def test_cache_that_cannot_be_written_does_no_harm(archive, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a file where the cache should be")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "file" / project)
    assert data.load("mednist", size=32, source="real").n == 60


def test_interrupted_write_leaves_no_cache(archive, monkeypatch):
    def full_disk(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full_disk)
    assert data.load("mednist", size=32, source="real").n == 60
    assert list((sources.cache_folder() / "mednist").glob("*.npz")) == []
    assert list((sources.cache_folder() / "mednist").iterdir()) == []


def test_archive_without_a_class_is_refused(archive, monkeypatch):
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("CXR/000000.jpeg", jpeg(np.zeros((64, 64), np.uint8)))
    register(monkeypatch, archive)
    with pytest.raises(MedbookError, match="cannot be read as mednist"):
        data.load("mednist", size=32)


def test_official_archive(monkeypatch):
    if not (Path(REAL) / "mednist" / "mednist_6x1500.zip").is_file():
        pytest.skip("MEDBOOK_DATA has no MedNIST")
    monkeypatch.setenv("MEDBOOK_DATA", REAL)
    ds = data.load("mednist", size=32, source="real")
    assert (len(ds.train), len(ds.val), len(ds.test)) == (5400, 1800, 1800)
    assert ds.test.labels.bincount().tolist() == [300] * 6
