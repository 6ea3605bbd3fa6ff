"""Physical units and noise of CT measurements."""

import math

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.refuse import need, need_finite, told

MU_WATER = 0.0192  # 1/mm, at the effective energy of a usual chest CT (about 70 keV)


def mu_from_hu(hu: Tensor) -> Tensor:
    """Attenuation in 1/mm from Hounsfield units; air (-1000 HU) is 0.

    >>> mu_from_hu(torch.tensor([-1000.0, 0.0]))
    tensor([0.0000, 0.0192])
    """
    return MU_WATER * (1 + hu / 1000)


def hu_from_mu(mu: Tensor) -> Tensor:
    """Hounsfield units from attenuation in 1/mm.

    >>> hu_from_mu(torch.tensor([0.0, 0.0192]))
    tensor([-1000.,     0.])
    """
    return 1000 * (mu / MU_WATER - 1)


def hu_window(hu: Tensor, centre: float, width: float) -> Tensor:
    """What a display window shows: 0 (black) at and below its lower end, 1 at the upper.

    >>> hu_window(torch.tensor([-250.0, 40.0, 900.0]), centre=40, width=400)
    tensor([0.0000, 0.5000, 1.0000])
    """
    sound = math.isfinite(centre) and 0 < width < math.inf
    need(sound, f"centre {centre}, width {width}: give finite HU, width > 0")
    return ((hu - centre) / width + 0.5).clamp(0, 1)


def photon_noise(
    y: Tensor, photons: float, generator: torch.Generator, electronic: float = 0.0
) -> Tensor:
    """Line integrals as a detector would measure them that counts photons.

    Counts are N ~ Poisson(I0 exp(-y)) + Normal(0, s^2), what is returned is -log(N / I0). A ray
    with less than one count is read as one count: the largest value is log(I0).

    Args:
        y: (...) line integrals without noise, dimensionless.
        photons: I0, photons on a bin without object; the dose is proportional to it.
        generator: on the device of y.
        electronic: standard deviation s of the read-out noise, in counts.

    Returns:
        (...) of the dtype of y.

    Raises:
        MedbookError: photons, electronic or y is out of range.

    >>> photon_noise(torch.zeros(2), 1e12, torch.Generator().manual_seed(0)).abs().max() < 1e-4
    tensor(True)
    """
    if not (0 < photons < math.inf and 0 <= electronic < math.inf):
        raise MedbookError(f"photons is {photons}, electronic {electronic}: give > 0 and >= 0")
    need_finite(y=y)
    counts = torch.poisson(photons * torch.exp(-y.double()), generator=generator)
    if electronic:
        normal = torch.randn(y.shape, generator=generator, device=y.device, dtype=torch.float64)
        counts = counts + electronic * normal
    return -torch.log(counts.clamp(min=1) / photons).to(y.dtype)


def relative_noise(y: Tensor, level: float, generator: torch.Generator) -> Tensor:
    """Add white Gaussian noise e of the norm |e| = level |y|, item by item of a batch.

    Args:
        y: (B, ...) line integrals.
        level: e.g. 0.01.
        generator: on the device of y.

    Raises:
        MedbookError: a negative level, no batch, or a y that is not finite.

    >>> noisy = relative_noise(torch.ones(1, 100), 0.1, torch.Generator().manual_seed(0))
    >>> round((noisy - 1).norm().item(), 5)
    1.0
    """
    need(0 <= level < math.inf, f"level is {level}: give a finite number >= 0, such as 0.01")
    need(y.ndim >= 2, f"y is {told(y)}: give a batch (B, ...), each item has its own noise")
    need_finite(y=y)
    e = torch.randn(y.shape, generator=generator, device=y.device, dtype=y.dtype)
    dims = tuple(range(1, y.ndim))
    size = torch.linalg.vector_norm(y, dim=dims, keepdim=True)
    return y + level * e * size / torch.linalg.vector_norm(e, dim=dims, keepdim=True)
