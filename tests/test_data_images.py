"""Images without labels: values, orientation, groups and masks; what is refused; the twins."""

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pooch
import pytest
import torch
from PIL import Image

import medbook
from medbook import data, pilot
from medbook.data import sources
from medbook.data.entries import File
from medbook.data.record import Split
from medbook.errors import MedbookError

REAL = os.environ.get("MEDBOOK_DATA", "")
IMAGES = {
    name: entry
    for name, entry in data.ENTRIES.items()
    if not entry.classes and not entry.calibration
}
TWIN_SIZES = [(name, size) for name, entry in IMAGES.items() for size in entry.files]


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No data folder, an empty cache, no network."""
    for name in ("MEDBOOK_DATA", "MEDBOOK_PERMUTE_TEST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEDBOOK_OFFLINE", "1")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Put a file of some content into MEDBOOK_DATA and make the registry expect it at a size."""

    def put(name, size, file_name, content):
        path = tmp_path / "data" / name / file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        file = File(f"{name}/{file_name}", f"sha256:{hashlib.sha256(content).hexdigest()}")
        monkeypatch.setitem(data.ENTRIES, name, replace(data.info(name), files={size: file}))
        monkeypatch.setenv("MEDBOOK_DATA", str(tmp_path / "data"))
        return path

    return put


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def volume(shape=(8, 8, 3), seed=0):
    """Random HU with axes to the patient's left, front and head."""
    return np.random.default_rng(seed).integers(-1024, 3072, shape, dtype=np.int16)


def nifti(hu):
    image = nibabel.Nifti1Image(hu, np.diag([-1.4, 1.4, 2.5, 1.0]))
    assert nibabel.aff2axcodes(image.affine) == ("L", "A", "S")
    return image.to_bytes()


# ---------------------------------------------------------------- what the files become


def test_ct_has_the_front_on_top_and_the_patients_right_at_the_left(put):
    hu = volume()
    put("chest_ct_lidc", 8, "volume.nii", nifti(hu))
    images = data.load("chest_ct_lidc", 8, source="real").images
    assert images.shape == (3, 1, 8, 8) and images.is_contiguous()
    for left, front, head in ((0, 0, 0), (6, 1, 2), (2, 7, 1)):
        assert images[head, 0, 7 - front, left] == hu[left, front, head]


def test_ct_is_averaged_over_blocks(put):
    hu = volume()
    put("chest_ct_lidc", 2, "volume.nii", nifti(hu))
    ct = data.load("chest_ct_lidc", 2, source="real")
    back_right, front_left = hu[:4, :4, 1].mean(), hu[4:, 4:, 1].mean()
    assert ct.images[1, 0, 1, 0] == back_right and ct.images[1, 0, 0, 1] == front_left
    assert ct.images.mean().item() == pytest.approx(hu.mean(), rel=1e-5)
    assert ct.groups.tolist() == [0, 0, 0] and ct.masks is None
    assert ct.has_mask.tolist() == [False] * 3


def test_slices_are_oriented_like_the_volume(put):
    hu = volume()
    put("chest_ct_lidc", 8, "volume.nii", nifti(hu))
    expected = data.load("chest_ct_lidc", 8, source="real").images
    put("chest_ct_lidc", 8, "slices.npz", npz(hu=np.moveaxis(hu, 2, 0)))
    assert data.load("chest_ct_lidc", 8, source="real").images.equal(expected)


def xrays(wide, tall, mask):
    rows = [
        "image,label,pneumonia_type,lung_mask",
        "images/person7_virus_3.png,pneumonia,virus,",
        "images/IM-0002-0001.png,normal,none,masks/IM-0002-0001.png",
        "images/NORMAL2-IM-0002-0001.png,normal,none,",
        "images/person7_bacteria_4.png,pneumonia,bacteria,",
    ]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("labels.csv", "\r\n".join(rows) + "\r\n")
        for row, pixels in zip(rows[1:], (wide, tall, wide, tall), strict=True):
            archive.writestr(row.split(",")[0], png(pixels))
        archive.writestr("masks/IM-0002-0001.png", png(mask))
    return buffer.getvalue()


