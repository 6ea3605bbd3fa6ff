"""Simultaneous iterative reconstruction."""

import math

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.operator import LinearOperator
from medbook.refuse import need
from medbook.solvers.batch import Solution, check_solver, norms, ratio


def sirt(
    operator: LinearOperator, y: Tensor, iterations: int, lower: float | None = 0.0
) -> Solution:
    r"""Reconstruct by SIRT: $x \leftarrow x + C A^T R (y - Ax)$, from zero.

    R and C hold one over the row and the column sums of A, so a step spreads each ray's residual
    evenly over its pixels and no step size is to be chosen. Without `lower` it converges to a
    minimiser of the weighted $\|y - Ax\|_R^2$; on noisy data it semi-converges, as `cgls` does.

    Args:
        operator: with entries >= 0, as a CT projector has.
        y: (B, ...) measurements.
        iterations: steps, >= 1; each costs one `A` and one `AT`.
        lower: smallest value that a pixel may take, in the unit of x; None leaves it free.

    Returns:
        x (B, C, ...) and the norm of y - Ax after each iteration (iterations, B). Rays that meet
        no pixel change nothing; pixels that no ray meets stay at 0 (at `lower` if that is higher).

    Raises:
        MedbookError: a sum of A is negative or NaN, lower is NaN, or `check_solver` refuses.

    Source: Gregor and Benson 2008, "Computational analysis and improvement of SIRT".

    >>> from types import SimpleNamespace
    >>> twice = SimpleNamespace(A=lambda x: 2 * x, AT=lambda y: 2 * y)
    >>> sirt(twice, torch.tensor([[[6.0, -8.0]]]), iterations=1).x
    tensor([[[3., 0.]]])
    """
    check_solver(y, iterations)
    need(lower is None or lower == lower, f"lower is {lower}: give a number, or None")
    x = torch.zeros_like(operator.AT(y))
    R = _inverse(operator.A(torch.ones_like(x)))
    C = _inverse(operator.AT(torch.ones_like(y)))
    floor = -math.inf if lower is None else lower
    r, residuals = y, []
    for _ in range(iterations):
        x = (x + C * operator.AT(R * r)).clamp(min=floor)
        r = y - operator.A(x)
        residuals.append(norms(r))
    return Solution(x, torch.stack(residuals))


def _inverse(sums: Tensor) -> Tensor:
    """One over row or column sums; 0 for an empty row or column."""
    if not sums.min() >= 0:
        raise MedbookError(
            f"a row or column of A sums to {sums.min():.3g}: SIRT needs entries >= 0; use cgls"
        )
    return ratio(torch.ones_like(sums), sums)
