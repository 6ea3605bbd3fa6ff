"""DermaMNIST: dermatoscopic images of pigmented lesions, seven kinds."""

from functools import partial

from medbook.data.entries import Card
from medbook.data.files.medmnist import entry
from medbook.data.twins.colour import Colours, colour

LOOK = Colours((0.8, 0.62, 0.6), (0.58, 0.4, 0.36), (0.36, 0.22, 0.2), 0.5, 0.5)
ENTRY = entry(
    "dermamnist",
    collection="HAM10000",
    unit="image (lesions not published)",
    shares=(3, 5, 11, 1, 11, 67, 2),
    draw=partial(colour, look=LOOK, classes=7),
    card=Card(
        image=(
            "dermatoscopic image of a pigmented lesion of the skin, 600 x 450 pixels, made smaller"
        ),
        splits={"train": 7007, "val": 1003, "test": 2005},
        split_by=(
            "images, 7 to 1 to 2, by the publishers of MedMNIST; a lesion may be in two splits"
        ),
        people="several sources; patients not stated",
        twin=("one spot with a dark core on skin colour; size and outline differ between classes"),
    ),
)
