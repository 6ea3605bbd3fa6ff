"""TissueMNIST: single cells of human kidney, eight kinds."""

from functools import partial

from medbook.data.entries import Card
from medbook.data.files.medmnist import entry
from medbook.data.twins.grey import Grey, grey

LOOK = Grey(level=0.03, contrast=0.45, neighbours=0.06, speckle=0.1)
ENTRY = entry(
    "tissuemnist",
    collection="BBBC051",
    unit="cell (from three specimens)",
    shares=(32, 5, 3, 9, 4, 5, 24, 18),
    draw=partial(grey, look=LOOK, classes=8),
    card=Card(
        image=(
            "one cell of the cortex of a human kidney; largest value over 7 slices of 32 "
            "x 32 pixels, made smaller"
        ),
        splits={"train": 165466, "val": 23640, "test": 47280},
        split_by=(
            "cells, 7 to 1 to 2, by the publishers of MedMNIST; cells of one specimen are "
            "in all splits"
        ),
        people="three reference specimens, so no verdict on this set reaches beyond three",
        twin=(
            "a faint blob on black with neighbours; its outline and brightness differ "
            "between classes"
        ),
    ),
)
