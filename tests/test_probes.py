"""Logistic regression, the area under the curve, and random views."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from medbook.errors import MedbookError
from medbook.evaluate import probes
from medbook.evaluate.probes import Features, auc, logistic, nearest, nearest_others, probe
from medbook.evaluate.stats import cluster_bootstrap
from medbook.learn.views import random_view


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_area_is_that_of_scikit_learn_ties_included(dtype):
    scores = torch.randn(60, 3, generator=seeded()).mul(3).round().to(dtype)
    labels = torch.randint(2, (60, 3), generator=seeded(1))
    wanted = np.mean([roc_auc_score(labels[:, k], scores[:, k]) for k in range(3)])
    assert auc(scores, labels) == pytest.approx(wanted)
    assert auc(scores * 1e4, labels) == pytest.approx(wanted)  # ranks alone count
    assert auc(torch.exp2(scores), labels) == pytest.approx(wanted)


def test_a_regression_draws_no_random_numbers():
    before = torch.get_rng_state()
    logistic(torch.randn(8, 2, generator=seeded()), torch.arange(8)[:, None] % 2, 0.1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([[0.1, 5.0], [0.9, 4.0]], [[0, 1], [1, 1]], "column 1 holds the label 1 alone"),
        ([[0.1, 5.0], [0.9, 4.0]], [[0, 0], [0, 1]], "column 0 holds the label 0 alone"),
        ([[0.1, math.nan], [0.9, 4.0]], [[0, 1], [1, 0]], "1 of the scores in column 1 are NaN"),
    ],
)
def test_a_column_without_an_area_is_named(scores, labels, message):
    with pytest.raises(MedbookError, match=message):
        auc(torch.tensor(scores), torch.tensor(labels))


def test_equal_scores_are_a_guess():
    assert auc(torch.zeros(4, 1), torch.tensor([[0], [1], [0], [1]])) == 0.5


def test_the_regression_is_the_least_of_its_loss():
    h = torch.randn(80, 4, generator=seeded(), dtype=torch.float64)
    noise = torch.randn(80, generator=seeded(2), dtype=torch.float64)
    y = (h[:, 0] - 0.5 * h[:, 1] + 0.5 * noise > 0).double()[:, None]
    weight, offset = (part.requires_grad_() for part in logistic(h, y, strength=0.01))
    loss = F.binary_cross_entropy_with_logits(F.linear(h, weight, offset), y)
    slopes = torch.autograd.grad(loss + 0.01 * weight.square().sum(), (weight, offset))
    assert all(slope.abs().max() < 1e-4 for slope in slopes)
    assert weight.abs().max() > 1


def test_a_column_of_one_label_learns_nothing_and_leaves_the_others_alone():
    h = torch.randn(30, 3, generator=seeded())
    y = (h[:, :2] > 0).long()
    alone = logistic(h, y[:, :1], 0.1)
    y[:, 1] = 1
    weight, offset = logistic(h, y, 0.1)
    assert weight[1].abs().sum() == 0 == offset[1]
    assert torch.equal(weight[:1], alone[0]) and torch.equal(offset[:1], alone[1])


def test_the_test_set_chooses_nothing():
    h = torch.randn(90, 5, generator=seeded())
    y = (h[:, :2] + torch.randn(90, 2, generator=seeded(1)) > 0).long()
    pool, val, test = (Features(h[k : k + 30], y[k : k + 30]) for k in (0, 30, 60))
    first = probe(pool, torch.arange(20), val, test)
    again = probe(pool, torch.arange(20), val, Features(test.h, test.y.flip(0)))
    assert first[0] == again[0] and first[1] != again[1] and first[0] > 0.6


def test_retrieval_counts_by_hand():
    queries, items = torch.eye(2), torch.tensor([[1.0, 0.1], [0.9, 0.2], [0.1, 1.0], [0.0, 1.0]])
    kinds = torch.tensor([0, 1, 1, 1])
    assert nearest(queries, torch.tensor([0, 1]), items, kinds, 2) == pytest.approx(0.75)
    assert nearest(queries, torch.tensor([0, 1]), items, kinds, 99) == pytest.approx(0.5)
    h = torch.tensor([[1.0, 0], [1, 0.01], [-1, 0], [-1, 0.01]])
    assert nearest_others(h, torch.tensor([0, 0, 1, 1]), 1) == 1
    assert nearest_others(h, torch.tensor([0, 1, 0, 1]), 1) == 0


@pytest.mark.parametrize("shape", [(3, 1, 16, 16), (1, 3, 7, 9)])
def test_views_keep_the_shape_and_strength_0_the_image(shape):
    x = torch.rand(shape, generator=seeded())
    torch.testing.assert_close(random_view(0.0, flips=False)(x, seeded()), x, atol=1e-5, rtol=1e-4)
    view = random_view()
    assert view(x, seeded()).shape == shape
    assert torch.equal(view(x, seeded(3)), view(x, seeded(3)))
    assert not torch.equal(view(x, seeded(3)), view(x, seeded(4)))


def test_half_of_the_views_are_mirrored():
    x = torch.zeros(400, 1, 8, 8)
    x[..., :4] = 1
    left = random_view(0.0)(x, seeded())[..., :4].mean((1, 2, 3)) > 0.5
    assert abs(left.float().mean() - 0.5) < 0.1
    assert (random_view(0.0, flips=False)(x, seeded())[..., :4] > 0.99).all()


def test_views_turn_by_up_to_20_degrees():
    x = torch.zeros(500, 1, 65, 65)
    x[:, :, 31:34, 8:57] = 1  # a level bar
    y = random_view(1.0, flips=False)(x, seeded())
    assert y.isfinite().all() and y.flatten(1).amax(1).gt(0.05).all()
    bright = (y - y.flatten(1).median(1).values[:, None, None, None]).clamp(min=0)[:, 0]
    place = torch.arange(65.0)
    mass = bright.sum((1, 2))
    rows, columns = bright.sum(2) / mass[:, None], bright.sum(1) / mass[:, None]
    down, right = place - (rows @ place)[:, None], place - (columns @ place)[:, None]
    mixed = torch.einsum("nij,ni,nj->n", bright, down, right) / mass
    square = (columns * right**2).sum(1) - (rows * down**2).sum(1)
    degrees = 0.5 * torch.atan2(2 * mixed, square).rad2deg().abs()
    assert 17 < degrees.max() < 21 and degrees.min() < 1


def test_crops_keep_60_to_100_percent_of_the_area():
    x = torch.zeros(500, 1, 64, 64)
    x[:, :, 30:34, 30:34] = 1  # grows as the crop shrinks
    y = random_view(1.0, flips=False)(x, seeded())[:, 0]
    base = y.flatten(1).median(1).values[:, None, None]
    peak = (y - base).flatten(1).amax(1)[:, None, None]
    area = ((y - base) > 0.5 * peak).sum((1, 2)) / 16
    assert area.quantile(0.02) > 0.75 and area.quantile(0.98) < 2.2 and area.std() > 0.1


# ---------------------------------------------------------------- scores of cases of an area


def some_scores(n_sick: int = 30, n_well: int = 70, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores with ties, and their labels in mixed order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([1, 0], [n_sick, n_well]))
    scores = np.round(rng.normal(labels, 1.0), 1)
    return torch.from_numpy(scores), torch.from_numpy(labels)


def test_scores_of_cases_average_to_the_area() -> None:
    scores, labels = some_scores()
    found = probes.auc_cases(scores, labels)
    assert found.mean().item() == pytest.approx(roc_auc_score(labels, scores))
    for own in (labels == 1, labels == 0):
        assert found[own].mean().item() == pytest.approx(roc_auc_score(labels, scores))


def test_their_variance_within_classes_is_delongs() -> None:
    """The oracle counts pairs, as in the paper's definition."""
    scores, labels = (x.numpy() for x in some_scores())
    sick, well = scores[labels == 1], scores[labels == 0]
    wins = (sick[:, None] > well) + 0.5 * (sick[:, None] == well)
    delong = wins.mean(1).var(ddof=1) / len(sick) + wins.mean(0).var(ddof=1) / len(well)
    found = probes.auc_cases(*some_scores()).numpy()
    groups = [found[labels == k] for k in (0, 1)]
    share = [len(g) / len(found) for g in groups]
    var = sum(p**2 * g.var(ddof=1) / len(g) for p, g in zip(share, groups, strict=True))
    assert var == pytest.approx(delong)


