"""Every MRI operator: adjoint, norm, shapes, precision, gradients, and its conventions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.ct import ParallelBeam, Projector
from medbook.physics.mri import (
    Cartesian,
    Radial,
    Sensitivities,
    acceleration,
    calibrated_maps,
    coil_maps,
    combine,
    complex_noise,
    equispaced_lines,
    fft2c,
    fftc,
    gaussian_points,
    head_coils,
    ifft2c,
    ifftc,
    noise_sigma,
    normalised,
    nrmse,
    poisson_disc,
    radial_lines_on_grid,
    random_lines,
    rss,
)
from medbook.physics.mri.grid import block, centred
from medbook.physics.mri.loops import loop_field, loop_radius
from medbook.physics.mri.poisson import disc_radius, throw
from medbook.physics.operator import LinearOperator, dot_test, operator_norm
from medbook.solvers import cgls

c64, c128, f64 = torch.complex64, torch.complex128, torch.float64
SIZES = [(8, 8), (7, 9), (8, 5), (5, 8), (1, 6), (3, 1)]
each_size = pytest.mark.parametrize("size", SIZES, ids=str)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = c128) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def unit_maps(coils: int, *size: int, seed: int = 5) -> Tensor:
    """Random maps of unit norm: nothing about them is smooth or symmetric."""
    return normalised(normal(1, coils, *size, seed=seed))


def some_mask(*size: int, seed: int = 3) -> Tensor:
    return torch.rand(1, 1, *size, generator=seeded(seed)) < 0.5


def operators(dtype: torch.dtype = c128) -> dict[str, tuple[LinearOperator, Tensor, Tensor]]:
    """Each operator with the shapes of an image and of a measurement."""
    mask, batch_mask = some_mask(7, 8), torch.cat([some_mask(7, 8, seed=s) for s in (1, 2)])
    maps, square = unit_maps(3, 7, 8), unit_maps(3, 7, 7)
    x, y = normal(2, 1, 7, 8, dtype=dtype), normal(2, 3, 7, 8, seed=1, dtype=dtype)
    x7 = normal(2, 1, 7, 7, dtype=dtype)
    return {
        "one coil": (Cartesian(mask), x, y[:, :1]),
        "coils": (Cartesian(mask, maps), x, y),
        "a mask and maps for each": (Cartesian(batch_mask, torch.cat([maps, -1j * maps])), x, y),
        "sensitivities": (Sensitivities(maps, (7, 8)), x, y),
        "radial": (Radial(7, 4, 9), x7, normal(2, 1, 4, 9, seed=1, dtype=dtype)),
        "radial coils": (Radial(7, 5, 8, square), x7, normal(2, 3, 5, 8, seed=1, dtype=dtype)),
    }


each_operator = pytest.mark.parametrize("name", tuple(operators()))


# --- Fourier transform ----------------------------------------------------------------------------
def explicit(x: Tensor, sign: int = -1) -> Tensor:
    """The sum that the convention states, by matrices of exponentials."""
    rows, columns = (
        torch.exp(sign * 2j * math.pi * torch.outer(centred(n), centred(n)) / n) / math.sqrt(n)
        for n in x.shape[-2:]
    )
    return rows @ x @ columns.T


@each_size
def test_transform_is_the_explicit_sum(size: tuple[int, int]) -> None:
    x = normal(2, 3, *size)
    assert torch.allclose(fft2c(x), explicit(x), atol=1e-12)
    assert torch.allclose(ifft2c(x), explicit(x, sign=+1), atol=1e-12)
    assert torch.allclose(ifft2c(fft2c(x)), x, atol=1e-12)
    assert torch.allclose(fftc(fftc(x.mT).mT), fft2c(x), atol=1e-12)
    assert torch.allclose(ifftc(fftc(x)), x, atol=1e-12)


def test_shifts_in_the_wrong_order_differ_at_odd_sizes_only() -> None:
    """What the test above would not notice at even sizes."""

    def swapped(x: Tensor) -> Tensor:
        k = torch.fft.fft2(torch.fft.fftshift(x, dim=(-2, -1)), norm="ortho")
        return torch.fft.ifftshift(k, dim=(-2, -1))

    even, odd = normal(1, 1, 8, 6), normal(1, 1, 7, 6)
    assert torch.allclose(swapped(even), fft2c(even), atol=1e-12)
    assert float(nrmse(swapped(odd), fft2c(odd))) > 0.5


@each_size
def test_a_shifted_image_has_a_linear_phase(size: tuple[int, int]) -> None:
    x = normal(1, 1, *size)
    ky, kx = (centred(n) / n for n in size)
    phase = torch.exp(-2j * math.pi * (2 * ky[:, None] - kx))
    moved = torch.roll(x, (2, -1), dims=(-2, -1))
    assert torch.allclose(fft2c(moved), phase * fft2c(x), atol=1e-12)


def test_transform_keeps_precision_and_takes_real_images() -> None:
    for dtype, wide in ((torch.float32, c64), (f64, c128), (c64, c64), (c128, c128)):
        assert fft2c(torch.ones(3, 4, dtype=dtype)).dtype == wide


# --- operators ------------------------------------------------------------------------------------
@each_operator
@pytest.mark.parametrize(("dtype", "limit"), [(c64, 1e-5), (c128, 1e-13)], ids=str)
def test_adjoint(name: str, dtype: torch.dtype, limit: float) -> None:
    operator, x, y = operators(dtype)[name]
    there, back = operator.A(x), operator.AT(y)
    assert (there.shape, back.shape) == (y.shape, x.shape)
    assert there.dtype == back.dtype == dtype
    assert dot_test(operator, x, y) < limit


class Conjugated(Sensitivities):
    """S with a missing conjugate in its adjoint."""

    def AT(self, images: Tensor) -> Tensor:
        return (self.maps_like(images) * images).sum(1, keepdim=True)


@pytest.mark.parametrize("name", ["coils", "radial coils"])
def test_a_missing_conjugate_is_noticed(name: str) -> None:
    operator, x, y = operators()[name]
    S = operator.sensitivities
    operator.sensitivities = Conjugated(S.maps, tuple(S.maps.shape[-2:]))
    assert dot_test(operator, x, y) > 1e-3


@each_operator
def test_norm_of_cartesian_operators_is_at_most_one(name: str) -> None:
    operator, x, _ = operators()[name]
    norm = operator_norm(operator, x[:1], 60, seeded())
    assert (norm > 1.05) if name.startswith("radial") else (0.5 < norm < 1 + 1e-9)


def test_cartesian_matches_its_matrix() -> None:
    """E = M F S written out, column by column; the adjoint is its conjugate transpose."""
    mask, maps = some_mask(3, 4), unit_maps(2, 3, 4)
    scan = Cartesian(mask, maps)
    units = torch.eye(12, dtype=c128).reshape(12, 1, 3, 4)
    matrix = torch.stack([(mask * explicit(maps * e)).flatten() for e in units], 1)
    y = normal(1, 2, 3, 4)
    assert torch.allclose(scan.A(units).flatten(1).T, matrix, atol=1e-12)
    assert torch.allclose(scan.AT(y).flatten(), matrix.mH @ y.flatten(), atol=1e-12)


def test_what_was_not_sampled_does_not_count() -> None:
    scan = Cartesian(some_mask(6, 7), unit_maps(3, 6, 7))
    y = scan.A(normal(2, 1, 6, 7))
    assert (y[:, :, ~scan.mask[0, 0]] == 0).all() and (y[:, :, scan.mask[0, 0]] != 0).all()
    spoilt = torch.where(scan.mask, y, torch.nan)
    assert torch.equal(scan.AT(spoilt), scan.AT(y))


def test_full_data_give_the_image_back() -> None:
    x = normal(2, 1, 9, 6)
    scan = Cartesian(torch.ones(1, 1, 9, 6, dtype=torch.bool), unit_maps(4, 9, 6))
    assert torch.allclose(scan.AT(scan.A(x)), x, atol=1e-12)


def test_coils_make_up_for_missing_lines() -> None:
    """SENSE: at acceleration 2 four coils tell the two overlapping pixels apart, one does not."""
    x, mask = normal(1, 1, 12, 12), equispaced_lines((12, 12), 2, centre=0)
    one, four = Cartesian(mask), Cartesian(mask, unit_maps(4, 12, 12))
    errors = [float(nrmse(cgls(scan, scan.A(x), 80).x, x)) for scan in (one, four)]
    assert errors[0] > 0.5 and errors[1] < 1e-6


@each_operator
def test_gradients(name: str) -> None:
    operator, x, y = operators()[name]
    assert torch.autograd.gradcheck(operator.A, x.requires_grad_(), fast_mode=True)
    assert torch.autograd.gradcheck(operator.AT, y.requires_grad_(), fast_mode=True)


@each_operator
def test_items_of_a_batch_are_problems_of_their_own(name: str) -> None:
    operator, x, y = operators()[name]
    if name == "a mask and maps for each":
        return
    assert torch.allclose(operator.A(x)[1:], operator.A(x[1:]), atol=1e-12)
    assert torch.allclose(operator.AT(y)[1:], operator.AT(y[1:]), atol=1e-12)


# --- coils ----------------------------------------------------------------------------------------
def test_maps_are_sums_of_plane_waves() -> None:
    """So a coil's k-space is the object's k-space at shifted frequencies."""
    coils, (height, width) = head_coils(3), (6, 5)
    maps = coils.maps((height, width), c128)
    i, j, c = 4, 1, 2
    r = torch.tensor([(j - width // 2) / width, (i - height // 2) / height]).double()
    wave = torch.exp(2j * math.pi * (coils.frequencies @ r))
    assert torch.allclose(maps[0, c, i, j], (coils.coefficients[c] * wave).sum(), atol=1e-12)
    assert coil_maps(3, (6, 5)).dtype == c64
    # the same coil at another resolution: odd multiples keep the pixel of the origin
    assert torch.allclose(coils.maps(15, c128)[..., 1::3, 1::3], coils.maps(5, c128), atol=1e-12)
    # k-space of a point at the pixel (i, j), seen by coil c
    point = torch.zeros(height, width, dtype=c128)
    point[i, j] = 1
    ky, kx = centred(height), centred(width)

    def F(fx: Tensor, fy: Tensor) -> Tensor:
        return torch.exp(-2j * math.pi * ((kx - fx) * r[0] + (ky[:, None] - fy) * r[1]))

    shifted = sum(a * F(*f) for a, f in zip(coils.coefficients[c], coils.frequencies, strict=True))
    exact = shifted / math.sqrt(height * width)
    assert torch.allclose(fft2c(maps[0, c] * point), exact, atol=1e-12)


@pytest.mark.parametrize(("n", "limit"), [(1, 0.03), (4, 0.03), (8, 0.03), (20, 0.09)])
def test_waves_fit_the_field_of_the_loops(n: int, limit: float) -> None:
    axis = torch.linspace(-0.44, 0.44, 33, dtype=f64)
    points = torch.cartesian_prod(axis, axis)
    points = points[points.norm(dim=1) < 0.45]
    field = torch.stack([loop_field(points, j / n, loop_radius(n)) for j in range(n)])
    coils = head_coils(n)
    fitted = coils.coefficients @ torch.exp(2j * math.pi * (points @ coils.frequencies.T)).T
    scale = (field.conj() * fitted).sum() / field.abs().square().sum()
    assert (fitted - scale * field).norm() < limit * fitted.norm()
    assert abs(float(rss(fitted[None, :, None]).mean()) - 1) < 0.05
    assert coils.coefficients.abs().max() < 2  # no large waves that cancel


def test_field_of_a_loop_on_its_axis() -> None:
    """In closed form 2 pi R^2 / (z^2 + R^2)^(3/2), towards the loop's normal."""
    z, R = torch.linspace(-0.4, 0.4, 7, dtype=f64), 0.3
    for turn in (0.0, 0.2, 0.75):
        e = torch.tensor([math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)]).double()
        field = loop_field(z[:, None] * e, turn, R)
        exact = 2 * math.pi * R**2 / ((0.75 - z) ** 2 + R**2) ** 1.5
        assert torch.allclose(field.abs(), exact, rtol=1e-6)
        assert torch.allclose(field / field.abs(), torch.complex(e[0], -e[1]), atol=1e-9)


