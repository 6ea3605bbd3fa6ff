"""Computed tomography in 2D: geometries, the projector, units and noise."""

from medbook.physics.ct.filters import FILTERS
from medbook.physics.ct.geometry import FanBeam, Geometry, ParallelBeam
from medbook.physics.ct.measure import (
    MU_WATER,
    hu_from_mu,
    hu_window,
    mu_from_hu,
    photon_noise,
    relative_noise,
)
from medbook.physics.ct.projector import Projector

__all__ = [
    "FILTERS", "MU_WATER", "FanBeam", "Geometry", "ParallelBeam", "Projector", "hu_from_mu",
    "hu_window", "mu_from_hu", "photon_noise", "relative_noise",
]  # fmt: skip
