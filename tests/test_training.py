"""Training against hand-written loops, and what must not change its result."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medbook.errors import MedbookError
from medbook.learn import training
from medbook.learn.training import TrainingLog, fit, predict, random_shift, weights_digest

N = 30  # not a multiple of the batch size


def numbered_images(n: int = N) -> Tensor:
    """Image i is everywhere i, so that a batch tells which images are in it."""
    return torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 1, 5, 7).clone()


def labels_of(images: Tensor) -> Tensor:
    return images[:, 0, 0, 0].long() % 3


def small_network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(60, 3)
        )


def jitter(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Add noise from the generator that `fit` hands over."""
    return batch + 0.1 * torch.randn(batch.shape, generator=generator)


class Seen:
    """An augmentation that changes nothing and notes the images of each batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        self.batches.append((batch[:, 0, 0, 0] * 255).round().int().tolist())
        return batch


def train(network: nn.Module | None = None, **options: object) -> TrainingLog:
    images = numbered_images()
    settings = {"steps": 8, "seed": 1, "batch_size": 8} | options
    labels = settings.pop("labels", labels_of(images))
    return fit(network or small_network(), images, labels, **settings)  # type: ignore[arg-type]


# ---------------------------------------------------------------- the same seed, the same result


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again = train(augment=jitter), train(augment=jitter)
    assert (first.weights, first.losses) == (again.weights, again.losses)
    assert train(augment=jitter, seed=2).weights != first.weights
    assert train().weights != first.weights
    assert (first.n_train, first.steps, len(first.losses)) == (N, 8, 8)
    assert first.parameters == (4 * 9 + 4) + (4 + 4) + (60 * 3 + 3)
    assert first.seconds > 0


def test_the_same_seed_gives_the_same_weights_with_dropout() -> None:
    digests = set()
    for _ in range(2):
        network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(35, 3))
        network.load_state_dict({"2.weight": torch.ones(3, 35), "2.bias": torch.zeros(3)})
        digests.add(train(network).weights)
    assert len(digests) == 1


def test_fit_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    train()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_order_depends_on_seed_number_and_batch_size_alone() -> None:
    def order(**options: object) -> list[list[int]]:
        seen = Seen()
        train(augment=seen, **options)
        return seen.batches

    usual = order()
    assert order(labels=torch.zeros(N, dtype=torch.long)) == usual
    assert order(network=nn.Sequential(nn.Flatten(), nn.Linear(35, 3))) == usual
    assert order(optimizer="sgd", schedule="onecycle", lr=0.1) == usual
    assert order(steps=3) == usual[:3]
    assert order(seed=2) != usual


def test_every_epoch_holds_every_image_once() -> None:
    seen = Seen()
    train(augment=seen, steps=15)  # 15 * 8 = 4 epochs of 30
    drawn = [i for batch in seen.batches for i in batch]
    epochs = [drawn[k : k + N] for k in range(0, len(drawn), N)]
    assert len(epochs) == 4
    assert all(sorted(epoch) == list(range(N)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_fewer_images_than_a_batch_are_all_taken() -> None:
    seen = Seen()
    log = fit(small_network(), numbered_images(5), torch.zeros(5).long(), steps=2, seed=0,
              augment=seen)  # fmt: skip
    assert [sorted(batch) for batch in seen.batches] == [list(range(5))] * 2
    assert log.n_train == 5


# ---------------------------------------------------------------- the update


def cosine(step: int, steps: int) -> float:
    return (1 + math.cos(math.pi * step / steps)) / 2


def by_hand(batches: list[list[int]], rate: Callable[[int], float], decay: float) -> Tensor:
    """Softmax regression with Nesterov momentum 0.9, gradients written out, in float64."""
    weights, velocity = np.zeros((3, 35)), np.zeros((3, 35))
    for step, batch in enumerate(batches):
        x = np.repeat(np.array(batch)[:, None] / 255, 35, axis=1)  # (B, 35)
        scores = np.exp(x @ weights.T)
        error = scores / scores.sum(1, keepdims=True) - np.eye(3)[np.array(batch) % 3]
        gradient = error.T @ x / len(batch) + decay * weights
        velocity = 0.9 * velocity + gradient
        weights = weights - rate(step) * (gradient + 0.9 * velocity)
    return torch.tensor(weights)


def test_sgd_equals_a_loop_written_by_hand() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(35, 3, bias=False))
    nn.init.zeros_(network[1].weight)
    seen = Seen()
    log = train(network, steps=3, optimizer="sgd", lr=0.5, weight_decay=0.01, augment=seen)
    expected = by_hand(seen.batches, lambda step: 0.5 * cosine(step, 3), decay=0.01)
    assert torch.allclose(network[1].weight.detach().double(), expected, rtol=1e-5, atol=1e-7)
    assert expected.abs().max() > 0.01, "the example must move the weights"
    assert log.losses[0] == pytest.approx(math.log(3), rel=1e-6)


def test_the_first_step_of_adamw_has_the_length_of_the_learning_rate() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(35, 3, bias=False))
    nn.init.constant_(network[1].weight, 0.5)
    train(network, steps=1, lr=0.01, weight_decay=0.1)
    # Adam's first step is lr * sign(gradient), after a decay by lr * weight_decay
    moved = (network[1].weight.detach() - 0.5 * (1 - 0.01 * 0.1)).abs()
    assert torch.allclose(moved, torch.full_like(moved, 0.01), rtol=1e-3)


def test_onecycle_rises_to_lr_and_falls() -> None:
    network, rates = small_network(), []
    update = torch.optim.SGD(network.parameters(), lr=0.3)
    rate = training._schedule(update, "onecycle", 0.3, 20)
    for _ in range(20):
        rates.append(update.param_groups[0]["lr"])
        update.step()
        rate.step()
    assert 0.29 < max(rates) <= 0.3
    peak = rates.index(max(rates))
    assert 0 < peak < 10
    assert rates == [*sorted(rates[:peak]), *sorted(rates[peak:], reverse=True)]
    assert rates[0] < 0.05 > rates[-1]


def test_training_lowers_the_loss_and_leaves_frozen_weights() -> None:
    network = small_network()
    network[0].weight.requires_grad_(False)
    frozen = network[0].weight.clone()
    log = train(network, steps=60, lr=0.02, labels=(torch.arange(N) >= 15).long())
    assert np.mean(log.losses[-5:]) < 0.8 * log.losses[0]
    assert torch.equal(network[0].weight, frozen)
    assert log.parameters == 4 + 8 + 183


def test_another_loss_and_labels_of_another_shape() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1))
    images = numbered_images()
    log = fit(network, images, images.float(), steps=2, seed=0, loss=F.mse_loss)
    assert all(math.isfinite(value) for value in log.losses)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("steps", [3, 60])
def test_a_loss_that_is_not_finite_stops_the_training(steps: int) -> None:
    def explode(batch: Tensor, generator: torch.Generator) -> Tensor:
        return batch * math.nan

    with pytest.raises(MedbookError, match=rf"not finite.*step {min(steps, 50)}: lower lr"):
        train(steps=steps, augment=explode)


@pytest.mark.parametrize(
    ("images", "labels", "steps"),
    [
        (numbered_images().long(), torch.zeros(N), 1),
        (numbered_images(), torch.zeros(N - 1), 1),
        (numbered_images(0), torch.zeros(0), 1),
        (numbered_images(), torch.zeros(N), 0),
    ],
)
def test_fit_refuses_what_it_cannot_train_on(images: Tensor, labels: Tensor, steps: int) -> None:
    with pytest.raises(MedbookError, match=r"give uint8, or float|as many labels, steps >= 1"):
        fit(small_network(), images, labels.long(), steps=steps, seed=0)


@pytest.mark.parametrize("wrong", [{"optimizer": "adam"}, {"schedule": "linear"}])
def test_unknown_names_are_refused_with_the_known_ones(wrong: dict[str, str]) -> None:
    with pytest.raises(MedbookError, match=f"'{next(iter(wrong.values()))}': choose"):
        train(**wrong)


# ---------------------------------------------------------------- prediction, shift, digest


class Halves(nn.Module):
    """Gives the mean of an image; in training mode nothing but zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 1) if self.training else x.mean((1, 2, 3))[:, None]


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_predict_keeps_the_order_and_evaluates(batch_size: int) -> None:
    found = predict(Halves(), numbered_images(), batch_size)
    assert found.dtype == torch.float32
    assert torch.allclose(found[:, 0], torch.arange(N) / 255)
    assert not found.requires_grad