def test_xrays_are_cut_to_the_centre_square_and_made_smaller(put):
    wide = np.full((256, 512), 10, np.uint8)
    wide[:128, 128:384] = 200  # the upper half of the centre square
    tall = wide.T.copy()
    put("chest_xray_lungs", 64, "x.zip", xrays(wide, tall, tall > 100))
    found = data.load("chest_xray_lungs", 64, source="real")
    assert found.images.shape == found.masks.shape == (4, 1, 64, 64)
    first, second = found.images[0, 0], found.images[1, 0]
    assert (first[:31, 1:-1] == 200).all() and (first[33:] == 10).all()
    assert second.equal(first.T)
    assert found.has_mask.tolist() == [False, True, False, False]
    assert found.masks[1, 0].equal(second > 105)
    assert found.images.equal(found.images.round())


def test_a_patient_is_a_group_and_two_series_are_not_mixed_up(put):
    flat = np.zeros((512, 512), np.uint8)
    put("chest_xray_lungs", 64, "x.zip", xrays(flat, flat, flat > 0))
    a, b, c, again = data.load("chest_xray_lungs", 64, source="real").groups.tolist()
    assert a == again and len({a, b, c}) == 3


def test_xrays_of_512_are_whole_on_black(put):
    wide = np.random.default_rng(0).integers(1, 256, (300, 512), dtype=np.uint8)
    put("chest_xray_lungs", 512, "x.zip", xrays(wide, wide.T.copy(), wide.T > 99))
    found = data.load("chest_xray_lungs", 512, source="real")
    assert (found.images[0, 0, 106:406].numpy() == wide).all()
    assert (found.images[1, 0, :, 106:406].numpy() == wide.T).all()
    assert found.images[0, 0, :106].max() == found.images[0, 0, 406:].max() == 0
    assert (found.masks[1, 0, :, 106:406].numpy() == (wide.T > 99)).all()
    assert not found.masks[1, 0, :, :106].any()


def test_phase_contrast_is_cut_into_crops_plane_by_plane(put):
    planes = np.random.default_rng(0).integers(0, 65536, (2, 8, 12), dtype=np.uint16)
    planes[1, 4, 8] = 65535
    put("phase_contrast", 4, "p.npz", npz(phase=planes))
    images = data.load("phase_contrast", 4, source="real").images
    assert images.shape == (12, 1, 4, 4) and images[11, 0, 0, 0] == 255
    for plane, row, column in ((0, 0, 1), (0, 1, 0), (1, 1, 2)):
        crop = planes[plane, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        back = images[6 * plane + 3 * row + column, 0].double().numpy() * 257
        np.testing.assert_array_equal(back.round(), crop)


def test_a_file_of_a_python_package_is_found_without_importing_it(tmp_path, monkeypatch):
    content = png(np.dstack([np.full((8, 8), v, np.uint8) for v in (200, 100, 50)]))
    package = tmp_path / "site" / "brings_an_eye"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('imported')")
    (package / "data/eye.png").write_bytes(content)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    file = File("brings_an_eye/data/eye.png", digest, package=True)
    monkeypatch.setitem(data.ENTRIES, "fundus", replace(data.info("fundus"), files={4: file}))
    eye = data.load("fundus", 4)
    assert eye.kind == "real" and eye.images.flatten(2).unique(dim=2).tolist() == [
        [[200.0], [100.0], [50.0]]
    ]
    (package / "data/eye.png").unlink()
    with pytest.warns(UserWarning, match="fundus: using its procedural twin"):
        assert data.load("fundus", 4).kind == "twin"


def test_without_the_package_the_file_is_looked_for_elsewhere():
    file = File("no_such_package/eye.png", "sha256:0", package=True)
    assert sources.places(file) == [sources.cache_folder() / file.path]


# ---------------------------------------------------------------- sources and refusals


def test_what_is_known_is_said(put):
    path = put("chest_ct_lidc", 8, "volume.nii", nifti(volume()))
    ct = data.load("chest_ct_lidc", 8)
    assert (ct.name, ct.kind, ct.n, ct.value_unit) == ("chest_ct_lidc", "real", 3, "HU")
    assert ct.value_range == (-1024, 3071) and ct.licence == "CC BY 3.0"
    assert ct.sha256 == pooch.file_hash(str(path), alg="sha256")
    assert "LIDC-IDRI-0001" in ct.credit and "patient" in ct.unit
    assert ct.images.dtype == torch.float32 and ct.groups.dtype == torch.int64


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-9], lambda c: c[:99] + b"!" + c[100:], lambda c: b""]
)
@pytest.mark.parametrize("source", ["auto", "real"])
def test_a_damaged_file_is_refused(put, damage, source):
    path = put("phase_contrast", 4, "p.npz", npz(phase=np.ones((1, 4, 4), np.uint16)))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(MedbookError, match=rf"{path} is damaged .*delete it"):
        data.load("phase_contrast", 4, source=source)


