"""Network layouts that several chapters share; the blocks are the chapter's own."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

Block = Callable[[int, int], nn.Module]  # from so many channels to so many


class UNet(nn.Module):
    """Down and up again with skips.

    Source: Ronneberger et al. 2015, figure 1, with blocks, pooling and upsampling left open.

    >>> conv = lambda a, b: nn.Conv2d(a, b, 3, padding=1)
    >>> up = lambda a, b: nn.ConvTranspose2d(a, b, 2, 2)
    >>> net = UNet(1, 2, (4, 8, 16), conv, nn.MaxPool2d(2), up)
    >>> net(torch.zeros(1, 1, 8, 12)).shape
    torch.Size([1, 2, 8, 12])
    """

    def __init__(
        self, a: int, b: int, widths: Sequence[int], block: Block, pool: nn.Module, up: Block
    ) -> None:
        """Build the levels.

        Args:
            a: channels of the input.
            b: channels of the output.
            widths: channels of each level, from full resolution down.
            block: made for each level on the way down and up.
            pool: halves rows and columns.
            up: doubles rows and columns.
        """
        super().__init__()
        steps = list(pairwise(widths))
        self.down = nn.ModuleList(block(*w) for w in [(a, widths[0]), *steps])
        self.up = nn.ModuleList(up(deep, wide) for wide, deep in reversed(steps))
        self.join = nn.ModuleList(block(2 * wide, wide) for wide, _ in reversed(steps))
        self.pool, self.head = pool, nn.Conv2d(widths[0], b, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, a, H, W) to (B, b, H, W); H and W divisible by 2^(levels - 1)."""
        levels = [self.down[0](x)]
        for block in list(self.down)[1:]:
            levels.append(block(self.pool(levels[-1])))
        x = levels.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([up(x), levels.pop()], 1))
        return self.head(x)
