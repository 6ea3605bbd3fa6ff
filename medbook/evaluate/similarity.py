"""Full-reference measures of image similarity: PSNR and SSIM, at a stated data range.

Batches are (N, C, H, W). The data range is the largest minus the smallest value that the format can
hold: 255 for 8 bits, 4095 for 12. Only of uint8 images is it known; floats need it.
"""

import math

import torch
from torch import Tensor
from torchmetrics.functional import image as metrics

from medbook.refuse import need, need_pair, told

EIGHT_BITS = 255.0
MOST = 100.0  # dB, of identical images


def range_of(x: Tensor, y: Tensor, data_range: float | None) -> float:
    """The data range of two batches: as given, or that of uint8.

    Raises:
        MedbookError: two batches that cannot be compared; floats without a range.

    >>> range_of(*torch.zeros(2, 1, 1, 8, 8, dtype=torch.uint8), None)
    255.0
    """
    need_pair(x, y)
    if x.dtype == torch.uint8 and data_range is None:
        return EIGHT_BITS
    missing = f"data_range is missing: {told(x)} may end at 1, 255 or 4095"
    need(data_range is not None, missing)
    assert data_range is not None
    wrong = f"data_range is {data_range}: give largest minus smallest value, > 0"
    need(0 < data_range < math.inf, wrong)
    return data_range


def floats(*images: Tensor) -> list[Tensor]:
    """Whole numbers of 8 bits as floats; floats as they are."""
    return [x.float() if x.dtype == torch.uint8 else x for x in images]


def psnr(x: Tensor, y: Tensor, data_range: float | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB of each pair, at most 100: (N,).

    >>> x = torch.full((1, 1, 8, 8), 100.0)
    >>> round(psnr(x, x + 25.5, 255.0).item(), 4)
    20.0
    """
    data_range = range_of(x, y, data_range)
    x, y = floats(x, y)
    found = metrics.peak_signal_noise_ratio(
        y, x, data_range=data_range, reduction="none", dim=(1, 2, 3)
    )
    return found.clamp(max=MOST)


def ssim_map(x: Tensor, y: Tensor, data_range: float | None = None) -> Tensor:
    """SSIM under a Gaussian window of 1.5 pixels around every pixel, mean over channels: (N, H, W).

    Source: Wang et al. 2004, eq. 13.
    """
    data_range = range_of(x, y, data_range)
    x, y = floats(x, y)
    need(min(x.shape[-2:]) > 5, f"images are {told(x)}: SSIM needs sides of 6 pixels")
    found = metrics.structural_similarity_index_measure(
        y, x, data_range=data_range, reduction="none", return_full_image=True
    )
    return found[1].mean(1)


def ssim(x: Tensor, y: Tensor, data_range: float | None = None) -> Tensor:
    """Mean of the SSIM map of each pair: (N,).

    >>> x = torch.rand(1, 1, 16, 16)
    >>> ssim(x, x, 1.0)
    tensor([1.])
    """
    return ssim_map(x, y, data_range).mean((1, 2))


def best_curve(x: Tensor, y: Tensor) -> Tensor:
    """The best common display curve: each grey level of x becomes the mean of its values in y.

    Args:
        x: (N, 1, H, W), whole numbers from 0 to 255.
        y: of the same shape.

    >>> x = torch.tensor([[[[0.0, 0.0, 7.0]]]])
    >>> best_curve(x, torch.tensor([[[[2.0, 4.0, 9.0]]]]))
    tensor([[[[3., 3., 9.]]]])
    """
    level = x.flatten(1).long()
    zero = x.new_zeros(len(x), 256)
    sums = zero.scatter_add(1, level, y.flatten(1))
    counts = zero.scatter_add(1, level, torch.ones_like(x).flatten(1))
    return (sums / counts.clamp(min=1)).gather(1, level).reshape(x.shape)