@pytest.mark.parametrize(
    "content", [npz(other=np.ones(3)), npz(phase=np.array([{}, None], object)), b"PK\x03\x04"]
)
def test_a_file_of_another_form_is_refused(put, content):
    put("phase_contrast", 4, "p.npz", content)
    with pytest.raises(MedbookError, match=r"p\.npz cannot be read as phase_contrast"):
        data.load("phase_contrast", 4)


def test_without_file_the_twin_is_taken_and_said():
    with pytest.warns(UserWarning, match="chest_ct_lidc: using its procedural twin: no ") as caught:
        ct = data.load("chest_ct_lidc", 64)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert ct.kind == "twin" and "no patient data" in ct.credit and ct.licence == "MIT"
    with pytest.raises(MedbookError, match=r"no .*cache.*MEDBOOK_OFFLINE"):
        data.load("chest_ct_lidc", 64, source="real")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "chest_ct"}, r"unknown data set 'chest_ct'; accepted are .*chest_ct_lidc"),
        ({"name": "chest_ct_lidc", "size": 28}, "no size 28; accepted are 64, 128, 256, 512"),
        ({"name": "phase_contrast", "size": 512}, "no size 512; accepted are 256"),
        ({"name": "fundus", "source": "fake"}, "'fake'; accepted are auto, real, twin"),
    ],
)
def test_wrong_arguments_say_what_is_accepted(arguments, message):
    with pytest.raises(MedbookError, match=message):
        data.load(**arguments)


def test_a_record_without_labels_has_no_splits_and_the_other_way_round():
    eye = data.load("fundus", source="twin")
    with pytest.raises(MedbookError, match="fundus has no labels: take images"):
        _ = eye.train
    with pytest.raises(
        MedbookError, match=r"breastmnist has labels: take its splits; .* train, val"
    ):
        _ = data.load("breastmnist", source="twin").images


# ---------------------------------------------------------------- targets, devices, overlaps


def test_one_image_of_each_unit_the_first():
    groups = torch.tensor([3, 3, 1, 2, 1])
    images = torch.arange(5.0).reshape(5, 1, 1, 1)
    found = Split(images, images + 10, groups).one_per_unit()
    assert found.groups.tolist() == [1, 2, 3]
    assert found.images.flatten().tolist() == [2, 3, 0]
    assert found.labels.flatten().tolist() == [12, 13, 10]
    each_its_own = Split(images, images)
    assert each_its_own.one_per_unit() is each_its_own


