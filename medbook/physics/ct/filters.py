"""Filters of filtered backprojection."""

import math

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.refuse import need

FILTERS = ("ram-lak", "shepp-logan", "hann")


def ramp(bins: int, spacing: float, equiangular: bool = False) -> Tensor:
    """Frequency response |f| of the ramp filter, band-limited by the spacing of the samples.

    It is the transform of the sampled impulse response, so that its value at frequency 0 is the
    small one that a finite detector needs; a response sampled from |f| itself shifts all values.
    Source: Kak and Slaney 1988, eq. 61; for equal angles eq. 137.

    Args:
        bins: samples of a projection; the filter is padded to the next power of two above 2 * bins.
        spacing: between two samples, in mm (for `equiangular` in rad).
        equiangular: the samples are fan angles.

    Returns:
        (padded // 2 + 1,) float64, real, in 1/mm (1/rad).

    >>> ramp(4, 1.0)[-1].item()
    0.475...
    """
    sound = bins >= 1 and 0 < spacing < math.inf
    need(sound, f"bins {bins}, spacing {spacing}: give at least 1 bin and a finite spacing > 0")
    padded = 2 ** math.ceil(math.log2(2 * bins))
    n = torch.fft.fftfreq(padded, 1 / padded, dtype=torch.float64)  # 0, 1, ..., -2, -1
    odd = n.abs() % 2 == 1
    h = torch.where(odd, -1 / (math.pi * n * spacing) ** 2, 0.0)
    h[0] = 1 / (4 * spacing**2)
    if equiangular:
        angle = n * spacing
        # beyond the detector's width the kernel is not used, and sin might be 0 there
        used = (n != 0) & (n.abs() < bins)
        h = torch.where(used, h * (angle / angle.sin()) ** 2, torch.where(n == 0, h, 0.0))
    return spacing * torch.fft.rfft(h).real


def window(name: str, length: int) -> Tensor:
    """Factor by which a filter damps the ramp, from frequency 0 to the highest one.

    Args:
        name: "ram-lak" (no damping), "shepp-logan" (sinc) or "hann".
        length: number of frequencies.

    Returns:
        (length,) float64 in [0, 1].

    Raises:
        MedbookError: unknown name, or no frequency.

    >>> window("hann", 3)
    tensor([1.0000, 0.5000, 0.0000], dtype=torch.float64)
    """
    need(length >= 1, f"length is {length}: give at least 1 frequency")
    f = torch.linspace(0, 0.5, length, dtype=torch.float64, device="cpu")  # cycles a sample
    if name == "ram-lak":
        return torch.ones_like(f)
    if name == "shepp-logan":
        return torch.sinc(f)
    if name == "hann":
        return 0.5 + 0.5 * torch.cos(2 * math.pi * f)
    raise MedbookError(f"unknown filter {name!r}: choose one of {', '.join(FILTERS)}")


def filter_rows(rows: Tensor, response: Tensor) -> Tensor:
    """Convolve the last axis with a filter given by its frequency response.

    Args:
        rows: (..., bins) real.
        response: (n // 2 + 1,) with n >= 2 * bins.

    Returns:
        (..., bins).

    >>> filter_rows(torch.ones(2, 4), torch.ones(5))
    tensor([[1., 1., 1., 1.],
            [1., 1., 1., 1.]])
    """
    padded, bins = 2 * (len(response) - 1), rows.shape[-1]
    need(
        0 < 2 * bins <= padded,
        f"rows of {bins} bins and a response of {len(response)} frequencies: it needs more than "
        f"{bins}, and rows at least one bin, so that no end of a row meets the other",
    )
    spectrum = torch.fft.rfft(rows, padded) * response.to(rows)
    return torch.fft.irfft(spectrum, padded)[..., :bins]
