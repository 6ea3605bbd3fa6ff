"""The definitions of the chapter `image_similarity`, against oracles and against mutations."""

import io
import math
import re
import subprocess
import sys
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage, stats
from skimage import metrics
from skimage.data import camera

import medbook
from medbook import chapter, data, paths
from medbook.record import claims

book = chapter.load("image_similarity")
R = book.RANGE

PHOTO = torch.from_numpy(camera()[::2, ::2].copy()).float()[None, None]  # (1, 1, 256, 256)


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def noisy(x, sigma, seed=1):
    return (x + sigma * book.gauss(x, chance(seed))).round().clamp(0, 255)


@pytest.fixture(scope="module")
def xrays():
    return data.load("chest_xray_lungs", size=128, source="twin").images


# --- CSIM, eqs. 6 and 7 ---------------------------------------------------------------------------


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


FLOATS = st.floats(-(2.0**90), 2.0**90, width=32, allow_subnormal=False)


@given(st.lists(FLOATS, min_size=1, max_size=70), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_ascending_is_a_stable_sort(values, decimals):
    few = np.round(np.array(values, np.float32), decimals) if decimals else np.sign(values)
    v = torch.from_numpy(np.stack([few, few[::-1]]).astype(np.float32))
    expected = np.argsort(v.numpy(), axis=-1, kind="stable")
    for dtype in (torch.float32, torch.float64):
        assert np.array_equal(book.ascending(v.to(dtype)).numpy(), expected)


@pytest.mark.parametrize("n", [1, 64, 65, 100, 257])
def test_ascending_of_patches_of_any_size(n):
    v = (20 * noise(50, n, dtype=torch.float32)).round() - 10
    expected = np.argsort(v.numpy(), axis=-1, kind="stable")
    assert np.array_equal(book.ascending(v).numpy(), expected)


def test_sorting_leaves_the_image_alone():
    v = noise(2, 64, dtype=torch.float32)
    before = v.clone()
    book.ascending(v)
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


def test_unrelated_images_are_at_0_in_grey_and_not_in_colour():
    grey, colour = (book.csim(*noise(2, 1, c, 128, 128)).item() for c in (1, 3))
    assert grey < 0.01 and 0.3 < colour < 0.4


# --- the floor, eq. 9 -----------------------------------------------------------------------------


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


def test_soft_ranks_of_many_patches_are_those_of_each():
    v = noise(3, 2, 7, 7, 9)  # 294 patches: more than are handled at a time
    whole = book.soft_ranks(v, 0.3)
    assert whole.shape == v.shape
    assert torch.equal(whole[2, 1, 6], book.soft_ranks(v[2, 1, 6], 0.3))


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
    assert book.tie_change(x, y).max() > 0.01
    assert book.tie_change(x, y, floor=0.0).max() < 1e-12
    assert book.tie_change(x, x).max() == 0
    plain, mirrored = (book.csim_map(a, b) for a, b in ((x, y), (x.flip(-1), y.flip(-1))))
    assert torch.equal(book.tie_change(x, y), (plain - mirrored.flip(-1)).abs())


# --- the other measures ---------------------------------------------------------------------------


def test_psnr_is_scikit_images_and_the_wrong_range_adds_24_dB():
    x, y = PHOTO, noisy(PHOTO, 7)
    expected = metrics.peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=255)
    assert book.psnr(x, y, R).item() == pytest.approx(expected, rel=1e-5)
    excess = (book.psnr(x, y, 4095.0) - book.psnr(x, y, R)).item()
    assert excess == pytest.approx(20 * math.log10(4095 / 255), abs=1e-4)
    assert book.psnr(x, x, R).item() == 100  # identical: not infinite
    pair = torch.cat([x, x]), torch.cat([y, x])
    np.testing.assert_allclose(book.psnr(*pair, R).numpy(), [expected, 100], rtol=1e-5)


GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


@pytest.mark.parametrize("data_range", [255.0, 4095.0])
def test_ssim_map_is_scikit_images(data_range):
    x, y = PHOTO[..., :61, :47].double(), noisy(PHOTO, 7)[..., :61, :47].double()
    _, expected = metrics.structural_similarity(
        x[0, 0].numpy(), y[0, 0].numpy(), data_range=data_range, full=True, **GAUSSIAN
    )
    found = book.ssim_map(x, y, data_range)[0].numpy()
    inner = (slice(5, -5), slice(5, -5))  # they continue the image in other ways
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-6)
    assert book.ssim(x, y, data_range).item() == pytest.approx(found.mean(), abs=1e-6)


