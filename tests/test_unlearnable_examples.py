"""The definitions of the chapter `unlearnable_examples`, against oracles and against mutations."""

import copy
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from chapter_edits import changed_by
from torch import nn
from torch.nn import functional as F

from medbook import chapter, data
from medbook.errors import MedbookError
from medbook.evaluate.probes import auc_cases

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


def binary(split, n):
    """The first images of a split of the twin, the healthy against the others."""
    return book.binary(split.subset(torch.arange(n)))


@pytest.fixture(scope="module")
def retina():
    return data.load("retinamnist", source="twin")


@pytest.fixture(scope="module")
def eyes(retina):
    return binary(retina.train, 64)


EFFORT = book.Effort(rounds=2, batches=3, steps=2, width=4)
ARMS = book.protections()


def protected(arm, train, seed=1):
    return book.protect(book.Owner(ARMS[arm], train, seed, EFFORT))


def test_any_retinopathy_is_class_1(retina):
    split = book.binary(retina.test)
    assert torch.equal(split.labels == 0, retina.test.labels == 0)
    assert set(split.labels.tolist()) == {0, 1} and split.labels.dtype == torch.int64


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


def test_the_surrogate_is_frozen_while_noise_is_written(eyes):
    x, y = eyes.images.float() / 255, eyes.labels
    surrogate = book.make_network(book.resnet, x, 0, width=4)
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


def support_after(choose, rounds=1):
    """Pixels that min_min changes, and the scores an untouched copy of the surrogate gives."""
    network, (x, y) = Small(size=8), images(n=12, size=8)
    untouched = copy.deepcopy(network)
    effort = book.Effort(rounds=rounds, batches=1, steps=3)
    with mock.patch.object(book, "train_surrogate"):
        delta = book.min_min(network, x, y, effort, 0, rho=0.02, choose=choose)
    return delta != 0, book.significance(untouched, x, y)


def test_salm_changes_the_pixels_of_the_largest_gradient():
    changed, g = support_after(book.by_gradient)
    kept = changed.sum((1, 2, 3))
    assert (kept <= 16).all() and (kept >= 14).all()
    smallest_kept = torch.where(changed, g, torch.inf).amin((1, 2, 3))
    rank = (g > smallest_kept[:, None, None, None]).sum((1, 2, 3))
    assert (rank < 16).all()


def test_random_pixels_are_others():
    top, g = support_after(book.by_gradient)
    chance, _ = support_after(book.by_chance)
    share = (top & chance).sum() / top.sum()  # expected for random pixels: ratio = 0.25
    assert 0.1 < share < 0.4
    means = [torch.where(m, g, 0).sum() / m.sum() for m in (top, chance)]
    assert means[0] > 1.5 * means[1]


@pytest.mark.parametrize("choose", [book.by_gradient, book.by_chance])
def test_a_mask_is_chosen_anew_each_round(choose):
    first, _ = support_after(choose, rounds=1)
    later, _ = support_after(choose, rounds=4)
    assert ((first | later).sum((1, 2, 3)) > 16).any()
    assert (later.sum((1, 2, 3)) <= 16).all()  # noise outside of the new mask is dropped


# --- the outer problem ----------------------------------------------------------------------------


def test_em_makes_the_training_loss_small(eyes):
    x, y = eyes.images.float() / 255, eyes.labels
    surrogate = book.make_network(book.resnet, x, 0, width=4)
    effort = book.Effort(rounds=4, batches=5, steps=4, width=4)
    delta = book.min_min(surrogate, x, y, effort, 0, rho=16 / 255)
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


def test_the_surrogate_learns_on_what_is_released_every_image_as_often():
    network, (x, y) = Spy(size=8), images(n=12, size=8)
    network.batches = []
    before = [p.detach().clone() for p in network.parameters()]
    book.min_min(network, x, y, book.Effort(rounds=2, batches=1, steps=1), 0, rho=0.05)
    assert not any(map(torch.equal, before, network.parameters()))
    distances = [(b[:, None] - x).abs().amax((2, 3, 4)) for b in network.batches]
    nearest, which = distances[0].min(1)
    assert (nearest == 0).all()  # clean images: there is no noise yet
    assert sorted(which.tolist()) == list(range(12))
    nearest, which = distances[1].min(1)
    assert (nearest > 0.04).all() and sorted(which.tolist()) == list(range(12))


