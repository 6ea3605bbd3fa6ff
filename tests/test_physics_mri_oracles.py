"""The MRI operators against what others compute: numpy, SciPy, and SigPy where it is installed.

SigPy is not in the lock: it is used if it is there.
"""

import math

import numpy as np
import pytest
import torch
from scipy.fft import fft2, fftshift, ifftshift

from medbook.physics.mri import (
    Cartesian,
    Radial,
    coil_maps,
    fft2c,
    gaussian_points,
    ifft2c,
    normalised,
    poisson_disc,
)
from medbook.physics.operator import operator_norm
from medbook.solvers import cgls

c128 = torch.complex128


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=c128)


each_size = pytest.mark.parametrize("size", [(16, 16), (15, 16), (9, 7)], ids=str)


@each_size
def test_transform_as_in_numpy_and_scipy(size):
    x = normal(2, 1, *size)
    k = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x, axes=(-2, -1)), norm="ortho"), (-2, -1))
    assert np.allclose(fft2c(x), k)
    plane = (-2, -1)
    assert np.allclose(fft2c(x), fftshift(fft2(ifftshift(x, plane), norm="ortho"), plane))


def test_solution_as_by_the_normal_equations():
    size, coils = 10, 3
    maps = normalised(coil_maps(coils, size, c128))
    mask = gaussian_points((size, size), 1.5, 4, torch.Generator().manual_seed(0))
    scan, y = Cartesian(mask, maps), normal(1, coils, size, size, seed=1)
    units = torch.eye(size**2, dtype=c128).reshape(-1, 1, size, size)
    matrix = scan.A(units).flatten(1).T.numpy()
    sampled = torch.where(mask, y, 0).flatten().numpy()
    shifted = matrix.conj().T @ matrix + 0.1 * np.eye(size**2)
    x = np.linalg.solve(shifted, matrix.conj().T @ sampled)
    assert np.allclose(cgls(scan, y, 200, shift=0.1).x.flatten(), x, atol=1e-8)
    norm = operator_norm(scan, units[:1], 300, torch.Generator().manual_seed(0))
    assert math.isclose(norm, np.linalg.norm(matrix, 2), rel_tol=1e-4)


@each_size
def test_transform_as_in_sigpy(size):
    sigpy = pytest.importorskip("sigpy")
    x = normal(2, 1, *size)
    assert np.allclose(fft2c(x), sigpy.fft(x.numpy(), axes=(-2, -1)))
    assert np.allclose(ifft2c(x), sigpy.ifft(x.numpy(), axes=(-2, -1)))


@each_size
def test_cartesian_as_in_sigpy(size):
    pytest.importorskip("sigpy")
    from sigpy.mri.linop import Sense

    maps = normalised(coil_maps(4, size, c128))
    mask = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0)) < 0.5
    scan, x, y = Cartesian(mask, maps), normal(1, 1, *size), normal(1, 4, *size, seed=1)
    # SigPy weights by a square root, which a mask does not notice
    sense = Sense(maps[0].numpy(), weights=mask[0, 0].numpy().astype(float))
    assert np.allclose(scan.A(x)[0], sense(x[0, 0].numpy()))
    assert np.allclose(scan.AT(y)[0, 0], sense.H(y[0].numpy()))


@pytest.mark.parametrize(("size", "readout"), [(24, 48), (25, 50), (24, 37)])
def test_radial_as_in_sigpy(size, readout):
    """NUFFT coordinates are in cycles per field of view, (row, column); it is an approximation."""
    sigpy = pytest.importorskip("sigpy")
    scan, x = Radial(size, 20, readout), normal(1, 1, size, size)
    f, angle = scan.frequencies.numpy() * size, scan.angles.numpy()[:, None]
    at = np.stack([-f * np.sin(angle), f * np.cos(angle)], -1)
    y = sigpy.nufft(x[0, 0].numpy(), at, oversamp=2, width=8)
    exact = scan.A(x)[0, 0].numpy()
    assert np.linalg.norm(y - exact) < 1e-3 * np.linalg.norm(exact)
    back = sigpy.nufft_adjoint(exact, at, (size, size), oversamp=2, width=8)
    exact = scan.AT(scan.A(x))[0, 0].numpy()
    assert np.linalg.norm(back - exact) < 1e-3 * np.linalg.norm(exact)


def test_poisson_disc_is_as_irregular_as_in_sigpy():
    """Nearest neighbours outside of the centre: nearly all as far apart as SigPy's, on average."""
    pytest.importorskip("sigpy")
    from sigpy.mri import poisson

    def nearest(mask):
        at = np.argwhere(mask) - 32
        at = at[np.abs(at).max(1) > 10].astype(float)
        distance = np.linalg.norm(at[:, None] - at, axis=-1)
        np.fill_diagonal(distance, np.inf)
        return distance.min(1).mean()

    ours = poisson_disc((64, 64), 8, 8, torch.Generator().manual_seed(0))[0, 0].numpy()
    theirs = poisson((64, 64), 8, calib=(8, 8), crop_corner=False, seed=0).astype(bool)
    assert abs(ours.sum() - theirs.sum()) < 0.15 * ours.sum()
    assert 0.8 < nearest(ours) / nearest(theirs) < 1.25