def test_ms_ssim_is_a_product_over_scales():
    x, y = PHOTO.double(), noisy(PHOTO, 20).double()
    found = book.ms_ssim(torch.cat([x, x]), torch.cat([y, x]), R).numpy()
    product, a, b = 1.0, x, y
    for scale, beta in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        k1 = 1e6 if scale < 4 else 0.01  # with a large constant the first factor is 1
        factor = metrics.structural_similarity(
            a[0, 0].numpy(), b[0, 0].numpy(), data_range=255, K1=k1, **GAUSSIAN
        )
        product *= factor**beta
        a, b = (torch.nn.functional.avg_pool2d(image, 2) for image in (a, b))
    assert found == pytest.approx([product, 1], abs=3e-3) and found[0] < 0.95


def slow_phase_congruency(x):
    """Eq. 3 of one image (H, W) with the noise estimated from the filters as images."""
    height, width = x.shape
    fy, fx = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    radius, theta = np.hypot(fy, fx), np.arctan2(-fy, fx)
    radius[0, 0] = 1
    above, below = np.zeros_like(x), np.zeros_like(x)
    for o in range(4):
        away = np.abs(np.angle(np.exp(1j * (theta - o * np.pi / 4))))
        spread = np.exp(-(away**2) / (2 * (np.pi / 4 / 1.2) ** 2))
        filters = []
        for s in range(4):
            wanted = 1 / (6 * 2**s)
            radial = np.exp(-(np.log(radius / wanted) ** 2) / (2 * np.log(0.55) ** 2))
            radial /= 1 + (radius / 0.45) ** 30
            radial[0, 0] = 0
            filters.append(radial * spread)
        answers = [np.fft.ifft2(np.fft.fft2(x) * f) for f in filters]
        total = sum(answers)
        mean_e, mean_o = total.real / np.abs(total), total.imag / np.abs(total)
        energy = sum(
            e.real * mean_e + e.imag * mean_o - np.abs(e.real * mean_o - e.imag * mean_e)
            for e in answers
        )
        # power of the noise, then what the sum of all filters makes of it
        power = np.sort(np.abs(answers[0]).ravel() ** 2)[(x.size - 1) // 2] / np.log(2)
        power /= (filters[0] ** 2).sum()
        spatial = [np.fft.ifft2(f).real * np.sqrt(x.size) for f in filters]
        squares = sum((h**2).sum() for h in spatial)
        products = sum((spatial[i] * spatial[j]).sum() for i in range(4) for j in range(i))
        tau = np.sqrt((2 * power * squares + 4 * power * products) / 2)
        threshold = (tau * np.sqrt(np.pi / 2) + 2 * np.sqrt((2 - np.pi / 2) * tau**2)) / 1.7
        above += np.maximum(energy - threshold, 0)
        below += sum(np.abs(e) for e in answers)
    return above / below


@pytest.mark.parametrize(("height", "width"), [(48, 64), (61, 47)])
def test_phase_congruency_is_the_slow_loop(height, width):
    x = noisy(PHOTO, 3)[..., 60 : 60 + height, 80 : 80 + width].double()
    found = book.phase_congruency(torch.cat([PHOTO[..., :height, :width].double(), x]))[1]
    expected = slow_phase_congruency(x[0, 0].numpy())
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)
    assert found.max() > 0.3 and (found == 0).any()


def test_the_filters_are_phasepacks_along_an_axis():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would like a faster Fourier transform
        phasecong = pytest.importorskip("phasepack.phasecong").phasecong
    impulse = np.zeros((32, 40))
    impulse[0, 0] = 1
    answers = phasecong(impulse, nscale=4, norient=4, minWaveLength=6, mult=2)[5]
    ours = book.log_gabor(torch.from_numpy(impulse)[None, None])
    for s in range(4):
        theirs = np.fft.fft2(answers[0][s])[0, :20].real
        np.testing.assert_allclose(ours[0, s, 0, :20].numpy(), theirs, atol=1e-12)


