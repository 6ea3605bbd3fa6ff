"""Projection, its adjoint, and filtered backprojection."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.ct import filters
from medbook.physics.ct.geometry import FanBeam, Geometry
from medbook.physics.ct.matrices import backprojection_matrix, system_matrix
from medbook.physics.sparse import SparseOperator
from medbook.refuse import need, told


class Projector:
    """The operators of one scan; all take batches and pass gradients.

    Matrices are built when first needed and shared by projectors of equal geometry.

    >>> from medbook.physics.ct import ParallelBeam
    >>> scan = Projector(ParallelBeam(size=8, views=6, bins=12))
    >>> scan.A(torch.ones(2, 1, 8, 8)).shape, scan.fbp(torch.ones(2, 1, 6, 12)).shape
    (torch.Size([2, 1, 6, 12]), torch.Size([2, 1, 8, 8]))
    """

    def __init__(self, geometry: Geometry, unit: float = 1.0) -> None:
        """Keep what describes the scan.

        Args:
            geometry: one of ParallelBeam and FanBeam.
            unit: attenuation in 1/mm that the value 1 of an image stands for; with `MU_WATER`
                water is 1.
        """
        need(0 < unit < math.inf, f"unit is {unit}: give the attenuation, > 0, in 1/mm")
        self.geometry, self.unit = geometry, unit

    def A(self, x: Tensor) -> Tensor:
        """Line integrals of an image that is constant in each pixel.

        Args:
            x: (..., size, size) attenuation in units of `unit`.

        Returns:
            (..., views, bins), dimensionless.
        """
        return self.unit * _lines(self.geometry).A(x)

    def AT(self, y: Tensor) -> Tensor:
        """The exact adjoint of `A`: backprojection without filter.

        Args:
            y: (..., views, bins).

        Returns:
            (..., size, size).
        """
        return self.unit * _lines(self.geometry).AT(y)

    def fbp(self, y: Tensor, filter: str = "ram-lak") -> Tensor:
        """Filtered backprojection of a full scan, be it coarse.

        Args:
            y: (..., views, bins) line integrals.
            filter: one of `medbook.physics.ct.FILTERS`.

        Returns:
            (..., size, size) attenuation in units of `unit`.

        Raises:
            MedbookError: the views cover neither pi (parallel beam) nor 2 pi, or y is of another
                scan.

        Source: Kak and Slaney 1988, sections 3.3 and 3.4.
        """
        geometry = self.geometry
        turns = geometry.arc / torch.pi
        whole = (2,) if isinstance(geometry, FanBeam) else (1, 2)
        if min(abs(turns - n) for n in whole) > 1e-9:
            raise MedbookError(
                f"filtered backprojection needs a full scan: the views cover {turns:.3f} pi, "
                f"{' or '.join(map(str, whole))} pi is accepted"
            )
        scan = geometry.views, geometry.bins
        need(y.shape[-2:] == scan, f"y is {told(y)}: give (..., {scan[0]}, {scan[1]})")
        if y.dtype in (torch.bfloat16, torch.float16):
            y = y.float()
        weights, response = self._weights_and_response(filter)
        filtered = filters.filter_rows(y * weights.to(y), response)
        return _interpolation(geometry).A(filtered) * (torch.pi / geometry.views / self.unit)

    @lru_cache(maxsize=8)  # noqa: B019 - a projector is small; matrices lie elsewhere
    def _weights_and_response(self, filter: str) -> tuple[Tensor, Tensor]:
        """Factor of each bin before the filter, and the filter's frequency response."""
        g = self.geometry
        if not isinstance(g, FanBeam):
            weights, spacing = torch.ones(g.bins, dtype=torch.float64, device="cpu"), g.pitch_mm
        elif g.curved:
            spacing = g.pitch_mm / (g.source_mm + g.detector_mm)  # rad
            weights = g.source_mm * g.fan_angles.cos()
        else:
            spacing = g.pitch_mm * g.source_mm / (g.source_mm + g.detector_mm)  # at the axis
            weights = g.fan_angles.cos()
        response = filters.ramp(g.bins, spacing, isinstance(g, FanBeam) and g.curved)
        return weights, response * filters.window(filter, len(response))


@lru_cache(maxsize=8)
def _lines(geometry: Geometry) -> SparseOperator:
    image, sinogram = (geometry.size, geometry.size), (geometry.views, geometry.bins)
    return SparseOperator(system_matrix(geometry), image, sinogram)


@lru_cache(maxsize=8)
def _interpolation(geometry: Geometry) -> SparseOperator:
    image, sinogram = (geometry.size, geometry.size), (geometry.views, geometry.bins)
    return SparseOperator(backprojection_matrix(geometry), sinogram, image)