def test_random_masks_leave_the_surrogates_batches_alone():
    seen = []
    for choose in (book.by_gradient, book.by_chance):
        network, (x, y) = Spy(size=8), images(n=12, size=8)
        network.batches = []
        effort = book.Effort(rounds=1, batches=3, steps=1)
        book.min_min(network, x, y, effort, 0, choose=choose)
        seen.append(torch.cat(network.batches))
    assert torch.equal(*seen)


def test_a_surrogate_that_diverges_is_an_error():
    network, (x, y) = Small(), images()
    network.out.data[:] = float("nan")
    with pytest.raises(MedbookError, match="the surrogate diverges: lower its learning rate"):
        book.min_min(network, x, y, book.Effort(rounds=1, batches=1, steps=1), 0)


def test_tap_pushes_a_surrogate_of_equal_training_towards_the_other_class(eyes):
    x, y = eyes.images.float() / 255, eyes.labels
    effort = book.Effort(rounds=2, batches=8, steps=5, width=4)
    delta = book.targeted(x, y, 0, effort)
    surrogate = book.make_network(book.resnet, x, 0, width=4)
    book.min_min(surrogate, x, y, effort, 0, rho=0.0)  # without noise, as many batches
    surrogate.eval()
    with torch.no_grad():
        before, after = loss(surrogate, x, 1 - y).mean(), loss(surrogate, x + delta, 1 - y).mean()
        own = loss(surrogate, x + delta, y).mean()
    assert after < before and after < own
    assert delta.abs().max() <= book.RHO + 1e-6


# --- what is released -----------------------------------------------------------------------------

LEVELS = {"unprotected": 0, "EM, equal PSNR": 8}
SPARSE = ("SALM", "random mask", "unoptimised noise")


@pytest.fixture(scope="module")
def released(eyes):
    return {arm: protected(arm, eyes) for arm in ARMS}


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_keeps_its_bound_and_its_number_of_pixels(eyes, released, arm):
    change = (released[arm].int() - eyes.images.int()).abs()
    assert released[arm].dtype == torch.uint8 and released[arm].shape == eyes.images.shape
    assert change.max() <= LEVELS.get(arm, 16)
    assert (change.max() > 0) == (arm != "unprotected")
    touched = (change > 0).any(1).sum((1, 2))
    assert touched.max() <= (196 if arm in SPARSE else 784)
    assert arm == "unprotected" or touched.float().mean() > 0.8 * (196 if arm in SPARSE else 784)


@pytest.mark.parametrize("arm", ["unoptimised noise", "TAP", "random mask"])
def test_noise_depends_on_the_seed_alone(eyes, released, arm):
    assert torch.equal(released[arm], protected(arm, eyes))
    assert not torch.equal(released[arm], protected(arm, eyes, seed=2))


def test_salm_on_all_pixels_is_em_and_no_two_arms_are_one(eyes, released):
    everywhere = book.protect(book.Owner(book.salm(1.0), eyes, 1, EFFORT))
    assert torch.equal(everywhere, released["EM"])
    arms = list(released.values())
    assert not any(torch.equal(a, b) for k, a in enumerate(arms) for b in arms[:k])


def test_equal_psnr_means_equal_squared_noise(eyes, released):
    def power(arm):
        return (released[arm].float() - eyes.images.float()).square().mean()

    assert power("EM, equal PSNR") == pytest.approx(power("random mask").item(), rel=0.2)
    assert power("EM") > 3 * power("SALM")


def test_what_is_released_is_rounded_to_8_bits(eyes):
    def push(amount):
        return book.Owner(lambda x, y, seed, effort: x * 0 + amount / 255, eyes, 1, EFFORT)

    assert torch.equal(book.protect(push(0.4)), eyes.images)
    assert torch.equal(book.protect(push(0.6)), eyes.images.clamp(max=254) + 1)