def test_coils_see_their_own_side() -> None:
    maps = coil_maps(4, 33).abs()[0]
    near = [(16, 30), (30, 16), (16, 2), (2, 16)]  # right, below, left, above: clockwise
    for k, (i, j) in enumerate(near):
        assert maps[:, i, j].argmax() == k


def test_normalised_combined_and_root_sum_of_squares() -> None:
    maps, x = normal(2, 3, 4, 5), normal(2, 1, 4, 5)
    maps[0, :, 1, 2] = 0
    unit, support = normalised(maps), some_mask(4, 5)
    size = torch.ones(2, 1, 4, 5, dtype=f64)
    size[0, 0, 1, 2] = 0
    assert torch.allclose(rss(unit), size)
    assert torch.allclose(combine(unit * x, unit), x * size)
    assert torch.equal(normalised(maps, support), torch.where(support, unit, 0))
    assert torch.allclose(rss(maps).square(), (maps.conj() * maps).sum(1, keepdim=True).real)
    blind = torch.zeros(1, 2, 3, 3, dtype=c128, requires_grad=True)
    normalised(blind).abs().sum().backward()
    assert blind.grad.isfinite().all()


@pytest.mark.parametrize("size", [48, 49])
def test_calibrated_maps_are_the_true_ones_where_there_is_an_object(size: int) -> None:
    axis = centred(size) / size
    x = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 0.15**2))[None, None].to(c128)
    inside, true = x.abs() > 0.1, normalised(coil_maps(6, size, c128))
    kspace = fft2c(true * x)
    errors = []
    for centre in (4, 8, 16):
        maps = calibrated_maps(kspace, centre)
        assert torch.allclose(rss(maps), torch.ones(()).double())
        errors.append(float(nrmse(maps, true, inside.expand_as(true))))
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.02
    outside = torch.where(block((size, size), 8, 8), kspace, 1e3)
    assert torch.equal(calibrated_maps(outside, 8), calibrated_maps(kspace, 8))
    assert torch.equal(calibrated_maps(kspace, (8, 8)), calibrated_maps(kspace, 8))
    assert not torch.equal(calibrated_maps(kspace, (8, 12)), calibrated_maps(kspace, 8))


