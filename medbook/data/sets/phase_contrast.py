"""Phase contrast of neurons in culture: crops of one field in seven focus planes."""

from pathlib import Path

import numpy as np

from medbook.data.entries import Card, Content, Entry, File
from medbook.data.files.pictures import of_one
from medbook.data.twins.drawing import grain, seeded, step

PHASE = File(
    "label_free_microscopy/phase_contrast_z7_fluorescence.npz",
    "sha256:130b0d9e8ed87b2fd76945a2e72b9f5a2011e0e6a36b7e4f8eff9857dcdb96a0",
)


def read(paths: list[Path], size: int) -> Content:
    """Crops of the 7 planes, plane by plane and row by row: image 16 p + 4 r + c of 256 pixels.

    The 16-bit values are divided by 257, which brings 0 and 65535 to 0 and 255.

    Args:
        paths: an npz with ``phase`` uint16 (7, 1024, 1024).
        size: side of a crop in pixels.
    """
    (path,) = paths
    with np.load(path, allow_pickle=False) as file:
        planes = file["phase"]
    n, height, width = planes.shape
    tiles = planes.reshape(n, height // size, size, width // size, size).swapaxes(2, 3)
    return of_one(tiles.reshape(-1, 1, size, size) / 257)


def twin(size: int) -> Content:
    """One drawn field in 7 planes of 2 x 2 crops: cells with halos, sharpest in the middle."""
    rng = seeded("phase_contrast")
    from scipy.ndimage import gaussian_filter  # its import is slow, and few runs need a twin

    cells = step(grain(rng, 1, 2 * size, 0.05, 0.05) - 1.2, 0.3)[0]
    threads = np.exp(-((grain(rng, 1, 2 * size, 0.12, 0.12)[0] / 0.08) ** 2))
    optical = cells + 0.4 * threads
    halo = gaussian_filter(optical, 0.03 * size, mode="wrap")
    blurs = [0.5 + 0.8 * abs(plane - 3) for plane in range(7)]
    planes = np.stack([gaussian_filter(optical, sigma, mode="wrap") for sigma in blurs])
    field = 0.5 + 0.5 * (halo - planes) + 0.02 * rng.standard_normal(planes.shape)
    values = (np.clip(field, 0, 1) * 65535).round() / 257
    crops = values.reshape(7, 2, size, 2, size).swapaxes(2, 3).reshape(-1, 1, size, size)
    return of_one(crops)


ENTRY = Entry(
    name="phase_contrast",
    channels=1,
    unit="field of view (one: planes and crops are not independent)",
    licence="Apache-2.0",
    origin="In Silico Labeling (Christiansen et al. 2018, doi:10.1016/j.cell.2018.03.040)",
    credit="Phase contrast of neurons: Christiansen et al. 2018, "
    "doi:10.1016/j.cell.2018.03.040, github.com/google/in-silico-labeling; Apache-2.0; crops",
    collections=frozenset({"In Silico Labeling 2018"}),
    files={256: PHASE},
    read=read,
    twin=twin,
    card=Card(
        image=(
            "crop of 256 x 256 pixels of a phase-contrast picture of neurons in culture, "
            "1024 x 1024 pixels and 16 bits, in 7 focus planes of one field; values "
            "divided by 257"
        ),
        splits={"all": 112},
        split_by=(
            "not split; the 16 crops of a plane do not overlap, but those of different "
            "planes show the same cells"
        ),
        people="none, cells in culture",
        artefacts=(
            "0.4 to 0.5 % of the pixels stand at the least and 0.1 to 0.3 % at the "
            "largest value, as after stretching of contrast"
        ),
        labels="none that are loaded",
        twin="dark drawn cells and threads with bright halos, sharpest in the middle plane",
    ),
)
