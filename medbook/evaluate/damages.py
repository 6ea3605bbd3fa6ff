"""Changes of 8-bit images with a severity that is known: what a measure of similarity should order.

Images are float (N, 1, H, W) in [0, 255]; severities t are (N,), above 0, and 1 is severe.
"""

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Generator, Tensor
from torch.nn import functional as F

from medbook.evaluate.similarity import EIGHT_BITS
from medbook.refuse import need

SIGMA = 20.0  # grey levels of noise at severity 1
WIDTH = 3.0  # pixels of blur at severity 1
QUALITY = 100, 90  # of JPEG: the first at severity 0, less the second at severity 1


def damage(kind: str, x: Tensor, t: Tensor, generator: Generator) -> Tensor:
    """8-bit copies of x, damaged with severities t.

    Args:
        kind: one of ``DAMAGES``.
        x: (N, 1, H, W) in [0, 255].
        t: (N,), > 0.
        generator: of the noise.

    >>> x, t = torch.full((1, 1, 8, 8), 100.0), torch.tensor([0.5])
    >>> damage("display curve", x, t, Generator())[0, 0, 0, 0]
    tensor(126.)
    """
    need(kind in DAMAGES, f"no damage {kind!r}: choose one of {', '.join(DAMAGES)}")
    need((t > 0).all(), f"severities range from {t.min()}: give numbers > 0")
    return eight_bit(DAMAGES[kind](x, t[:, None, None, None], generator))


def eight_bit(x: Tensor) -> Tensor:
    """What is left after an image was stored with 8 bits.

    >>> eight_bit(torch.tensor([-3.0, 7.6, 300.0]))
    tensor([  0.,   8., 255.])
    """
    return x.round().clamp(0, EIGHT_BITS)


def gauss(x: Tensor, generator: Generator) -> Tensor:
    """Standard normal numbers in the shape of x."""
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def add_noise(x: Tensor, t: Tensor, generator: Generator) -> Tensor:
    """White noise of standard deviation 20 t grey levels; t (N, 1, 1, 1), as below."""
    return x + SIGMA * t * gauss(x, generator)


def blur(x: Tensor, t: Tensor, generator: Generator | None = None) -> Tensor:
    """A Gaussian of standard deviation 3 t pixels; draws nothing."""
    return _each(gaussian_filter, x, WIDTH * t)


def compress(x: Tensor, t: Tensor, generator: Generator | None = None) -> Tensor:
    """JPEG of quality 100 - 90 t; draws nothing."""
    best, loss = QUALITY
    return _each(_jpeg, x, best - loss * t)


def recurve(x: Tensor, t: Tensor, generator: Generator | None = None) -> Tensor:
    """A display curve with gamma 1 - t / 2; draws nothing."""
    return EIGHT_BITS * (x / EIGHT_BITS) ** (1 - t / 2)


DAMAGES = {"noise": add_noise, "blur": blur, "JPEG": compress, "display curve": recurve}


def moved(x: Tensor, pixels: float, generator: Generator) -> Tensor:
    """Each image moved by so many pixels along both axes, in one of four directions.

    Between pixels it is interpolated linearly; at a border its edge goes on.
    """
    size = (len(x), 2)
    sign = torch.randint(0, 2, size, generator=generator, device=x.device) * 2 - 1
    move = torch.eye(2, 3, device=x.device).repeat(len(x), 1, 1)
    # columns come first, and an image is 2 wide
    move[:, :, 2] = 2 * pixels * sign / move.new_tensor(x.shape[-2:]).flip(0)
    grid = F.affine_grid(move, list(x.shape), align_corners=False).to(x.dtype)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def spot(x: Tensor, centre: Tensor, fwhm: Tensor) -> Tensor:
    """Gaussian spots of height 1, one for each image: as x.

    Args:
        x: (N, 1, H, W), for its size.
        centre: (N, 2), row and column in pixels.
        fwhm: (N,) full width at half maximum in pixels.
    """
    rows, columns = (torch.arange(n, device=x.device).to(x.dtype) for n in x.shape[-2:])
    dy, dx = rows - centre[:, :1], columns - centre[:, 1:]  # (N, H), (N, W)
    square = dy[:, :, None] ** 2 + dx[:, None, :] ** 2
    return torch.exp(-4 * math.log(2) * square / fwhm[:, None, None] ** 2)[:, None]


def _each(function: Callable, x: Tensor, numbers: Tensor) -> Tensor:
    """`function(image, number)` of each image as an array (H, W): (N, 1, H, W)."""
    pairs = zip(x[:, 0].cpu().numpy(), numbers.flatten().tolist(), strict=True)
    found = np.stack([function(*pair) for pair in pairs])
    return torch.from_numpy(found)[:, None].to(x)


def _jpeg(image: NDArray[np.float32], quality: float) -> NDArray[np.uint8]:
    """A grey 8-bit image (H, W) after JPEG compression."""
    file = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(file, "JPEG", quality=round(quality))
    return np.asarray(Image.open(file))