# --- masks ----------------------------------------------------------------------------------------
MASKS = {
    "random": lambda shape, R, side, g: random_lines(shape, R, side / shape[1], g),
    "equispaced": lambda shape, R, side, g: equispaced_lines(shape, R, side / shape[1]),
    "gaussian": gaussian_points,
    "poisson": poisson_disc,
    "radial": lambda shape, R, side, g: radial_lines_on_grid(shape, R, side),
}
each_mask = pytest.mark.parametrize("kind", MASKS)


@each_mask
@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(8, 40), width=st.integers(8, 40), R=st.floats(1.0, 6.0),
    side=st.integers(0, 9), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_mask(kind: str, height: int, width: int, R: float, side: int, seed: int) -> None:
    shape, lines = (height, width), kind in ("random", "equispaced")
    side = min(side, height, width)
    points = width if lines else height * width
    wanted, central = round(points / R), side if lines else side**2
    if central > wanted:
        with pytest.raises(MedbookError, match="centre alone"):
            MASKS[kind](shape, R, side, seeded(seed))
        return
    mask = MASKS[kind](shape, R, side, seeded(seed))
    assert mask.shape == (1, 1, height, width) and mask.dtype == torch.bool
    assert mask[0, 0][block(shape, height if lines else side, side)].all()
    count = int(mask[0, 0, 0].sum() if lines else mask.sum())
    slack = {"equispaced": 2, "radial": max(shape)}.get(kind, 0)
    if R > 1.6 or kind != "radial":  # a few corners are not met by any line
        assert abs(count - wanted) <= slack
    assert acceleration(mask) == pytest.approx(points / count)
    assert not lines or (mask == mask[:, :, :1]).all()
    if kind in ("random", "gaussian", "poisson"):
        assert torch.equal(mask, MASKS[kind](shape, R, side, seeded(seed)))


