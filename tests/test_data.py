"""Loading: what comes out, in which order the sources are asked, what is refused."""

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch

from medbook import data
from medbook.data import sources
from medbook.data.entries import File
from medbook.data.files.medmnist import TABLE
from medbook.data.record import Split
from medbook.errors import MedbookError

REAL = os.environ.get("MEDBOOK_DATA", "")


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No data folder, an empty cache, no network."""
    for name in ("MEDBOOK_DATA", "MEDBOOK_PERMUTE_TEST", "MEDBOOK_PILOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEDBOOK_OFFLINE", "1")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)


def write_medmnist(path, shape=(28, 28), seed=0, **changed):
    rng = np.random.default_rng(seed)
    arrays = {}
    for split, n in (("train", 12), ("val", 5), ("test", 40)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % 2).astype(np.uint8)[:, None]
    arrays.update(changed)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return arrays


def register(monkeypatch, path, name="pneumoniamnist", urls=()):
    """Make the registry expect the content of ``path`` for the 28-pixel file of ``name``."""
    file = File(f"medmnist/{name}.npz", f"md5:{pooch.file_hash(str(path), alg='md5')}", urls)
    monkeypatch.setitem(data.ENTRIES, name, replace(data.info(name), files={28: file}))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A MEDBOOK_DATA folder with a small pneumoniamnist; gives its path."""
    path = tmp_path / "data" / "medmnist" / "pneumoniamnist.npz"
    write_medmnist(path)
    register(monkeypatch, path)
    monkeypatch.setenv("MEDBOOK_DATA", str(tmp_path / "data"))
    return path


def test_real_file_gives_its_arrays_in_order(folder):
    arrays = dict(np.load(folder))
    ds = data.load("pneumoniamnist")
    assert (ds.name, ds.kind, ds.n) == ("pneumoniamnist", "real", 57)
    assert ds.classes == ("normal", "pneumonia")
    assert ds.licence == "CC BY 4.0" and "patients not published" in ds.unit
    assert "Kermany" in ds.credit and "10519652" in ds.origin
    assert ds.sha256 == pooch.file_hash(str(folder), alg="sha256")
    for split in ("train", "val", "test"):
        got = getattr(ds, split)
        assert got.images.dtype == torch.uint8 and got.labels.dtype == torch.int64
        np.testing.assert_array_equal(got.images[:, 0].numpy(), arrays[f"{split}_images"])
        np.testing.assert_array_equal(got.labels.numpy(), arrays[f"{split}_labels"][:, 0])
        assert len(got) == len(arrays[f"{split}_labels"])


def test_colour_images_become_channels_first(tmp_path, monkeypatch):
    path = tmp_path / "data" / "medmnist" / "retinamnist.npz"
    arrays = write_medmnist(path, (28, 28, 3))
    register(monkeypatch, path, "retinamnist")
    monkeypatch.setenv("MEDBOOK_DATA", str(tmp_path / "data"))
    images = data.load("retinamnist", source="real").train.images
    assert images.shape == (12, 3, 28, 28) and images.is_contiguous()
    assert images[7, 2, 3, 25] == arrays["train_images"][7, 3, 25, 2]


def test_data_folder_goes_before_cache_and_cache_before_twin(folder, monkeypatch):
    cached = sources.cache_folder() / "medmnist" / folder.name
    cached.parent.mkdir(parents=True)
    cached.write_bytes(folder.read_bytes())
    file = data.info("pneumoniamnist").files[28]
    assert sources.locate(file) == folder
    folder.unlink()
    assert sources.locate(file) == cached
    assert data.load("pneumoniamnist").kind == "real"
    monkeypatch.delenv("MEDBOOK_DATA")
    assert sources.locate(file) == cached
    cached.unlink()
    with pytest.warns(UserWarning, match="procedural twin") as caught:
        assert data.load("pneumoniamnist").kind == "twin"
    assert len(caught) == 1 and "\n" not in str(caught[0].message)


