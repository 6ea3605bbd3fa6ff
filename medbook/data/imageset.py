"""Images without labels in memory."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageSet:
    """Images and what must be said about them; ``kind`` tells real images from generated ones.

    ``unit`` says what is independent, ``sha256`` is the hash of the file (of a twin: of its
    arrays). Whatever is compared with the truth is compared with ``targets``, whatever is measured
    or distorted starts from ``images``: the leak check shuffles the targets.

    Attributes:
        images: float32 (N, C, H, W) in ``value_unit``.
        targets: the same tensor, or a shuffled copy of it.
        value_range: the least and the largest value that the format can hold.
        pixel_mm: side of a pixel, None if not stated.
        groups: int64 (N,), the independent unit that each image belongs to.
        masks: bool (N, 1, H, W) of the lungs, empty where an image has none; None if none has.
    """

    name: str
    kind: Literal["real", "twin", "phantom"]
    images: Tensor
    targets: Tensor
    value_unit: str
    value_range: tuple[float, float]
    pixel_mm: float | None
    groups: Tensor
    masks: Tensor | None
    unit: str
    sha256: str
    licence: str
    credit: str
    origin: str

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.images)

    @property
    def has_mask(self) -> Tensor:
        """Which images have a mask, bool (N,)."""
        if self.masks is None:
            return torch.zeros(self.n, dtype=torch.bool, device=self.images.device)
        return self.masks.flatten(1).any(1)

    def to(self, device: str | torch.device) -> "ImageSet":
        """The same set on another device."""
        images = self.images.to(device)
        targets = images if self.targets is self.images else self.targets.to(device)
        masks = None if self.masks is None else self.masks.to(device)
        groups = self.groups.to(device)
        return replace(self, images=images, targets=targets, groups=groups, masks=masks)

    def with_permuted_targets(self, seed: int) -> "ImageSet":
        """The same set with its targets shuffled among themselves (the leak check)."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(self.n, generator=generator).to(self.images.device)
        return replace(self, targets=self.images[order])
