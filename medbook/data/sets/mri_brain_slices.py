"""Six brain slices without skull, T1-weighted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from medbook.data.entries import Arrays, Card, Content, Entry, File
from medbook.data.files.pictures import averaged
from medbook.data.twins.brain import T1, brain
from medbook.data.twins.drawing import COARSE, fitted, grid, seeded

ANTSPY = (
    "https://raw.githubusercontent.com/ANTsX/ANTsPy/0cf1e566019d92a5e878129fa4cf1af839ccb826/data"
)
BRAINS = {
    "16": "f3f77d4118ccef62a378dc62de561e5d752eabe4247f14467ab43268778ddb0f",
    "27": "58ea0334a62760ce2e003b2df60485e8cfcde097ea200f6cf4da38fb03aaf8a8",
    "30": "674ea6502418c63eb460bb7c40ff6dec21a05513cbc7218fa80e13e176ec946a",
    "62": "acec668caf244f17ba3d35b0ec36b03a8bc32eb8e51d44f970408a16f399dce8",
    "64": "3971218c84734fa1e65ec4472cc8d5cd81eeaa2a904fa7e50c74e9fe07f59d59",
    "85": "d7d396b89e83cb9db4e36627c36965c3aaf149387b38233ffccc5e88006d252d",
}
FIRST, *REST = (
    File(f"mri_brain_slices/r{n}slice.jpg", f"sha256:{digest}", (f"{ANTSPY}/r{n}slice.jpg",))
    for n, digest in BRAINS.items()
)
SLICES = replace(FIRST, parts=tuple(REST))


def read(paths: list[Path], size: int) -> Content:
    """One grey image of 256 pixels a file, each a group; smaller ones are means of square blocks.

    Args:
        paths: of the images, the front on top.
        size: side in pixels.
    """
    slices = []
    for path in paths:
        with Image.open(path) as picture:
            slices.append(np.asarray(picture.convert("L")))
    images = averaged(np.stack(slices), size)[:, None].astype(np.float32)
    return {"all": Arrays(images, groups=np.arange(len(images)))}


def twin(size: int) -> Content:
    """Slices of six drawn brains in T1 contrast."""
    rng = seeded("mri_brain_slices")
    y, x = grid(rng, 6, COARSE, 0.08, 0.06)
    drawn = fitted(brain(rng, y, x, np.ones((6, 1, 1)), T1), size) * 255
    return {"all": Arrays(drawn.round()[:, None].astype(np.float32), groups=np.arange(6))}


ENTRY = Entry(
    name="mri_brain_slices",
    channels=1,
    unit="slice (six, each unlike the others; whose they are is not published)",
    licence="Apache-2.0",
    origin="ANTs example slices, data/r*slice.jpg of github.com/ANTsX/ANTsPy",
    credit="Brain slices: example images of ANTs, github.com/ANTsX/ANTsPy; Apache-2.0; "
    "made smaller",
    collections=frozenset({"ANTs example slices"}),
    files=dict.fromkeys((64, 128, 256), SLICES),
    read=read,
    twin=twin,
    card=Card(
        image=(
            "axial slice of a T1-weighted brain image at the level of the lateral "
            "ventricles, 256 x 256 pixels, everything but the brain made black; smaller "
            "ones are means over square blocks"
        ),
        splits={"all": 6},
        split_by="not split; six slices are too few to train on and to test",
        people="not published; six brains of different shape, so probably six people",
        artefacts=(
            "JPEG; the skull was removed before publication, so the black around a brain "
            "is no measurement, and neither is the rim that was cut; which side is the "
            "right is not stated"
        ),
        labels="none",
        twin="six drawn brains with cortex, ventricles and deep nuclei, fluid dark",
    ),
)
