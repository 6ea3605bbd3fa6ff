"""Every CT operator: adjoint, norm, shapes, precision, gradients, scale, and its conventions."""

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.ct import (
    FILTERS,
    FanBeam,
    Geometry,
    ParallelBeam,
    Projector,
    filters,
    hu_from_mu,
    hu_window,
    mu_from_hu,
    photon_noise,
    relative_noise,
)
from medbook.physics.ct.matrices import backprojection_matrix, system_matrix

FAN = {"bins": 40, "pitch_mm": 2.5, "source_mm": 60.0, "detector_mm": 30.0}


def scans(size: int = 24, views: int = 36) -> dict[str, Geometry]:
    """One scan of each kind over a field of 24 mm."""
    pixel = 24 / size
    return {
        "parallel, pi": ParallelBeam(size=size, views=views, pixel_mm=pixel),
        "parallel, 2 pi": ParallelBeam(size=size, views=views, pixel_mm=pixel, arc=2 * math.pi),
        "flat fan": FanBeam(size=size, views=views, pixel_mm=pixel, **FAN),
        "curved fan": FanBeam(size=size, views=views, pixel_mm=pixel, curved=True, **FAN),
    }


NAMES = tuple(scans())
each_scan = pytest.mark.parametrize("name", NAMES)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def disc(geometry: Geometry, x: float, y: float, radius: float) -> Tensor:
    """1 inside of a disc: a pixel's share of it by supersampling."""
    fine = 8
    n = geometry.size * fine
    axis = (torch.arange(n) - (n - 1) / 2) * geometry.pixel_mm / fine
    inside = (axis[None] - x) ** 2 + (-axis[:, None] - y) ** 2 < radius**2
    return torch.nn.functional.avg_pool2d(inside.float()[None, None], fine)


def chords(geometry: Geometry, x: float, y: float, radius: float) -> Tensor:
    """Closed form of the projection of that disc."""
    origin, direction = geometry.rays()
    to = torch.tensor([x, y], dtype=torch.float64) - origin
    distance = to[:, 0] * direction[:, 1] - to[:, 1] * direction[:, 0]
    length = 2 * (radius**2 - distance**2).clamp(min=0).sqrt()
    return length.reshape(1, 1, geometry.views, geometry.bins).float()


@each_scan
@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=str
)
def test_adjoint(name: str, dtype: torch.dtype, limit: float) -> None:
    geometry = scans()[name]
    scan = Projector(geometry)
    x = normal(3, 1, geometry.size, geometry.size, dtype=dtype)
    y = normal(3, 1, geometry.views, geometry.bins, seed=1, dtype=dtype)
    there, back = scan.A(x), scan.AT(y)
    error = (there * y).sum((1, 2, 3)) - (x * back).sum((1, 2, 3))
    size = there.flatten(1).norm(dim=1) * y.flatten(1).norm(dim=1)
    assert there.dtype == back.dtype == dtype
    assert (error.abs() / size).max() < limit
    flipped = (there.flip(-1) * y).sum((1, 2, 3)) - (x * back).sum((1, 2, 3))
    assert (flipped.abs() / size).max() > 1e-3  # the test can fail


@settings(max_examples=20, deadline=None)
@given(
    size=st.integers(1, 17), views=st.integers(1, 9), bins=st.integers(1, 25),
    pitch=st.floats(0.3, 3), curved=st.sampled_from([None, False, True]),
)  # fmt: skip
def test_any_size(size: int, views: int, bins: int, pitch: float, curved: bool | None) -> None:
    if curved is None:
        g: Geometry = ParallelBeam(size=size, views=views, bins=bins, pitch_mm=pitch)
    else:
        g = FanBeam(
            size=size, views=views, bins=bins, pitch_mm=pitch, source_mm=40, detector_mm=20,
            curved=curved,
        )  # fmt: skip
    scan = Projector(g)
    x, y = normal(2, size, size, dtype=torch.float64), normal(2, views, bins, dtype=torch.float64)
    there, back, image = scan.A(x), scan.AT(y), scan.fbp(y)
    assert there.shape == y.shape and back.shape == image.shape == x.shape
    assert torch.allclose((there * y).sum(), (x * back).sum(), atol=1e-9)
    assert image.isfinite().all()


@each_scan
def test_operator_norm_is_that_of_the_matrix(name: str) -> None:
    geometry = scans(size=12, views=9)[name]
    scan, matrix = Projector(geometry), system_matrix(geometry).toarray()
    x = normal(1, 12, 12, dtype=torch.float64)
    for _ in range(300):
        x = scan.AT(scan.A(x / x.norm()))
    assert math.isclose(float(x.norm()) ** 0.5, np.linalg.norm(matrix, 2), rel_tol=1e-6)


@each_scan
def test_projections_converge_to_the_closed_form(name: str) -> None:
    where = (3.0, -2.0, 6.0)
    errors = []
    for size in (24, 48, 96):
        g = scans(size, views=12)[name]
        exact = chords(g, *where)
        errors.append(float((Projector(g).A(disc(g, *where)) - exact).norm() / exact.norm()))
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]
    assert errors[2] < 0.01


