"""Random numbers by part: what one organ, device or finding draws, no other one feels."""

import zlib

import numpy as np
import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.phantom.draw import Draw


class Part(Draw):
    """The random numbers of one part of n patients, from the left."""

    def __init__(self, seeds: Tensor, name: str) -> None:
        """Start at the first number of this part."""
        key = zlib.crc32(name.encode())
        self.n, self.device = len(seeds), seeds.device
        self.streams = [np.random.default_rng([seed, key]) for seed in seeds.tolist()]

    def uniform(self, low: float | Tensor, high: float | Tensor, k: int = 1) -> Tensor:
        """Evenly between low and high: the next k numbers of each patient, (n, k).

        >>> Part(torch.tensor([1, 2]), "ribs").uniform(1, 3, k=4).shape
        torch.Size([2, 4])
        """
        rows = np.stack([stream.random(k, dtype=np.float32) for stream in self.streams])
        return low + (high - low) * torch.from_numpy(rows).to(self.device)


class Streams:
    """Of n patients, each with a seed; the same seed and part give the same numbers everywhere."""

    def __init__(self, seeds: Tensor) -> None:
        """Patients of these seeds (n,), int64, >= 0."""
        self.seeds, self.n = seeds, len(seeds)

    @classmethod
    def start(cls, n: int, generator: torch.Generator) -> "Streams":
        """New patients, on the device of the generator.

        Raises:
            MedbookError: n < 1.
        """
        if n < 1:
            raise MedbookError(f"cannot draw {n} objects: ask for at least 1")
        return cls(torch.randint(2**62, (n,), generator=generator, device=generator.device))

    def of(self, part: str) -> Part:
        """The numbers of a part from their beginning; a part's name is used in one place only.

        >>> one = Streams(torch.tensor([7]))
        >>> one.of("heart").uniform(0, 1).equal(one.of("heart").uniform(0, 1))
        True
        >>> one.of("heart").uniform(0, 1).equal(one.of("ribs").uniform(0, 1))
        False
        """
        return Part(self.seeds, part)
