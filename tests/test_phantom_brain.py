"""K-space of shapes and heads against integrals, projections, FFTs of images and its definition."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from medbook.errors import MedbookError
from medbook.phantom.shapes.convex import Boxes, Ellipsoids
from medbook.phantom.shapes.fourier import fourier
from medbook.phantom.slices.brain import Brain
from medbook.phantom.slices.heads import brain_like
from medbook.phantom.slices.waves import PlaneWaves, multiplied
from medbook.physics.mri.fourier import fft2c, ifft2c
from medbook.physics.mri.loops import head_coils

f64 = torch.float64
FIELD = 220.0


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def ellipses(batch=2, n=4, seed=0, reach=15.0):
    rng = np.random.default_rng(seed)
    return Ellipsoids.from_angle(
        *(
            torch.tensor(rng.uniform(low, high, (batch, n, *rest)), dtype=f64)
            for low, high, rest in ((-reach, reach, (2,)), (2, 20, (2,)), (-4, 4, ()), (-1, 2, ()))
        )
    )


def frequencies(n=40, highest=0.1, seed=1):
    return torch.tensor(np.random.default_rng(seed).uniform(-highest, highest, (n, 2)))


# --- shapes ---------------------------------------------------------------------------------------


def test_an_ellipse_is_its_integral():
    """Its vertical chords, integrated along x with the wave."""
    c, (a, b), k = (3.0, -2.0), (9.0, 5.0), (0.03, -0.08)
    shape = Ellipsoids.from_angle([[c]], [[(a, b)]], [[0.0]], [[2.0]]).to(f64)

    def chord(x):
        half = b * math.sqrt(max(0.0, 1 - (x / a) ** 2))
        return math.sin(2 * math.pi * k[1] * half) / (math.pi * k[1])

    waves = (
        lambda x: math.cos(2 * math.pi * k[0] * x),
        lambda x: -math.sin(2 * math.pi * k[0] * x),
    )
    re, im = (quad(lambda x, w=w: chord(x) * w(x), -a, a, epsabs=1e-11)[0] for w in waves)
    moved = np.exp(-2j * math.pi * (k[0] * c[0] + k[1] * c[1]))
    found = fourier(shape, torch.tensor([k], dtype=f64)).item()
    assert found == pytest.approx(2 * (re + 1j * im) * moved, abs=1e-7)


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2, 2.5])
def test_a_line_through_k_space_is_the_transform_of_a_projection(angle):
    shapes, step = ellipses(), 0.01
    s = torch.arange(-60, 60, step, dtype=f64) + step / 2
    u = torch.tensor([math.cos(angle), math.sin(angle)], dtype=f64)
    views = shapes.line_integrals(s[:, None] * u, torch.stack([-u[1], u[0]]).expand(len(s), 2))
    f = torch.linspace(-0.1, 0.1, 11, dtype=f64)
    expected = views.to(torch.complex128) @ torch.exp(-2j * math.pi * s[:, None] * f) * step
    torch.testing.assert_close(fourier(shapes, f[:, None] * u), expected, rtol=0, atol=0.05)
    assert expected.abs().max() > 500


def test_the_fft_of_images_approaches_it():
    """Pixels have their centres half a pixel from those of a centred FFT: a linear phase."""
    shapes, width, errors = ellipses(), 100.0, []
    u = torch.arange(-8, 9, dtype=f64)
    k = torch.cartesian_prod(-u / width, u / width).flip(1)  # rows of k-space go down
    exact = fourier(shapes, k).reshape(2, 17, 17)
    for size in (32, 64, 128, 256):
        pixel, mid = width / size, size // 2
        image = shapes.image(size, pixel, oversample=8)[:, 0].to(torch.complex128)
        rows = fft2c(image)[:, mid - 8 : mid + 9, mid - 8 : mid + 9] * size * pixel**2
        half = torch.exp(-1j * math.pi * u / size)
        errors.append((rows * half[:, None] * half - exact).abs().max() / exact.abs().max())
    assert all(finer < 0.3 * coarser for coarser, finer in pairwise(errors))
    assert errors[-1] < 2e-3


def test_at_zero_it_is_the_area_and_areas_add():
    shapes = ellipses()
    area = (math.pi * shapes.axes.prod(-1) * shapes.value).sum(1)
    at_zero = torch.zeros(1, 2)
    torch.testing.assert_close(fourier(shapes, at_zero)[:, 0], area.to(torch.complex128))
    torch.testing.assert_close(fourier(shapes + shapes, at_zero)[:, 0].real, 2 * area)
    near = fourier(shapes, torch.full((1, 2), 1e-9, dtype=f64))[:, 0].real
    torch.testing.assert_close(near, area, rtol=1e-7, atol=1e-6)


def test_it_is_hermitian_and_moves_and_turns_with_the_shapes():
    shapes, k = ellipses(), frequencies()
    F = fourier(shapes, k)
    torch.testing.assert_close(fourier(shapes, -k), F.conj())
    shift, c, s = torch.tensor([4.0, -7.0], dtype=f64), math.cos(0.7), math.sin(0.7)
    moved = replace(shapes, centre=shapes.centre + shift)
    torch.testing.assert_close(fourier(moved, k), F * torch.exp(-2j * math.pi * (k @ shift)))
    turn = torch.tensor([[c, -s], [s, c]], dtype=f64)
    turned = replace(shapes, centre=shapes.centre @ turn.T, rotation=turn @ shapes.rotation)
    torch.testing.assert_close(fourier(turned, k @ turn.T), F)


def test_dtype_follows_the_shapes_and_many_frequencies_are_cut_in_pieces(monkeypatch):
    shapes, k = ellipses(), frequencies()
    F = fourier(shapes, k)
    single = fourier(shapes.to(torch.float32), k)
    assert single.dtype == torch.complex64 and F.dtype == torch.complex128
    torch.testing.assert_close(single, F.to(torch.complex64), rtol=1e-4, atol=2e-2)
    monkeypatch.setattr("medbook.phantom.shapes.fourier.CHUNK", 30)
    torch.testing.assert_close(fourier(shapes, k), F)


def test_shapes_without_closed_form_and_bad_frequencies_are_refused():
    box = Boxes.from_angle([[[0.0, 0.0]]], [[[1.0, 1.0]]], [[0.0]], [[1.0]])
    one = torch.ones(1, 1)
    ball = Ellipsoids(torch.zeros(1, 1, 3), one.expand(1, 1, 3), torch.eye(3)[None, None], one)
    for shapes in (
        box,
        box + Ellipsoids.from_angle([[[0.0, 0]]], [[[1.0, 1]]], [[0.0]], [[1.0]]),
        ball,
    ):
        with pytest.raises(MedbookError, match="closed form"):
            fourier(shapes, torch.zeros(1, 2))
    for k in (torch.zeros(2), torch.zeros(1, 3), torch.full((1, 2), math.nan)):
        with pytest.raises(MedbookError, match="frequencies"):
            fourier(ellipses(), k)


# --- plane waves ----------------------------------------------------------------------------------


def waves(batch, n=5, seed=0, own=True):
    rng = np.random.default_rng(seed)
    c = rng.standard_normal((batch, n)) + 1j * rng.standard_normal((batch, n))
    f = rng.integers(-3, 4, (batch, n, 2) if own else (n, 2)) / 2
    return PlaneWaves(torch.tensor(c), torch.tensor(f))


def test_values_are_the_stated_sum():
    w, x, y = (
        waves(2),
        torch.tensor([0.1, -0.3, 0.4], dtype=f64),
        torch.tensor([0.2, 0.5], dtype=f64),
    )
    found = w.values(x, y)
    assert found.shape == (2, 2, 3)
    for b in range(2):
        for i, j in ((0, 2), (1, 0)):
            r = torch.stack([x[j], y[i]])
            expected = (w.coefficients[b] * torch.exp(2j * math.pi * (w.frequencies[b] @ r))).sum()
            torch.testing.assert_close(found[b, i, j], expected)


def test_a_product_is_the_product_of_values():
    x, y = torch.linspace(-0.5, 0.5, 7, dtype=f64), torch.linspace(-0.5, 0.4, 5, dtype=f64)
    many, one = waves(3, own=False), waves(1, n=4, seed=1)
    for product in (many * one, one * many):
        torch.testing.assert_close(product.values(x, y), many.values(x, y) * one.values(x, y))
    torch.testing.assert_close((many * PlaneWaves.constant(1)).values(x, y), many.values(x, y))


@pytest.mark.parametrize("side", [9, 14])
def test_multiplied_is_the_convolution(side):
    rng = np.random.default_rng(0)
    F = torch.tensor(rng.standard_normal((2, side, side)) + 0j)
    w, m = waves(2), 3
    expected = torch.zeros(2, side - 2 * m, side - 2 * m, dtype=torch.complex128)
    assert w.reach == m
    for b in range(2):
        for c, f in zip(w.coefficients[b], (2 * w.frequencies[b]).long(), strict=True):
            rows, columns = (slice(m - n, side - m - n) for n in (int(f[1]), int(f[0])))
            expected[b] += c * F[b, rows, columns]
    torch.testing.assert_close(multiplied(F, w), expected)
    with pytest.raises(MedbookError, match="too small"):
        multiplied(F[:, :6, :6], w)


def test_bad_waves_are_refused():
    c = torch.ones(2, 3, dtype=torch.complex128)
    for bad in (torch.zeros(3), torch.zeros(2, 2), torch.zeros(1, 3, 2)):
        with pytest.raises(MedbookError, match=r"give complex \(B, L\)"):
            PlaneWaves(c, bad)
    with pytest.raises(MedbookError, match="complex"):
        PlaneWaves(c.real, torch.zeros(3, 2))
    with pytest.raises(MedbookError, match="half a cycle"):
        PlaneWaves(c, torch.full((3, 2), 0.25))


# --- heads ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def heads() -> Brain:
    return brain_like(3, seeded()).to(f64)


@pytest.fixture(scope="module")
def many() -> Brain:
    return brain_like(200, seeded(1))


def plain(heads):
    """Without phase and texture: real."""
    one = PlaneWaves.constant(len(heads))
    none = replace(one, coefficients=0 * one.coefficients)
    return replace(heads, phase=one, texture=none)


def cropped_fft(heads, size, factor, coils=None):
    """K-space of a grid from the FFT of an image that is `factor` times finer."""
    fine = size * factor
    image = heads.image(fine, oversample=3)
    if coils is not None:
        image = image * coils.maps(fine, image.dtype)
    low = fine // 2 - size // 2
    return fft2c(image)[..., low : low + size, low : low + size] / factor


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("coils", [None, head_coils(3)])
def test_k_space_is_what_the_fft_of_ever_finer_images_approaches(heads, size, coils):
    exact = heads.kspace(size, coils)
    assert exact.shape == (3, 1 if coils is None else 3, size, size)
    errors = [
        ((cropped_fft(heads, size, factor, coils) - exact).norm() / exact.norm()).item()
        for factor in (2, 4, 8)
    ]
    assert errors[1] < 0.4 * errors[0] and errors[2] < 0.4 * errors[1] and errors[2] < 3e-3
    u = torch.arange(size, dtype=f64) - size // 2
    for moved in (torch.exp(1j * math.pi * u / size), torch.exp(1j * math.pi * u / size)[:, None]):
        assert (exact * moved - exact).norm() > 20 * errors[2] * exact.norm()  # half a pixel
    for other in (exact.flip(-2), exact.mT, exact.conj()):
        assert (other - exact).norm() > 20 * errors[2] * exact.norm()


@pytest.mark.parametrize("coils", [None, head_coils(2)])
@pytest.mark.parametrize("size", [16, 17])
def test_the_grid_agrees_with_the_sum_over_all_waves(heads, coils, size):
    two = heads[:2]
    pick = [(0, 0), (size // 2, size // 2), (3, size - 1), (size - 2, 5), (size - 1, 2)]
    k = [((j - size // 2) / FIELD, -(i - size // 2) / FIELD) for i, j in pick]
    expected = two.fourier(torch.tensor(k, dtype=f64), coils) * size / FIELD**2
    grid = two.kspace(size, coils)
    found = torch.stack([grid[..., i, j] for i, j in pick], -1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_a_line_of_k_space_is_the_transform_of_a_projection(heads):
    """Off the grid: the central slice, from sums over the columns of a fine image."""
    f = torch.tensor([-0.061, -0.013, 0.0, 0.0271, 0.05], dtype=f64)
    found = heads.fourier(torch.stack([f, 0 * f], 1))[:, 0]
    size, pixel = 512, FIELD / 512
    x = (torch.arange(size, dtype=f64) - size // 2) * pixel
    columns = heads.image(size, oversample=1)[:, 0].sum(1) * pixel
    expected = columns @ torch.exp(-2j * math.pi * x[:, None] * f) * pixel
    assert (found - expected).norm() < 2e-3 * expected.norm()


def test_at_zero_it_is_the_integral(heads):
    zero = heads.fourier(torch.zeros(1, 2))[:, 0, 0]
    image = heads.image(128, oversample=4)
    total = image.sum((1, 2, 3)) * (FIELD / 128) ** 2
    torch.testing.assert_close(zero, total, rtol=2e-4, atol=1.0)
    shapes = plain(heads)
    area = sum(
        (math.pi * part.axes.prod(-1) * part.value).sum(1)
        for part in (heads.anatomy, heads.lesions)
    )
    torch.testing.assert_close(shapes.kspace(8)[:, 0, 4, 4].real, area * 8 / FIELD**2)


def test_k_space_is_hermitian_without_phase_alone(heads):
    def asymmetry(k):
        inner = k[:, 0, 1:, 1:]
        return ((inner - inner.flip(1, 2).conj()).norm() / inner.norm()).item()

    real = replace(heads, phase=PlaneWaves.constant(3))
    assert asymmetry(real.kspace(32)) < 1e-12
    assert asymmetry(heads.kspace(32)) > 0.1
    assert asymmetry(real.kspace(32, head_coils(1))) > 0.1
    assert plain(heads).scanner_image(33).imag.abs().max() < 1e-12


def test_the_scanner_sees_the_object_band_limited(heads):
    exact, seen = heads.image(128), heads.scanner_image(128)
    assert seen.shape == (3, 1, 128, 128)
    torch.testing.assert_close(fft2c(seen), heads.kspace(128))
    error = (seen - exact).norm() / exact.norm()
    assert 0.01 < error < 0.1  # Gibbs ringing
    assert (heads.scanner_image(32) - heads.image(32)).norm() / exact.norm() * 4 > error
    low = ifft2c(heads.kspace(128)[..., 48:80, 48:80]) / 4
    torch.testing.assert_close(low, heads.scanner_image(32))


def test_heads_are_bright_outlines_in_an_empty_field(many):
    image, inside = plain(many).image(64, 2)[:, 0], many.support(64)[:, 0]
    assert image.dtype == torch.complex64 and inside.dtype == torch.bool
    values = image.real
    assert values.min() > -1e-5 and values.max() < 1.5 and image.imag.abs().max() < 1e-6
    edge = torch.ones(64, 64, dtype=torch.bool)
    edge[1:, 1:] = False
    edge[-1], edge[:, -1] = True, True
    assert (values[:, edge].abs() < 1e-6).all()
    share = inside.float().mean((1, 2))
    assert share.min() > 0.3 and share.max() < 0.65
    dilated = torch.nn.functional.max_pool2d(inside.float()[:, None], 3, 1, 1)[:, 0] > 0
    assert (values[~dilated].abs() < 1e-6).all()
    eroded = torch.nn.functional.max_pool2d(1 - inside.float()[:, None], 3, 1, 1)[:, 0] == 0
    assert (values[eroded] > 0).all()
    outline = many.anatomy.axes[:, 0].prod(-1) * math.pi / (FIELD / 64) ** 2
    torch.testing.assert_close(inside.float().sum((1, 2)), outline, rtol=0.02, atol=0)


def test_half_of_the_heads_are_t1_like(many):
    """Fluid, the value of the first ventricle's hole, is darker than white matter, or brighter."""
    fluid = many.anatomy.value[:, 7]
    assert 60 < (fluid < 0).sum() < 140
    assert ((fluid < -0.4) | (fluid > 0.4)).all()


