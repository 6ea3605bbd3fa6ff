"""Radial sampling: the exact Fourier transform on spokes, and spokes as projections.

A spoke at angle t holds the frequencies m / readout, in cycles per pixel, along (cos t, sin t), x
to the right and y up as in `medbook.physics.ct`. Its inverse Fourier transform is the projection of
the image on that direction (Fourier slice theorem): radial MRI is parallel-beam CT.
"""

import math

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.ct import ParallelBeam, Projector
from medbook.physics.mri.coils import Sensitivities, expect
from medbook.physics.mri.fourier import fftc, ifftc
from medbook.physics.mri.grid import centred


class Radial:
    """Equally spaced spokes over pi: y(k) = 1 / size sum_r S(r) x(r) exp(-2 pi i k.r), exactly.

    A sample has the value that `fft2c` gives at the same frequency. The spokes are dense in the
    centre, so the norm is above 1. The exponentials are products of one along x and one along y:
    each is kept for all samples, size x samples numbers, and A costs size^2 x samples products.
    That is meant for sizes up to about 128.

    >>> scan = Radial(size=16, spokes=25, readout=32)
    >>> scan.A(torch.ones(2, 1, 16, 16)).shape, scan.AT(torch.ones(2, 1, 25, 32)).shape
    (torch.Size([2, 1, 25, 32]), torch.Size([2, 1, 16, 16]))
    """

    def __init__(self, size: int, spokes: int, readout: int, maps: Tensor | None = None) -> None:
        """Keep what describes the scan.

        Args:
            size: the image has size x size pixels.
            spokes: number of diameters of k-space; view b of `ParallelBeam(views=spokes)` is one.
            readout: samples on a spoke, >= size; 2 size is the usual oversampling.
            maps: (1 or B, C, size, size) complex sensitivities; one uniform coil if left out.

        Raises:
            MedbookError: readout < size, so that the projections overlap themselves.
        """
        if not (size >= 1 and spokes >= 1 and readout >= size):
            raise MedbookError(
                f"Radial(size={size}, spokes={spokes}, readout={readout}): give size and spokes "
                ">= 1 and readout >= size"
            )
        self.size, self.spokes, self.readout = size, spokes, readout
        self.sensitivities = Sensitivities(maps, (size, size))
        self._waves: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    @property
    def frequencies(self) -> Tensor:
        """(readout,) float64: along a spoke, in cycles per pixel, from -1/2."""
        return centred(self.readout) / self.readout

    @property
    def angles(self) -> Tensor:
        """(spokes,) float64, in rad, anticlockwise."""
        return torch.arange(self.spokes, dtype=torch.float64, device="cpu") * (
            math.pi / self.spokes
        )

    def A(self, x: Tensor) -> Tensor:
        """Images (B, 1, size, size) to spokes (B, C, spokes, readout), complex."""
        seen = self.sensitivities.A(x)
        along_y, along_x = self._exponentials(seen)
        y = torch.einsum("bcip,pi->bcp", seen.to(along_x.dtype) @ along_x.T, along_y) / self.size
        return y.unflatten(-1, (self.spokes, self.readout))

    def AT(self, y: Tensor) -> Tensor:
        """The exact adjoint: (B, C, spokes, readout) to (B, 1, size, size), complex."""
        expect(y, self.sensitivities.maps.shape[1], self.spokes, self.readout)
        along_y, along_x = self._exponentials(y)
        rows = along_y.mH * y.flatten(-2)[:, :, None]  # (B, C, size, samples)
        return self.sensitivities.AT(rows @ along_x.conj() / self.size)

    def density(self) -> Tensor:
        """Area of k-space that belongs to each sample, (spokes, readout) float64, in pixel^-2.

        It is the ramp |f| df dt of filtered backprojection. At zero, where the ramp would be 0, a
        spoke gets df^2 dt / 6: the correction of the trapezoid rule to second order, without which
        the image has an offset.

        Source: Euler and Maclaurin's formula, e.g. Abramowitz and Stegun 1964, eq. 25.4.7.

        >>> round(float(Radial(16, 30, 32).density().sum()), 2)  # a disc of radius 1/2
        0.79
        """
        df, dt = 1 / self.readout, math.pi / self.spokes
        ramp = self.frequencies.abs() * df * dt
        ramp[self.readout // 2] = df**2 * dt / 6
        return ramp.expand(self.spokes, -1)

    def regrid(self, y: Tensor) -> Tensor:
        """Image from a dense scan: the adjoint of the samples weighted by their area of k-space.

        Args:
            y: (B, C, spokes, readout).

        Returns:
            (B, 1, size, size): x, with frequencies up to 1/2 cycle per pixel, if there are about
            size pi / 2 spokes and the maps have unit norm.

        Source: Jackson et al. 1991, doi:10.1109/42.97598; without a kernel, the sum being exact.
        """
        return self.size**2 * self.AT(self.density().to(y.device, y.real.dtype) * y)

    def sinogram_of(self, y: Tensor, bins: int | None = None) -> Tensor:
        """Projections from spokes: what a CT scan of the same image would measure.

        The bins are those of `ParallelBeam(size=size, views=spokes, bins=bins)`, with pixels of
        1 mm. Two half-pixels matter: the rotation axis of CT is the middle of the image, half a
        pixel from the origin of k-space if size is even; and it projects between two bins if their
        number is even. Both are linear phases. Real images have real projections but for the
        highest frequency of an even readout; with a coil's or the object's phase they are complex.

        Args:
            y: (B, C, spokes, readout).
            bins: how many bins around the axis are kept, <= readout; all if left out.

        Returns:
            (B, C, spokes, bins) complex, sums over pixels.

        Raises:
            MedbookError: more bins than samples.

        Source: Bracewell 1956, doi:10.1071/PH560198 (Fourier slice theorem).
        """
        expect(y, y.shape[1], self.spokes, self.readout)
        bins = self.readout if bins is None else bins
        first = self._first_bin(bins)
        projections = ifftc(y * self._shift(bins).to(y)) * self._unit
        return projections[..., first : first + bins]

    def projector(self) -> Projector:
        """The CT scan that these spokes are, for images of 1 mm pixels.

        It has an odd number of bins, enough for the diagonal of the image.

        >>> Radial(size=16, spokes=25, readout=32).projector().geometry.bins
        25
        """
        bins = min(2 * math.ceil(self.size / math.sqrt(2)) + 1, self.readout)
        return Projector(ParallelBeam(size=self.size, views=self.spokes, bins=bins))

    def kspace_of(self, sinogram: Tensor) -> Tensor:
        """Spokes from projections: the inverse of `sinogram_of`, zero beyond the bins given.

        Args:
            sinogram: (B, C, spokes, bins), bins <= readout.

        Returns:
            (B, C, spokes, readout) complex.

        Raises:
            MedbookError: more bins than samples.
        """
        expect(sinogram, sinogram.shape[1], self.spokes, sinogram.shape[-1])
        bins = sinogram.shape[-1]
        first = self._first_bin(bins)
        ends = first, self.readout - bins - first
        y = fftc(torch.nn.functional.pad(sinogram, ends)) / self._unit
        return y * self._shift(bins).conj().to(y)

    @property
    def _unit(self) -> float:
        """Orthonormal to line integral: P = 1 / N sum size y(f) exp(2 pi i f s)."""
        return self.size / math.sqrt(self.readout)

    def _first_bin(self, bins: int) -> int:
        if not 1 <= bins <= self.readout:
            raise MedbookError(f"bins is {bins}: give 1 to {self.readout}, the samples on a spoke")
        return self.readout // 2 - bins // 2

    def _shift(self, bins: int) -> Tensor:
        """Phase (spokes, readout) that moves projections from the origin to the CT's axis."""
        half = (1 - self.size % 2) / 2  # the origin is so far right of and below the middle
        between_bins = (1 - bins % 2) / 2
        moved = between_bins - half * (self.angles.cos() - self.angles.sin())
        return torch.exp(2j * math.pi * moved[:, None] * self.frequencies)

    def _exponentials(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """exp(-2 pi i k.r) along y and along x, each (samples, size), kept for the next call."""
        key = like.device, like.dtype.to_complex()
        if key not in self._waves:
            u = torch.stack([-self.angles.sin(), self.angles.cos()])  # image rows go down
            f = (u[:, :, None] * self.frequencies).flatten(1)  # (2, samples)
            waves = torch.exp(-2j * math.pi * f[:, :, None] * centred(self.size))
            self._waves[key] = waves[0].to(*key), waves[1].to(*key)
        return self._waves[key]
