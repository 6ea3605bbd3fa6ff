"""Convex shapes: ellipses and ellipsoids, rectangles and boxes, and what two of them share."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from medbook.errors import MedbookError
from medbook.phantom.shapes.base import Convex, Span

FAR = 1e9  # mm: beyond every object


@dataclass(frozen=True, eq=False)
class _Placed(Convex):
    """The unit ball or cube, stretched, turned and moved."""

    centre: Tensor
    axes: Tensor
    rotation: Tensor
    value: Tensor

    def __post_init__(self) -> None:
        b, n, d = self.centre.shape if self.centre.ndim == 3 else (0, 0, 0)
        expected = [(b, n, d), (b, n, d), (b, n, d, d), (b, n)]
        given = [tuple(tensor.shape) for tensor in self._tensors()]
        if given != expected or d not in (2, 3):
            raise MedbookError(
                "centre, axes, rotation, value must be (B, N, d), (B, N, d), (B, N, d, d), (B, N) "
                f"with d = 2 or 3, not {', '.join(map(str, given))}"
            )
        if (
            len({(t.dtype, t.device) for t in self._tensors()}) > 1
            or not self.value.is_floating_point()
        ):
            raise MedbookError(
                "all parameters must be floating-point numbers of one dtype on one device, not "
                f"{[(t.dtype, str(t.device)) for t in self._tensors()]}"
            )
        if not all(t.isfinite().all() for t in self._tensors()) or not (self.axes > 0).all():
            raise MedbookError("axes must be > 0, and all parameters of a shape finite")
        turned = self.rotation @ self.rotation.mT
        if not torch.allclose(turned, torch.eye(d).to(turned).expand_as(turned), atol=1e-4):
            raise MedbookError("the columns of a rotation must be orthogonal unit vectors")

    @classmethod
    def from_angle(
        cls, centre: ArrayLike, axes: ArrayLike, angle: ArrayLike, value: ArrayLike
    ) -> Self:
        """Planar shapes of which the first axis stands at an angle to x.

        Args:
            centre: (B, N, 2) mm; tensors, or what becomes one.
            axes: (B, N, 2) half-axes, mm, > 0.
            angle: (B, N) rad, anticlockwise.
            value: (B, N) added inside.

        >>> Ellipsoids.from_angle([[[0.0, 5.0]]], [[[3.0, 2.0]]], [[0.1]], [[0.02]]).dim
        2
        """
        c, s = torch.as_tensor(angle).cos(), torch.as_tensor(angle).sin()
        rotation = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
        return cls(*map(torch.as_tensor, (centre, axes, rotation, value)))

    @property
    def dim(self) -> int:
        return self.centre.shape[-1]

    @cached_property
    def _to_unit(self) -> tuple[Tensor, Tensor]:
        """Matrix and shift from x to the unit frame: (d, B, N, d) and (d, B, N, 1)."""
        matrix = (self.rotation.double() / self.axes.double()[..., None, :]).mT
        shift = matrix @ self.centre.double()[..., None]
        return matrix.movedim(-2, 0).contiguous(), shift.movedim(-2, 0)

    def _lines(self, origin: Tensor, direction: Tensor) -> Span:
        """The lines p + t q in the unit frame: p, q (d, B, N, R)."""
        matrix, _ = self._to_unit
        return self._own(origin), matrix @ direction.mT

    def _own(self, points: Tensor) -> Tensor:
        """Points in the unit frame: (d, B, N, P)."""
        matrix, shift = self._to_unit
        return (matrix @ points.to(matrix).mT).sub_(shift)

    def _tensors(self) -> list[Tensor]:
        return [getattr(self, field.name) for field in fields(self)]

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(*map(function, self._tensors()))


class Ellipsoids(_Placed):
    """Ellipses (d = 2) or ellipsoids (d = 3): x = centre + rotation (axes * u), |u| < 1.

    Attributes:
        centre: (B, N, d) mm.
        axes: (B, N, d) half-axes, mm, > 0.
        rotation: (B, N, d, d) whose columns are the directions of the axes.
        value: (B, N) added inside, e.g. attenuation in 1/mm.

    Raises:
        MedbookError: tensors that do not fit to each other, an axis <= 0, or no rotation.

    >>> one = Ellipsoids(torch.zeros(1, 1, 3), torch.ones(1, 1, 3), torch.eye(3)[None, None],
    ...                  torch.tensor([[2.0]]))
    >>> one.line_integrals(torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]]))
    tensor([[4.]])
    """

    def _span(self, origin: Tensor, direction: Tensor) -> Span:
        """|p + t q| = 1, the square completed: of |p|^2 - (p.q)^2 / |q|^2 little would be left."""
        p, q = self._lines(origin, direction)
        qq = q.square().sum(0)
        middle = (p * q).sum(0).div_(qq).neg_()
        hh = p.add_(q.mul_(middle)).square_().sum(0)  # squared distance from the centre
        half = hh.neg_().add_(1).clamp_(min=0).div_(qq).sqrt_()
        return middle - half, middle + half

    def contains(self, points: Tensor) -> Tensor:  # noqa: D102
        return self._own(points).square().sum(0) < 1


class Boxes(_Placed):
    """Rectangles (d = 2) or boxes (d = 3), given like `Ellipsoids`: axes are half of the sides.

    >>> wall = Boxes.from_angle([[[0.0, 0.0]]], [[[1.0, 9.0]]], [[0.0]], [[1.0]])
    >>> wall.line_integrals(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor([[2.]])
    """

    def _span(self, origin: Tensor, direction: Tensor) -> Span:
        """|p + t q| < 1 on every axis. A line within a face is outside."""
        p, q = self._lines(origin, direction)
        parallel, within = q == 0, p.abs() < 1
        always = torch.where(within, FAR, -FAR).to(p)
        middle, half = torch.where(parallel, 0, -p / q), torch.where(parallel, always, 1 / q.abs())
        near, far = (middle - half).amax(0), (middle + half).amin(0)
        return near, torch.maximum(near, far)

    def contains(self, points: Tensor) -> Tensor:  # noqa: D102
        return self._own(points).abs().amax(0) < 1


@dataclass(frozen=True, eq=False)
class Intersection(Convex):
    """What the n-th shapes of two kinds share; with a negative value it cuts a piece out.

    Attributes:
        first: N shapes in each of B objects; their own values do not count.
        second: as many.
        value: (B, N) added where both are.

    Raises:
        MedbookError: different numbers of shapes.

    >>> disc = Ellipsoids.from_angle([[[0.0, 0.0]]], [[[2.0, 2.0]]], [[0.0]], [[1.0]])
    >>> right = Boxes.from_angle([[[5.0, 0.0]]], [[[5.0, 5.0]]], [[0.0]], [[0.0]])
    >>> half = disc + Intersection(disc, right, -disc.value)
    >>> half.line_integrals(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor([[2.]])
    """

    first: Convex
    second: Convex
    value: Tensor

    def __post_init__(self) -> None:
        pair = self.first, self.second
        given = [(tuple(s.value.shape), s.dim, s.dtype, str(s.device)) for s in pair]
        given.append(
            (tuple(self.value.shape), self.first.dim, self.value.dtype, str(self.value.device))
        )
        if len(set(given)) != 1:
            raise MedbookError(f"an intersection needs as many shapes of each kind, not {given}")

    @property
    def dim(self) -> int:  # noqa: D102
        return self.first.dim

    def _span(self, origin: Tensor, direction: Tensor) -> Span:
        spans = (shape._span(origin, direction) for shape in (self.first, self.second))
        near, far = zip(*spans, strict=True)
        latest = torch.maximum(*near)
        return latest, torch.maximum(latest, torch.minimum(*far))

    def contains(self, points: Tensor) -> Tensor:  # noqa: D102
        return self.first.contains(points) & self.second.contains(points)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(
            self.first._map(function), self.second._map(function), function(self.value)
        )