@pytest.mark.parametrize("kind", ["random", "gaussian", "poisson"])
def test_masks_follow_their_generator(kind: str) -> None:
    one, other = (MASKS[kind]((32, 32), 4, 4, seeded(s)) for s in (0, 1))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("kind", ["equispaced", "radial"])
@pytest.mark.parametrize("R", [2, 4, 8])
def test_patterns_come_near_to_the_acceleration(kind: str, R: int) -> None:
    assert acceleration(MASKS[kind]((128, 128), R, 8, seeded())) == pytest.approx(R, rel=0.08)
    assert acceleration(MASKS[kind]((320, 320), R, 20, seeded())) == pytest.approx(R, rel=0.03)
    assert acceleration(MASKS[kind]((48, 48), 1.15, 4, seeded())) == pytest.approx(1.15, rel=0.02)


def test_equispaced_lines_are_at_equal_distances() -> None:
    for offset in range(4):
        taken = equispaced_lines((3, 24), 4, 0, offset)[0, 0, 0].nonzero().flatten()
        assert taken.tolist() == list(range(offset, 24, 4))
    gaps = equispaced_lines((1, 50), 3, 0)[0, 0, 0].nonzero().flatten().diff()
    assert set(gaps.tolist()) <= {2, 3}  # 50 / 17 = 2.94