def test_the_phase_is_smooth_and_keeps_the_magnitude(many):
    r = torch.linspace(-0.32, 0.32, 33, dtype=f64)
    phase = many.phase.values(r, r)
    assert (phase.abs() - 1).abs().max() < 0.06
    step = (phase[:, 1:] * phase[:, :-1].conj()).angle().abs()
    assert 0.05 < step.max() < 0.3 and phase.mean((1, 2)).abs().min() < 0.9


def test_texture_is_fine_small_and_within_the_brain_alone(many):
    some = many[::20]
    smooth = replace(some, texture=plain(some).texture)
    grain = (some.image(128, 2) - smooth.image(128, 2))[:, 0].abs()
    brain = some._covers(some.tissue._map(lambda t: t[:, :1]), 128)[:, 0]
    near = torch.nn.functional.max_pool2d(brain.float()[:, None], 3, 1, 1)[:, 0] > 0
    assert grain[~near].max() < 1e-6
    for noise, inside in zip(grain, brain, strict=True):
        assert 0.005 < noise[inside].square().mean().sqrt() < 0.06
    r = torch.linspace(-0.5, 0.5, 64, dtype=f64)
    assert many.texture.values(r, r).imag.abs().max() < 1e-12
    size = many.texture.frequencies.norm(dim=-1)
    assert size.min() > 4.2 and size.max() < 20.8
    ventricles = many.tissue.value[:, 1:]
    assert (ventricles == -1).all() and ventricles.shape[1] == 5


