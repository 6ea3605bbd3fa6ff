"""Poisson-disc sampling of variable density: irregular, but without clusters and holes."""

import math

import numpy as np
import torch
from torch import Tensor

from medbook.physics.mri.grid import Shape, best, centre_of, centred

TOLERANCE = 5e-3  # of the growth; what it gives in excess is left out


def poisson_disc(
    shape: Shape, acceleration: float, centre: int, generator: torch.Generator
) -> Tensor:
    """A central square, and points no two of which are near: the less so, the farther out.

    Candidates come in random order; each that is accepted keeps the others out of a disc around it,
    whose radius is 1 in the centre of k-space and grows linearly. The growth is the largest that
    gives enough points, and of these some are left out by chance to meet the acceleration. So two
    points outside of the square are at least as far apart as the smaller of their radii, see
    `disc_radius`.

    Args:
        shape: (H, W).
        acceleration: >= 1, H W / samples.
        centre: side of the fully sampled square, in samples.
        generator: on the CPU.

    Raises:
        MedbookError: acceleration < 1, or the centre alone has too many samples.

    Source: Cook 1986, doi:10.1145/7529.8927; for k-space Vasanawala et al. 2011,
    doi:10.1109/ISBI.2011.5872579.

    >>> poisson_disc((32, 32), 8, centre=6, generator=torch.Generator()).sum()
    tensor(128)
    """
    central, wanted = centre_of(shape, acceleration, centre, centre)
    order = torch.randperm(central.numel(), generator=generator)
    low, high = 0.0, 4.0 * max(shape)  # growths that give enough points, and too few
    points = torch.ones(shape, dtype=torch.bool, device="cpu")
    while high - low > TOLERANCE * max(1.0, high):
        growth = (low + high) / 2
        trial = throw(order, disc_radius(shape, growth), central)
        if int((trial | central).sum()) >= wanted:
            low, points = growth, trial
        else:
            high = growth
    score = points + torch.rand(shape, generator=generator)
    return best(score, central, wanted)[None, None]


def disc_radius(shape: Shape, growth: float) -> Tensor:
    """Radius of the disc that a point keeps free: 1 + growth |k|, (H, W), |k| = 1 at the edges.

    >>> disc_radius((1, 4), growth=2.0)
    tensor([[3., 2., 1., 2.]], dtype=torch.float64)
    """
    y, x = (2 * centred(n) / n for n in shape)
    return 1 + growth * torch.hypot(*torch.broadcast_tensors(y[:, None], x))


def throw(order: Tensor, radius: Tensor, central: Tensor) -> Tensor:
    """Accept points in this order, unless one accepted before keeps them out.

    Args:
        order: (H * W,) indices of the points.
        radius: (H, W); a point keeps out those nearer than its own radius.
        central: (H, W) bool, points that neither are accepted nor keep others out.

    Returns:
        (H, W) bool.

    >>> throw(torch.tensor([1, 0, 2, 3]), torch.full((1, 4), 2.0), torch.zeros(1, 4).bool())
    tensor([[False,  True, False,  True]])
    """
    height, width = radius.shape
    r, free = radius.numpy(), (~central).numpy()
    y, x = np.ogrid[:height, :width]
    accepted = np.zeros_like(free)
    for at in order.tolist():
        i, j = divmod(at, width)
        if free[i, j]:
            reach = math.ceil(r[i, j])
            near = slice(max(0, i - reach), i + reach + 1), slice(max(0, j - reach), j + reach + 1)
            squared = (y[near[0]] - i) ** 2 + (x[:, near[1]] - j) ** 2
            free[near] &= squared >= r[i, j] ** 2
            accepted[i, j] = True
    return torch.from_numpy(accepted)
