"""Procedural twins: images that look like a modality, for smoke runs and tests without any file.

A twin has the channels, classes and class shares of its real set but far fewer images, all drawn
from a fixed seed. It shows that code runs and learns; a number measured on it says nothing about
real images. Computed in float64, so that rounding to uint8 gives the same bytes on every machine.
"""

import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from medbook.data.drawing import Array, blob, ellipse, grain, grid, step, u
from medbook.data.entries import Info
from medbook.data.medmnist_files import Arrays

Labels = NDArray[np.int64]
COUNTS = {"train": 600, "val": 120, "test": 240}
_FINEST = 56  # larger images repeat the pixels of smaller ones: quick to draw, little memory


def _chest(rng: Generator, labels: Labels, size: int, _info: Info | None = None) -> Array:
    """Frontal chest X-rays: 0 clear lungs, 1 lungs with one to three opacities."""
    return chest(rng, labels, size)[0]


def chest(rng: Generator, labels: Labels, size: int) -> tuple[Array, Array]:
    """The same with the masks of the lungs, which go on behind the heart."""
    n = len(labels)
    y, x = grid(rng, n, size, 0.1, 0.15)
    side = np.abs(x)
    widen = 1 + 0.5 * (y + 0.2)  # a lung is narrow at its top and wide above the diaphragm
    lungs = ellipse(y, (side - 0.48) / widen, u(rng, n, 0.7, 0.85), 0.27, 0.15)
    whole = lungs * step(u(rng, n, 0.3, 0.55) - y + 1.2 * (side - 0.4) ** 2, 0.08)
    lungs = whole * (1 - ellipse(y - 0.3, x - 0.12, 0.38, u(rng, n, 0.22, 0.4)))  # heart
    opacity = np.zeros_like(y)
    for k in range(3):
        at = u(rng, n, 0.25, 0.65) * rng.choice([-1, 1], (n, 1, 1))
        height, width = u(rng, n, 0.15, 0.35), u(rng, n, 0.15, 0.35)
        spot = ellipse(y - u(rng, n, -0.5, 0.4), x - at, height, width, 0.5)
        opacity += spot * u(rng, n, 0.35, 1.0) * (rng.random((n, 1, 1)) < 1 / (k + 1))
    opacity = np.clip(opacity, 0, 0.9) * (labels == 1)[:, None, None]
    ribs = np.cos(np.pi * u(rng, n, 5, 7) * (y + 0.6 * (side - 0.5) ** 2) + u(rng, n, 0, 6))
    air = step(-y - 0.72 - 0.9 * np.abs(side - 0.62), 0.06) * u(rng, n, 0.5, 1)
    body = 0.68 + 0.1 * np.exp(-((x / 0.16) ** 2)) + 0.14 * step(y - 0.55, 0.15)
    image = body - u(rng, n, 0.25, 0.42) * lungs * (1 - opacity)
    image += 0.04 * ribs * step(side - 0.2, 0.1) * step(0.6 - y, 0.1)
    return image * (1 - 0.9 * air) + 0.015 * grain(rng, n, size, 0.3, 0.3), whole


def _adult_chest(rng: Generator, n: int, size: int) -> Array:
    """Chest X-rays with more contrast than the children's of PneumoniaMNIST."""
    return 1.8 * _chest(rng, rng.integers(0, 2, n), size) - 0.6


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


_MEDNIST: tuple[Callable[[Generator, int, int], Array], ...] = (
    partial(_body_ct, dots=0.0), _breast_mri, _adult_chest, partial(_body_ct, dots=0.5),
    _hand, _head_ct,
)  # fmt: skip


def _mednist(rng: Generator, labels: Labels, size: int, _info: Info) -> Array:
    """The six silhouettes of MedNIST."""
    images = np.empty((len(labels), size, size))
    for k, draw in enumerate(_MEDNIST):
        images[labels == k] = draw(rng, int((labels == k).sum()), size)
    return images


