"""A reader's own image: formats, range, orientation, size; what cannot be read is named."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import medbook
from medbook import chapter
from medbook.errors import MedbookError
from medbook.physics.mri import scanned, seen_fully

SHAPE = (6, 10)
RISING = np.arange(60, dtype=np.uint8).reshape(SHAPE) * 4


def picture(path: Path, values: np.ndarray = RISING, **options) -> Path:
    Image.fromarray(values).save(path, **options)
    return path


def volume(path: Path, signs: tuple[int, int, int] = (1, 1, 1)) -> Path:
    """Bright at the patient's right, front and top, stored along axes of these directions."""
    x, y, z = np.meshgrid(np.arange(5), np.arange(6), np.arange(7), indexing="ij")
    values = (100 * z + 10 * y + x).astype(np.float32)[tuple(slice(None, None, s) for s in signs)]
    affine = np.diag([*signs, 1.0])
    for axis, sign in enumerate(signs):
        affine[axis, 3] = 0 if sign > 0 else values.shape[axis] - 1
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def dicom(path: Path, **fields) -> Path:
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    file = pydicom.Dataset()
    file.file_meta = meta
    given = {
        "Rows": 6, "Columns": 10, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
        "PixelRepresentation": 1, "SamplesPerPixel": 1, "RescaleSlope": 2, "RescaleIntercept": -100,
        "PhotometricInterpretation": "MONOCHROME2",
    }  # fmt: skip
    for name, value in (given | fields).items():
        setattr(file, name, value)
    file.PixelData = RISING.astype("<i2").tobytes()
    file.save_as(path, enforce_file_format=True)
    return path


def test_a_png_keeps_its_range_rows_and_columns(tmp_path: Path) -> None:
    found = medbook.own_image(picture(tmp_path / "x.png"))
    assert found.shape == (1, 1, *SHAPE) and found.dtype == torch.float32
    torch.testing.assert_close(found[0, 0], torch.from_numpy(RISING).float() / 255)


def test_sixteen_bits_are_not_cut_to_eight(tmp_path: Path) -> None:
    found = medbook.own_image(picture(tmp_path / "x.png", RISING.astype(np.uint16) * 257))
    torch.testing.assert_close(found[0, 0], torch.from_numpy(RISING).float() / 255)


def test_colour_becomes_grey_and_what_is_transparent_black(tmp_path: Path) -> None:
    clear = np.full((*SHAPE, 4), 255, np.uint8)
    clear[:, 5:, 3] = 0
    found = medbook.own_image(picture(tmp_path / "x.png", clear))[0, 0]
    assert (found[:, :5] == 1).all() and (found[:, 5:] == 0).all()


def test_a_jpeg_is_turned_as_its_tag_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter clockwise
    smooth = np.linspace(0, 200, 64 * 96).reshape(64, 96).astype(np.uint8)
    found = medbook.own_image(picture(tmp_path / "x.JPG", smooth, exif=exif, quality=98))
    assert found.shape == (1, 1, 96, 64)
    turned = torch.from_numpy(np.rot90(smooth, -1).copy()).float() / 255
    assert (found[0, 0] - turned).abs().max() < 0.02


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_an_axial_slice_has_the_nose_up_and_left_at_the_right(
    tmp_path: Path, signs: tuple[int, int, int], suffix: str
) -> None:
    path = volume(tmp_path / f"x{suffix}", signs)
    found = medbook.own_image(path, window=(300, 360))[0, 0]
    assert found.shape == (6, 5)  # the middle slice, 3 of 7
    assert found[0, 0] == pytest.approx(54 / 60) and found[0, -1] == pytest.approx(50 / 60)
    assert found[-1, 0] == pytest.approx(4 / 60) and found[-1, -1] == 0
    top = medbook.own_image(path, window=(600, 660), index=6)[0, 0]
    torch.testing.assert_close(top, found)


