"""X-rays of many small ellipsoids, each within the window of pixels that it can reach."""

import torch
from torch import Tensor

from medbook.phantom.shapes.convex import Ellipsoids
from medbook.phantom.thorax.views import View

SMALLEST = 4  # px, side of the smallest window; the next one is twice as wide
TOGETHER = 2**19  # pixels of windows in memory at a time


def splat(shapes: Ellipsoids, view: View) -> Tensor:
    """Integrate the values along one ray through each pixel's centre: (B, H, W) float64.

    The same numbers as `line_integrals` gives for `view.rays()`, without the zeros.
    """
    height, width = view.shape
    picture = torch.zeros(len(shapes) * height * width, dtype=torch.float64, device=shapes.device)
    there = (shapes.value != 0).nonzero(as_tuple=True)
    objects = there[0]
    c, axes, rotation, value = (t[there].double() for t in shapes._tensors())  # (K, ...)
    row, column, reach = _reach(c, axes, rotation, view)
    side = _window(reach, max(view.shape))
    for w in side.unique().tolist():
        for some in (side == w).nonzero()[:, 0].split(max(1, TOGETHER // w**2)):
            rows, columns = (_pixels(t[some], w) for t in (row, column))  # (K, w)
            i, j = rows[:, :, None].expand(-1, w, w), columns[:, None].expand(-1, w, w)
            seen = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            lengths = _chords(c[some], axes[some], rotation[some], view, i, j)
            pixel = (objects[some][:, None, None] * height + i) * width + j
            picture.index_add_(0, pixel[seen].long(), (lengths * value[some][:, None, None])[seen])
    return picture.view(len(shapes), height, width)


def _reach(c: Tensor, axes: Tensor, rotation: Tensor, view: View) -> tuple[Tensor, ...]:
    """Row and column of the centre, and how far from it in px the shadow can reach: (K,) each."""
    row, column = view.project(c)
    half = (rotation * axes[:, None]).norm(dim=-1)  # of the bounding box, (K, 3)
    frame = torch.stack(view.axes(c.device))
    right, up, ahead = ((rotation.mT @ v * axes).norm(dim=-1) for v in frame)
    nearest = 1 / (1 + ((c @ frame[2] - ahead) / view.source_mm).clamp(min=-0.9))
    shift = half.norm(dim=-1) / view.source_mm * (c @ frame[:2].T).norm(dim=-1)  # by perspective
    reach = (torch.maximum(right, up) + shift * nearest) * nearest / view.pixel_mm
    return row, column, reach + 0.5


def _window(reach: Tensor, largest: int) -> Tensor:
    """The side of the window, one of few, in px."""
    doublings = ((2 * reach + 1) / SMALLEST).clamp(min=1).log2().ceil()
    return (SMALLEST * 2**doublings).clamp(max=2 * largest + 2).long()


def _pixels(centre: Tensor, w: int) -> Tensor:
    """The w whole pixels around each centre: (K, w)."""
    first = centre.clamp(-1e6, 1e6).sub((w - 1) / 2).round()
    return first[:, None] + torch.arange(w, dtype=torch.float64, device=centre.device)


def _chords(c: Tensor, axes: Tensor, rotation: Tensor, view: View, i: Tensor, j: Tensor) -> Tensor:
    """Lengths in mm of the rays (K, w, w) in their ellipsoids."""
    to_unit = (rotation / axes[:, None]).mT  # (K, 3, 3)
    origin, d = view.through(i, j)
    _, _, ahead = view.axes(c.device)
    near = origin + (c @ ahead)[:, None, None, None] * d - c[:, None, None]  # at the same depth
    p, q = (torch.einsum("kab,kijb->akij", to_unit, t) for t in (near, d))
    qq = q.square().sum(0)
    middle = (p * q).sum(0) / qq
    hh = (p - q * middle).square().sum(0)
    return 2 * ((1 - hh).clamp(min=0) / qq).sqrt() * d.norm(dim=-1)