@each_scan
@pytest.mark.parametrize("filter", FILTERS)
def test_fbp_has_the_right_scale_and_place(name: str, filter: str) -> None:
    """From closed-form data, so that A and fbp cannot be wrong in the same way."""
    where = (3.0, -2.0, 6.0)
    g = scans(size=48, views=180)[name]
    image, truth = Projector(g).fbp(chords(g, *where), filter), disc(g, *where)
    core, outside = disc(g, 3.0, -2.0, 3.0) == 1, disc(g, 3.0, -2.0, 8.0) == 0
    assert abs(float(image[core].mean()) - 1) < 0.01
    assert abs(float(image[outside].mean())) < 0.02
    assert (image - truth).square().mean().sqrt() < 0.15
    for flip in ((-1,), (-2,), (-2, -1)):
        assert (image.flip(flip) - truth).square().mean().sqrt() > 0.3


@each_scan
def test_without_the_ramp_it_is_no_reconstruction(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = (3.0, -2.0, 6.0)
    g = scans(size=48, views=90)[name]
    truth = disc(g, *where)

    def error() -> Tensor:
        image = Projector(g).fbp(chords(g, *where))
        best = (image * truth).sum() / image.square().sum()  # whatever its scale
        return (best * image - truth).norm() / truth.norm()

    good = error()
    monkeypatch.setattr(filters, "ramp", lambda bins, spacing, _: torch.ones(129).double())
    assert error() > 2.5 * good


def test_fan_rays_are_parallel_rays_in_another_order() -> None:
    """The ray of view b and fan angle g is the parallel ray of view b - g at R sin(g)."""
    fan = FanBeam(size=24, views=8, curved=True, **FAN)
    origin, direction = fan.rays()
    view = fan.angles[:, None] - fan.fan_angles
    u = torch.stack([view.cos(), view.sin()], -1).reshape(-1, 2)
    offset = (fan.source_mm * fan.fan_angles.sin()).expand(8, -1).reshape(-1)
    assert torch.allclose((direction * u).sum(-1), torch.zeros(()).double(), atol=1e-12)
    assert torch.allclose((origin * u).sum(-1), offset, atol=1e-12)


def test_far_away_a_fan_is_parallel() -> None:
    fan = FanBeam(size=16, views=12, bins=23, pitch_mm=1.94, source_mm=1e7, detector_mm=1e7)
    beam = ParallelBeam(size=16, views=12, bins=23, pitch_mm=0.97, arc=2 * math.pi)
    x, y = normal(1, 16, 16), normal(1, 12, 23)
    assert torch.allclose(Projector(fan).A(x), Projector(beam).A(x), atol=1e-3)
    assert torch.allclose(Projector(fan).fbp(y), Projector(beam).fbp(y), atol=1e-3)


def test_first_view_sums_the_columns() -> None:
    """At angle 0 the rays run up and bins are columns; at pi/2 they run left, bins go up."""
    g = ParallelBeam(size=5, views=2, bins=5)
    x = normal(5, 5)
    y = Projector(g).A(x)
    assert torch.allclose(y[0], x.sum(0), atol=1e-6)
    assert torch.allclose(y[1], x.sum(1).flip(0), atol=1e-6)


def test_a_ray_along_a_grid_line_belongs_half_to_either_side() -> None:
    g = ParallelBeam(size=4, views=4, bins=5, arc=2 * math.pi)
    columns = torch.arange(1.0, 5.0).expand(4, 4)
    y = Projector(g).A(columns)
    assert torch.allclose(y[0], torch.tensor([2.0, 6, 10, 14, 8]))
    assert torch.allclose(y[2], y[0].flip(0))
    assert torch.allclose(y[1], torch.tensor([5.0, 10, 10, 10, 5]))


@each_scan
def test_gradients(name: str) -> None:
    g = scans(size=5, views=4)[name]
    scan = Projector(g)
    x = normal(1, 5, 5, dtype=torch.float64).requires_grad_()
    y = normal(1, g.views, g.bins, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(scan.A, x)
    assert torch.autograd.gradcheck(scan.AT, y)
    assert torch.autograd.gradcheck(scan.fbp, y)
    assert torch.autograd.gradgradcheck(scan.A, x)


def test_half_precision_is_computed_in_float32() -> None:
    scan = Projector(ParallelBeam(size=8, views=6))
    x = normal(1, 8, 8)
    y = scan.A(x)
    assert scan.A(x.bfloat16()).dtype == torch.float32
    assert scan.fbp(y.bfloat16()).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(scan.A(x), y)


def test_leading_dimensions_and_empty_batches() -> None:
    scan = Projector(ParallelBeam(size=8, views=6))
    x = normal(2, 3, 4, 8, 8)
    assert torch.allclose(scan.A(x)[1, 2, 3], scan.A(x[1, 2, 3]), atol=1e-6)
    assert scan.A(x[:0]).shape == (0, 3, 4, 6, 12)


def test_another_process_gets_the_matrix_and_not_the_copies() -> None:
    from medbook.physics.ct.projector import _lines

    g = ParallelBeam(size=8, views=6)
    Projector(g).A(torch.ones(8, 8))
    again = pickle.loads(pickle.dumps(_lines(g)))
    assert not again._copies
    assert torch.equal(again.A(torch.ones(8, 8)), Projector(g).A(torch.ones(8, 8)))


def test_backprojection_of_ones_counts_the_views() -> None:
    g = ParallelBeam(size=6, views=7)
    assert np.allclose(backprojection_matrix(g).sum(1), 7)


@pytest.mark.parametrize("bins", [1, 5, 64, 91])
def test_ramp_is_the_frequency(bins: int) -> None:
    response = filters.ramp(bins, 0.5)
    frequency = torch.linspace(0, 1, len(response)).double()  # 1/mm: up to 1 / (2 * 0.5)
    assert torch.allclose(response, frequency, atol=1 / len(response))
    assert 0 < response[0] < response[1] or bins == 1


def test_equal_angles_have_nearly_the_same_ramp() -> None:
    flat, arc = filters.ramp(64, 1e-3), filters.ramp(64, 1e-3, equiangular=True)
    assert torch.allclose(flat, arc, rtol=1e-2, atol=1)
    assert not torch.equal(flat, arc)


def test_filtering_is_convolution() -> None:
    rows, response = normal(2, 9, dtype=torch.float64), filters.ramp(9, 1.0)
    kernel = torch.fft.irfft(response.to(torch.complex128))  # (32,), centre at 0
    slow = [[sum(r[j] * kernel[(i - j) % 32] for j in range(9)) for i in range(9)] for r in rows]
    assert torch.allclose(filters.filter_rows(rows, response), torch.tensor(slow).double())


def test_hounsfield_units() -> None:
    hu = torch.tensor([-1000.0, -500.0, 0.0, 1000.0])
    assert torch.allclose(hu_from_mu(mu_from_hu(hu)), hu, atol=1e-3)
    assert mu_from_hu(hu)[0] == 0
    assert torch.allclose(
        hu_window(torch.tensor([-2000.0, -1400, -600, 200, 900]), centre=-600, width=1600),
        torch.tensor([0, 0, 0.5, 1, 1]),
    )


def test_photon_noise_has_the_variance_of_counting() -> None:
    """Var(-log(N / I0)) is 1 / mean(N), with read-out noise (1 + s^2 / N) / N."""
    generator, n = torch.Generator().manual_seed(0), 200_000
    for electronic in (0.0, 50.0):
        counts = 1e4 * math.exp(-1.5)
        y = photon_noise(torch.full((n,), 1.5), 1e4, generator, electronic)
        expected = (1 + electronic**2 / counts) / counts
        assert abs(float(y.var()) / expected - 1) < 0.02
        assert abs(float(y.mean()) - 1.5) < 3e-3
    dark = photon_noise(torch.full((9,), 50.0), 1e4, generator)
    assert torch.allclose(dark, torch.tensor(math.log(1e4)))


def test_noise_follows_its_generator_and_keeps_the_type() -> None:
    y = torch.rand(2, 1, 5, 7, dtype=torch.float64)
    for noise in (lambda g: photon_noise(y, 1e3, g), lambda g: relative_noise(y, 0.05, g)):
        one, same, other = (noise(torch.Generator().manual_seed(k)) for k in (1, 1, 2))
        assert torch.equal(one, same) and not torch.equal(one, other)
        assert one.dtype == torch.float64
    error = relative_noise(y, 0.05, torch.Generator()) - y
    relative = error.flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1)
    assert torch.allclose(relative, torch.tensor(0.05).double())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ParallelBeam(size=8, views=0), "positive"),
        (lambda: ParallelBeam(size=8, views=10).every(3), "divisor"),
        (lambda: FanBeam(size=80, views=8, **FAN) and FanBeam(size=90, views=8, **FAN), "outside"),
        (lambda: FanBeam(size=8, views=8, **FAN | {"pitch_mm": 9.0}, curved=True), "less than pi"),
        (lambda: Projector(ParallelBeam(size=8, views=6)).A(torch.ones(8, 9)), r"\(8, 9\)"),
        (lambda: Projector(ParallelBeam(size=8, views=6)).A(torch.ones(8, 8).long()), "int64"),
        (lambda: Projector(ParallelBeam(size=8, views=6, arc=2.0)).fbp(torch.ones(6, 12)), "full"),
        (lambda: Projector(ParallelBeam(size=8, views=6)).fbp(torch.ones(6, 12), "h"), "hann"),
        (lambda: photon_noise(torch.ones(3), 0, torch.Generator()), "photons"),
    ],
)
def test_errors(make, message: str) -> None:
    with pytest.raises(MedbookError, match=message):
        make()