def test_a_dicom_file_has_its_unit_and_its_window(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm", WindowCenter=100, WindowWidth=400)
    unit = torch.from_numpy(RISING).float() * 2 - 100
    torch.testing.assert_close(medbook.own_image(path)[0, 0], ((unit + 100) / 400).clamp(0, 1))
    lung = medbook.own_image(path, window=(0, 200))[0, 0]
    torch.testing.assert_close(lung, (unit / 200).clamp(0, 1))


def test_bone_is_bright_in_an_inverted_radiograph(tmp_path: Path) -> None:
    fields = {"WindowCenter": [100, 50], "WindowWidth": [400, 10]}
    plain = medbook.own_image(dicom(tmp_path / "x.dcm", **fields))
    dark = dicom(tmp_path / "y.dcm", PhotometricInterpretation="MONOCHROME1", **fields)
    torch.testing.assert_close(medbook.own_image(dark), 1 - plain)


def test_without_a_window_the_percentiles_are_the_ends(tmp_path: Path) -> None:
    found = medbook.own_image(dicom(tmp_path / "x.dcm"))
    assert found.min() == 0 and found.max() == 1


@pytest.mark.parametrize("size", [3, 6, 20])
def test_a_size_crops_the_middle_to_a_square(tmp_path: Path, size: int) -> None:
    found = medbook.own_image(picture(tmp_path / "x.png"), size)
    assert found.shape == (1, 1, size, size)
    middle = torch.from_numpy(RISING[:, 2:8].copy()).float() / 255
    assert found.mean().item() == pytest.approx(middle.mean().item(), abs=0.01)


@pytest.mark.parametrize(
    ("name", "content", "options", "says"),
    [
        ("no.png", None, {}, "there is no such file"),
        ("x.gif", b"GIF89a", {}, "unknown format: give a file that ends in .png"),
        ("x.png", b"not a picture", {}, "cannot be read .UnidentifiedImageError"),
        ("x.jpg", b"", {}, "cannot be read"),
        ("x.nii", b"not a volume", {}, "cannot be read .ImageFileError"),
        ("x.dcm", b"not a slice", {}, "cannot be read .InvalidDicomError"),
        ("good.png", RISING, {"size": 0}, "size is 0"),
        ("good.png", RISING, {"window": (9, 9)}, "nothing lies between 9 and 9"),
        ("good.png", RISING, {"window": (9, -9)}, "nothing lies between 9 and -9"),
        ("good.png", RISING, {"window": (float("nan"), 1)}, "nothing lies between nan"),
        ("good.png", RISING, {"index": 3}, "holds one image, not one numbered 3"),
        ("good.nii", volume, {"index": 7}, "has 7 slices, 0 to 6, not one numbered 7"),
        ("good.nii", volume, {"index": -1}, "has 7 slices"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(
    tmp_path: Path, name: str, content: object, options: dict, says: str
) -> None:
    path = tmp_path / name
    if name.endswith(".dcm"):
        pytest.importorskip("pydicom")
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is volume:
        volume(path)
    elif content is not None:
        picture(path)
    with pytest.raises(MedbookError, match=says) as found:
        medbook.own_image(path, **options)
    assert len(str(found.value).splitlines()) == 1
    assert options or name in str(found.value)


def test_flat_and_unknown_values_are_refused(tmp_path: Path) -> None:
    for value, says in ((1.0, "nothing lies between 1 and 1"), (np.nan, "not finite")):
        image = nibabel.Nifti1Image(np.full((4, 4, 2), value, np.float32), np.eye(4))
        nibabel.save(image, tmp_path / "x.nii")
        with pytest.raises(MedbookError, match=says):
            medbook.own_image(tmp_path / "x.nii")


COMMENTS = {
    "image_similarity": {"part": torch.zeros(1, 1, 96, 96)},
    "diffusion": {"four": torch.zeros(4, 1, 32, 32)},
    "sparse_view_ct": {"slices": torch.zeros(3, 1, 64, 64), "goal": torch.zeros(3, 1, 32, 32)},
    "mri_reconstruction": {"x_brain": torch.zeros(1, 1, 32, 32)},
}


@pytest.mark.parametrize("id", COMMENTS)
def test_the_lines_that_chapters_offer_run(
    id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commented lines of `Play with it`: what follows the colon replaces the chapter's image."""
    text = chapter.find(id).read_text(encoding="utf-8")
    played = text[text.index("## Play with it") : text.index("## Exercises")]
    whole = re.findall(r"^# [a-z ]+: (\w+(?:\[at\])? = .*)$", played, re.MULTILINE)
    assert any("medbook.own_image(" in line for line in whole)
    names = {"medbook": medbook, "torch": torch, "F": F, "FINE": 64, "SIZE": 32, "COILS": 2}
    names |= {"at": slice(1, 2), "run": SimpleNamespace(device="cpu"), "scanned": scanned}
    names |= {"seen_fully": seen_fully} | {k: v.clone() for k, v in COMMENTS[id].items()}
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "x.png"), picture(tmp_path / "image.png"), volume(tmp_path / "x.nii")
    if "x.dcm" in played:
        dicom(tmp_path / "x.dcm", WindowCenter=0, WindowWidth=100)
    for line in whole:
        exec(line, names)
    for name, before in COMMENTS[id].items():
        assert names[name].shape == before.shape and not torch.equal(names[name].abs(), before)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.dcm").write_bytes(b"DICM")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MedbookError, match="pydicom is not installed: run `pip install pydicom`"):
        medbook.own_image(tmp_path / "x.dcm")
