"""Phantom patients: X-rays, volumes, masks and pairs of one record agree with each other."""

import math
from dataclasses import replace

import pytest
import torch

from medbook.errors import MedbookError
from medbook.phantom import thorax
from medbook.phantom.thorax import KINDS, LABELS, SLOTS, Factors, Grid, Scanner, View, sample
from medbook.phantom.thorax.findings import DEVICES, slots
from medbook.phantom.thorax.frame import Frame
from medbook.phantom.thorax.lesions import centre
from medbook.phantom.thorax.masks import boxes
from medbook.phantom.thorax.streams import Part, Streams
from medbook.physics.ct import MU_WATER, mu_from_hu

NONE = dict.fromkeys(KINDS, 0.0)
VIEW = View(48, 400.0, source_mm=math.inf)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def straight(people):
    return replace(people, pose=replace(people.pose, turn=0 * people.pose.turn))


def with_one_each(seed=0):
    """As many patients as kinds: each has one kind, the last one nothing."""
    eye = torch.eye(len(KINDS) + 1)[: len(KINDS)]
    return straight(sample(len(KINDS) + 1, seeded(seed), dict(zip(KINDS, eye, strict=True))))


@pytest.fixture(scope="module")
def healthy():
    return straight(sample(3, seeded(), NONE))


@pytest.fixture(scope="module")
def ill():
    return with_one_each()


# --- pictures and pairs ---------------------------------------------------------------------------


