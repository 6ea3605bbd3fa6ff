"""What a linear operator offers, its norm, and the test that `AT` is the adjoint of `A`."""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.refuse import need, need_finite, told


class LinearOperator(Protocol):
    """A linear map from images to measurements, and its adjoint.

    Each item of a batch is a problem of its own: `A` and `AT` apply one matrix to every item,
    whatever the number B of items. Real or complex; `AT` is the conjugate transpose.
    """

    def A(self, x: Tensor) -> Tensor:
        """Images x (B, C, ...) to measurements (B, ...)."""

    def AT(self, y: Tensor) -> Tensor:
        """Measurements y (B, ...) to images (B, C, ...): the adjoint of `A`, not its inverse."""


def operator_norm(
    operator: LinearOperator, like: Tensor, iterations: int, generator: torch.Generator
) -> float:
    """Largest singular value of `A`, by the power method on A^T A.

    Args:
        operator: the same for all items of a batch.
        like: (B, C, ...) an image; its shape, dtype and device are used. One item is enough.
        iterations: 20 are enough where the largest singular value stands alone, as in CT.
        generator: draws the start; on the device of `like`.

    Returns:
        the norm, approached from below: a step size that must stay under 1 / norm needs a margin.

    >>> from types import SimpleNamespace
    >>> twice = SimpleNamespace(A=lambda x: 2 * x, AT=lambda y: 2 * y)
    >>> round(operator_norm(twice, torch.zeros(1, 1, 5, 5), 3, torch.Generator()), 4)
    2.0
    """
    return math.sqrt(
        largest_eigenvalue(lambda v: operator.AT(operator.A(v)), like, iterations, generator)
    )


def largest_eigenvalue(
    M: Callable[[Tensor], Tensor], like: Tensor, iterations: int, generator: torch.Generator
) -> float:
    """Largest eigenvalue of a positive semidefinite map, by the power method; from below.

    Args:
        M: maps a tensor like `like` to one of the same shape.
        like: its shape, dtype and device are used.
        iterations: applications of M, >= 1.
        generator: draws the start; on the device of `like`.

    Raises:
        MedbookError: there is no iteration, `like` is empty or of integers, or M gives a NaN.

    Source: Golub and Van Loan 2013, Matrix Computations, section 8.2.1.

    >>> round(largest_eigenvalue(lambda v: 3 * v, torch.zeros(2, 2), 2, torch.Generator()), 4)
    3.0
    """
    if iterations < 1:
        raise MedbookError(f"iterations is {iterations}: the power method needs at least 1")
    real = like.is_floating_point() or like.is_complex()
    need(real and like.numel() > 0, f"like is {told(like)}: give real or complex numbers")
    v = torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)
    smallest = torch.finfo(like.dtype).tiny  # the zero map has eigenvalue 0, not 0 / 0
    for _ in range(iterations):
        v = M(v / torch.linalg.vector_norm(v).clamp(min=smallest))
    size = torch.linalg.vector_norm(v)
    need(size.isfinite(), f"the map gives values that are not finite for {told(like)}")
    return float(size)


def dot_test(operator: LinearOperator, x: Tensor, y: Tensor) -> float:
    """How far `AT` is from the adjoint of `A`: |<Ax, y> - <x, ATy>| / (|Ax| |y|).

    Args:
        operator: to be tested.
        x: (B, C, ...) an image, best random.
        y: (B, ...) a measurement, best random.

    Returns:
        about the rounding of the dtype if the two belong together, else near 0.01 to 1.

    Raises:
        MedbookError: x or y is not of this operator, or a value is not finite.

    >>> from types import SimpleNamespace
    >>> twice = SimpleNamespace(A=lambda x: 2 * x, AT=lambda y: 3 * y)
    >>> round(dot_test(twice, torch.ones(1, 1, 5), torch.ones(1, 1, 5)), 4)
    0.5
    """
    Ax, ATy = operator.A(x), operator.AT(y)
    need(
        Ax.shape == y.shape, f"A x is {told(Ax)}, y {told(y)}: give a measurement of this operator"
    )
    need(ATy.shape == x.shape, f"A^T y is {told(ATy)}, x {told(x)}: give an image of this operator")
    need_finite(x=x, y=y, Ax=Ax, ATy=ATy)
    wide = torch.promote_types(x.dtype, torch.float64)  # the sums are not what is tested
    x, Ax, y, ATy = (t.flatten().to(wide) for t in (x, Ax, y, ATy))
    difference = (torch.vdot(y, Ax) - torch.vdot(ATy, x)).abs()
    if difference == 0:  # also where both are zero
        return 0.0
    return float(difference / (torch.linalg.vector_norm(Ax) * torch.linalg.vector_norm(y)))