@pytest.mark.parametrize("n", [1, 2, 5, 11])
def test_a_set_is_divided_by_its_units(n):
    whole = data.load("chest_xray_lungs", source="twin")
    found = data.load("chest_xray_lungs", source="twin", val_units=n)
    val, test = (set(part.groups.tolist()) for part in (found.val, found.test))
    assert len(val) == n and not val & test and val | test == set(whole.groups.tolist())
    assert len(found.val) + len(found.test) == len(whole.images)
    units = whole.groups.unique().tolist()
    assert units[0] in val and (n == 1 or units[-1] in val)  # evenly spaced, ends included
    for part in (found.val, found.test):
        for image, group in zip(part.images, part.groups, strict=True):
            assert any(torch.equal(image, w) for w in whole.images[whole.groups == group])
        assert part.labels is part.images
    with pytest.raises(MedbookError, match=r"is divided: take its splits; .* val, test, not all"):
        _ = found.images


@pytest.mark.parametrize("n", [-1, 12, 99])
def test_a_division_leaves_units_for_both(n):
    with pytest.raises(MedbookError, match=rf"12 units, val_units is {n}: give 1 to 11"):
        data.load("chest_xray_lungs", source="twin", val_units=n)


def test_a_set_with_labels_is_not_divided():
    with pytest.raises(MedbookError, match="has labels: take its splits"):
        data.load("breastmnist", source="twin", val_units=3)


def test_a_pilot_sees_the_units_to_choose_with_and_no_others(monkeypatch):
    usual = data.load("chest_xray_lungs", source="twin", val_units=4)
    monkeypatch.setenv(pilot.VARIABLE, pilot.FULL)
    found = data.load("chest_xray_lungs", source="twin", val_units=4)
    assert torch.equal(found.test.images, usual.val.images)
    assert set(found.test.groups.tolist()).isdisjoint(usual.test.groups.tolist())


def test_the_leak_check_shuffles_the_targets_of_a_divided_set():
    usual = data.load("chest_xray_lungs", source="twin", val_units=4)
    found = data.load("chest_xray_lungs", source="twin", val_units=4, permute_test_seed=1)
    assert torch.equal(found.val.labels, usual.val.labels)
    assert torch.equal(found.test.images, usual.test.images)
    assert not torch.equal(found.test.labels, usual.test.labels)


def test_targets_are_the_images_unless_they_are_shuffled(monkeypatch):
    plain = data.load("chest_xray_lungs", 128, source="twin")
    assert plain.targets is plain.images
    shuffled = data.load("chest_xray_lungs", 128, source="twin", permute_test_seed=3)
    assert shuffled.images.equal(plain.images) and shuffled.groups.equal(plain.groups)
    assert shuffled.masks.equal(plain.masks) and not shuffled.targets.equal(plain.images)
    rows = [sorted(map(bytes, x.flatten(1).numpy())) for x in (shuffled.targets, plain.images)]
    assert rows[0] == rows[1]
    for seed, same in (("3", True), ("4", False), ("0", False)):
        monkeypatch.setenv("MEDBOOK_PERMUTE_TEST", seed)
        targets = data.load("chest_xray_lungs", 128, source="twin").targets
        assert targets.equal(shuffled.targets) == same and not targets.equal(plain.images)


def test_to_moves_every_tensor():
    for seed in (None, 1):
        for name in ("chest_xray_lungs", "fundus"):
            moved = data.load(name, 128, "meta", "twin", permute_test_seed=seed)
            tensors = [moved.images, moved.targets, moved.groups, moved.has_mask]
            assert {x.device.type for x in tensors} == {"meta"}
            assert (moved.targets is moved.images) == (seed is None)


@pytest.mark.parametrize(
    "pair",
    [
        ("chest_xray_lungs", "pneumoniamnist"),
        ("chest_ct_lidc", "mednist"),
        ("chest_ct_lidc", "nodulemnist3d"),
        ("fundus", "fundus"),
    ],
)
def test_sets_that_share_images_are_refused(pair):
    for names in (pair, pair[::-1]):
        with pytest.raises(MedbookError, match="may hold the same images"):
            data.check_overlap(names)


