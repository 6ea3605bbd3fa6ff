"""Refuse what a function cannot use: one line that says what was given and what is accepted."""

import torch
from torch import Tensor

from medbook.errors import MedbookError


def need(holds: bool | Tensor, message: str) -> None:
    """Raise a `MedbookError` unless something holds.

    >>> need(2 > 1, "2 is not more than 1")
    """
    if not holds:
        raise MedbookError(message)


def told(x: Tensor) -> str:
    """Type and shape of a tensor, for a message.

    >>> told(torch.zeros(3, 1))
    'float32 (3, 1)'
    """
    return f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}"


def need_finite(**tensors: Tensor) -> None:
    """Each tensor has elements, and none is NaN or infinite.

    >>> need_finite(scores=torch.tensor([0.5]))
    """
    for name, x in tensors.items():
        need(x.numel() > 0, f"{name} is empty: {told(x)}")
        bad = int((~x.isfinite()).sum())
        need(not bad, f"{name}, {told(x)}, holds {bad} values that are not finite: leave them out")


def need_matrix(**tensors: Tensor) -> None:
    """Each tensor is real and finite, with a row per item: (n, d).

    >>> need_matrix(features=torch.zeros(2, 3))
    """
    for name, x in tensors.items():
        real = x.ndim == 2 and not x.is_complex()
        need(real, f"{name} is {told(x)}: give real numbers (n, d), a row per item")
    need_finite(**tensors)


def need_pair(x: Tensor, y: Tensor) -> None:
    """Two batches of real images (N, C, H, W) of one shape, finite: none is broadcast.

    >>> need_pair(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8))
    """
    real = not (x.is_complex() or y.is_complex())
    same = x.shape == y.shape and (x.dtype == torch.uint8) == (y.dtype == torch.uint8)
    need(
        real and same and x.ndim == 4,
        f"images are {told(x)} and {told(y)}: give two real batches (N, C, H, W) of one shape and "
        "one range of values",
    )
    need_finite(x=x, y=y)