def test_phase_congruency_ignores_contrast_and_a_constant_image_has_none():
    x = PHOTO[..., :64, :64].double()
    base = book.phase_congruency(x)
    np.testing.assert_allclose(book.phase_congruency(9 + 0.1 * x), base, atol=1e-6)
    assert (book.phase_congruency(torch.full_like(x, 7.0)) == 0).all()


@pytest.mark.parametrize("size", [64, 512])
def test_fsim_is_eq_4(size):
    photo = torch.from_numpy(camera()).double()[None, None, :size, :size]
    x, y = photo, noisy(photo, 15)
    pooled = [ndimage.uniform_filter(v[0, 0].numpy(), 2, origin=-1)[::2, ::2] for v in (x, y)]
    small = [v[0, 0].numpy() for v in (x, y)] if size < 384 else pooled  # 512: means of 2 x 2
    p, q = (slow_phase_congruency(v) for v in small)
    across = np.array([[3, 0, -3], [10, 0, -10], [3, 0, -3]]) / 16
    g, h = (
        np.hypot(*(ndimage.convolve(v, k, mode="constant") for k in (across, across.T)))
        for v in small
    )
    same = (2 * p * q + 0.85) / (p**2 + q**2 + 0.85) * (2 * g * h + 160) / (g**2 + h**2 + 160)
    expected = (same * np.maximum(p, q)).sum() / np.maximum(p, q).sum()
    assert book.fsim(x, y, R).item() == pytest.approx(expected, abs=1e-9)
    assert book.fsim(x, x, R).item() == pytest.approx(1) and expected < 0.95


def slow_issm(x, y):
    """Eq. 5 of one pair of images (H, W) of whole numbers."""
    pairs = list(zip(*(np.minimum(v, 254).ravel() for v in (x, y)), strict=True))
    shares = np.array([pairs.count(pair) for pair in set(pairs)]) / len(pairs)
    h = -(shares * np.log2(shares)).sum()
    flat = [book.edges(torch.from_numpy(v)[None, None]).flatten().numpy() for v in (x, y)]
    e = np.corrcoef(*flat)[0, 1]
    ssim = book.ssim(*(torch.from_numpy(v)[None, None] for v in (x, y)), R).item()
    return e * h * (0.3 + 0.5) / (0.3 * e * h + 0.5 * h + 0.7 * ssim)


def test_issm_is_eq_5():
    x = PHOTO[..., 90:121, 70:105].double()
    y = noisy(x, 12)
    y[..., :3, :3] = 255.0  # the last bin of the histogram holds 254 and 255
    found = book.issm(torch.cat([x, x]), torch.cat([y, x]), R)
    assert found[0].item() == pytest.approx(slow_issm(x[0, 0].numpy(), y[0, 0].numpy()), abs=1e-9)
    assert found[1] == 1 and 0.05 < found[0] < 0.9


def test_issm_without_edges_is_0():
    x = torch.full((1, 1, 32, 32), 100.0)
    assert book.issm(x, x + 1, R) == 0


def test_edges_need_steps_of_40_grey_levels():
    for height, found in ((39, False), (40, True)):
        step = torch.zeros(1, 1, 16, 16)
        step[..., 8:] = height
        assert book.edges(step).any() == found


def test_issm_is_the_published_one_with_the_same_edges_and_ssim(monkeypatch):
    pytest.importorskip("cv2")
    published = pytest.importorskip("similarity_metrics.issm_quality").ISSMsimilarity(255)
    x, y = PHOTO, noisy(PHOTO, 10)
    arrays = [v[0, 0, :, :, None].numpy().astype(np.uint8) for v in (x, y)]
    theirs = published.issm(*(v.repeat(3, axis=2) for v in arrays))
    assert book.issm(x, y, R).item() == pytest.approx(theirs, abs=0.03)  # OpenCV's Canny
    as_ours = {
        "canny_edge_detection": lambda v: book.edges(
            torch.from_numpy(v[..., 0]).float()[None, None]
        )[0, 0].numpy(),
        "ssim": lambda a, b: book.ssim(x, y, R).item(),
    }
    for name, function in as_ours.items():
        monkeypatch.setattr(published, name, function)
    assert book.issm(x, y, R).item() == pytest.approx(published.issm(*arrays), abs=1e-5)


