"""OrganSMNIST: sagittal CT slices through eleven organs."""

from functools import partial

from medbook.data.entries import LITS, Card
from medbook.data.files.medmnist import CT_SLICE, entry
from medbook.data.twins.grey import ORGAN, grey

ENTRY = entry(
    "organsmnist",
    collection=LITS,
    unit=CT_SLICE,
    shares=(8, 5, 4, 5, 8, 8, 25, 5, 6, 15, 11),
    draw=partial(grey, look=ORGAN, classes=11),
    card=Card(
        image=(
            "sagittal slice through the middle of one organ, cut out of an abdominal CT "
            "in a fixed grey window"
        ),
        splits={"train": 13932, "val": 2452, "test": 8827},
        split_by=(
            "CT scans, 115, 16 and 70 of them; the files do not say which slice is of which scan"
        ),
        labels="organ boxes of another study than the scans; how good they are is not stated",
        twin=(
            "a blob among neighbours in speckle; its outline and contrast differ between classes"
        ),
    ),
)
