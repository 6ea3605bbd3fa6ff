"""Least squares with few wavelets: the l1-wavelet reconstruction of compressed sensing."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.operator import LinearOperator, operator_norm
from medbook.refuse import need
from medbook.solvers.batch import check_solver, column, ratio
from medbook.solvers.wavelets import Wavelets

POWER_ITERATIONS, MARGIN = 40, 1.05  # the power method approaches a norm from below


class FISTASolution(NamedTuple):
    """What `fista` found.

    Attributes:
        x: (B, C, H, W) the last iterate.
        objective: (iterations, B) float64; without random shifts it never rises.
    """

    x: Tensor
    objective: Tensor


@torch.no_grad()
def fista(
    operator: LinearOperator,
    y: Tensor,
    weight: float,
    *,
    transform: Wavelets,
    iterations: int,
    norm: float | None = None,
    shifts: torch.Generator | None = None,
) -> FISTASolution:
    r"""Minimise 1/2 |Ax - y|^2 + weight |Wx|_1 by the monotone fast gradient method, from x = 0.

    |Wx|_1 sums the magnitudes of all wavelet coefficients but the coarsest approximation, which is
    not sparse: thresholding it would only darken the image. With L the square of the norm of A,
    the iteration is

    $$z_k = \mathrm{prox}\big(v_k - A^T(Av_k - y)/L\big), \qquad
      x_k = \text{the better of } z_k \text{ and } x_{k-1},$$
    $$v_{k+1} = x_k + \tfrac{t_k}{t_{k+1}}(z_k - x_k) + \tfrac{t_k - 1}{t_{k+1}}(x_k - x_{k-1}),
      \qquad t_{k+1} = \tfrac12\big(1 + \sqrt{1 + 4t_k^2}\big).$$

    W is orthogonal, so the proximal map is to shrink the coefficients by weight / L. Each item of
    a batch chooses between z and x for itself.

    Args:
        operator: real or complex; the same for all items of a batch.
        y: (B, ...) measurements.
        weight: of the coefficients, >= 0, in the unit of y^2 over the unit of x.
        transform: the wavelets.
        iterations: >= 1; each costs one `A` and one `AT`.
        norm: of A or above it, if it is known; else the power method finds it.
        shifts: if given, draws a translation for each iteration, and the wavelets are those of
            the shifted image. This averages out their blocks, but no longer minimises one
            objective: that of the present shift is returned, and it may rise.

    Returns:
        x (B, C, H, W), and the objective after each iteration.

    Raises:
        MedbookError: weight or norm is out of range, sides that the wavelets cannot halve, or
            `check_solver` refuses.

    Source: Beck and Teboulle 2009b, "Fast gradient-based algorithms for constrained total
    variation image denoising and deblurring problems" (MFISTA); Lustig, Donoho and Pauly 2007
    for the problem in MRI; Figueiredo and Nowak 2003 for the shifts.

    >>> from types import SimpleNamespace
    >>> same = SimpleNamespace(A=lambda x: x, AT=lambda y: y)
    >>> y = torch.tensor([[[[5.0, 3.0], [5.0, 3.0]]]])  # mean 4, one detail: 2
    >>> fista(same, y, 1.0, transform=Wavelets("haar", 1), iterations=9, norm=1.0).x
    tensor([[[[4.5000, 3.5000],
              [4.5000, 3.5000]]]])
    """
    check_solver(y, iterations)
    x = v = torch.zeros_like(operator.AT(y))
    if norm is None:
        generator = torch.Generator(x.device).manual_seed(0)
        norm = math.sqrt(MARGIN) * operator_norm(operator, x[:1], POWER_ITERATIONS, generator)
    if not (0 <= weight < math.inf and 0 < norm < math.inf):
        raise MedbookError(f"weight {weight}, norm of A {norm}: give finite weight >= 0, norm > 0")
    L, t = norm**2, 1.0
    Ax = Av = torch.zeros_like(y)
    now, objective = _half_square(Ax - y), []
    for _ in range(iterations):
        z, size = _shrink(v - operator.AT(Av - y) / L, weight / L, transform, shifts)
        Az = operator.A(z)
        there = _half_square(Az - y) + weight * size
        accept = there <= now if shifts is None else torch.ones_like(there, dtype=torch.bool)
        x_before, Ax_before = x, Ax
        x = torch.where(column(accept, x), z, x)
        Ax = torch.where(column(accept, y), Az, Ax)
        now = torch.where(accept, there, now)
        objective.append(now)
        t, t_before = (1 + math.sqrt(1 + 4 * t**2)) / 2, t
        to_z, on = t_before / t, (t_before - 1) / t
        v = x + to_z * (z - x) + on * (x - x_before)
        Av = Ax + to_z * (Az - Ax) + on * (Ax - Ax_before)  # A is linear: no second product
    return FISTASolution(x, torch.stack(objective))


def soft_threshold(c: Tensor, threshold: float) -> Tensor:
    """Shorten each number by threshold, at most to 0, and keep its sign or phase.

    Args:
        c: real or complex, any shape.
        threshold: >= 0.

    Raises:
        MedbookError: threshold is negative or NaN.

    Source: Donoho 1995, "De-noising by soft-thresholding".

    >>> soft_threshold(torch.tensor([-3.0, 0.5, 2.0]), 1.0)
    tensor([-2.,  0.,  1.])
    """
    need(threshold >= 0, f"threshold is {threshold}: give a number >= 0")
    size = c.abs()
    return c * ratio((size - threshold).clamp(min=0), size)


def _shrink(
    x: Tensor, threshold: float, transform: Wavelets, shifts: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """The proximal map of threshold |Wx|_1, and |Wx|_1 where it leads: (B,)."""
    shift = (0, 0) if shifts is None else _draw(shifts, 2**transform.levels)
    c = transform.A(x.roll(shift, (-2, -1)))
    shrunk = soft_threshold(c, threshold)
    transform.coarsest(shrunk).zero_()
    size = _sum(shrunk.abs())
    transform.coarsest(shrunk).copy_(transform.coarsest(c))
    return transform.AT(shrunk).roll((-shift[0], -shift[1]), (-2, -1)), size


def _draw(generator: torch.Generator, below: int) -> tuple[int, int]:
    """A translation in pixels; the wavelets of `below` pixels further are the same ones."""
    rows, columns = torch.randint(below, (2,), generator=generator, device=generator.device)
    return int(rows), int(columns)


def _half_square(r: Tensor) -> Tensor:
    return _sum(r.abs().square()) / 2


def _sum(x: Tensor) -> Tensor:
    """Over all but the batch, in float64: the steps near the optimum are small."""
    return x.flatten(1).sum(1, dtype=torch.float64)
