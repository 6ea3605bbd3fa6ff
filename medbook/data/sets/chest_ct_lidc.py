"""Chest CT of one patient in HU: all slices at up to 256 pixels, four of them at 512."""

from pathlib import Path

import numpy as np

from medbook.data.entries import TCIA, Card, Content, Entry, File
from medbook.data.files.pictures import averaged, of_one, seen_from_the_feet
from medbook.data.twins.drawing import (
    COARSE,
    Array,
    Number,
    ellipse,
    enlarged,
    grain,
    grid,
    seeded,
    step,
)  # fmt: skip

VOLUME = File(
    "chest_ct_lidc/lidc_idri_0001_256.nii.gz",
    "sha256:7a993217185b6b6e4277b3106500a89b0d67755ec78acc0ad40b66df0b78bca6",
)
SLICES_512 = File(
    "chest_ct_lidc/lidc_idri_0001_slices512.npz",
    "sha256:2802d89f667657cb432d51df2280d774e545b904a4bf2300e4a185360b2876a2",
)


def read(paths: list[Path], size: int) -> Content:
    """Axial slices in HU from the feet to the head: front on top, the patient's right at the left.

    Args:
        paths: the volume (256 pixels, axes to the patient's left, front and head), or the npz of
            full-resolution slices with the first two axes.
        size: side in pixels; smaller ones are means of square blocks of pixels.
    """
    (path,) = paths
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            slices = file["hu"]
    else:
        import nibabel  # its import is slow, and few runs need it

        slices = np.moveaxis(np.asarray(nibabel.nifti1.load(path).dataobj), 2, 0)
    return of_one(averaged(seen_from_the_feet(slices), size)[:, None])


def put(image: Array, mask: Array, value: Number) -> Array:
    """Image with a value where the mask is 1."""
    return image + (value - image) * mask


def twin(size: int) -> Content:
    """Axial slices of one drawn patient from liver to neck in HU; the liver is at the left."""
    rng = seeded("chest_ct_lidc")
    n, coarse = (24, 4)[size == 512], min(size, COARSE)
    y, x = grid(rng, n, coarse, 0.0, 0.0)
    height = np.linspace(0, 1, n)[:, None, None]
    body = ellipse(y, x, 0.62 - 0.1 * height, 0.88 - 0.2 * height, 0.02)
    flesh = ellipse(y, x, 0.56 - 0.1 * height, 0.8 - 0.2 * height, 0.03)
    reach = np.sqrt(1.02 - height) * (0.75 + 0.3 * np.minimum(3 * height, 1))  # of the lungs
    lungs = ellipse(y + 0.02, np.abs(x) - 0.38, 0.42 * reach, 0.27 * reach, 0.05)
    heart = ellipse(y + 0.14, x - 0.12, 0.26, 0.3, 0.06) * step(0.45 - np.abs(height - 0.35), 0.1)
    liver = ellipse(y + 0.08, x + 0.36, 0.4, 0.34, 0.05) * step(0.25 - height, 0.05)
    vessels = step(grain(rng, n, coarse, 0.04, 0.04) - 1.8, 0.3)
    ring = np.hypot(y / (0.52 - 0.1 * height), x / (0.74 - 0.2 * height))
    angle = np.arctan2(y, x)
    ribs = np.exp(-(((ring - 1) / 0.05) ** 2)) * step(np.cos(9 * angle + 14 * height) - 0.2, 0.3)
    bone = np.maximum(ribs, ellipse(y - 0.36, x, 0.12, 0.13, 0.1))
    bone = np.maximum(bone, ellipse(y - 0.5, x, 0.1, 0.04, 0.2))
    table = np.exp(-(((y - 0.8 + 0.15 * x**2) / 0.02) ** 2)) * (np.abs(x) < 0.7)
    image = put(np.full_like(y, -1000.0), body, -100 + 8 * grain(rng, n, coarse, 0.2, 0.2))
    image = put(image, flesh, 45 + 10 * grain(rng, n, coarse, 0.1, 0.1))
    image = put(image, lungs, -860 + 25 * grain(rng, n, coarse, 0.3, 0.3) + 700 * vessels)
    image = put(put(image, liver, 60.0), heart, 40.0)
    image = put(put(image, bone, 500.0), ellipse(y - 0.46, x, 0.04, 0.04, 0.2), 30.0)  # canal
    image = enlarged(image + 600 * table, size) + 15 * rng.standard_normal((n, size, size))
    hu = np.clip(image, -1024, 3071).round()[:, None].astype(np.float32)
    return of_one(hu)


ENTRY = Entry(
    name="chest_ct_lidc",
    channels=1,
    unit="patient (one: its slices are not independent)",
    licence="CC BY 3.0",
    origin="LIDC-IDRI (Armato et al. 2011), patient LIDC-IDRI-0001, from TCIA",
    credit="Chest CT: LIDC-IDRI-0001, The Cancer Imaging Archive, "
    "doi:10.7937/K9/TCIA.2015.LO9QL9SX (Armato et al. 2011); CC BY 3.0; slices averaged",
    collections=frozenset({TCIA}),
    files={64: VOLUME, 128: VOLUME, 256: VOLUME, 512: SLICES_512},
    value_unit="HU",
    value_range=(-1024.0, 3071.0),
    pixel_mm={size: 360 / size for size in (64, 128, 256, 512)},
    read=read,
    twin=twin,
    card=Card(
        image=(
            "axial slice of a chest CT of 512 x 512 pixels of 0.703 mm, slices 2.5 mm "
            "apart, from the kidneys to the neck and seen from the feet; at 256, 128 and "
            "64 pixels the mean over square blocks, at 512 pixels only four slices"
        ),
        splits={"all": 133},
        split_by="not split; one patient, so a split by slices is no test on another patient",
        people="one patient, LIDC-IDRI-0001; no verdict on this set reaches beyond one",
        artefacts=(
            "table under the patient; in the uppermost slices the shoulders reach beyond "
            "the picture and bring streaks; values were cut off at -1,024 and 3,071 HU"
        ),
        labels="none that are loaded",
        twin="one drawn patient in HU with lungs, heart, liver, ribs, spine and table",
    ),
)
