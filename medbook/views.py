"""Random views of images: what contrastive pretraining calls augmentation."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from medbook.training import Augment


def random_view(strength: float = 1.0, flips: bool = True) -> Augment:
    """Crop, turn, shift, scale, mirror, brightness, contrast and blur, each image its own.

    At strength 1: a crop of 60 to 100 % of the area, a turn by up to 20 degrees, a shift by up to
    10 % of the side, scale 0.95 to 1.05, brightness and contrast 0.6 to 1.4, some blur; each
    shrinks with the strength. Source: Zhang et al. 2022 (ConVIRT); their ranges are unverified.

    Args:
        strength: 0 to 1.
        flips: mirror half of the images.

    >>> random_view()(torch.rand(2, 1, 8, 8), torch.Generator()).shape
    torch.Size([2, 1, 8, 8])
    """

    def view(x: Tensor, generator: torch.Generator) -> Tensor:
        def u(low: float, high: float) -> Tensor:
            shape = len(x), 1, 1
            return low + (high - low) * torch.rand(shape, generator=generator, device=x.device)

        r = strength
        side = u(1 - 0.4 * r, 1).sqrt()  # of the crop
        angle, scale = r * u(-20, 20) * math.pi / 180, side * (1 + r * u(-0.05, 0.05))
        mirror = torch.where(u(0, 1) < 0.5 * flips, -1.0, 1.0)
        dx, dy = (u(-1, 1) * (1 - side) + r * u(-0.2, 0.2) for _ in range(2))  # of half a side
        first = torch.cat([scale * angle.cos() * mirror, -scale * angle.sin(), dx], 2)
        second = torch.cat([scale * angle.sin() * mirror, scale * angle.cos(), dy], 2)
        grid = F.affine_grid(torch.cat([first, second], 1), list(x.shape), align_corners=False)
        x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
        mean = x.mean((1, 2, 3), keepdim=True)
        light, contrast = (1 + r * u(-0.4, 0.4)[..., None] for _ in range(2))
        x = mean * light + (x - mean) * contrast
        blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        return x + 0.7 * r * u(0, 1)[..., None] * (blurred - x)

    return view
