"""Magnetic resonance imaging in 2D: Fourier transform, sampling, coils, noise."""

from medbook.physics.mri.cartesian import Cartesian
from medbook.physics.mri.coils import Sensitivities, calibrated_maps, combine, normalised, rss
from medbook.physics.mri.families import CENTRE, FAMILIES, random_mask
from medbook.physics.mri.fourier import fft2c, fftc, ifft2c, ifftc
from medbook.physics.mri.loops import Coils, coil_maps, head_coils
from medbook.physics.mri.masks import (
    acceleration,
    equispaced_lines,
    gaussian_points,
    radial_lines_on_grid,
    random_lines,
)
from medbook.physics.mri.measure import complex_noise, noise_sigma, nrmse
from medbook.physics.mri.poisson import poisson_disc
from medbook.physics.mri.radial import Radial
from medbook.physics.mri.simulate import (
    head_of,
    measured,
    middle,
    scanned,
    scanned_spokes,
    seen_fully,
    smooth_phase,
    unit_maps,
)

__all__ = [
    "CENTRE", "FAMILIES", "Cartesian", "Coils", "Radial", "Sensitivities", "acceleration",
    "calibrated_maps", "coil_maps", "combine", "complex_noise", "equispaced_lines", "fft2c",
    "fftc", "gaussian_points", "head_coils", "head_of", "ifft2c", "ifftc", "measured", "middle",
    "noise_sigma", "normalised", "nrmse", "poisson_disc", "radial_lines_on_grid",
    "random_lines", "random_mask", "rss", "scanned", "scanned_spokes", "seen_fully",
    "smooth_phase", "unit_maps",
]  # fmt: skip