def test_parts_are_put_together_in_order():
    x = noise(5, 1, 16, 16, dtype=torch.float32)
    y = noise(5, 1, 16, 16, seed=1, dtype=torch.float32)
    torch.testing.assert_close(book.in_parts(book.MEASURES["PSNR"], x, y), book.psnr(x, y, R))


# --- changes of images ----------------------------------------------------------------------------


def test_distortions_are_8_bit_and_belong_to_their_image():
    x = (255 * noise(1, 1, 24, 24, dtype=torch.float32)).round().expand(4, 1, 24, 24)
    t = torch.tensor([0.05, 0.2, 0.6, 1.0])
    for kind in book.KINDS:
        y = book.distort(kind, x, t, chance())
        assert y.dtype == x.dtype and torch.equal(y, y.round())
        assert y.min() >= 0 and y.max() <= 255
        damage = (y - x).square().mean((1, 2, 3))
        assert (damage.diff() > 0).all(), kind
        if kind != "noise":
            assert torch.equal(y[2:3], book.distort(kind, x[2:3], t[2:3], chance()))


def test_each_distortion_is_its_formula():
    x = (255 * noise(1, 1, 40, 40)).round()
    t = torch.tensor([0.5])
    changed = {kind: book.distort(kind, x, t, chance())[0, 0].numpy() for kind in book.KINDS}
    image = x[0, 0].numpy()
    expected = {
        "noise": x[0, 0].numpy() + 10 * book.gauss(x, chance())[0, 0].numpy(),
        "blur": ndimage.gaussian_filter(image, 1.5),
        "gamma": 255 * (image / 255) ** 0.75,
    }
    for kind, values in expected.items():
        assert np.array_equal(changed[kind], np.clip(np.round(values), 0, 255)), kind
    file = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(file, "JPEG", quality=55)
    assert np.array_equal(changed["JPEG"], np.asarray(Image.open(file)))


def test_a_spot_is_1_at_its_centre_and_half_at_half_its_width():
    x = torch.zeros(2, 1, 21, 31)
    found = book.spot(x, torch.tensor([[5.0, 7.0], [10.0, 20.0]]), torch.tensor([4.0, 8.0]))
    assert found.shape == x.shape and found[0, 0, 5, 7] == 1 and found[1, 0, 10, 20] == 1
    for value in (found[0, 0, 3, 7], found[0, 0, 5, 9], found[1, 0, 10, 16]):
        assert value == pytest.approx(0.5)


def test_a_shift_moves_by_one_pixel_along_both_axes():
    x = noise(40, 1, 9, 11)
    found = book.moved(x, chance())
    seen = set()
    for before, after in zip(x[:, 0], found[:, 0], strict=True):
        for step in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            if torch.equal(after, before.roll(step, (0, 1))):
                seen.add(step)
    assert len(seen) == 4
    assert all(not torch.equal(a, b) for a, b in zip(x, found, strict=True))


def test_the_best_curve_is_the_mean_second_value_of_each_level():
    x = (255 * noise(2, 1, 12, 12)).round() // 16 * 16  # 16 levels
    y = 3 + x.sqrt()
    torch.testing.assert_close(book.best_curve(x, y), y)
    y = 255 * noise(2, 1, 12, 12, seed=1)
    found = book.best_curve(x, y)
    for level in x[1].unique():
        here = x[1] == level
        torch.testing.assert_close(found[1][here], y[1][here].mean().expand(int(here.sum())))


# --- finding a spot -------------------------------------------------------------------------------


def test_places_are_quantiles_of_the_texture_inside_the_body():
    x = 128 + 40 * (noise(2, 1, 64, 64) - 0.5) * torch.arange(1, 65) / 64
    x[:, :, :8], x[:, :, 56:] = 8 * noise(1, 1, 8, 64), 255.0 - 8 * noise(1, 1, 8, 64)  # outside
    anywhere, textured, flat = (book.places(x, q) for q in ((0.0, 1.0), (0.75, 1.0), (0.0, 0.25)))
    for found in (anywhere, textured, flat):
        assert not found[:, [0, 7]].any()
    assert anywhere[:, 1:7].all()
    assert (textured.sum((1, 2)) == 12).all() and (flat.sum((1, 2)) == 12).all()
    spread = x.unfold(2, 8, 8).unfold(3, 8, 8).std((-1, -2))[:, 0]
    assert spread[textured].min() > spread[flat].max()


