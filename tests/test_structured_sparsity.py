"""The definitions of the chapter `structured_sparsity`, against oracles and against mutations."""

import itertools
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from chapter_edits import changed_by
from joblib.externals.loky.backend.reduction import dumps
from torch import nn
from torch.nn import functional as F

from medbook import chapter, data
from medbook.errors import MedbookError
from medbook.record import claims

book = chapter.load("structured_sparsity")
BUILD = {
    "ResNet": partial(book.resnet, width=16),
    "ViT": partial(book.Transformer, width=64),
}
TRAINING = {
    "ResNet": {"optimizer": "sgd", "lr": 0.4},
    "ViT": {"optimizer": "adamw", "lr": 2e-3, "schedule": "onecycle", "clip": 1.0},
}
ALL = {kind: book.recipes(kind) for kind in BUILD}
NAMES = [(kind, arm) for kind, recipes in ALL.items() for arm in recipes]


def weights(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def brute_force(w, n, m):
    """Best mask of each group among all of its masks, by the sum of kept magnitudes."""
    w, mask = w.numpy(), np.zeros(w.shape)
    for place in np.ndindex(w.shape[0], *w.shape[2:]):
        for start in range(0, w.shape[1], m):
            inputs = range(start, start + m)
            magnitude = {i: abs(w[(place[0], i, *place[1:])]) for i in inputs}
            best = max(itertools.combinations(inputs, n), key=lambda c: sum(map(magnitude.get, c)))
            for i in best:
                mask[(place[0], i, *place[1:])] = 1
    return mask


# --- the mask -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 8), (5, 16), (3, 8, 3, 3), (2, 16, 1, 5), (7, 8, 1, 1)])
@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (1, 8), (3, 8), (8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_the_mask_is_the_best_of_all_masks(shape, n, m, dtype):
    w = weights(*shape).to(dtype)
    mask = book.nm_mask(w, n, m)
    assert mask.shape == w.shape and mask.dtype == dtype
    assert np.array_equal(mask.numpy(), brute_force(w, n, m))


def test_the_mask_does_not_depend_on_the_memory_format():
    w = weights(4, 16, 3, 3)
    channels_last = w.to(memory_format=torch.channels_last)
    assert torch.equal(book.nm_mask(w, 1, 16), book.nm_mask(channels_last, 1, 16))


def test_groups_along_the_kernel_are_another_mask():
    w = weights(8, 16, 3, 3)
    wrong = book.nm_mask(w.reshape(1, -1), 2, 4).reshape(w.shape)
    assert wrong.mean() == book.nm_mask(w, 2, 4).mean() == 0.5
    assert book.fullest_group(wrong, 4) > 2 == book.fullest_group(book.nm_mask(w, 2, 4), 4)
    other = book.nm_mask(w.transpose(0, 1).contiguous(), 2, 4).transpose(0, 1)
    assert book.fullest_group(other, 4) > 2


@pytest.mark.parametrize("value", [0.0, -2.5])
def test_of_equal_weights_the_first_stay(value):
    mask = book.nm_mask(torch.full((3, 8, 2, 2), value), 1, 4)
    expected = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0])[None, :, None, None].expand(3, 8, 2, 2)
    assert torch.equal(mask, expected)


def test_sign_is_ignored_and_scale_does_not_matter():
    w = weights(6, 32)
    mask = book.nm_mask(w, 2, 16)
    assert torch.equal(mask, book.nm_mask(-w, 2, 16))
    assert torch.equal(mask, book.nm_mask(1024 * w, 2, 16))
    assert torch.equal(mask, book.nm_mask(w * mask, 2, 16))


@pytest.mark.parametrize(("n", "m"), [(0, 4), (5, 4), (1, 5), (1, 16)])
def test_patterns_that_do_not_fit_are_refused(n, m):
    with pytest.raises(MedbookError, match=f"{n}:{m} pattern on 8 inputs"):
        book.nm_mask(weights(2, 8), n, m)


def test_fullest_group_counts():
    w = torch.tensor([[0.0, 1, 0, 2, 0, 0, 0, 3]])
    assert [book.fullest_group(w, m) for m in (2, 4, 8)] == [1, 2, 3]


# --- eq. 1 ----------------------------------------------------------------------------------------


