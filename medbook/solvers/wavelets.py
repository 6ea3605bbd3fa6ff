"""Orthogonal wavelets of an image: what is sparse in a picture of smooth parts and edges."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from medbook.errors import MedbookError

# Low-pass filters h. db4 has four vanishing moments: Daubechies 1992, Ten Lectures on Wavelets,
# table 6.1 with N = 4, in the order and with the digits of PyWavelets' `dec_lo`.
FILTERS = {
    "haar": (0.5**0.5, 0.5**0.5),
    "db4": (
        -0.010597401785069032, 0.0328830116668852, 0.030841381835560764, -0.18703481171909309,
        -0.027983769416859854, 0.6308807679298589, 0.7148465705529157, 0.2303778133088965,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Wavelets:
    """The periodised discrete wavelet transform W of images, an orthogonal linear operator.

    `A` is W and `AT` is its adjoint, which is its inverse. The coefficients keep the shape of the
    image: the coarsest approximation stands in the top left corner, and the details of each level
    to the right of, below, and diagonally below what is coarser.

    Attributes:
        name: "haar", or "db4": Daubechies' of four vanishing moments, 8 taps.
        levels: how often the approximation is halved, >= 0; both sides of an image must be
            divisible by 2^levels.

    Raises:
        MedbookError: an unknown name, or negative levels.

    Source: Mallat 1989, "A theory for multiresolution signal decomposition"; Daubechies 1992,
    Ten Lectures on Wavelets, section 5.6. Aligned like PyWavelets, mode "periodization".

    >>> Wavelets("haar", levels=1).A(torch.tensor([[[[4.0, 2.0], [4.0, 2.0]]]])).round(decimals=4)
    tensor([[[[6., 2.],
              [0., 0.]]]])
    """

    name: str = "db4"
    levels: int = 3

    def __post_init__(self) -> None:
        if self.name not in FILTERS or self.levels < 0:
            raise MedbookError(
                f"Wavelets({self.name!r}, levels={self.levels}): give one of {sorted(FILTERS)}, "
                "and levels >= 0"
            )

    def A(self, x: Tensor) -> Tensor:
        """Analysis: images x (B, C, H, W), real or complex, to coefficients of the same shape."""
        return self._each_level(x, inverse=False)

    def AT(self, c: Tensor) -> Tensor:
        """Synthesis: coefficients c (B, C, H, W) to the images that have them."""
        return self._each_level(c, inverse=True)

    def coarsest(self, c: Tensor) -> Tensor:
        """The approximation band of coefficients c, as a view: (B, C, H / 2^levels, W / 2^levels).

        >>> Wavelets("haar", levels=2).coarsest(torch.zeros(1, 1, 8, 16)).shape
        torch.Size([1, 1, 2, 4])
        """
        return c[..., : c.shape[-2] >> self.levels, : c.shape[-1] >> self.levels]

    def _each_level(self, x: Tensor, *, inverse: bool) -> Tensor:
        """On the part of the image that is left at each level: c = W_h x W_w^T, or its inverse."""
        self._check(x)
        if x.is_complex():
            parts = (self._each_level(part, inverse=inverse) for part in (x.real, x.imag))
            return torch.complex(*parts)
        x = x.clone()
        for level in reversed(range(self.levels)) if inverse else range(self.levels):
            h, w = x.shape[-2] >> level, x.shape[-1] >> level
            rows, columns = (_matrix(self.name, n).to(x) for n in (h, w))
            if inverse:
                rows, columns = rows.T, columns.T
            x[..., :h, :w] = rows @ x[..., :h, :w] @ columns.T
        return x

    def _check(self, x: Tensor) -> None:
        kind = x.is_floating_point() or x.is_complex()
        if not kind or x.ndim != 4 or any(side % 2**self.levels for side in x.shape[2:]):
            raise MedbookError(
                f"{x.dtype} of shape {tuple(x.shape)}: give real or complex (B, C, H, W) with H and"
                f" W divisible by 2^levels = {2**self.levels}; else pad it or take fewer levels"
            )


@lru_cache(maxsize=32)
def _matrix(name: str, n: int) -> Tensor:
    """One level for n samples, an orthogonal (n, n) matrix: low-pass rows over high-pass rows.

    Row k takes h_j of sample 2k + J/2 - j, modulo n, for j = 0 to J - 1; the high-pass filter is
    g_j = (-1)^(j + 1) h_(J - 1 - j).
    """
    h = torch.tensor(FILTERS[name], dtype=torch.float64, device="cpu")
    taps = torch.arange(len(h), device="cpu")
    g = (-1.0) ** (taps + 1) * h.flip(0)
    k = torch.arange(n // 2, device="cpu")[:, None]
    sample = (2 * k + len(h) // 2 - taps) % n
    matrix = torch.zeros(2, n // 2, n, dtype=torch.float64, device="cpu")
    for band, taps in zip(matrix, (h, g), strict=True):
        band.scatter_add_(1, sample, taps.expand(n // 2, -1))
    return matrix.reshape(n, n)
