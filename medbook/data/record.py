"""A data set in memory: its splits, and what must be said about it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from medbook.data.entries import Facts
from medbook.errors import MedbookError

Kind = Literal["real", "twin", "phantom", "simulated from real"]


@dataclass(frozen=True)
class Split:
    """Images (N, C, H, W) and what is true of them, on one device.

    Attributes:
        images: uint8 with labels, float32 without; k-space is complex64, 0 where nothing was
            measured.
        labels: int64 (N,), or (N, K) of 0 and 1. Without classes the truth is the images.
        groups: int64 (N,), the independent unit of each image; None if each is one of its own.
        masks: bool (N, 1, H, W), empty where an image has none; None if none has.

    >>> split = Split(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1, 1]))
    >>> split.balanced(2, seed=0).labels.sort().values
    tensor([0, 1])
    """

    images: Tensor
    labels: Tensor
    groups: Tensor | None = None
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Split":
        """The same split with changed tensors; what was one tensor stays one."""
        images = function(self.images)
        labels = images if self.labels is self.images else function(self.labels)
        groups, masks = (t if t is None else function(t) for t in (self.groups, self.masks))
        return Split(images, labels, groups, masks)

    def to(self, device: str | torch.device) -> "Split":
        """The same split on another device."""
        return self.map(lambda tensor: tensor.to(device))

    def subset(self, index: Tensor) -> "Split":
        """The images at ``index`` (integers or a mask, on any device), in that order."""
        index = index.to(self.labels.device)
        return self.map(lambda tensor: tensor[index])

    def one_per_unit(self) -> "Split":
        """The first image of each independent unit, in the order of the units.

        >>> images, units = torch.zeros(3, 1, 2, 2), torch.tensor([7, 4, 7])
        >>> Split(images, images, units).one_per_unit().groups
        tensor([4, 7])
        """
        if self.groups is None:
            return self
        units = self.groups.unique()
        first = (self.groups == units[:, None]).int().argmax(1)
        return self.subset(first)

    def shuffled(self, seed: int) -> "Split":
        """The same images, their labels shuffled among themselves (the leak check)."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self), generator=generator).to(self.labels.device)
        return replace(self, labels=self.labels[order])

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


@dataclass(frozen=True, kw_only=True)
class Record(Facts):
    """A loaded data set.

    With labels it has `train`, `val` and `test`; without, `images` and what belongs to them, or
    `val` and `test` if it was divided.
    Whatever is compared with the truth is compared with labels or `targets`, whatever is measured
    or distorted starts from images: the leak check shuffles the former.

    Attributes:
        kind: tells real images from generated ones.
        sha256: hash of the file (of several the hash of their hashes); if generated, of the arrays.
        splits: by name.
        pixel_mm: side of a pixel, None if not stated.
    """

    kind: Kind
    sha256: str
    splits: dict[str, Split]
    pixel_mm: float | None = None

    @property
    def n(self) -> int:
        """Number of images in all splits."""
        return sum(map(len, self.splits.values()))

    @property
    def train(self) -> Split:
        """Images and labels to learn from."""
        return self._split("train")

    @property
    def val(self) -> Split:
        """Images and labels to choose with."""
        return self._split("val")

    @property
    def test(self) -> Split:
        """Images and labels to test with."""
        return self._split("test")

    @property
    def images(self) -> Tensor:
        """(N, C, H, W) in `value_unit`, of a set without labels."""
        return self._split("all").images

    @property
    def targets(self) -> Tensor:
        """The same tensor, or a shuffled copy of it."""
        return self._split("all").labels

    @property
    def groups(self) -> Tensor:
        """The independent unit that each image belongs to, int64 (N,)."""
        groups = self._split("all").groups
        return torch.arange(self.n, device=self.images.device) if groups is None else groups

    @property
    def masks(self) -> Tensor | None:
        """Of what the set outlines, bool (N, 1, H, W), empty where an image has none."""
        return self._split("all").masks

    @property
    def has_mask(self) -> Tensor:
        """Which images have a mask, bool (N,)."""
        if self.masks is None:
            return torch.zeros(self.n, dtype=torch.bool, device=self.images.device)
        return self.masks.flatten(1).any(1)

    def to(self, device: str | torch.device) -> "Record":
        """The same data set on another device."""
        return replace(self, splits={name: s.to(device) for name, s in self.splits.items()})

    def divided(self, val_units: int) -> "Record":
        """A set without labels in two: images of some units to choose with, the others to test.

        Args:
            val_units: evenly spaced among the sorted units, they become `val`.

        Raises:
            MedbookError: the set has labels, or no unit would be left for one of the two.
        """
        whole = self._split("all")
        units = self.groups.unique()
        if not 0 < val_units < len(units):
            raise MedbookError(
                f"{self.name} has {len(units)} units, val_units is {val_units}: give 1 to "
                f"{len(units) - 1}, so that there are some to choose with and some to test"
            )
        count = torch.arange(val_units, device=units.device)
        spaced = count * (len(units) - 1) // max(val_units - 1, 1)
        chosen = torch.isin(self.groups, units[spaced])
        parts = {"val": whole.subset(chosen), "test": whole.subset(~chosen)}
        return replace(self, splits=parts)

    def with_permuted_test(self, seed: int) -> "Record":
        """The same data set, labels of its test images or its targets shuffled (the leak check)."""
        last = list(self.splits)[-1]  # `test` or `all`
        return replace(self, splits=self.splits | {last: self.splits[last].shuffled(seed)})

    def _split(self, name: str) -> Split:
        if name not in self.splits:
            have = ", ".join(self.splits)
            why = "has labels" if self.classes else "is divided"
            what = f"{why}: take its splits" if name == "all" else "has no labels: take images"
            raise MedbookError(f"{self.name} {what}; its splits are {have}, not {name}")
        return self.splits[name]