def test_other_lines_are_equally_likely() -> None:
    generator = seeded()
    masks = torch.cat([random_lines((1, 20), 4, 0.1, generator) for _ in range(4000)])
    share = masks.double().mean((0, 1, 2))
    assert (share[9:11] == 1).all()
    rest = torch.cat([share[:9], share[11:]])  # 3 of 18
    assert (rest - 3 / 18).abs().max() < 4 * math.sqrt(3 / 18 * 15 / 18 / 4000)


def test_gaussian_points_are_densest_in_the_centre() -> None:
    generator = seeded()
    masks = torch.cat([gaussian_points((33, 33), 20, 0, generator) for _ in range(300)])
    share = masks.double().mean((0, 1))
    radius = torch.hypot(centred(33)[:, None], centred(33)) / 33
    rings = [float(share[(radius >= a) & (radius < a + 0.1)].mean()) for a in (0, 0.2, 0.4)]
    expected = [math.exp(-(r**2) / (2 * 0.2**2)) for r in (0.07, 0.25, 0.45)]
    assert rings[0] > rings[1] > rings[2] > 0
    assert rings[1] / rings[0] == pytest.approx(expected[1] / expected[0], rel=0.25)
    spread = [
        float(radius[gaussian_points((33, 33), 20, 0, seeded(), s)[0, 0]].mean())
        for s in (0.05, 0.2, 1.0)
    ]
    assert spread[0] < spread[1] < spread[2]


def closest(mask: Tensor, radius: Tensor) -> float:
    """Least distance of two points, as a fraction of the smaller of their radii."""
    points = mask.nonzero().double()
    r, distance = radius[mask], torch.cdist(points, points).fill_diagonal_(torch.inf)
    return float((distance / torch.minimum(r[:, None], r)).min())