def test_exchanged_noise_is_the_same_noise_on_other_images():
    clean = torch.full((9, 3, 4, 4), 100, dtype=torch.uint8)
    noise = torch.arange(9, dtype=torch.uint8)[:, None, None, None]
    mixed = book.exchanged(clean + noise, clean, seed=3)
    handed = (mixed.int() - 100)[:, 0, 0, 0].tolist()
    assert sorted(handed) == list(range(9)) and handed != list(range(9))
    assert torch.equal(book.exchanged(clean, clean, 3), clean)
    edge = torch.full_like(clean, 250)
    assert book.exchanged(edge + 4, edge, 3).unique().tolist() == [254]


# --- the thief ------------------------------------------------------------------------------------


def attempt(retina, loot, **changes):
    val, test = binary(retina.val, 60), binary(retina.test, 50)
    usual = {"build": book.resnet, "released": loot, "val": val, "test": test, "seed": 5}
    return book.Attempt(**(usual | {"steps": 4, "width": 4} | changes))


def outcome(theft):
    scores = torch.cat([theft.test, theft.adapted_test])
    return theft.log.weights, theft.held_out, theft.floor, scores


@pytest.fixture(scope="module")
def theft(retina, eyes):
    return book.steal(attempt(retina, eyes))


def test_a_thief_trains_on_four_fifths_of_what_was_released(retina, eyes, theft):
    assert theft.log.n_train == 51
    unseen = eyes.images.clone()
    unseen[51:] = 255 - unseen[51:]
    other = book.steal(attempt(retina, replace(eyes, images=unseen)))
    assert other.log.weights == theft.log.weights and other.held_out != theft.held_out
    seen = eyes.images.clone()
    seen[:51] = 255 - seen[:51]
    assert book.steal(attempt(retina, replace(eyes, images=seen))).log.weights != theft.log.weights


