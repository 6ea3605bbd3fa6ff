"""Complex MR images of heads whose whole k-space is known in closed form.

An object is (shapes + texture within the brain) times a smooth phase:

    rho(r) = phase(r) (anatomy(r) + lesions(r) + texture(r) tissue(r)),

where anatomy, lesions and tissue are sums of ellipses, and phase and texture short sums of plane
waves. So its k-space needs no grid, and reconstructing from it commits no inverse crime. The
frame is that of `medbook.phantom.shapes.base`, x to the right, y up, in mm. The origin is the
centre of pixel (size // 2, size // 2), as `medbook.physics.mri` has it, whatever the size.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.phantom.shapes.base import Phantom
from medbook.phantom.shapes.convex import Ellipsoids
from medbook.phantom.shapes.fourier import fourier
from medbook.phantom.slices.waves import PlaneWaves, multiplied
from medbook.physics.mri.fourier import ifft2c
from medbook.physics.mri.loops import Coils

TOGETHER = 8  # heads in memory at a time
STEP = 256  # frequencies at a time
PARTS = "anatomy", "lesions", "tissue", "texture", "phase"


@dataclass(frozen=True, eq=False)
class Brain:
    """n heads; made by `brain_like`.

    Attributes:
        anatomy: (n, N) ellipses of which the first is the outline of the head.
        lesions: (n, M) ellipses that add to the anatomy; the value is 0 where there is none.
        tissue: (n, K) ellipses that sum to 1 where texture is; the first is the brain's outline.
        texture: n real functions of mean 0 over the field.
        phase: n functions of magnitude about 1.
        field_mm: side of the field of view.
    """

    anatomy: Ellipsoids
    lesions: Ellipsoids
    tissue: Ellipsoids
    texture: PlaneWaves
    phase: PlaneWaves
    field_mm: float

    def image(self, size: int, oversample: int = 4) -> Tensor:
        """Mean of the object over each pixel: what no scanner sees, but is there.

        Args:
            size: side, in pixels; a pixel is field_mm / size.
            oversample: points along each side of a pixel at which the waves are taken.

        Returns:
            (n, 1, size, size) complex.

        Raises:
            MedbookError: size or oversample is not positive.
        """
        if min(size, oversample) < 1:
            raise MedbookError(f"image(size={size}, oversample={oversample}): give numbers >= 1")
        means = torch.cat([block._means(size, oversample) for block in self._blocks()])
        return means.to(self.anatomy.dtype.to_complex())

    def kspace(self, size: int, coils: Coils | None = None) -> Tensor:
        """Noise-free samples on the Cartesian grid, exactly: the Fourier integral of the object.

        Args:
            size: of the grid, which is square; samples are 1 / field_mm apart.
            coils: whose sensitivities multiply the object; one uniform coil if left out.

        Returns:
            (n, C, size, size) complex, zero frequency in the centre, scaled as `fft2c` of an image
            of this size: the integral times size / field_mm^2.

        Raises:
            MedbookError: size is not positive, or the coils' frequencies are no multiples of 1/2.
        """
        if size < 1:
            raise MedbookError(f"kspace(size={size}): give a size >= 1")
        maps = _waves(coils, self.anatomy.device)
        samples = torch.cat([block._grid(size, maps) for block in self._blocks()])
        return (samples * (size / self.field_mm**2)).to(self.anatomy.dtype.to_complex())

    def scanner_image(self, size: int) -> Tensor:
        """What a scan of all of `kspace(size)` without noise shows, with its Gibbs ringing.

        Returns:
            (n, 1, size, size) complex: the object, band-limited to the grid.
        """
        return ifft2c(self.kspace(size))

    def fourier(self, k: Tensor, coils: Coils | None = None) -> Tensor:
        """The Fourier integral of the object at any frequencies, for scans that are no grid.

        Each pair of a texture wave and a phase or coil wave is another set of frequencies: about
        a second a head for 1000 frequencies, where `kspace` takes hundredths.

        Args:
            k: (R, 2) along x (to the right) and y (up), in cycles per mm.
            coils: as in `kspace`.

        Returns:
            (n, C, R) complex, in the unit of the object times mm^2; `fft2c` of an image of `size`
            pixels approximates this times size / field_mm^2.
        """
        maps = _waves(coils, self.anatomy.device)
        heads = [self[i : i + 1]._at(k, maps) for i in range(len(self))]
        return torch.stack(heads).to(self.anatomy.dtype.to_complex())

    def support(self, size: int) -> Tensor:
        """Pixels at least half of which are head: (n, 1, size, size) bool."""
        return self._covers(self.anatomy._map(lambda t: t[:, :1]), size)

    def lesion_masks(self, size: int) -> Tensor:
        """Pixels at least half of which are a lesion: (n, M, size, size) bool, some masks empty."""
        return self._covers(self.lesions, size) & (self.lesions.value != 0)[..., None, None]

    def to(self, *where: Any) -> Self:
        """Move to another device, or to another dtype of results: float32 or float64.

        >>> from medbook.phantom.slices.heads import brain_like
        >>> brain_like(2, torch.Generator()).to(torch.float64).kspace(16).dtype
        torch.complex128
        """
        device = self.anatomy.to(*where).device
        return self._map(lambda p: p.to(device) if isinstance(p, PlaneWaves) else p.to(*where))

    def __getitem__(self, index: slice | Tensor) -> Self:
        return self._map(lambda part: part[index])

    def __len__(self) -> int:
        return len(self.anatomy)

    def _map(self, function: Callable[[Any], Any]) -> Self:
        parts = {name: function(getattr(self, name)) for name in PARTS}
        return replace(self, **parts)

    def _blocks(self) -> list[Self]:
        """As many heads as fit into memory at a time."""
        return [self[i : i + TOGETHER] for i in range(0, len(self), TOGETHER)]

    def _means(self, size: int, oversample: int) -> Tensor:
        """Of the object in each pixel: (n, 1, size, size) complex128."""
        fine, pixel = size * oversample, self.field_mm / size / oversample
        anatomy, lesions, tissue = (
            self._placed(shapes, size).image(fine, pixel, 1)[:, 0]
            for shapes in (self.anatomy, self.lesions, self.tissue)
        )
        point = torch.arange(fine, dtype=torch.float64, device=anatomy.device)
        r = ((point + 0.5) / oversample - 0.5 - size // 2) / size  # in fields of view
        texture = self.texture.values(r, r).real
        rho = self.phase.values(r, r) * (anatomy + lesions + texture * tissue)
        return rho.reshape(-1, 1, size, oversample, size, oversample).mean((3, 5))

    def _placed(self, shapes: Ellipsoids, size: int) -> Ellipsoids:
        """Moved so that the origin is a pixel's centre where `Phantom.image` has an edge."""
        half = (1 - size % 2) / 2 * self.field_mm / size
        return replace(shapes, centre=shapes.centre + half * shapes.centre.new_tensor([1, -1]))

    def _covers(self, shapes: Ellipsoids, size: int) -> Tensor:
        """Where each of (n, M) shapes fills at least half of a pixel: (n, M, size, size)."""
        alone = replace(self._placed(shapes, size), value=torch.ones_like(shapes.value))
        each = alone._map(lambda t: t.flatten(0, 1).unsqueeze(1))
        share = each.image(size, self.field_mm / size, oversample=8)
        return (share >= 0.5).reshape(*shapes.value.shape, size, size)

    def _grid(self, size: int, maps: PlaneWaves) -> Tensor:
        """The integral at the samples of the grid: (n, C, size, size) complex128."""
        inner = 2 * (size // 2)  # in halves of a cycle per field, like every reach
        middle = inner + maps.reach + self.phase.reach
        real = self._lattice(self.anatomy + self.lesions, middle)
        real = real + multiplied(
            self._lattice(self.tissue, middle + self.texture.reach), self.texture
        )
        seen = multiplied(multiplied(real, self.phase)[:, None], maps)
        return seen[..., ::2, ::2][..., :size, :size]

    def _lattice(self, shapes: Phantom, reach: int) -> Tensor:
        """Of shapes alone, half a cycle per field apart, rows down: (n, S, S), S = 2 reach + 1."""
        f = torch.arange(-reach, reach + 1, dtype=torch.float64, device="cpu") / (2 * self.field_mm)
        k = torch.cartesian_prod(-f, f).flip(1)
        half = fourier(shapes.to(torch.float64), k[: len(k) // 2 + 1])
        mirrored = half[:, :-1].flip(1).conj()  # F(-k): shapes are real
        return torch.cat([half, mirrored], 1).unflatten(1, (len(f), len(f)))

    def _at(self, k: Tensor, maps: PlaneWaves) -> Tensor:
        """The integral of a single head at frequencies k: (C, R)."""
        smooth = maps * self.phase
        plain, fine = self.anatomy + self.lesions, smooth * self.texture
        return torch.cat(
            [
                self._shifted(plain, smooth, some) + self._shifted(self.tissue, fine, some)
                for some in k.split(STEP)
            ],
            dim=1,
        )

    def _shifted(self, shapes: Phantom, waves: PlaneWaves, k: Tensor) -> Tensor:
        """Of one sum of shapes times C functions, from the definition: sum_l c_l F(k - f_l)."""
        f = waves.frequencies * torch.tensor([1, -1]).to(waves.frequencies) / self.field_mm
        shifted = (k.to(f) - f[:, None]).flatten(0, 1)
        return waves.coefficients @ fourier(shapes.to(torch.float64), shifted).reshape(len(f), -1)


def _waves(coils: Coils | None, device: torch.device) -> PlaneWaves:
    """The sensitivities as functions that multiply the object."""
    if coils is None:
        return PlaneWaves.constant(1, device)
    return PlaneWaves(coils.coefficients, coils.frequencies).to(device)