def test_without_file_real_is_an_error_that_names_the_places(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBOOK_DATA", str(tmp_path))
    with pytest.raises(MedbookError, match=rf"no {tmp_path}/medmnist.*cache.*MEDBOOK_OFFLINE"):
        data.load("bloodmnist", source="real")


@pytest.mark.parametrize("source", ["auto", "real"])
def test_a_data_folder_that_is_none_is_refused(tmp_path, monkeypatch, source):
    (tmp_path / "file").touch()
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        monkeypatch.setenv("MEDBOOK_DATA", str(path))
        with pytest.raises(MedbookError, match=f"MEDBOOK_DATA is {path}, which is no folder"):
            data.load("pneumoniamnist", source=source)
    assert data.load("pneumoniamnist", source="twin").kind == "twin"


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
@pytest.mark.parametrize("where", ["folder", "cache"])
@pytest.mark.parametrize("source", ["auto", "real"])
def test_damaged_file_is_refused_and_named(folder, damage, where, source, monkeypatch):
    content = folder.read_bytes()
    broken = {"truncate": content[:-9], "flip": content[:99] + b"!" + content[100:], "empty": b""}
    path = folder
    if where == "cache":
        path = sources.cache_folder() / "medmnist" / folder.name
        path.parent.mkdir(parents=True)
        monkeypatch.delenv("MEDBOOK_DATA")
    path.write_bytes(broken[damage])
    expected = pooch.hashes.hashlib.md5(content).hexdigest()
    found = pooch.hashes.hashlib.md5(broken[damage]).hexdigest()
    with pytest.raises(MedbookError) as error:
        data.load("pneumoniamnist", source=source)
    message = str(error.value)
    assert all(part in message for part in (str(path), expected, found, "delete it"))
    assert path.read_bytes() == broken[damage]


def test_damage_after_the_first_load_is_seen(folder):
    assert data.load("pneumoniamnist").kind == "real"
    folder.write_bytes(folder.read_bytes()[:-1])
    with pytest.raises(MedbookError, match="damaged"):
        data.load("pneumoniamnist")


def test_pickled_objects_are_refused(folder, monkeypatch):
    write_medmnist(folder, train_images=np.array([{"a": 1}, None], dtype=object))
    register(monkeypatch, folder)
    with pytest.raises(MedbookError, match=r"pneumoniamnist\.npz cannot be read.*allow_pickle"):
        data.load("pneumoniamnist")


def test_file_with_the_right_hash_but_no_npz_is_refused(folder, monkeypatch):
    folder.write_bytes(b"PK\x03\x04 not a zip")
    register(monkeypatch, folder)
    with pytest.raises(MedbookError, match="cannot be read as pneumoniamnist"):
        data.load("pneumoniamnist")


def test_second_load_does_not_hash_again(folder, monkeypatch):
    data.load("pneumoniamnist")
    monkeypatch.setattr(pooch, "file_hash", lambda *_, **__: pytest.fail("hashed again"))
    assert data.load("pneumoniamnist").kind == "real"


def test_twin_asks_neither_disk_nor_network(monkeypatch):
    monkeypatch.delenv("MEDBOOK_OFFLINE")
    monkeypatch.setattr(sources, "locate", lambda *_: pytest.fail("looked for a file"))
    ds = data.load("pneumoniamnist", source="twin")
    assert ds.kind == "twin" and "twin" in ds.credit and "no patient data" in ds.credit


def test_permuted_test_labels_touch_nothing_else(folder, monkeypatch):
    plain, shuffled = data.load("pneumoniamnist"), data.load("pneumoniamnist", permute_test_seed=3)
    for split in ("train", "val"):
        assert torch.equal(getattr(plain, split).images, getattr(shuffled, split).images)
        assert torch.equal(getattr(plain, split).labels, getattr(shuffled, split).labels)
    assert torch.equal(plain.test.images, shuffled.test.images)
    assert not torch.equal(plain.test.labels, shuffled.test.labels)
    assert torch.equal(plain.test.labels.bincount(), shuffled.test.labels.bincount())
    monkeypatch.setenv("MEDBOOK_PERMUTE_TEST", "3")
    by_variable = data.load("pneumoniamnist").test.labels
    assert torch.equal(by_variable, shuffled.test.labels)
    other = data.load("pneumoniamnist", permute_test_seed=4).test.labels
    assert not torch.equal(by_variable, other)


@pytest.mark.parametrize("kind", ["full", "half"])
def test_a_pilot_sees_no_test_image_and_no_test_label(folder, monkeypatch, kind):
    monkeypatch.setenv("MEDBOOK_PILOT", kind)
    before = data.load("pneumoniamnist")
    junk = {
        "test_images": np.full((40, 28, 28), 255, np.uint8),
        "test_labels": np.ones((40, 1), np.uint8),
    }
    write_medmnist(folder, **junk)
    register(monkeypatch, folder)
    after = data.load("pneumoniamnist")
    for name in ("train", "val", "test"):
        assert torch.equal(getattr(before, name).images, getattr(after, name).images)
        assert torch.equal(getattr(before, name).labels, getattr(after, name).labels)
    assert len(after.val) == 5 and torch.equal(after.test.images, after.val.images)
    monkeypatch.delenv("MEDBOOK_PILOT")
    assert (data.load("pneumoniamnist").test.images == 255).all(), "the junk is in the file"


def test_a_pilot_takes_the_twin_of_a_set_that_has_no_split_to_choose_with(monkeypatch):
    monkeypatch.setenv("MEDBOOK_PILOT", "full")
    assert data.load("chest_xray_lungs", 128, source="real").kind == "twin"


def test_seed_zero_permutes_too(monkeypatch):
    plain = data.load("pneumoniamnist", source="twin").test.labels
    assert not torch.equal(
        plain, data.load("pneumoniamnist", source="twin", permute_test_seed=0).test.labels
    )
    monkeypatch.setenv("MEDBOOK_PERMUTE_TEST", "")
    assert torch.equal(plain, data.load("pneumoniamnist", source="twin").test.labels)
    monkeypatch.setenv("MEDBOOK_PERMUTE_TEST", "yes")
    with pytest.raises(MedbookError, match="MEDBOOK_PERMUTE_TEST is 'yes': set a whole number"):
        data.load("pneumoniamnist", source="twin")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "pneumonia"}, r"unknown data set 'pneumonia'.*pneumoniamnist"),
        ({"name": "chestmnist"}, "chestmnist is multi-label"),
        ({"name": "organmnist3d"}, "organmnist3d is three-dimensional"),
        ({"name": "pneumoniamnist", "size": 32}, r"no size 32; accepted are 28, 64, 128, 224"),
        ({"name": "mednist", "size": 28}, r"no size 28; accepted are 32, 64"),
        ({"name": "pneumoniamnist", "source": "fake"}, r"'fake'; accepted are auto, real, twin"),
    ],
)
def test_wrong_arguments_say_what_is_accepted(arguments, message):
    with pytest.raises(MedbookError, match=message):
        data.load(**arguments)


