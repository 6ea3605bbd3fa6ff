"""Cartesian sampling masks: which samples of k-space are taken.

All are bool (1, 1, H, W) on the CPU, True where sampled, and contain a fully sampled centre. The
acceleration that is asked for counts the centre: round(H W / acceleration) samples in all, wherever
the pattern allows it. Lines run along the first axis (readout), W of them side by side (phase
encoding). Sides and distances are in samples, one of which is 1 / field of view.
"""

import math

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.mri.grid import Shape, best, centre_of, centred
from medbook.refuse import need, told

GOLDEN = math.pi * (math.sqrt(5) - 1) / 2  # rad, 111.25 degrees


def acceleration(mask: Tensor) -> float:
    """How many samples the grid has for each that is taken: the actual acceleration.

    >>> acceleration(equispaced_lines((8, 12), 3, centre=0))
    3.0
    """
    need(mask.dtype == torch.bool and mask.any(), f"mask is {told(mask)}: give bool, with a sample")
    return mask.numel() / int(mask.sum())


def random_lines(
    shape: Shape, acceleration: float, centre: float, generator: torch.Generator
) -> Tensor:
    """Central lines, and of the others as many as are missing, all equally likely.

    Args:
        shape: (H, W).
        acceleration: >= 1, H W / samples.
        centre: fraction of the lines, in [0, 1 / acceleration].
        generator: on the CPU.

    Raises:
        MedbookError: acceleration < 1, or the centre alone has too many lines.

    >>> int(random_lines((8, 16), 4, 0.125, torch.Generator())[0, 0, 0].sum())
    4
    """
    central, wanted = _central_lines(shape, acceleration, centre)
    return _along(best(torch.rand(shape[1], generator=generator), central, wanted), shape)


def equispaced_lines(shape: Shape, acceleration: float, centre: float, offset: int = 0) -> Tensor:
    """Central lines, and lines at equal distances, as near as can be to the acceleration.

    The distance is larger than the acceleration, as the centre counts; it is a fraction W / m,
    rounded down to the grid line by line.

    Args:
        shape: (H, W).
        acceleration: >= 1, H W / samples.
        centre: fraction of the lines, in [0, 1 / acceleration].
        offset: index of the first of the lines at equal distances.

    Raises:
        MedbookError: acceleration < 1, or the centre alone has too many lines.

    >>> equispaced_lines((1, 12), 3, 0, offset=1)[0, 0, 0].nonzero().flatten()
    tensor([ 1,  4,  7, 10])
    """
    (central, wanted), width = _central_lines(shape, acceleration, centre), shape[1]

    def lines(m: int) -> Tensor:
        taken = central.clone()
        taken[(torch.arange(m, device="cpu") * width // max(m, 1) + offset) % width] = True
        return taken

    nearest = min(map(lines, range(width + 1)), key=lambda taken: abs(int(taken.sum()) - wanted))
    return _along(nearest, shape)


def gaussian_points(
    shape: Shape, acceleration: float, centre: int, generator: torch.Generator, spread: float = 0.2
) -> Tensor:
    """A central square, and points drawn without replacement from a normal distribution.

    Args:
        shape: (H, W).
        acceleration: >= 1, H W / samples.
        centre: side of the fully sampled square, in samples.
        generator: on the CPU.
        spread: standard deviation as a fraction of either side.

    Raises:
        MedbookError: acceleration < 1, or the centre alone has too many samples.

    Source: drawing by Gumbel scores, Efraimidis and Spirakis 2006, doi:10.1016/j.ipl.2005.11.003.

    >>> acceleration(gaussian_points((32, 32), 8, centre=6, generator=torch.Generator()))
    8.0
    """
    need(0 < spread < math.inf, f"spread is {spread}: give a fraction of the side, > 0")
    central, wanted = centre_of(shape, acceleration, centre, centre)
    y, x = (centred(n) / (spread * n) for n in shape)
    log_density = -(y[:, None].square() + x.square()) / 2
    gumbel = -torch.log(
        torch.empty(shape, dtype=torch.float64, device="cpu").exponential_(generator=generator)
    )
    return best(log_density + gumbel, central, wanted)[None, None]


def radial_lines_on_grid(
    shape: Shape, acceleration: float, centre: int, start: float = 0.0
) -> Tensor:
    """A central square, and lines through the centre from edge to edge, rounded to the grid.

    Each line is turned by the golden angle (111.25 degrees) from the last. There are as many as
    come nearest to the acceleration.

    Args:
        shape: (H, W).
        acceleration: >= 1, H W / samples.
        centre: side of the fully sampled square, in samples.
        start: angle of the first line with the second axis, in rad.

    Raises:
        MedbookError: acceleration < 1, or the centre alone has too many samples.

    Source: Winkelmann et al. 2007, doi:10.1109/TMI.2006.885337.

    >>> mask = radial_lines_on_grid((64, 64), 4, centre=8)
    >>> abs(acceleration(mask) - 4) < 0.1
    True
    """
    (central, wanted), (height, width) = centre_of(shape, acceleration, centre, centre), shape
    angle = (
        start + GOLDEN * torch.arange(8 * max(shape), dtype=torch.float64, device="cpu")[:, None]
    )
    along = torch.arange(-max(shape), max(shape) + 1, 0.5, dtype=torch.float64, device="cpu")
    row = (along * angle.sin()).round().long() + height // 2  # (lines, points)
    column = (along * angle.cos()).round().long() + width // 2
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    line = torch.arange(1, len(angle) + 1, device="cpu")[:, None].expand_as(row)
    # the first line that meets each sample; 0 for the centre
    first = torch.full((height * width,), len(angle) + 1, device="cpu")
    first.scatter_reduce_(0, (row * width + column)[inside], line[inside], "amin")
    first[central.flatten()] = 0
    counts = torch.bincount(first, minlength=len(angle) + 2).cumsum(0)[: len(angle) + 1]
    lines = int((counts - wanted).abs().argmin())
    return (first <= lines).reshape(1, 1, height, width)


def _central_lines(shape: Shape, acceleration: float, centre: float) -> tuple[Tensor, int]:
    """The central lines, (W,) bool, and how many lines there are to be."""
    if not 0 <= centre <= 1:
        raise MedbookError(f"centre is {centre}: give the fraction of lines that it has, 0 to 1")
    central, wanted = centre_of((1, shape[1]), acceleration, 1, round(centre * shape[1]))
    return central[0], wanted


def _along(lines: Tensor, shape: Shape) -> Tensor:
    """Lines (W,) as a mask."""
    return lines.expand(1, 1, *shape).contiguous()
