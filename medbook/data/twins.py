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

from medbook.data.medmnist_files import Arrays
from medbook.data.registry import Info

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Number = float | NDArray[np.float64]
COUNTS = {"train": 600, "val": 120, "test": 240}
_FINEST = 56  # larger images repeat the pixels of smaller ones: quick to draw, little memory


def _u(rng: Generator, n: int, low: float, high: float) -> Array:
    return rng.uniform(low, high, (n, 1, 1))


def _step(x: Array, width: float) -> Array:
    """Smooth step from 0 (x < 0) to 1 (x > 0)."""
    return 0.5 + 0.5 * np.tanh(x / width)


def _grid(rng: Generator, n: int, size: int, shift: float, zoom: float) -> tuple[Array, Array]:
    """Coordinates y (down) and x (right) in [-1, 1], shifted and zoomed at random."""
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    scale = _u(rng, n, 1 - zoom, 1 + zoom)
    y = (axis[:, None] + _u(rng, n, -shift, shift)) * scale
    x = (axis[None, :] + _u(rng, n, -shift, shift)) * scale
    return np.broadcast_to(y, (n, size, size)), np.broadcast_to(x, (n, size, size))


def _ellipse(y: Array, x: Array, ry: Number, rx: Number, edge: float = 0.1) -> Array:
    """Mask in [0, 1] of an ellipse around the origin of y, x with half axes ry, rx."""
    return _step(1 - np.hypot(y / ry, x / rx), edge)


def _grain(rng: Generator, n: int, size: int, height: float, width: float) -> Array:
    """Smooth noise of unit variance; height and width of its grains, the image being 2 wide."""
    from scipy.ndimage import gaussian_filter  # its import is slow, and few runs need a twin

    sigma = np.maximum([height, width], 1e-3) * size / 4
    noise = gaussian_filter(rng.standard_normal((n, size, size)), (0, *sigma), mode="wrap")
    return noise / noise.std()


def _blob(rng: Generator, y: Array, x: Array, radius: Array, rough: Array | float) -> Array:
    """Mask of a round shape with a wavy outline."""
    theta, outline = np.arctan2(y, x), np.ones_like(y)
    for k in (2, 3, 5):
        wave = np.cos(k * theta + _u(rng, len(y), 0, 2 * np.pi))
        outline += rough * _u(rng, len(y), 0, 1.6) * wave
    return _step(radius * outline - np.hypot(y, x), 0.1)


def _chest(rng: Generator, labels: Labels, size: int, _info: Info | None = None) -> Array:
    """Frontal chest X-rays: 0 clear lungs, 1 lungs with one to three opacities."""
    n = len(labels)
    y, x = _grid(rng, n, size, 0.1, 0.15)
    side = np.abs(x)
    widen = 1 + 0.5 * (y + 0.2)  # a lung is narrow at its top and wide above the diaphragm
    lungs = _ellipse(y, (side - 0.48) / widen, _u(rng, n, 0.7, 0.85), 0.27, 0.15)
    lungs = lungs * _step(_u(rng, n, 0.3, 0.55) - y + 1.2 * (side - 0.4) ** 2, 0.08)
    lungs = lungs * (1 - _ellipse(y - 0.3, x - 0.12, 0.38, _u(rng, n, 0.22, 0.4)))  # heart
    opacity = np.zeros_like(y)
    for k in range(3):
        at = _u(rng, n, 0.25, 0.65) * rng.choice([-1, 1], (n, 1, 1))
        height, width = _u(rng, n, 0.15, 0.35), _u(rng, n, 0.15, 0.35)
        spot = _ellipse(y - _u(rng, n, -0.5, 0.4), x - at, height, width, 0.5)
        opacity += spot * _u(rng, n, 0.35, 1.0) * (rng.random((n, 1, 1)) < 1 / (k + 1))
    opacity = np.clip(opacity, 0, 0.9) * (labels == 1)[:, None, None]
    ribs = np.cos(np.pi * _u(rng, n, 5, 7) * (y + 0.6 * (side - 0.5) ** 2) + _u(rng, n, 0, 6))
    air = _step(-y - 0.72 - 0.9 * np.abs(side - 0.62), 0.06) * _u(rng, n, 0.5, 1)
    body = 0.68 + 0.1 * np.exp(-((x / 0.16) ** 2)) + 0.14 * _step(y - 0.55, 0.15)
    image = body - _u(rng, n, 0.25, 0.42) * lungs * (1 - opacity)
    image += 0.04 * ribs * _step(side - 0.2, 0.1) * _step(0.6 - y, 0.1)
    return image * (1 - 0.9 * air) + 0.015 * _grain(rng, n, size, 0.3, 0.3)


