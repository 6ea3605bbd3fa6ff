"""MR images and measured k-space: orientation, parts of a set, masks, twins, the real files."""

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pooch
import pytest
import torch
from PIL import Image
from scipy.spatial import cKDTree
from torch import Tensor

from medbook import data
from medbook.data.entries import File
from medbook.data.sets import mri_brain_8coil
from medbook.errors import MedbookError

REAL = os.environ.get("MEDBOOK_DATA", "")
NAME = "mri_brain_8coil"


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No data folder, an empty cache, no network."""
    for name in ("MEDBOOK_DATA", "MEDBOOK_PERMUTE_TEST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEDBOOK_OFFLINE", "1")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / "data"
    path.mkdir()
    monkeypatch.setenv("MEDBOOK_DATA", str(path))
    return path


def put(folder: Path, name: str, content: bytes) -> File:
    """Write a file below the data folder; its registry entry."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return File(name, f"sha256:{hashlib.sha256(content).hexdigest()}")


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def centred(x: Tensor, transform=torch.fft.ifft2) -> Tensor:
    """Centred orthonormal transform of the last two axes."""
    axes = (-2, -1)
    shifted = torch.fft.ifftshift(x, dim=axes)
    return torch.fft.fftshift(transform(shifted, norm="ortho"), dim=axes)


def mask_of(found: data.Record) -> Tensor:
    """Points where every coil was measured: (1, 1, H, W)."""
    return (found.images != 0).all(1, keepdim=True)


def root_sum_of_squares(kspace: Tensor) -> Tensor:
    """Zero-filled magnitude (H, W) of (1, C, H, W)."""
    return centred(kspace).abs().square().sum(1).sqrt()[0]


# ---------------------------------------------------------------- slices: a set of several files


