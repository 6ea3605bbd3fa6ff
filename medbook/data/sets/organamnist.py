"""OrganAMNIST: axial CT slices through eleven organs."""

from functools import partial

from medbook.data.entries import LITS, Card
from medbook.data.files.medmnist import CT_SLICE, entry
from medbook.data.twins.grey import ORGAN, grey

ENTRY = entry(
    "organamnist",
    collection=LITS,
    unit=CT_SLICE,
    shares=(6, 4, 4, 4, 11, 11, 18, 11, 11, 9, 11),
    draw=partial(grey, look=ORGAN, classes=11),
    card=Card(
        image=(
            "axial slice through the middle of one organ, cut out of an abdominal CT in a "
            "fixed grey window"
        ),
        splits={"train": 34561, "val": 6491, "test": 17778},
        split_by=(
            "CT scans, 115, 16 and 70 of them; the files do not say which slice is of which scan"
        ),
        labels="organ boxes of another study than the scans; how good they are is not stated",
        twin=(
            "a blob among neighbours in speckle; its outline and contrast differ between classes"
        ),
    ),
)