def _adult_chest(rng: Generator, n: int, size: int) -> Array:
    """Chest X-rays with more contrast than the children's of PneumoniaMNIST."""
    return 1.8 * _chest(rng, rng.integers(0, 2, n), size) - 0.6


def _body_ct(rng: Generator, n: int, size: int, dots: float) -> Array:
    """Axial CT in a narrow window: flat fat, ribs around, spine, organs, and speckle (dots)."""
    y, x = _grid(rng, n, size, 0.06, 0.15)
    r = np.hypot(y / _u(rng, n, 0.55, 0.75), x / _u(rng, n, 0.75, 0.9))
    ribs = np.exp(-(((r - 1) / 0.04) ** 2)) * _step(_grain(rng, n, size, 0.15, 0.15) - 0.4, 0.2)
    bone = ribs + _ellipse(y - 0.36, x, 0.14, 0.12) + _ellipse(y - 0.52, x, 0.12, 0.04)
    liver = _ellipse(y + 0.1, x + 0.38, _u(rng, n, 0.2, 0.45), _u(rng, n, 0.2, 0.4))
    kidneys = _ellipse(y - 0.25, np.abs(x) - 0.42, 0.15, _u(rng, n, 0.07, 0.15))
    bowel = _ellipse(y + 0.15, x - 0.3, 0.3, 0.35) * _grain(rng, n, size, 0.12, 0.12)
    organs = (liver + kidneys + 0.35 * bowel) * _u(rng, n, 0.1, 0.3) * (1 - dots)
    speckle = (r < 1) * (rng.random(y.shape) < _u(rng, n, 0, 0.5) ** 3) * rng.random(y.shape)
    return _u(rng, n, 0.38, 0.5) + organs + 0.45 * bone + dots * speckle


def _breast_mri(rng: Generator, n: int, size: int) -> Array:
    """Axial MRI: two bright breasts on a thin rim of fat, dark chest below, black air."""
    y, x = _grid(rng, n, size, 0.06, 0.1)
    beside = np.abs(x) - _u(rng, n, 0.4, 0.5)
    breasts = _ellipse(y - 0.15, beside, _u(rng, n, 0.25, 0.7), _u(rng, n, 0.22, 0.34), 0.06)
    chest = _ellipse(y - 0.65, x, 0.52, 0.85, 0.05)
    fat = np.maximum(breasts, _ellipse(y - 0.55, x, 0.55, 0.95, 0.04)) * (1 - chest)
    fat *= 0.8 - 0.5 * _step(_grain(rng, n, size, 0.2, 0.08) - 1.3, 0.3)
    muscle = 0.1 + 0.25 * _step(_grain(rng, n, size, 0.12, 0.3) - 1.2, 0.4)
    return (fat + chest * muscle) * _step(0.8 - y, 0.02)


def _hand(rng: Generator, n: int, size: int) -> Array:
    """Radiograph of a hand: forearm, palm and five fingers on black."""
    y, x = _grid(rng, n, size, 0.1, 0.2)
    x = x * rng.choice([-1, 1], (n, 1, 1)) + _u(rng, n, -0.2, 0.2) * y
    arm, fan = _step(y - 0.35, 0.1), _u(rng, n, 0.7, 1.2)
    soft = np.maximum(_ellipse(y - 0.22, x, 0.36, 0.29), arm * _step(0.17 - np.abs(x), 0.03))
    bone = arm * _step(0.06 - np.abs(np.abs(x) - 0.08), 0.03)
    for angle, length in ((-0.55, 0.85), (-0.2, 1.1), (0.05, 1.18), (0.3, 1.1), (1.0, 0.75)):
        c, s = np.cos(angle * fan), np.sin(angle * fan)
        along, across = (0.4 - y) * c + x * s, np.abs(x * c - (0.4 - y) * s)
        reach = _step(length - along, 0.03) * _step(along, 0.05)
        soft = np.maximum(soft, reach * _step(0.075 - across, 0.025))
        joints = 0.6 + 0.4 * np.abs(np.cos(5.5 * along))
        bone = np.maximum(bone, reach * _step(0.035 - across, 0.02) * joints)
    return _u(rng, n, 0.02, 0.12) + _u(rng, n, 0.3, 0.45) * soft + 0.35 * bone


