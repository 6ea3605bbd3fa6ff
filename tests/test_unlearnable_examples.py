"""The definitions of the chapter `unlearnable_examples`, against oracles and against mutations."""

import copy
import io
import itertools

import numpy as np
import pytest
import torch
from chapter_edits import changed_by
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from torch import nn
from torch.nn import functional as F

import medbook
from medbook import chapter, data
from medbook.record import claims

book = chapter.load("unlearnable_examples")


class Small(nn.Module):
    """A smooth network without batch statistics, so that finite differences are an oracle."""

    def __init__(self, channels=1, size=5, classes=3, dtype=torch.float64):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        n = channels * size * size
        self.hidden = nn.Parameter(torch.randn(n, 7, generator=generator, dtype=dtype) / n**0.5)
        self.out = nn.Parameter(torch.randn(7, classes, generator=generator, dtype=dtype))

    def forward(self, x):
        return torch.tanh(x.flatten(1) @ self.hidden) @ self.out


def images(n=6, channels=1, size=5, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, channels, size, size, generator=generator, dtype=dtype)
    return x, torch.arange(n) % 3


def loss(network, x, y):
    return F.cross_entropy(network(x), y, reduction="none")


@pytest.fixture(scope="module")
def xrays():
    return data.load("pneumoniamnist", source="twin").train.balanced(64, seed=3)


BUDGET = book.Budget(
    rounds=2, batches=3, steps=2, width=4, training={"steps": 30, "lr": 1e-2, "batch_size": 32}
)
ARMS, THIEVES = book.protections(), book.thieves()


def protected(arm, train, seed=1):
    return book.protect(book.Owner(ARMS[arm], train, seed, BUDGET)).images


# --- the inner problem, eq. 2 ---------------------------------------------------------------------


def test_descend_is_the_signed_step_of_eq_2():
    network, (x, y) = Small(), images()
    mask, rho, alpha = torch.ones_like(x), 0.05, 0.02
    delta = book.descend(network, x, y, torch.zeros_like(x), mask, rho, alpha, 1)
    for i in (0, 4):
        for pixel in ((0, 0), (2, 3), (4, 4)):
            step = torch.zeros_like(x[:1])
            step[0, 0][pixel] = 1e-6
            slope = loss(network, x[i : i + 1] + step, y[i : i + 1]) - loss(
                network, x[i : i + 1] - step, y[i : i + 1]
            )
            here = x[i, 0][pixel]
            expected = (here - alpha * slope.sign()).clamp(0, 1) - here
            assert delta[i, 0][pixel].item() == pytest.approx(expected.item(), abs=1e-12)


def test_descend_lowers_the_loss_of_every_image():
    network, (x, y) = Small(channels=3), images(n=9, channels=3)
    mask = torch.ones_like(x[:, :1])
    delta = book.descend(network, x, y, torch.zeros_like(x), mask, 0.1, 0.02, 5)
    assert (loss(network, x + delta, y) < loss(network, x, y)).all()


@pytest.mark.parametrize("size", [1, 4, 7])
def test_descend_stays_in_ball_mask_and_range(size):
    network, (x, y) = Small(size=size), images(size=size)
    x = x.round(decimals=0)  # pixels at the ends 0 and 1 of the range
    mask = (images(size=size, seed=5)[0] > 0.5).double()
    delta = book.descend(network, x, y, torch.zeros_like(x), mask, 0.05, 0.04, 4)
    assert delta.abs().max() <= 0.05 + 1e-12
    assert (delta[mask == 0] == 0).all()
    assert (x + delta).min() >= 0 and (x + delta).max() <= 1


def test_the_surrogate_is_frozen_while_noise_is_written(xrays):
    x, y = xrays.images.float() / 255, xrays.labels
    surrogate = book.make_network(book.resnet, x, 2, 0, width=4)
    before = copy.deepcopy(surrogate.state_dict())  # running means of the batch normalisation too
    surrogate.train()
    book.descend(surrogate, x, y, torch.zeros_like(x), torch.ones_like(x), 0.05, 0.02, 2)
    surrogate.train()
    book.significance(surrogate, x, y)
    assert all(torch.equal(before[k], v) for k, v in surrogate.state_dict().items())


