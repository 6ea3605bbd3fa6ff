"""FSIM: phase congruency and gradients of grey images.

Source: Zhang et al. 2011, "FSIM: a feature similarity index for image quality assessment"; phase
congruency of Kovesi 1999, "Image features from phase congruency", with its estimate of noise.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from medbook.evaluate.similarity import EIGHT_BITS, floats, range_of
from medbook.refuse import need, told

CHANNELS = 4  # directions, and wavelengths
SHORTEST = 6  # wavelength in pixels; each further one is twice as long
SIDE = 256  # pixels: larger images are averaged down to about this


def log_gabor(x: Tensor) -> Tensor:
    """Filters for images (..., H, W): (4 directions, 4 wavelengths, H, W)."""
    fy, fx = (torch.fft.fftfreq(n, device=x.device, dtype=x.dtype) for n in x.shape[-2:])
    radius = torch.hypot(fy[:, None], fx)
    radius[0, 0] = 1.0  # any number: the mean of the image is left out below
    k = torch.arange(CHANNELS, device=x.device, dtype=x.dtype)[:, None, None]
    octaves = torch.log(radius * SHORTEST * 2**k) / math.log(0.55)
    radial = torch.exp(-0.5 * octaves**2) / (1 + (radius / 0.45) ** 30)  # not the corners
    radial[:, 0, 0] = 0.0
    angle = torch.atan2(-fy[:, None], fx) - k * math.pi / CHANNELS
    angle = torch.atan2(angle.sin(), angle.cos())  # in (-pi, pi]
    return torch.exp(-0.5 * (angle / (math.pi / 4.8)) ** 2)[:, None] * radial


def phase_congruency(x: Tensor) -> Tensor:
    """How far waves of all lengths rise together at each pixel of (N, 1, H, W), 0 to 1: (N, H, W).

    With e the complex responses, u the direction of their sum over wavelengths, E the part of the
    sum along u less what is across it, and T what is expected of noise: sum over directions of
    max(E - T, 0), divided by the sum of all |e|.
    """
    filters = log_gabor(x)
    e = torch.fft.ifft2(torch.fft.fft2(x)[:, :, None] * filters)  # (N, O, S, H, W)
    along = e * torch.sgn(e.sum(2, keepdim=True)).conj()
    energy = (along.real - along.imag.abs()).sum(2)
    kept = (energy - _noise(e, filters)[:, :, None, None]).clamp(min=0).sum(1)
    return kept / e.abs().sum((1, 2)).clamp(min=torch.finfo(x.dtype).tiny)


def _noise(e: Tensor, filters: Tensor) -> Tensor:
    """The energy that noise reaches, for each image and direction: (N, O)."""
    # most responses of the smallest filters are noise: their median gives its power
    smallest = e[:, :, 0].abs().square().flatten(2).median(-1).values / math.log(2)
    power = smallest / filters[:, 0].square().sum((1, 2))
    even = (filters + filters.flip(-1, -2).roll((1, 1), (-1, -2))) / 2
    tau = (power * even.sum(1).square().sum((1, 2))).sqrt()  # Rayleigh law of the sum
    return tau * (math.sqrt(math.pi / 2) + 2 * math.sqrt(2 - math.pi / 2)) / 1.7


def fsim(x: Tensor, y: Tensor, data_range: float | None = None) -> Tensor:
    """FSIM of each pair of grey images (N, 1, H, W): (N,).

    The mean over pixels of S(P; 0.85) S(G; 160), S(a, b; T) = (2ab + T) / (a^2 + b^2 + T), weighted
    by the larger phase congruency P; G is the length of the gradient. Its constants are for a range
    of 255, to which images of another range are scaled.

    Raises:
        MedbookError: images that cannot be compared or are not grey; floats without a range.
    """
    data_range = range_of(x, y, data_range)
    x, y = floats(x, y)
    need(x.shape[1] == 1, f"images are {told(x)}: FSIM is of grey ones")
    k = max(1, round(min(x.shape[-2:]) / SIDE))  # the paper's viewing distance
    pair = [F.avg_pool2d(image * (EIGHT_BITS / data_range), k) for image in (x, y)]
    g, h = map(_gradient, pair)
    p, q = map(phase_congruency, pair)
    same = _alike(p, q, 0.85) * _alike(g, h, 160.0)
    weight = torch.maximum(p, q)
    return (same * weight).sum((1, 2)) / weight.sum((1, 2))


def _gradient(x: Tensor) -> Tensor:
    """Length of the gradient by Scharr's operator: (N, H, W)."""
    scharr = x.new_tensor([[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]]) / 16
    return F.conv2d(x, torch.stack([scharr, scharr.T])[:, None], padding=1).norm(dim=1)


def _alike(a: Tensor, b: Tensor, constant: float) -> Tensor:
    return (2 * a * b + constant) / (a**2 + b**2 + constant)
