"""Objects that formulas know exactly: their line integrals and images, from one question.

Where does a line enter a convex shape, and where does it leave? A line integral is the sum of
value times the distance between the two; an image is made of its horizontal lines. Values add
where shapes overlap, and all is computed in float64 whatever the dtype of the shapes.

Coordinates are in mm, x to the right and y up; the centre of an image is the origin. Pixel (i, j)
of an H x W image, row 0 on top, has its centre at x = (j - (W - 1) / 2) pixel_mm,
y = ((H - 1) / 2 - i) pixel_mm.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from medbook.errors import MedbookError

CHUNK = 2**16  # pairs of a line and a shape that are in memory at a time
Span = tuple[Tensor, Tensor]


class Phantom(ABC):
    """A batch of B objects, each a sum of convex shapes."""

    @property
    @abstractmethod
    def parts(self) -> tuple["Convex", ...]:
        """The shapes, by kind."""

    def line_integrals(self, origin: Tensor, direction: Tensor) -> Tensor:
        """Integrate the value along whole lines, exactly.

        Args:
            origin: (R, d) a point of each line, mm.
            direction: (R, d) of any length but 0.

        Returns:
            (B, R) in the unit of the values times mm, on the device of the shapes.

        Raises:
            MedbookError: the lines do not fit to the shapes, or one has no direction.

        >>> from medbook.phantom import Ellipsoids
        >>> disc = Ellipsoids.from_angle([[[0.0, 0.0]]], [[[10.0, 10.0]]], [[0.0]], [[0.02]])
        >>> disc.line_integrals(torch.tensor([[0.0, 6.0]]), torch.tensor([[1.0, 0.0]]))
        tensor([[0.3200]])
        """
        self._check_lines(origin, direction)
        o, d = (lines.to(self.device, torch.float64) for lines in (origin, direction))
        lengths = torch.stack([part._integrals(o, d) for part in self.parts]).sum(0)
        return (lengths * d.norm(dim=-1)).to(self.dtype)

    def image(self, size: int | tuple[int, int], pixel_mm: float, oversample: int = 4) -> Tensor:
        """Average the value over each pixel: exactly along x, by supersampling along y.

        Args:
            size: side of a square image, or (H, W), in pixels.
            pixel_mm: side of a pixel.
            oversample: horizontal lines in each pixel.

        Returns:
            (B, 1, H, W) in the unit of the values.

        Raises:
            MedbookError: a size is not positive, or the shapes are not planar.

        >>> from medbook.phantom import Boxes
        >>> square = Boxes.from_angle([[[1.0, 1.0]]], [[[1.0, 1.0]]], [[0.0]], [[5.0]])
        >>> square.image(2, pixel_mm=2.0)
        tensor([[[[0., 5.],
                  [0., 0.]]]])
        """
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width, pixel_mm, oversample) <= 0 or self.dim != 2:
            raise MedbookError(
                f"image(size={size}, pixel_mm={pixel_mm}, oversample={oversample}) of shapes in "
                f"{self.dim} dimensions: give positive numbers, and shapes in 2 dimensions"
            )
        row = torch.arange(height * oversample, device=self.device, dtype=torch.float64)
        y = (height / 2 - (row + 0.5) / oversample) * pixel_mm
        column = torch.arange(width + 1, device=self.device, dtype=torch.float64)
        edges = (column - width / 2) * pixel_mm
        means = torch.zeros(width, len(self), len(y)).to(y)
        for part in self.parts:
            part._add_means(means, y, edges)
        pixels = means.unflatten(2, (height, oversample)).mean(3)  # (W, B, H)
        return pixels.permute(1, 2, 0)[:, None].to(self.dtype).contiguous()

    def to(self, *where: Any) -> Self:
        """Move to another device or dtype, as `Tensor.to` does."""
        return self._map(lambda tensor: tensor.to(*where))

    def __getitem__(self, index: slice | Tensor) -> Self:
        return self._map(lambda tensor: tensor[index])

    def __add__(self, other: "Phantom") -> "Sum":
        return Sum((*self.parts, *other.parts))

    def __len__(self) -> int:
        return len(self.parts[0].value)

    @property
    def dim(self) -> int:
        """2 for planar shapes, 3 for solid ones."""
        return self.parts[0].dim

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters and of what is computed from them."""
        return self.parts[0].value.dtype

    @property
    def device(self) -> torch.device:
        """Of the parameters and of what is computed from them."""
        return self.parts[0].value.device

    @abstractmethod
    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same object of changed parameters."""

    def _check_lines(self, origin: Tensor, direction: Tensor) -> None:
        if not (
            origin.shape == direction.shape and origin.ndim == 2 and origin.shape[1] == self.dim
        ):
            raise MedbookError(
                f"origin {tuple(origin.shape)} and direction {tuple(direction.shape)}: both must "
                f"be (lines, {self.dim}) for these shapes"
            )
        if not ((direction != 0).any(1) & (direction + origin).isfinite().all(1)).all():
            raise MedbookError("a line needs a finite origin and a finite direction other than 0")


class Convex(Phantom):
    """N convex shapes in each of B objects."""

    value: Tensor  # (B, N)

    @abstractmethod
    def _span(self, origin: Tensor, direction: Tensor) -> Span:
        """Where the lines origin + t direction (R, d) enter and leave: t of either (B, N, R).

        A line that misses a shape leaves it where it enters.
        """

    @abstractmethod
    def contains(self, points: Tensor) -> Tensor:
        """Which points in mm, (P, d) or (B, P, d), lie in which shape: (B, N, P) bool."""

    @property
    def parts(self) -> tuple["Convex", ...]:  # noqa: D102
        return (self,)

    def _integrals(self, origin: Tensor, direction: Tensor) -> Tensor:
        """Sum of value times length, in lengths of the direction: (B, R)."""
        integrals = []
        for o, d in zip(origin.split(self._step), direction.split(self._step), strict=True):
            near, far = self._span(o, d)
            integrals.append(self._weighted(far - near))
        return torch.cat(integrals, -1)

    def _add_means(self, means: Tensor, y: Tensor, edges: Tensor) -> None:
        """Add the mean between neighbouring edges on horizontal lines at y to means (W, B, R)."""
        for heights, here in zip(y.split(self._step), means.split(self._step, 2), strict=True):
            origin = torch.stack([torch.zeros_like(heights), heights], 1)
            right = torch.tensor([1.0, 0.0]).to(heights).expand_as(origin)
            near, far = (t.clamp(edges[0], edges[-1]) for t in self._span(origin, right))
            # what lies to the left of each edge, plus a constant; then its differences
            left = torch.stack([self._weighted(x.clamp(near, far)) for x in edges])
            here += left.diff(dim=0) / (edges[1] - edges[0])

    @property
    def _step(self) -> int:
        return max(1, CHUNK // max(1, self.value.numel()))

    def _weighted(self, lengths: Tensor) -> Tensor:
        """Sum over the shapes (B, N, R) -> (B, R)."""
        return (self.value.double()[:, None] @ lengths)[:, 0]


@dataclass(frozen=True, eq=False)
class Sum(Phantom):
    """Shapes of several kinds in each object; made by `+`."""

    kinds: tuple[Convex, ...]

    def __post_init__(self) -> None:
        if len({(len(kind), kind.dim, kind.dtype, kind.device) for kind in self.kinds}) != 1:
            raise MedbookError(
                "shapes add up if all have the same number of objects, dimension, dtype and device,"
                f" not {[(len(k), k.dim, k.dtype, str(k.device)) for k in self.kinds]}"
            )

    @property
    def parts(self) -> tuple[Convex, ...]:  # noqa: D102
        return self.kinds

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(tuple(kind._map(function) for kind in self.kinds))