def test_predict_does_not_move_batch_statistics() -> None:
    network = small_network()
    before = weights_digest(network)
    first = predict(network, numbered_images())
    assert weights_digest(network) == before
    assert torch.allclose(predict(network, numbered_images()[:1]), first[:1], atol=1e-6)


@pytest.mark.parametrize(
    ("pixels", "shape", "dtype"),
    [
        (2, (40, 3, 5, 7), torch.float64),
        (1, (30, 1, 4, 4), torch.float32),
        (3, (60, 2, 1, 2), torch.float64),
    ],
)
def test_random_shift_equals_a_loop_over_pixels(
    pixels: int, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = torch.rand(shape, dtype=dtype, generator=generator)
    before = batch.clone()
    moved = random_shift(pixels)(batch, generator)
    assert (moved.shape, moved.dtype) == (batch.shape, dtype)
    assert torch.equal(batch, before), "the batch itself is left alone"
    steps = range(-pixels, pixels + 1)
    used = set()
    for image, result in zip(batch, moved, strict=True):
        fitting = [
            (a, b) for a in steps for b in steps if torch.equal(shifted(image, a, b), result)
        ]
        assert fitting, "the result is no shift of the image"
        used.update(fitting)
    assert len({a for a, _ in used}) == len({b for _, b in used}) == 2 * pixels + 1


def shifted(image: Tensor, down: int, right: int) -> Tensor:
    """Pixel by pixel, the nearest pixel of the image where the shift leaves it."""
    result = torch.empty_like(image)
    _, h, w = image.shape
    for y in range(h):
        for x in range(w):
            result[:, y, x] = image[:, min(max(y + down, 0), h - 1), min(max(x + right, 0), w - 1)]
    return result


def test_a_shift_of_no_pixels_changes_nothing() -> None:
    batch = torch.rand(3, 1, 4, 5)
    assert torch.equal(random_shift(0)(batch, torch.Generator()), batch)


def test_the_digest_changes_with_one_weight_or_buffer_and_not_with_memory_order() -> None:
    network = small_network()
    digest = weights_digest(network)
    assert weights_digest(small_network()) == digest
    assert weights_digest(network.to(memory_format=torch.channels_last)) == digest
    with torch.no_grad():
        network[0].weight[3, 0, 2, 1] += 1e-6
    changed = weights_digest(network)
    network[1].num_batches_tracked += 1
    assert len({digest, changed, weights_digest(network)}) == 3


def test_float_images_reach_the_network_as_they_are() -> None:
    images = torch.linspace(-3, 7, N * 35).reshape(N, 1, 5, 7)
    seen: list[Tensor] = []

    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach())
            return self.gain * x

    fit(Watch(), images, images, steps=1, seed=0, loss=lambda a, b: (a - b).square().mean())
    assert torch.equal(torch.cat(seen).flatten().sort().values, images.flatten().sort().values)
    assert torch.equal(predict(nn.Identity(), images), images)


def test_a_gradient_is_shortened_to_the_asked_norm():
    """One step of gradient descent with rate 1 moves by at most twice the norm (momentum)."""
    images, labels = torch.rand(8, 1, 4, 4), 100 * torch.rand(8, 2)
    moved = {}
    for clip in (None, 1e-3):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        before = [p.detach().clone() for p in net.parameters()]
        options = {
            "optimizer": "sgd",
            "lr": 1.0,
            "weight_decay": 0.0,
            "loss": nn.functional.mse_loss,
        }
        fit(net, images, labels, steps=1, seed=0, clip=clip, **options)
        change = [(p - q).detach().flatten() for p, q in zip(net.parameters(), before, strict=True)]
        moved[clip] = float(torch.cat(change).norm())
    assert moved[None] > 1 > 2.1e-3 > moved[1e-3] > 0
