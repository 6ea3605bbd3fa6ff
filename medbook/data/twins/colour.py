"""Colour images of cells, skin and retina, for the twins of several sets."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from medbook.data.twins.drawing import Array, Labels, blob, grain, grid, step, u
from medbook.data.twins.labelled import attributes

Rgb = tuple[float, float, float]


class Colours(NamedTuple):
    """Colour of ground, object and spots; radius of the object, 0 for tissue; strength of spots."""

    ground: Rgb
    thing: Rgb
    dots: Rgb
    radius: float
    strength: float


RETINA = Colours((0.64, 0.36, 0.2), (0.98, 0.78, 0.5), (0.3, 0.12, 0.08), 0.1, 0.5)
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


def colour(rng: Generator, labels: Labels, size: int, look: Colours, classes: int) -> Array:
    """Stained cells, skin, retina: ground, object, spots; the class sets spots and form."""
    ground, thing, dots, radius, strength = look
    n = len(labels)
    density, form = attributes(rng, labels, classes)
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
