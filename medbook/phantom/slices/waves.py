"""Short sums of plane waves: factors that keep a closed Fourier transform closed.

A plane wave exp(2 pi i f.r) only shifts a Fourier transform by f. So the product of shapes with
smooth or fine patterns made of few waves is as exact as the shapes are.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from medbook.errors import MedbookError


@dataclass(frozen=True, eq=False)
class PlaneWaves:
    """B functions w(r) = sum_l c_l exp(2 pi i f_l.r) of r = (x to the right, y down) in fields.

    Attributes:
        coefficients: c, (B, L) complex.
        frequencies: f, (L, 2) or (B, L, 2), in cycles per field of view, multiples of 1/2.

    Raises:
        MedbookError: other shapes, or frequencies between these.

    >>> fringes = PlaneWaves(torch.ones(1, 2).cdouble() / 2, torch.tensor([[1.0, 0.0], [-1, 0]]))
    >>> fringes.values(x=torch.tensor([0.0, 0.25, 0.5]), y=torch.zeros(1)).real.round()
    tensor([[[ 1.,  0., -1.]]], dtype=torch.float64)
    """

    coefficients: Tensor
    frequencies: Tensor

    def __post_init__(self) -> None:
        c, f = self.coefficients, self.frequencies
        if c.ndim != 2 or not c.is_complex() or f.shape not in ((*c.shape[1:], 2), (*c.shape, 2)):
            raise MedbookError(
                f"coefficients {c.dtype} {tuple(c.shape)}, frequencies {tuple(f.shape)}: give "
                "complex (B, L), and (L, 2) or (B, L, 2)"
            )
        if not torch.equal(2 * f, (2 * f).round()):
            raise MedbookError("frequencies must be multiples of half a cycle per field of view")

    @classmethod
    def constant(cls, n: int, device: torch.device | str = "cpu") -> Self:
        """The function 1, n times."""
        one = torch.ones(n, 1, dtype=torch.complex128, device=device)
        return cls(one, torch.zeros(1, 2, dtype=torch.float64, device=device))

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        """Evaluate w at columns x (W,) and rows y (H,), in fields of view: (B, H, W) complex128."""
        f = self.frequencies.double()
        along_x = torch.exp(2j * math.pi * f[..., :1] * x.to(f))  # (L, W) or (B, L, W)
        along_y = torch.exp(2j * math.pi * f[..., 1:] * y.to(f))
        weighted = self.coefficients.to(torch.complex128)[..., None] * along_x
        return along_y.mT @ weighted

    @property
    def reach(self) -> int:
        """Largest frequency along an axis, in halves of a cycle per field."""
        return int((2 * self.frequencies).abs().max())

    def to(self, *where: Any) -> Self:
        """Move to another device."""
        return self._map(lambda tensor: tensor.to(*where))

    def __mul__(self, other: "PlaneWaves") -> Self:
        """The product with one function, or of one with B: waves of all sums of frequencies."""
        (f, g), (c, d) = zip(
            *((w.frequencies.reshape(-1, 2), w.coefficients) for w in (self, other)), strict=True
        )
        sums, index = (f[:, None] + g).flatten(0, 1).unique(dim=0, return_inverse=True)
        products = (c[:, :, None] * d[:, None]).flatten(1)
        return type(self)(
            products.new_zeros(len(products), len(sums)).index_add_(1, index, products), sums
        )

    def __getitem__(self, index: slice | Tensor) -> Self:
        own = self.frequencies.ndim == 3
        frequencies = self.frequencies[index] if own else self.frequencies
        return type(self)(self.coefficients[index], frequencies)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(function(self.coefficients), function(self.frequencies))


def multiplied(spectrum: Tensor, waves: PlaneWaves) -> Tensor:
    """Fourier transform of w times an object, from that of the object, on the half lattice.

    The transform is sum_l c_l F(k - f_l): a convolution. It is done by FFT, cyclically, and what
    that wraps around is cut off: the rest is exact.

    Args:
        spectrum: (B, S, S) F at equally spaced frequencies, half a cycle per field apart.
        waves: B of them, or 1 for all; or one spectrum for all waves.

    Returns:
        (B, T, T) complex128 with T = S - 2 reach: the centre of the same lattice.

    Raises:
        MedbookError: the lattice is too small to have a centre.

    >>> row = torch.zeros(1, 5, 5).cdouble()
    >>> row[0, 2, 1] = 1  # one frequency, at 1/2 left of the centre
    >>> right = PlaneWaves(torch.ones(1, 1).cdouble(), torch.tensor([[0.5, 0.0]]))
    >>> multiplied(row, right)[0].real.round().abs()
    tensor([[0., 0., 0.],
            [0., 1., 0.],
            [0., 0., 0.]], dtype=torch.float64)
    """
    side, margin = spectrum.shape[-1], waves.reach
    if side <= 2 * margin:
        raise MedbookError(f"a lattice of side {side} is too small: more than {2 * margin} needed")
    fast = next_fast_len(side)
    r = 2 * torch.arange(fast, dtype=torch.float64, device=spectrum.device) / fast
    found = torch.fft.fft2(torch.fft.ifft2(spectrum, s=(fast, fast)) * waves.values(r, r))
    return found[..., margin : side - margin, margin : side - margin]
