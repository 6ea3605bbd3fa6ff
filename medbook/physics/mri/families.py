"""One random mask of each family, by its name."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.mri.grid import Shape
from medbook.physics.mri.masks import (
    equispaced_lines,
    gaussian_points,
    radial_lines_on_grid,
    random_lines,
)
from medbook.physics.mri.poisson import poisson_disc

CENTRE = 0.08  # of the lines; of the points, a square of twice this side


def random_mask(name: str, shape: Shape, acceleration: float, generator: torch.Generator) -> Tensor:
    """Draw a mask of a family: points, or the first line's place or angle, are left to chance.

    Args:
        name: one of `FAMILIES`.
        shape: (H, W).
        acceleration: >= 1, H W / samples; the centre counts.
        generator: on the CPU.

    Returns:
        (1, 1, H, W) bool.

    Raises:
        MedbookError: an unknown name, or an acceleration that the fully sampled centre forbids.

    >>> mask = random_mask("Poisson disc", (32, 32), 4, torch.Generator())
    >>> int(mask.sum())
    256
    """
    if name not in FAMILIES:
        raise MedbookError(f"no family of masks is called {name!r}: known are {list(FAMILIES)}")
    return FAMILIES[name](shape, acceleration, generator)


def _square(shape: Shape) -> int:
    return 2 * max(1, round(CENTRE * min(shape)))


def _equispaced(shape: Shape, R: float, generator: torch.Generator) -> Tensor:
    first = int(torch.randint(shape[1], (1,), generator=generator))
    return equispaced_lines(shape, R, CENTRE, first)


def _radial(shape: Shape, R: float, generator: torch.Generator) -> Tensor:
    angle = math.pi * float(torch.rand(1, generator=generator))
    return radial_lines_on_grid(shape, R, _square(shape), angle)


FAMILIES: dict[str, Callable[[Shape, float, torch.Generator], Tensor]] = {
    "equispaced lines": _equispaced,
    "random lines": lambda shape, R, g: random_lines(shape, R, CENTRE, g),
    "Gaussian points": lambda shape, R, g: gaussian_points(shape, R, _square(shape), g),
    "Poisson disc": lambda shape, R, g: poisson_disc(shape, R, _square(shape), g),
    "radial lines": _radial,
}
