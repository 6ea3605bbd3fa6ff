"""Total-variation reconstruction with a certificate of how far it is from the optimum."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.operator import LinearOperator, largest_eigenvalue, operator_norm
from medbook.solvers.batch import check_solver, column, norms, ratio
from medbook.solvers.variation import divergence, gradient

CHECK_EVERY = 10  # iterations between two looks at the gap
POWER_ITERATIONS, MARGIN = 40, 1.05  # the power method approaches a norm from below
RHO = 10.0  # primal step over dual step, where A has norm 1, before the first balance
RHO_LIMITS = 1e-2, 1e3
BALANCE_AT = (10, 20, 40, 80, 160)  # finitely often: the convergence proof holds from then on
BALANCE = 0.2  # of the ratio in `_Steps.balance`; on CT and denoising the best of 0.07 to 0.7


class TVSolution(NamedTuple):
    """What `tv` found, and how far from the optimum it is at most.

    Attributes:
        x: (B, C, *space) the last iterate.
        checked: the iterations that were looked at; the last one is among them.
        objective: (checks, B) float64.
        gap: (checks, B) float64; up to rounding, objective - optimum lies between 0 and this.
    """

    x: Tensor
    checked: list[int]
    objective: Tensor
    gap: Tensor


@torch.no_grad()
def tv(
    operator: LinearOperator,
    y: Tensor,
    weight: float,
    *,
    iterations: int,
    upper: float,
    norm: float | None = None,
) -> TVSolution:
    r"""Minimise 1/2 |Ax - y|^2 + weight TV(x) over 0 <= x <= upper, by the primal-dual method.

    The dual of this problem is to maximise, over q and over vectors p of length <= weight,

    $$-\tfrac12\|q\|^2 - \langle q, y\rangle + \text{upper} \sum_j \min(0, z_j),
      \qquad z = A^T q - \mathrm{div}\, p.$$

    The box makes it finite everywhere, so each pair (q, p) bounds the optimum from below: the
    `gap` to the best bound so far is a certificate. Primal and dual step sizes are balanced for
    each item of the batch from the size of its own iterates.

    Args:
        operator: real; the same for all items of a batch.
        y: (B, ...) measurements.
        weight: of the total variation, >= 0, in the unit of y^2 over the unit of x.
        iterations: steps, >= 1; each costs one `A` and one `AT`.
        upper: largest value that a pixel may take, in the unit of x, > 0. The lower the better
            the certificate, but it must not cut the image.
        norm: of A, if it is known; only sets the scale of the steps.

    Returns:
        x (B, C, *space), and objective and gap of each checked iteration.

    Raises:
        MedbookError: weight, upper or norm is out of range, or `check_solver` refuses.

    Source: Chambolle and Pock 2011, Algorithm 1; for CT Sidky, Jorgensen and Pan 2012. Here the
    gradient is scaled to the norm of A.

    >>> from types import SimpleNamespace
    >>> same = SimpleNamespace(A=lambda x: x, AT=lambda y: y)
    >>> y = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    >>> tv(same, y, 0.2, iterations=100, upper=2.0).x.round(decimals=3)
    tensor([[[0.1000, 0.1000, 0.9000, 0.9000]]])
    """
    check_solver(y, iterations)
    if not (0 <= weight < math.inf and 0 < upper < math.inf):
        raise MedbookError(f"weight {weight}, upper {upper}: give finite weight >= 0, upper > 0")
    x, q = torch.zeros_like(operator.AT(y)), torch.zeros_like(y)
    p, dx = gradient(x), gradient(x)
    Ax, z = q, x  # products with x, and A^T q - div p: all zero
    steps = _Steps(operator, x, norm)
    bound = torch.full((len(y),), -math.inf, dtype=torch.float64, device=y.device)
    checked, objective, gap = [], [], []
    for iteration in range(1, iterations + 1):
        tau, sigma_q, sigma_p = steps.sizes()
        x = (x - column(tau, x) * z).clamp(0, upper)
        Ax, Ax_before = operator.A(x), Ax
        dx, p_step = gradient(x), dx.neg_()  # in place: these are the largest arrays
        s = column(sigma_q, q)
        q = (q + s * (2 * Ax - Ax_before - y)) / (1 + s)
        _shorten_(p.addcmul_(column(sigma_p, p), p_step.add_(dx, alpha=2)), weight)
        z = operator.AT(q) - divergence(p)
        if iteration in BALANCE_AT:
            steps.balance(x, q, p)
        if iteration % CHECK_EVERY == 0 or iteration == iterations:
            value = _sum((Ax - y).square()) / 2 + weight * _sum(_length(dx))
            bound = torch.maximum(bound, _dual(y, q, z, upper))
            checked.append(iteration)
            objective.append(value)
            gap.append(value - bound)
    return TVSolution(x, checked, torch.stack(objective), torch.stack(gap))


class _Steps:
    """As large as convergence allows: tau |[sqrt(sigma_q) A; sqrt(sigma_p) grad]|^2 < 1.

    With a, d the norms of A and of the gradient, and k that of [A / a; grad / d], which is between
    1 and sqrt(2): tau = rho / a^2, sigma_q = 1 / (rho k^2), sigma_p = a^2 / (rho k^2 d^2).
    """

    def __init__(self, operator: LinearOperator, x: Tensor, norm: float | None) -> None:
        generator, one = torch.Generator(x.device).manual_seed(0), x[:1]
        if norm is None:
            norm = operator_norm(operator, one, POWER_ITERATIONS, generator)
        if not 0 < norm < math.inf:
            raise MedbookError(f"the norm of A is {norm}: it must be positive and finite")
        self.a, self.d = norm, 2 * math.sqrt(x.ndim - 2)

        def normal(v: Tensor) -> Tensor:
            data, smooth = operator.AT(operator.A(v)), divergence(gradient(v))
            return data / self.a**2 - smooth / self.d**2

        self.k2 = MARGIN * largest_eigenvalue(normal, one, POWER_ITERATIONS, generator)
        self.rho = torch.full((len(x),), RHO, dtype=x.dtype, device=x.device)

    def sizes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the steps in x, q and p: (B,) each."""
        dual = 1 / (self.rho * self.k2)
        return self.rho / self.a**2, dual, dual * (self.a / self.d) ** 2

    def balance(self, x: Tensor, q: Tensor, p: Tensor) -> None:
        """Choose rho as if the solution and its dual were as large as the iterates now.

        The rate bound |x|^2 / tau + |q|^2 / sigma_q + |p|^2 / sigma_p is least at
        rho = a |x| / (k |(q, p d / a)|). Source: Chambolle and Pock 2011, theorem 1.
        """
        dual = torch.hypot(norms(q), norms(p) * (self.d / self.a))
        rho = BALANCE * self.a * norms(x) / dual.clamp(min=torch.finfo(x.dtype).tiny)
        self.rho = rho.clamp(*RHO_LIMITS)


def _dual(y: Tensor, q: Tensor, z: Tensor, upper: float) -> Tensor:
    """Largest value of the dual on the way from 0 to (q, p), all of which is allowed: (B,)."""
    slope, curvature = upper * _sum(z.clamp(max=0)) - _sum(q * y), _sum(q.square())
    t = ratio(slope, curvature).clamp(0, 1)
    return t * slope - t**2 * curvature / 2


def _shorten_(p: Tensor, weight: float) -> None:
    """Project each vector onto the ball of radius weight, in place."""
    if weight == 0:
        p.zero_()
    else:
        p.div_((_length(p) / weight).clamp_(min=1).unsqueeze(2))


def _length(p: Tensor) -> Tensor:
    """Of each vector; ten times as fast as `torch.linalg.vector_norm`."""
    return p.square().sum(2).sqrt()


def _sum(x: Tensor) -> Tensor:
    """Over all but the batch, in float64: the gap is a small difference of such sums."""
    return x.flatten(1).sum(1, dtype=torch.float64)