def test_neither_validation_nor_test_images_reach_the_training(retina, eyes, theft):
    val, test = binary(retina.val, 60), binary(retina.test, 50)
    dark = replace(val, images=val.images // 2)
    adapted = book.steal(attempt(retina, eyes, val=dark))
    assert adapted.log.weights == theft.log.weights and torch.equal(adapted.test, theft.test)
    assert not torch.equal(adapted.adapted_test, theft.adapted_test)
    wrong = replace(test, labels=1 - test.labels)  # test labels are never looked at
    again = book.steal(attempt(retina, eyes, test=wrong))
    assert torch.equal(outcome(again)[3], outcome(theft)[3])


def test_the_floor_is_the_untrained_network_on_the_same_images(retina, eyes, theft):
    aside = eyes.subset(torch.arange(51, 64))
    untrained = book.make_network(book.resnet, eyes.images, 6, width=4)
    assert theft.floor == max(0.5, book.area(untrained, aside))
    surrogate = book.make_network(book.resnet, eyes.images, 5, width=4)
    assert not torch.equal(surrogate.fc.weight, untrained.fc.weight)


def test_thieves_of_one_seed_start_and_train_alike(retina, eyes, released):
    steps = [book.steal(attempt(retina, replace(eyes, images=released[arm]))).log
             for arm in ("unprotected", "unprotected", "EM")]  # fmt: skip
    assert steps[0].losses == steps[1].losses != steps[2].losses


def test_adapting_takes_the_statistics_of_the_images_and_nothing_else(eyes):
    network = book.make_network(book.resnet, eyes.images, 1, width=4)
    before = copy.deepcopy(network.state_dict())
    moved = book.adapted(network, eyes.images)
    first = next(m for m in moved.modules() if isinstance(m, nn.BatchNorm2d))
    x = eyes.images.float() / 255
    with torch.no_grad():
        features = network.conv1(x)
    torch.testing.assert_close(first.running_mean, features.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert all(map(torch.equal, before.values(), network.state_dict().values()))  # a copy
    assert all(map(torch.equal, network.parameters(), moved.parameters()))
    shifted = book.adapted(network, eyes.images // 2)
    assert not torch.equal(book.log_odds(shifted, eyes.images), book.log_odds(moved, eyes.images))


def test_inverted_answers_are_exchanged(retina, eyes, theft):
    val = binary(retina.val, 60)
    inverted = replace(val, labels=1 - val.labels)  # the same images: only the answers turn
    other = book.steal(attempt(retina, eyes, val=inverted))
    assert torch.equal(other.adapted_test, -theft.adapted_test)
    assert torch.equal(other.test, theft.test)


class Red(nn.Module):
    """Says "diseased" where an image is red."""

    def forward(self, x):
        red = x[:, 0].mean((1, 2))
        return torch.stack([0.5 - red, red - 0.5], dim=1)


def test_scores_are_log_odds_of_disease():
    ramp = torch.zeros(5, 3, 2, 2, dtype=torch.uint8)
    ramp[:, 0] = torch.tensor([0, 60, 120, 180, 240])[:, None, None]
    found = book.log_odds(Red(), ramp)
    assert found.tolist() == sorted(found.tolist()) and (found > 0).tolist() == [0, 0, 0, 1, 1]
    split = book.Split(ramp, torch.tensor([0, 0, 1, 0, 1]))
    assert book.area(Red(), split) == pytest.approx(5 / 6)
    cases = auc_cases(found, split.labels)
    assert cases.mean().item() == pytest.approx(5 / 6)


def test_accuracy_is_the_mean_recall_of_each_seed():
    scores = [torch.tensor([-1.0, 1.0, 1.0, 1.0]), torch.tensor([-1.0, -1.0, -1.0, 1.0])]
    assert book.accuracies(scores, torch.tensor([0, 0, 0, 1])) == pytest.approx([2 / 3, 1.0])


@pytest.mark.parametrize("build", [book.resnet, book.cnn])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_give_two_scores_and_leave_the_global_generator_alone(build, channels):
    x = torch.rand(2, channels, 28, 28)
    before = torch.get_rng_state()
    network = book.make_network(build, x, seed=5, width=8)
    assert torch.equal(torch.get_rng_state(), before)
    assert network(x).shape == (2, 2)
    twin = book.make_network(build, x, seed=5, width=8)
    assert all(map(torch.equal, network.parameters(), twin.parameters()))
    other = book.make_network(build, x, seed=6, width=8)
    assert not all(map(torch.equal, network.parameters(), other.parameters()))


# --- trials ---------------------------------------------------------------------------------------

NAME = "unlearnable_examples"
MINIMISED = {"SALM", "random mask", "EM", "EM, equal PSNR", "TAP"}


@pytest.mark.parametrize(
    ("old", "new", "arms"),
    [
        ("descend(surrogate, x, 1 - y", "descend(surrogate, x, y", {"TAP"}),
        ("x.device) * 2 - 1", "x.device) * 2 - 2", {"unoptimised noise"}),
        ("return keep_top(score, RATIO)", "return keep_top(-score, RATIO)",
         {"random mask", "unoptimised noise"}),
        ("g.abs().sum(1", "g.abs().mean(1", {"SALM"}),
        ("0.1, 0.9, weight_decay", "0.2, 0.9, weight_decay", MINIMISED),
    ],
)  # fmt: skip
def test_an_edit_of_one_arm_changes_the_jobs_of_no_other(eyes, old, new, arms):
    def jobs(book):
        return {
            arm: (book.protect, book.Owner(protection, eyes, 1, EFFORT))
            for arm, protection in book.protections().items()
        }

    assert changed_by(NAME, jobs, old, new) == arms


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("num_res_units=0", "num_res_units=1", {"cnn"}),
        ("layer.momentum = 1.0", "layer.momentum = 0.5", {"resnet", "cnn"}),
        ("descend(surrogate, x, 1 - y", "descend(surrogate, x, y", set()),
    ],
)
def test_an_edit_of_one_thief_changes_the_jobs_of_no_other(retina, eyes, old, new, names):
    def jobs(book):
        return {
            name: (book.steal, attempt(retina, eyes, build=getattr(book, name)))
            for name in ("resnet", "cnn")
        }

    assert changed_by(NAME, jobs, old, new) == names
