"""Pictures of the twins for the data cards."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from medbook.data import ENTRIES, Entry
from medbook.data.entries import Arrays
from medbook.show import plots

SIZE, DPI = 28, 60  # of the pictures: every labelled set but MedNIST has this size
SHOWN = 6  # pictures of a set without labels, at most
Pixels = NDArray[np.uint8]


def count(info: Entry) -> int:
    """Number of images of a twin, at the smallest size."""
    return sum(len(split.images) for split in info.twin(min(info.files)).values())


@cache  # the twin of a set is the same on every call
def strip(name: str, title: str) -> str:
    """Some images of a twin side by side, as an HTML figure."""
    info = ENTRIES[name]
    if info.classes:
        images, titles, alt = _of_classes(info, info.twin(SIZE)["test"])
        what = "a generated picture of each label"
    else:
        images, titles, alt = _of_images(info.twin(min(info.files))["all"], title)
        what = "generated"
    figure = plots.image_grid(images, titles=titles)
    caption = f"Twin of {title}: {what}. Not a picture of anybody."
    return plots.card(plots.data_uri(figure, DPI), alt, caption)


def _of_classes(info: Entry, test: Arrays) -> tuple[Pixels, list[str], str]:
    """One image of each class, its label, and words for all of them."""
    first = [int(np.flatnonzero(test.labels == label)[0]) for label in range(len(info.classes))]
    named = ", ".join(f"{label} {words}" for label, words in enumerate(info.classes))
    alt = f"{len(first)} small generated pictures in a row, one for each class: {named}."
    return test.images[first], [str(label) for label in range(len(first))], alt


def _of_images(every: Arrays, title: str) -> tuple[Pixels, list[str], str]:
    """Images at equal steps, from black at the least value to white at the largest one shown."""
    images = _visible(every.images)
    shown = images[np.linspace(0, len(images) - 1, min(SHOWN, len(images))).astype(int)]
    low, high = shown.min(), shown.max()
    pixels = ((shown - low) / (high - low) * 255).round().astype(np.uint8)
    return pixels, [], f"{len(pixels)} small generated pictures in a row, in the manner of {title}."


def _visible(images: NDArray) -> NDArray:
    """Images as they are; of complex k-space the logarithm of each coil's magnitude."""
    if not np.iscomplexobj(images):
        return images
    return np.log10(np.abs(images).reshape(-1, 1, *images.shape[2:]) + 1e-3)