def test_descend_works_in_chunks(monkeypatch):
    network, (x, y) = Small(), images(n=7)
    args = network, x, y, torch.zeros_like(x), torch.ones_like(x), 0.05, 0.02, 2
    whole = book.descend(*args)
    monkeypatch.setitem(book.CHUNK, "cpu", 3)
    assert torch.equal(book.descend(*args), whole)


# --- the mask, eq. 3 ------------------------------------------------------------------------------


def test_significance_is_the_slope_summed_over_channels():
    network, (x, y) = Small(channels=2, size=3), images(n=2, channels=2, size=3)
    found = book.significance(network, x, y)
    assert found.shape == (2, 1, 3, 3)
    expected = torch.zeros_like(found)
    for c in range(2):
        for row in range(3):
            for column in range(3):
                step = torch.zeros_like(x)
                step[:, c, row, column] = 1e-6
                slope = (loss(network, x + step, y) - loss(network, x - step, y)) / 2e-6
                expected[:, 0, row, column] += slope.abs().detach()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("shape", [(3, 1, 5, 7), (2, 1, 28, 28)])
@pytest.mark.parametrize("ratio", [0.1, 0.25, 1.0])
def test_keep_top_keeps_the_largest(shape, ratio):
    score = torch.from_numpy(np.random.default_rng(0).permutation(np.prod(shape))).reshape(shape)
    mask = book.keep_top(score.double(), ratio).numpy()
    for own, kept in zip(score.numpy(), mask, strict=True):
        k = round(ratio * own.size)
        assert kept.sum() == k
        assert set(own[kept == 1]) == set(np.sort(own.ravel())[-k:])


def test_keep_top_of_ties_keeps_the_right_number():
    assert (book.keep_top(torch.zeros(4, 1, 5, 5), 0.25).sum((1, 2, 3)) == 6).all()


def support_after(choose, rounds=1, fixed_mask=False):
    """Pixels that min_min changes, and the scores an untouched copy of the surrogate gives."""
    network, (x, y) = Small(size=8), images(n=12, size=8)
    untouched = copy.deepcopy(network)
    budget = book.Budget(rounds=rounds, batches=0, steps=3, training={})
    generator = torch.Generator().manual_seed(0)
    delta = book.min_min(
        network, x, y, budget, generator, rho=0.02, choose=choose, fixed_mask=fixed_mask
    )
    return delta != 0, book.significance(untouched, x, y)


def test_salm_changes_the_pixels_of_the_largest_gradient():
    changed, g = support_after(book.largest_gradient)
    kept = changed.sum((1, 2, 3))
    assert (kept <= 16).all() and (kept >= 14).all()
    smallest_kept = torch.where(changed, g, torch.inf).amin((1, 2, 3))
    rank = (g > smallest_kept[:, None, None, None]).sum((1, 2, 3))
    assert (rank < 16).all()


def test_the_controls_change_other_pixels():
    top, g = support_after(book.largest_gradient)
    low, _ = support_after(book.smallest_gradient)
    chance, _ = support_after(book.by_chance)
    assert not (top & low).any()
    share = (top & chance).sum() / top.sum()  # expected for random pixels: ratio = 0.25
    assert 0.1 < share < 0.4
    means = [torch.where(m, g, 0).sum() / m.sum() for m in (top, chance, low)]
    assert means[0] > 1.5 * means[1] > 1.5 * means[2]


def test_a_fixed_mask_never_moves_and_a_recomputed_one_does():
    first, _ = support_after(book.largest_gradient, rounds=1)
    fixed, _ = support_after(book.largest_gradient, rounds=4, fixed_mask=True)
    anew, _ = support_after(book.largest_gradient, rounds=4)
    union = (first | fixed).sum((1, 2, 3))
    assert (union <= 16).all()
    assert ((first | anew).sum((1, 2, 3)) > 16).any()


# --- the outer problem ----------------------------------------------------------------------------


def test_em_makes_the_training_loss_small(xrays):
    x, y = xrays.images.float() / 255, xrays.labels
    surrogate = book.make_network(book.resnet, x, 2, 0, width=4)
    budget = book.Budget(rounds=4, batches=5, steps=4, training={})
    generator = torch.Generator().manual_seed(0)
    delta = book.min_min(surrogate, x, y, budget, generator, rho=16 / 255)
    surrogate.eval()
    with torch.no_grad():
        noisy, clean = loss(surrogate, x + delta, y).mean(), loss(surrogate, x, y).mean()
    assert noisy < 0.5 * clean


