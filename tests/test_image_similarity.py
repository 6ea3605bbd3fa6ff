"""The definitions of the chapter `image_similarity`, against oracles and against mutations."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medbook import chapter, data
from medbook.evaluate.similarity import ssim_map

book = chapter.load("image_similarity")


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def xrays():
    return data.load("chest_xray_lungs", size=128, source="twin").images


# --- CSIM, eqs. 3 and 4 ---------------------------------------------------------------------------


def slow_score(u):
    w, a = 2 * u - 1, 0.147
    b = 2 / (math.pi * a) + math.log(1 - w * w) / 2
    inside = math.sqrt(b * b - math.log(1 - w * w) / a) - b
    return math.copysign(math.sqrt(2 * max(inside, 0)), w)


def slow_scores(patch):
    """Steps 3 to 5 for one patch (C, n), with Python's sort."""
    n = patch.shape[1]
    mean_rank = [0.0] * n
    for channel in patch.tolist():
        for place, k in enumerate(sorted(range(n), key=lambda k: (channel[k], k))):
            mean_rank[k] += (place + 1) / len(patch)
    return np.array([slow_score(r / (n + 1)) for r in mean_rank])


def slow_csim(x, y, p):
    """Steps 1 to 7 of one pair (C, H, W), a patch at a time."""
    rows, columns = x.shape[1] // p, x.shape[2] // p
    found = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            window = (slice(None), slice(i * p, i * p + p), slice(j * p, j * p + p))
            zx, zy = (slow_scores(image[window].reshape(len(image), -1)) for image in (x, y))
            found[i, j] = max(0.0, 1 - math.sqrt(((zx - zy) ** 2).mean()))
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("channels", "height", "width", "p"),
    [(1, 16, 24, 8), (1, 17, 23, 8), (3, 13, 9, 4), (1, 7, 10, 3), (2, 9, 8, 5)],
)
def test_csim_is_the_slow_loop(channels, height, width, p, dtype):
    x = noise(2, channels, height, width, dtype=dtype) - 0.5
    y = x + 0.4 * noise(2, channels, height, width, seed=1, dtype=dtype)
    x[1], y[1] = (5 * x[1]).round(), (5 * y[1]).round()  # many equal values, among them -0.0
    found = book.csim_map(x, y, patch=p)
    assert found.dtype == dtype and found.shape == (2, height // p, width // p)
    for k in range(2):
        expected = slow_csim(x[k].numpy(), y[k].numpy(), p)
        np.testing.assert_allclose(found[k].numpy(), expected, atol=1e-5)
    assert 0.05 < found.mean() < 0.95


@pytest.mark.parametrize("channels", [1, 3])
def test_csim_is_the_published_package(channels, monkeypatch):
    csm = pytest.importorskip("CopulaSimilarity.CSM")
    x = noise(channels, 40, 24)
    y = 0.7 * x + 0.3 * noise(channels, 40, 24, seed=1)
    levels = [(8 * image).round() for image in (x, y)]
    monkeypatch.setattr(csm.np, "argsort", partial(np.argsort, kind="stable"))
    for pair in ((x, y), levels):  # without ties, and with ties in the order of positions
        theirs = csm.CopulaBasedSimilarity().compute_local_similarity(
            *(image.permute(1, 2, 0).numpy() for image in pair)
        )
        ours = book.csim_map(*(image[None] for image in pair))[0]
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 64, 65])
def test_ranks_are_those_of_a_stable_sort(n):
    v = (9 * noise(50, n) - 4).round()  # many equal values
    before = v.clone()
    expected = stats.rankdata(v.numpy(), method="ordinal", axis=1)
    np.testing.assert_array_equal(book.ranks(v).numpy(), expected)
    assert torch.equal(v, before)


