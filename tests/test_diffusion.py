"""The definitions of the chapter `diffusion`, against oracles and against mutations."""

import doctest
import itertools
import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from chapter_edits import changed_by
from joblib.externals.loky.backend.reduction import dumps
from scipy.linalg import sqrtm
from scipy.stats import multivariate_normal

from medbook import chapter, data
from medbook.learn.training import predict
from medbook.record import claims

book = chapter.load("diffusion")
MIXTURE = book.four_modes()
FRAMEWORKS, SAMPLE = book.frameworks(), book.samplers(1e-1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def number(x):
    return torch.tensor(x, dtype=torch.float64)


# --- densities that are known ---------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.0, 0.3, 5.0])
def test_the_log_density_is_scipys(sigma):
    x = normal(17, 2)
    parts = [
        w * multivariate_normal(m.numpy(), (s**2 + sigma**2).item()).pdf(x.numpy())
        for w, m, s in zip(*(v for v in MIXTURE), strict=True)
    ]
    found = MIXTURE.log_density(x, torch.full((1,), sigma, dtype=torch.float64))
    np.testing.assert_allclose(found, np.log(np.sum(parts, 0)), rtol=1e-10)


def tweedie(net, mixture, dimensions):
    """Largest difference of a guess of the noise and minus sigma times the score."""
    sigma = torch.logspace(-1.5, 1.5, 19, dtype=torch.float64)
    x = normal(19, dimensions).requires_grad_()
    (slope,) = torch.autograd.grad(mixture.log_density(x, sigma).sum(), x)
    y = x.detach() / (1 + sigma[:, None] ** 2).sqrt()
    return float((net(y, sigma) + sigma[:, None] * slope).abs().max())


def test_the_best_guess_of_the_noise_is_the_score():
    assert tweedie(MIXTURE, MIXTURE, 2) < 1e-10
    odd = book.Mixture(number([0.7, 0.3]), normal(2, 3), number([0.2, 0.5]))
    assert tweedie(odd, odd, 3) < 1e-10
    one = book.Mixture(number([1.0]), torch.zeros(1, 2, dtype=torch.float64), number([1.0]))
    assert tweedie(book.standard_normal, one, 2) < 1e-10
    assert tweedie(lambda y, sigma: -MIXTURE(y, sigma), MIXTURE, 2) > 0.1  # the wrong sign
    assert tweedie(lambda y, sigma: MIXTURE(y, 1.1 * sigma), MIXTURE, 2) > 0.1


def test_samples_of_the_mixture_have_its_moments():
    x = MIXTURE.sample(20_000, seeded())
    w, mu, s = MIXTURE
    mean = w @ mu
    variance = w @ (mu**2 + s[:, None] ** 2) - mean**2
    torch.testing.assert_close(x.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(x.var(0), variance, atol=0.02, rtol=0)


def test_score_divides_by_the_deviation_and_rescales():
    x, alpha, std = normal(5, 2), number(0.3), number(0.7)
    # x = alpha x0 + std z has the density of the mixture, shrunk by alpha
    at = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(MIXTURE.log_density(at / alpha, std / alpha).sum(), at)
    torch.testing.assert_close(book.score(MIXTURE, x, alpha, std), slope)


# --- DDPM and DDIM --------------------------------------------------------------------------------


def test_alpha_bars_are_those_of_monai_and_of_vp():
    theirs = book.DDPMScheduler(1000, "linear_beta", beta_start=1e-4, beta_end=0.02)
    np.testing.assert_allclose(book.alpha_bars(), theirs.alphas_cumprod, rtol=1e-4)
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    assert (book.alpha_bars().sqrt() - book.VP().alpha(t)).abs().max() < 0.002
    shifted = torch.cat([torch.ones(1, dtype=torch.float64), book.alpha_bars()[:-1]])
    assert (shifted.sqrt() - book.VP().alpha(t)).abs().max() > 0.002  # off by one


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_a_descent_ends_without_noise_and_has_n_steps(n):
    a = book.alpha_bars(50)
    steps = book.descent(a, n)
    assert len(steps) == n and steps[0][0] == a[-1] and steps[-1][1] == 1
    assert all(before < after for before, after in steps)
    assert all(one[1] == other[0] for one, other in pairwise(steps))
    if n == 50:
        assert torch.equal(torch.stack([before for before, _ in steps]), a.flip(0))


def odd_net(y, sigma):
    """A guess of the noise that is right for no data: any function will do for a step."""
    return torch.tanh(y) * book.over(sigma / (1 + sigma), y) + 0.1


INPUTS = [normal(3, 1, 5, 7), torch.full((1, 2, 3, 3), 0.4), normal(2, 1, 1, 1).float()]


@pytest.mark.parametrize("x", INPUTS, ids=["5 x 7", "constant", "one pixel"])
@pytest.mark.parametrize("T", [2, 25])
def test_a_chain_is_monais(x, T):
    steps = book.descent(book.alpha_bars(T, high=0.2), T)
    pairs = [
        (book.ancestral(odd_net, x, steps, seeded(5)), book.DDPMScheduler),
        (book.ddim(odd_net, x, steps), book.DDIMScheduler),
    ]
    for ours, kind in pairs:
        theirs = book.by_monai(kind, odd_net, x, T, 0.2)
        assert ours.dtype == x.dtype
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_mutated_chains_are_not_monais():
    x, T = INPUTS[0], 25
    a = book.alpha_bars(T, high=0.2)
    off_by_one = book.descent(torch.cat([a.new_ones(1), a])[:-1] * (1 - 1e-6), T)
    theirs = book.by_monai(book.DDIMScheduler, odd_net, x, T, 0.2)
    mutants = [
        book.ddim(odd_net, x, off_by_one),
        book.ddim(lambda y, s: -odd_net(y, s), x, book.descent(a, T)),
        book.ddim(odd_net, x, book.descent(a, T)[:-1]),  # stops before the last denoising
    ]
    for mutant in mutants:
        assert (mutant - theirs).abs().max() > 1e-3


def test_an_ancestral_step_has_the_posteriors_mean_and_deviation():
    """Ho et al. 2020, eqs. 6 and 7, for one level to any lower one."""
    a, b = number(0.3), number(0.6)
    beta, x0, z = 1 - a / b, normal(40_000, 1, seed=1), normal(40_000, 1, seed=2)
    x = a.sqrt() * x0 + (1 - a).sqrt() * z
    after = book.ancestral(lambda y, sigma: z, x, [(a, b)], seeded(3))
    mean = b.sqrt() * beta / (1 - a) * x0 + (a / b).sqrt() * (1 - b) / (1 - a) * x
    assert (after - mean).mean().abs() < 0.01
    assert (after - mean).std() == pytest.approx(float((beta * (1 - b) / (1 - a)).sqrt()), rel=0.02)
    assert torch.allclose(book.ancestral(lambda y, s: z, x, [(a, number(1.0))], seeded()), x0)


def test_ddim_is_eulers_step_of_the_ode_in_sigma():
    a, b = book.alpha_bars()[[700, 400]]
    x = normal(9, 2)
    eps = MIXTURE(x, book.sigma_of(a).expand(9))
    euler = x / a.sqrt() + (book.sigma_of(b) - book.sigma_of(a)) * eps
    torch.testing.assert_close(book.ddim(MIXTURE, x, [(a, b)]) / b.sqrt(), euler)


# --- SDEs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [book.VP, book.VE], ids=["VP", "VE"])
def test_marginals_follow_from_drift_and_diffusion(make):
    """d alpha / dt = f alpha and d var / dt = 2 f var + g^2, by automatic differentiation."""
    sde, t = make(), torch.linspace(0.01, 1, 40, dtype=torch.float64).requires_grad_()
    (alpha_rate,) = torch.autograd.grad(sde.alpha(t).sum() + 0 * t.sum(), t)
    (rate,) = torch.autograd.grad((sde.std(t) ** 2).sum(), t)
    torch.testing.assert_close(alpha_rate, sde.f(t) * sde.alpha(t))
    torch.testing.assert_close(rate, 2 * sde.f(t) * sde.std(t) ** 2 + sde.g2(t))


def test_the_ends_of_the_sdes():
    zero, one = number(0.0), number(1.0)
    assert book.VP().alpha(zero) == 1 and book.VP().std(zero) == 0
    assert float(book.VP().alpha(one)) == pytest.approx(math.exp(-0.25 * 19.9 - 0.05))
    assert float(book.VE().std(zero)) == book.LOWEST
    assert float(book.VE().std(one)) == pytest.approx(book.HIGHEST)


MU, S = 0.4, 0.3  # Gaussian data in one dimension, for which all paths are known


def gaussian(y, sigma):
    x = y * book.over((1 + sigma**2).sqrt(), y)
    return book.over(sigma, y) * (x - MU) / (S**2 + book.over(sigma, y) ** 2)


def standing(sde, x, t):
    """What does not change along the ODE if the data are N(MU, S^2)."""
    return (x - sde.alpha(t) * MU) / (sde.alpha(t) ** 2 * S**2 + sde.std(t) ** 2).sqrt()


@pytest.mark.parametrize("make", [book.VP, book.VE], ids=["VP", "VE"])
def test_the_flow_is_the_known_path_both_ways(make):
    sde, one = make(), number(1.0)
    x, end = sde.std(one) * normal(8, 1), number(sde.end)
    x0 = book.flow(gaussian, sde, x, 1.0, sde.end, 1e-8)
    torch.testing.assert_close(standing(sde, x0, end), standing(sde, x, one), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        book.flow(gaussian, sde, x0, sde.end, 1.0, 1e-8), x, atol=1e-3, rtol=1e-3
    )
    turned = book.flow(lambda y, s: -gaussian(y, s), sde, x, 1.0, sde.end, 1e-4)
    assert (standing(sde, turned, end) - standing(sde, x, one)).abs().max() > 0.1


def test_the_flow_keeps_type_and_moves_nothing_of_a_standard_normal():
    x = normal(2, 1, 3, 5, dtype=torch.float32)
    same = book.flow(book.standard_normal, book.VP(), x, 1.0, 1e-3)
    assert same.dtype == x.dtype
    torch.testing.assert_close(same, x, atol=1e-5, rtol=1e-5)
    assert (book.flow(gaussian, book.VP(), x, 1.0, 1e-3) - x).abs().max() > 0.1


def test_the_likelihood_is_the_density():
    x = MIXTURE.sample(24, seeded(4))
    truth = MIXTURE.log_density(x, number([0.0]))
    found = book.log_likelihood(MIXTURE, book.VP(), x)
    torch.testing.assert_close(found, truth, atol=0.02, rtol=0)
    wrong = book.log_likelihood(lambda y, s: 1.1 * MIXTURE(y, s), book.VP(), x, tolerance=1e-4)
    assert (wrong - truth).abs().max() > 0.1
    one = book.Mixture(number([1.0]), number([[MU, 0.0, 0.0]]), number([S]))  # three dimensions
    x = one.sample(5, seeded())
    truth = one.log_density(x, number([0.0]))
    torch.testing.assert_close(book.log_likelihood(one, book.VP(), x), truth, atol=0.02, rtol=0)


def test_vp_and_ve_are_one_path():
    vp, ends = book.VP(), number([1e-3, 1.0])
    low, high = (vp.std(ends) / vp.alpha(ends)).tolist()
    x = normal(6, 2)
    one = book.flow(MIXTURE, vp, x, 1.0, 1e-3, 1e-7) / vp.alpha(ends[0])
    other = book.flow(MIXTURE, book.VE(low, high), x / vp.alpha(ends[1]), 1.0, 0.0, 1e-7)
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    unscaled = book.flow(MIXTURE, book.VE(low, high), x, 1.0, 0.0, 1e-4)
    assert (one - unscaled).abs().max() > 0.01


# --- samplers -------------------------------------------------------------------------------------


def sampled(name, net=gaussian, n=200):
    """3,000 samples of a sampler of the chapter."""
    return book.samplers(1e-4)[name](net, normal(3000, 1), n, seeded(9))


ALL = sorted({name for names in book.SAMPLERS.values() for name in names})


def fits(x, deviation=0.03):
    """The mean and the spread are those of the data."""
    return abs(float(x.mean()) - MU) < 0.03 and abs(float(x.std()) - S) < deviation


@pytest.mark.parametrize("name", ALL)
def test_each_sampler_draws_the_gaussian(name):
    slack = 0.06 if name in ("Langevin", "not denoised") else 0.03  # finite Langevin steps
    assert fits(sampled(name), slack)
    assert not fits(sampled(name, lambda y, s: -gaussian(y, s)), slack)  # the wrong sign
    assert not fits(sampled(name, lambda y, s: gaussian(y, s) / 2), slack)  # half the score
    x = book.samplers(1e-1)[name](gaussian, normal(2, 1, 3, 5), 10, seeded())
    assert x.shape == (2, 1, 3, 5)


@pytest.mark.parametrize("name", ["Euler-Maruyama", "reverse diffusion", "predictor-corrector"])
def test_time_that_runs_forwards_is_noticed(name, monkeypatch):
    monkeypatch.setattr(book, "pairwise", lambda t: pairwise(list(t)[::-1]))
    x = sampled(name)
    assert not x.isfinite().all() or not fits(x)


def test_the_last_step_removes_the_last_noise():
    """For one fixed image all that is left is noise: sigma_L without the last step."""

    def still(y, sigma):
        return y * (1 + sigma[:, None] ** 2).sqrt() / sigma[:, None]  # x0 = 0

    noisy, clean = (sampled(name, still) for name in ("not denoised", "Langevin"))
    left = book.LOWEST / math.sqrt(1 - book.LANGEVIN_RATIO / 2)  # finite steps
    assert float(noisy.std()) == pytest.approx(left, rel=0.05)
    assert clean.abs().max() < 1e-6
    for name in ("reverse diffusion", "predictor-corrector", "ancestral", "DDIM"):
        assert sampled(name, still).abs().max() < 1e-6


def test_langevin_steps_are_eq_8():
    x, sigmas = normal(4, 2), number([2.0, 0.5])
    found = book.annealed_langevin(MIXTURE, x, sigmas, 2, 0.1, seeded(1))
    noise = seeded(1)
    for sigma in sigmas:
        for _ in range(2):
            s = -MIXTURE(x / (1 + sigma**2).sqrt(), sigma.expand(4)) / sigma
            a = 0.1 * sigma**2
            z = torch.randn(4, 2, generator=noise, dtype=x.dtype)
            x = x + a * s + math.sqrt(2 * a) * z
    x = x - sigma * MIXTURE(x / (1 + sigma**2).sqrt(), sigma.expand(4))
    torch.testing.assert_close(found, x)


def test_a_corrector_and_a_predictor_step_are_eq_11():
    sde, x, r = book.VP(), normal(4, 2), 0.2
    found = book.predictor_corrector(MIXTURE, sde, x, 1, 1, r, seeded(1))
    one = number(1.0)
    c = sde.alpha(one)  # from t = 1 to no noise in one step
    z = normal(4, 2, seed=1)
    s = book.score(MIXTURE, x, c, sde.std(one))
    a = 2 * c**2 * (r * z.norm(dim=1).mean() / s.norm(dim=1).mean()) ** 2
    x = x + a * s + (2 * a).sqrt() * z
    expected = (2 - c) * x + sde.std(one) ** 2 * book.score(MIXTURE, x, c, sde.std(one))
    torch.testing.assert_close(found, expected)


# --- training -------------------------------------------------------------------------------------


def test_noise_levels_are_those_of_the_frameworks():
    torch.manual_seed(0)
    ncsn = FRAMEWORKS["NCSN"].levels(4000)
    levels, counts = ncsn.unique(return_counts=True)
    assert len(levels) == 10 and counts.min() > 300
    ratios = levels[1:] / levels[:-1]
    assert ratios.max() / ratios.min() < 1.001
    assert (float(levels[0]), float(levels[-1])) == pytest.approx((0.02, 40.0))
    assert torch.equal(FRAMEWORKS["NCSN, unweighted"].levels(900).unique(), levels)
    ddpm, vp, ve = (FRAMEWORKS[name].levels(20_000) for name in ("DDPM", "VP", "VE"))
    assert float(ddpm.median()) == pytest.approx(float(vp.median()), rel=0.05)
    assert float(ve.median()) == pytest.approx(math.sqrt(0.02 * 40), rel=0.1)
    assert vp.min() < 0.01 < float(ddpm.min()) + 1e-4 and ddpm.max() < 160


def test_the_loss_is_that_of_the_papers():
    x = torch.rand(6, 1, 4, 4, generator=seeded())
    losses = {}
    for framework in ("NCSN", "NCSN, unweighted"):
        torch.manual_seed(3)
        losses[framework] = book.Objective(odd_net, FRAMEWORKS[framework])(x)
    torch.manual_seed(3)
    sigma = FRAMEWORKS["NCSN"].levels(6)[:, None, None, None]
    z = torch.randn(x.shape)
    noisy = 2 * x - 1 + sigma * z
    s = -odd_net(noisy / (1 + sigma**2).sqrt(), sigma.flatten()) / sigma
    square = (s + z / sigma).square().flatten(1).mean(1)
    torch.testing.assert_close(losses["NCSN"], sigma.flatten() ** 2 * square)
    torch.testing.assert_close(losses["NCSN, unweighted"], square)


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (1, 1, 12, 20)])
def test_an_untrained_network_is_the_guess_for_standard_normal_data(shape):
    net, y = book.ScoreNet((8, 8)), normal(*shape).float()
    sigma = torch.linspace(0.01, 100, len(y))
    torch.testing.assert_close(net(y, sigma), book.standard_normal(y, sigma))
    torch.nn.init.ones_(net.unet.head.bias)
    expected = book.as_noise(torch.ones_like(y), y, sigma)
    torch.testing.assert_close(net(y, sigma), expected)
    assert not torch.allclose(expected, book.standard_normal(y, sigma))


