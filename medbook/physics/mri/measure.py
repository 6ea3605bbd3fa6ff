"""Noise of MRI data, and the error of a complex image."""

import math

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.refuse import need, need_finite


def complex_noise(kspace: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Add white Gaussian noise whose real and imaginary part each have standard deviation sigma.

    The Fourier transform is orthonormal: the noise in a coil's image has the same sigma, and so has
    the noise in an image combined with maps of unit norm from full data. Samples that are not taken
    get noise too: multiply by the mask afterwards.

    Args:
        kspace: (...) complex.
        sigma: >= 0, in the unit of the data; `noise_sigma` gives it for a signal-to-noise ratio.
        generator: on the device of kspace.

    Returns:
        as `kspace`.

    Raises:
        MedbookError: negative sigma, or real data.

    Source: Gudbjartsson and Patz 1995, doi:10.1002/mrm.1910340618.

    >>> y = complex_noise(torch.zeros(10_000, dtype=torch.complex64), 0.5, torch.Generator())
    >>> round(y.real.std().item(), 1), round(y.imag.std().item(), 1)
    (0.5, 0.5)
    """
    if not 0 <= sigma < math.inf or not kspace.is_complex():
        raise MedbookError(f"sigma is {sigma}, the data {kspace.dtype}: give >= 0 and complex data")
    parts = torch.randn(
        (*kspace.shape, 2), generator=generator, device=kspace.device, dtype=kspace.real.dtype
    )
    return kspace + sigma * torch.view_as_complex(parts)


def noise_sigma(image: Tensor, snr: float, support: Tensor | None = None) -> float:
    """Sigma of `complex_noise` for a signal-to-noise ratio: mean |x| over the support is snr sigma.

    Args:
        image: (...) without noise.
        snr: > 0; about 30 for a usual clinical brain scan.
        support: bool, broadcast over image; everywhere if left out.

    Raises:
        MedbookError: snr is not positive, the support is empty, or the image is not finite.

    >>> noise_sigma(torch.tensor([0.0, 6j]), snr=30, support=torch.tensor([False, True]))
    0.2...
    """
    if not snr > 0:
        raise MedbookError(f"snr is {snr}: give a number > 0, inf for no noise")
    need_finite(image=image)
    size = image.abs()
    inside = size if support is None else size[support.expand_as(size)]
    need(inside.numel() > 0, "the support is empty: there is no signal to compare noise with")
    return float(inside.mean()) / snr


def nrmse(x: Tensor, truth: Tensor, support: Tensor | None = None) -> Tensor:
    """Normalised error |x - truth| / |truth| of complex images: errors of phase count.

    Args:
        x: (B, ...) complex or real.
        truth: (B, ...), nonzero within the support.
        support: (1 or B, ...) bool, what is counted; everything if left out.

    Returns:
        (B,) real, 0 for equal images; times 100 it is in percent.

    Raises:
        MedbookError: the shapes differ, a value within the support is not finite, or the truth
            is zero.

    >>> nrmse(torch.tensor([[1j, 9.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[True, False]]))
    tensor([1.4142])
    """
    if x.shape != truth.shape:
        raise MedbookError(f"images of shapes {tuple(x.shape)} and {tuple(truth.shape)} differ")
    inside = torch.ones_like(truth, dtype=torch.bool) if support is None else support
    error, size = (torch.where(inside, t, 0).flatten(1) for t in (x - truth, truth))
    need_finite(error=error, truth=size)
    norm = torch.linalg.vector_norm(size, dim=1)
    if (norm == 0).any():
        raise MedbookError("the true image is zero: an error relative to it is not defined")
    return torch.linalg.vector_norm(error, dim=1) / norm
