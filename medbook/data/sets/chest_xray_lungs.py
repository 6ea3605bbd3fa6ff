"""Chest X-rays of children, most with masks of their lungs."""

import csv
import io
import re
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medbook.data.entries import KERMANY, Arrays, Card, Content, Entry, File
from medbook.data.twins.chest import chest
from medbook.data.twins.drawing import COARSE, enlarged, grey_values, seeded

XRAYS = File(
    "chest_xray_lungs/chest_xray_lungs_512.zip",
    "sha256:edaf15619d6388d2a44c63ddcf98f85c0d4151e02782c28015ee77d1319ff4bb",
)


def read(paths: list[Path], size: int) -> Content:
    """X-rays and lung masks in the order of ``labels.csv``; a group is a patient by file name.

    Args:
        paths: a zip of 8-bit grey images whose long side has 512 pixels, masks and ``labels.csv``.
        size: side in pixels; 512 is the whole image on black, smaller ones are its centre square.
    """
    (path,) = paths
    with zipfile.ZipFile(path) as archive:
        rows = list(csv.DictReader(archive.read("labels.csv").decode().splitlines()))
        images = np.stack([_square(_open(archive, row["image"]), size) for row in rows])
        masks = np.stack([_square(_open(archive, row["lung_mask"]), size) for row in rows]) > 127
    patients = [re.findall(r"(?:NORMAL2-)?IM-\d+|person\d+", row["image"])[0] for row in rows]
    groups = np.unique(patients, return_inverse=True)[1].astype(np.int64)
    return {"all": Arrays(images[:, None].astype(np.float32), None, groups, masks[:, None])}


def _open(archive: zipfile.ZipFile, member: str) -> Image.Image:
    """A grey image of the archive; black where an image has no mask."""
    if not member:
        return Image.new("L", (1, 1))
    return Image.open(io.BytesIO(archive.read(member))).convert("L")


def _square(picture: Image.Image, size: int) -> NDArray[np.uint8]:
    shape = ImageOps.pad if size == 512 else ImageOps.fit
    return np.asarray(shape(picture, (size, size), Image.Resampling.BILINEAR))


def twin(size: int) -> Content:
    """X-rays of 12 drawn patients, some with two; every fourth image lacks its mask."""
    rng = seeded("chest_xray_lungs")
    n = 16
    images, lungs = chest(rng, rng.integers(0, 2, n), min(size, COARSE))
    masks = (enlarged(lungs, size) > 0.5)[:, None]
    masks[::4] = False
    pixels = grey_values(rng, images, size)[:, None]
    return {"all": Arrays(pixels, None, np.arange(n) * 3 // 4, masks)}


ENTRY = Entry(
    name="chest_xray_lungs",
    channels=1,
    unit="patient (as the names of the source's files number them)",
    licence="CC BY 4.0",
    origin="Kermany, Zhang, Goldbaum 2018, doi:10.17632/rscbjbr9sj.2; masks of V7 Labs",
    credit="Chest X-rays with lung masks: Kermany, Zhang, Goldbaum 2018, "
    "doi:10.17632/rscbjbr9sj.2; masks V7 Labs; CC BY 4.0; made smaller",
    collections=frozenset({KERMANY}),
    files=dict.fromkeys((128, 256, 512), XRAYS),
    read=read,
    twin=twin,
    card=Card(
        image=(
            "frontal chest X-ray of a child, made smaller to 512 pixels on the long side; "
            "at 512 pixels the whole image on black, at 256 and 128 its centre square "
            "made smaller, which cuts off 1 % of the lungs in the middle case and 41 % in "
            "the worst; few short sides have less than 256 pixels and are enlarged"
        ),
        splits={"all": 209},
        split_by="not split; a patient may have several images, which are then of one group",
        people=(
            "children, 104 images called normal and 105 with pneumonia; 171 patients if "
            "the file names number them rightly"
        ),
        artefacts=(
            "JPEG; letters and digits burned in, on some also cables, electrodes or the "
            "edge of the plate; masks include the lung behind the heart"
        ),
        labels=(
            "lung outlines drawn and reviewed by people, matched to 166 images by their "
            "size in pixels; the other 43, nearly all with pneumonia, have none"
        ),
        twin=(
            "drawn chests with ribs and heart, some with opacities, and the masks of their lungs"
        ),
    ),
)