def test_sets_of_different_origin_go_together():
    data.check_overlap([*IMAGES, "breastmnist", "retinamnist", "organamnist"])


def test_a_run_notes_the_images_and_refuses_an_overlap(monkeypatch):
    run = medbook.start("unlearnable_examples", profile="smoke")
    found = run.load("chest_xray_lungs", size=128)
    assert found.kind == "twin" and found.images.shape[-1] == 128
    noted = {"name": "chest_xray_lungs", "kind": "twin", "unit": "generated image", "n": 16}
    noted |= {"sha256": found.sha256, "options": {"size": 128}}
    assert run._content()["data"] == [noted]
    run.load("breastmnist")
    with pytest.raises(MedbookError, match="chest_xray_lungs and pneumoniamnist may hold"):
        run.load("pneumoniamnist")


# ---------------------------------------------------------------- twins


@pytest.mark.parametrize(("name", "size"), TWIN_SIZES)
def test_twin_has_the_form_and_the_range_of_the_real_set(name, size):
    entry, twin = data.info(name), data.load(name, size, source="twin")
    assert twin.images.shape[1:] == (entry.channels, size, size) and 1 <= twin.n <= 28
    low, high = entry.value_range
    assert low <= twin.images.min() < twin.images.max() <= high
    assert twin.images.std() > 0.05 * (high - low)
    assert len(twin.groups) == twin.n and twin.groups.max() < twin.n
    assert len(twin.images.flatten(1).unique(dim=0)) == twin.n
    assert twin.pixel_mm == entry.pixel_mm.get(size)