def test_lesions_lie_in_the_white_matter_clear_of_fluid(many):
    there = many.lesions.value != 0
    assert (there.sum(1).bincount(minlength=4) > 20).all()  # none to three
    t = torch.linspace(0, 2 * math.pi, 25)
    circle = torch.stack([t.cos(), t.sin()], -1)  # (T, 2)

    def outline(shapes):
        unit = circle[:, None, None] * shapes.axes
        return shapes.centre + (shapes.rotation @ unit[..., None])[..., 0]  # (T, n, M, 2)

    def measure(points, shapes):
        own = (points[:, :, :, None] - shapes.centre[:, None]) @ torch.eye(2)
        own = (own[..., None, :] @ shapes.rotation[:, None])[..., 0, :] / shapes.axes[:, None]
        return own.norm(dim=-1)  # (T, n, M, N)

    edge = outline(many.lesions)
    white = many.anatomy._map(lambda t: t[:, 6:7])
    rest = many.anatomy._map(lambda t: t[:, 7:])
    assert (measure(edge, white)[..., 0][:, there] < 1).all()
    assert (measure(edge, rest).amin(-1)[:, there] > 1).all()
    others = measure(edge, many.lesions)
    for m in range(3):
        apart = others[:, :, m][..., [i for i in range(3) if i != m]]
        both = there[:, m, None] & there[:, [i for i in range(3) if i != m]]
        assert (apart[:, both] > 1).all()