class Spy(Small):
    """Keeps the batches that it is trained on."""

    def forward(self, x):
        if self.training:
            self.batches.append(x.detach().clone())
        return super().forward(x)


def test_the_surrogate_learns_on_what_is_released():
    network, (x, y) = Spy(size=8), images(n=12, size=8)
    network.batches = []
    budget = book.Budget(rounds=2, batches=1, steps=1, training={})
    book.min_min(network, x, y, budget, torch.Generator().manual_seed(0), rho=0.05)
    first, second = ((b[:, None] - x).abs().amax((2, 3, 4)).amin(1) for b in network.batches)
    assert (first == 0).all()  # clean images: there is no noise yet
    assert (second > 0.04).all()  # noisy ones


def test_random_masks_leave_the_surrogates_batches_alone(xrays):
    x, y = xrays.images.float() / 255, xrays.labels
    after = {}
    for choose in (book.largest_gradient, book.by_chance):
        surrogate = book.make_network(book.resnet, x, 2, 0, width=4)
        generator = torch.Generator().manual_seed(0)
        one_round = book.Budget(rounds=1, batches=5, steps=1, training={})
        book.min_min(surrogate, x, y, one_round, generator, choose=choose)
        after[choose] = [p.detach() for p in surrogate.parameters()]
    assert all(map(torch.equal, *after.values()))


def test_tap_pushes_towards_the_next_class(xrays):
    x, y = xrays.images.float() / 255, xrays.labels
    delta = book.targeted(x, y, 0, book.Budget(2, 2, 5, BUDGET.training, width=4))
    surrogate = book.make_network(book.resnet, x, 2, 0, width=4)
    book.fit(surrogate, xrays.images, y, seed=0, **BUDGET.training)
    surrogate.eval()
    with torch.no_grad():
        before, after = loss(surrogate, x, 1 - y).mean(), loss(surrogate, x + delta, 1 - y).mean()
        own = loss(surrogate, x + delta, y).mean()
    assert after < before and after < own


def test_synthetic_noise_is_a_separable_mosaic_within_rho():
    x, y = torch.full((60, 3, 28, 28), 0.5), torch.arange(60) % 3
    noise = book.synthetic(x, y, 4, BUDGET)
    assert noise.shape == x.shape and noise.abs().max() == pytest.approx(book.RHO, rel=1e-6)
    blocks = noise.unfold(2, 7, 7).unfold(3, 7, 7)  # (N, C, 4, 4, 7, 7)
    assert (blocks == blocks[..., :1, :1]).all()
    means = torch.stack([noise[y == k].mean(0) for k in range(3)])
    nearest = torch.cdist(noise.flatten(1), means.flatten(1)).argmin(1)
    assert torch.equal(nearest, y)
    assert torch.equal(noise, book.synthetic(x, y, 4, BUDGET))


# --- what is released, and what the thief makes of it ---------------------------------------------

LEVELS = {"unprotected": 0, "EM, equal PSNR": 8}
SPARSE = {"SALM, r = 0.1": 0.1, "SALM, r = 0.5": 0.5} | dict.fromkeys(
    ("SALM", "random mask", "lowest gradient", "fixed mask", "random fixed mask"), 0.25
)


@pytest.fixture(scope="module")
def released(xrays):
    return {arm: protected(arm, xrays) for arm in ARMS}


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_keeps_its_bound(xrays, released, arm):
    change = (released[arm].int() - xrays.images.int()).abs()
    assert released[arm].dtype == torch.uint8 and released[arm].shape == xrays.images.shape
    assert change.max() <= LEVELS.get(arm, 16)
    assert (change.max() > 0) == (arm != "unprotected")
    assert ((change > 0).sum((1, 2, 3)) <= round(784 * SPARSE.get(arm, 1.0))).all()


@pytest.mark.parametrize("arm", ["random noise", "synthetic", "TAP", "random mask"])
def test_noise_depends_on_the_seed_alone(xrays, released, arm):
    assert torch.equal(released[arm], protected(arm, xrays))
    assert not torch.equal(released[arm], protected(arm, xrays, seed=2))


def test_no_two_arms_are_one_but_em_and_salm_on_all_pixels(released):
    pairs = itertools.combinations(ARMS, 2)
    same = [pair for pair in pairs if torch.equal(*map(released.get, pair))]
    assert same == [("EM", "SALM, r = 1")]


