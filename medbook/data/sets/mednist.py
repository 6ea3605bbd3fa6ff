"""MedNIST: slices and radiographs of six kinds, 1,500 of each.

There is no official split. Neighbouring file numbers may be slices of one patient, so each class
is cut into contiguous blocks of its sorted files (train 60 %, val 20 %, test 20 %): a random split
would put slices of one patient on both sides. A patient at the border of two blocks may still be
in both.
"""

import io
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from medbook.data.entries import NIH, TCIA, Arrays, Card, Content, Entry, File
from medbook.data.sources import cache_folder, file_hash
from medbook.data.twins import labelled
from medbook.data.twins.chest import chest
from medbook.data.twins.drawing import Array, Labels, ellipse, grain, grid, step, u

CLASSES = ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")
SHARES = (1,) * 6
# A subset of 1,500 images of each class; no public mirror holds it, so it is not downloaded.
FILE = File(
    "mednist/mednist_6x1500.zip",
    "sha256:28a17bcfb5934d4fbec3554f4adb14b9df828dfc4597f1fecb4dbe186c065041",
)


def read(paths: list[Path], size: int) -> Content:
    """Read the archive and split each class into blocks of neighbouring files.

    Args:
        paths: a zip with members ``CLASS/NUMBER.jpeg`` of 64x64 grey pixels.
        size: 64, or 32 for the average of 2x2 pixels.
    """
    (path,) = paths
    images = _decoded(path, size)
    n = images.shape[1]
    cuts = {"train": (0, n * 3 // 5), "val": (n * 3 // 5, n * 4 // 5), "test": (n * 4 // 5, n)}
    return {
        split: Arrays(
            images[:, start:stop].reshape(-1, 1, size, size),
            np.repeat(np.arange(len(CLASSES)), stop - start),
        )
        for split, (start, stop) in cuts.items()
    }


def _decode(path: Path, size: int) -> NDArray[np.uint8]:
    """Images (class, number, H, W) in the order of the file names; ``reduce`` averages blocks."""
    with zipfile.ZipFile(path) as archive:
        members = sorted(name for name in archive.namelist() if name.endswith(".jpeg"))
        jpegs = [Image.open(io.BytesIO(archive.read(name))).convert("L") for name in members]
    images = np.stack([np.asarray(jpeg.reduce(jpeg.width // size)) for jpeg in jpegs])
    folders = np.array([name.split("/")[0] for name in members])
    return np.stack([images[folders == label] for label in CLASSES])


def _store(target: Path, images: NDArray[np.uint8]) -> None:
    """Write atomically; a cache that cannot be written only costs the next load some seconds."""
    with suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            np.savez(Path(folder, "images.npz"), images=images)
            Path(folder, "images.npz").replace(target)


def _decoded(path: Path, size: int) -> NDArray[np.uint8]:
    """Decoded images, from the user's cache where the same archive was decoded before."""
    target = cache_folder() / "mednist" / f"decoded_{file_hash(path)}_{size}.npz"
    try:
        with np.load(target, allow_pickle=False) as file:
            return file["images"]  # a damaged copy fails the CRC of the zip and is made anew
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        images = _decode(path, size)
        _store(target, images)
        return images


def _adult_chest(rng: Generator, n: int, size: int) -> Array:
    """Chest X-rays with more contrast than the children's of PneumoniaMNIST."""
    return 1.8 * chest(rng, rng.integers(0, 2, n), size)[0] - 0.6


def _body_ct(rng: Generator, n: int, size: int, dots: float) -> Array:
    """Axial CT in a narrow window: flat fat, ribs around, spine, organs, and speckle (dots)."""
    y, x = grid(rng, n, size, 0.06, 0.15)
    r = np.hypot(y / u(rng, n, 0.55, 0.75), x / u(rng, n, 0.75, 0.9))
    ribs = np.exp(-(((r - 1) / 0.04) ** 2)) * step(grain(rng, n, size, 0.15, 0.15) - 0.4, 0.2)
    bone = ribs + ellipse(y - 0.36, x, 0.14, 0.12) + ellipse(y - 0.52, x, 0.12, 0.04)
    liver = ellipse(y + 0.1, x + 0.38, u(rng, n, 0.2, 0.45), u(rng, n, 0.2, 0.4))
    kidneys = ellipse(y - 0.25, np.abs(x) - 0.42, 0.15, u(rng, n, 0.07, 0.15))
    bowel = ellipse(y + 0.15, x - 0.3, 0.3, 0.35) * grain(rng, n, size, 0.12, 0.12)
    organs = (liver + kidneys + 0.35 * bowel) * u(rng, n, 0.1, 0.3) * (1 - dots)
    speckle = (r < 1) * (rng.random(y.shape) < u(rng, n, 0, 0.5) ** 3) * rng.random(y.shape)
    return u(rng, n, 0.38, 0.5) + organs + 0.45 * bone + dots * speckle


def _breast_mri(rng: Generator, n: int, size: int) -> Array:
    """Axial MRI: two bright breasts on a thin rim of fat, dark chest below, black air."""
    y, x = grid(rng, n, size, 0.06, 0.1)
    beside = np.abs(x) - u(rng, n, 0.4, 0.5)
    breasts = ellipse(y - 0.15, beside, u(rng, n, 0.25, 0.7), u(rng, n, 0.22, 0.34), 0.06)
    chest = ellipse(y - 0.65, x, 0.52, 0.85, 0.05)
    fat = np.maximum(breasts, ellipse(y - 0.55, x, 0.55, 0.95, 0.04)) * (1 - chest)
    fat *= 0.8 - 0.5 * step(grain(rng, n, size, 0.2, 0.08) - 1.3, 0.3)
    muscle = 0.1 + 0.25 * step(grain(rng, n, size, 0.12, 0.3) - 1.2, 0.4)
    return (fat + chest * muscle) * step(0.8 - y, 0.02)


def _hand(rng: Generator, n: int, size: int) -> Array:
    """Radiograph of a hand: forearm, palm and five fingers on black."""
    y, x = grid(rng, n, size, 0.1, 0.2)
    x = x * rng.choice([-1, 1], (n, 1, 1)) + u(rng, n, -0.2, 0.2) * y
    arm, fan = step(y - 0.35, 0.1), u(rng, n, 0.7, 1.2)
    soft = np.maximum(ellipse(y - 0.22, x, 0.36, 0.29), arm * step(0.17 - np.abs(x), 0.03))
    bone = arm * step(0.06 - np.abs(np.abs(x) - 0.08), 0.03)
    for angle, length in ((-0.55, 0.85), (-0.2, 1.1), (0.05, 1.18), (0.3, 1.1), (1.0, 0.75)):
        c, s = np.cos(angle * fan), np.sin(angle * fan)
        along, across = (0.4 - y) * c + x * s, np.abs(x * c - (0.4 - y) * s)
        reach = step(length - along, 0.03) * step(along, 0.05)
        soft = np.maximum(soft, reach * step(0.075 - across, 0.025))
        joints = 0.6 + 0.4 * np.abs(np.cos(5.5 * along))
        bone = np.maximum(bone, reach * step(0.035 - across, 0.02) * joints)
    return u(rng, n, 0.02, 0.12) + u(rng, n, 0.3, 0.45) * soft + 0.35 * bone


def _head_ct(rng: Generator, n: int, size: int) -> Array:
    """Axial head CT: bright ring of skull, grey brain, dark ventricles, the head rest."""
    y, x = grid(rng, n, size, 0.06, 0.1)
    ry = u(rng, n, 0.4, 0.72)
    r = np.hypot(y, x / u(rng, n, 0.72, 0.88)) / ry
    skull, brain = step(1 - r, 0.05), step(u(rng, n, 0.75, 0.88) - r, 0.05)
    ventricles = ellipse(y, np.abs(x) - 0.09, 0.3 * ry, 0.06) * u(rng, n, 0, 1)
    tissue = 0.3 + 0.06 * grain(rng, n, size, 0.12, 0.12) - 0.25 * ventricles
    rest = np.exp(-(((np.hypot(y - 0.1, x) - 0.9) / 0.03) ** 2)) * (y > 0.3)
    return 0.1 + 0.25 * rest + skull * (0.9 * (1 - brain) + tissue * brain)


DRAW: tuple[Callable[[Generator, int, int], Array], ...] = (
    partial(_body_ct, dots=0.0), _breast_mri, _adult_chest, partial(_body_ct, dots=0.5),
    _hand, _head_ct,
)  # fmt: skip


def draw(rng: Generator, labels: Labels, size: int) -> Array:
    """The six silhouettes."""
    images = np.empty((len(labels), size, size))
    for k, silhouette in enumerate(DRAW):
        images[labels == k] = silhouette(rng, int((labels == k).sum()), size)
    return images


ENTRY = Entry(
    name="mednist",
    unit="image (patients not published; neighbouring numbers may be slices of one)",
    licence="CC BY-SA 4.0",
    origin="MedNIST, gathered from TCIA, RSNA Bone Age and NIH ChestX-ray14",
    credit="MedNIST: Dr Bradley J. Erickson, Mayo Clinic; CC BY-SA 4.0",
    classes=CLASSES,
    channels=1,
    collections=frozenset({NIH, TCIA, "RSNA Bone Age"}),
    files={32: FILE, 64: FILE},
    read=read,
    twin=partial(labelled.make, "mednist", 1, SHARES, draw),
    card=Card(
        image=("one slice or radiograph of 64 x 64 grey pixels; at 32 pixels the mean of 2 x 2"),
        splits={"train": 5400, "val": 1800, "test": 1800},
        split_by=(
            "blocks of neighbouring file numbers, 60, 20 and 20 % of each class, made by "
            "this book; there is no official split, and a patient at the border of two "
            "blocks may be in both"
        ),
        artefacts=(
            "the images come from several collections, so what marks a collection may "
            "give a class away; the files are JPEG"
        ),
        labels=(
            "body part and modality, as the folders of the publisher name them; telling "
            "them apart is easy"
        ),
        twin=(
            "six silhouettes, drawn as abdominal CT, breast MRI, chest X-ray, chest CT, "
            "hand X-ray and head CT"
        ),
    ),
    shares=SHARES,
)