@pytest.mark.parametrize("growth", [0.0, 1.5, 6.0])
def test_discs_are_kept_free_and_no_room_is_left(growth: float) -> None:
    shape, none = (30, 37), torch.zeros(30, 37, dtype=torch.bool)
    radius = disc_radius(shape, growth)
    points = throw(torch.randperm(30 * 37, generator=seeded()), radius, none)
    assert closest(points, radius) >= 1
    distance = torch.cdist(none.logical_not().nonzero().double(), points.nonzero().double())
    assert (distance < radius[points] + 1e-9).any(1).all()
    assert points.all() == (growth == 0)


@pytest.mark.parametrize("R", [4, 10])
def test_poisson_disc_has_a_least_distance_that_grows(R: int) -> None:
    """There is a growth > 0 that all pairs respect; points drawn one by one are neighbours."""

    def growth(mask: Tensor) -> float:
        outside = mask[0, 0] & ~block((48, 48), 6, 6)
        points, k = outside.nonzero().double(), (disc_radius((48, 48), 1) - 1)[outside]
        distance = torch.cdist(points, points).fill_diagonal_(torch.inf)
        return float(((distance - 1) / torch.minimum(k[:, None], k)).min())

    assert growth(poisson_disc((48, 48), R, 6, seeded())) > 0.5
    assert growth(gaussian_points((48, 48), R, 6, seeded())) == 0


def test_radial_lines_pass_through_the_centre() -> None:
    mask = radial_lines_on_grid((21, 21), 441 / 21, 0)[0, 0]  # one line, along a row
    assert mask.nonzero()[:, 0].unique().tolist() == [10] and mask.sum() == 21
    turned = radial_lines_on_grid((21, 21), 21, 0, start=math.pi / 2)[0, 0]
    assert torch.equal(turned, mask.T)
    diagonal = radial_lines_on_grid((21, 21), 21, 0, start=math.pi / 4)[0, 0]
    assert torch.equal(diagonal, torch.eye(21, dtype=torch.bool))
    many = radial_lines_on_grid((21, 21), 3, 0)[0, 0]
    assert torch.equal(many, many.flip(0, 1))  # each line is there on both sides of the centre


