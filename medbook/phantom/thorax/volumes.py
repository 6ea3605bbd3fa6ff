"""What is in each voxel of a grid."""

from dataclasses import dataclass

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.phantom.thorax.anatomy import Anatomy


@dataclass(frozen=True)
class Grid:
    """Cubic voxels around the origin: D x H x W, from head to feet, front to back, right to left.

    Attributes:
        size: side of a cube, or (D, H, W), in voxels.
        voxel_mm: side of a voxel.
    """

    size: int | tuple[int, int, int] = 64
    voxel_mm: float = 6.25

    def __post_init__(self) -> None:
        if not all(number > 0 for number in (*self.shape, self.voxel_mm)):
            raise MedbookError(f"{self}: give positive numbers")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y and x."""
        return (self.size,) * 3 if isinstance(self.size, int) else self.size

    def slices(self, device: torch.device) -> list[Tensor]:
        """The middles of the voxels of each slice (H W, 3), from the head down."""
        z, y, x = (
            (torch.arange(n, device=device, dtype=torch.float64) - (n - 1) / 2) * self.voxel_mm
            for n in self.shape
        )
        plane = torch.stack(torch.meshgrid(-y, x, indexing="ij"), -1).flatten(0, 1)
        ones = torch.ones_like(plane[:, 0])
        return [torch.stack([plane[:, 1], plane[:, 0], -height * ones], 1) for height in z]


def filled(anatomy: Anatomy, grid: Grid) -> tuple[Tensor, Tensor]:
    """Shares of the three materials (n, 3, D, H, W) and labels (n, 1, D, H, W)."""
    slices = [anatomy.at(points) for points in grid.slices(anatomy.density.device)]
    parts, labels = (torch.stack(t, -2) for t in zip(*slices, strict=True))
    return parts.unflatten(-1, grid.shape[1:]), labels.unflatten(-1, grid.shape[1:])[:, None]
