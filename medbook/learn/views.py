"""Views of images: random ones (augmentation), and the eight orientations."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from medbook.learn.training import Augment
from medbook.refuse import need, told

ORIENTATIONS = 8  # four turns, each as it is or mirrored


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
    need(0 <= strength <= 1, f"strength is {strength}: give 0 (no change) to 1")

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


def turned(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """All orientations of square images, each a class of its own.

    Args:
        images: (N, C, H, H).
        labels: (N,) integers.

    Returns:
        images (8 N, C, H, H), all of one orientation before the next, and their classes
        8 * label + orientation: 0 to 3 are turns by so many right angles, counter-clockwise, 4 to 7
        the same mirrored left to right.

    >>> turned(torch.zeros(2, 1, 3, 3), torch.tensor([0, 5]))[1].tolist()[-2:]
    [7, 47]
    """
    need(
        images.ndim == 4 and images.shape[2] == images.shape[3],
        f"images are {told(images)}: give square ones, (N, C, H, H)",
    )
    need(
        labels.shape == images.shape[:1] and not labels.is_floating_point(),
        f"labels are {told(labels)}: give {len(images)} whole numbers, (N,)",
    )
    views = [torch.rot90(images, k, (2, 3)) for k in range(4)]
    views += [view.flip(3) for view in views]
    classes = [ORIENTATIONS * labels + k for k in range(ORIENTATIONS)]
    return torch.cat(views).contiguous(), torch.cat(classes)
