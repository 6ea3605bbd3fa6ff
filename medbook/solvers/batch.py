"""A batch of problems: one number for each of them, and what a solver returns."""

from typing import NamedTuple

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.refuse import need_finite


class Solution(NamedTuple):
    """What an iterative solver found, and how well it explains the data on the way.

    Attributes:
        x: (B, C, ...) the last iterate.
        residuals: (iterations, B) the norm of y - Ax after each iteration.
    """

    x: Tensor
    residuals: Tensor


def norms(x: Tensor) -> Tensor:
    """Euclidean norm of each item: (B, ...) to (B,), real.

    >>> norms(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([5., 0.])
    """
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def column(values: Tensor, like: Tensor) -> Tensor:
    """One number an item, (B,), in a shape that multiplies `like` (B, ...).

    >>> column(torch.tensor([2.0, 3.0]), like=torch.ones(2, 1, 4, 5)).shape
    torch.Size([2, 1, 1, 1])
    """
    return values.reshape(-1, *[1] * (like.ndim - 1))


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """Quotient a / b where b > 0, else 0.

    >>> ratio(torch.tensor([1.0, 1.0]), torch.tensor([4.0, 0.0]))
    tensor([0.2500, 0.0000])
    """
    positive = b > 0
    return torch.where(positive, a / torch.where(positive, b, 1), 0)


def check_solver(y: Tensor, iterations: int) -> None:
    """Refuse data without a batch or with a NaN, and an empty loop."""
    if y.ndim < 2:
        raise MedbookError(f"y has shape {tuple(y.shape)}: give a batch, (B, ...), of >= 2 axes")
    if iterations < 1:
        raise MedbookError(f"iterations is {iterations}: give at least 1")
    need_finite(y=y)
