"""Where an X-ray is taken from: a point source and a flat detector, turned about the body's axis.

The frame of the patient, in mm: x towards the patient's left, y forwards, z up. At angle 0 the rays
run forwards, from behind (posteroanterior), and the picture shows the patient's right at its left.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from medbook.errors import MedbookError


@dataclass(frozen=True)
class View:
    """A picture of H x W pixels; lengths are those in the plane through the axis, z = x = y = 0.

    Attributes:
        size: side of a square picture, or (H, W), px.
        field_mm: width of the picture in that plane.
        angle: rad, anticlockwise seen from above; pi / 2 looks from the patient's left.
        source_mm: from the source to the axis; `math.inf` for parallel rays.
        oversample: rays along each side of a pixel, over which the picture is averaged.

    Raises:
        MedbookError: a number that is not positive, or a source within 400 mm of the axis.

    >>> origin, direction = View(2, field_mm=200.0, source_mm=math.inf).rays()
    >>> origin[0].tolist(), direction[0, 1].item()
    ([-50.0, 0.0, 50.0], 1.0)
    """

    size: int | tuple[int, int] = 64
    field_mm: float = 400.0
    angle: float = 0.0
    source_mm: float = 1800.0
    oversample: int = 1

    def __post_init__(self) -> None:
        ok = min(*self.shape, self.field_mm, self.oversample) > 0 and self.source_mm > 400
        if not (ok and math.isfinite(self.angle + self.field_mm)):
            raise MedbookError(f"{self}: give positive numbers, and a source beyond 400 mm")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def fine(self) -> "View":
        """The view of all rays, one a pixel."""
        height, width = (side * self.oversample for side in self.shape)
        return View((height, width), self.field_mm, self.angle, self.source_mm)

    @property
    def pixel_mm(self) -> float:
        """Side of a pixel."""
        return self.field_mm / self.shape[1]

    def axes(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
        """Unit vectors to the right of the picture, up, and along the central ray: (3,) each."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        vectors = torch.tensor(
            [[c, s, 0], [0, 0, 1], [-s, c, 0]], dtype=torch.float64, device="cpu"
        )
        right, up, ahead = vectors.to(device)
        return right, up, ahead

    def rays(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Points in the plane and directions (H W, 3) of one ray through each pixel's centre."""
        rows, columns = (torch.arange(n, device=device, dtype=torch.float64) for n in self.shape)
        row, column = torch.meshgrid(rows, columns, indexing="ij")
        return self.through(row.flatten(), column.flatten())

    def through(self, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """The ray through places (...) of the picture in px: (..., 3) each."""
        right, up, ahead = self.axes(row.device)
        height, width = self.shape
        u, v = (column - (width - 1) / 2) * self.pixel_mm, ((height - 1) / 2 - row) * self.pixel_mm
        origin = u[..., None] * right + v[..., None] * up
        return origin, ahead + origin / self.source_mm  # of length 1 along the central ray

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Row and column, in px, at which points (..., 3) appear."""
        right, up, ahead = self.axes(points.device)
        nearer = 1 / (1 + points.double() @ ahead / self.source_mm)
        height, width = self.shape
        column = points.double() @ right * nearer / self.pixel_mm + (width - 1) / 2
        return (height - 1) / 2 - points.double() @ up * nearer / self.pixel_mm, column