# --- radial ---------------------------------------------------------------------------------------
def spokes_by_sum(x: Tensor, spokes: int, readout: int) -> Tensor:
    """Every sample by its own sum over the pixels, in numpy."""
    size = x.shape[-1]
    at = np.arange(size) - size // 2
    column, row = np.meshgrid(at, at)
    y = np.zeros((spokes, readout), complex)
    for s in range(spokes):
        angle = math.pi * s / spokes
        for m in range(readout):
            f = (m - readout // 2) / readout
            along = column * math.cos(angle) - row * math.sin(angle)
            y[s, m] = (x.numpy() * np.exp(-2j * math.pi * f * along)).sum() / size
    return torch.from_numpy(y)


@pytest.mark.parametrize(("size", "readout"), [(6, 6), (6, 9), (7, 7), (7, 12)])
def test_radial_is_the_explicit_sum(size: int, readout: int) -> None:
    x, maps = normal(1, 1, size, size), unit_maps(2, size, size)
    y = Radial(size, 5, readout, maps).A(x)
    for c in range(2):
        assert torch.allclose(y[0, c], spokes_by_sum((maps * x)[0, c], 5, readout), atol=1e-12)


@pytest.mark.parametrize("size", [8, 9])
def test_first_spoke_is_the_middle_row_of_k_space(size: int) -> None:
    x = normal(1, 1, size, size)
    y, k = Radial(size, 2, size).A(x)[0, 0], fft2c(x)[0, 0]
    assert torch.allclose(y[0], k[size // 2], atol=1e-12)
    up = k[:, size // 2].flip(0) if size % 2 else k[:, size // 2].roll(-1).flip(0)
    assert torch.allclose(y[1, 1 - size % 2 :], up[1 - size % 2 :], atol=1e-12)


def smooth(size: int) -> Tensor:
    """Gaussian blobs that no flip leaves as they are, centred as the images of CT are."""
    axis = (torch.arange(size, dtype=f64) - (size - 1) / 2) / size
    x, y = axis, -axis[:, None]
    blobs = [(1, 0.1, 0.05, 0.08), (0.7, -0.15, 0.1, 0.06), (-0.5, 0.02, -0.2, 0.05)]
    return sum(a * torch.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * w**2)) for a, u, v, w in blobs)[
        None, None
    ]


@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize(("readout", "bins"), [(128, 128), (128, 91), (129, 90), (129, 91)])
def test_spokes_are_projections(size: int, readout: int, bins: int) -> None:
    """FBP of the sinogram from k-space is FBP of the projected one, odd and even sizes mixed."""
    x, scan = smooth(size), Radial(size, 90, max(readout, 2 * size))
    ct = Projector(ParallelBeam(size=size, views=90, bins=bins))
    measured, projected = scan.sinogram_of(scan.A(x.to(c128)), bins), ct.A(x)
    assert measured.shape == projected.shape
    assert nrmse(measured.real, projected) < 0.01
    assert measured.imag.norm() < 1e-6 * projected.norm()
    image = ct.fbp(projected)
    assert nrmse(ct.fbp(measured.real.contiguous()), image) < 0.01
    assert nrmse(image, x) < 0.01
    # without the half-pixels it would not pass: one bin or half of one
    if size % 2 == 0:
        off = ct.fbp((ifftc(scan.A(x.to(c128))) * scan._unit).real[..., scan._first_bin(bins) :][
            ..., :bins
        ].contiguous())  # fmt: skip
        assert nrmse(off, image) > 0.03


def test_projections_of_complex_images_stay_complex() -> None:
    scan, x = Radial(16, 9, 33), smooth(16) * torch.exp(1j * torch.linspace(0, 3, 16))
    sinogram = scan.sinogram_of(scan.A(x))
    assert sinogram.imag.norm() > 0.1 * sinogram.norm()
    ct = Projector(ParallelBeam(size=16, views=9, bins=33))
    parts = torch.complex(ct.A(x.real.contiguous()), ct.A(x.imag.contiguous()))
    assert nrmse(sinogram, parts) < 0.08


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 9), spokes=st.integers(1, 5), more=st.integers(0, 6), less=st.data())
def test_back_from_projections(size: int, spokes: int, more: int, less: st.DataObject) -> None:
    scan = Radial(size, spokes, size + more)
    y = normal(2, 3, spokes, scan.readout)
    assert torch.allclose(scan.kspace_of(scan.sinogram_of(y)), y, atol=1e-12)
    bins = less.draw(st.integers(1, scan.readout))
    p = normal(2, 3, spokes, bins)
    assert torch.allclose(scan.sinogram_of(scan.kspace_of(p), bins), p, atol=1e-12)


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("more", [0, 1])
def test_regridding(size: int, more: int) -> None:
    x = smooth(size).to(c128)
    x, maps = x * torch.exp(1j * centred(size) / size), normalised(coil_maps(4, size, c128))
    scan = Radial(size, 56, 2 * size + more, maps)
    y = scan.A(x)
    assert nrmse(scan.regrid(y), x) < 0.005
    assert nrmse(size**2 * scan.AT(y) * scan.density().mean(), x) > 0.5  # without the ramp
    assert float(scan.density().sum()) == pytest.approx(math.pi / 4, rel=0.01)


# --- noise and error ------------------------------------------------------------------------------
def test_noise_has_sigma_in_each_part_and_in_the_image() -> None:
    noise = complex_noise(torch.zeros(1, 4, 120, 120, dtype=c128), 0.3, seeded())
    image = combine(ifft2c(noise), unit_maps(4, 120, 120))
    for part in (noise.real, noise.imag, image.real, image.imag):
        assert float(part.std()) == pytest.approx(0.3, rel=0.03)
    assert abs(float((noise.real * noise.imag).mean())) < 0.003
    assert torch.equal(noise, complex_noise(torch.zeros_like(noise), 0.3, seeded()))
    assert complex_noise(noise.to(c64), 1.0, seeded()).dtype == c64


