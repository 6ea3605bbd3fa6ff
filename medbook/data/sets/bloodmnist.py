"""BloodMNIST: single blood cells under the microscope, eight kinds."""

from functools import partial

from medbook.data.entries import Card
from medbook.data.files.medmnist import entry
from medbook.data.twins.colour import Colours, colour

LOOK = Colours((0.95, 0.84, 0.78), (0.76, 0.6, 0.74), (0.4, 0.22, 0.55), 0.55, 0.5)
ENTRY = entry(
    "bloodmnist",
    collection="Acevedo 2020",
    unit="cell (donors not published)",
    shares=(7, 18, 9, 17, 7, 8, 20, 14),
    draw=partial(colour, look=LOOK, classes=8),
    card=Card(
        image=(
            "one blood cell under the microscope; the middle 200 x 200 of 360 x 363 "
            "pixels, made smaller"
        ),
        splits={"train": 11959, "val": 1712, "test": 3421},
        split_by="images, 7 to 1 to 2, by the publishers of MedMNIST",
        people=(
            "donors without infection, disease of the blood or cancer, and without "
            "medication; their number and who gave which cell are not published"
        ),
        twin=(
            "one round cell with a dark core on a light ground; size and outline differ "
            "between classes"
        ),
    ),
)
