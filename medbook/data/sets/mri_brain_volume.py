"""Axial MR slices of one head, made square."""

from pathlib import Path

import numpy as np

from medbook.data.entries import Card, Content, Entry, File
from medbook.data.files.pictures import averaged, of_one, seen_from_the_feet
from medbook.data.twins.brain import T2, brain
from medbook.data.twins.drawing import COARSE, fitted, grid, seeded

HEAD = File(
    "nibabel/tests/data/example4d.nii.gz",
    "sha256:42097dfbab9d2a036b41ae5c97a359591cf2cf5c3f8dc6ca6455c0b8a7f22696",
    package=True,
)


def read(paths: list[Path], size: int) -> Content:
    """Axial slices of the first time point, black rows added above and below to make them square.

    Seen like the slices of ``chest_ct``.

    Args:
        paths: of a four-dimensional volume (128, 96, slices, times) with axes to the patient's
            left, front and head.
        size: side in pixels; smaller ones are means of square blocks of pixels.
    """
    (path,) = paths
    import nibabel  # its import is slow, and few runs need it

    volume = np.asarray(nibabel.nifti1.load(path).dataobj)[..., 0]
    seen = seen_from_the_feet(np.moveaxis(volume, 2, 0))
    edge = (seen.shape[2] - seen.shape[1]) // 2
    return of_one(averaged(np.pad(seen, ((0, 0), (edge, edge), (0, 0))), size)[:, None])


def twin(size: int) -> Content:
    """Slices of one drawn brain from its base upwards, fluid bright."""
    rng = seeded("mri_brain_volume")
    y, x = grid(rng, 12, COARSE, 0.0, 0.0)
    height = np.linspace(-0.6, 0.7, 12)[:, None, None]
    drawn = fitted(brain(rng, y, x, np.sqrt(1 - height**2), T2), size) * 1162
    return of_one(drawn.round()[:, None])


ENTRY = Entry(
    name="mri_brain_volume",
    channels=1,
    unit="person (one: the slices are not independent)",
    licence="MIT",
    origin="example4d.nii.gz of the tests of nibabel",
    credit="Brain volume: example4d.nii.gz, in nibabel (nipy.org/nibabel); MIT; "
    "first time point, made square",
    collections=frozenset({"nibabel example4d"}),
    files=dict.fromkeys((64, 128), HEAD),
    value_unit="arbitrary unit",
    value_range=(0.0, 1162.0),
    pixel_mm={64: 4.0, 128: 2.0},
    read=read,
    twin=twin,
    card=Card(
        image=(
            "axial slice of one head, seen from the feet, 128 x 96 pixels of 2 mm, slices "
            "2.2 mm apart, with 16 black rows added above and below; of two time points "
            "the first; at 64 pixels the mean over square blocks"
        ),
        splits={"all": 24},
        split_by="not split; one person, so a split by slices is no test on another person",
        people="one person; nothing else is stated",
        artefacts=(
            "outside the head exactly 0; signal is lost and the shape distorted above the "
            "nose and the ears, as in echo-planar images; which sequence it was is not "
            "stated"
        ),
        labels="none",
        twin="slices of one drawn brain without skull, fluid bright",
    ),
)
