"""Pictures of the twins for the data cards."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from medbook import plots
from medbook.data import IMAGES, REGISTRY, Entry, ImageInfo, Info, image_twins, twins

SIZE, DPI = 28, 60  # of the pictures: every labelled set but MedNIST has this size
SHOWN = 6  # pictures of a set without labels, at most
Pixels = NDArray[np.uint8]


def count(info: Entry) -> int:
    """Number of images of a twin, at the smallest size."""
    if isinstance(info, ImageInfo):
        return len(image_twins.make(info, min(info.files)).images)
    return sum(twins.COUNTS.values())


@cache  # the twin of a set is the same on every call
def strip(name: str, title: str) -> str:
    """Some images of a twin side by side, as an HTML figure."""
    if name in REGISTRY:
        images, titles, alt = _of_classes(REGISTRY[name])
        what = "a generated picture of each label"
    else:
        images, titles, alt = _of_images(IMAGES[name], title)
        what = "generated"
    figure = plots.image_grid(images, titles=titles)
    caption = f"Twin of {title}: {what}. Not a picture of anybody."
    return plots.card(plots.data_uri(figure, DPI), alt, caption)


def _of_classes(info: Info) -> tuple[Pixels, list[str], str]:
    """One image of each class, its label, and words for all of them."""
    images, labels = twins.make(info, SIZE)["test"]
    first = [int(np.flatnonzero(labels == label)[0]) for label in range(len(info.classes))]
    named = ", ".join(f"{label} {words}" for label, words in enumerate(info.classes))
    alt = f"{len(first)} small generated pictures in a row, one for each class: {named}."
    return images[first], [str(label) for label in range(len(first))], alt


def _of_images(info: ImageInfo, title: str) -> tuple[Pixels, list[str], str]:
    """Images at equal steps, from black at the least value to white at the largest one shown."""
    images = image_twins.make(info, min(info.files)).images
    shown = images[np.linspace(0, len(images) - 1, min(SHOWN, len(images))).astype(int)]
    low, high = shown.min(), shown.max()
    pixels = ((shown - low) / (high - low) * 255).round().astype(np.uint8)
    return pixels, [], f"{len(pixels)} small generated pictures in a row, in the manner of {title}."
