"""Simulated receive coils around a head, each a short sum of plane waves.

A plane wave shifts k-space. So if an object's k-space F(k) is known in closed form, that of the
object seen by coil j is closed form too: sum_l a_jl F(k - f_l). No grid is involved, and data made
like this commit no inverse crime.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.mri.grid import centred
from medbook.refuse import need

RING = 0.75  # distance of the loops from the centre, in fields of view
LOOP = 0.35  # largest radius of a loop, in fields of view
OVERLAP = 1.2  # many loops are so much larger than touching ones
HEAD = 0.46  # radius of the disc in which the waves are fitted, in fields of view
HIGHEST, SPACING = 2, 0.5  # waves along an axis: -2..2 times half a cycle per field of view
RIDGE = 1e-4  # of the normal equations' diagonal: keeps the coefficients small


@dataclass(frozen=True)
class Coils:
    """Sensitivities c_j(r) = sum_l a_jl exp(2 pi i f_l . r), r in fields of view from the origin.

    Attributes:
        coefficients: a, (n, L) complex128.
        frequencies: f, (L, 2) float64: along x (second image axis) and along y (first image axis,
            down), in cycles per field of view.

    >>> Coils(torch.ones(1, 1).cdouble(), torch.tensor([[1.0, 0.0]])).maps(4)[0, 0, 0].real.round()
    tensor([-1., -0.,  1., -0.])
    """

    coefficients: Tensor
    frequencies: Tensor

    def maps(self, size: int | tuple[int, int], dtype: torch.dtype = torch.complex64) -> Tensor:
        """The sensitivities at the pixels: (1, n, H, W).

        Args:
            size: (H, W) or the side of a square; the field of view stays the same.
            dtype: complex64 or complex128.
        """
        height, width = (size, size) if isinstance(size, int) else size
        need(min(height, width) >= 1, f"size is {size}: give at least one pixel")
        y, x = centred(height) / height, centred(width) / width
        along_x = torch.exp(2j * math.pi * self.frequencies[:, :1] * x)  # (L, W)
        along_y = torch.exp(2j * math.pi * self.frequencies[:, 1:] * y)  # (L, H)
        return torch.einsum("nl,lh,lw->nhw", self.coefficients, along_y, along_x)[None].to(dtype)


def coil_maps(n: int, size: int | tuple[int, int], dtype: torch.dtype = torch.complex64) -> Tensor:
    """Sensitivities of `head_coils(n)` at the pixels, (1, n, H, W); not normalised.

    >>> coil_maps(8, 32).shape
    torch.Size([1, 8, 32, 32])
    """
    return head_coils(n).maps(size, dtype)


@lru_cache(maxsize=16)
def head_coils(n: int) -> Coils:
    """Circular loops in a ring around the head, their field fitted by 25 plane waves.

    Loop 0 lies on the right of the image, the others follow clockwise at equal distances. The fit
    is least squares in a disc of 0.46 fields of view, where it is off by about 2 % for up to 8
    coils and 8 % for 20, whose field changes faster; it is these waves that are the coil. The root
    sum of squares is 1 on average over the disc. Outside of the disc the maps are smooth, but no
    loop's field. Wave effects (dielectric shading at high field) are left out.

    Args:
        n: number of coils, >= 1.

    Raises:
        MedbookError: n < 1.

    >>> head_coils(8).coefficients.shape, head_coils(8).frequencies.shape
    (torch.Size([8, 25]), torch.Size([25, 2]))
    """
    if n < 1:
        raise MedbookError(f"n is {n}: give a number of coils, at least 1")
    axis = torch.linspace(-HEAD, HEAD, 41, dtype=torch.float64, device="cpu")
    points = torch.cartesian_prod(axis, axis)
    points = points[points.norm(dim=1) <= HEAD]  # (P, 2): x, y
    field = torch.stack([loop_field(points, j / n, loop_radius(n)) for j in range(n)], 1)  # (P, n)
    field = field / field.abs().square().sum(1).sqrt().mean()
    f = torch.arange(-HIGHEST, HIGHEST + 1, dtype=torch.float64, device="cpu") * SPACING
    frequencies = torch.cartesian_prod(f, f)  # (L, 2)
    E = torch.exp(2j * math.pi * (points @ frequencies.T))  # (P, L)
    ridge = RIDGE * len(points) * torch.eye(len(frequencies), device="cpu")
    return Coils(torch.linalg.solve(E.mH @ E + ridge, E.mH @ field).T.contiguous(), frequencies)


def loop_radius(n: int) -> float:
    """Radius of each of n loops in the ring, in fields of view.

    >>> loop_radius(2)
    0.35
    """
    need(n >= 1, f"n is {n}: give a number of loops, at least 1")
    return min(LOOP, OVERLAP * math.pi * RING / n)


def loop_field(points: Tensor, turn: float, radius: float, segments: int = 64) -> Tensor:
    """Receive field B_x - i B_y of a loop that faces the centre, by the law of Biot and Savart.

    By reciprocity a loop sees what a current of 1 in it would magnetise, and of that the part that
    turns with the spins.

    Args:
        points: (P, 2) x and y in the plane of the loop's centre, in fields of view.
        turn: where the loop stands on the ring, in turns from the x axis towards the y axis.
        radius: of the loop, in fields of view.
        segments: straight pieces of the wire.

    Returns:
        (P,) complex128, in mu_0 I / (4 pi) per field of view.

    Source: Hoult 2000, doi:10.1002/1099-0534(2000)12:4<173::AID-CMR1>3.0.CO;2-Q.

    >>> loop_field(torch.zeros(1, 2), 0.0, 0.35).imag.abs() < 1e-12
    tensor([True])
    """
    need(radius > 0 and segments >= 3, f"radius {radius}, {segments} segments: give > 0 and >= 3")
    angle = 2 * math.pi * turn
    t = torch.arange(segments, dtype=torch.float64, device="cpu")[:, None] * (
        2 * math.pi / segments
    )
    out = torch.tensor([math.cos(angle), math.sin(angle), 0], dtype=torch.float64, device="cpu")
    along = torch.tensor([-math.sin(angle), math.cos(angle), 0], dtype=torch.float64, device="cpu")
    up = torch.tensor([0, 0, 1], dtype=torch.float64, device="cpu")
    c, s = t.cos(), t.sin()
    wire = RING * out + radius * (c * along + s * up)  # (segments, 3)
    current = c * up - s * along
    distance = torch.nn.functional.pad(points.double(), (0, 1))[:, None] - wire  # (P, segments, 3)
    cross = torch.linalg.cross(current.expand_as(distance), distance)
    field = (cross / distance.norm(dim=-1, keepdim=True) ** 3).sum(1) * (
        2 * math.pi * radius / segments
    )
    return torch.complex(field[:, 0], -field[:, 1])
