"""Frontal chest X-rays, for the twins of several sets."""

import numpy as np
from numpy.random import Generator

from medbook.data.twins.drawing import Array, Labels, ellipse, grain, grid, step, u


def chest(rng: Generator, labels: Labels, size: int) -> tuple[Array, Array]:
    """X-rays, and the masks of the lungs, which go on behind the heart.

    Args:
        rng: all that varies comes from it.
        labels: 0 clear lungs, 1 lungs with one to three opacities.
        size: side in pixels.
    """
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
