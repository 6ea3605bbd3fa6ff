"""The definitions of the chapter `mri_reconstruction`, against oracles and against mutations."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from chapter_edits import changed_by
from skimage import metrics
from torch import nn

from medbook import chapter
from medbook.phantom import brain_like
from medbook.physics.mri import (
    FAMILIES,
    Cartesian,
    Radial,
    combine,
    fft2c,
    head_coils,
    ifft2c,
    measured,
    random_mask,
    rss,
    scanned_spokes,
    seen_fully,
    unit_maps,
)

book = chapter.load("mri_reconstruction")
ARMS = book.all_arms()
SMALL = book.ZeroShot(width=4, depth=1, blocks=2, steps=4, every=2, pairs=3)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(*shape, seed=0, dtype=torch.complex64):
    return torch.randn(shape, generator=generator(seed), dtype=dtype)


@pytest.fixture(scope="module")
def heads():
    return brain_like(4, generator(3))


@pytest.fixture(scope="module")
def scan(heads):
    """Samples, mask, maps and reference of two heads, 4 coils, 24 x 24."""
    full = heads[:2].kspace(24, head_coils(4))
    mask = random_mask("equispaced lines", (24, 24), 3, generator())
    return measured(full, mask, 30, generator(1)), mask, unit_maps(4, 24), seen_fully(full)


# --- the ladder -----------------------------------------------------------------------------------


def test_every_step_of_the_ladder_is_better(scan):
    y, mask, maps, x = scan
    E = Cartesian(mask, maps)
    found = E.AT(y), book.sense(E, y, 10), book.l1_wavelet(E, y, 1e-3)
    errors = [float((z - x).norm() / x.norm()) for z in found]
    assert errors[0] > 1.2 * errors[1] and errors[0] > 1.2 * errors[2]


@pytest.mark.parametrize("n", [6, 7])
def test_sense_is_least_squares(n):
    mask = random_mask("Gaussian points", (n, n), 1.3, generator())
    E = Cartesian(mask, unit_maps(3, n).to(torch.complex128))
    basis = torch.eye(n * n, dtype=torch.complex128).view(-1, 1, n, n)
    y = E.A(numbers(1, 1, n, n, dtype=torch.complex128)) + E.A(basis[:1])
    matrix = E.A(basis).flatten(1).T
    expected = torch.linalg.lstsq(matrix, y.flatten()[:, None]).solution.view(1, 1, n, n)
    torch.testing.assert_close(book.sense(E, y, 100), expected, rtol=1e-6, atol=1e-8)


def test_with_one_uniform_coil_sense_is_zero_filling():
    mask = random_mask("random lines", (15, 15), 3, generator())
    E = Cartesian(mask, torch.ones(1, 1, 15, 15, dtype=torch.complex64))
    y = torch.where(mask, numbers(2, 1, 15, 15), 0)
    torch.testing.assert_close(book.sense(E, y, 5), E.AT(y))


@pytest.mark.parametrize("factor", [1e-3, 1.0, 50.0])
def test_the_l1_weight_means_the_same_at_every_scale(scan, factor):
    y, mask, maps, _ = scan
    E = Cartesian(mask, maps)
    expected = factor * book.l1_wavelet(E, y, 3e-3, 20)
    torch.testing.assert_close(
        book.l1_wavelet(E, factor * y, 3e-3, 20), expected, rtol=1e-3, atol=0
    )


# --- zero-shot learning ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(24, 24), (15, 20)])
@pytest.mark.parametrize("share", [0.2, 0.4, 1.0])
def test_samples_are_set_aside_once_each_and_never_in_the_middle(shape, share):
    mask = random_mask("random lines", shape, 2, generator())
    aside, rest = book.set_aside(mask, share, generator(1))
    assert not (aside & rest).any() and torch.equal(aside | rest, mask)
    centre = tuple(slice(n // 2 - 2, n // 2 + 2) for n in shape)
    assert not aside[0, 0][centre].any()
    total, kept = int(mask.sum()), int(mask[0, 0][centre].sum())
    assert int(aside.sum()) == min(round(share * total), total - kept)
    other = book.set_aside(mask, share, generator(2))[0]
    assert share == 1.0 or not torch.equal(aside, other)


@pytest.mark.parametrize("n", [6, 7])
@pytest.mark.parametrize("mu", [0.05, 2.0])
def test_solve_is_the_solution_of_equation_3(n, mu):
    mask = random_mask("Gaussian points", (n, n), 1.3, generator())
    maps = unit_maps(3, n).to(torch.complex128)
    E, size = Cartesian(mask, maps), n * n
    basis = torch.eye(size, dtype=torch.complex128).view(size, 1, n, n)
    matrix = E.AT(E.A(basis)).view(size, size).T + mu * torch.eye(size, dtype=torch.float64)
    b = numbers(1, 1, n, n, dtype=torch.complex128)
    expected = torch.linalg.solve(matrix, b.flatten()).view_as(b)
    torch.testing.assert_close(book.solve(E, mu, b, 60), expected, rtol=1e-8, atol=1e-10)
    assert not torch.allclose(book.solve(E, mu + 0.5, b, 60), expected, atol=1e-3)


def test_solving_for_zero_gives_zero():
    E = Cartesian(torch.ones(1, 1, 5, 5, dtype=torch.bool))
    assert (book.solve(E, 0.1, torch.zeros(1, 1, 5, 5, dtype=torch.complex64)) == 0).all()


def test_the_unrolled_network_is_equation_3(scan):
    y, mask, maps, _ = scan
    torch.manual_seed(0)
    network = book.Unrolled(4, 2, 2)
    nn.init.normal_(network.R[-1].weight, std=0.3)
    with torch.no_grad():
        network.mu.fill_(0.3)
    E = Cartesian(mask, maps)
    b = E.AT(y)
    x = book.solve(E, 0.0, b)
    for _ in range(2):
        correction = network.R(torch.cat([x.real, x.imag], 1))
        z = x + torch.complex(correction[:, :1].contiguous(), correction[:, 1:].contiguous())
        x = book.solve(E, 0.3, b + 0.3 * z)
    torch.testing.assert_close(network(y, mask, maps), x)


def test_the_loss_is_equation_4():
    u, v = numbers(5, 3), numbers(5, 3, seed=1)
    a, b = (np.stack([t.real.numpy(), t.imag.numpy()]) for t in (u, v))
    expected = np.linalg.norm(a - b) / np.linalg.norm(a) + np.abs(a - b).sum() / np.abs(a).sum()
    assert book.sample_loss(u, v).item() == pytest.approx(expected / 2, rel=1e-5)
    assert book.sample_loss(u, u) == 0


def one_scan(scan, how, seed):
    return book.zero_shot(book.OneScan(book.Sampled(*scan), how, seed))


def splits_used(monkeypatch, scan, how):
    """What the network was given and what the loss saw, for each call of zero_shot."""
    y, mask, maps, _ = scan
    given, seen = [], []
    forward = book.Unrolled.forward

    def recorded(self, y, mask, maps):
        given.append(mask)
        return forward(self, y, mask, maps)

    class Spy(Cartesian):
        def A(self, x):  # the loss predicts the samples of its own mask
            if x.requires_grad and x.is_leaf is False and self.mask is not given[-1]:
                seen.append((given[-1], self.mask))
            return super().A(x)

    monkeypatch.setattr(book.Unrolled, "forward", recorded)
    monkeypatch.setattr(book, "Cartesian", Spy)
    one_scan((y[:1], mask, maps), how, 0)
    return given, seen


def test_the_loss_never_looks_at_what_the_network_got(monkeypatch, scan):
    mask = scan[1]
    _, seen = splits_used(monkeypatch, scan, SMALL)
    assert len(seen) >= SMALL.steps
    for theta, lam in seen:
        assert not (theta & lam).any() and not ((theta | lam) & ~mask).any()
        assert 0.35 < int(lam.sum()) / int((theta | lam).sum()) < 0.45
        assert 0.75 < int((theta | lam).sum()) / int(mask.sum()) < 0.85  # a fifth is set aside


def changed_at(y, where):
    return torch.where(where, y + 0.3 * y.abs().max(), y)


def test_samples_set_aside_train_nothing(scan):
    y, mask, maps, _ = scan
    gamma, rest = book.set_aside(mask, 0.2, generator(7))
    y = y[:1]
    y[..., 12, 12] = 3 * y.abs().max()  # the scale comes from a sample that stays
    plain = one_scan((y, mask, maps), SMALL, 7)
    other = one_scan((changed_at(y, gamma), mask, maps), SMALL, 7)
    assert other.log.weights == plain.log.weights and other.log.losses == plain.log.losses
    assert other.held_out != plain.held_out
    trained_on = rest & (torch.arange(24) % 3 == 0)
    third = one_scan((changed_at(y, trained_on), mask, maps), SMALL, 7)
    assert third.log.weights != plain.log.weights


def test_training_stops_where_the_samples_set_aside_say():
    log = book.TrainingLog((1.0,), 1, 1, 1, 0.0, "")
    course = book.Course(log, (0.5, 0.2, 0.2, 0.9), torch.zeros(4, 1, 2, 2))
    assert course.best == 1 and course.stopped is not course.images
    assert course.stopped.shape == (1, 2, 2)


def test_a_course_is_reproducible_and_scales_with_the_data(scan):
    y, mask, maps, _ = scan
    one, again = (one_scan((y[:1], mask, maps), SMALL, 3) for _ in range(2))
    assert one.log.weights == again.log.weights and torch.equal(one.images, again.images)
    assert len(one.held_out) == len(one.images) == SMALL.steps // SMALL.every
    loud = one_scan((8 * y[:1], mask, maps), SMALL, 3)
    torch.testing.assert_close(loud.images, 8 * one.images, rtol=1e-3, atol=1e-5)
    other = one_scan((y[:1], mask, maps), replace(SMALL, pairs=1), 3)
    assert other.log.n_train == 1 and one.log.n_train == 3


# --- NO-MRI ---------------------------------------------------------------------------------------


def network_of(arm, width=2, seed=0):
    return book.made(partial(ARMS[arm].build, width, 3), seed)


def hat(t):
    return max(0.0, 1 - abs(t))


@pytest.mark.parametrize("reach", [2.0, 3.3, 4.0])
def test_the_basis_is_hats_in_polar_coordinates(reach):
    found = book.hats(reach)
    n = found.shape[-1] // 2
    expected = np.zeros(found.shape)
    for i in range(-n, n + 1):
        for j in range(-n, n + 1):
            r, phi = math.hypot(i, j) * 3 / reach, math.degrees(math.atan2(i, j))
            expected[0, i + n, j + n] = hat(r)
            for ring in (1, 2):
                for k in range(8):
                    away = abs((phi - 45 * k + 180) % 360 - 180)
                    expected[1 + 8 * (ring - 1) + k, i + n, j + n] = hat(r - ring) * hat(away / 45)
    expected /= expected.sum((1, 2), keepdims=True)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_kernels_cover_the_same_area_on_every_grid():
    assert book.hats(3.0).shape == (17, 5, 5) and book.hats(6.0).shape == (17, 11, 11)
    assert torch.linalg.matrix_rank(book.hats(book.REACH).flatten(1)) == 17  # no weight is idle


def smooth(n):
    t = torch.arange(n) / n
    return (torch.cos(4 * math.pi * t)[:, None] * torch.sin(2 * math.pi * t))[None, None]


def test_a_disco_convolution_does_not_depend_on_the_grid():
    torch.manual_seed(1)
    layer, control = book.Disco(1, 1), book.pixels(1, 1)

    def change(f, zooms=(2.0, 4.0)):
        found = []
        for n, zoom in zip((64, 128), zooms, strict=True):
            layer.basis, step = book.hats(book.REACH * zoom), n // 64
            found.append(f(smooth(n))[..., n // 4 : -n // 4 : step, n // 4 : -n // 4 : step])
        return float((found[0] - found[1]).norm() / found[0].norm())

    with torch.no_grad():
        followed, frozen, of_pixels = change(layer), change(layer, (2.0, 2.0)), change(control)
    assert followed < 0.02 and frozen > 4 * followed and of_pixels > 4 * followed


@pytest.mark.parametrize("shape", [(8, 8), (10, 7)])
def test_a_disco_convolution_is_its_sum(shape):
    torch.manual_seed(0)
    layer, v = book.Disco(2, 3), numbers(1, 2, *shape, dtype=torch.float32)
    basis, found = book.hats(book.REACH), torch.zeros(1, 3, *shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            for di in range(-2, 3):
                for dj in range(-2, 3):
                    if 0 <= i + di < shape[0] and 0 <= j + dj < shape[1]:
                        kappa = layer.theta @ basis[:, di + 2, dj + 2]  # (3, 2)
                        found[0, :, i, j] += kappa @ v[0, :, i + di, j + dj]
    torch.testing.assert_close(layer(v), found, rtol=1e-4, atol=1e-5)


def test_only_image_operators_follow_the_grid_of_the_image():
    network = network_of("neural operator")
    network.on_grid(2.0)
    sides = {
        name: {layer.basis.shape[-1] for layer in part.modules() if isinstance(layer, book.Disco)}
        for name, part in (("image", network.image), ("kspace", network.kspace))
    }
    assert sides == {"image": {11}, "kspace": {5}}


def scans(heads, n=16, families=tuple(FAMILIES)):
    full = heads.kspace(n, head_coils(3))
    plan = [(families[i % len(families)], (4, 6)[i % 2]) for i in range(len(full))]
    return book.scan_all(full, seen_fully(full), plan, 30.0, 0), full


def test_packing_loses_nothing(heads):
    found, _ = scans(heads)
    k, mask = book.unpacked(found.packed)
    assert k.shape == (4, 3, 16, 16) and mask.dtype == torch.bool
    assert (k[~mask.expand_as(k)] == 0).all() and (k[mask.expand_as(k)] != 0).all()
    image = rss(ifft2c(k))
    assert 0.3 < float(image.amax()) < 3 and float(found.truth.amax()) < 3
    again, scale = book.packed(7 * k, mask)
    torch.testing.assert_close(again, book.packed(k, mask)[0])
    torch.testing.assert_close(scale, 7 * book.packed(k, mask)[1])


@pytest.mark.parametrize("arm", ARMS)
def test_the_network_is_equation_6(heads, arm):
    build = ARMS[arm].build
    layer = {book.by_disco: book.Disco, book.by_pixels: book.pixels}[build.func]
    in_kspace = build.keywords["in_kspace"]
    network = network_of(arm, seed=5).eval()
    with torch.no_grad():
        for k, eta in enumerate(network.eta):
            eta.fill_(0.5 + 0.2 * k)
    assert len(network.image) == 3 - in_kspace and (network.kspace is not None) == in_kspace
    x = scans(heads)[0].packed
    start, mask = book.unpacked(x)
    S = unit_maps(3, 16)
    k = start
    if in_kspace:
        k = k + fft2c(S * ifft2c(network.kspace(fft2c(combine(ifft2c(start), S)))))
    for eta, U in zip((0.5, 0.7, 0.9), network.image, strict=False):
        k = k - eta * mask * (k - start) - fft2c(S * U(combine(ifft2c(k), S)))
    torch.testing.assert_close(network(x), rss(ifft2c(k)), rtol=1e-4, atol=1e-5)
    kinds = {type(m) for m in network.modules() if isinstance(m, (book.Disco, nn.Conv2d))}
    assert (book.Disco in kinds) == (layer is book.Disco)


def test_arms_have_the_same_number_of_weights():
    counts = {arm: sum(p.numel() for p in network_of(arm, width=8).parameters()) for arm in ARMS}
    assert max(counts.values()) < 1.02 * min(counts.values())


@pytest.mark.parametrize("shape", [(16, 16), (15, 18)])
def test_the_normalised_network_scales_with_its_input(shape):
    torch.manual_seed(0)
    network, z = book.NormUNet(book.pixels, 2).eval(), numbers(2, 1, *shape)
    assert network(z).shape == z.shape
    torch.testing.assert_close(network(100 * z), 100 * network(z), rtol=1e-3, atol=1e-2)


def test_ssim_and_psnr_are_those_of_scikit_image():
    truth = torch.rand(3, 1, 20, 17, generator=generator())
    x = (truth + 0.1 * numbers(*truth.shape, dtype=torch.float32)).clamp(0, 1)
    for k, (a, b) in enumerate(zip(x.double(), truth.double(), strict=True)):
        a, b = a[0].numpy(), b[0].numpy()
        options = {"data_range": 1, "win_size": 7, "use_sample_covariance": False, "full": True}
        expected = metrics.structural_similarity(b, a, **options)[1].mean()
        assert book.ssim(x, truth)[k].item() == pytest.approx(expected, abs=5e-3)  # another border
        expected = metrics.peak_signal_noise_ratio(b, a, data_range=1)
        assert book.psnr(x, truth)[k].item() == pytest.approx(expected, abs=1e-3)
    torch.testing.assert_close(book.ssim_loss(x, truth), 1 - book.ssim(x, truth).mean())


def test_training_data_of_one_family_are_of_one_family(heads):
    found, _ = scans(heads, families=("random lines",))
    _, mask = book.unpacked(found.packed)
    assert (mask == mask[:, :, :1]).all()  # lines
    assert set(found.mask) == {"random lines"} and found.R == [4, 6, 4, 6]


def test_a_trial_is_reproducible_and_frozen_kernels_are_those_of_training(heads):
    some, fine = scans(heads)[0], scans(heads, 32)[0]
    tests = {
        "same": book.Test(some.packed, 1.0), "fine": book.Test(fine.packed, 2.0),
        "frozen": book.Test(fine.packed, 1.0),
    }  # fmt: skip

    def run(arm):
        build = partial(ARMS[arm].build, 2, 3)
        loss = book.ssim_loss
        return book.trial(book.Job(build, loss, some.packed, some.truth, tests, 1, 1e-3, 2))

    one, again = (run("neural operator") for _ in range(2))
    assert one.log.weights == again.log.weights
    assert torch.equal(one.images["fine"], again.images["fine"])
    assert not torch.equal(one.images["fine"], one.images["frozen"])
    varnet = run("VarNet").images
    assert torch.equal(varnet["fine"], varnet["frozen"])


def test_an_edit_of_one_arm_changes_the_jobs_of_no_other(heads, scan):
    some = scans(heads)[0]

    def jobs(book):
        given = some.packed, some.truth, {"test": book.Test(some.packed, 1.0)}, 0, 1e-3, 2
        found = {
            name: book.Job(partial(arm.build, 2, 3), book.ssim_loss, *given)
            for name, arm in book.all_arms().items()
        }
        sampled = book.Sampled(*scan[:3])
        found["ZS-SSL"] = book.OneScan(sampled, book.ZeroShot(4, 1, 2, 4, 2), 0)
        for method in (book.sense, book.l1_wavelet):
            found[method.__name__] = book.Rung(method, sampled, 1)
        radial = {
            "PD-UNet": partial(book.radial_pd_unet, (4, 8), 32),
            "gridded": partial(book.radial_unet, (4, 8)),
        }
        return found | {n: book.Job(build, book.F.l1_loss, *given) for n, build in radial.items()}

    def changed(old, new):
        return changed_by("mri_reconstruction", jobs, old, new)

    operators = {name for name in ARMS if "perator" in name}
    assert changed("RINGS, ANGLES = 3, 8", "RINGS, ANGLES = 3, 6") == operators
    varnets = {name for name in ARMS if "VarNet" in name}
    assert changed("(17 / 9) ** 0.5", "(17 / 9) ** 0.4") == varnets
    assert changed('Wavelets("db4", 3)', 'Wavelets("db4", 2)') == {"l1_wavelet"}
    assert changed(
        "2 * widths[-1])\n    return ct.Primal", "widths[-1])\n    return ct.Primal"
    ) == {"PD-UNet"}


# --- radial ---------------------------------------------------------------------------------------


def test_an_untrained_pd_unet_returns_fbp_of_the_spokes(heads):
    image, scan = heads.image(64).abs(), Radial(32, 9, 64)
    K = scan.projector()
    y = scanned_spokes(image.to(torch.complex64), scan)
    sinogram = scan.sinogram_of(y, K.geometry.bins).real.float()
    network = book.made(partial(book.radial_pd_unet, (4, 8), 32), 0).eval()
    torch.testing.assert_close(network(sinogram), K.fbp(sinogram, "hann"))
    assert type(book.radial_unet((4, 8))).__name__ == "Gaining"


def test_radial_scans_are_those_of_the_magnitude_on_a_finer_grid(heads):
    found, real = book.spokes_of(book.Heads(heads, 24)), heads.image(48).abs()
    torch.testing.assert_close(found.truth, torch.nn.functional.avg_pool2d(real, 2))
    expected = scanned_spokes(real[2:].to(torch.complex64), book.radial_of(24))
    torch.testing.assert_close(found.y[2:], expected)
