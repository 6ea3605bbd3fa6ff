"""The Fourier transform of ellipses in closed form."""

import math

import torch
from scipy.special import j1
from torch import Tensor

from medbook.errors import MedbookError
from medbook.phantom.shapes.base import CHUNK, Phantom
from medbook.phantom.shapes.convex import Ellipsoids


def fourier(shapes: Phantom, k: Tensor) -> Tensor:
    r"""Integrate value(r) exp(-2 pi i k.r) over the plane, exactly.

    An ellipse with half-axes a, b along the unit vectors u, v and the centre c has

    $$E(k) = 2\pi ab\, \frac{J_1(s)}{s}\, e^{-2\pi i\, k \cdot c}, \qquad
      s = 2\pi \sqrt{(a\, k \cdot u)^2 + (b\, k \cdot v)^2},$$

    which is its area at k = 0. Computed in float64, like all that phantoms do.

    Args:
        shapes: B sums of ellipses in the plane.
        k: (R, 2) frequencies along x (to the right) and y (up), in cycles per mm.

    Returns:
        (B, R) complex, in the unit of the values times mm^2, on the device of the shapes.

    Raises:
        MedbookError: shapes other than planar ellipses, or frequencies of another form.

    Source: Van de Walle et al. 2000, "Reconstruction of MR images from data acquired on a general
    nonregular grid by pseudoinverse calculation" (for simulated k-space of ellipses).

    >>> disc = Ellipsoids.from_angle([[[0.0, 0.0]]], [[[10.0, 10.0]]], [[0.0]], [[1.0]])
    >>> fourier(disc, torch.tensor([[0.0, 0.0], [0.03, 0.04]]))
    tensor([[314.1593+0.j,  56.9231+0.j]])
    """
    if shapes.dim != 2 or not all(isinstance(part, Ellipsoids) for part in shapes.parts):
        kinds = sorted({type(part).__name__ for part in shapes.parts})
        raise MedbookError(
            f"{', '.join(kinds)} in {shapes.dim} dimensions: the closed form is for Ellipsoids in 2"
        )
    if k.ndim != 2 or k.shape[1] != 2 or not k.isfinite().all():
        raise MedbookError(f"k has shape {tuple(k.shape)}: give finite frequencies (R, 2)")
    k = k.to(shapes.device, torch.float64)
    total = torch.zeros(len(shapes), len(k), dtype=torch.complex128, device=k.device)
    for part in shapes.parts:
        assert isinstance(part, Ellipsoids)  # for the type checker: checked above
        step = max(1, CHUNK // max(1, part.value.numel()))
        for some, here in zip(k.split(step), total.split(step, 1), strict=True):
            here += _ellipses(part, some)
    return total.to(shapes.dtype.to_complex())


def _ellipses(shapes: Ellipsoids, k: Tensor) -> Tensor:
    """E(k) times the value, summed over the shapes: (B, R) complex128."""
    own = (shapes.axes.double()[..., None] * (shapes.rotation.double().mT @ k.T)).unbind(2)
    s = 2 * math.pi * torch.hypot(*own)  # (B, N, R)
    area = math.pi * shapes.axes.double().prod(-1) * shapes.value.double()
    size = area[..., None] * _jinc(s)
    return torch.polar(size, -2 * math.pi * (shapes.centre.double() @ k.T)).sum(1)


def _jinc(s: Tensor) -> Tensor:
    """2 J1(s) / s, which is 1 at s = 0; s >= 0."""
    # SciPy's J1 is exact to rounding; that of torch 2.13 is off by 5e-7 between s = 5 and 50
    bessel = torch.from_numpy(j1(s.cpu().numpy())).to(s.device)
    return torch.where(s > 0, 2 * bessel / torch.where(s > 0, s, 1), 1)