def step(recipe, w, lr=0.1, weight=None):
    """One step of SGD on a linear layer, and the gradient of the loss by the masked weights."""
    layer = nn.Linear(w.shape[1], w.shape[0], bias=False, dtype=w.dtype)
    layer.weight.data = w.clone()
    book.masked(layer, recipe, 10)
    x, y = (weights(5, w.shape[1 - k], seed=k + 1, dtype=w.dtype) for k in range(2))
    (layer(x) - y).square().sum().backward()
    stored = layer.parametrizations.weight.original
    torch.optim.SGD([stored], lr=lr).step()

    gate = book.nm_mask(w, recipe.n, recipe.m)
    gate = gate + recipe.beta(0.0) * (1 - gate)
    used = (w * gate).requires_grad_()
    (F.linear(x, used) - y).square().sum().backward()
    return stored.detach(), used.grad, gate


@pytest.mark.parametrize("decay", [0.0, 0.3, -0.3])
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_a_step_is_eq_1(decay, beta):
    w = weights(6, 16, dtype=torch.float64)
    recipe = book.Recipe(n=1, m=4, decay=decay, beta=lambda u: beta)
    after, g, _ = step(recipe, w)
    mask = torch.from_numpy(brute_force(w, 1, 4))
    torch.testing.assert_close(after, w - 0.1 * (g + decay * (1 - mask) * w))


def test_the_decay_acts_on_pruned_weights_only_unless_everywhere():
    w = weights(6, 16, dtype=torch.float64)
    mask = book.nm_mask(w, 1, 4)
    plain, _, _ = step(book.Recipe(m=4), w)
    decayed, _, _ = step(book.Recipe(m=4, decay=0.5), w)
    everywhere, _, _ = step(book.Recipe(m=4, decay=0.5, everywhere=True), w)
    assert torch.equal((plain != decayed), mask == 0)
    torch.testing.assert_close(plain - decayed, 0.1 * 0.5 * w * (1 - mask))
    torch.testing.assert_close(plain - everywhere, 0.1 * 0.5 * w)


def test_shrinking_acts_on_pruned_weights_and_only_in_training():
    w = weights(6, 16, dtype=torch.float64)
    mask = book.nm_mask(w, 1, 4)
    plain, _, _ = step(book.Recipe(m=4), w)
    shrunk, _, _ = step(book.Recipe(m=4, shrink=1.0), w)  # the first of ten steps
    torch.testing.assert_close(plain - shrunk, 0.1 * w * (1 - mask))  # the gradient is the same
    layer = layer_of(book.Recipe(m=4, shrink=0.1)).eval()
    before = layer.parametrizations.weight.original.detach().clone()
    assert torch.equal((layer.weight != 0).float(), book.nm_mask(before, 1, 4))
    assert torch.equal(layer.parametrizations.weight.original, before)


def test_one_group_comes_to_rest_with_a_decay_alone():
    """With the decay, what is kept is the least-squares answer; without, the four weights tie."""
    swaps = {}
    for decay in (0.0, 2.0):
        path = book.one_group(book.Recipe(2, 4, decay=decay), 500)
        used = book.nm_mask(path, 2, 4)
        swaps[decay] = int((used[1:] != used[:-1]).any(1).sum())
        assert path.shape == (500, 4)
    assert swaps[2.0] < 20 < 200 < swaps[0.0]
    torch.testing.assert_close(path[-1], torch.tensor([1.0, 0.9, 0.5, 0.4]), atol=0.15, rtol=0)


def layer_of(recipe, steps=10, inputs=16):
    layer = nn.Linear(inputs, 4)
    layer.weight.data = weights(4, inputs)
    return book.masked(layer, recipe, steps)


def test_the_mask_follows_the_weights_unless_it_is_frozen():
    for freeze, moves in ((math.inf, [True, True]), (0.0, [False, False]), (0.1, [True, False])):
        layer = layer_of(book.Recipe(m=4, freeze=freeze))
        before, seen = layer.parametrizations.weight[0].mask.clone(), []
        for k in range(2):
            layer.parametrizations.weight.original.data = weights(4, 16, seed=5 + k)
            used = layer.weight != 0
            seen.append(not torch.equal(used.float(), before))
            before = used.float()
        assert seen == moves
        layer.eval()
        assert torch.equal((layer.weight != 0).float(), before)


