"""Shapes that cover each other, and windows of small ones: against sums, points and Fourier."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from medbook.errors import MedbookError
from medbook.phantom import Boxes, Ellipsoids, Intersection
from medbook.phantom.shapes.painted import Painted
from medbook.phantom.thorax import View
from medbook.phantom.thorax.splat import splat

f64 = torch.float64


def solid(kind, n=3, batch=2, seed=0, reach=20.0, least=5.0, most=30.0):
    rng = np.random.default_rng(seed)
    turned = Rotation.random(batch * n, random_state=seed).as_matrix().reshape(batch, n, 3, 3)
    return kind(
        *map(
            torch.tensor,
            (
                rng.uniform(-reach, reach, (batch, n, 3)),
                rng.uniform(least, most, (batch, n, 3)),
                turned,
                rng.uniform(-1, 2, (batch, n)),
            ),
        )
    )


def lines(n=20, seed=1, reach=20.0):
    rng = np.random.default_rng(seed)
    direction = rng.standard_normal((n, 3))
    return torch.tensor(rng.uniform(-reach, reach, (n, 3))), torch.tensor(direction)


@pytest.fixture
def mixed():
    first, second = solid(Ellipsoids, 2, seed=2), solid(Boxes, 2, seed=3)
    both = Intersection(first, second, first.value)
    return Painted((solid(Ellipsoids), both, solid(Boxes, 2, seed=4), solid(Ellipsoids, 1, seed=5)))


def one_by_one(kinds):
    """Each shape as (kind, centre, axes, rotation) or a pair of such, for each object."""
    for kind in kinds:
        if isinstance(kind, Intersection):
            yield from zip(one_by_one([kind.first]), one_by_one([kind.second]), strict=True)
        else:
            tensors = [t.numpy() for t in kind._tensors()[:3]]
            yield from (
                (type(kind), *(t[:, k] for t in tensors)) for k in range(tensors[0].shape[1])
            )


def inside(shape, b, points):
    """From the definition of the shapes, in NumPy."""
    if len(shape) == 2:
        return inside(shape[0], b, points) & inside(shape[1], b, points)
    kind, centre, axes, rotation = shape
    own = (points - centre[b]) @ rotation[b] / axes[b]
    return np.linalg.norm(own, ord=2 if kind is Ellipsoids else np.inf, axis=1) < 1


def test_the_last_shape_that_holds_a_point_is_on_top(mixed):
    points = torch.tensor(np.random.default_rng(0).uniform(-40, 40, (500, 3)))
    expected = np.zeros((2, 500), dtype=int)
    for number, shape in enumerate(one_by_one(mixed.kinds), 1):
        for b in range(2):
            expected[b][inside(shape, b, points.numpy())] = number
    assert mixed.count == 8 and set(np.unique(expected)) == set(range(9))
    assert np.array_equal(mixed.top(points).numpy(), expected)
    own = torch.stack([points, -points])  # other points for each object
    again = torch.stack([mixed.top(points)[0], mixed.top(-points)[1]])
    assert torch.equal(mixed.top(own), again)


def test_sums_along_a_line_approach_its_integral(mixed):
    origin, direction = lines()
    values = torch.tensor(np.random.default_rng(1).uniform(-1, 2, (2, 3, 8)))
    exact = mixed.integrals(origin, direction, values)
    assert exact.shape == (2, 3, 20) and exact.abs().max() > 10
    padded, errors = torch.nn.functional.pad(values, (1, 0)), []
    length = direction.norm(dim=1)
    for step in (1.0, 0.1):
        t = torch.arange(-150, 150, step, dtype=f64) + step / 2
        points = origin[:, None] + t[:, None] / length[:, None, None] * direction[:, None]
        top = mixed.top(points.reshape(-1, 3))
        for c in range(3):
            sums = padded[:, c].gather(1, top).view(2, 20, -1).sum(-1) * step
            errors.append((sums - exact[:, c]).abs().mean())
    assert max(errors[3:]) < 0.2 * max(errors[:3]) and max(errors[3:]) < 0.1


def test_a_shape_alone_and_shapes_apart_are_plain_line_integrals():
    shapes = solid(Ellipsoids, 3, least=1, most=4)
    shapes = Ellipsoids(shapes.centre + 40 * torch.arange(3.0)[:, None], *shapes._tensors()[1:])
    rays = lines(200, reach=60)
    found = Painted((shapes,)).integrals(*rays, shapes.value[:, None])[:, 0]
    torch.testing.assert_close(found, shapes.line_integrals(*rays))


def test_a_shape_painted_twice_counts_once_whichever_value_is_last():
    ball, rays = solid(Ellipsoids, 1), lines(50)
    values = torch.tensor([[[5.0, 2.0]], [[5.0, 2.0]]], dtype=f64)
    alone = Painted((ball,)).integrals(*rays, values[..., 1:])
    torch.testing.assert_close(Painted((ball, ball)).integrals(*rays, values), alone)


def test_many_rays_are_cut_in_pieces(mixed, monkeypatch):
    values, rays = torch.ones(2, 1, 8), lines(50)
    whole = mixed.integrals(*rays, values)
    monkeypatch.setattr("medbook.phantom.shapes.painted.EVENTS", 100)
    torch.testing.assert_close(mixed.integrals(*rays, values), whole)


def test_too_many_shapes_and_other_numbers_of_objects_are_refused():
    with pytest.raises(MedbookError, match="at most 52"):
        Painted((solid(Ellipsoids, 53),))
    with pytest.raises(MedbookError, match="equal numbers"):
        Painted((solid(Ellipsoids), solid(Boxes, batch=1)))


@pytest.mark.parametrize("source", [600.0, math.inf])
@pytest.mark.parametrize("angle", [0.0, 0.7, 3.5])
@pytest.mark.parametrize("size", [33, (20, 47)])
def test_windows_hold_all_that_an_ellipsoid_casts(source, angle, size):
    view = View(size, 150.0, angle, source)
    for least, most in ((0.3, 2.0), (3.0, 60.0)):
        shapes = solid(Ellipsoids, 40, reach=90.0, least=least, most=most, seed=7)
        found = splat(shapes, view)
        exact = shapes.line_integrals(*view.rays()).view(2, *view.shape)
        torch.testing.assert_close(found, exact, rtol=0, atol=1e-5)
        assert exact.any()


def test_a_projection_has_the_spectrum_of_the_ellipsoid():
    """The central slice of the closed form in 3D, from the picture alone."""
    shapes, view = solid(Ellipsoids, 4, least=6, seed=8), View(300, 150.0, 0.4, math.inf)
    right, up, _ = view.axes()
    origin, _ = view.rays()
    picture = splat(shapes, view).flatten(1)
    for u, v in ((0.0, 0.0), (0.02, -0.01), (0.0, 0.03)):
        k = u * right + v * up
        wave = torch.exp(-2j * math.pi * (origin @ k))
        found = (picture * wave).sum(1) * view.pixel_mm**2
        s = 2 * math.pi * (shapes.rotation.mT @ k * shapes.axes).norm(dim=-1)
        ball = torch.where(s > 0, 3 * (s.sin() - s * s.cos()) / s.clamp(min=1e-9) ** 3, 1.0)
        mass = 4 / 3 * math.pi * shapes.axes.prod(-1) * shapes.value * ball
        exact = (mass * torch.exp(-2j * math.pi * (shapes.centre @ k))).sum(1)
        torch.testing.assert_close(found, exact, rtol=2e-3, atol=2e-4 * float(mass.abs().max()))


def test_rays_meet_where_points_are_projected_to():
    for source in (700.0, math.inf):
        view = View((31, 45), 200.0, -0.8, source)
        points = torch.tensor([[3.0, 50.0, -20.0], [-60.0, 10.0, 30.0]], dtype=f64)
        origin, direction = view.through(*view.project(points))
        apart = torch.linalg.cross(points - origin, direction).norm(dim=-1)
        assert apart.max() < 1e-9 * direction.norm(dim=-1).max() + 1e-9
    for bad in ({"size": 0}, {"field_mm": -1.0}, {"source_mm": 100.0}, {"oversample": 0}):
        with pytest.raises(MedbookError, match="positive"):
            View(**bad)
