"""The CT operators against what others compute: closed forms of shapes, and scikit-image."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from skimage.transform import iradon, radon
from torch.nn.functional import max_pool2d

from medbook.phantom import Boxes, Ellipsoids, thorax_like
from medbook.physics.ct import FanBeam, ParallelBeam, Projector

FAN = {"bins": 76, "pitch_mm": 9.7, "source_mm": 500.0, "detector_mm": 400.0}
FIELD = 360.0  # mm
f64 = torch.float64


def scan_of(kind, size, views=11, **changed):
    """One scan of each kind over the same field; no ray runs along a grid line."""
    g = {"size": size, "views": views, "pixel_mm": FIELD / size}
    if kind == "parallel":
        return ParallelBeam(**g | {"bins": 90, "pitch_mm": 5.7} | changed)
    return FanBeam(**g | FAN | {"curved": kind == "curved fan"} | changed)


each_kind = pytest.mark.parametrize("kind", ["parallel", "flat fan", "curved fan"])


def ellipses(n=6, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    at, angle = rng.uniform(0, 80, (batch, n)), rng.uniform(0, 7, (batch, n))
    return Ellipsoids.from_angle(
        *map(
            torch.tensor,
            (
                np.stack([at * np.cos(angle), at * np.sin(angle)], -1),
                rng.uniform(15, 70, (batch, n, 2)), rng.uniform(0, 3, (batch, n)),
                rng.uniform(0.3, 1, (batch, n)),
            ),
        )
    )  # fmt: skip


def exact(shapes, scan):
    return shapes.line_integrals(*scan.rays()).reshape(len(shapes), 1, scan.views, scan.bins)


def blobs(size, seed=0):
    """A smooth image within the circle, that no flip or turn leaves as it is."""
    rng, axis = np.random.default_rng(seed), (np.arange(size) - (size - 1) / 2) / size
    x, y, image = axis[None], -axis[:, None], np.zeros((size, size))
    for _ in range(6):
        x0, y0, width = *rng.uniform(-0.18, 0.18, 2), rng.uniform(0.04, 0.07)
        image += rng.uniform(0.3, 1) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * width**2))
    return image * (np.hypot(x, y) < 0.48)


# --- closed forms ---------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("size", [1, 4, 7])
def test_pixels_are_squares(kind, size):
    """Value by value: an image is a sum of rectangles, one a pixel."""
    scan = scan_of(kind, size, views=7)
    image = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(0), dtype=f64)
    axis = (torch.arange(size, dtype=f64) - (size - 1) / 2) * scan.pixel_mm
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    centre = torch.stack([x, y], -1).reshape(1, -1, 2)
    half = torch.full_like(centre, scan.pixel_mm / 2)
    squares = Boxes.from_angle(centre, half, 0 * centre[..., 0], image.reshape(1, -1))
    expected = exact(squares, scan)
    assert expected.max() > 100
    torch.testing.assert_close(Projector(scan).A(image), expected, rtol=1e-5, atol=1e-4)


@each_kind
@pytest.mark.parametrize("phantoms", ["ellipses", "chests"])
def test_projections_of_images_approach_those_of_shapes(kind, phantoms):
    if phantoms == "ellipses":
        shapes = ellipses()
    else:
        shapes = thorax_like(1, torch.Generator().manual_seed(0))
    errors = []
    for size in (32, 64, 128):
        scan = scan_of(kind, size)
        image, y = shapes.image(size, scan.pixel_mm, oversample=8), exact(shapes, scan)
        errors.append(float((Projector(scan).A(image) - y).norm() / y.norm()))
        flipped = Projector(scan).A(image.flip(-1)) - y
        assert flipped.norm() > 0.1 * y.norm()
    assert all(fine < 0.75 * coarse for coarse, fine in pairwise(errors))
    assert errors[-1] < 0.03


@each_kind
def test_reconstructions_approach_the_object(kind):
    """From exact projections; the error of a sharp edge falls as the square root of a pixel."""
    shapes, errors = ellipses(), []
    for size in (32, 64, 128):
        bins = {"bins": round(1.7 * size) + 1, "pitch_mm": FIELD / size}
        if kind != "parallel":
            bins = {"bins": round(2.3 * size) + 1, "pitch_mm": 1.3 * FIELD / size}
        scan = scan_of(kind, size, views=3 * size, **bins)
        truth = shapes.image(size, scan.pixel_mm, oversample=8)
        found = Projector(scan).fbp(exact(shapes, scan), "hann")
        errors.append(float((found - truth).norm() / truth.norm()))
    assert errors[2] < 0.8 * errors[1] < 0.64 * errors[0] * 1.1
    assert errors[2] < 0.1


@each_kind
def test_a_wide_fan_has_the_right_weights(kind):
    """The inside of a large ellipse comes out flat to a thousandth under a fan of 86 degrees."""
    large = ([[[15.0, -10.0]]], [[[140.0, 120.0]]], [[0.3]], [[1.0]])
    ellipse = Ellipsoids.from_angle(*large).to(f64)
    pitch = {"parallel": 1.5, "flat fan": 3.0, "curved fan": 2.4}[kind]
    near = {} if kind == "parallel" else {"source_mm": 280.0, "detector_mm": 200.0}
    scan = scan_of(kind, 48, views=240, bins=301, pitch_mm=pitch, **near)
    inside = -max_pool2d(-ellipse.image(48, scan.pixel_mm), 5, 1, 2) == 1
    found = Projector(scan).fbp(exact(ellipse, scan), "hann")[inside]
    assert len(found) > 500
    assert (found - 1).abs().max() < 1e-3


# --- scikit-image ---------------------------------------------------------------------------------
# Its axis of rotation is the middle of pixel size // 2, ours the middle of the image: the same for
# odd sizes. An even image gets a row below and a column at its right for the comparison.


def ours_as_theirs(size, views):
    """Our scan on their grid: bins a pixel wide, one of them at the axis."""
    return ParallelBeam(size=size + (size + 1) % 2, views=views, bins=size + (size + 1) % 2)


def padded(image):
    more = (len(image) + 1) % 2
    return torch.from_numpy(np.pad(image, ((0, more), (0, more))))


@pytest.mark.parametrize("size", [65, 64])
def test_radon(size):
    image, views = blobs(size), 12
    theirs = radon(image, np.arange(views) * 180 / views, circle=True).T
    ours = Projector(ours_as_theirs(size, views)).A(padded(image)).numpy()[:, :size]
    assert np.linalg.norm(ours - theirs) < 5e-3 * np.linalg.norm(theirs)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-9)  # sums of columns
    for wrong in (ours[:, ::-1], ours[::-1], np.roll(ours, 1, axis=1)):
        assert np.linalg.norm(wrong - theirs) > 0.05 * np.linalg.norm(theirs)


@pytest.mark.parametrize("size", [65, 64])
@pytest.mark.parametrize(("ours", "theirs"), [("ram-lak", "ramp"), ("shepp-logan", "shepp-logan")])
def test_iradon(size, ours, theirs):
    """Value by value where all views look: the same filters, the same interpolation."""
    views, odd = 30, size + (size + 1) % 2
    rng = np.random.default_rng(0)
    sinogram = np.zeros((odd, views))
    sinogram[2:-2] = rng.standard_normal((odd - 4, views))
    degrees = np.arange(views) * 180 / views
    expected = iradon(sinogram, degrees, filter_name=theirs, circle=True, output_size=odd)
    scan = ours_as_theirs(size, views)
    found = Projector(scan).fbp(torch.tensor(sinogram.T.copy()), ours).numpy()
    y, x = np.mgrid[:odd, :odd] - odd // 2
    within = np.hypot(x, y) < odd // 2 - 1
    assert np.abs(expected[within]).max() > 0.1
    np.testing.assert_allclose(found[within], expected[within], rtol=1e-5, atol=1e-6)


def test_iradon_with_hann():
    """Their Hann window has its zero half a frequency beside the highest one: near, not equal."""
    image, views = blobs(65), 90
    sinogram = radon(image, np.arange(views) * 180 / views, circle=True)
    theirs = iradon(sinogram, np.arange(views) * 180 / views, filter_name="hann", circle=True)
    ours = Projector(ours_as_theirs(65, views)).fbp(torch.tensor(sinogram.T.copy()), "hann").numpy()
    y, x = np.mgrid[:65, :65] - 32
    within = np.hypot(x, y) < 31
    np.testing.assert_allclose(ours[within], theirs[within], atol=1e-3 * theirs.max())
    sharper = Projector(ours_as_theirs(65, views)).fbp(torch.tensor(sinogram.T.copy())).numpy()
    assert np.abs(sharper - theirs)[within].max() > 0.01 * theirs.max()


def test_views_turn_counter_clockwise():
    """An object turned by one view has the sinogram shifted by one view."""
    views, shapes = 12, ellipses(batch=1)
    step = math.pi / views
    turn = torch.tensor(
        [[math.cos(step), -math.sin(step)], [math.sin(step), math.cos(step)]], dtype=f64
    )
    turned = Ellipsoids(shapes.centre @ turn.T, shapes.axes, turn @ shapes.rotation, shapes.value)
    scan = scan_of("parallel", 128, views=views)
    y, later = (Projector(scan).A(s.image(128, FIELD / 128)) for s in (shapes, turned))
    assert (later[..., 1:, :] - y[..., :-1, :]).norm() < 0.02 * y.norm()
    assert (later[..., :-1, :] - y[..., 1:, :]).norm() > 0.1 * y.norm()
