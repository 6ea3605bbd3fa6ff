"""Scaled gradient projection for least squares with smoothed total variation."""

import math
from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from medbook.physics.operator import LinearOperator
from medbook.refuse import need
from medbook.solvers.batch import check_solver, column

SHORTEN, DECREASE, TRIALS = 0.8, 0.25, 40  # Armijo: factor, share of the slope, at most
SHORTEST, LONGEST = 1e-10, 1e5  # step
MEMORY = 3  # Barzilai-Borwein steps looked back at
FLOOR = 1e-4  # of the positive part of the gradient, where the scaling divides by it


class SGPSolution(NamedTuple):
    """What `sgp` found.

    Attributes:
        x: (B, C, H, W) the last iterate.
        kept: the iterates after the asked numbers of iterations.
        objective: (iterations, B); it never rises.
    """

    x: Tensor
    kept: dict[int, Tensor]
    objective: Tensor


def smooth_tv_objective(
    operator: LinearOperator, x: Tensor, y: Tensor, weight: float, beta: float = 1e-3
) -> Tensor:
    """1/2 |Ax - y|^2 + weight TV_beta(x), what `sgp` makes small: (B,).

    TV_beta sums sqrt((D_h x)^2 + (D_v x)^2 + beta^2) over the pixels, with differences to the
    pixel before and zeros before the first.

    >>> from types import SimpleNamespace
    >>> same, one = SimpleNamespace(A=lambda x: x, AT=lambda y: y), torch.ones(1, 1, 1, 1)
    >>> smooth_tv_objective(same, one, 0 * one, weight=1.0, beta=1.0)  # 1/2 + sqrt(1 + 1 + 1)
    tensor([2.2321])
    """
    _check(weight, beta)
    return _objective(operator.A(x), x, y, weight, beta)


@torch.no_grad()
def sgp(
    operator: LinearOperator,
    y: Tensor,
    weight: float,
    *,
    iterations: int,
    keep: Collection[int] = (),
    beta: float = 1e-3,
) -> SGPSolution:
    r"""Minimise `smooth_tv_objective` over x >= 0, from x = 0.

    The gradient is split into positive parts, $\nabla f = V - U$ with $V = A^T A x + w V_{TV}$.
    Each iteration goes along $d = \max(x - \alpha s \nabla f, 0) - x$, scaled in each pixel by
    $s = x / V$ within $1/\rho_k$ and $\rho_k = \sqrt{1 + 10^{15} / k^{2.1}}$, shortens the step
    until f falls enough, and takes the next $\alpha$ from one of the two Barzilai-Borwein rules.
    At x = 0 the scaling would vanish: the first step is unscaled and as long as steepest
    descent's. Each item of a batch has its own steps.

    Args:
        operator: real, with non-negative entries; the same for all items of a batch.
        y: (B, ...) measurements.
        weight: of the total variation, >= 0, in the unit of y^2 over the unit of x.
        iterations: >= 1; each costs one `A` and one `AT`.
        keep: numbers of iterations after which the iterate is kept.
        beta: rounds the corner of the total variation, > 0, in the unit of x.

    Raises:
        MedbookError: weight, beta or keep is out of range, or `check_solver` refuses.

    Source: Bonettini, Zanella and Zanni 2009, Algorithm SGP with the choice of steps of its
    section 4; constants as in Evangelista et al. 2023, arXiv:2201.09777.

    >>> from types import SimpleNamespace
    >>> same = SimpleNamespace(A=lambda x: x, AT=lambda y: y)
    >>> sgp(same, torch.full((1, 1, 2, 2), 3.0), 0.0, iterations=5).x.flatten()
    tensor([3., 3., 3., 3.])
    """
    check_solver(y, iterations)
    _check(weight, beta)
    late = [k for k in keep if not 1 <= k <= iterations]
    need(not late, f"keep names {late}: there are iterations 1 to {iterations}")
    ATy = operator.AT(y)
    x, kept, objective = torch.zeros_like(ATy), {}, []
    Ax = operator.A(x)
    steps = _StepLength(x)

    def gradient(x: Tensor, Ax: Tensor) -> tuple[Tensor, Tensor]:
        V, U = split_tv(x, beta)
        V = operator.AT(Ax) + weight * V
        return V, V - ATy - weight * U

    (V, g), now = gradient(x, Ax), _objective(Ax, x, y, weight, beta)
    steepest = _sum(operator.A(g) ** 2)
    alpha = torch.where(steepest > 0, _sum(g * g) / steepest, 1.0)
    for k in range(1, iterations + 1):
        rho = math.sqrt(1 + 1e15 / k**2.1)
        s = (x / V.clamp(min=FLOOR)).clamp(1 / rho, rho) if k > 1 else torch.ones_like(x)
        d = (x - column(alpha, x) * s * g).clamp(min=0) - x
        Ad, slope, eta = operator.A(d), _sum(g * d), torch.ones_like(alpha)
        for _ in range(TRIALS):
            there = x + column(eta, x) * d
            then = _objective(Ax + column(eta, Ax) * Ad, there, y, weight, beta)
            high = then > now + DECREASE * eta * slope
            if not high.any():
                break
            eta = torch.where(high, SHORTEN * eta, eta)
        eta = torch.where(high, 0.0, eta)  # f falls no more at this precision: stay
        x_before, g_before = x, g
        x, Ax = x + column(eta, x) * d, Ax + column(eta, Ax) * Ad
        (V, g), now = gradient(x, Ax), _objective(Ax, x, y, weight, beta)
        alpha = steps.next(x - x_before, g - g_before, s)
        objective.append(now)
        if k in keep:
            kept[k] = x
    return SGPSolution(x, kept, torch.stack(objective))