def test_waves_tell_noise_levels_apart():
    told = book.waves(torch.logspace(-2, 2, 60))
    assert told.shape == (60, 16) and told.abs().max() <= 1
    assert (torch.cdist(told, told) + torch.eye(60)).min() > 0.05


def test_learning_averages_the_weights_and_leaves_no_hook():
    x = torch.randint(0, 256, (8, 1, 8, 8), generator=seeded(), dtype=torch.uint8)

    def run():
        torch.manual_seed(1)
        net = book.ScoreNet((8, 8))
        return net, *book.learn(net, FRAMEWORKS["VP"], x, 6, 4, 1e-2, 5)

    net, average, log = run()
    _, again, _ = run()
    for mean, same in zip(average.parameters(), again.parameters(), strict=True):
        assert torch.equal(mean, same) and not mean.requires_grad
    head = [n.unet.head.weight for n in (net, average)]
    assert not torch.equal(*head) and log.steps == 6
    before = average.unet.head.weight.clone()
    torch.optim.SGD(net.parameters(), lr=1.0).step()  # a hook left behind would average again
    assert torch.equal(before, average.unet.head.weight)


CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images():
    return data.load("mednist", size=32, source="twin").train.images[:16]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_network_trained_again_is_the_same(framework, images):
    lesson = book.Lesson(FRAMEWORKS[framework], images, (8, 8), 3, 4, 7)
    first, again = book.train(lesson), book.train(lesson)
    other = book.train(lesson._replace(seed=8))
    assert first.log.weights == again.log.weights != other.log.weights
    for one, same in zip(first.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(one, same) and not one.requires_grad


@pytest.mark.parametrize("sampler", ALL)
def test_a_walk_draws_images_and_counts_evaluations(sampler):
    net = book.ScoreNet((8, 8)).requires_grad_(False)
    walk = book.Walk(net, SAMPLE[sampler], 10, (3, 1, 8, 8), 7, CPU)
    first, again = book.draw(walk), book.draw(walk)
    assert first.images.shape == (3, 1, 8, 8) and first.images.dtype == torch.uint8
    assert torch.equal(first.images, again.images) and first.nfe == again.nfe
    assert not torch.equal(first.images, book.draw(walk._replace(seed=8)).images)
    if not sampler.startswith("ODE"):
        assert first.nfe == 10 + (sampler == "Langevin")
    assert first.seconds > 0


def test_jobs_can_go_to_a_worker_and_outcomes_come_back():
    path = chapter.find("diffusion")
    notebook = {"__name__": "__main__"}
    exec(compile(chapter.defining_source(path.read_text()), str(path), "exec"), notebook)
    images = torch.zeros(8, 1, 8, 8, dtype=torch.uint8)
    lesson = notebook["Lesson"](notebook["frameworks"]()["VE"], images, (8, 8), 3, 4, 7)
    assert dumps((notebook["train"], lesson))
    net = pickle.loads(dumps(notebook["train"](lesson))).net
    walk = notebook["Walk"](net, notebook["samplers"](1e-1)["ODE of VE"], 4, (2, 1, 8, 8), 7, CPU)
    assert dumps((notebook["draw"], walk))
    assert pickle.loads(dumps(notebook["draw"](walk))).images.shape == (2, 1, 8, 8)


@pytest.mark.parametrize(
    ("old", "new", "arms"),
    [
        ("mean = (x - beta / (1 - a)", "mean = (x + beta / (1 - a)", {"ancestral"}),
        ("x = b.sqrt() * x0 +", "x = b.sqrt() * x0 -", {"DDIM"}),
        ("a = ratio * sigma**2", "a = ratio * sigma", {"Langevin", "not denoised"}),
        ("mean = x + (sde.f(t)", "mean = x - (sde.f(t)", {"Euler-Maruyama"}),
        ("PC_R = 0.16", "PC_R = 0.2", {"reverse diffusion", "predictor-corrector"}),
        ("x.double().flatten().cpu().numpy(),\n", "x.flatten().cpu().numpy(),\n",
         {"ODE of VP", "ODE of VE"}),
        ("* 127.5)", "* 127.0)", set(ALL)),
    ],
)  # fmt: skip
def test_an_edit_of_one_sampler_changes_the_walks_of_no_other(old, new, arms):
    def jobs(book):
        net, given = book.ScoreNet((8, 8)), (10, (3, 1, 8, 8), 7, CPU)
        for weight in net.parameters():
            torch.nn.init.zeros_(weight)
        return {
            name: (book.draw, book.Walk(net, sampler, *given))
            for name, sampler in book.samplers(1e-1).items()
        }

    assert changed_by("diffusion", jobs, old, new) == arms


@pytest.mark.parametrize(
    ("old", "new", "frameworks"),
    [
        ("weighted=False", "weighted=True", {"NCSN, unweighted"}),
        ("def VP(low: float = 0.1", "def VP(low: float = 0.2", {"VP"}),
        ("2 * math.log(high / low)", "3 * math.log(high / low)", {"VE"}),
        (
            "low: float = 1e-4, high: float = 0.02",
            "low: float = 1e-4, high: float = 0.03",
            {"DDPM"},
        ),
        ("x = b.sqrt() * x0 +", "x = b.sqrt() * x0 -", set()),
        ("LEARNING_RATE = 2e-3", "LEARNING_RATE = 1e-3", set(FRAMEWORKS)),
    ],
)
def test_an_edit_of_one_framework_changes_the_lessons_of_no_other(images, old, new, frameworks):
    def jobs(book):
        return {
            name: (book.train, book.Lesson(framework, images, (8, 8), 3, 4, 7))
            for name, framework in book.frameworks().items()
        }

    assert changed_by("diffusion", jobs, old, new) == frameworks


# --- what is compared -----------------------------------------------------------------------------


def test_agreement_is_a_cosine_by_level():
    images, noise = normal(5, 1, 4, 4), normal(5, 1, 4, 4, seed=1)
    one, other = (lambda y, sigma: y), (lambda y, sigma: y.flip(-1))
    assert book.agreement(book.Pair(one, one, images, noise)) == pytest.approx([1.0] * 4)
    assert book.agreement(book.Pair(one, lambda y, s: -y, images, noise)) == pytest.approx(
        [-1.0] * 4
    )
    found = book.agreement(book.Pair(one, other, images, noise))
    y = (images + 3 * noise).numpy().reshape(5, -1)
    flipped = (images + 3 * noise).flip(-1).numpy().reshape(5, -1)
    norms = np.linalg.norm(y, axis=1) * np.linalg.norm(flipped, axis=1)
    assert found[3] == pytest.approx(((y * flipped).sum(1) / norms).mean())


def test_the_round_trip_comes_back_and_a_rough_one_does_not():
    x = MU + S * normal(6, 1)
    errors = [book.round_trip(book.Trip(gaussian, x, t)) for t in (1e-6, 1e-1)]
    assert errors[0] < 1e-3 < errors[1]


# --- the judge ------------------------------------------------------------------------------------


def test_the_frechet_distance_is_the_closed_form():
    a, b = normal(40, 5), 1.5 * normal(31, 5, seed=1) + 0.3
    m, C = zip(*((x.mean(0).numpy(), np.cov(x.numpy().T)) for x in (a, b)), strict=True)
    expected = ((m[0] - m[1]) ** 2).sum() + np.trace(C[0] + C[1] - 2 * sqrtm(C[0] @ C[1]).real)
    assert book.frechet(a, b) == pytest.approx(expected, rel=1e-8)
    assert book.frechet(a, b) == pytest.approx(book.frechet(b, a))
    assert book.frechet(a, a) == pytest.approx(0, abs=1e-10)
    assert book.frechet(a, a + 2) == pytest.approx(20)
    assert book.frechet(normal(4, 9).float(), normal(6, 9, seed=1).float()) > 0  # fewer than D


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_those_of_brute_force(k):
    points, by = normal(23, 4), 1.2 * normal(19, 4, seed=1)
    inside = 0
    for p in points:
        for q in by:
            radius = sorted(float((q - other).norm()) for other in by)[k]
            if float((p - q).norm()) <= radius:
                inside += 1
                break
    assert book.covered(points, by, k) == pytest.approx(inside / 23)
    assert book.covered(by, by, k) == 1 and book.covered(by + 100, by, k) == 0


def test_images_are_rounded_and_cut_off():
    x = torch.tensor([-3.0, -1.0, 0.0, 1.0, 2.0])
    assert book.as_image(x).tolist() == [0, 0, 128, 255, 255]
    whole = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(book.as_image(2 * whole.float() / 255 - 1), whole)


def test_a_judge_gives_features_and_shares_and_repeats_itself():
    atlas = data.load("mednist", size=32, source="twin")
    exam = book.Exam(atlas.train.balanced(24, 1), atlas.val, 4, 7)
    judge, again = book.train_judge(exam), book.train_judge(exam)
    assert judge.log.weights == again.log.weights and 0 <= judge.right <= 1
    x = exam.train.images
    assert judge.net(x.float() / 255).shape == (24, 48)
    features, shares = judge.features(x), judge.shares(x)
    assert features.shape == (24, 32) and shares.shape == (6,)
    spread = features.std(0)
    assert ((spread - 1).abs() < 1e-4)[judge.deviation > 1e-6].all()
    assert float(shares.sum()) == pytest.approx(1)
    named = predict(judge.net, x).argmax(1) // 8
    assert shares.tolist() == [float((named == k).float().mean()) for k in range(6)]


def test_the_examples_in_the_docstrings_run():
    examples = doctest.DocTestFinder().find(book.frechet, "frechet", globs=vars(book))
    runner = doctest.DocTestRunner()
    assert sum(runner.run(example).attempted for example in examples) == 1
    assert runner.failures == 0


def test_the_claims_cover_what_the_chapter_draws():
    known, checks = claims.chapter_claims("diffusion"), claims.chapter_checks("diffusion")
    every = [*checks, *known]
    assert every == [f"diffusion-survey-{k}" for k in range(1, len(every) + 1)]
    assert {check.data for check in checks.values()} == {"gaussian_mixture", "mednist"}
    assert all(check.tolerance > 0 for check in checks.values())
    assert set(itertools.chain(*book.SAMPLERS.values())) == set(ALL)
