"""Cartesian sampling: some samples of the k-space of every coil, and the exact adjoint."""

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.mri.coils import Sensitivities, expect
from medbook.physics.mri.fourier import fft2c, ifft2c


class Cartesian:
    """A = M F S: sensitivities, centred Fourier transform, mask. A `LinearOperator`.

    With maps of unit root sum of squares its norm is at most 1. Gradients pass through both ways.
    Source: Pruessmann et al. 2001, doi:10.1002/mrm.1241.

    >>> scan = Cartesian(torch.ones(1, 1, 6, 5, dtype=torch.bool))
    >>> x = torch.randn(2, 1, 6, 5, dtype=torch.complex64)
    >>> torch.allclose(scan.AT(scan.A(x)), x, atol=1e-6)
    True
    """

    def __init__(self, mask: Tensor, maps: Tensor | None = None) -> None:
        """Keep what describes the scan; both follow the device of the data.

        Args:
            mask: (1 or B, 1, H, W) bool, True where sampled.
            maps: (1 or B, C, H, W) complex sensitivities; one uniform coil if left out.

        Raises:
            MedbookError: a mask that is not bool or has no four axes, or maps of another size.
        """
        if mask.dtype != torch.bool or mask.ndim != 4 or mask.shape[1] != 1:
            raise MedbookError(
                f"mask is {mask.dtype} of shape {tuple(mask.shape)}: give bool, (1 or B, 1, H, W)"
            )
        self.mask = mask
        self.sensitivities = Sensitivities(maps, (mask.shape[2], mask.shape[3]))

    def A(self, x: Tensor) -> Tensor:
        """K-space of all coils, zero where it is not sampled.

        Args:
            x: (B, 1, H, W) complex.

        Returns:
            (B, C, H, W) complex.
        """
        return self._sampled(fft2c(self.sensitivities.A(x)))

    def AT(self, y: Tensor) -> Tensor:
        """The zero-filled image; what y holds at samples that were not taken does not count.

        Args:
            y: (B, C, H, W) complex.

        Returns:
            (B, 1, H, W) complex.
        """
        expect(y, *self.sensitivities.maps.shape[1:])
        return self.sensitivities.AT(ifft2c(self._sampled(y)))

    def _sampled(self, y: Tensor) -> Tensor:
        return torch.where(self.mask.to(y.device), y, 0)