def test_bones_are_what_a_pair_differs_by(healthy):
    soft, bone, metal = healthy.paths(VIEW).unbind(1)
    assert (bone >= -1e-4).all() and bone.max() > 5 and (bone.abs() < 1e-6).float().mean() > 0.1
    assert not metal.any()
    for energy, mu_water, mu_bone in (("low", 0.02683, 0.10095), ("high", MU_WATER, 0.03105)):
        whole, without = (healthy.xray(VIEW, energy, b)[:, 0] for b in (True, False))
        torch.testing.assert_close(whole - without, mu_bone * bone, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(without, mu_water * soft, rtol=1e-4, atol=1e-4)


def test_two_energies_separate_bone_from_soft_tissue(healthy):
    """Dual-energy subtraction of the pair, without being told the bone."""
    low, high = healthy.xray(VIEW, "low"), healthy.xray(VIEW, "high")
    matrix = torch.tensor([thorax.ENERGIES["low"][:2], thorax.ENERGIES["high"][:2]])
    soft, bone = (
        sum(row[i] * picture for i, picture in enumerate((low, high)))
        for row in torch.linalg.inv(matrix.double())
    )
    exact = healthy.paths(VIEW)
    torch.testing.assert_close(soft[:, 0].float(), exact[:, 0], rtol=1e-3, atol=0.05)
    torch.testing.assert_close(bone[:, 0].float(), exact[:, 1], rtol=1e-3, atol=0.05)
    with pytest.raises(MedbookError, match="low, high"):
        healthy.xray(VIEW, "60 keV")


@pytest.mark.parametrize("angle", [0.0, math.pi / 2])
def test_parallel_rays_sum_the_voxels_of_the_ct(angle):
    """A slab of the CT, summed over its depth, approaches the X-ray of the same slab."""
    one, errors = sample(1, seeded(3), {**NONE, "mass": 1.0, "effusion": 1.0}), []
    for size in (24, 144):
        side = 432 / size
        wide = size + 2 * (size // 4)  # arms reach beyond the picture
        mu = mu_from_hu(one.volume(Grid((1, size, wide), side)))[0, 0, 0]  # front to back, x
        if angle == 0:
            mu = mu[:, size // 4 : -(size // 4)]
        # what a row of pixels looks at is one height, z = 0
        summed = (mu.sum(0) if angle == 0 else mu.sum(1).flip(0)) * side
        seen = one.xray(View((1, size), 432.0, angle, math.inf))[0, 0, 0]
        errors.append((summed - seen).abs().mean() / seen.mean())
    assert errors[0] < 0.15 and errors[1] < 0.4 * errors[0] and errors[1] < 0.025


def test_a_mirror_or_a_turned_picture_would_be_noticed(healthy):
    one = healthy[:1]
    mu = mu_from_hu(one.volume(Grid((1, 144, 144), 3.0)))[0, 0, 0].sum(0) * 3
    seen = one.xray(View((1, 144), 432.0, 0.0, math.inf))[0, 0, 0]
    right = (mu - seen).abs().mean()
    assert (mu.flip(0) - seen).abs().mean() > 3 * right
    assert (one.xray(View((1, 144), 432.0, 0.3, math.inf))[0, 0, 0] - seen).abs().mean() > 3 * right


def test_more_rays_are_the_mean_of_a_finer_picture(healthy):
    coarse, fine = View(16, oversample=3), View(48)
    torch.testing.assert_close(
        healthy.xray(coarse), torch.nn.functional.avg_pool2d(healthy.xray(fine), 3)
    )


def test_the_heart_is_larger_seen_from_the_front(healthy):
    """Anteroposterior pictures magnify it, as it lies nearer to the source than the axis."""

    def width(angle, source):
        view = View(128, 400.0, angle, source)
        return healthy.organ("heart", view)[:, 0].any(1).sum(1).double().mean().item()

    assert width(math.pi, 900.0) > 1.04 * width(0.0, 900.0)
    assert width(math.pi, math.inf) == pytest.approx(width(0.0, math.inf), rel=0.01)


# --- anatomy --------------------------------------------------------------------------------------


def test_organs_lie_where_they_belong(healthy):
    grid = Grid((24, 40, 40), 10.0)
    labels, hu = healthy.labels(grid)[:, 0], healthy.volume(grid)[:, 0]
    assert labels.shape == hu.shape == (3, 24, 40, 40)

    def middle(name):  # of voxels in the body: share of the way from head, front, right
        where = (labels == LABELS.index(name)).nonzero().float()
        assert len(where), name
        return (where[:, 1:].mean(0) / torch.tensor(grid.shape)).tolist()

    assert middle("right lung")[2] < 0.45 < 0.55 < middle("left lung")[2]
    assert middle("heart")[2] > 0.52 and middle("heart")[1] < 0.5
    assert middle("abdomen")[0] > middle("heart")[0] > middle("airway")[0]
    assert middle("aorta")[1] > middle("heart")[1]
    for name, low, high in (
        ("air", -1001, -999), ("fat", -90, -70), ("muscle", 40, 60), ("heart", 40, 60),
        ("right lung", -850, -600), ("bone", 150, 2500),
    ):  # fmt: skip
        found = hu[labels == LABELS.index(name)]
        share = ((found > low) & (found < high)).float().mean()
        assert share > 0.85, (name, share)


def test_twelve_ribs_a_side_reach_from_the_spine_to_the_front():
    one = straight(sample(1, seeded(2), NONE))
    shell = one.anatomy.ribs[0]
    assert shell.slabs.value.shape == (1, 24)
    f = Frame(Streams(one.seeds), one.factors, one.pose)
    t = torch.linspace(-1.45, 1.3, 300)
    x, y = (f.a + 5) * t.cos(), (f.b + 5) * t.sin()
    heights = torch.linspace(-150, 160, 400)
    for side in (-1, 1):
        grid = torch.stack(
            [
                side * x[0, :, None].expand(-1, 400), y[0, :, None].expand(-1, 400),
                heights.expand(300, -1),
            ], -1,
        )  # fmt: skip
        # at each height the cage is narrower: pull points onto the middle of its wall
        ring = (1 - ((heights - f.z[0]) / (f.c[0] + 5)) ** 2).clamp(min=0).sqrt()
        grid[..., :2] *= ring[:, None]
        bone = shell.at(grid.flatten(0, 1).double()).view(300, 400) > 0
        back = bone[(y[0] < -0.5 * f.b).flatten()]
        runs = (back.int().diff(dim=1) == 1).sum(1).max()
        assert 9 <= runs <= 12
        assert not bone[(y[0] > 0.97 * f.b).flatten()].any()  # none at the breast bone


def test_the_heart_is_as_wide_as_told(ill, healthy):
    view = View(200, 400.0, source_mm=math.inf)
    for people in (ill[slots("cardiomegaly")[0] - 2 :][:1], healthy):
        width = people.organ("heart", view, 1.0)[:, 0].any(1).sum(1) * 2.0
        a = Frame(Streams(people.seeds), people.factors, people.pose).a[:, 0]
        torch.testing.assert_close(width / (2 * a), people.heart_ratio, rtol=0, atol=0.02)
    assert (healthy.heart_ratio < 0.5).all()
    big = KINDS.index("cardiomegaly")
    assert ill.heart_ratio[big] > 0.53 and (ill.heart_ratio > 0.53).sum() == 1


def test_vessels_stay_in_the_lungs():
    people = sample(2, seeded(5), {**NONE, "pneumothorax": 1.0, "consolidation": 1.0})
    tree = people.anatomy.vessels
    top = people.anatomy.painted.top(tree.centre.double())
    label = torch.nn.functional.pad(people.anatomy.label, (1, 0)).gather(1, top)
    lung = (label == LABELS.index("right lung")) | (label == LABELS.index("left lung"))
    assert (lung | (tree.value == 0)).all() and (tree.value > 0).sum() > 100
    well = replace(people, findings=people.findings.without(*KINDS)).anatomy.vessels
    assert (well.value > 0).sum() > (tree.value > 0).sum()


def test_factors_move_what_they_should():
    people = straight(sample(6, seeded(1), NONE))

    def changed(**factors):
        columns = {k: torch.full((6,), float(v)) for k, v in factors.items()}
        return replace(people, factors=replace(people.factors, **columns)).paths(VIEW)

    young, old = changed(age=20, female=0), changed(age=90, female=0)
    assert (old[:, 1].sum((1, 2)) < 0.9 * young[:, 1].sum((1, 2))).all()
    thin, stout = changed(bmi=18), changed(bmi=38)
    assert (stout[:, 0].sum((1, 2)) > 1.1 * thin[:, 0].sum((1, 2))).all()
    man, woman = changed(female=0, height=1.7), changed(female=1, height=1.7)
    assert (man - woman).abs().amax((1, 2, 3)).min() > 5
    tall, short = changed(height=1.9), changed(height=1.5)
    assert ((tall[:, 0] > 10).sum((1, 2)) > (short[:, 0] > 10).sum((1, 2))).all()
    with pytest.raises(MedbookError, match="age"):
        changed(age=3)


# --- findings -------------------------------------------------------------------------------------


def test_masks_are_there_exactly_where_findings_are(ill):
    masks, found = ill.masks(VIEW), ill.findings.present
    assert masks.shape == (len(ill), len(SLOTS), 48, 48)
    assert torch.equal(masks.flatten(2).any(2), found)
    edges = ill.boxes(VIEW)
    assert torch.equal(edges, boxes(masks)) and not edges[~found].any()
    for n, slot in found.nonzero().tolist():
        left, top, right, bottom = edges[n, slot].tolist()
        inside = masks[n, slot, top:bottom, left:right]
        assert inside.any(0)[[0, -1]].all() and inside.any(1)[[0, -1]].all()
        assert inside.sum() == masks[n, slot].sum()


def test_every_finding_of_many_patients_can_be_seen():
    people = sample(120, seeded(9))
    found = people.findings.present
    assert torch.equal(people.masks(View(32)).flatten(2).any(2), found) and found.sum() > 100


def test_side_and_zone_are_those_of_the_picture():
    n = 30
    people = straight(sample(n, seeded(4), {**NONE, "nodule": 1.0, "drain": 1.0, "effusion": 1.0}))
    edges, side = people.boxes(VIEW).double(), people.findings.side
    middle = (edges[..., 0] + edges[..., 2]) / 2 - 24
    there = people.findings.present & torch.tensor([k not in DEVICES[1:] for k in SLOTS])
    assert (middle[there].sign() == side[there]).all()
    f = Frame(Streams(people.seeds), people.factors, people.pose)
    for kind in ("nodule", "mass", "consolidation"):
        for slot in slots(kind):
            _, _, z = centre(f, people.findings, slot)
            third = (3 * (z - f.dome) / (f.apex - 12 * f.s - f.dome)).floor().clamp(0, 2)[:, 0]
            assert torch.equal(third.long(), people.findings.zone[:, slot])


@pytest.mark.parametrize("kind", ["nodule", "mass", "consolidation", "effusion", *DEVICES])
def test_taking_a_finding_away_changes_the_picture_within_its_mask(ill, kind):
    one, view = ill[KINDS.index(kind) :][:1], replace(VIEW, oversample=6)
    well = replace(one, findings=one.findings.without(kind))
    change = (one.xray(view) - well.xray(view)).abs()[0, 0]
    mask = one.masks(view)[0].any(0)
    near = torch.nn.functional.max_pool2d(mask.float()[None, None], 3, 1, 1)[0, 0] > 0
    assert change[near].sum() > 0.93 * change.sum() and change.max() > 0.02
    assert (change[mask] > 1e-4).float().mean() > 0.6
    assert not well.masks(VIEW).any()


def test_air_beside_the_lung_is_darker_and_fluid_brighter(ill):
    for kind, sign in (("pneumothorax", -1), ("effusion", 1)):
        one = ill[KINDS.index(kind) :][:1]
        well = replace(one, findings=one.findings.without(kind))
        mask = one.masks(VIEW)[0].any(0)
        change = (one.xray(VIEW) - well.xray(VIEW))[0, 0][mask]
        assert (sign * change).mean() > 0.03 and ((sign * change) > -0.02).float().mean() > 0.9


def test_larger_findings_have_larger_masks(ill):
    low, high = (replace(ill, findings=_sized(ill.findings, s)) for s in (0.05, 0.95))
    areas = [people.masks(VIEW).flatten(2).sum(2) for people in (low, high)]
    there = ill.findings.present & torch.tensor([k not in DEVICES for k in SLOTS])
    assert (areas[1][there] > areas[0][there]).all()


def _sized(findings, share):
    from medbook.phantom.thorax.findings import RANGES

    ends = torch.tensor([[RANGES[kind][0], RANGES[kind][3]] for kind in SLOTS])
    size = ends[:, 0] + share * (ends[:, 1] - ends[:, 0])
    return replace(findings, size=size.expand_as(findings.size))


# --- the record -----------------------------------------------------------------------------------


def test_the_generator_alone_decides():
    state = torch.get_rng_state()
    first, again, other = (sample(2, seeded(s)).xray(View(12)) for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.allclose(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_a_batch_is_its_patients():
    people, view = sample(4, seeded(6)), View(20)
    for index in (slice(1, 3), torch.tensor([3, 0])):
        torch.testing.assert_close(people[index].xray(view), people.xray(view)[index])
        assert torch.equal(people[index].masks(view), people.masks(view)[index])
    assert len(people[:3]) == 3 and people.xray(view).dtype == torch.float32


def test_patients_come_back_changed_and_are_the_same():
    people = straight(sample(30, seeded(7)))
    later = people.followup(seeded(1), years=3.0, growth=1.4, news=NONE, resolved=0.0)
    assert torch.equal(later.seeds, people.seeds)
    assert torch.equal(later.findings.present, people.findings.present)
    grown = later.findings.size / people.findings.size
    fixed = torch.tensor([kind in DEVICES for kind in SLOTS])
    old = people.findings.present
    for column in ("side", "zone", "place"):
        kept, given = (getattr(x.findings, column)[old] for x in (later, people))
        assert torch.equal(kept, given)
    assert (grown[old & fixed] == 1).all() and (grown[old & ~fixed] <= 1.4001).all()
    assert (grown[old & ~fixed] > 1.39).float().mean() > 0.4
    gone = people.followup(seeded(1), news=NONE, resolved=1.0).findings
    heart = slots("cardiomegaly")
    assert torch.equal(gone.present[:, heart], people.findings.present[:, heart])
    assert not gone.without("cardiomegaly").present.any()
    new = people.followup(seeded(1), news=dict.fromkeys(KINDS, 1.0), resolved=0.0).findings
    assert new.labels().all()
    other = people.followup(seeded(2))
    assert not torch.equal(other.pose.breath, people.pose.breath)


def test_what_does_not_fit_is_refused(healthy):
    with pytest.raises(MedbookError, match="same patients"):
        replace(healthy, pose=healthy.pose[:2])
    with pytest.raises(MedbookError, match="lungs or fat"):
        healthy.organ("tail")
    with pytest.raises(MedbookError, match="positive"):
        Grid(0)
    with pytest.raises(MedbookError, match="at least 1"):
        sample(0, seeded())
    assert isinstance(healthy.factors, Factors)


# --- the scanner ----------------------------------------------------------------------------------


def test_dose_and_read_out_make_the_noise():
    y, view = torch.full((1, 1, 64, 64), 1.0), View(64)
    clean = {"blur_mm": 0.0, "scatter": 0.0, "noise": 0.0}
    for dose, noise in ((100.0, 0.0), (1000.0, 0.0), (100.0, 20.0)):
        machine = Scanner(dose, **{**clean, "noise": noise})
        found = machine.measure(y, view, seeded())
        counts = dose * view.pixel_mm**2 * math.exp(-1)
        expected = math.sqrt(counts + (noise * view.pixel_mm) ** 2) / counts
        assert abs(found.mean() - 1) < 0.01
        assert found.std() == pytest.approx(expected, rel=0.1)


def test_scatter_takes_contrast_and_blur_takes_edges():
    y, view = torch.zeros(1, 1, 40, 40), View(40)
    y[..., 20:] = 3.0
    machine = {"dose": 1e9, "noise": 0.0, "blur_mm": 0.0}
    sharp = Scanner(scatter=0.0, **machine).measure(y, view, seeded())
    torch.testing.assert_close(sharp, y, rtol=0, atol=0.01)
    strip = torch.zeros_like(y)
    strip[..., 18:22] = 3.0
    hazy = Scanner(scatter=1.0, **machine).measure(strip, view, seeded())
    assert 0.3 < hazy[..., 19].mean() - hazy[..., :5].mean() < 1.5
    soft = Scanner(scatter=0.0, **{**machine, "blur_mm": 20.0}).measure(y, view, seeded())
    assert 0.2 < soft[0, 0, 20, 20] < 2.9 and soft[0, 0, 20].diff().min() >= -0.01


def test_the_display_lies_between_black_and_white_and_bends_with_gamma(healthy):
    y = healthy.xray(View(32))
    plain, dark, hard = (
        Scanner(**k).picture(y, View(32), seeded()) for k in ({}, {"gamma": 2.0}, {"gain": 2.0})
    )
    for shown in (plain, dark, hard):
        assert shown.min() >= 0 and shown.max() <= 1
    torch.testing.assert_close(dark, plain**2)
    assert hard.std() > plain.std()
    for bad in ({"dose": 0.0}, {"scatter": -1.0}, {"gamma": 0.0}, {"gain": math.nan}):
        with pytest.raises(MedbookError, match="dose, gain and gamma"):
            Scanner(**bad)


# ---------------------------------------------------------------- random numbers by part


def parts_of(people: thorax.Thorax) -> list[bytes]:
    """Every shape, label and finding of some patients, one after the other."""
    a = people.anatomy
    shapes = [s for kind in a.painted.kinds for s in tensors_of(kind)]
    others = [a.vessels, *a.bones, *a.devices.values(), *(h.slabs for h in a.ribs)]
    shapes += [t for shape in others for t in tensors_of(shape)]
    records = (people.factors, people.pose, people.findings)
    return [t.numpy().tobytes() for t in [*shapes, *(t for r in records for t in vars(r).values())]]


def tensors_of(shape):
    nested = (vars(shape).get(name) for name in ("first", "second"))
    inner = [t for part in nested if part is not None for t in tensors_of(part)]
    return inner or list(shape._tensors())


def drawn(names: list[str] | None = None, more: str = "") -> list[bytes]:
    """Patients; their parts' names are noted, and one part takes numbers for something new."""
    original = Part.__init__

    def noted(self: Part, seeds: torch.Tensor, name: str) -> None:
        original(self, seeds, name)
        if names is not None:
            names.append(name)
        if name == more:
            self.uniform(0, 1, 3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Part, "__init__", noted)
        return parts_of(sample(3, torch.Generator().manual_seed(4), dict.fromkeys(KINDS, 0.6)))


def test_each_name_of_a_part_is_used_once() -> None:
    names: list[str] = []
    drawn(names)
    assert len(names) == len(set(names)) > 30


MOST = {"stomach": 4, "nodule 0": 9, "spine": 27, "age": 999}  # tensors that may change


@pytest.mark.parametrize("part", MOST)
def test_a_part_that_draws_more_changes_no_other(part: str) -> None:
    before, after = drawn(), drawn(more=part)
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    assert 0 < changed <= min(MOST[part], len(before) - 1)


def test_a_patient_does_not_depend_on_who_else_is_drawn() -> None:
    people = sample(3, torch.Generator().manual_seed(4))
    alone = Streams(people.seeds[1:2])
    assert torch.equal(Factors.draw(alone).age, people.factors.age[1:2])
    assert torch.equal(
        alone.of("ribs").uniform(0, 1, 5), Streams(people.seeds).of("ribs").uniform(0, 1, 5)[1:2]
    )
