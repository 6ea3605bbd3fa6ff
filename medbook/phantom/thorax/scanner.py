"""From line integrals to the picture on the screen: photons, scatter, blur, noise and display."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.phantom.thorax.views import View


@dataclass(frozen=True)
class Scanner:
    """A machine and its settings; another hospital has other ones.

    Attributes:
        dose: photons on each mm^2 of the detector without a patient.
        blur_mm: standard deviation of the blur.
        scatter: scattered over primary photons.
        noise: standard deviation of the read-out, in photons a mm^2.
        detail: by how much differences from the surroundings are raised for display.
        gain: contrast of the display, 1 to show all between two quantiles of the picture.
        gamma: of the display; above 1 the middle gets darker.

    Raises:
        MedbookError: a negative number, or no dose, gain or gamma.
    """

    dose: float = 1e6
    blur_mm: float = 0.4
    scatter: float = 0.6
    noise: float = 5.0
    detail: float = 2.2
    gain: float = 1.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        least = self.blur_mm, self.scatter, self.noise, self.detail
        if not (
            all(x >= 0 for x in least) and all(x > 0 for x in (self.dose, self.gain, self.gamma))
        ):
            raise MedbookError(f"{self}: give numbers >= 0, and dose, gain and gamma > 0")

    def picture(self, y: Tensor, view: View, generator: torch.Generator) -> Tensor:
        """Measure and display line integrals.

        Args:
            y: (n, 1, H, W) from `Thorax.xray`.
            view: with which they were made.
            generator: on their device.

        Returns:
            (n, 1, H, W) from 0, black, to 1.

        >>> Scanner().picture(torch.rand(1, 1, 8, 8), View(8), torch.Generator()).shape
        torch.Size([1, 1, 8, 8])
        """
        measured = self.measure(y, view, generator)
        wide = smooth(measured, SURROUNDINGS / view.pixel_mm)
        shown = RANGE * wide + (1 + self.detail) * (measured - wide)
        low, high = shown.flatten(1).quantile(torch.tensor(SHOWN).to(shown), dim=1)[..., None, None]
        share = (shown - low[:, None]) / (high - low + 1e-6)[:, None]
        return (0.5 + self.gain * (share - 0.5)).clamp(0, 1) ** self.gamma

    def measure(self, y: Tensor, view: View, generator: torch.Generator) -> Tensor:
        """Line integrals as the detector has them, with scatter, blur and noise: (n, 1, H, W)."""
        area = view.pixel_mm**2
        primary = torch.exp(-y)
        light = primary + self.scatter * smooth(primary, SPREAD / view.pixel_mm)
        light = smooth(light, self.blur_mm / view.pixel_mm) / (1 + self.scatter)
        counts = torch.poisson(self.dose * area * light, generator=generator)
        normal = torch.randn(y.shape, generator=generator, device=y.device, dtype=y.dtype)
        counts = counts + self.noise * math.sqrt(area) * normal
        return -(counts.clamp(min=1) / (self.dose * area)).log()


SPREAD, SURROUNDINGS = 45.0, 25.0  # mm: of scattered light; of what a place is compared with
RANGE = 0.65  # of the slow differences, which the display keeps in part
SHOWN = 0.005, 0.995  # quantiles that become black and white


def smooth(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (n, 1, H, W) by sigma px; the border is repeated outside.

    >>> smooth(torch.ones(1, 1, 2, 2), 2.0).round(decimals=4).flatten()
    tensor([1., 1., 1., 1.])
    """
    if sigma < 0.1:
        return x
    for axis in (2, 3):
        reach = min(math.ceil(3 * sigma), 4 * x.shape[axis])
        t = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
        kernel = torch.exp(-0.5 * (t / sigma) ** 2)
        pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        padded = torch.nn.functional.pad(x, pad, mode="replicate")
        shape = (1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)
        x = torch.nn.functional.conv2d(padded, (kernel / kernel.sum()).view(shape))
    return x
