"""OrganCMNIST: coronal CT slices through eleven organs."""

from functools import partial

from medbook.data.entries import LITS, Card
from medbook.data.files.medmnist import CT_SLICE, entry
from medbook.data.twins.grey import ORGAN, grey

ENTRY = entry(
    "organcmnist",
    collection=LITS,
    unit=CT_SLICE,
    shares=(9, 5, 5, 5, 8, 9, 23, 8, 8, 9, 11),
    draw=partial(grey, look=ORGAN, classes=11),
    card=Card(
        image=(
            "coronal slice through the middle of one organ, cut out of an abdominal CT in "
            "a fixed grey window"
        ),
        splits={"train": 12975, "val": 2392, "test": 8216},
        split_by=(
            "CT scans, 115, 16 and 70 of them; the files do not say which slice is of which scan"
        ),
        labels="organ boxes of another study than the scans; how good they are is not stated",
        twin=(
            "a blob among neighbours in speckle; its outline and contrast differ between classes"
        ),
    ),
)
