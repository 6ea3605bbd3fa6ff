"""PSNR, SSIM, FSIM and ISSM against scikit-image, slow loops and the published package."""

import math
import warnings

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import metrics
from skimage.data import camera

from medbook.evaluate.fsim import fsim, log_gabor, phase_congruency
from medbook.evaluate.issm import edges, issm
from medbook.evaluate.similarity import best_curve, psnr, ssim, ssim_map

R = 255.0
PHOTO = torch.from_numpy(camera()[::2, ::2].copy()).float()[None, None]  # (1, 1, 256, 256)


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def noisy(x, sigma, seed=1):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return (x + sigma * noise).round().clamp(0, 255)


def test_psnr_is_scikit_images_and_the_wrong_range_adds_24_dB():
    x, y = PHOTO, noisy(PHOTO, 7)
    expected = metrics.peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=255)
    assert psnr(x, y, R).item() == pytest.approx(expected, rel=1e-5)
    excess = (psnr(x, y, 4095.0) - psnr(x, y, R)).item()
    assert excess == pytest.approx(20 * math.log10(4095 / 255), abs=1e-4)
    assert psnr(x, x, R).item() == 100  # identical: not infinite
    pair = torch.cat([x, x]), torch.cat([y, x])
    np.testing.assert_allclose(psnr(*pair, R).numpy(), [expected, 100], rtol=1e-5)


GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


@pytest.mark.parametrize("data_range", [255.0, 4095.0])
def test_ssim_map_is_scikit_images(data_range):
    x, y = PHOTO[..., :61, :47].double(), noisy(PHOTO, 7)[..., :61, :47].double()
    _, expected = metrics.structural_similarity(
        x[0, 0].numpy(), y[0, 0].numpy(), data_range=data_range, full=True, **GAUSSIAN
    )
    found = ssim_map(x, y, data_range)[0].numpy()
    inner = (slice(5, -5), slice(5, -5))  # they continue the image in other ways
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-6)
    assert ssim(x, y, data_range).item() == pytest.approx(found.mean(), abs=1e-6)


def slow_phase_congruency(x):
    """Phase congruency of one image (H, W) with the noise estimated from the filters as images."""
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
    found = phase_congruency(torch.cat([PHOTO[..., :height, :width].double(), x]))[1]
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
    ours = log_gabor(torch.from_numpy(impulse)[None, None])
    for s in range(4):
        theirs = np.fft.fft2(answers[0][s])[0, :20].real
        np.testing.assert_allclose(ours[0, s, 0, :20].numpy(), theirs, atol=1e-12)


def test_phase_congruency_ignores_contrast_and_a_constant_image_has_none():
    x = PHOTO[..., :64, :64].double()
    base = phase_congruency(x)
    np.testing.assert_allclose(phase_congruency(9 + 0.1 * x), base, atol=1e-6)
    assert (phase_congruency(torch.full_like(x, 7.0)) == 0).all()


@pytest.mark.parametrize("size", [64, 512])
def test_fsim_is_its_formula(size):
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
    assert fsim(x, y, R).item() == pytest.approx(expected, abs=1e-9)
    assert fsim(x, x, R).item() == pytest.approx(1) and expected < 0.95


def slow_issm(x, y):
    """ISSM of one pair of images (H, W) of whole numbers."""
    pairs = list(zip(*(np.minimum(v, 254).ravel() for v in (x, y)), strict=True))
    shares = np.array([pairs.count(pair) for pair in set(pairs)]) / len(pairs)
    h = -(shares * np.log2(shares)).sum()
    flat = [edges(torch.from_numpy(v)[None, None]).flatten().numpy() for v in (x, y)]
    e = np.corrcoef(*flat)[0, 1]
    structure = ssim(*(torch.from_numpy(v)[None, None] for v in (x, y)), R).item()
    return e * h * (0.3 + 0.5) / (0.3 * e * h + 0.5 * h + 0.7 * structure)


def test_issm_is_its_formula():
    x = PHOTO[..., 90:121, 70:105].double()
    y = noisy(x, 12)
    y[..., :3, :3] = 255.0  # the last bin of the histogram holds 254 and 255
    found = issm(torch.cat([x, x]), torch.cat([y, x]), R)
    assert found[0].item() == pytest.approx(slow_issm(x[0, 0].numpy(), y[0, 0].numpy()), abs=1e-9)
    assert found[1] == 1 and 0.05 < found[0] < 0.9


def test_issm_without_edges_is_0():
    x = torch.full((1, 1, 32, 32), 100.0)
    assert issm(x, x + 1, R) == 0


def test_edges_need_steps_of_40_grey_levels():
    for height, found in ((39, False), (40, True)):
        step = torch.zeros(1, 1, 16, 16)
        step[..., 8:] = height
        assert edges(step).any() == found


def test_issm_is_the_published_one_with_the_same_edges_and_ssim(monkeypatch):
    pytest.importorskip("cv2")
    published = pytest.importorskip("similarity_metrics.issm_quality").ISSMsimilarity(255)
    x, y = PHOTO, noisy(PHOTO, 10)
    arrays = [v[0, 0, :, :, None].numpy().astype(np.uint8) for v in (x, y)]
    theirs = published.issm(*(v.repeat(3, axis=2) for v in arrays))
    assert issm(x, y, R).item() == pytest.approx(theirs, abs=0.03)  # OpenCV's Canny
    as_ours = {
        "canny_edge_detection": lambda v: edges(torch.from_numpy(v[..., 0]).float()[None, None])[
            0, 0
        ].numpy(),
        "ssim": lambda a, b: ssim(x, y, R).item(),
    }
    for name, function in as_ours.items():
        monkeypatch.setattr(published, name, function)
    assert issm(x, y, R).item() == pytest.approx(published.issm(*arrays), abs=1e-5)


def test_the_best_curve_is_the_mean_second_value_of_each_level():
    x = (255 * uniform(2, 1, 12, 12)).round() // 16 * 16  # 16 levels
    y = 3 + x.sqrt()
    torch.testing.assert_close(best_curve(x, y), y)
    y = 255 * uniform(2, 1, 12, 12, seed=1)
    found = best_curve(x, y)
    for level in x[1].unique():
        here = x[1] == level
        torch.testing.assert_close(found[1][here], y[1][here].mean().expand(int(here.sum())))