def test_a_spot_lies_in_one_of_the_blocks_it_may_lie_in():
    x, among = torch.zeros(200, 1, 32, 40), torch.zeros(200, 4, 5, dtype=torch.bool)
    among[:, 1, 3] = among[:, 2, 0] = True
    found = book.random_spot(x, among, chance())
    peak = found.flatten(1).argmax(1)
    block = torch.stack([peak // 40 // 8, peak % 40 // 8], 1)
    assert {tuple(b) for b in block.tolist()} == {(1, 3), (2, 0)}
    size = (found > 0.5).sum((1, 2, 3)).double()  # pi / 4 times the width squared
    assert size.min() >= 4 and size.max() <= 70 and size.max() > 4 * size.min()


def test_auc_is_the_mann_whitney_statistic():
    hit, change = noise(3, 6, 7, seed=1) > 0.8, (4 * noise(3, 6, 7)).round()
    among = noise(3, 6, 7, seed=2) > 0.2
    found = book.auc(hit, change, among)
    for k in range(3):
        a, b = change[k][hit[k] & among[k]], change[k][~hit[k] & among[k]]
        u = stats.mannwhitneyu(a.numpy(), b.numpy()).statistic
        assert found[k] == pytest.approx(u / len(a) / len(b))


def test_without_noise_every_map_finds_the_spot(xrays, monkeypatch):
    monkeypatch.setattr(book, "NOISE", 0.0)
    found = book.locate(xrays[:3], xrays[:3], chance(), height=40.0)
    assert found.keys() == book.CHANGE_MAPS.keys()
    for name, values in found.items():
        assert values.shape == (3,) and values.min() > 0.95, name


def test_noise_hides_the_spot_from_ranks_more_than_from_the_difference(xrays):
    found = book.locate(xrays[:6], xrays[:6], chance())
    assert found["CSIM"].mean() < 0.95 < found["difference"].mean()


def test_with_noise_and_no_spot_nothing_is_found(xrays):
    found = book.locate(xrays[:8], xrays[:8], chance(), height=0.0, draws=16)
    for name in ("CSIM", "difference"):
        assert found[name].mean() == pytest.approx(0.5, abs=0.07)


def test_a_display_curve_hides_the_spot_from_the_difference_alone(xrays):
    plain, curved = (book.locate(xrays[:4], xrays[:4], chance(), gamma=g) for g in (1.0, 0.7))
    assert plain["difference"].min() > 0.95 > 0.8 > curved["difference"].mean()
    assert curved["difference from curve"].mean() > 0.9


# --- order and harmless changes -------------------------------------------------------------------


def slow_concordance(score, severity):
    found = []
    for i in range(len(score)):
        points = []
        for a in range(score.shape[1]):
            for j in range(len(score)):
                for b in range(score.shape[1]):
                    if severity[i, a] != severity[j, b]:
                        worse = severity[i, a] > severity[j, b]
                        right = score[i, a] < score[j, b] if worse else score[i, a] > score[j, b]
                        points.append(0.5 if score[i, a] == score[j, b] else float(right))
        found.append(np.mean(points))
    return np.array(found)


def test_concordance_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    severity = np.round(rng.random((5, 4)), 1)
    score = np.round(1 - severity + 0.5 * rng.random((5, 4)), 1)
    np.testing.assert_allclose(
        book.concordance(score, severity), slow_concordance(score, severity), atol=1e-12
    )
    assert (book.concordance(-severity, severity) == 1).all()
    assert (book.concordance(severity, severity) == 0).all()
    assert (book.concordance(np.zeros((5, 4)), severity) == 0.5).all()


def test_a_sweep_draws_in_its_strata_and_scores_against_the_reference(xrays):
    x = xrays[:3]
    strata = [(0.2, 0.4), (0.9, 0.9)]
    severity, found = book.sweep("noise", ("PSNR", "CSIM"), strata, x, x, chance())
    assert severity.shape == found["PSNR"].shape == found["CSIM"].shape == (3, 2)
    assert ((severity[:, 0] > 0.2) & (severity[:, 0] <= 0.4)).all()
    np.testing.assert_allclose(severity[:, 1], 0.9)
    assert len(set(severity[:, 0])) == 3
    sigma = 255 / 10 ** (found["PSNR"][:, 0] / 20)
    np.testing.assert_allclose(sigma, 20 * severity[:, 0], rtol=0.1)
    _, other = book.sweep("noise", ("PSNR",), strata, x.flip(0), x, chance())
    assert (other["PSNR"][0] < found["PSNR"][0]).all()


def test_harmless_changes(xrays):
    found = book.harmless(xrays[:3], xrays[:3], chance())
    assert all(values.shape == (3,) for values in found.values())
    assert (found["curve/float64"] == 1).all()
    assert (found["curve/CSIM"] > 0.99).all() and (found["curve/SSIM"] < 1).all()
    assert (found["curve, 8 bits/CSIM"] < found["curve/CSIM"]).all()
    assert (found["tiny noise/CSIM"] < 0.97).all() and (found["tiny noise/SSIM"] > 0.9999).all()
    assert (found["tiny noise/CSIM, floor"] > 0.99).all()
    assert (found["shift/CSIM"] < found["shift/SSIM"]).all()
    assert (found["mirror/CSIM"] > 0).all()


# --- the claims -----------------------------------------------------------------------------------

CLAIMS = claims.chapter_claims("image_similarity")
SCORES = np.random.default_rng(0).random((5, 40))
UNITS = np.arange(40)
SPREAD = np.random.default_rng(1).normal(0, 0.1, (2, 5, 40))  # of two runs of one arm

GREATER = [claim for claim in CLAIMS.values() if claim.kind == "greater"]
OTHERS = [claim for claim in CLAIMS.values() if claim.kind in ("noninferior", "equivalent")]
EXACT = [check.was for check in claims.chapter_checks("image_similarity").values()]


def verdict(claim, ours, baseline, units=UNITS):
    run = medbook.start("image_similarity", profile="laptop")
    return run.claim(claim.id, ours=ours, baseline=baseline, units=units)


@pytest.mark.parametrize("claim", GREATER, ids=lambda claim: claim.id)
def test_a_baseline_passed_as_ours_is_not_reproduced(claim):
    assert verdict(claim, SCORES + SPREAD[0], SCORES + SPREAD[1]) != "reproduced"
    assert verdict(claim, SCORES, SCORES) != "reproduced"


@pytest.mark.parametrize("claim", GREATER, ids=lambda claim: claim.id)
def test_arms_passed_in_the_wrong_order_are_opposite(claim):
    effect = max(1, 10 * claim.margin) * (1 if claim.better == "higher" else -1)
    ours, baseline = SPREAD[0] + effect, SPREAD[1]
    assert verdict(claim, ours, baseline) == "reproduced"
    assert verdict(claim, baseline, ours) == "opposite"


@pytest.mark.parametrize("claim", OTHERS, ids=lambda claim: claim.id)
def test_a_worse_arm_is_not_as_good(claim):
    worse = -20 * claim.margin * (1 if claim.better == "higher" else -1)
    small = 0.1 * claim.margin * SPREAD
    assert verdict(claim, SCORES + small[0], SCORES + small[1]) == "reproduced"
    assert verdict(claim, SCORES + worse + small[0], SCORES + small[1]) == "not reproduced"


@pytest.mark.parametrize("claim", EXACT, ids=lambda claim: claim.id)
def test_an_identity_holds_in_every_place(claim):
    almost = SCORES.copy()
    almost[3, 7] += 1e-3
    assert verdict(claim, SCORES, SCORES, None) == "reproduced"
    assert verdict(claim, almost, SCORES, None) == "not reproduced"


# --- the benchmark --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_benchmark_fills_its_table(tmp_path):
    out, root = tmp_path / "similarity.md", paths.PACKAGE.parent
    command = [sys.executable, "ci/bench/similarity.py", "--quick", "--out", str(out)]
    printed = subprocess.check_output(command, cwd=root, text=True)
    assert out.read_text(encoding="utf-8").strip() == printed.strip()
    rows = [
        line.strip("| ").split(" | ")
        for line in printed.splitlines()
        if "[" in line and "|" in line
    ]
    names = " ".join(row[0] for row in rows)
    for name in ("1 pair", "16 pairs", "floor", "scikit-image", "torchmetrics", "FSIM"):
        assert name in names
    for row in rows:
        assert all(re.fullmatch(r"[\d.,]+ \[[\d.,]+, [\d.,]+\]", cell) for cell in row[1:]), row