def split_of(*counts):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None]
    return Split(images, labels)


def test_balanced_draws_equally_without_repeats():
    split = split_of(5, 30, 7)
    drawn = split.balanced(15, seed=1)
    assert drawn.labels.bincount().tolist() == [5, 5, 5]
    ids = drawn.images.flatten().long()
    assert len(ids.unique()) == 15 and torch.equal(split.labels[ids], drawn.labels)
    assert torch.equal(ids, split.balanced(15, seed=1).images.flatten().long())
    assert not torch.equal(ids, split.balanced(15, seed=2).images.flatten().long())
    assert drawn.labels.tolist() != sorted(drawn.labels.tolist())


def test_balanced_draws_every_image_equally_often():
    split = split_of(4, 8)
    seen = torch.zeros(12)
    for seed in range(600):
        seen[split.balanced(4, seed).images.flatten().long()] += 1
    np.testing.assert_allclose(seen[:4] / 600, 0.5, atol=0.09)
    np.testing.assert_allclose(seen[4:] / 600, 0.25, atol=0.08)


@pytest.mark.parametrize(("counts", "n"), [((5, 9), 3), ((5, 9), 12), ((5, 9), 0), ((5, 9), -2)])
def test_balanced_refuses_what_it_cannot_draw(counts, n):
    with pytest.raises(MedbookError, match=f"cannot draw {n} .*multiple of 2, at most 10"):
        split_of(*counts).balanced(n, seed=0)


def test_balanced_of_nothing_is_refused():
    with pytest.raises(MedbookError, match="0 classes"):
        split_of(0).balanced(2, seed=0)


def test_subset_takes_indices_and_masks():
    split = split_of(3, 3)
    assert split.subset(torch.tensor([4, 0])).images.flatten().tolist() == [4, 0]
    assert split.subset(split.labels == 1).images.flatten().tolist() == [3, 4, 5]
    assert len(split.subset(torch.tensor([], dtype=torch.long))) == 0


def test_to_moves_every_tensor():
    ds = data.load("breastmnist", source="twin", device="meta")
    for split in (ds.train, ds.val, ds.test):
        assert split.images.device.type == split.labels.device.type == "meta"
    assert ds.n == 960