def test_evaluation_uses_the_final_pattern_whatever_the_schedule_says():
    for recipe in (book.Recipe(beta=lambda u: 1.0), book.Recipe(pattern=book.stepwise(0.8))):
        layer = layer_of(recipe)
        assert (layer.weight != 0).sum() > 4  # in training
        layer.eval()
        assert (layer.weight != 0).sum() == 4 and int(layer.parametrizations.weight[0].done) == 1


def test_beta_and_pattern_follow_the_steps_that_were_made():
    layer = layer_of(book.Recipe(beta=lambda u: max(0.0, 1 - 2 * u)), steps=4)
    w, mask = weights(4, 16), book.nm_mask(weights(4, 16), 1, 16)
    for beta in (1.0, 0.5, 0.0, 0.0):
        torch.testing.assert_close(layer.weight.detach(), w * (mask + beta * (1 - mask)))
    layer = layer_of(book.Recipe(pattern=book.stepwise(0.8)), steps=5)
    assert [int((layer.weight != 0).sum()) for _ in range(5)] == [60, 32, 16, 8, 4]


# --- schedules ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (1, 8), (1, 16), (1, 32), (2, 16), (4, 4)])
@pytest.mark.parametrize("end", [0.25, 0.8, 1.0])
def test_patterns_tighten_to_the_last_one_in_equal_intervals(n, m, end):
    u = np.linspace(0, 1, 240, endpoint=False)
    found = [book.stepwise(end)(float(x), n, m) for x in u]
    halvings = int(math.log2(m // n))
    expected = [(m - 1 if k == 0 else m // 2**k, m) for k in range(halvings)]
    assert list(dict.fromkeys(found)) == expected + ([(n, m)] if end < 1 or not halvings else [])
    if halvings:
        tightening = [pattern for pattern in found if pattern != (n, m)]
        lengths = [tightening.count(pattern) for pattern in expected]
        assert max(lengths) - min(lengths) <= 1
        assert len(tightening) == pytest.approx(240 * end, abs=1)


@pytest.mark.parametrize("rate", [2.5, 5.0, 20.0])
def test_beta_is_eq_2(rate):
    steps = 400
    for t in (0, 1, 100, 399):
        assert book.exponential(rate)(t / steps) == pytest.approx(math.exp(-rate / steps * t))


def test_every_arm_but_dense_ends_pruned():
    for kind, arm in NAMES:
        last = ALL[kind][arm].beta(399 / 400), ALL[kind][arm].pattern(399 / 400, 1, 16)
        assert last[1] == (1, 16) and (last[0] < 0.01) == (arm != "dense"), arm


# --- SAD ------------------------------------------------------------------------------------------


def test_sad_counts_changed_entries():
    a = [book.nm_mask(weights(4, 16, seed=k), 1, 16) for k in range(3)]
    b = [book.nm_mask(weights(4, 16, seed=9 + k), 1, 16) for k in range(3)]
    expected = np.mean([x.numpy() != y.numpy() for x, y in zip(a, b, strict=True)])
    assert book.sad(a, b) == pytest.approx(expected) and book.sad(a, a) == 0
    assert book.sad(a, b) <= 2 / 16


def churn(recipe, steps=200):
    """SAD between neighbouring steps of SGD on noisy gradients, and how far weights faded."""
    w, generator = weights(64, 16), torch.Generator().manual_seed(3)
    layer = nn.Linear(16, 64, bias=False)
    layer.weight.data = w.clone()
    book.masked(layer, recipe, steps)
    stored = layer.parametrizations.weight.original
    optimizer, total = torch.optim.SGD([stored], lr=0.1), 0.0
    for _ in range(steps):
        before = [book.nm_mask(stored.detach(), 1, 16)]
        optimizer.zero_grad()
        noise = torch.randn(64, 16, generator=generator)
        (layer.weight * noise).sum().backward()
        optimizer.step()
        total += book.sad(before, [book.nm_mask(stored.detach(), 1, 16)])
    w = stored.detach().abs()
    keep = book.nm_mask(w, 1, 16) > 0
    return total, float(w[~keep].mean() / w[keep].mean())


def test_the_decay_calms_the_mask_and_fades_pruned_weights():
    """With the decay dropped, or turned, or put on all weights, these orders break."""
    runs = {d: churn(book.Recipe(decay=d)) for d in (-0.02, 0.0, 0.05, 0.5)}
    moved, faded = ([runs[d][k] for d in sorted(runs)] for k in (0, 1))
    assert moved == sorted(moved, reverse=True) and moved[1] > 1.2 * moved[-1]
    assert faded == sorted(faded, reverse=True) and faded[1] > 1.2 * faded[-1]
    everywhere = churn(book.Recipe(decay=0.5, everywhere=True))
    assert everywhere[0] > 1.2 * runs[0.5][0]


def test_the_first_step_of_a_network_is_step_0():
    network = book.make_network(BUILD["ViT"], torch.rand(2, 1, 32, 32), 48, 5)
    book.sparsify(network, book.Recipe(beta=book.exponential(5.0)), 4).train()
    seen = []
    for _ in range(2):
        network(torch.rand(2, 1, 32, 32))
        (pruning,) = book.sparse_layers(network)[0].parametrizations.weight
        seen.append(int(pruning.done))
    assert seen == [1, 2]


# --- networks -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def atlas():
    whole = data.load("mednist", size=32, source="twin")
    train, val, test = (
        getattr(whole, name).balanced(n, 7)
        for name, n in (("train", 48), ("val", 24), ("test", 30))
    )
    return replace(whole, splits={"train": train, "val": val, "test": test})


def job_of(atlas, kind, recipe):
    training = TRAINING[kind] | {"steps": 4, "batch_size": 8}
    return book.Job(BUILD[kind], recipe, training, 7, atlas.train, atlas.val, atlas.test)


@pytest.mark.parametrize("kind", ["ResNet", "ViT"])
def test_the_layers_that_are_pruned(kind):
    x, before = torch.rand(2, 1, 32, 32), torch.get_rng_state()
    network = book.make_network(BUILD[kind], x, 48, 5)
    assert torch.equal(torch.get_rng_state(), before)
    layers = book.sparse_layers(network)
    if kind == "ResNet":
        others = [x for x in network.modules() if isinstance(x, nn.Conv2d)]
        assert others[0] is network.conv1 and layers == others[1:]
    else:
        names = [name for name, x in network.named_modules() if x in layers]
        pruned = ("mlp.linear1", "mlp.linear2", "attn.qkv")
        assert names == [f"vit.blocks.{block}.{name}" for block in range(2) for name in pruned]
    assert all(layer.weight.shape[1] % 16 == 0 for layer in layers)
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 48)


@pytest.mark.parametrize("kind", ["ResNet", "ViT"])
def test_a_finished_network_is_plain_and_has_its_pattern(kind):
    x = torch.rand(3, 1, 32, 32)
    network, dense, used, kept = (book.make_network(BUILD[kind], x, 48, k) for k in (5, 5, 6, 7))
    dense.eval()
    book.sparsify(network, book.Recipe(), 4)
    used = book.finished(network, used, book.Recipe())
    kept = book.finished(network, kept, book.Recipe(dense=True))
    for layer, whole in zip(book.sparse_layers(used), book.sparse_layers(dense), strict=True):
        assert not book.parametrize.is_parametrized(layer)
        assert np.array_equal(
            (layer.weight != 0).numpy(), brute_force(whole.weight.detach(), 1, 16) > 0
        )
    assert torch.equal(kept(x), dense(x))
    assert torch.equal(used(x), network.eval()(x)) and not torch.equal(used(x), kept(x))


@pytest.mark.parametrize(("kind", "arm"), NAMES, ids=lambda name: name)
def test_an_arm_trains_and_keeps_its_pattern(atlas, kind, arm):
    recipe = ALL[kind][arm]
    outcome = book.trial(job_of(atlas, kind, recipe))
    assert outcome.test.shape == (len(atlas.test),) and outcome.test.min() >= 0
    assert outcome.test.max() <= 1 and 0 <= outcome.validation <= 1
    assert 1 / 48 <= outcome.floor < 0.2
    assert 0 <= outcome.sad <= 2 * min(recipe.n / recipe.m, 1 - recipe.n / recipe.m)
    assert outcome.excess == 0 and 0 < outcome.faded < 1


def trained_on(atlas, recipe=None, kind="ResNet"):
    return book.trial(job_of(atlas, kind, recipe or ALL[kind]["SR-STE"]))


def with_split(atlas, name, split):
    return replace(atlas, splits=atlas.splits | {name: split})


@pytest.mark.parametrize("kind", ["ResNet", "ViT"])
def test_a_trial_repeats_itself_and_sees_neither_test_images_nor_held_out_labels(atlas, kind):
    first = trained_on(atlas, kind=kind)
    noise = torch.randint(0, 256, atlas.test.images.shape, dtype=torch.uint8)
    other_images = with_split(atlas, "test", replace(atlas.test, images=noise))
    permuted = atlas.with_permuted_test(3)
    for images in (atlas, permuted, other_images):
        outcome = trained_on(images, kind=kind)
        assert outcome.log.weights == first.log.weights
        assert outcome.validation == first.validation and outcome.floor == first.floor
        assert outcome.sad == first.sad and outcome.faded == first.faded
        assert images is not atlas or np.array_equal(outcome.test, first.test)
        assert images is not permuted or not np.array_equal(outcome.test, first.test)
    one_kind = replace(atlas.val, labels=torch.zeros_like(atlas.val.labels))
    other_val = trained_on(with_split(atlas, "val", one_kind), kind=kind)
    assert other_val.log.weights == first.log.weights
    assert np.array_equal(other_val.test, first.test) and other_val.validation != first.validation


def test_training_labels_images_and_seed_matter(atlas):
    first = trained_on(atlas)
    shuffled = trained_on(with_split(atlas, "train", atlas.train.shuffled(3)))
    assert shuffled.log.weights != first.log.weights
    other_seed = book.trial(replace(job_of(atlas, "ResNet", ALL["ResNet"]["SR-STE"]), seed=8))
    assert other_seed.log.losses[0] != first.log.losses[0]


def test_arms_start_alike_and_part_where_they_should(atlas):
    """One initialisation and order for all: what differs in the first loss is the mask alone."""
    first = {
        arm: trained_on(atlas, ALL["ResNet"][arm]).log.losses
        for arm in ("dense", "STE", "SR-STE", "fixed mask", "decay/10 on all", "STE 2:4")
    }
    assert len({losses[0] for losses in first.values()}) == 3  # 1:16, 2:4, dense
    assert len({losses[2] for losses in first.values()}) == len(first)


def test_the_scored_network_is_the_pruned_one_unless_dense(atlas, monkeypatch):
    seen = []
    monkeypatch.setattr(book, "scores", lambda network, split: seen.append(network) or np.zeros(1))
    for arm in ("MdGf-Exponential", "SdGf-Stepwise", "dense"):
        book.trial(job_of(atlas, "ResNet", ALL["ResNet"][arm]))
    kept = [{book.fullest_group(x.weight, 16) for x in book.sparse_layers(n)} for n in seen]
    validation, untrained, test = range(3)  # the order in which a trial scores
    assert [kept[3 * k + validation] for k in range(3)] == [{1}, {1}, {16}]
    assert [kept[3 * k + test] for k in range(3)] == [{1}, {1}, {16}]
    assert all(kept[3 * k + untrained] == {16} for k in range(3))


def test_the_divergence_of_a_trial_is_from_the_first_masks_to_the_last(atlas):
    job = job_of(atlas, "ViT", ALL["ViT"]["STE"])
    still = replace(job, training=job.training | {"lr": 1e-12, "weight_decay": 0.0})
    assert book.trial(still).sad == 0 < book.trial(job).sad


def test_faded_compares_pruned_with_kept_weights(atlas):
    network = book.sparsify(book.new(job_of(atlas, "ViT", book.Recipe())), book.Recipe(), 4)
    for w in book.stored(network):
        w.data = 0.25 + 0.75 * book.nm_mask(w.data, 1, 16)
    assert book.faded(network, book.Recipe()) == pytest.approx(0.25)


@pytest.mark.parametrize(("score", "floor"), [(0.0, 1 / 48), (0.5, 0.5)])
def test_the_floor_is_guessing_or_the_untrained_network(atlas, monkeypatch, score, floor):
    job, seen = job_of(atlas, "ResNet", ALL["ResNet"]["STE"]), []
    monkeypatch.setattr(book, "scores", lambda net, _: seen.append(net) or np.full(2, score))
    assert book.floor(job) == floor
    untrained = book.new(job).state_dict()
    assert all(torch.equal(v, untrained[k]) for k, v in seen[0].state_dict().items())


def test_jobs_travel_to_worker_processes_from_a_notebook(atlas):
    """Where functions have no module, all that they name is sent, and must be sendable."""
    path = chapter.find("structured_sparsity")
    notebook = {"__name__": "__main__"}
    exec(compile(chapter.defining_source(path.read_text()), str(path), "exec"), notebook)
    recipe, vit = notebook["recipes"]("ViT")["MdGf-Exponential"], notebook["Transformer"]
    splits = atlas.train, atlas.val, atlas.test
    job = notebook["Job"](partial(vit, width=64), recipe, {}, 7, *splits)
    assert dumps((notebook["trial"], job))


@pytest.mark.parametrize("kind", ["ResNet", "ViT"])
def test_nothing_to_prune_gives_the_dense_network(atlas, kind):
    """A decay on kept weights, or a beta below 1 on them, would show."""
    whole = {arm: replace(recipe, n=16, m=16) for arm, recipe in ALL[kind].items()}
    found = {arm: trained_on(atlas, recipe, kind).log.losses for arm, recipe in whole.items()}
    everywhere = found.pop("decay/10 on all", None)
    assert set(found.values()) == {found["dense"]} and everywhere != found["dense"]


@pytest.mark.parametrize(
    ("old", "new", "arms"),
    [
        ('"decay/10": Recipe(decay=DECAY / 10)', '"decay/10": Recipe(decay=DECAY / 9)',
         {"decay/10"}),
        ("return (m - 1, m) if k == 0", "return (m - 2, m) if k == 0", {"SdGf-Stepwise"}),
        ("math.exp(-rate * u)", "math.exp(-rate * u / 2)",
         {"dense", "MdGf-Exponential", "MdGf-Exponential 2:4"}),
        ("conv1_t_size=5", "conv1_t_size=3", {arm for kind, arm in NAMES if kind == "ResNet"}),
        ("num_heads=4", "num_heads=2", {arm for kind, arm in NAMES if kind == "ViT"}),
        ("r.decay * where", "2 * r.decay * where", {arm for _, arm in NAMES}),
    ],
)  # fmt: skip
def test_an_edit_of_one_arm_changes_the_jobs_of_no_other(atlas, old, new, arms):
    def jobs(book):
        splits = atlas.train, atlas.val, atlas.test
        build = {"ResNet": partial(book.resnet, width=16), "ViT": book.Transformer}
        return {
            (kind, arm): (book.trial, book.Job(build[kind], recipe, {}, 7, *splits))
            for kind in build for arm, recipe in book.recipes(kind).items()
        }  # fmt: skip

    assert {arm for _, arm in changed_by("structured_sparsity", jobs, old, new)} == arms


# --- scores ---------------------------------------------------------------------------------------


def test_scores_are_means_over_orientations():
    split = data.Split(torch.randint(0, 256, (5, 1, 4, 4)).byte(), torch.tensor([0, 1, 2, 3, 4]))
    x, y = book.turned(split.images, split.labels)
    table = {tuple(a.flatten().tolist()): int(b) for a, b in zip(x, y, strict=True)}

    class Oracle(nn.Module):
        """Knows every answer but those of orientation 3, and nothing of image 2."""

        def forward(self, batch):
            keys = [tuple((255 * a).round().int().flatten().tolist()) for a in batch]
            known = [table[k] for k in keys]
            wrong = [(k % 8 == 3) or (k // 8 == 2) for k in known]
            return F.one_hot(torch.tensor(known) + torch.tensor(wrong), 48).float()

    assert book.scores(Oracle(), split).tolist() == [7 / 8, 7 / 8, 0, 7 / 8, 7 / 8]


# --- the claims -----------------------------------------------------------------------------------


def test_claims_name_arms_that_are_trained():
    arms = {f"{kind} {arm}" for kind, arm in NAMES}
    for claim in claims.chapter_claims("structured_sparsity").values():
        named = [x for v in claim.arms.values() for x in ([v] if isinstance(v, str) else v)]
        assert set(named) <= arms, claim.id
