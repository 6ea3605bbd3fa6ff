"""BreastMNIST: ultrasound of the breast, malignant or not."""

from functools import partial

from medbook.data.entries import Card
from medbook.data.files.medmnist import PATIENTS, entry
from medbook.data.twins.grey import Grey, grey

LOOK = Grey(level=0.42, fall=0.35, contrast=-0.42, speckle=0.2)
ENTRY = entry(
    "breastmnist",
    collection="BUSI",
    unit=PATIENTS,
    shares=(27, 73),
    draw=partial(grey, look=LOOK, classes=2),
    card=Card(
        image="breast ultrasound of 500 x 500 pixels, made smaller",
        splits={"train": 546, "val": 78, "test": 156},
        split_by=(
            "images, 7 to 1 to 2, by the publishers of MedMNIST; a patient may be in two splits"
        ),
        labels=(
            "three classes of the source made two, normal and benign against malignant; "
            "how they were found is not stated"
        ),
        twin="a dark blob in speckle; its outline and contrast differ between classes",
    ),
)
