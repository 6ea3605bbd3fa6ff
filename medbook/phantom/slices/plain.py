"""Random planar objects of plain shapes, to train and test reconstruction with."""

import torch

from medbook.errors import MedbookError
from medbook.phantom.draw import Draw
from medbook.phantom.shapes.base import Sum
from medbook.phantom.shapes.convex import Boxes, Ellipsoids
from medbook.physics.ct.measure import MU_WATER

MOST = 4  # shapes of a kind in an object
# half-axes as fractions of the field: our choice
ELLIPSES = (0.05, 0.25), (0.05, 0.25)
LINES = (0.08, 0.3), (0.006, 0.015)


def ellipses_and_lines(n: int, generator: torch.Generator, field_mm: float = 360.0) -> Sum:
    """Draw objects of one to four ellipses and one to four thin lines, which may overlap.

    Kinds, numbers and grey levels are those of the synthetic set of Evangelista et al. 2023,
    arXiv:2201.09777.

    Args:
        n: number of objects, >= 1.
        generator: the shapes lie on its device.
        field_mm: side of the image; the objects stay within the circle in it.

    Returns:
        (n, 4) ellipses and (n, 4) rectangles of 0.3 to 1 times the attenuation of water, in 1/mm;
        shapes that an object does not have get the value 0.

    Raises:
        MedbookError: n or field_mm is not positive.

    >>> ellipses_and_lines(3, torch.Generator().manual_seed(0)).image(64, 360 / 64).shape
    torch.Size([3, 1, 64, 64])
    """
    if not field_mm > 0:
        raise MedbookError(f"field_mm is {field_mm}: give the side of the image in mm, > 0")
    draw = Draw(n, generator)
    ellipses = Ellipsoids.from_angle(*_scatter(draw, *ELLIPSES, field_mm))
    return ellipses + Boxes.from_angle(*_scatter(draw, *LINES, field_mm))


def _scatter(
    draw: Draw, long: tuple[float, float], short: tuple[float, float], field_mm: float
) -> tuple[torch.Tensor, ...]:
    """Centre, axes, angle and value of one to four shapes in each field."""
    axes = torch.stack([draw.uniform(*long, MOST), draw.uniform(*short, MOST)], -1)
    centre = draw.disc(0.5 - axes.norm(dim=-1), MOST)
    angle, grey = draw.uniform(0, torch.pi, MOST), draw.uniform(0.3, 1, MOST)
    there = torch.arange(MOST, device=axes.device) < draw.uniform(1, MOST + 1).floor()
    return field_mm * centre, field_mm * axes, angle, MU_WATER * grey * there
