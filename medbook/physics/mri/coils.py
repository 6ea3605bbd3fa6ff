"""Coil sensitivities in use: multiplying by them, combining what the coils saw, estimating them."""

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.mri.fourier import ifft2c
from medbook.physics.mri.grid import block, centred
from medbook.refuse import need, told


class Sensitivities:
    """S: one image to what each of C coils sees of it, and its adjoint.

    >>> S = Sensitivities(torch.full((1, 2, 4, 4), 1j), size=(4, 4))
    >>> S.A(torch.ones(3, 1, 4, 4)).shape, S.AT(torch.ones(3, 2, 4, 4))[0, 0, 0, 0]
    (torch.Size([3, 2, 4, 4]), tensor(0.-2.j))
    """

    def __init__(self, maps: Tensor | None, size: tuple[int, int]) -> None:
        """Keep the maps.

        Args:
            maps: (1 or B, C, H, W) complex; left out, there is one coil that sees everything alike.
            size: (H, W).

        Raises:
            MedbookError: maps of another shape.
        """
        self.maps = (
            torch.ones(1, 1, *size, dtype=torch.complex64, device="cpu") if maps is None else maps
        )
        if self.maps.ndim != 4 or self.maps.shape[-2:] != size:
            raise MedbookError(
                f"maps have shape {tuple(self.maps.shape)}: give (1 or B, C, {size[0]}, {size[1]})"
            )

    def A(self, x: Tensor) -> Tensor:
        """Images (B, 1, H, W) to coil images (B, C, H, W)."""
        expect(x, 1, *self.maps.shape[-2:])
        return self.maps_like(x) * x

    def AT(self, images: Tensor) -> Tensor:
        """Coil images (B, C, H, W) to images (B, 1, H, W)."""
        expect(images, *self.maps.shape[1:])
        return combine(images, self.maps_like(images))

    def maps_like(self, x: Tensor) -> Tensor:
        """The maps on the device and in the precision of x."""
        return self.maps.to(x.device, x.dtype.to_complex())


def combine(images: Tensor, maps: Tensor) -> Tensor:
    """Sum over the coils of conj(S_c) x_c: the best estimate of x if the maps have unit norm.

    Args:
        images: (B, C, H, W) complex.
        maps: (1 or B, C, H, W) complex.

    Returns:
        (B, 1, H, W) complex.

    Raises:
        MedbookError: maps of other coils, or of another size.

    Source: Roemer et al. 1990, doi:10.1002/mrm.1910160203.

    >>> combine(torch.tensor([[[[2j]], [[3 + 0j]]]]), torch.tensor([[[[1j]], [[1 + 0j]]]]))
    tensor([[[[5.+0.j]]]])
    """
    fit = images.ndim == 4 and images.shape[1:] == maps.shape[1:]
    fit = fit and len(maps) in (1, len(images))
    need(fit, f"images {told(images)}, maps {told(maps)}: give (B, C, H, W), (1 or B, C, H, W)")
    return (maps.conj() * images).sum(1, keepdim=True)


def rss(images: Tensor) -> Tensor:
    """Root sum of squares over the coils: (B, C, H, W) to (B, 1, H, W) real.

    >>> rss(torch.tensor([[[[3j]], [[4 + 0j]]]]))
    tensor([[[[5.]]]])
    """
    return torch.linalg.vector_norm(images, dim=1, keepdim=True)


def normalised(maps: Tensor, support: Tensor | None = None) -> Tensor:
    """Maps of unit root sum of squares, zero outside the support and where all coils are blind.

    Args:
        maps: (..., C, H, W) with a batch axis, complex.
        support: (1 or B, 1, H, W) bool; everywhere if left out.

    Returns:
        as `maps`.

    >>> normalised(torch.tensor([[[[3j]], [[4 + 0j]]]])).flatten()
    tensor([0.0000+0.6000j, 0.8000+0.0000j])
    """
    size = rss(maps)
    seen = size > 0 if support is None else (size > 0) & support
    return torch.where(seen, maps / torch.where(seen, size, 1), 0)


def calibrated_maps(kspace: Tensor, centre: int | tuple[int, int]) -> Tensor:
    """Sensitivities from the fully sampled centre of k-space, by low-resolution coil images.

    The centre is apodised by a Tukey window, transformed, and divided by its root sum of squares.
    The phase that the object itself has at this resolution goes into the maps: a combined image
    then has nearly none. Where there is no object the maps are noise of unit norm.

    Args:
        kspace: (B, C, H, W) complex; only its centre is used.
        centre: side of the fully sampled square, in samples, or (height, width); for line masks
            the number of central lines is the best side.

    Returns:
        (B, C, H, W) complex of unit root sum of squares.

    Raises:
        MedbookError: the centre is empty or not within k-space, which is not (B, C, H, W) complex.

    Source: McKenzie et al. 2002, doi:10.1002/mrm.10087.

    >>> calibrated_maps(torch.randn(1, 4, 16, 16, dtype=torch.complex64), centre=6).shape
    torch.Size([1, 4, 16, 16])
    """
    shape, sides = kspace.shape[-2:], (centre, centre) if isinstance(centre, int) else centre
    scan = kspace.ndim == 4 and kspace.is_complex()
    need(scan, f"k-space is {told(kspace)}: give complex (B, C, H, W)")
    need(min(sides) >= 1, f"centre is {centre}: give at least one fully sampled line")
    inside = block((shape[0], shape[1]), *sides).to(kspace.device)
    fy, fx = (_taper(n, side) for n, side in zip(shape, sides, strict=True))
    window = inside * (fy[:, None] * fx).to(kspace.device, kspace.real.dtype)
    return normalised(ifft2c(window * kspace))


def _taper(n: int, side: int) -> Tensor:
    """Tukey window: 1 in the inner half of `side` samples, then a cosine down to 0 outside."""
    f = 2 * centred(n).abs() / (side + 1)
    return 0.5 + 0.5 * torch.cos(torch.pi * (2 * f - 1).clamp(0, 1))


def expect(x: Tensor, *shape: int) -> None:
    """Refuse what is not (B, *shape)."""
    if tuple(x.shape[1:]) != shape or x.ndim == 0:
        raise MedbookError(f"expected a batch (B, {str(shape)[1:-1]}), not {tuple(x.shape)}")
