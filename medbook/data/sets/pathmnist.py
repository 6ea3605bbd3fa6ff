"""PathMNIST: patches of stained colorectal tissue, nine kinds."""

from functools import partial

from medbook.data.entries import KATHER, Card
from medbook.data.files.medmnist import entry
from medbook.data.twins.colour import Colours, colour

LOOK = Colours((0.88, 0.62, 0.78), (0.68, 0.38, 0.62), (0.4, 0.22, 0.48), 0.0, 0.9)
ENTRY = entry(
    "pathmnist",
    collection=KATHER,
    unit="patch (slides not published)",
    shares=(10, 11, 12, 12, 9, 13, 9, 10, 14),
    draw=partial(colour, look=LOOK, classes=9),
    card=Card(
        image=(
            "patch of a slide of colorectal tissue, stained with haematoxylin and eosin, "
            "224 x 224 pixels, made smaller"
        ),
        splits={"train": 89996, "val": 10004, "test": 7180},
        split_by=(
            "patches of one collection, 9 to 1, and another collection from another "
            "clinical centre as test"
        ),
        twin=("coloured texture of fibres, nuclei and gaps, mixed differently for each class"),
    ),
)
