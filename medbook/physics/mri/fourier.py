"""The centred orthonormal Fourier transform: zero frequency and origin in the middle of the array.

Conventions of all of `medbook.physics.mri`: images are native complex tensors (B, 1, H, W). Pixel
(i, j) lies at x = j - W // 2, y = i - H // 2, in pixels, y down; k-space sample (u, v) has the
frequencies (v - W // 2) / W along x and (u - H // 2) / H along y, in cycles per pixel.

`medbook.phantom` and `medbook.physics.ct` put the origin into the middle of the image instead, at
((H - 1) / 2, (W - 1) / 2): the same place for odd sizes, half a pixel away for even ones. Where the
two meet, k-space is multiplied with the linear phase of that shift, which is exact.
"""

import torch
from torch import Tensor

PLANE = (-2, -1)


def fft2c(x: Tensor) -> Tensor:
    """K-space of an image: 1 / sqrt(HW) sum_r x(r) exp(-2 pi i k.r).

    Of an odd length, `ifftshift` brings the origin to index 0 and `fftshift` does not: it must
    come first.

    Args:
        x: (..., H, W) complex, or real.

    Returns:
        (..., H, W) complex, of the same norm.

    >>> fft2c(torch.ones(3, 3, dtype=torch.complex64)).real.round().abs()
    tensor([[0., 0., 0.],
            [0., 3., 0.],
            [0., 0., 0.]])
    """
    k = torch.fft.fft2(torch.fft.ifftshift(x, dim=PLANE), norm="ortho")
    return torch.fft.fftshift(k, dim=PLANE)


def ifft2c(k: Tensor) -> Tensor:
    """Image of a k-space: the inverse and the adjoint of `fft2c`.

    Args:
        k: (..., H, W) complex.

    Returns:
        (..., H, W) complex.

    >>> x = torch.randn(4, 5, dtype=torch.complex64)
    >>> torch.allclose(ifft2c(fft2c(x)), x, atol=1e-6)
    True
    """
    x = torch.fft.ifft2(torch.fft.ifftshift(k, dim=PLANE), norm="ortho")
    return torch.fft.fftshift(x, dim=PLANE)


def fftc(x: Tensor) -> Tensor:
    """Centred orthonormal transform of the last axis alone: 1 / sqrt(N) sum_n x(n) exp(...).

    >>> fftc(torch.ones(4)).real
    tensor([0., 0., 2., 0.])
    """
    return torch.fft.fftshift(torch.fft.fft(torch.fft.ifftshift(x, dim=-1), norm="ortho"), dim=-1)


def ifftc(k: Tensor) -> Tensor:
    """Inverse and adjoint of `fftc`.

    >>> ifftc(torch.tensor([0.0, 0, 2, 0])).real
    tensor([1., 1., 1., 1.])
    """
    return torch.fft.fftshift(torch.fft.ifft(torch.fft.ifftshift(k, dim=-1), norm="ortho"), dim=-1)
