"""Shapes against formulas that are not the code's: chords, areas, sections, point sampling."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medbook.errors import MedbookError
from medbook.phantom import Boxes, Ellipsoids, Intersection, Sum
from medbook.phantom.shapes import base

KINDS = [Ellipsoids, Boxes]
f64 = torch.float64


def planar(kind, n=5, batch=2, seed=0, dtype=f64):
    rng = np.random.default_rng(seed)
    return kind.from_angle(
        *(
            torch.tensor(rng.uniform(low, high, (batch, n, *rest)), dtype=dtype)
            for low, high, rest in ((-20, 20, (2,)), (1, 30, (2,)), (-4, 4, ()), (-1, 2, ()))
        )
    )


def solid(kind, n=4, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    turned = Rotation.random(batch * n, random_state=seed).as_matrix().reshape(batch, n, 3, 3)
    numbers = (
        rng.uniform(-20, 20, (batch, n, 3)), rng.uniform(3, 30, (batch, n, 3)), turned,
        rng.uniform(-1, 2, (batch, n)),
    )  # fmt: skip
    return kind(*map(torch.tensor, numbers))


def lines(n=50, dim=2, seed=1, reach=30.0):
    rng = np.random.default_rng(seed)
    direction = rng.standard_normal((n, dim))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return torch.tensor(rng.uniform(-reach, reach, (n, dim))), torch.tensor(direction)


def value_at(shapes, points):
    """Sum of the values at points (P, d), from the definition of the shapes: (B, P)."""
    c, a, r, v = (t.numpy() for t in (shapes.centre, shapes.axes, shapes.rotation, shapes.value))
    norm = 2 if isinstance(shapes, Ellipsoids) else np.inf
    found = np.zeros((len(v), len(points)))
    for b in range(v.shape[0]):
        for n in range(v.shape[1]):
            own = (points - c[b, n]) @ r[b, n] / a[b, n]
            found[b] += v[b, n] * (np.linalg.norm(own, ord=norm, axis=1) < 1)
    return found


def parallel_view(angle, pitch, reach=120.0):
    s = torch.arange(-reach, reach, pitch, dtype=f64) + pitch / 2
    u = torch.tensor([math.cos(angle), math.sin(angle)], dtype=f64)
    return s[:, None] * u, torch.stack([-u[1], u[0]]).expand(len(s), 2)


# --- line integrals -------------------------------------------------------------------------------


@given(st.floats(-3, 3), st.floats(-30, 30), st.floats(1, 20), st.floats(1, 20), st.floats(-3, 3))
def test_ellipse_against_the_formula_of_kak_and_slaney(theta, t, a, b, alpha):
    """Kak and Slaney 1988, section 3.1, eqs. 5 to 10."""
    x1, y1, rho = 3.0, -2.0, 0.7
    ellipse = Ellipsoids.from_angle(
        *(torch.tensor([x], dtype=f64) for x in ([[x1, y1]], [[a, b]], [alpha], [rho]))
    )
    u = torch.tensor([[math.cos(theta), math.sin(theta)]], dtype=f64)
    found = ellipse.line_integrals(t * u, torch.stack([-u[:, 1], u[:, 0]], 1)).item()
    s = t - x1 * math.cos(theta) - y1 * math.sin(theta)
    squared = (a * math.cos(theta - alpha)) ** 2 + (b * math.sin(theta - alpha)) ** 2
    expected = 2 * rho * a * b / squared * math.sqrt(max(0, squared - s**2))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [2, 3])
def test_sums_along_a_line_approach_its_integral(kind, dim):
    shapes = planar(kind) if dim == 2 else solid(kind)
    origin, direction = lines(20, dim)
    exact = shapes.line_integrals(origin, direction).numpy()
    errors = []
    for step in (1.0, 0.1, 0.01):
        t = np.arange(-120, 120, step) + step / 2
        points = (origin[:, None] + torch.tensor(t)[:, None] * direction[:, None]).numpy()
        sums = value_at(shapes, points.reshape(-1, dim)).reshape(2, 20, -1).sum(-1) * step
        errors.append(np.abs(sums - exact).mean())
    assert np.abs(exact).max() > 10
    assert errors[1] < 0.2 * errors[0] and errors[2] < 0.2 * errors[1] and errors[2] < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_every_view_sees_the_same_mass(kind):
    shapes = planar(kind)
    area = (math.pi if kind is Ellipsoids else 4) * shapes.axes.prod(-1)
    for angle in (0.0, 0.4, math.pi / 2, 2.5):
        views = shapes.line_integrals(*parallel_view(angle, 0.02))
        torch.testing.assert_close(
            views.sum(1) * 0.02, (area * shapes.value).sum(1), rtol=1e-3, atol=0.1
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [2, 3])
def test_turning_and_moving_object_and_lines_together_changes_nothing(kind, dim):
    shapes, (origin, direction) = planar(kind) if dim == 2 else solid(kind), lines(dim=dim)
    turn = torch.linalg.qr(
        torch.randn(dim, dim, generator=torch.Generator().manual_seed(2), dtype=f64)
    )[0]
    shift = torch.linspace(-400, 900, dim, dtype=f64)
    moved = kind(shapes.centre @ turn.T + shift, shapes.axes, turn @ shapes.rotation, shapes.value)
    torch.testing.assert_close(
        moved.line_integrals(origin @ turn.T + shift, direction @ turn.T),
        shapes.line_integrals(origin, direction), rtol=1e-7, atol=1e-6,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_where_a_line_starts_and_how_long_its_direction_is_do_not_matter(kind):
    shapes, (origin, direction) = planar(kind), lines()
    expected = shapes.line_integrals(origin, direction)
    other = shapes.line_integrals(origin - 1000 * direction, -0.01 * direction)
    torch.testing.assert_close(other, expected, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plane_through_a_solid_sees_its_section(kind):
    height, c, axes = (
        3.0,
        torch.tensor([4.0, -2.0, 1.0], dtype=f64),
        torch.tensor([9.0, 5.0, 7.0], dtype=f64),
    )
    eye = torch.eye(3, dtype=f64)[None, None]
    one = kind(c[None, None], axes[None, None], eye, torch.ones(1, 1, dtype=f64))
    shrunk = math.sqrt(1 - ((height - 1) / 7) ** 2) if kind is Ellipsoids else 1.0
    section = kind(c[None, None, :2], shrunk * axes[None, None, :2], eye[..., :2, :2], one.value)
    origin, direction = lines()
    lifted = torch.nn.functional.pad(origin, (0, 1), value=height)
    found = one.line_integrals(lifted, torch.nn.functional.pad(direction, (0, 1)))
    torch.testing.assert_close(found, section.line_integrals(origin, direction))
    assert (found > 1).sum() > 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_its_items_and_a_sum_its_shapes(kind, monkeypatch):
    shapes, rays = planar(kind, batch=3), lines()
    whole, picture = shapes.line_integrals(*rays), shapes.image(17, 5.0)
    assert whole.shape == (3, 50) and picture.shape == (3, 1, 17, 17)
    for b in range(3):
        torch.testing.assert_close(shapes[b : b + 1].line_integrals(*rays)[0], whole[b])
        torch.testing.assert_close(shapes[b : b + 1].image(17, 5.0)[0], picture[b])
    parts = [shapes._map(lambda t, n=n: t[:, n : n + 1]) for n in range(5)]
    total = Sum(tuple(parts[:4])) + parts[4]
    assert len(total) == 3 and len(total.parts) == 5 and len(total[:2]) == 2
    torch.testing.assert_close(total.line_integrals(*rays), whole)
    torch.testing.assert_close(total.image(17, 5.0), picture)
    monkeypatch.setattr(base, "CHUNK", 40)  # two lines at a time
    torch.testing.assert_close(shapes.line_integrals(*rays), whole)
    torch.testing.assert_close(shapes.image(17, 5.0), picture)


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_float32_is_as_good_as_its_parameters(seed):
    """A small sphere far from the source: |p|^2 - (p.q)^2 / |q|^2 would lose it in float32."""
    rng = np.random.default_rng(seed)
    for kind in KINDS:
        small = torch.tensor(rng.uniform(-100, 100, (1, 1, 3)), dtype=torch.float32)
        one = kind(
            small, torch.full_like(small, 0.5), torch.eye(3)[None, None], torch.full((1, 1), 2.0)
        )
        source = torch.tensor([[0.0, -1000.0, 0.0]])
        found = one.line_integrals(source.double(), small[0].double() - source)
        assert found.dtype == torch.float32
        if kind is Ellipsoids:
            assert found.item() == pytest.approx(2.0, rel=1e-6)
        exact = one.to(f64).line_integrals(source.double(), small[0].double() - source)
        assert found.item() == pytest.approx(exact.item(), rel=1e-6)


def test_lines_that_miss_touch_or_run_along():
    disc = Ellipsoids.from_angle([[[5.0, 0.0]]], [[[5.0, 5.0]]], [[0.0]], [[1.0]])
    box = Boxes.from_angle([[[5.0, 0.0]]], [[[5.0, 5.0]]], [[0.0]], [[1.0]])
    up = torch.tensor([[0.0, 1.0]]).expand(6, 2)
    x = torch.tensor([-0.001, 10.001, 0.0, 10.0, 5.0, 9.0])
    at = torch.stack([x, torch.zeros(6)], 1)
    on_disc, on_box = (shape.line_integrals(at, up)[0] for shape in (disc, box))
    assert on_disc[:4].tolist() == [0, 0, 0, 0] and on_disc[4] == 10 and on_disc[5] == 6
    assert on_box.tolist() == [0, 0, 0, 0, 10, 10]  # one that runs along a side is outside
    corner = box.line_integrals(torch.tensor([[0.0, 5.0]]), torch.tensor([[1.0, 1.0]]))
    assert corner.item() == 0


# --- intersections --------------------------------------------------------------------------------


def test_two_discs_share_a_lens():
    r, d = 10.0, 8.0
    first, second = (
        Ellipsoids.from_angle([[[x, 1.0]]], [[[r, r]]], [[0.0]], [[5.0]]).to(f64)
        for x in (-d / 2, d / 2)
    )
    lens = Intersection(first, second, torch.tensor([[0.3]], dtype=f64))
    area = 2 * r**2 * math.acos(d / (2 * r)) - d / 2 * math.sqrt(4 * r**2 - d**2)
    for angle in (0.0, 1.1, math.pi / 2):
        mass = lens.line_integrals(*parallel_view(angle, 0.01)).sum() * 0.01
        assert mass.item() == pytest.approx(0.3 * area, rel=1e-4)
    assert lens.image(40, 1.0, 16).sum().item() == pytest.approx(0.3 * area, rel=1e-3)


def test_intersections_agree_with_points_and_nest():
    disc, box, other = planar(Ellipsoids), planar(Boxes, seed=3), planar(Ellipsoids, seed=4)
    both = Intersection(Intersection(disc, box, disc.value), other, torch.ones(2, 5, dtype=f64))
    origin, direction = lines(20)
    t = torch.arange(-100, 100, 0.02, dtype=f64)
    points = (origin[:, None] + t[:, None] * direction[:, None]).reshape(-1, 2).numpy()
    expected = np.zeros((2, len(points)))
    for n in range(5):
        alone = (s._map(lambda t, n=n: t[:, n : n + 1]) for s in (disc, box, other))
        expected += np.prod([value_at(s, points) != 0 for s in alone], axis=0)
    expected = expected.reshape(2, 20, -1).sum(-1) * 0.02
    found = both.line_integrals(origin, direction).numpy()
    assert found.max() > 10
    np.testing.assert_allclose(found, expected, atol=0.2)


# --- images ---------------------------------------------------------------------------------------


def test_row_0_is_on_top_and_x_runs_to_the_right():
    h, w, pixel = 5, 8, 2.0
    for i, j in ((0, 0), (0, 7), (4, 2), (3, 6)):
        centre = torch.tensor([[[(j - (w - 1) / 2) * pixel, ((h - 1) / 2 - i) * pixel]]])
        half = torch.full_like(centre, pixel / 2)
        square = Boxes.from_angle(centre, half, torch.zeros(1, 1), torch.full((1, 1), 3.0))
        expected = torch.zeros(1, 1, h, w)
        expected[0, 0, i, j] = 3
        torch.testing.assert_close(square.image((h, w), pixel), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7, 12])
def test_pixels_are_means_over_points(kind, size):
    shapes, pixel, fine = planar(kind), 80 / size, 420 // size
    axis = (np.arange(size * fine) + 0.5) / fine * pixel - 40
    x, y = np.meshgrid(axis, -axis)
    values = value_at(shapes, np.stack([x.ravel(), y.ravel()], 1))
    expected = values.reshape(2, 1, size, fine, size, fine).mean((3, 5))
    found = shapes.image(size, pixel, 64).numpy()
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert np.abs(expected).max() > 0.1


def test_oversampling_helps_and_is_exact_along_x():
    shapes = planar(Ellipsoids)
    fine = shapes.image(16, 5.0, 128)
    errors = [(shapes.image(16, 5.0, n) - fine).abs().mean() for n in (1, 4, 16)]
    assert errors[1] < 0.4 * errors[0] and errors[2] < 0.4 * errors[1]
    upright = Boxes.from_angle([[[0.3, 0.0]]], [[[1.1, 9.0]]], [[0.0]], [[1.0]])
    row = upright.image((1, 4), 1.0, 1)[0, 0, 0]
    torch.testing.assert_close(row, torch.tensor([0.0, 0.8, 1.0, 0.4]), rtol=0, atol=1e-6)


def test_columns_of_an_image_approach_line_integrals():
    shapes, errors = planar(Ellipsoids), []
    for size in (16, 64, 256):
        pixel = 100 / size
        x = (torch.arange(size, dtype=f64) - (size - 1) / 2) * pixel
        at = torch.stack([x, torch.zeros_like(x)], 1)
        exact = shapes.line_integrals(at, torch.tensor([[0.0, 1.0]], dtype=f64).expand(size, 2))
        errors.append((shapes.image(size, pixel)[:, 0].sum(1) * pixel - exact).abs().mean())
    assert errors[1] < 0.5 * errors[0] and errors[2] < 0.5 * errors[1]


# --- what it takes, and what it refuses -----------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_dtype_follows_the_shapes(dtype):
    both = planar(Ellipsoids, dtype=dtype) + planar(Boxes, dtype=dtype)
    assert both.dtype == both.line_integrals(*lines()).dtype == both.image(4, 1.0).dtype == dtype
    assert both.to(f64).image(4, 1.0).dtype == f64
    torch.testing.assert_close(both.to(f64).image(9, 7.0), both.image(9, 7.0).double())


def parameters(**changed):
    given = {"centre": torch.zeros(1, 2, 2), "axes": torch.ones(1, 2, 2)}
    given |= {"rotation": torch.eye(2).expand(1, 2, 2, 2), "value": torch.ones(1, 2)}
    return given | changed


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"axes": torch.tensor([[[1.0, 1.0], [0.0, 1.0]]])}, "axes must be > 0"),
        ({"axes": torch.full((1, 2, 2), -1.0)}, "axes must be > 0"),
        ({"value": torch.tensor([[1.0, math.nan]])}, "finite"),
        ({"value": torch.ones(2)}, r"not .*\(2,\)"),
        ({"centre": torch.zeros(2, 2)}, r"must be \(B, N, d\)"),
        ({"rotation": torch.ones(1, 2, 2, 2)}, "orthogonal"),
        ({"value": torch.ones(1, 2, dtype=f64)}, "dtype"),
        ({"value": torch.ones(1, 2, dtype=torch.int64)}, "dtype"),
    ],
)
def test_bad_shapes_are_refused(changed, said):
    for kind in KINDS:
        kind(**parameters())
        with pytest.raises(MedbookError, match=said):
            kind(**parameters(**changed))


def test_bad_lines_images_and_sums_are_refused():
    one, flat = Ellipsoids(**parameters()), torch.tensor([[1.0, 0.0]])
    for origin, direction in (
        (flat, torch.zeros(1, 2)), (flat, torch.ones(2, 2)), (torch.zeros(1, 3), torch.ones(1, 3)),
        (flat * math.nan, flat), (flat[0], flat[0]),
    ):  # fmt: skip
        with pytest.raises(MedbookError):
            one.line_integrals(origin, direction)
    for bad in ((0, 1.0, 4), (4, -1.0, 4), (4, 1.0, 0), ((4, 0), 1.0, 4)):
        with pytest.raises(MedbookError, match="positive"):
            one.image(*bad)
    with pytest.raises(MedbookError, match="3 dimensions"):
        solid(Boxes).image(4, 1.0)
    with pytest.raises(MedbookError, match="add up"):
        one + planar(Boxes, batch=3, dtype=torch.float32)
    with pytest.raises(MedbookError, match="intersection"):
        Intersection(one, planar(Boxes, batch=1, n=3, dtype=torch.float32), one.value)