def split_tv(x: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """V, U >= 0 for x >= 0 with V - U the gradient of TV_beta: the pixel's terms, its neighbours'.

    >>> V, U = split_tv(torch.ones(1, 1, 1, 1), beta=1.0)
    >>> round((V - U).item() * 3**0.5, 5)  # of sqrt(x^2 + x^2 + 1) at 1
    2.0
    """
    left, above = _before(x, 0, 1), _before(x, 1, 0)
    w = 1 / ((x - left) ** 2 + (x - above) ** 2 + beta**2).sqrt()
    w_right, w_below = _before(w, 0, -1), _before(w, -1, 0)
    V = (2 * w + w_right + w_below) * x
    U = w * (left + above) + w_right * _before(x, 0, -1) + w_below * _before(x, -1, 0)
    return V, U


def _check(weight: float, beta: float) -> None:
    sound = 0 <= weight < math.inf and 0 < beta < math.inf
    need(sound, f"weight {weight}, beta {beta}: give finite weight >= 0 and beta > 0")


class _StepLength:
    """Barzilai-Borwein rules of the scaled gradient, alternating for each item of a batch."""

    def __init__(self, x: Tensor) -> None:
        self.tau = torch.full_like(_sum(x), 0.5)
        self.second: list[Tensor] = []

    def next(self, sigma: Tensor, z: Tensor, s: Tensor) -> Tensor:
        """From the last changes of x and of the gradient, and the scaling: (B,)."""
        one = _allowed(_sum((sigma / s) ** 2) / _sum(sigma * z / s))
        two = _allowed(_sum(sigma * s * z) / _sum((s * z) ** 2))
        self.second = [*self.second, two][-MEMORY:]
        short = two / one < self.tau
        self.tau = self.tau * torch.where(short, 0.9, 1.1)
        return torch.where(short, torch.stack(self.second).amin(0), one)


def _allowed(alpha: Tensor) -> Tensor:
    """A negative or undefined curvature allows the longest step."""
    return torch.where(alpha > 0, alpha, LONGEST).clamp(SHORTEST, LONGEST)


def _before(x: Tensor, rows: int, columns: int) -> Tensor:
    """The pixel so many rows above and columns to the left (-1, 0 or 1), 0 beyond the border."""
    h, w = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1))
    return padded[..., 1 - rows : 1 - rows + h, 1 - columns : 1 - columns + w]


def _objective(Ax: Tensor, x: Tensor, y: Tensor, weight: float, beta: float) -> Tensor:
    edges = (x - _before(x, 0, 1)) ** 2 + (x - _before(x, 1, 0)) ** 2 + beta**2
    return _sum((Ax - y) ** 2) / 2 + weight * _sum(edges.sqrt())


def _sum(x: Tensor) -> Tensor:
    """Over all but the batch: (B,)."""
    return x.flatten(1).sum(1)
