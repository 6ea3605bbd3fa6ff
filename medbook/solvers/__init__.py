"""Baseline solvers of inverse problems, for any operator with `A` and `AT`."""

from medbook.solvers.batch import Solution
from medbook.solvers.cgls import cgls
from medbook.solvers.sgp import SGPSolution, sgp, smooth_tv_objective
from medbook.solvers.sirt import sirt
from medbook.solvers.tv import TVSolution, tv
from medbook.solvers.variation import divergence, gradient, total_variation

__all__ = [
    "SGPSolution", "Solution", "TVSolution", "cgls", "divergence", "gradient", "sgp", "sirt",
    "smooth_tv_objective", "total_variation", "tv",
]  # fmt: skip
