"""Baseline solvers of inverse problems, for any operator with `A` and `AT`."""

from medbook.solvers.batch import Solution
from medbook.solvers.cgls import cgls
from medbook.solvers.fista import FISTASolution, fista, soft_threshold
from medbook.solvers.sgp import SGPSolution, sgp, smooth_tv_objective
from medbook.solvers.sirt import sirt
from medbook.solvers.tv import TVSolution, tv
from medbook.solvers.variation import divergence, gradient, total_variation
from medbook.solvers.wavelets import Wavelets

__all__ = [
    "FISTASolution", "SGPSolution", "Solution", "TVSolution", "Wavelets", "cgls", "divergence",
    "fista", "gradient", "sgp", "sirt", "smooth_tv_objective", "soft_threshold", "total_variation",
    "tv",
]  # fmt: skip
