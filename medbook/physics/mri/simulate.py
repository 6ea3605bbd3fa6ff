"""Scanning an image that is already there: phase, coils, the centre of a finer k-space, noise."""

import math

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.mri.coils import combine, normalised
from medbook.physics.mri.fourier import fft2c, ifft2c
from medbook.physics.mri.grid import Shape
from medbook.physics.mri.loops import coil_maps
from medbook.physics.mri.measure import complex_noise, noise_sigma
from medbook.physics.mri.radial import Radial
from medbook.refuse import need, need_finite, told

HEAD = 0.1  # of the maximum: what is brighter belongs to the head


def smooth_phase(n: int, size: int, generator: torch.Generator) -> Tensor:
    """Phases exp(i phi) with a random quadratic phi of some radian.

    Args:
        n: number of phases.
        size: side, in pixels.
        generator: on the CPU.

    Returns:
        (n, 1, size, size) complex64 of magnitude 1.

    >>> smooth_phase(2, 8, torch.Generator()).abs().std() < 1e-6
    tensor(True)
    """
    need(n >= 1 and size >= 1, f"n {n}, size {size}: give at least one phase of one pixel")
    axis = torch.linspace(-1, 1, size, dtype=torch.float64, device="cpu")
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    basis = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y])
    c = math.pi / 2 * (2 * torch.rand(n, 6, generator=generator, dtype=torch.float64) - 1)
    return torch.exp(1j * torch.einsum("nk,kij->nij", c, basis))[:, None].to(torch.complex64)


def middle(x: Tensor, shape: int | Shape) -> Tensor:
    """The entries around the origin, which is at (H // 2, W // 2) before and after.

    Args:
        x: (..., H, W), an image or a k-space.
        shape: (height, width) to keep, or the side of a square.

    Raises:
        MedbookError: the shape is larger than x.

    >>> middle(torch.arange(5)[None], (1, 2))
    tensor([[1, 2]])
    """
    sides = (shape, shape) if isinstance(shape, int) else shape
    if any(not 1 <= n <= N for n, N in zip(sides, x.shape[-2:], strict=True)):
        raise MedbookError(f"{sides} samples cannot be cut out of {tuple(x.shape[-2:])}")
    top, left = (N // 2 - n // 2 for n, N in zip(sides, x.shape[-2:], strict=True))
    return x[..., top : top + sides[0], left : left + sides[1]]


def scanned(image: Tensor, coils: int, size: int) -> Tensor:
    """Full k-space without noise of a finer image: no inverse crime at `size` pixels.

    The image is seen by `coil_maps(coils)` on its own grid; what a scan of the same field of view
    with fewer samples holds is the centre of that k-space.

    Args:
        image: (B, 1, N, N) complex, N >= size; N a multiple of 2 or more of it is advised.
        coils: number of coils.
        size: of the scan.

    Returns:
        (B, coils, size, size) complex, scaled so that `ifft2c` gives the values of the image.

    >>> scanned(torch.ones(1, 1, 8, 8, dtype=torch.complex64), coils=2, size=4).shape
    torch.Size([1, 2, 4, 4])
    """
    square = image.ndim == 4 and image.shape[1] == 1 and image.shape[-2] == image.shape[-1]
    need(square, f"image is {told(image)}: give (B, 1, N, N)")
    N = image.shape[-1]
    return middle(fft2c(coil_maps(coils, N).to(image) * image), size) * (size / N)


def scanned_spokes(image: Tensor, scan: Radial) -> Tensor:
    """Samples without noise on the spokes of a scan with one coil, of a finer image.

    Args:
        image: (B, 1, N, N) complex, N a multiple of scan.size, of the same field of view.
        scan: its readout must be even.

    Returns:
        (B, 1, spokes, readout) complex, as `scan.A` of the image of scan.size pixels has them.

    Raises:
        MedbookError: N is no multiple of scan.size, or the readout is odd.

    >>> fine = torch.ones(1, 1, 8, 8, dtype=torch.complex64)
    >>> scanned_spokes(fine, Radial(size=4, spokes=3, readout=8)).shape
    torch.Size([1, 1, 3, 8])
    """
    N, n = image.shape[-1], scan.size
    if N % n or scan.readout % 2:
        raise MedbookError(
            f"an image of {N} pixels and a scan of {n} with {scan.readout} samples a spoke: give an"
            " image of a multiple of the scan's size, and an even number of samples"
        )
    finer = Radial(N, scan.spokes, scan.readout * (N // n))
    return middle(finer.A(image), (scan.spokes, scan.readout)) * (n / N)


def unit_maps(coils: int, size: int) -> Tensor:
    """Sensitivities of `coil_maps` of unit root sum of squares: (1, coils, size, size).

    >>> unit_maps(3, 4).abs().square().sum(1).flatten()[:2].round(decimals=4)
    tensor([1., 1.])
    """
    return normalised(coil_maps(coils, size))


def seen_fully(kspace: Tensor) -> Tensor:
    """The reference: what full k-space (B, C, n, n) shows, combined with `unit_maps`."""
    maps = unit_maps(kspace.shape[1], kspace.shape[-1])
    return combine(ifft2c(kspace), maps.to(kspace))


def head_of(x: Tensor) -> Tensor:
    """Where errors count: at least a tenth of each image's maximum, (B, 1, H, W) bool.

    >>> head_of(torch.tensor([[[[0.05, 2j, 0.3]]]]))
    tensor([[[[False,  True,  True]]]])
    """
    need_finite(x=x)
    return x.abs() > HEAD * x.abs().amax((-2, -1), keepdim=True)


def measured(kspace: Tensor, mask: Tensor, snr: float, generator: torch.Generator) -> Tensor:
    """Sampled k-space with noise, each slice with the noise that its own signal asks for.

    Args:
        kspace: (B, C, n, n) complex, full and without noise.
        mask: (1 or B, 1, n, n) bool.
        snr: mean signal within the head over the noise of a real or imaginary part.
        generator: on the device of kspace.

    Returns:
        (B, C, n, n), 0 where nothing was sampled.

    Raises:
        MedbookError: a mask that is not bool or of another size, or snr <= 0.
    """
    need(
        mask.dtype == torch.bool and mask.shape[-2:] == kspace.shape[-2:],
        f"mask is {told(mask)}, k-space {told(kspace)}: give bool, (1 or B, 1, n, n)",
    )
    x = seen_fully(kspace)
    noisy = [
        complex_noise(k, noise_sigma(a, snr, head_of(a)), generator)
        for k, a in zip(kspace, x, strict=True)
    ]
    return torch.where(mask.to(kspace.device), torch.stack(noisy), 0)
