"""OCTMNIST: optical coherence tomography of the retina, four diagnoses."""

from functools import partial

from medbook.data.entries import Card
from medbook.data.files.medmnist import PATIENTS, entry
from medbook.data.twins.grey import Grey, grey

LOOK = Grey(level=0.1, contrast=0.35, speckle=0.2, layer=0.6)
ENTRY = entry(
    "octmnist",
    collection="Kermany 2018 OCT",
    unit=PATIENTS,
    shares=(34, 11, 8, 47),
    draw=partial(grey, look=LOOK, classes=4),
    card=Card(
        image=(
            "optical coherence tomography of the retina; the middle of larger grey "
            "images, made smaller"
        ),
        splits={"train": 97477, "val": 10832, "test": 1000},
        split_by="the source's own training images, 9 to 1, and its validation images as test",
        twin=(
            "a bright curved layer in speckle with a blob; its outline and contrast "
            "differ between classes"
        ),
    ),
)