def _attributes(rng: Generator, labels: Labels, n_classes: int) -> tuple[Array, Array]:
    """Two attributes in [0, 1] that tell the classes apart: a point of a lattice, blurred."""
    side = int(np.ceil(np.sqrt(n_classes)))
    lattice = np.stack([labels % side, labels // side]) / max(side - 1, 1)
    first, second = np.clip(lattice + rng.normal(0, 0.3 / side, lattice.shape), 0, 1)
    return first[:, None, None], second[:, None, None]


# Grey level, its fall with depth, contrast of the object, neighbours, speckle, bright layer.
_GREY = {
    "breastmnist": (0.42, 0.35, -0.42, 0.0, 0.2, 0.0),
    "octmnist": (0.1, 0.0, 0.35, 0.0, 0.2, 0.6),
    "tissuemnist": (0.03, 0.0, 0.45, 0.06, 0.1, 0.0),
    "organ": (0.25, 0.0, 0.4, 0.15, 0.06, 0.0),
}


def _grey(rng: Generator, labels: Labels, size: int, info: Info) -> Array:
    """An object in speckle; its class is in its outline (first attribute) and contrast."""
    level, fall, contrast, neighbours, speckle, layer = _GREY.get(info.name, _GREY["organ"])
    n = len(labels)
    form, tone = _attributes(rng, labels, len(info.classes))
    y, x = grid(rng, n, size, 0.25, 0.2)
    tall = np.exp(0.3 - 0.7 * form)  # a first attribute of 0 is taller than wide, and rough
    mask = blob(rng, y / tall, x * tall, u(rng, n, 0.3, 0.55), 0.2 * (1 - form))
    curve = y - 0.2 * np.cos(2 * x) + 0.05 * grain(rng, n, size, 1, 0.5)
    ground = level - fall * np.clip(y, -0.5, 1) + layer * np.exp(-((curve / 0.2) ** 2))
    ground = ground + neighbours * step(grain(rng, n, size, 0.4, 0.4) - 0.4, 0.2)
    inside = level + contrast * (0.5 + 0.8 * tone) * u(rng, n, 0.6, 1.2)
    image = ground + (inside - ground) * mask
    grains = grain(rng, n, size, 0.08, 0.2) + 0.5 * grain(rng, n, size, 0.2, 0.5)
    return image * (1 + speckle * grains) * u(rng, n, 0.8, 1.2)


# Ground, object and spot colour (RGB), radius of the object, strength of the spots.
_COLOUR = {
    "pathmnist": ((0.88, 0.62, 0.78), (0.68, 0.38, 0.62), (0.4, 0.22, 0.48), 0.0, 0.9),
    "bloodmnist": ((0.95, 0.84, 0.78), (0.76, 0.6, 0.74), (0.4, 0.22, 0.55), 0.55, 0.5),
    "dermamnist": ((0.8, 0.62, 0.6), (0.58, 0.4, 0.36), (0.36, 0.22, 0.2), 0.5, 0.5),
    "retinamnist": ((0.64, 0.36, 0.2), (0.98, 0.78, 0.5), (0.3, 0.12, 0.08), 0.1, 0.5),
}
# Of each class of pathmnist: nuclei, fibres, unstained gaps, in [0, 1].
_TISSUE = (
    (0.1, 0.2, 0.9), (0.0, 0.0, 0.0), (0.35, 0.2, 0.1), (0.85, 0.0, 0.3), (0.1, 0.6, 0.5),
    (0.2, 1.0, 0.05), (0.6, 0.1, 0.6), (0.4, 0.7, 0.1), (0.75, 0.4, 0.3),
)  # fmt: skip


def _tissue(rng: Generator, labels: Labels, y: Array, x: Array) -> tuple[Array, Array, Array]:
    """Masks of fibres, of nuclei and of gaps without stain, as far as the class has them."""
    shares = np.array(_TISSUE)[labels] + rng.normal(0, 0.08, (len(labels), 3))
    nuclei, fibres, gaps = np.clip(shares, 0, 1).T[:, :, None, None]
    n, size = y.shape[:2]
    angle = u(rng, n, 0, np.pi) + 0.2 * grain(rng, n, size, 0.6, 0.6)
    stripes = np.cos(6 * np.pi * (y * np.sin(angle) + x * np.cos(angle)))
    streaks = step(stripes + grain(rng, n, size, 0.15, 0.15), 0.8) * fibres
    white = step(grain(rng, n, size, 0.45, 0.45) - 2.5 + 2.8 * gaps, 0.15)
    dark = step(grain(rng, n, size, 0.1, 0.1) - 2.6 + 2.6 * nuclei, 0.4)
    return streaks + 0.4 * nuclei * (1 - streaks), dark, white


def colour(rng: Generator, labels: Labels, size: int, info: Info) -> Array:
    """Stained cells, skin, retina: ground, object, spots; the class sets spots and form."""
    ground, thing, dots, radius, strength = _COLOUR[info.name]
    n = len(labels)
    density, form = _attributes(rng, labels, len(info.classes))
    y, x = grid(rng, n, size, 0.1, 0.08)
    spots = step(grain(rng, n, size, 0.12, 0.12) - 2.4 + 1.8 * density, 0.5)
    gaps, hue = np.zeros_like(y), 0.06
    if radius == 0:
        thing_at, spots, gaps = _tissue(rng, labels, y, x)
    elif radius < 0.3:  # retina: a small bright disc off the centre
        thing_at = blob(rng, y, x + u(rng, n, -0.5, 0.5), u(rng, n, 0.8, 1.2) * radius, 0.0)
        hue = 0.2
    else:  # one cell or lesion, with a dark core
        large = radius * (0.7 + 0.6 * density) * u(rng, n, 0.9, 1.1)
        thing_at = blob(rng, y, x, large, 0.1 * form)
        core = blob(rng, y, x, 0.7 * large, 0.05 + 0.25 * form)
        spots = np.maximum(1.8 * core, spots * thing_at)
    shade = 1 + 0.07 * grain(rng, n, size, 1, 1)
    image = np.empty((n, 3, size, size))
    for c in range(3):
        layer = ground[c] * shade * u(rng, n, 1 - hue, 1 + hue)
        layer = layer + (thing[c] - layer) * thing_at
        layer = layer + (dots[c] - layer) * strength * spots
        image[:, c] = layer + (0.93 - layer) * gaps
    if 0 < radius < 0.3:
        lit = 1.4 - 0.8 * np.hypot(y - u(rng, n, -0.4, 0.4), x - u(rng, n, -0.4, 0.4))
        image *= (lit * step(0.93 - np.hypot(y, x), 0.04))[:, None]
    return image


def _labels(rng: Generator, shares: tuple[int, ...], n: int) -> Labels:
    """``n`` labels in random order with the given shares, at least one of each class."""
    exact = np.asarray(shares) / sum(shares) * n
    counts = np.maximum(exact.round().astype(int), 1)
    counts[np.argmax(counts)] += n - counts.sum()
    return rng.permutation(np.repeat(np.arange(len(shares)), counts))


_FAMILIES = {"pneumoniamnist": _chest, "mednist": _mednist}


def make(info: Info, size: int) -> Arrays:
    """Generate the twin of a data set, the same on every call.

    Args:
        info: its entry in the registry.
        size: side of the images in pixels.

    Returns:
        Images uint8 (N, C, H, W) and labels int64 (N,) by split, ``COUNTS`` images each.
    """
    draw = _FAMILIES.get(info.name, _grey if info.channels == 1 else colour)
    repeat = max(size // _FINEST, 1)
    splits: Arrays = {}
    for k, (split, n) in enumerate(COUNTS.items()):
        rng = np.random.default_rng([zlib.crc32(info.name.encode()), k])
        labels = _labels(rng, info.shares, n)
        images = draw(rng, labels, size // repeat, info)
        images = images.reshape(n, info.channels, *images.shape[-2:])
        images = images * rng.uniform(0.8, 1.1, (n, 1, 1, 1))
        images += 0.01 * rng.standard_normal(images.shape)
        pixels = (np.clip(images, 0, 1) * 255).round().astype(np.uint8)
        splits[split] = pixels.repeat(repeat, -1).repeat(repeat, -2), labels
    return splits