def test_release_rounds_to_8_bits():
    x = torch.tensor([0.0, 10 / 255, 1.0])
    noise = torch.tensor([-0.1, 0.6 / 255, 0.4 / 255])
    assert book.release(x, noise).tolist() == [0, 11, 255]


def test_jpeg_is_pillows():
    image = data.load("pneumoniamnist", source="twin").train.images[:2]
    found = book.jpeg(image, image)
    file = io.BytesIO()
    Image.fromarray(image[1, 0].numpy()).save(file, "JPEG", quality=10)
    assert np.array_equal(found[1, 0].numpy(), np.asarray(Image.open(file)))


def test_treatments():
    clean, released = torch.zeros(11, 1, 8, 8).byte(), torch.full((11, 1, 8, 8), 9).byte()
    assert torch.equal(book.as_released(released, clean), released)
    mixed = book.four_of_five(released, clean)[:, 0, 0, 0]
    assert mixed.tolist() == [0, 9, 9, 9, 9, 0, 9, 9, 9, 9, 0]


def test_psnr_is_scikit_images():
    a, b = (data.load("pneumoniamnist", source="twin").train.images[k : k + 3] for k in (0, 3))
    pairs = zip(a.numpy(), b.numpy(), strict=True)
    expected = np.mean([peak_signal_noise_ratio(x, y, data_range=255) for x, y in pairs])
    assert book.psnr(a, b) == pytest.approx(expected, rel=1e-5)


def test_a_thief_trains_on_the_loot_and_is_tested_on_clean_images(monkeypatch):
    dataset = data.load("pneumoniamnist", source="twin")
    calls = []

    def spy(network, images, labels, *, seed, **options):
        calls.append((network.state_dict()["conv1.weight"].clone(), images, labels, seed))
        return book.TrainingLog((0.0,), len(images), 1, 1, 0.0, "")

    monkeypatch.setattr(book, "fit", spy)
    train, thefts = dataset.train.balanced(40, 5), {}
    owners = {arm: book.Owner(ARMS[arm], train, 5, BUDGET) for arm in ("unprotected", "EM")}
    released = {arm: book.protect(owner) for arm, owner in owners.items()}
    for arm, name in itertools.product(owners, ("resnet, as released", "resnet, 80 %")):
        images, splits = released[arm].images, (dataset.val, dataset.test)
        thefts[arm, name] = book.steal(
            book.Attempt(THIEVES[name], images, train, *splits, 5, BUDGET)
        )
    loot = dict(zip(thefts, (call[1] for call in calls), strict=True))
    assert torch.equal(loot["unprotected", "resnet, as released"], train.images)
    assert torch.equal(loot["EM", "resnet, as released"], released["EM"].images)
    mixed = loot["EM", "resnet, 80 %"]
    assert torch.equal(mixed[1:5], released["EM"].images[1:5])
    assert torch.equal(mixed[::5], train.images[::5])
    assert all(torch.equal(call[2], train.labels) for call in calls)
    weights, seeds = [call[0] for call in calls], {call[3] for call in calls}
    assert all(torch.equal(weights[0], w) for w in weights) and len(seeds) == 1
    surrogate = book.make_network(book.resnet, train.images, 2, 5, width=4)
    assert not torch.equal(weights[0], surrogate.state_dict()["conv1.weight"])
    for theft in thefts.values():  # the untrained network of all trials answers the same
        assert theft.test.shape == (len(dataset.test),)
        assert theft.test.mean() == thefts["unprotected", "resnet, as released"].test.mean()
        assert theft.validation.shape == (len(dataset.val),)
    clean, em = released["unprotected"], released["EM"]
    assert em.psnr < 40 < clean.psnr and em.ssim < clean.ssim == pytest.approx(1)


@pytest.mark.parametrize("build", [book.resnet, book.cnn, book.vit])
@pytest.mark.parametrize("size", [28, 32])
def test_networks_give_class_scores_and_leave_the_global_generator_alone(build, size):
    x = torch.rand(2, 1, size, size)
    before = torch.get_rng_state()
    network = book.make_network(build, x, 6, seed=5, width=8)
    assert torch.equal(torch.get_rng_state(), before)
    assert network(x).shape == (2, 6)
    twin = book.make_network(build, x, 6, seed=5, width=8)
    assert all(map(torch.equal, network.parameters(), twin.parameters()))


