"""Measured k-space in memory."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class KSpace:
    """Undersampled k-space of one slice and what must be said about it; there is no reference.

    The zero frequency is at ``(H // 2, W // 2)``; the image of a coil is the centred orthonormal
    inverse transform (ifftshift, ifft2, fftshift). ``kind`` tells measured from generated data,
    ``unit`` says what is independent, ``sha256`` is the hash of the file (of a twin: of its
    array).

    Attributes:
        measured: complex64 (1, C, H, W) of C coils, 0 where nothing was measured.
        mask: bool (1, 1, H, W), where every coil was measured.
        calibration: side of the square around the zero frequency where every point was measured.
    """

    name: str
    kind: Literal["real", "twin"]
    measured: Tensor
    mask: Tensor
    calibration: int
    unit: str
    sha256: str
    licence: str
    credit: str
    origin: str

    @property
    def n(self) -> int:
        """Number of slices."""
        return len(self.measured)

    @property
    def acceleration(self) -> float:
        """Points of the grid for each measured one."""
        return self.mask.numel() / int(self.mask.sum())

    def to(self, device: str | torch.device) -> "KSpace":
        """The same data on another device."""
        return replace(self, measured=self.measured.to(device), mask=self.mask.to(device))