def _head_ct(rng: Generator, n: int, size: int) -> Array:
    """Axial head CT: bright ring of skull, grey brain, dark ventricles, the head rest."""
    y, x = _grid(rng, n, size, 0.06, 0.1)
    ry = _u(rng, n, 0.4, 0.72)
    r = np.hypot(y, x / _u(rng, n, 0.72, 0.88)) / ry
    skull, brain = _step(1 - r, 0.05), _step(_u(rng, n, 0.75, 0.88) - r, 0.05)
    ventricles = _ellipse(y, np.abs(x) - 0.09, 0.3 * ry, 0.06) * _u(rng, n, 0, 1)
    tissue = 0.3 + 0.06 * _grain(rng, n, size, 0.12, 0.12) - 0.25 * ventricles
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
    y, x = _grid(rng, n, size, 0.25, 0.2)
    tall = np.exp(0.3 - 0.7 * form)  # a first attribute of 0 is taller than wide, and rough
    blob = _blob(rng, y / tall, x * tall, _u(rng, n, 0.3, 0.55), 0.2 * (1 - form))
    curve = y - 0.2 * np.cos(2 * x) + 0.05 * _grain(rng, n, size, 1, 0.5)
    ground = level - fall * np.clip(y, -0.5, 1) + layer * np.exp(-((curve / 0.2) ** 2))
    ground = ground + neighbours * _step(_grain(rng, n, size, 0.4, 0.4) - 0.4, 0.2)
    inside = level + contrast * (0.5 + 0.8 * tone) * _u(rng, n, 0.6, 1.2)
    image = ground + (inside - ground) * blob
    grains = _grain(rng, n, size, 0.08, 0.2) + 0.5 * _grain(rng, n, size, 0.2, 0.5)
    return image * (1 + speckle * grains) * _u(rng, n, 0.8, 1.2)


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
    angle = _u(rng, n, 0, np.pi) + 0.2 * _grain(rng, n, size, 0.6, 0.6)
    stripes = np.cos(6 * np.pi * (y * np.sin(angle) + x * np.cos(angle)))
    streaks = _step(stripes + _grain(rng, n, size, 0.15, 0.15), 0.8) * fibres
    white = _step(_grain(rng, n, size, 0.45, 0.45) - 2.5 + 2.8 * gaps, 0.15)
    dark = _step(_grain(rng, n, size, 0.1, 0.1) - 2.6 + 2.6 * nuclei, 0.4)
    return streaks + 0.4 * nuclei * (1 - streaks), dark, white


def _colour(rng: Generator, labels: Labels, size: int, info: Info) -> Array:
    """Stained cells, skin, retina: ground, object, spots; the class sets spots and form."""
    ground, thing, dots, radius, strength = _COLOUR[info.name]
    n = len(labels)
    density, form = _attributes(rng, labels, len(info.classes))
    y, x = _grid(rng, n, size, 0.1, 0.08)
    spots = _step(_grain(rng, n, size, 0.12, 0.12) - 2.4 + 1.8 * density, 0.5)
    gaps, hue = np.zeros_like(y), 0.06
    if radius == 0:
        thing_at, spots, gaps = _tissue(rng, labels, y, x)
    elif radius < 0.3:  # retina: a small bright disc off the centre
        thing_at = _blob(rng, y, x + _u(rng, n, -0.5, 0.5), _u(rng, n, 0.8, 1.2) * radius, 0.0)
        hue = 0.2
    else:  # one cell or lesion, with a dark core
        large = radius * (0.7 + 0.6 * density) * _u(rng, n, 0.9, 1.1)
        thing_at = _blob(rng, y, x, large, 0.1 * form)
        core = _blob(rng, y, x, 0.7 * large, 0.05 + 0.25 * form)
        spots = np.maximum(1.8 * core, spots * thing_at)
    shade = 1 + 0.07 * _grain(rng, n, size, 1, 1)
    image = np.empty((n, 3, size, size))
    for c in range(3):
        layer = ground[c] * shade * _u(rng, n, 1 - hue, 1 + hue)
        layer = layer + (thing[c] - layer) * thing_at
        layer = layer + (dots[c] - layer) * strength * spots
        image[:, c] = layer + (0.93 - layer) * gaps
    if 0 < radius < 0.3:
        lit = 1.4 - 0.8 * np.hypot(y - _u(rng, n, -0.4, 0.4), x - _u(rng, n, -0.4, 0.4))
        image *= (lit * _step(0.93 - np.hypot(y, x), 0.04))[:, None]
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
    draw = _FAMILIES.get(info.name, _grey if info.channels == 1 else _colour)
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
