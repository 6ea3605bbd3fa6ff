"""Least squares by conjugate gradients."""

import math

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.operator import LinearOperator
from medbook.refuse import need, told
from medbook.solvers.batch import Solution, check_solver, column, norms, ratio


def cgls(
    operator: LinearOperator,
    y: Tensor,
    iterations: int,
    x0: Tensor | None = None,
    shift: float = 0.0,
) -> Solution:
    r"""Minimise |Ax - y|^2 + shift |x|^2 by conjugate gradients (CGLS).

    Without shift and on noisy data the iterates semi-converge: they first approach the true image,
    which is smooth, and then fit the noise. The number of iterations is the regularisation, to be
    chosen like any other parameter. Each item of the batch has its own step sizes, and stops for
    itself when its gradient has vanished to rounding. Differentiable.

    Args:
        operator: any linear operator, real or complex.
        y: (B, ...) measurements.
        iterations: steps, >= 1; each costs one `A` and one `AT`.
        x0: (B, C, ...) start; zero if left out.
        shift: weight of |x|^2 (Tikhonov), >= 0, in units of A^T A.

    Returns:
        x (B, C, ...) and the norm of y - Ax after each iteration (iterations, B).

    Raises:
        MedbookError: shift is negative, x0 is no image of A, or `check_solver` refuses.

    Source: Hestenes and Stiefel 1952; Björck 1996, Algorithm 7.4.1.

    >>> from types import SimpleNamespace
    >>> twice = SimpleNamespace(A=lambda x: 2 * x, AT=lambda y: 2 * y)
    >>> cgls(twice, torch.tensor([[[6.0, 8.0]]]), iterations=1).x
    tensor([[[3., 4.]]])
    """
    check_solver(y, iterations)
    if not 0 <= shift < math.inf:
        raise MedbookError(f"shift is {shift}: give a weight >= 0, as |x|^2 is to be kept small")
    r = y if x0 is None else y - operator.A(x0)
    need(r.shape == y.shape, f"x0 gives data {told(r)}, y is {told(y)}: give a start per item")
    s = operator.AT(r)  # minus half the gradient
    x = torch.zeros_like(s) if x0 is None else x0
    s = s - shift * x
    p, gamma = s, norms(s) ** 2
    rounding = torch.finfo(s.dtype).eps ** 2 * gamma
    residuals = []
    for _ in range(iterations):
        q = operator.A(p)
        delta = norms(q) ** 2 + shift * norms(p) ** 2
        alpha = torch.where(gamma > rounding, ratio(gamma, delta), 0)
        x = x + column(alpha, x) * p
        r = r - column(alpha, r) * q
        s = operator.AT(r) - shift * x
        gamma, before = norms(s) ** 2, gamma
        p = s + column(ratio(gamma, before), s) * p
        residuals.append(norms(r))
    return Solution(x, torch.stack(residuals))