def test_sigma_of_a_signal_to_noise_ratio() -> None:
    x = torch.full((1, 1, 64, 64), 3j, dtype=c128)
    x[..., :32] = 0
    support = x.abs() > 0
    sigma = noise_sigma(x, 20, support)
    assert sigma == pytest.approx(0.15)
    assert noise_sigma(x, 20) == pytest.approx(0.075)
    assert noise_sigma(x, math.inf) == 0
    noisy = ifft2c(complex_noise(fft2c(x), sigma, seeded()))
    assert float(noisy[support].imag.mean() / noisy[support].real.std()) == pytest.approx(20, 0.05)


def test_error_is_complex_and_by_item() -> None:
    truth = normal(3, 1, 4, 5)
    x = torch.stack([truth[0], 1j * truth[1], 1.1 * truth[2]])
    assert torch.allclose(nrmse(x, truth), torch.tensor([0, math.sqrt(2), 0.1]).double())
    support = some_mask(4, 5)
    elsewhere = torch.where(support, truth, torch.inf)
    assert (nrmse(elsewhere, truth, support) == 0).all()
    assert nrmse(truth.to(c64), truth.to(c64)).dtype == torch.float32


full = torch.ones(1, 1, 4, 6, dtype=torch.bool)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cartesian(full.float()), "bool"),
        (lambda: Cartesian(full[0]), r"\(1, 4, 6\)"),
        (lambda: Cartesian(full, normal(1, 3, 6, 4)), r"C, 4, 6"),
        (lambda: Cartesian(full).A(normal(1, 1, 6, 4)), r"1, 4, 6"),
        (lambda: Cartesian(full, normal(1, 3, 4, 6)).A(normal(1, 3, 4, 6)), r"1, 4, 6"),
        (lambda: Cartesian(full).AT(normal(1, 3, 4, 6)), r"1, 4, 6"),
        (lambda: Cartesian(full).AT(normal(1, 1, 1, 6)), r"1, 4, 6"),
        (lambda: Radial(8, 4, 7), "readout"),
        (lambda: Radial(8, 0, 8), "spokes"),
        (lambda: Radial(8, 4, 9).AT(normal(1, 1, 4, 8)), r"1, 4, 9"),
        (lambda: Radial(8, 4, 9).sinogram_of(normal(1, 1, 4, 9), 10), "bins is 10"),
        (lambda: Radial(8, 4, 9).kspace_of(normal(1, 1, 4, 10)), "bins is 10"),
        (lambda: head_coils(0), "at least 1"),
        (lambda: calibrated_maps(normal(1, 2, 8, 8), 9), "does not fit"),
        (lambda: random_lines((8, 8), 0.5, 0.1, seeded()), "acceleration is 0.5"),
        (lambda: random_lines((8, 8), 2, 1.1, seeded()), "fraction"),
        (lambda: poisson_disc((8, 8), 4, 5, seeded()), "centre alone has 25"),
        (lambda: gaussian_points((8, 8), 2, 9, seeded()), "does not fit"),
        (lambda: complex_noise(normal(3), -1, seeded()), "sigma is -1"),
        (lambda: complex_noise(torch.ones(3), 1, seeded()), "float32"),
        (lambda: noise_sigma(normal(3), 0), "snr is 0"),
        (lambda: nrmse(normal(1, 3), normal(1, 4)), "differ"),
        (lambda: nrmse(normal(1, 3), torch.zeros(1, 3)), "zero"),
    ],
)
def test_errors(make, message: str) -> None:
    with pytest.raises(MedbookError, match=message):
        make()