def test_lesion_masks_are_where_lesions_change_the_image(many):
    some = plain(many[:40])
    healed = replace(some, lesions=replace(some.lesions, value=0 * some.lesions.value))
    change = (some.image(96, 2) - healed.image(96, 2))[:, 0].abs()
    masks, contrast = some.lesion_masks(96), some.lesions.value.abs()
    assert masks.shape == (40, 3, 96, 96) and masks.dtype == torch.bool
    assert torch.equal(masks.any((2, 3)), contrast > 0)
    for b, m in (contrast > 0).nonzero().tolist():
        inside = masks[b, m]
        assert change[b][inside].min() > 0.4 * contrast[b, m]
        torch.testing.assert_close(change[b][inside].max(), contrast[b, m], rtol=1e-3, atol=0)
    assert change[~masks.any(1)].max() < 0.6 * contrast.max()
    assert not (masks & ~some.support(96)).any()


def test_the_generator_alone_decides():
    before = torch.get_rng_state()
    first, again, other = (brain_like(2, seeded(s)).kspace(16) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again) and not torch.allclose(first, other)
    generator = seeded()
    brain_like(2, generator)
    assert not torch.allclose(brain_like(2, generator).kspace(16), first)  # it moved on


def test_a_batch_is_its_heads(many):
    some, coils = many[:11], head_coils(2)  # more than are computed together
    assert len(some) == 11
    k = frequencies(5, 0.03)
    one = some[9:10]
    torch.testing.assert_close(some.kspace(16, coils)[9], one.kspace(16, coils)[0])
    torch.testing.assert_close(some.image(16)[9], one.image(16)[0])
    torch.testing.assert_close(some[8:10].fourier(k, coils)[1], one.fourier(k, coils)[0])
    picked = some[torch.tensor([9, 2])]
    torch.testing.assert_close(picked.scanner_image(16)[0], one.scanner_image(16)[0])


def test_precision_follows(many):
    few = many[:2]
    double = few.to(f64)
    assert few.kspace(16).dtype == few.image(16).dtype == torch.complex64
    assert double.kspace(16).dtype == double.image(16).dtype == torch.complex128
    assert double.fourier(torch.zeros(1, 2)).dtype == torch.complex128
    torch.testing.assert_close(double.kspace(16).to(torch.complex64), few.kspace(16))


def test_sizes_grow_with_the_field():
    small, large = (brain_like(2, seeded(), field_mm=f) for f in (110, 440))
    torch.testing.assert_close(small.image(24), large.image(24), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(small.kspace(24), large.kspace(24), rtol=1e-4, atol=1e-4)


def test_bad_numbers_are_refused(heads):
    with pytest.raises(MedbookError, match="at least 1"):
        brain_like(0, seeded())
    for field in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(MedbookError, match="field_mm"):
            brain_like(1, seeded(), field_mm=field)
    for call in (lambda: heads.kspace(0), lambda: heads.image(0), lambda: heads.image(8, 0)):
        with pytest.raises(MedbookError, match=">= 1"):
            call()
