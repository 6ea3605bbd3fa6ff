"""One photograph of the fundus of an eye, in colour."""

from pathlib import Path

import numpy as np
from PIL import Image

from medbook.data.entries import Card, Content, Entry, File
from medbook.data.files.pictures import of_one
from medbook.data.twins.colour import RETINA, colour
from medbook.data.twins.drawing import COARSE, grey_values, seeded

PHOTOGRAPH = File(
    "skimage/data/retina.jpg",
    "sha256:38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
    package=True,
)


def read(paths: list[Path], size: int) -> Content:
    """The photograph in red, green and blue, made smaller.

    Args:
        paths: a square colour image.
        size: side in pixels.
    """
    (path,) = paths
    with Image.open(path) as picture:
        small = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    return of_one(np.moveaxis(np.asarray(small), -1, 0)[None])


def twin(size: int) -> Content:
    """One drawn eye: a reddish disc with a bright spot."""
    rng = seeded("fundus")
    drawn = colour(rng, np.array([1]), COARSE, RETINA, classes=5)
    return of_one(grey_values(rng, drawn, size))


ENTRY = Entry(
    name="fundus",
    channels=3,
    unit="eye (one)",
    licence="CC0 1.0",
    origin="Häggström 2014, doi:10.15347/wjm/2014.008, as packaged with scikit-image",
    credit="Fundus photograph: Häggström 2014, WikiJournal of Medicine 1 (2), "
    "doi:10.15347/wjm/2014.008, in scikit-image; CC0 1.0",
    collections=frozenset({"Häggström 2014"}),
    files=dict.fromkeys((128, 256, 512), PHOTOGRAPH),
    read=read,
    twin=twin,
    card=Card(
        image=(
            "colour photograph of the fundus of the left eye, round on black, 1411 x 1411 "
            "pixels, made smaller"
        ),
        splits={"all": 1},
        split_by="not split",
        people="one eye, called normal; no verdict on this set reaches beyond one",
        artefacts="black corners with a notch; JPEG",
        labels="none",
        twin="a reddish disc with a bright spot and dark dots, without vessels",
    ),
)