def test_twins_are_the_same_in_every_process():
    code = (
        "from medbook import data\n"
        "print(*(data.load(n, max(e.files), source='twin').sha256 "
        "for n, e in data.ENTRIES.items()))"
    )
    here = [data.load(n, max(e.files), source="twin").sha256 for n, e in data.ENTRIES.items()]
    environment = os.environ | {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2"}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert answer.stdout.decode().split() == here and len(set(here)) == len(here)


@pytest.mark.parametrize("name", list(IMAGES))
def test_twins_of_all_sizes_show_the_same(name):
    means = [data.load(name, size, source="twin").images.mean() for size in IMAGES[name].files]
    assert max(means) - min(means) < 0.01 * (IMAGES[name].value_range[1])


def test_ct_twin_lies_like_the_real_patient():
    ct = data.load("chest_ct_lidc", 128, source="twin").images[:, 0]
    assert data.load("chest_ct_lidc", 64, source="twin").pixel_mm == 5.625
    assert ct[:, :8].mean() < -950  # air around the patient
    assert ct[:, 80:96, 56:72].mean() > 250 > ct[:, 32:48, 56:72].mean()  # spine, sternum's place
    lowest, middle = ct[0, 40:72], ct[10, 40:72]
    assert lowest[:, 32:48].mean() > 0 > -500 > middle[:, 32:48].mean()  # liver, then lung
    assert lowest[:, 82:94].mean() < -300  # the other lung reaches lower


def test_xray_twin_has_dark_lungs_and_images_without_mask():
    twin = data.load("chest_xray_lungs", 256, source="twin")
    assert twin.has_mask.tolist() == [False, True, True, True] * 4
    for image, mask in zip(twin.images[twin.has_mask], twin.masks[twin.has_mask], strict=True):
        assert 0.05 < mask.float().mean() < 0.5
        assert image[mask].mean() < image[~mask].mean() - 15
    assert len(twin.groups.unique()) == 12


def test_phase_contrast_twin_is_sharpest_in_the_middle_plane():
    twin = data.load("phase_contrast", source="twin").images[:, 0]
    smooth = torch.nn.functional.avg_pool2d(twin, 4)  # without the noise of single pixels
    edges = smooth.diff(dim=-1).abs().mean((1, 2)).reshape(7, 4).mean(1)
    assert edges.argmax() == 3 and edges[0] < 0.9 * edges[3] > edges[6] / 0.9


# ---------------------------------------------------------------- the real files


def real(name, size):
    """A set read from its real file, or no test."""
    if not any((Path(REAL) / file.path).is_file() for file in data.info(name).files.values()):
        pytest.skip(f"MEDBOOK_DATA has no {name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBOOK_DATA", REAL)
        return data.load(name, size, source="real")


def test_real_ct_lies_as_radiologists_look_at_it():
    ct = real("chest_ct_lidc", 256)
    assert ct.n == 133 and ct.pixel_mm == 1.40625 and ct.images[:, :, 0, 0].max() < -900
    abdomen, rows = ct.images[:30, 0], torch.arange(256)[:, None]
    body, bone = abdomen > -200, abdomen[..., 112:144] > 300
    spine, middle = ((part * rows).sum() / part.sum() for part in (bone, body))
    assert spine > middle + 15
    assert ct.images[:, 0, 200:230].mean() > ct.images[:, 0, 10:40].mean() + 50  # the table
    dome = ct.images[55, 0, 100:140]  # the liver stands higher than what is under the left lung
    assert dome[:, 60:100].mean() > dome[:, 150:190].mean() + 150
    assert (ct.images[10, 0] > -500).float().mean() > (ct.images[-1, 0] > -500).float().mean()


def test_real_sizes_of_the_ct_agree():
    fine, ct = real("chest_ct_lidc", 512), real("chest_ct_lidc", 256)
    halved = torch.nn.functional.avg_pool2d(fine.images, 2)
    assert (halved - ct.images[[40, 60, 80, 100]]).abs().max() <= 0.5  # rounded to whole HU
    for size in (128, 64):
        small = real("chest_ct_lidc", size)
        pooled = torch.nn.functional.avg_pool2d(ct.images, 256 // size)
        torch.testing.assert_close(small.images, pooled, rtol=0, atol=1e-2)
        assert small.pixel_mm * size == fine.pixel_mm * 512 == 360


def test_real_xrays_and_masks():
    for size in (128, 512):
        found = real("chest_xray_lungs", size)
        assert found.n == 209 and found.has_mask.sum() == 166 and len(found.groups.unique()) == 171
        lungs = found.masks[found.has_mask]
        images = found.images[found.has_mask]
        assert images[lungs].mean() < images[~lungs].mean() or size == 512
        assert 0.1 < lungs.float().mean() < 0.6
        assert found.images.min() == 0 and found.images.max() == 255


def test_real_phase_contrast():
    found = real("phase_contrast", 256)
    assert found.images.shape == (112, 1, 256, 256) and found.images.max() == 255
    assert 120 < found.images.mean() < 135


def test_fundus_comes_with_scikit_image():
    eye = data.load("fundus", 512, source="real").images[0]
    red, green, _ = eye.mean((1, 2))
    assert red > green > 20 and eye[:, :20, :20].max() < 20  # round on black
    disc = eye[1].flatten().argmax() % 512
    assert disc < 128  # a left eye


def test_a_phantom_is_noted_as_one_and_its_targets_are_permuted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = medbook.start("unlearnable_examples", profile="smoke")
    run.load("chest_ct_lidc", size=64)
    drawn = torch.arange(12.0).reshape(12, 1, 1, 1)
    plain = run.phantom("drawn", drawn, value_unit="water", unit="drawn slice")
    assert run.datasets["drawn"].kind == "phantom" and plain.targets is plain.images
    monkeypatch.setenv("MEDBOOK_PERMUTE_TEST", "3")
    shuffled = data.phantom("drawn", drawn, value_unit="water", unit="drawn slice")
    assert torch.equal(shuffled.images, drawn) and not torch.equal(shuffled.targets, drawn)
    assert shuffled.sha256 == plain.sha256
    run.load("phase_contrast")  # the phantom's name does not disturb the check for overlaps
