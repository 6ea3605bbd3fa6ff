"""Total variation of an image, and the differences it is made of.

Forward differences between neighbours; at the far border the difference is 0 (Neumann). Pixels
have side 1: a total variation is in units of x, per pixel side.
"""

import torch
from torch import Tensor

from medbook.errors import MedbookError


def gradient(x: Tensor) -> Tensor:
    """Forward differences along each spatial axis.

    Args:
        x: (B, C, *space) images of d >= 1 spatial axes.

    Returns:
        (B, C, d, *space); along axis i the last difference is 0. Its norm is below 2 sqrt(d).

    Raises:
        MedbookError: there is no spatial axis.

    Source: Chambolle 2004, "An algorithm for total variation minimization", section 2.

    >>> gradient(torch.tensor([[[1.0, 4.0, 2.0]]]))
    tensor([[[[ 3., -2.,  0.]]]])
    """
    if x.ndim < 3:
        raise MedbookError(f"x has shape {tuple(x.shape)}: give images (B, C, *space)")
    p = x.new_zeros(*x.shape[:2], x.ndim - 2, *x.shape[2:])
    for axis in range(2, x.ndim):
        n = x.shape[axis] - 1
        p[:, :, axis - 2].narrow(axis, 0, n).copy_(x.narrow(axis, 1, n) - x.narrow(axis, 0, n))
    return p


def divergence(p: Tensor) -> Tensor:
    """Minus the adjoint of `gradient`: for all x, <gradient(x), p> = -<x, div p>.

    Args:
        p: (B, C, d, *space) vectors of d components, one for each spatial axis.

    Returns:
        (B, C, *space).

    >>> divergence(torch.tensor([[[[3.0, -2.0, 5.0]]]]))
    tensor([[[ 3., -5.,  2.]]])
    """
    if p.ndim < 4 or p.shape[2] != p.ndim - 3:
        raise MedbookError(f"p has shape {tuple(p.shape)}: give vectors (B, C, d, *space)")
    d = torch.zeros_like(p[:, :, 0])
    for axis, component in enumerate(p.unbind(2), start=2):
        n = d.shape[axis] - 1
        flow = component.narrow(axis, 0, n)
        d.narrow(axis, 0, n).add_(flow)
        d.narrow(axis, 1, n).sub_(flow)
    return d


def total_variation(x: Tensor) -> Tensor:
    """Isotropic total variation: the sum over pixels of the length of the gradient.

    Args:
        x: (B, C, *space); channels are added.

    Returns:
        (B,), >= 0.

    Source: Rudin, Osher and Fatemi 1992, "Nonlinear total variation based noise removal".

    >>> total_variation(torch.tensor([[[[0.0, 3.0], [4.0, 3.0]]]]))
    tensor([6.])
    """
    return torch.linalg.vector_norm(gradient(x), dim=2).flatten(1).sum(1)
