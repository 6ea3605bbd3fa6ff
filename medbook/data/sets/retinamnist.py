"""RetinaMNIST: photographs of the fundus, five grades of diabetic retinopathy."""

from functools import partial

from medbook.data.entries import Card
from medbook.data.files.medmnist import PATIENTS, entry
from medbook.data.twins.colour import RETINA, colour

ENTRY = entry(
    "retinamnist",
    collection="DeepDRiD",
    unit=PATIENTS,
    shares=(45, 12, 19, 18, 6),
    draw=partial(colour, look=RETINA, classes=5),
    card=Card(
        image=(
            "photograph of the fundus of the eye; the middle of 1736 x 1824 pixels, made smaller"
        ),
        splits={"train": 1080, "val": 120, "test": 400},
        split_by=(
            "the source's own training images, 9 to 1, and its validation images as test; "
            "a patient may be in training and validation"
        ),
        labels=(
            "five ordered grades of diabetic retinopathy, 0 to 4; how they were found is not stated"
        ),
        twin=(
            "a reddish disc with a small bright disc and spots; their number and form "
            "differ between grades"
        ),
    ),
)
