"""The definitions of the chapter `sparse_view_ct`, against oracles and against mutations."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from chapter_edits import changed_by
from scipy.fft import dctn
from skimage import metrics
from torch import nn
from torch.nn import functional as F

from medbook import chapter
from medbook.physics.ct import MU_WATER, Projector
from medbook.solvers import sgp, smooth_tv_objective

book = chapter.load("sparse_view_ct")
ARMS = book.all_arms()

SIZE = 32
CPU = torch.device("cpu")
SMALL = book.Sizes(widths=(4, 8, 8), small=4, latent=4, blocks=(1, 1), queue=4, steps=2, batch=2)


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(scope="module")
def drawn():
    return book.draw_slices(book.Block(8, SIZE, (24, 48, 192), 0, CPU))


def measurement(images, *clean, iterations=60):
    return book.Measurement(images, clean, 1e5, 0.01, iterations, 1)


@pytest.fixture(scope="module")
def study(drawn):
    return book.prepare(measurement(drawn.images, *drawn.data))


# --- scanner and data -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("views", [6, 24, 48])
def test_the_operator_of_data_is_that_of_its_scan(size, views):
    geometry = book.scan(size, views)
    y = torch.zeros(1, 1, geometry.views, geometry.bins)
    assert book.operator(y).geometry == geometry
    assert geometry.size * geometry.pixel_mm == book.FIELD


def test_water_is_one():
    y = book.operator(torch.zeros(1, 1, 24, 48)).A(torch.ones(1, 1, SIZE, SIZE))
    through = y.max() / MU_WATER  # the longest way through the square
    assert book.FIELD < through < math.sqrt(2) * book.FIELD


def test_drawings_are_projected_by_formula_and_agree_with_a_fine_grid():
    generator = torch.Generator().manual_seed(3)
    shapes = book.thorax_like(2, generator, book.FIELD)
    by_formula = book.project(shapes, book.scan(SIZE, 12))
    errors = []
    for n in (32, 64, 256):
        image = shapes.image(n, book.FIELD / n).float() / MU_WATER
        found = book.project(image, book.scan(SIZE, 12))
        errors.append(float((found - by_formula).norm() / by_formula.norm()))
    assert errors[2] < 0.01 and errors[0] > errors[1] > errors[2]


def test_a_bin_is_the_mean_over_its_width():
    shapes = book.thorax_like(2, torch.Generator().manual_seed(3), book.FIELD)
    exact = shapes.line_integrals(*book.scan(SIZE, 12).finer(31).rays())
    exact = exact.reshape(2, 1, 12, 48, 31).mean(-1)
    errors = [(book.project(shapes, book.scan(SIZE, 12), rays=n) - exact).norm() for n in (1, 3)]
    assert errors[1] < errors[0] / 2


def test_each_scan_of_a_slice_has_its_own_noise(drawn):
    y = drawn.data[0]
    first, second = book.noise_of(measurement(drawn.images, y, y))
    assert not torch.equal(first, second) and not torch.equal(first, y)


def test_drawings_depend_on_their_seed_alone(drawn):
    images, data = book.draw_slices(book.Block(8, SIZE, (24, 48, 192), 0, CPU))
    assert torch.equal(images, drawn.images) and all(map(torch.equal, data, drawn.data))
    assert not torch.equal(book.draw_slices(book.Block(8, SIZE, (24,), 1, CPU)).images, images)
    assert [y.shape for y in data] == [(8, 1, v, 48) for v in (24, 48, 192)]
    assert images.min() >= 0 and 0.5 < images.amax() < 2  # what GloReDi's decoder can give
    assert torch.equal(data[1][:, :, ::2], data[0])  # the same scanner with fewer views


def test_blocks_of_drawings_join_in_order(drawn):
    half = [book.Drawn(drawn.images[k], tuple(y[k] for y in drawn.data))
            for k in (slice(3), slice(3, None))]  # fmt: skip
    both = book.together(half)
    assert torch.equal(both.images, drawn.images) and all(map(torch.equal, both.data, drawn.data))


@pytest.mark.parametrize("window", book.WINDOWS)
def test_psnr_and_ssim_are_those_of_scikit_image_in_the_window(drawn, window):
    truth = drawn.images[:2]
    x = (truth + 0.05 * numbers(*truth.shape)).clamp(min=0)
    centre, width = book.WINDOWS[window]
    a, b = ((1000 * (z - 1) - centre) / width + 0.5 for z in (x.double(), truth.double()))
    for k, (p, q) in enumerate(zip(a.clip(0, 1).numpy(), b.clip(0, 1).numpy(), strict=True)):
        expected = metrics.peak_signal_noise_ratio(q, p, data_range=1)
        assert book.psnr(x, truth, window)[k].item() == pytest.approx(expected, abs=1e-3)
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        _, whole = metrics.structural_similarity(q[0], p[0], data_range=1, full=True, **options)
        found = book.ssim(x, truth, window)[k].item()  # whose border is reflected, not cropped
        assert found == pytest.approx(whole.mean(), abs=5e-3)


# --- RISING ---------------------------------------------------------------------------------------


def test_iterates_and_limit_are_of_one_noisy_measurement(study, drawn):
    K = book.operator(study.y)
    path = sgp(K, study.y, 0.01, iterations=60, keep=book.EARLY)
    assert torch.equal(path.x, study.limit)
    assert all(torch.equal(path.kept[k], getattr(study, f"sgp_{k}")) for k in book.EARLY)
    f = [smooth_tv_objective(K, x, study.y, 0.01)
         for x in (study.sgp_5, study.limit, study.truth)]  # fmt: skip
    assert (f[1] < f[0]).all() and (f[1] < f[2]).all()  # noise lets the limit fit better than truth
    assert not torch.equal(study.y, drawn.data[0])


def test_rising_learns_the_limit_and_not_the_truth(study):
    blank = torch.zeros_like(study.truth)
    flat = study._replace(truth=blank + 0.9, limit=blank + 0.3)
    sizes = book.replace(SMALL, steps=80, batch=4)
    for arm, target in (("RISING", 0.3), ("RISING, target truth", 0.9)):
        job = book.job_of(ARMS[arm], 0, 1e-2, flat, {"test": flat}, sizes)
        found = book.trial(job).images["test"].mean().item()
        assert found == pytest.approx(target, abs=0.2), arm


def test_risings_image_is_not_negative_and_its_last_layer_cannot_die():
    network = book.Gaining((4, 8))
    nn.init.constant_(network.unet.head.bias, -100.0)
    x = torch.rand(2, 1, 8, 8)
    assert (network.eval()(x) == 0).all()
    network.train()(x).sum().backward()
    assert network.unet.head.bias.grad.abs() > 0


# --- PD-UNet --------------------------------------------------------------------------------------


def test_an_untrained_pd_unet_returns_fbp(study):
    y, fbp = study.y, book.operator(study.y).fbp(study.y, "hann")
    zero, one = (book.PrimalDual((4, 8), 4, gain=gain).eval() for gain in (0.0, 1.0))
    torch.testing.assert_close(zero(y), fbp)
    assert (one(y) - fbp).abs().mean() > 1e-3
    original = book.PrimalDual((4, 8), 4, original=True)
    assert len(original.D) == len(original.U) == 10 and (original.wp[0] == 1).all()


@pytest.mark.parametrize("dual", [True, False])
@pytest.mark.parametrize("views", [24, 17])
def test_pd_unet_is_equation_5(study, dual, views):
    network = book.PrimalDual((4, 8), 4, gain=0.3, dual=dual).eval().double()
    for w in network.wd:
        nn.init.normal_(w)
    geometry = book.scan(SIZE, views)
    K = Projector(geometry, MU_WATER)
    y = K.A(study.truth[:2].double())
    expected = []
    for item in y[:, None]:  # one item at a time, in NumPy's notation
        mu, sigma = item.mean(), item.std()
        f = torch.stack([K.fbp(item[0, 0], "hann")] * 4)[None]
        h = torch.zeros(1, 5, *item.shape[2:], dtype=y.dtype)
        for k in range(2):
            if dual:
                seen = sum(K.A(f[0, c]) - mu for c in range(4)) / 4 / sigma
                stack = torch.cat([h[0], seen[None], (item[0] - mu) / sigma])[None]
                h = h + network.wd[k] * network.D[k](stack)
            else:
                h = ((item - mu) / sigma).expand(1, 5, -1, -1)
            back = sum(K.fbp(h[0, c] * sigma + mu, "hann") for c in range(5)) / 5
            f = f + network.wp[k] * network.U[k](torch.cat([f[0], back[None]])[None])
        expected.append(f.mean(1))
    torch.testing.assert_close(network(y)[:, 0], torch.cat(expected), rtol=1e-6, atol=1e-8)


def test_a_sinogram_is_circular_along_views_only():
    block, x = book.SmallBlock(2, 4, 3, "circular"), numbers(1, 2, 6, 9)
    torch.testing.assert_close(block(x.roll(2, 2)), block(x).roll(2, 2))
    assert not torch.allclose(block(x.roll(2, 3)), block(x).roll(2, 3), atol=1e-3)
    image = book.SmallBlock(2, 4, 3, "replicate")
    assert not torch.allclose(image(x.roll(2, 2)), image(x).roll(2, 2), atol=1e-3)


# --- GloReDi --------------------------------------------------------------------------------------


def reach(layer, n=12):
    x = numbers(1, 64, n, n).requires_grad_()
    layer(x)[0, :, 5, 6].sum().backward()
    return int((x.grad.abs().amax((0, 1)) > 0).sum())


def test_a_fourier_convolution_sees_the_whole_image():
    torch.manual_seed(0)
    assert reach(book.FFC(64).eval()) == 144
    assert reach(book.Plain(64).eval()) == 9


@pytest.mark.parametrize("shape", [(8, 8), (7, 9), (5, 4)])
def test_the_spectral_transform_is_equation_6(shape):
    torch.manual_seed(0)
    S, x = book.Spectral(6).eval(), numbers(2, 6, *shape)
    a = S.C3(x)
    z = np.fft.rfft2(a.detach().numpy(), norm="ortho")
    z = S.C2(torch.from_numpy(np.concatenate([z.real, z.imag], 1)).float()).detach().numpy()
    back = np.fft.irfft2(z[:, :3] + 1j * z[:, 3:], s=shape, norm="ortho")
    expected = S.C1(a + torch.from_numpy(back).float())
    torch.testing.assert_close(S(x), expected, rtol=1e-4, atol=1e-5)


def test_the_first_quarter_is_local():
    torch.manual_seed(0)
    layer = book.FFC(16).eval()
    x = numbers(1, 16, 12, 12).requires_grad_()
    layer(x)[0, :4, 6, 6].sum().backward()  # local output: 3 x 3 from both parts
    assert (x.grad[0, :, :4].abs().sum() == 0) and (x.grad[0, :, :, 9:].abs().sum() == 0)
    assert layer.ll.in_channels == layer.lg.in_channels == 4 and layer.gl.in_channels == 12


def gloredi(**options):
    torch.manual_seed(0)
    options = {"layer": book.FFC, "distil": 0.1, "contrast": 0.1, "queue": 4, **options}
    network = book.GloReDi(4, (1, 1), **options)
    return network.train()


def pair_of(study):
    return study.teacher[:4]


def test_teacher_and_student_share_no_memory(study):
    network = gloredi()
    ours = {p.data_ptr() for p in (*network.E_s.parameters(), *network.D.parameters())}
    theirs = {p.data_ptr() for p in (*network.E_t.parameters(), *network.D_t.parameters())}
    assert not ours & theirs
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    book.gloredi_loss(network(pair_of(study)), study.truth[:4]).backward()
    optimizer.step()
    weights = [next(e.parameters()) for e in (network.E_s, network.E_t)]
    assert not torch.allclose(*weights, atol=1e-5)


def grads(modules, value):
    for module in modules:
        module.zero_grad()
    value.backward()
    found = [[p.grad for p in m.parameters() if p.grad is not None] for m in modules]
    return [sum(float(g.abs().sum()) for g in gradients) for gradients in found]


def test_who_learns_from_which_loss(study):
    network = gloredi()
    parts = (network.E_s, network.D, network.E_t, network.D_t)
    for _ in range(2):  # fill the queue
        network(pair_of(study))
    image, taught, distillation = network(pair_of(study))
    assert network.distil and distillation > 0
    e_s, d, e_t, d_t = grads(parts, distillation)
    assert e_s > 0 and d == e_t == d_t == 0  # stop-gradient
    image, taught, _ = network(pair_of(study))
    e_s, d, e_t, d_t = grads(parts, taught.sum())
    assert e_t > 0 and e_s == d == d_t == 0  # the copy is not trained
    image, taught, _ = network(pair_of(study))
    e_s, d, e_t, d_t = grads(parts, image.sum())
    assert e_s > 0 and d > 0 and e_t == d_t == 0


def test_the_teachers_decoder_is_the_students_before_each_step(study):
    network = gloredi()
    for p in network.D.parameters():
        nn.init.normal_(p, std=0.1)
    network(pair_of(study))
    same = zip(network.D.parameters(), network.D_t.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)


def test_teachers_see_what_their_names_say(study):
    fbp = study.fbp
    pairs = [getattr(study, name) for name in book.TEACHERS]
    assert all(torch.equal(pair[:, :1], fbp) for pair in pairs)
    assert torch.equal(study.same_views[:, 1:], fbp)
    error = [(pair[:, 1:] - study.truth).norm() for pair in pairs]
    assert error[0] > 1.1 * error[1] > 1.1 * error[2]


def test_a_teacher_is_not_needed_to_reconstruct(study):
    network = gloredi().eval()
    torch.testing.assert_close(network(study.fbp), network(study.teacher))
    assert isinstance(network(study.fbp), torch.Tensor)
    assert gloredi(distil=0.0, contrast=0.0).E_t is None


def test_directional_distillation_compares_directions_of_half_the_channels():
    z = numbers(2, 6, 5, 4)
    assert book.directional(z, 3 * z).item() == pytest.approx(0, abs=1e-6)
    assert book.directional(z, -z).item() == pytest.approx(2)
    other = torch.cat([z[:, :3], numbers(2, 3, 5, 4, seed=1)], 1)
    assert book.directional(z, other).item() == pytest.approx(0, abs=1e-6)
    other = numbers(2, 6, 5, 4, seed=2)
    a, b = z[:, :3].numpy(), other[:, :3].numpy()
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert book.directional(z, other).item() == pytest.approx((1 - cosine).mean(), rel=1e-5)


@pytest.mark.parametrize("n", [16, 10, 7])
def test_the_band_is_that_of_scipys_cosine_transform(n):
    z = numbers(2, 3, n, n, dtype=torch.float64)
    spectrum, k = dctn(z.numpy(), type=2, axes=(2, 3)), np.arange(n)
    side = np.maximum(k[:, None], k)
    kept = spectrum[:, :, (side >= 0.1 * n) & (side < 0.6 * n)].reshape(2, -1)
    expected = kept / np.linalg.norm(kept, axis=1, keepdims=True)
    np.testing.assert_allclose(book.band(z).numpy(), expected, atol=1e-10)
    np.testing.assert_allclose(book.band(z + 7), expected, atol=1e-10)  # the mean is outside


def test_the_contrastive_loss_is_its_sum():
    v = F.normalize(numbers(7, 5, dtype=torch.float64), dim=1)
    label = torch.tensor([0, 1, 0, 1, 2, 2, 2])
    expected = []
    for a in range(7):
        others = [q for q in range(7) if q != a]
        whole = sum(math.exp(float(v[a] @ v[q]) / 0.07) for q in others)
        positive = [q for q in others if label[q] == label[a]]
        logs = [math.log(math.exp(float(v[a] @ v[p]) / 0.07) / whole) for p in positive]
        expected.append(-sum(logs) / len(logs))
    assert book.contrastive(v, label).item() == pytest.approx(np.mean(expected))


def test_the_contrastive_loss_falls_where_teacher_and_student_agree():
    label = torch.tensor([0, 1, 0, 1])
    v = F.normalize(numbers(2, 9), dim=1)
    together, apart = torch.cat([v, v]), torch.cat([v, v.flip(0)])
    assert book.contrastive(together, label) < book.contrastive(apart, label)


def test_the_contrastive_term_waits_for_its_queue(study):
    network = gloredi(distil=0.0, queue=6)
    found = [float(torch.as_tensor(network(study.teacher[:2])[2]).detach()) for _ in range(5)]
    assert found[:3] == [0, 0, 0] and found[3] > 0 and found[4] > 0  # 0, 2, 4, 6 old students
    assert len(network.queue) == 8 and not network.queue[0].requires_grad


# --- the experiment -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_trains_from_what_its_entry_says_and_nothing_else(study, name):
    arm = ARMS[name]
    job = book.job_of(arm, 3, 1e-3, study, {"test": study}, SMALL)
    assert job.given is getattr(study, arm.given) and job.target is getattr(study, arm.target)
    assert not torch.equal(job.tests["test"], study.truth)
    log, images = book.trial(job)
    assert log.n_train == 6 and log.steps == 2  # four fifths of eight
    assert images["test"].shape == study.truth.shape and images["test"].isfinite().all()
    assert ARMS[arm.design].design == arm.design
    again = book.trial(copy.deepcopy(job))
    assert again.log.weights == log.weights and torch.equal(again.images["test"], images["test"])


def test_arms_of_the_comparisons_differ_in_one_thing_only():
    def same(a, b):
        pairs = zip(entry(ARMS[a]), entry(ARMS[b]), strict=True)
        return [x == y for x, y in pairs]

    def entry(arm):
        options = arm.build.keywords if isinstance(arm.build, partial) else {}
        return arm.design, arm.given, arm.target, options

    assert same("RISING", "RISING, target truth") == [True, True, False, True]
    assert same("RISING", "RISING, from FBP") == [True, False, True, True]
    assert same("GloReDi", "GloReDi, same-view teacher") == [True, False, True, True]
    assert same("GloReDi", "GloReDi, no contrast") == [True, True, True, False]
    assert same("PD-UNet", "PD-UNet, no dual step") == [True, True, True, False]
    assert (ARMS["RISING"].given, ARMS["RISING"].target) == ("sgp_5", "limit")
    assert ARMS["GloReDi"].given == "teacher"


def test_arms_of_one_seed_start_from_the_same_weights():
    first, second, other = (
        book.make_network(ARMS[arm].build, SMALL, seed).state_dict()
        for arm, seed in (("RISING", 0), ("U-Net on FBP", 0), ("RISING", 1))
    )
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


def test_a_rate_without_a_finite_loss_has_no_quality(study):
    arm = ARMS["U-Net on FBP"]
    jobs = [book.job_of(arm, 0, lr, study, {"asked": study}, SMALL) for lr in (1e-3, math.inf)]
    good, bad = (book.rated(book.Try(job, study.truth)) for job in jobs)
    assert good > 5 and bad == 0.0


def test_methods_without_learning_get_the_operator_of_their_data(study):
    methods = {
        book.by_fbp: "hann", book.by_sirt: 20, partial(book.by_tv, iterations=50): 0.01,
        partial(book.by_sgp, iterations=60): 0.01,
    }  # fmt: skip
    found = [book.solved(book.Solving(m, study.y, setting)) for m, setting in methods.items()]
    assert torch.equal(found[0], study.fbp) and torch.equal(found[3], study.limit)
    quality = [float(book.psnr(x, study.truth).mean()) for x in found]
    assert min(quality[1:]) > quality[0]


def test_an_edit_of_one_arm_changes_the_jobs_of_no_other(study):
    def jobs(book):
        arms = book.all_arms().items()
        return {name: book.job_of(arm, 0, 1e-3, study, {}, SMALL) for name, arm in arms}

    fourier = {name for name in ARMS if ARMS[name].design == "FFC"}
    assert changed_by("sparse_view_ct", jobs, "half = c // 2", "half = c // 4") == fourier
    assert changed_by("sparse_view_ct", jobs, "gain=1.0)", "gain=2.0)") == {"PD-UNet, gain 1"}
    dual = {name for name in ARMS if ARMS[name].given == "y"}
    assert changed_by("sparse_view_ct", jobs, "n, primal = (10, 5)", "n, primal = (9, 5)") == dual