@pytest.fixture
def slices(folder, monkeypatch):
    """Three grey images of 4 x 4 pixels as a set; gives their pixels and paths."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4), dtype=np.uint8)
    files = []
    for k, picture in enumerate(pixels):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "png")
        files.append(put(folder, f"mri_brain_slices/{k}.png", buffer.getvalue()))
    first = replace(files[0], parts=tuple(files[1:]))
    entry = replace(data.info("mri_brain_slices"), files={2: first, 4: first})
    monkeypatch.setitem(data.ENTRIES, "mri_brain_slices", entry)
    return pixels, [folder / file.path for file in files]


def test_each_file_of_a_set_is_an_image_and_a_group(slices):
    pixels, paths = slices
    found = data.load("mri_brain_slices", 4, source="real")
    np.testing.assert_array_equal(found.images[:, 0].numpy(), pixels)
    assert found.groups.tolist() == [0, 1, 2] and found.masks is None and found.pixel_mm is None
    hashes = "".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    assert found.sha256 == hashlib.sha256(hashes.encode()).hexdigest()
    half = data.load("mri_brain_slices", 2, source="real").images[:, 0]
    blocks = pixels.astype(float)[:, 2:, :2].mean((1, 2))
    np.testing.assert_allclose(half[:, 1, 0].numpy(), blocks)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_every_part_is_checked(slices, which):
    path = slices[1][which]
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(MedbookError, match=rf"{path} is damaged"):
        data.load("mri_brain_slices", 4)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_without_one_part_there_is_no_real_set(slices, which):
    slices[1][which].unlink()
    with pytest.raises(MedbookError, match=rf"no .*{slices[1][which].name}"):
        data.load("mri_brain_slices", 4, source="real")


def test_every_part_of_the_registry_has_a_hash_and_a_mirror():
    for size, file in data.info("mri_brain_slices").files.items():
        files = (file, *file.parts)
        assert size in (64, 128, 256) and len({part.digest for part in files}) == 6
        for part in files:
            assert part.urls[0].startswith("https://") and part.urls[0].endswith(
                Path(part.path).name
            )


# ---------------------------------------------------------------- volume


def test_volume_has_the_front_on_top_and_the_patients_right_at_the_left(folder, monkeypatch):
    values = np.random.default_rng(0).integers(1, 1000, (8, 4, 3, 2), dtype=np.int16)
    image = nibabel.Nifti1Image(values, np.diag([-2.0, 2.0, 2.2, 1.0]))
    assert nibabel.aff2axcodes(image.affine) == ("L", "A", "S")
    file = put(folder, "v.nii", image.to_bytes())
    entry = replace(data.info("mri_brain_volume"), files={4: file, 8: file})
    monkeypatch.setitem(data.ENTRIES, "mri_brain_volume", entry)
    found = data.load("mri_brain_volume", 8, source="real")
    assert found.images.shape == (3, 1, 8, 8) and found.groups.tolist() == [0, 0, 0]
    for left, front, head in ((0, 0, 0), (6, 1, 2), (2, 3, 1)):
        assert found.images[head, 0, 5 - front, left] == values[left, front, head, 0]
    assert found.images[:, :, [0, 1, 6, 7]].abs().max() == 0
    halved = data.load("mri_brain_volume", 4, source="real").images
    torch.testing.assert_close(halved, torch.nn.functional.avg_pool2d(found.images, 2))


def test_volume_comes_with_nibabel_and_is_upright():
    found = data.load("mri_brain_volume", 128, source="real")
    assert found.n == 24 and found.pixel_mm == 2.0 and found.value_range[1] == found.images.max()
    head = found.images[:, 0] > 0
    assert 0.1 < head.float().mean() < 0.5
    rows = torch.arange(128.0)[:, None]
    middle = (head[8:16] * rows).sum() / head[8:16].sum()
    assert abs(middle - 64) < 4
    eyes, upper = head[:3, 30:48], head[-3:, 30:48]  # the lowest slices end in front of the brain
    assert eyes.float().mean() > upper.float().mean()
    axes = nibabel.aff2axcodes(nibabel.nifti1.load(real_volume()).affine)
    assert axes == ("L", "A", "S")


def real_volume() -> Path:
    return Path(nibabel.__file__).parent / "tests/data/example4d.nii.gz"


# ---------------------------------------------------------------- k-space


@pytest.fixture
def measured(folder, monkeypatch):
    """Register a small k-space; gives a function that writes it."""

    def write(array: np.ndarray) -> Path:
        file = put(folder, f"{NAME}/k.npy", npy(array))
        entry = replace(data.info(NAME), files={230: file})
        monkeypatch.setitem(data.ENTRIES, NAME, entry)
        return folder / file.path

    return write


def small() -> np.ndarray:
    """Three coils, 6 x 5 points, four of them measured."""
    kspace = np.zeros((3, 6, 5), np.complex64)
    for k, (i, j) in enumerate(((3, 2), (1, 1), (0, 4), (5, 0))):
        kspace[:, i, j] = np.array([1, 2j, -1]) * (k + 1)
    return kspace


def test_kspace_is_conjugated_and_its_mask_found(measured):
    path = measured(small())
    found = data.load(NAME, source="real")
    assert found.images.shape == (1, 3, 6, 5) and found.images.dtype == torch.complex64
    assert mask_of(found).shape == (1, 1, 6, 5) and mask_of(found).dtype == torch.bool
    assert mask_of(found)[0, 0].nonzero().tolist() == [[0, 4], [1, 1], [3, 2], [5, 0]]
    assert found.images[0, :, 1, 1].tolist() == [2, -4j, -2]
    assert found.n == 1
    assert (found.name, found.kind, found.licence) == (NAME, "real", "BSD-3-Clause")
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "mikgroup" in found.credit and "slice" in found.unit


@pytest.mark.parametrize("shape", [(6, 5), (5, 8), (1, 4)])
def test_image_is_turned_by_half_a_turn(measured, shape):
    """Pixel (i, j) goes to its mirror image at the pixel (H // 2, W // 2), odd sizes or even."""
    parts = np.random.default_rng(0).standard_normal((2, 3, *shape))
    stored = (parts[0] + 1j * parts[1]).astype(np.complex64)
    measured(stored)
    turned = centred(data.load(NAME, source="real").images)[0]
    image, (height, width) = centred(torch.from_numpy(stored)), shape
    for i in range(height):
        for j in range(width):
            there = image[:, (2 * (height // 2) - i) % height, (2 * (width // 2) - j) % width]
            torch.testing.assert_close(turned[:, i, j], there.conj())


def test_a_point_that_one_coil_lacks_is_not_measured(measured):
    kspace = small()
    kspace[1, 1, 1] = 0
    measured(kspace)
    assert mask_of(data.load(NAME, source="real")).sum() == 3


@pytest.mark.parametrize(
    "content", [small()[0], small().astype(np.complex128), small().real, np.array([{}], object)]
)
def test_another_array_is_refused(measured, content):
    path = measured(content)
    with pytest.raises(MedbookError, match=rf"{path} cannot be read as {NAME}"):
        data.load(NAME)


def test_a_damaged_kspace_is_refused(measured):
    path = measured(small())
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(MedbookError, match=rf"{path} is damaged .*delete it"):
        data.load(NAME)


def test_without_file_the_twin_is_taken_and_said():
    with pytest.warns(UserWarning, match=f"{NAME}: using its procedural twin: no ") as caught:
        found = data.load(NAME)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert found.kind == "twin" and found.licence == "MIT" and "twin of" in found.credit
    with pytest.raises(MedbookError, match=r"no .*cache.*MEDBOOK_OFFLINE"):
        data.load(NAME, source="real")


def test_to_moves_every_tensor():
    moved = data.load(NAME, 230, "meta", "twin")
    assert moved.images.device.type == moved.targets.device.type == "meta"


def test_overlaps_are_known():
    data.check_overlap([NAME, "mri_brain_slices", "mri_brain_volume", "mednist"])
    with pytest.raises(MedbookError, match="SigPy MRI tutorial"):
        data.check_overlap([NAME, NAME])


# ---------------------------------------------------------------- twins


@pytest.fixture(scope="module")
def twin():
    return data.load(NAME, source="twin")


def square(mask: Tensor, side: int) -> Tensor:
    """The part of (1, 1, H, W) around the zero frequency."""
    top, left = mask.shape[-2] // 2 - side // 2, mask.shape[-1] // 2 - side // 2
    return mask[0, 0, top : top + side, left : left + side]


def sampled_like_the_tutorial(found: data.Record) -> None:
    """A full centre, an ellipse around it, fewer points outwards, eightfold in all."""
    assert found.images.shape == (1, 8, 230, 180) and mask_of(found).shape == (1, 1, 230, 180)
    assert (found.images[0].abs() > 0).eq(mask_of(found)[0]).all()
    assert 7.5 < 1 / mask_of(found).float().mean() < 8.5
    assert square(mask_of(found), 24).all() and found.calibration == 24
    assert not square(mask_of(found), 26).all()
    rows, columns = torch.arange(230.0)[:, None], torch.arange(180.0)
    far = torch.hypot((rows - 115) / 115, (columns - 90) / 90)
    rings = [
        mask_of(found)[0, 0][(far >= low) & (far < low + 0.1)].float().mean().item()
        for low in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    ]
    assert rings == sorted(rings, reverse=True) and rings[0] > 3 * rings[-1] > 0.1
    assert mask_of(found)[0, 0][far > 1.06].sum() == 0
    ring = (mask_of(found)[0, 0] & (far > 0.6) & (far < 1)).nonzero().numpy()
    nearest = cKDTree(mask_of(found)[0, 0].nonzero().numpy()).query(ring, k=2)[0][:, 1]
    density = len(ring) / ((far > 0.6) & (far < 1)).sum().item()
    assert 2 * nearest.mean() * density**0.5 > 1.25  # 1 for points that do not heed each other


def test_twin_is_sampled_like_the_real_kspace(twin):
    sampled_like_the_tutorial(twin)


def test_twin_shows_a_head_seen_by_coils_that_differ(twin):
    image = root_sum_of_squares(twin.images)
    assert image[60:170, 60:120].mean() > 8 * image[:10, :10].mean()
    peak = twin.images.abs().sum(1)[0].flatten().argmax().item()
    assert divmod(peak, 180) == pytest.approx((115, 90), abs=1)
    coils = centred(twin.images)[0].abs()
    rows, columns = torch.arange(230.0)[:, None], torch.arange(180.0)
    centres = [
        ((c * rows).sum() / c.sum() - 115, (c * columns).sum() / c.sum() - 90)
        for c in coils.square()
    ]
    angles = torch.tensor([torch.atan2(x, y) for y, x in centres])
    assert (angles.remainder(2 * torch.pi).diff() > 0.3).all()
    assert twin.images.imag.abs().mean() > 0.3 * twin.images.real.abs().mean()


def test_twin_is_the_same_each_time_and_on_a_fixed_grid(twin):
    again = data.load(NAME, source="twin")
    assert again.sha256 == twin.sha256 and again.images.equal(twin.images)
    steps = torch.view_as_real(twin.images) / mri_brain_8coil.GRID
    assert steps.equal(steps.round())


@pytest.mark.parametrize(("name", "fluid_is_bright"), [("slices", False), ("volume", True)])
def test_drawn_brains_stand_on_black(name, fluid_is_bright):
    found = data.load(f"mri_brain_{name}", 128, source="twin")
    assert found.images[:, 0, :12].abs().max() == found.images[:, 0, :, :20].abs().max() == 0
    assert len(found.groups.unique()) == (1 if fluid_is_bright else 6)
    brain = found.images[found.images > 0]
    white, fluid = brain.median(), found.images[found.n // 2, 0, 46:60, 50:78]
    assert (fluid > 1.5 * white).any() == fluid_is_bright
    assert (fluid < 0.5 * white).any() != fluid_is_bright


# ---------------------------------------------------------------- the real files


def real_file(path: str) -> None:
    if not (Path(REAL) / path).is_file():
        pytest.skip(f"MEDBOOK_DATA has no {path}")


def test_real_slices_are_six_different_upright_brains(monkeypatch):
    real_file("mri_brain_slices/r16slice.jpg")
    monkeypatch.setenv("MEDBOOK_DATA", REAL)
    found = data.load("mri_brain_slices", 256, source="real")
    assert found.images.shape == (6, 1, 256, 256) and found.groups.tolist() == list(range(6))
    assert found.images.max() == 255 and found.images[:, :, :30].max() < 20
    for size in (128, 64):
        pooled = torch.nn.functional.avg_pool2d(found.images, 256 // size)
        small = data.load("mri_brain_slices", size, source="real").images
        torch.testing.assert_close(small, pooled, rtol=0, atol=1e-3)
    alike = torch.corrcoef(found.images.flatten(1))
    assert (alike - torch.eye(6)).max() < 0.97


def test_real_kspace_is_that_of_the_tutorial(monkeypatch):
    real_file("mri_brain_8coil/cartesian_ksp.npy")
    monkeypatch.setenv("MEDBOOK_DATA", REAL)
    found = data.load(NAME, source="real")
    sampled_like_the_tutorial(found)
    assert mask_of(found).sum() == 5148
    peak = found.images.abs().sum(1)[0].flatten().argmax().item()
    assert divmod(peak, 180) == pytest.approx((115, 90), abs=1)
    stored = torch.from_numpy(np.load(Path(REAL) / "mri_brain_8coil/cartesian_ksp.npy"))
    image, upside_down = (root_sum_of_squares(k) for k in (found.images, stored[None]))
    torch.testing.assert_close(image.max(), torch.tensor(1.0))
    torch.testing.assert_close(image[1:, 1:], upside_down[1:, 1:].flip(0, 1))


def test_real_kspace_has_the_front_on_top(monkeypatch):
    """The head is narrower in front: half a turn would put its widest row into the upper half."""
    real_file("mri_brain_8coil/cartesian_ksp.npy")
    monkeypatch.setenv("MEDBOOK_DATA", REAL)
    image = root_sum_of_squares(data.load(NAME, source="real").images)
    head = (image > 0.2).float()
    inside = head.any(1).nonzero().flatten()
    middle = (inside[0] + inside[-1]) / 2
    spans = [row.nonzero()[-1] - row.nonzero()[0] for row in head[inside]]
    widest = inside[torch.stack(spans).flatten().argmax()]
    assert widest > middle