def test_an_interval_over_them_covers_the_true_area() -> None:
    """Normal scores one standard deviation apart: the area is Phi(1 / sqrt(2)) = .760."""
    true, inside = float(norm.cdf(1 / np.sqrt(2))), 0
    for seed in range(200):
        scores, labels = some_scores(40, 120, seed)
        cases = probes.auc_cases(scores, labels)
        found = cluster_bootstrap(cases, np.arange(160), labels, draws=200, seed=seed)
        inside += found.low < true < found.high
    assert 180 <= inside <= 199  # 95 % of 200, give or take three standard errors


def test_infinite_scores_have_an_order() -> None:
    scores = torch.tensor([-torch.inf, 0.0, torch.inf, 1.0])
    assert probes.auc_cases(scores, torch.tensor([0, 0, 1, 1])).tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (torch.zeros(4, 1), torch.tensor([0, 1, 0, 1]), "give those of one class"),
        (torch.zeros(4), torch.tensor([0, 1, 0]), "give 4 rows"),
        (torch.zeros(4), torch.tensor([0, 1, 2, 1]), "give 0 or 1"),
        (torch.zeros(4), torch.tensor([1, 1, 1, 1]), "an area needs 0 and 1"),
        (torch.tensor([0.0, torch.nan]), torch.tensor([0, 1]), "NaN"),
    ],
)
def test_scores_of_cases_refuse(scores: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(MedbookError, match=message):
        probes.auc_cases(scores, labels)
