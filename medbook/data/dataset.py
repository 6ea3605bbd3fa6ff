"""Images and labels in memory: a split and a data set of three splits."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from medbook.errors import MedbookError


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, C, H, W) and labels int64 on one device: (N,), or (N, K) of 0 and 1.

    >>> split = Split(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1, 1]))
    >>> split.balanced(2, seed=0).labels.sort().values
    tensor([0, 1])
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str | torch.device) -> "Split":
        """The same split on another device."""
        return Split(self.images.to(device), self.labels.to(device))

    def subset(self, index: Tensor) -> "Split":
        """The images at ``index`` (integers or a mask, on any device), in that order."""
        index = index.to(self.labels.device)
        return Split(self.images[index], self.labels[index])

    def balanced(self, n: int, seed: int) -> "Split":
        """Draw ``n`` images without replacement, equally many of each class, in random order.

        Args:
            n: images in all; a multiple of the number of classes present.
            seed: fixes the draw, the same on every device.

        Raises:
            MedbookError: ``n`` cannot be divided by the classes or a class is too small.
        """
        labels = self.labels.cpu()
        classes, counts = labels.unique(return_counts=True)
        most = min(counts.tolist(), default=0)
        each, left = divmod(n, max(len(classes), 1))
        if left or not 0 < each <= most:
            raise MedbookError(
                f"cannot draw {n} images equally from {len(classes)} classes; n must be a positive "
                f"multiple of {len(classes)}, at most {len(classes) * most}"
            )
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(labels), generator=generator)
        drawn = torch.cat([order[labels[order] == k][:each] for k in classes])
        return self.subset(drawn[torch.randperm(n, generator=generator)])


@dataclass(frozen=True)
class Dataset:
    """Three splits and what must be said about them; ``kind`` tells real images from others.

    ``unit`` says what is independent, ``sha256`` is the hash of the file (of a twin: of its
    arrays).
    """

    name: str
    kind: Literal["real", "twin", "phantom"]
    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    unit: str
    sha256: str
    licence: str
    credit: str
    origin: str

    @property
    def n(self) -> int:
        """Number of images in all splits."""
        return len(self.train) + len(self.val) + len(self.test)

    def to(self, device: str | torch.device) -> "Dataset":
        """The same data set on another device."""
        train, val, test = (split.to(device) for split in (self.train, self.val, self.test))
        return replace(self, train=train, val=val, test=test)

    def with_permuted_test(self, seed: int) -> "Dataset":
        """The same data set with its test labels shuffled among themselves (the leak check)."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.test), generator=generator).to(self.test.labels.device)
        return replace(self, test=Split(self.test.images, self.test.labels[order]))
