"""What all sampling masks share: the centre of the grid, and how many samples there may be."""

import torch
from torch import Tensor

from medbook.errors import MedbookError

Shape = tuple[int, int]


def centred(n: int) -> Tensor:
    """Index from the zero frequency, (n,) float64.

    >>> centred(4)
    tensor([-2., -1.,  0.,  1.], dtype=torch.float64)
    """
    return torch.arange(n, dtype=torch.float64, device="cpu") - n // 2


def block(shape: Shape, height: int, width: int) -> Tensor:
    """True in the central height x width samples: (H, W) bool.

    Raises:
        MedbookError: the block is larger than the grid, or of negative size.

    >>> block((4, 5), 2, 1).nonzero()
    tensor([[1, 2],
            [2, 2]])
    """
    if not (0 <= height <= shape[0] and 0 <= width <= shape[1]):
        raise MedbookError(
            f"a centre of {height} x {width} samples does not fit into {shape[0]} x {shape[1]}"
        )
    rows, columns = (
        (centred(n) >= -(m // 2)) & (centred(n) < m - m // 2)
        for n, m in zip(shape, (height, width), strict=True)
    )
    return rows[:, None] & columns


def centre_of(shape: Shape, acceleration: float, height: int, width: int) -> tuple[Tensor, int]:
    """The fully sampled centre, and how many samples there are to be in all.

    Args:
        shape: (H, W).
        acceleration: from 1 to H W.
        height: of the centre, in samples.
        width: of the centre, in samples.

    Returns:
        (H, W) bool, and round(H W / acceleration).

    Raises:
        MedbookError: an acceleration that is not possible, or the centre alone has more samples.

    >>> centre_of((4, 4), 2, 1, 2)[0].nonzero().tolist(), centre_of((4, 4), 2, 1, 2)[1]
    ([[2, 1], [2, 2]], 8)
    """
    points = shape[0] * shape[1]
    if not 1 <= acceleration <= points:
        raise MedbookError(f"acceleration is {acceleration}: give a number from 1 to {points}")
    central, wanted = block(shape, height, width), round(points / acceleration)
    if height * width > wanted:
        raise MedbookError(
            f"acceleration {acceleration} leaves {wanted} of {points} samples, and the centre "
            f"alone has {height * width}: make the acceleration or the centre smaller"
        )
    return central, wanted


def best(score: Tensor, central: Tensor, wanted: int) -> Tensor:
    """The centre, and of the rest what scores highest: `wanted` samples in all.

    >>> best(torch.tensor([3.0, 9.0, 1.0, 2.0]), torch.tensor([0, 0, 1, 0]).bool(), wanted=2)
    tensor([False,  True,  True, False])
    """
    order = torch.where(central, torch.inf, score).flatten().topk(wanted).indices
    taken = torch.zeros(central.numel(), dtype=torch.bool, device="cpu")
    taken[order] = True
    return taken.reshape(central.shape)