# --- the claims -----------------------------------------------------------------------------------

CLAIMS = claims.chapter_claims("unlearnable_examples")
SCORES = np.random.default_rng(0).random((5, 40))


JUDGED = [claim for claim in CLAIMS.values() if claim.kind != "exact"]
GREATER = [claim for claim in JUDGED if claim.kind == "greater"]


@pytest.mark.parametrize("claim", JUDGED, ids=lambda claim: claim.id)
def test_a_baseline_passed_as_ours_is_not_reproduced(claim):
    run = medbook.start("unlearnable_examples", profile="laptop")
    noise = np.random.default_rng(1).normal(0, 0.1, (2, 5, 40))  # of two runs of one arm
    if claim.kind == "monotone":
        verdict = run.claim(claim.id, ours=np.repeat(SCORES[:, :1], 4, axis=1))
    elif claim.kind == "noninferior":  # a tie is what this kind claims: ours must be worse to fail
        worse = -5 * claim.margin if claim.better == "higher" else 5 * claim.margin
        ours, baseline = SCORES + worse + 0.1 * noise[0], SCORES + 0.1 * noise[1]
        verdict = run.claim(claim.id, ours=ours, baseline=baseline, units=np.arange(40))
    else:
        ours, baseline = SCORES + noise[0], SCORES + noise[1]
        verdict = run.claim(claim.id, ours=ours, baseline=baseline, units=np.arange(40))
        identical = run.claim(claim.id, ours=SCORES, baseline=SCORES, units=np.arange(40))
        assert identical != "reproduced"
    assert verdict != "reproduced"


@pytest.mark.parametrize("claim", GREATER, ids=lambda claim: claim.id)
def test_arms_passed_in_the_wrong_order_are_opposite(claim):
    run = medbook.start("unlearnable_examples", profile="laptop")
    noise = np.random.default_rng(1).normal(0, 0.1, (2, 5, 40))
    effect = max(1, 10 * claim.margin) * (1 if claim.better == "higher" else -1)
    ours, baseline = noise[0] + effect, noise[1]
    given = {"units": np.arange(40)}
    assert run.claim(claim.id, ours=ours, baseline=baseline, **given) == "reproduced"
    assert run.claim(claim.id, ours=baseline, baseline=ours, **given) == "opposite"


# --- trials ---------------------------------------------------------------------------------------

NAME = "unlearnable_examples"


@pytest.mark.parametrize(
    ("old", "new", "arms"),
    [
        ("class_sep=10.0", "class_sep=9.0", {"synthetic"}),
        ("(y + 1) % classes", "(y + 2) % classes", {"TAP"}),
        ("x.device) * 2 - 1", "x.device) * 2 - 2", {"random noise"}),
        ("keep_top(-significance", "keep_top(significance", {"lowest gradient"}),
        ("keep_top(score, RATIO)", "keep_top(-score, RATIO)", {"random mask", "random fixed mask"}),
        ('salm(0.1), "SALM', 'salm(0.2), "SALM', {"SALM, r = 0.1"}),
        ("lr=0.1, momentum", "lr=0.2, momentum", set(ARMS) - {"TAP", *list(ARMS)[:3]}),
    ],
)
def test_an_edit_of_one_arm_changes_the_jobs_of_no_other(xrays, old, new, arms):
    def jobs(book):
        return {
            arm: (book.protect, book.Owner(protection, xrays, 1, BUDGET))
            for arm, protection in book.protections().items()
        }

    assert changed_by(NAME, jobs, old, new) == arms


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("quality: int = 10", "quality: int = 20", {"resnet, JPEG"}),
        ("num_res_units=0", "num_res_units=1", {"cnn, as released"}),
        ("% 5 == 0", "% 4 == 0", {"resnet, 80 %"}),
        ("class_sep=10.0", "class_sep=9.0", set()),
        ("seed, classes = attempt.seed + 1", "seed, classes = attempt.seed + 2", set(THIEVES)),
    ],
)
def test_an_edit_of_one_thief_changes_the_jobs_of_no_other(xrays, old, new, names):
    def jobs(book):
        given = xrays.images, xrays, xrays, xrays, 1, BUDGET
        return {
            name: (book.steal, book.Attempt(thief, *given))
            for name, thief in book.thieves().items()
        }

    assert changed_by(NAME, jobs, old, new) == names
