"""Random parameters of n objects at a time."""

import torch
from torch import Tensor

from medbook.errors import MedbookError


class Draw:
    """Random numbers for n objects, k of them for each: (n, k) in the default dtype."""

    def __init__(self, n: int, generator: torch.Generator) -> None:
        """Draw from `generator`, on its device.

        Raises:
            MedbookError: n < 1.
        """
        if n < 1:
            raise MedbookError(f"cannot draw {n} objects: ask for at least 1")
        self.n, self.generator = n, generator

    def uniform(self, low: float | Tensor, high: float | Tensor, k: int = 1) -> Tensor:
        """Evenly between low and high.

        >>> Draw(2, torch.Generator().manual_seed(0)).uniform(1, 3, k=5).shape
        torch.Size([2, 5])
        """
        where = self.generator.device
        return low + (high - low) * torch.rand(self.n, k, generator=self.generator, device=where)

    def chance(self, probability: float | Tensor, k: int = 1) -> Tensor:
        """True with this probability."""
        return self.uniform(0, 1, k) < probability

    def disc(self, radius: float | Tensor, k: int = 1) -> Tensor:
        """Points (n, k, 2) evenly over a disc around the origin."""
        angle, r = self.uniform(0, 2 * torch.pi, k), radius * self.uniform(0, 1, k).sqrt()
        return torch.stack([r * angle.cos(), r * angle.sin()], -1)
