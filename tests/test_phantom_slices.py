"""Random slices: within the field, plausible values, the same for the same seed, lungs as drawn."""

import math

import pytest
import torch

from medbook.errors import MedbookError
from medbook.phantom import (
    Ellipsoids,
    Intersection,
    brain_like,
    ellipses_and_lines,
    thorax_like,
)
from medbook.phantom.draw import Draw
from medbook.phantom.slices import lungs
from medbook.physics.ct import MU_WATER, ParallelBeam, Projector, hu_from_mu

SAMPLERS = [ellipses_and_lines, thorax_like]
SIZE = 96


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module", params=SAMPLERS)
def slices(request):
    return request.param(25, seeded())


@pytest.fixture(scope="module")
def chests():
    return hu_from_mu(thorax_like(80, seeded(1)).image(SIZE, 360 / SIZE))[:, 0]


def test_slices_lie_in_the_field_and_never_below_air(slices):
    image = slices.image(SIZE, 360 / SIZE)[:, 0]
    assert image.shape == (25, SIZE, SIZE) and image.dtype == torch.float32
    assert image.min() > -1e-6 and image.max() < 4 * MU_WATER * 1.0001
    wider = slices[:6].image(SIZE + 24, 360 / SIZE)[:, 0]
    torch.testing.assert_close(wider[:, 12:-12, 12:-12], image[:6])
    outside = wider.sum((1, 2)) - image[:6].sum((1, 2))
    assert (outside.abs() < 0.002 * image[:6].sum((1, 2))).all()
    assert image.flatten(1).std(0).max() > 0.003  # they differ from each other


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_generator_alone_decides(sampler):
    before = torch.get_rng_state()
    first, again, other = (sampler(3, seeded(s)).image(16, 22.5) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again) and not torch.allclose(first, other)
    generator = seeded()
    sampler(3, generator)
    assert not torch.allclose(sampler(3, generator).image(16, 22.5), first)  # it moved on


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sizes_grow_with_the_field(sampler):
    small, large = (sampler(4, seeded(), field_mm=f) for f in (180, 720))
    torch.testing.assert_close(small.image(24, 7.5), large.image(24, 30.0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_bad_numbers_are_refused(sampler):
    with pytest.raises(MedbookError, match="at least 1"):
        sampler(0, seeded())
    for field in (0.0, -1.0, math.nan):
        with pytest.raises(MedbookError, match="field_mm"):
            sampler(1, seeded(), field_mm=field)


def test_projections_of_the_images_approach_the_closed_form(slices):
    errors = []
    for size in (32, 128):
        scan = ParallelBeam(size=size, pixel_mm=360 / size, views=5, bins=90, pitch_mm=5.0)
        exact = slices[:8].line_integrals(*scan.rays()).reshape(8, 1, 5, 90)
        errors.append(
            (Projector(scan).A(slices[:8].image(size, 360 / size)) - exact).norm() / exact.norm()
        )
    assert errors[0] < 0.2 and errors[1] < 0.5 * errors[0]


def test_objects_have_one_to_four_shapes_of_a_kind():
    for kind in ellipses_and_lines(200, seeded()).parts:
        there = kind.value > 0
        assert set(there.sum(1).tolist()) == {1, 2, 3, 4}
        grey = kind.value[there] / MU_WATER
        assert 0.3 <= grey.min() < 0.35 and 0.95 < grey.max() <= 1
        reach = kind.centre.norm(dim=-1) + kind.axes.norm(dim=-1)
        assert reach.max() <= 180.001


def test_chests_have_air_lung_soft_tissue_and_bone(chests):
    def share(low, high):
        return ((chests > low) & (chests < high)).float().mean((1, 2))

    assert (share(-1001, -995) > 0.2).all()
    lung = share(-940, -700)
    assert (lung > 0.02).float().mean() > 0.9 and lung.std() > 0.02
    assert (share(-150, 300) > 0.08).all()
    assert (share(300, 3000) > 0.002).all()


def test_spine_and_table_are_below_and_the_liver_is_at_the_left(chests):
    bone, middle = (chests > 250).float().mean(0), SIZE // 2
    assert bone[middle:, 40:56].sum() > 2 * bone[:middle, 40:56].sum()
    table = (chests > -990).float().mean(0)[:, 40:56]
    assert table[-16:].sum() > 1.5 * table[:16].sum()
    lung = (chests < -700) & (chests > -940)
    body = chests > -150
    low = lung.float().mean((1, 2)).argsort()[:20]  # the least lung: slices near the liver
    right, left = (
        body[low][:, 30:66, half].float().mean() for half in (slice(16, 40), slice(56, 80))
    )
    assert right > left


def value_of(shape, points):
    """1 where a point lies in all convex pieces: by lines as short as the rounding."""
    if isinstance(shape, Intersection):
        return value_of(shape.first, points) & value_of(shape.second, points)
    own = ((points - shape.centre[:, :1]) @ shape.rotation[:, 0]) / shape.axes[:, :1]
    return own.norm(dim=-1) < 1


def test_a_carved_lung_is_the_lung_outside_of_the_cutters():
    rng = seeded(3)
    draw = Draw(6, rng)

    def blob():
        return Ellipsoids.from_angle(
            draw.disc(0.6)[:, :], torch.stack([draw.uniform(0.3, 1), draw.uniform(0.3, 1)], -1),
            draw.uniform(0, 3), torch.ones(6, 1),
        )  # fmt: skip

    first, second, cutters = blob(), blob(), [blob() for _ in range(4)]
    lung = Intersection(first, second, torch.full((6, 1), -2.0))
    terms = lungs._without(lung, cutters)
    assert len(terms) == 16
    points = draw.disc(1.5, 4000)
    total = sum(term.value * value_of(term, points) for term in terms)
    hit = torch.stack([value_of(c, points) for c in cutters])
    assert (hit.sum(0) >= 3).any()  # overlaps of three are there
    expected = -2.0 * (value_of(lung, points) & ~hit.any(0))
    assert torch.equal(total, expected) and (expected < 0).any()


def test_vessels_have_room():
    centre, radius = torch.rand(5, 40, 2, generator=seeded()), torch.full((5, 40), 0.06)
    room = lungs._first_come(centre, radius)
    gaps = torch.cdist(centre, centre) + 10 * torch.eye(40)
    for b in range(5):
        assert room[b, 0] and not room[b].all()
        assert gaps[b][room[b]][:, room[b]].min() > 0.12
        for k in range(40):
            assert room[b, k] == (gaps[b, k, :k] > 0.12).all()


def test_covers_is_the_ellipse_made_larger():
    one = Ellipsoids.from_angle([[[1.0, 2.0]]], [[[4.0, 2.0]]], [[math.pi / 6]], [[1.0]])
    c, s = math.cos(math.pi / 6), math.sin(math.pi / 6)
    own = torch.tensor([[[3.9, 0.0], [4.1, 0.0], [0.0, 1.9], [0.0, 2.1]]])
    points = own @ torch.tensor([[c, s], [-s, c]]) + one.centre
    assert lungs._covers(one, points, torch.zeros(1, 4)).tolist() == [[True, False, True, False]]
    assert lungs._covers(one, points, torch.full((1, 4), 0.2)).all()
    assert not lungs._covers(one, points, torch.full((1, 4), -2.0)).any()


def test_only_vessels_with_room_are_kept():
    value = torch.tensor([[0.0, 2.0, 0.0, 3.0], [1.0, 0.0, 0.0, 0.0]])
    kept = lungs._those(value > 0, discs(value))
    assert kept.value.tolist() == [[2, 3], [1, 0]]
    assert kept.centre[0, :, 0].tolist() == [1, 3]
    none = lungs._those(value < 0, discs(value))
    assert none.value.shape == (2, 0) and not none.image(4, 1.0).any()
    assert none.line_integrals(torch.zeros(3, 2), torch.ones(3, 2)).tolist() == [[0] * 3] * 2


def discs(value):
    """Unit discs on the x axis at their own number."""
    x = torch.arange(4.0).expand(2, 4)
    centre = torch.stack([x, 0 * x], -1)
    return Ellipsoids.from_angle(centre, torch.ones_like(centre), 0 * x, value)


SUMS = {"plain": 3.00118825, "chests": 6.5038072, "heads": 219.463043}


@pytest.mark.parametrize("kind", SUMS)
def test_the_numbers_of_a_seed_stay(kind):
    """Chapters' stored numbers rest on them; another order of drawing would change all."""
    generator = torch.Generator().manual_seed(5)
    images = {
        "plain": lambda: ellipses_and_lines(2, generator).image(24, 15.0),
        "chests": lambda: thorax_like(2, generator).image(24, 15.0),
        "heads": lambda: brain_like(2, generator).image(24),
    }[kind]()
    weights = torch.linspace(-1, 1, images.numel(), dtype=torch.float64).cos()
    total = (images.flatten().abs().double() * weights).sum().item()
    assert total == pytest.approx(SUMS[kind], rel=1e-5)
