"""ISSM: a mixture of edge correlation, joint entropy and SSIM.

Source: Aljanabi et al. 2019, doi:10.1080/22797254.2019.1628617, with the weights and the rule for
identical images of github.com/safouaneelg/copulasimilarity.
"""

import math

import numpy as np
import torch
from skimage import feature
from torch import Tensor

from medbook.evaluate.similarity import EIGHT_BITS, floats, range_of, ssim
from medbook.refuse import need, told

EDGE, ENTROPY, STRUCTURE = 0.3, 0.5, 0.7  # weights
BINS = 255  # of a histogram from 0 to 255; the last one holds 254 and 255


def edges(x: Tensor) -> Tensor:
    """Canny edges (0 or 1) of images (N, 1, H, W) in [0, 255], without smoothing: same shape."""
    # thresholds 100 and 200 on |gx| + |gy|, which is on average 4 / pi times the length
    low, high = 25 * math.pi, 50 * math.pi
    found = [feature.canny(image, 0, low, high) for image in x[:, 0].cpu().numpy()]
    return torch.from_numpy(np.stack(found))[:, None].to(x)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation over the last axis, 0 where one of them is constant.

    >>> correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([5.0, 7.0, 9.0]))
    tensor(1.)
    """
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    size = (a.square().sum(-1) * b.square().sum(-1)).sqrt()
    return (a * b).sum(-1) / torch.where(size > 0, size, torch.inf)


def joint_entropy(x: Tensor, y: Tensor) -> Tensor:
    """Entropy in bits of the joint histogram of images in [0, 255]: (N,)."""
    a, b = (image.flatten(1).long().clamp(0, BINS - 1) for image in (x, y))
    counts = [torch.bincount(k, minlength=BINS**2) for k in BINS * a + b]
    share = torch.stack(counts).to(x.dtype) / a.shape[1]
    return torch.special.entr(share).sum(1) / math.log(2)


def issm(x: Tensor, y: Tensor, data_range: float | None = None) -> Tensor:
    """ISSM of each pair of grey images (N, 1, H, W): (N,).

    E H (0.3 + 0.5) / (0.3 E H + 0.5 H + 0.7 SSIM) with edge correlation E and joint entropy H; 1
    for identical images, by a rule of its own. Its thresholds are for a range of 255, to which
    images of another range are scaled.

    Raises:
        MedbookError: images that cannot be compared or are not grey; floats without a range.
    """
    data_range = range_of(x, y, data_range)
    x, y = floats(x, y)
    need(x.shape[1] == 1, f"images are {told(x)}: ISSM is of grey ones")
    x, y = (image * (EIGHT_BITS / data_range) for image in (x, y))
    e = correlation(*(edges(image).flatten(1) for image in (x, y)))
    h = joint_entropy(x, y)
    below = EDGE * e * h + ENTROPY * h + STRUCTURE * ssim(x, y, EIGHT_BITS)
    score = (EDGE + ENTROPY) * e * h / below
    return torch.where((x == y).flatten(1).all(1), torch.ones_like(score), score)
