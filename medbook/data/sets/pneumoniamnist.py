"""PneumoniaMNIST: chest X-rays of children, normal or with pneumonia."""

from numpy.random import Generator

from medbook.data.entries import KERMANY, Card
from medbook.data.files.medmnist import PATIENTS, entry
from medbook.data.twins.chest import chest
from medbook.data.twins.drawing import Array, Labels


def draw(rng: Generator, labels: Labels, size: int) -> Array:
    """Chests with opacities where the label is 1."""
    return chest(rng, labels, size)[0]


ENTRY = entry(
    "pneumoniamnist",
    collection=KERMANY,
    unit=PATIENTS,
    shares=(26, 74),
    draw=draw,
    card=Card(
        image="chest X-ray of a child; the middle of a larger grey image, made smaller",
        splits={"train": 4708, "val": 524, "test": 624},
        split_by=(
            "the source's own training images, 9 to 1, and its validation images as test; "
            "the test images differ from the others in kind, and 8 validation images are "
            "copies of training images"
        ),
        people="children; patients not published, one may have several images",
        twin="drawn chests, with one to three opacities in the lungs for pneumonia",
    ),
)
