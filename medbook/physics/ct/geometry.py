"""Scan geometries of 2D computed tomography: which lines are measured.

Conventions of all of `medbook.physics.ct` and `medbook.phantom`: lengths in mm, x to the right, y
up, the rotation axis at the origin, which is the centre of the image. Pixel (i, j) of an H x W
image lies at x = (j - (W - 1) / 2) pixel_mm, y = ((H - 1) / 2 - i) pixel_mm. A view at angle t
(rad, counter-clockwise) has the detector axis u = (cos t, sin t) and its central ray runs along
d = (-sin t, cos t).
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from medbook.errors import MedbookError


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What all geometries share: the image and how often the detector looks at it.

    Attributes:
        size: the image has size x size pixels.
        pixel_mm: side of a pixel.
        views: number of detector positions, equally spaced over the arc, its end left out.
        bins: number of detector bins; the central ray meets the middle of the detector.
        pitch_mm: distance between two bins, on the detector.
        arc: angle that the views cover, in rad.
    """

    size: int
    pixel_mm: float
    views: int
    bins: int
    pitch_mm: float
    arc: float

    def __post_init__(self) -> None:
        lengths = (self.size, self.pixel_mm, self.views, self.bins, self.pitch_mm, self.arc)
        if not all(value > 0 and math.isfinite(value) for value in lengths):
            raise MedbookError(f"every number of a geometry must be positive and finite: {self}")
        if any(count != int(count) for count in (self.size, self.views, self.bins)):
            raise MedbookError(f"size, views and bins are whole numbers: {self}")

    @property
    def angles(self) -> Tensor:
        """(views,) float64, in rad."""
        return torch.arange(self.views, dtype=torch.float64, device="cpu") * (self.arc / self.views)

    @property
    def offsets(self) -> Tensor:
        """(bins,) float64: where the bins lie on the detector, in mm."""
        return (
            torch.arange(self.bins, dtype=torch.float64, device="cpu") - (self.bins - 1) / 2
        ) * self.pitch_mm

    @property
    def axes(self) -> tuple[Tensor, Tensor]:
        """Detector axis u and direction d of the central ray, each (views, 2) float64."""
        c, s = self.angles.cos(), self.angles.sin()
        return torch.stack([c, s], -1), torch.stack([-s, c], -1)

    def every(self, n: int) -> Self:
        """The scan that keeps every n-th view of this one.

        Raises:
            MedbookError: n does not divide the number of views, so the spacing would be unequal.

        >>> ParallelBeam(size=64, views=180).every(15).views
        12
        """
        if n < 1 or self.views % n:
            raise MedbookError(
                f"every {n}. of {self.views} views is not equally spaced: choose a divisor"
            )
        return replace(self, views=self.views // n)

    def finer(self, n: int) -> Self:
        """The scan with n rays for each bin, side by side, to average a bin over its width.

        Raises:
            MedbookError: n < 1.

        >>> ParallelBeam(size=64, views=12, bins=91).finer(4).bins
        364
        """
        if n < 1:
            raise MedbookError(f"n is {n}: give at least 1 ray for each bin")
        return replace(self, bins=n * self.bins, pitch_mm=self.pitch_mm / n)

    def rays(self) -> tuple[Tensor, Tensor]:
        """A point on each ray and its unit direction, each (views * bins, 2) float64, in mm."""
        raise NotImplementedError

    def detector(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Where points project to, and their weight in filtered backprojection.

        Args:
            x: (n,) float64, in mm.
            y: (n,) float64, in mm.

        Returns:
            index of the detector bin as a real number, and weight, each (n, views).
        """
        raise NotImplementedError

    def _index(self, offset: Tensor) -> Tensor:
        return offset / self.pitch_mm + (self.bins - 1) / 2


@dataclass(frozen=True, kw_only=True)
class ParallelBeam(Geometry):
    """Parallel rays; the bins are pitch_mm apart and the views cover pi unless said otherwise.

    >>> ParallelBeam(size=64, views=30).rays()[0].shape
    torch.Size([2760, 2])
    """

    pixel_mm: float = 1.0
    bins: int = 0
    pitch_mm: float = 0.0
    arc: float = math.pi

    def __post_init__(self) -> None:
        """Bins default to a pixel's width and cover the diagonal; view 0 looks along columns."""
        object.__setattr__(self, "pitch_mm", self.pitch_mm or self.pixel_mm)
        diagonal = math.sqrt(2) * self.size * self.pixel_mm / self.pitch_mm
        bins = math.ceil(diagonal)
        object.__setattr__(self, "bins", self.bins or bins + (bins - self.size) % 2)
        super().__post_init__()

    def rays(self) -> tuple[Tensor, Tensor]:  # noqa: D102
        u, d = self.axes
        origin = self.offsets[None, :, None] * u[:, None]  # (views, bins, 2)
        return origin.reshape(-1, 2), d[:, None].expand_as(origin).reshape(-1, 2)

    def detector(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        u, _ = self.axes
        s = x[:, None] * u[:, 0] + y[:, None] * u[:, 1]
        return self._index(s), torch.ones_like(s)


@dataclass(frozen=True, kw_only=True)
class FanBeam(Geometry):
    """Rays from a point source to a detector opposite, over a full turn.

    Attributes:
        source_mm: distance from the source to the rotation axis.
        detector_mm: distance from the rotation axis to the detector.
        curved: the detector is an arc around the source (equal angles between bins), not flat.

    >>> FanBeam(size=64, views=24, bins=96, pitch_mm=8, source_mm=500, detector_mm=300).fan_angle
    0.886...
    """

    pixel_mm: float = 1.0
    arc: float = 2 * math.pi
    source_mm: float
    detector_mm: float
    curved: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        corner = math.sqrt(0.5) * self.size * self.pixel_mm
        if self.source_mm <= corner or self.detector_mm < 0:
            raise MedbookError(
                f"source_mm is {self.source_mm}, detector_mm {self.detector_mm}: the source must "
                f"lie outside of the image, farther than {corner:.1f} mm, the detector at >= 0"
            )
        if self.fan_angle >= math.pi:
            raise MedbookError(f"the fan opens by {self.fan_angle:.2f} rad: make it less than pi")

    @property
    def fan_angles(self) -> Tensor:
        """(bins,) float64: angle of each ray with the central ray, in rad."""
        far = self.source_mm + self.detector_mm
        return self.offsets / far if self.curved else torch.atan(self.offsets / far)

    @property
    def fan_angle(self) -> float:
        """Angle between the two outermost rays, in rad."""
        return float(self.fan_angles[-1] - self.fan_angles[0])

    def rays(self) -> tuple[Tensor, Tensor]:  # noqa: D102
        u, d = (axis[:, None] for axis in self.axes)  # (views, 1, 2)
        g = self.fan_angles[None, :, None]
        direction = g.cos() * d + g.sin() * u  # (views, bins, 2)
        return (-self.source_mm * d).expand_as(direction).reshape(-1, 2), direction.reshape(-1, 2)

    def detector(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """See `Geometry.detector`. Source: Kak and Slaney 1988, section 3.4, eqs. 92 and 138."""
        u, d = self.axes
        across = x[:, None] * u[:, 0] + y[:, None] * u[:, 1]
        along = x[:, None] * d[:, 0] + y[:, None] * d[:, 1] + self.source_mm
        far = self.source_mm + self.detector_mm
        if self.curved:
            return self._index(far * torch.atan2(across, along)), 1 / (across**2 + along**2)
        return self._index(far * across / along), (self.source_mm / along) ** 2