@given(st.floats(0.05, 20), st.floats(-100, 100), st.floats(0.2, 5), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_csim_ignores_display_curves(gain, offset, gamma, seed):
    x = (255 * noise(1, 1, 16, 16, seed=seed)).round()  # ties stay ties in the same places
    assert book.csim(x, offset + gain * (x / 255) ** gamma) == 1


@given(st.integers(0, 99), st.sampled_from([None, 0.0, 1.5]), st.sampled_from([1, 3]))
@settings(max_examples=40, deadline=None)
def test_csim_is_symmetric_between_0_and_1_and_1_for_the_same(seed, floor, channels):
    x, y = 9 * noise(2, 1, channels, 16, 16, seed=seed)
    there, back = book.csim_map(x, y, floor=floor), book.csim_map(y, x, floor=floor)
    assert torch.equal(there, back) and there.min() >= 0 and there.max() < 1
    assert book.csim(x, x, floor=floor) == 1


def test_csim_of_bytes_is_that_of_floats():
    x, y = (255 * noise(2, 2, 1, 16, 16)).round()
    torch.testing.assert_close(book.csim(x.byte(), y.byte()), book.csim(x.float(), y.float()))
    torch.testing.assert_close(book.csim(x.byte(), y.byte()).double(), book.csim(x, y))


def test_csim_of_a_batch_is_that_of_its_images():
    x, y = noise(2, 5, 1, 24, 16, dtype=torch.float32)
    whole = book.csim_map(x, y)
    for k in range(5):
        assert torch.equal(whole[k], book.csim_map(x[k : k + 1], y[k : k + 1])[0])
    assert torch.equal(book.csim(x, y), whole.mean((1, 2)))


def test_a_change_stays_in_its_patch():
    x = noise(1, 1, 24, 32)
    y = x.clone()
    y[..., 8:16, 24:32] = y[..., 8:16, 24:32].flip(-1)
    changed = book.csim_map(x, y)[0] < 1
    assert changed.nonzero().tolist() == [[1, 3]]


def test_normal_score_is_the_papers_approximation():
    u = torch.linspace(0.001, 0.999, 501, dtype=torch.float64)
    found = book.normal_score(u).numpy()
    np.testing.assert_allclose(found, [slow_score(v) for v in u.tolist()], atol=1e-12)
    gap = np.abs(found - stats.norm.ppf(u.numpy()))
    assert 1e-4 < gap[20:-20].max() < 2e-3
    np.testing.assert_allclose(found, -found[::-1], atol=1e-12)


def test_csim_is_a_function_of_the_correlation():
    x = noise(3, 1, 32, 32)
    y = 0.8 * x + 0.2 * noise(3, 1, 32, 32, seed=1)
    zx, zy = (book.scores(book.to_patches(v, 8)) for v in (x, y))
    c = [
        np.corrcoef(a, b)[0, 1] for a, b in zip(zx.reshape(-1, 64), zy.reshape(-1, 64), strict=True)
    ]
    sigma = np.std([slow_score(r / 65) for r in range(1, 65)])
    expected = np.maximum(0, 1 - sigma * np.sqrt(2 * (1 - np.array(c))))
    np.testing.assert_allclose(book.csim_map(x, y).flatten().numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(book.correlation_form(x, y).flatten().numpy(), expected, atol=1e-9)
    assert (book.correlation_form(x, -x) == 0).all()


def test_unrelated_images_are_at_0_in_grey_and_not_in_colour():
    grey, colour = (book.csim(*noise(2, 1, c, 128, 128)).item() for c in (1, 3))
    assert grey < 0.01 and 0.3 < colour < 0.4


# --- the floor, eq. 6 -----------------------------------------------------------------------------


@given(st.lists(st.integers(0, 6), min_size=2, max_size=20))
@settings(max_examples=50, deadline=None)
def test_without_noise_soft_ranks_are_average_ranks(values):
    v = torch.tensor([values], dtype=torch.float64)
    expected = stats.rankdata(values)
    np.testing.assert_allclose(book.soft_ranks(v, 0.0)[0].numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(book.soft_ranks(v, 1e-3)[0].numpy(), expected, atol=1e-9)


def test_soft_ranks_are_expected_ranks_under_noise():
    v = torch.tensor([[0.0, 0.5, 1.0, 1.0, 4.0]], dtype=torch.float64)
    shaken = v.numpy() + 0.7 * np.random.default_rng(0).standard_normal((100_000, 5))
    expected = stats.rankdata(shaken, axis=1).mean(0)
    np.testing.assert_allclose(book.soft_ranks(v, 0.7)[0].numpy(), expected, atol=0.02)


def test_a_large_floor_sees_nothing_and_a_small_one_sees_all():
    x, y = noise(2, 1, 1, 16, 16)
    assert book.csim(x, y, floor=1e4) > 0.999
    assert book.csim(x, y, floor=1e-9) == pytest.approx(book.csim(x, y).item(), abs=1e-9)


def test_a_flat_patch_with_tiny_noise():
    flat = torch.full((1, 1, 32, 32), 128.0, dtype=torch.float64)
    a, b = (flat + 1e-3 * book.gauss(flat, chance(s)) for s in (0, 1))
    assert book.csim(a, b) < 0.02 and book.csim(a, b, floor=book.FLOOR) > 0.99
    assert book.csim(flat, flat.flip(-1)) == 1  # all ranks by position


def test_only_ranks_by_position_change_in_a_mirror():
    x = (9 * noise(2, 1, 16, 16)).round()
    y = (x + 3 * noise(2, 1, 16, 16, seed=1)).round()
    for floor, same in ((None, False), (0.0, True)):
        mirrored = book.csim_map(x.flip(-1), y.flip(-1), floor=floor).flip(-1)
        assert torch.allclose(mirrored, book.csim_map(x, y, floor=floor), atol=1e-12) == same


# --- second images --------------------------------------------------------------------------------


def test_spots_lie_in_the_blocks_they_may_lie_in():
    x, among = torch.zeros(150, 1, 40, 48), torch.zeros(150, 5, 6, dtype=torch.bool)
    places = {(1, 3), (3, 0), (0, 5), (4, 4), (2, 2)}
    for row, column in places:
        among[:, row, column] = True
    found = book.random_spots(x, among, chance())
    assert found.max() <= 1
    at = torch.nn.functional.max_pool2d(found, 8)[:, 0] > 0.9  # near the centre of a spot
    seen = {(r, c) for _, r, c in at.nonzero().tolist()}
    assert places <= seen
    assert at.sum((1, 2)).float().mean() == pytest.approx(book.SPOTS, abs=1.5)
    offsets = []  # of the peaks in their blocks: all eight rows and columns alike
    for row, column in places:
        block = found[:, 0, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].flatten(1)
        peak = block.argmax(1)[block.amax(1) > 0.9]
        offsets.append(torch.stack([peak // 8, peak % 8], 1))
    offsets = torch.cat(offsets).double()
    assert offsets.min() == 0 and offsets.max() == 7
    assert offsets.mean(0).tolist() == pytest.approx([3.5, 3.5], abs=0.35)
    area = (found > 0.5).sum((1, 2, 3)).double()  # pi / 4 times the widths squared
    assert 4 * 9 * 0.7 < area.mean() < 4 * 81 * 0.8 and area.std() > 10


def test_the_body_is_neither_black_nor_white():
    x = torch.full((1, 1, 8, 32), 100.0)
    x[..., :8], x[..., 8:16] = 5.0, 250.0
    assert book.body(x).tolist() == [[[False, False, True, True]]]


def test_a_second_image_has_what_its_setting_says(xrays):
    x = xrays[:3]
    plain = book.Setting(height=0, noise=0, shift=0)
    y, none = book.second_images(plain, x, chance())
    assert torch.equal(y, x) and none.any()  # spots of height 0 have places, too
    y, hits = book.second_images(replace(plain, height=40), x, chance())
    changed = torch.nn.functional.max_pool2d((y - x).abs()[:, 0], 8) > 21
    assert (
        torch.equal(hits, none)
        and not (changed & ~hits).any()
        and changed[hits].float().mean() > 0.9
    )
    y, _ = book.second_images(replace(plain, gamma=0.7), x, chance())
    assert torch.equal(y, (255 * (x / 255) ** 0.7).round())
    y, _ = book.second_images(replace(plain, noise=3), x, chance())
    assert torch.equal(y, y.round()) and y.min() >= 0 and y.max() <= 255
    middle = (x > 20) & (x < 235)
    assert (y - x)[middle].std() == pytest.approx(3, rel=0.05)
    y, _ = book.second_images(replace(plain, shift=1), x, chance())
    assert (y - x).abs().mean() > 1


def test_maps_of_change_are_large_where_something_changed():
    x = (255 * noise(1, 1, 32, 32, dtype=torch.float32)).round()
    y = x.clone()
    y[..., 8:16, 16:24] = y[..., 8:16, 16:24].flip(-1)
    for change in (
        book.csim_change, book.ssim_change, book.difference, book.difference_from_curve,
    ):  # fmt: skip
        found = change(x, y)[0]
        assert found.shape == (4, 4) and found.flatten().argmax() == 4 + 2, change
    assert book.difference(x, x + 3).tolist() == [[[3.0] * 4] * 4]
    torch.testing.assert_close(
        book.ssim_change(x, y)[0, 1, 2], 1 - ssim_map(x, y, 255.0)[0, 8:16, 16:24].mean()
    )
    assert book.difference_from_curve(x, 255 - x).max() < 1e-4


# --- what the trials see --------------------------------------------------------------------------

FAINT = book.Setting(height=8, noise=1, shift=0.25)
SETTINGS = (FAINT, book.Setting(height=0, noise=2, shift=0), replace(FAINT, gamma=0.7))


def seeing(function):
    """An arm that notes what it is given, all pairs in order."""
    seen = []

    def measure(x, y):
        seen.append((x, y))
        return function(x, y)

    return book.Arm("noting", measure), seen


def find(arm, x, seed=1, settings=SETTINGS, references=None):
    return book.search(book.Job(arm, x if references is None else references, x, seed, settings))


def test_an_arm_takes_one_pair_at_a_time_and_keeps_the_order():
    x, y = (255 * noise(2, 5, 1, 16, 16)).byte()
    arm, seen = seeing(book.csim)
    assert torch.equal(
        arm(x, y), torch.cat([book.csim(x[k : k + 1], y[k : k + 1]) for k in range(5)])
    )
    assert [len(a) for a, _ in seen] == [1] * 5


def test_a_search_compares_references_with_second_images_of_8_bits(xrays):
    x, references = xrays[:2].byte(), xrays[2:4].byte()
    arm, seen = seeing(book.difference)
    find(arm, x, references=references)
    assert torch.equal(torch.cat([a for a, _ in seen[:2]]), references.float())
    y = torch.cat([b for _, b in seen])
    assert len(y) == 2 * len(SETTINGS) and torch.equal(y, y.round())
    expected, _ = book.second_images(FAINT, x.float(), chance(1))
    assert torch.equal(y[:2], expected)


def test_all_maps_look_at_the_same_second_images_and_seeds_at_others(xrays):
    x = xrays[:2].byte()
    (one, first), (two, second) = seeing(book.difference), seeing(book.csim_change)
    find(one, x)
    find(two, x)
    assert all(torch.equal(a[1], b[1]) for a, b in zip(first, second, strict=True))
    other, third = seeing(book.difference)
    find(other, x, seed=2)
    assert not torch.equal(first[0][1], third[0][1])


def test_where_spots_are_does_not_depend_on_the_references(xrays):
    x = xrays[:2].byte()
    bright = seeing(lambda a, b: book.blocks(b[:, 0]))[0]  # never looks at the reference
    shuffled = 255 - x.flip(0)
    np.testing.assert_array_equal(find(bright, x), find(bright, x, references=shuffled))
    difference = book.Arm("difference", book.difference)
    assert (find(difference, x) != find(difference, x, references=shuffled)).any()


def test_a_search_without_noise_finds_every_spot_and_a_constant_map_none(xrays):
    x = xrays[:3].byte()
    clear = (book.Setting(height=60, noise=0, shift=0),)
    for function in (book.csim_change, book.ssim_change, book.difference):
        found = find(book.Arm("map", function), x, settings=clear)
        assert found.shape == (1, 3) and found.min() > 0.9, function
    constant = book.Arm("constant", lambda a, b: torch.ones(len(a), 16, 16))
    assert (find(constant, x) == 0.5).all()


def test_without_a_spot_a_search_guesses(xrays):
    empty = tuple(book.Setting(0, n, 0) for n in (0.5, 1.0, 2.0, 3.0, 4.0, 5.0))
    for function in (book.csim_change, book.difference):
        found = find(book.Arm("map", function), xrays[:8].byte(), settings=empty)
        assert found.mean() == pytest.approx(0.5, abs=0.06)


def test_a_display_curve_hides_the_spot_from_the_difference_alone(xrays):
    clear = book.Setting(height=16, noise=0.5, shift=0)
    settings = (clear, replace(clear, gamma=0.7))
    x = xrays[:4].byte()
    plain, curved = find(book.Arm("map", book.difference), x, settings=settings)
    assert plain.min() > 0.95 > 0.85 > curved.mean()
    _, curved = find(book.Arm("map", book.difference_from_curve), x, settings=settings)
    assert curved.mean() > 0.95


def test_a_fall_scores_damaged_bytes_against_the_references(xrays):
    x, references = xrays[:3].byte(), xrays[3:6].byte()
    arm, seen = seeing(book.csim)
    found = book.fall(book.Job(arm, references, x, seed=4))
    assert list(found.score) == list(found.severity) == list(book.DAMAGES)
    for kind in book.DAMAGES:
        assert found.score[kind].shape == found.severity[kind].shape == (3, 3)
        for third, t in enumerate(found.severity[kind]):
            assert ((t > third / 3) & (t <= (third + 1) / 3)).all() and len(set(t)) == 3
    assert all(a.dtype == b.dtype == torch.uint8 for a, b in seen)
    for k, (a, b) in enumerate(seen):  # kinds, thirds, images
        kind, third, image = list(book.DAMAGES)[k // 9], k // 3 % 3, k % 3
        assert torch.equal(a[0], references[image])
        assert book.csim(a, b).item() == pytest.approx(found.score[kind][third, image])
        if kind == "display curve":
            t = torch.tensor(found.severity[kind][third, image : image + 1])
            expected = book.damage(kind, x[image : image + 1].float(), t, chance())
            assert torch.equal(b, expected.byte())


def test_all_measures_score_the_same_damaged_images(xrays):
    x = xrays[:2].byte()
    seen = []
    for seed in (1, 1, 2):
        arm, pairs = seeing(book.csim)
        book.fall(book.Job(arm, x, x, seed))
        seen.append(torch.cat([b for _, b in pairs]))
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])


def slow_concordance(score, severity):
    found = []
    for i in range(score.shape[1]):
        points = []
        for a in range(len(score)):
            for j in range(score.shape[1]):
                for b in range(len(score)):
                    if severity[a, i] != severity[b, j]:
                        worse = severity[a, i] > severity[b, j]
                        right = score[a, i] < score[b, j] if worse else score[a, i] > score[b, j]
                        points.append(0.5 if score[a, i] == score[b, j] else float(right))
        found.append(np.mean(points))
    return np.array(found)


def test_concordance_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    severity = np.round(rng.random((4, 5)), 1)
    score = np.round(1 - severity + 0.5 * rng.random((4, 5)), 1)
    np.testing.assert_allclose(
        book.concordance(score, severity), slow_concordance(score, severity), atol=1e-12
    )
    assert (book.concordance(-severity, severity) == 1).all()
    assert (book.concordance(severity, severity) == 0).all()
    assert (book.concordance(np.zeros((4, 5)), severity) == 0.5).all()