def test_registry_reads_the_table_of_the_package(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))  # importing medmnist makes a folder there
    import medmnist

    assert medmnist.INFO == TABLE
    flat = {
        k for k, v in medmnist.INFO.items() if "url_128" in v and "multi-label" not in v["task"]
    }
    assert {name for name, entry in data.ENTRIES.items() if entry.classes} == flat | {"mednist"}


def test_registry_is_complete():
    for name, entry in data.ENTRIES.items():
        assert entry.name == name and len(entry.shares) == len(entry.classes) != 1
        assert entry.unit and entry.licence and entry.credit and entry.origin
        splits = ["train", "val", "test"] if entry.classes else ["all"]
        assert list(entry.card.splits) == splits == list(entry.twin(min(entry.files)))
        for size, file in entry.files.items():
            algorithm, digest = file.digest.split(":")
            assert len(digest) == {"md5": 32, "sha256": 64}[algorithm]
            assert all(url.startswith("https://") for url in file.urls)
            assert not file.path.startswith("medmnist/") or (f"_{size}" in file.path) == (
                size != 28
            )


@pytest.mark.parametrize(
    "pair",
    [
        ("pneumoniamnist", "chest_xray_lungs"),
        ("chestmnist", "mednist"),
        ("organamnist", "organsmnist"),
        ("organcmnist", "organmnist3d"),
        ("pathmnist", "pathmnist_subset"),
        ("mednist", "chest_ct_lidc"),
        ("breastmnist", "breastmnist"),
    ],
)
def test_overlapping_sets_are_refused(pair):
    for names in (pair, pair[::-1], ("bloodmnist", *pair)):
        with pytest.raises(MedbookError, match=f"({pair[0]}|{pair[1]}) .*only one of them"):
            data.check_overlap(names)


def test_sets_of_different_origin_go_together():
    data.check_overlap([])
    data.check_overlap(["mednist"])
    data.check_overlap(["pneumoniamnist", "octmnist", "mednist", "organamnist", "retinamnist"])
    with pytest.raises(MedbookError, match="unknown data set"):
        data.check_overlap(["mednist", "nonsense"])


@pytest.mark.parametrize(
    ("name", "counts", "share"),
    [("pneumoniamnist", (4708, 524, 624), 0.742), ("breastmnist", (546, 78, 156), 0.731)],
)
def test_official_files(name, counts, share, monkeypatch):
    if not (Path(REAL) / "medmnist" / f"{name}.npz").is_file():
        pytest.skip("MEDBOOK_DATA has no official file")
    monkeypatch.setenv("MEDBOOK_DATA", REAL)
    data.load(name, source="real")
    start = time.perf_counter()
    ds = data.load(name, source="real")
    assert time.perf_counter() - start < 1
    assert (len(ds.train), len(ds.val), len(ds.test)) == counts
    assert ds.train.labels.double().mean().item() == pytest.approx(share, abs=1e-3)


def test_labelled_phantoms_are_data_sets_and_take_part_in_the_leak_check(monkeypatch):
    def split(n, seed):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(2, (n, 3), generator=generator)
        return data.Split(torch.randint(256, (n, 1, 4, 4), generator=generator).byte(), labels)

    parts = split(5, 0), split(4, 1), split(30, 2)
    made = data.labelled_phantom("dots", *parts, classes="abc", unit="dot")
    assert made.kind == "phantom" and made.n == 39 and made.classes == ("a", "b", "c")
    monkeypatch.setenv("MEDBOOK_PERMUTE_TEST", "1")
    other = data.labelled_phantom("dots", *parts, classes="abc", unit="dot")
    assert torch.equal(other.train.labels, made.train.labels) and other.sha256 == made.sha256
    assert torch.equal(other.test.images, made.test.images)
    assert not torch.equal(other.test.labels, made.test.labels)
    assert torch.equal(other.test.labels.sum(0), made.test.labels.sum(0))
    monkeypatch.delenv("MEDBOOK_PERMUTE_TEST")
    monkeypatch.setenv("MEDBOOK_PILOT", "full")
    piloted = data.labelled_phantom("dots", *parts, classes="abc", unit="dot")
    assert torch.equal(piloted.test.images, parts[1].images) and len(piloted.test) == 4
    without = parts[0], split(0, 1), parts[2]
    with pytest.raises(MedbookError, match="dots has no validation images, which a pilot takes"):
        data.labelled_phantom("dots", *without, classes="abc", unit="dot")
    untested = data.labelled_phantom(
        "dots", parts[0], *[split(0, 1)] * 2, classes="abc", unit="dot"
    )
    assert not len(untested.test)
