"""The order in memory of networks and batches; gradients in it, on more than this processor."""

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from chapter_networks import Trained, networks
from torch import Tensor, nn

from medbook.learn import memory_order
from medbook.learn.memory_order import arrange, contiguous, endangered
from medbook.learn.training import fit, random_shift

# oneDNN's and torch's own switches: kernels of a processor with AVX2 and no AVX-512
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
CASES = {(p, name): build for p in ("smoke", "laptop") for name, build in networks(p).items()}
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Conv2d(4, 8, 1, stride=2),
    "rows alone": lambda: nn.Conv2d(5, 8, 1, stride=(2, 1)),
    "columns alone": lambda: nn.Conv2d(6, 8, 1, stride=(1, 2)),
    "groups": lambda: nn.Conv2d(8, 8, 1, stride=2, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(16, 4, 1, stride=2),
    "volumes": lambda: nn.Conv3d(4, 8, 1, stride=2),
}
SAFE: dict[str, Callable[[], nn.Module]] = {
    "many channels": lambda: nn.Conv2d(16, 8, 1, stride=2),
    "not strided": lambda: nn.Conv2d(4, 8, 1),
    "3 x 3": lambda: nn.Conv2d(4, 8, 3, stride=2),
    "no convolution": lambda: nn.Linear(4, 8),
}


def last(x: Tensor) -> Tensor:
    """The same numbers with the channels last, also where there is one channel."""
    order = (0, *range(2, x.ndim), 1)
    return x.permute(order).clone(memory_format=torch.contiguous_format).movedim(-1, 1)


def batch_for(layer: nn.Module) -> Tensor:
    size = (7, 9, 10) if isinstance(layer, nn.Conv3d) else (28, 28)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(32, layer.in_channels, *size, generator=generator)


def gradients(network: nn.Module, loss: Callable[[], Tensor]) -> list[Tensor]:
    torch.manual_seed(0)  # of losses that draw
    network.zero_grad()
    loss().backward()
    return [p.grad.clone() for p in network.parameters() if p.grad is not None]


def furthest(found: list[Tensor], expected: list[Tensor]) -> float:
    """Largest relative distance of a parameter's gradient; those of next to nothing count less."""
    pairs = list(zip(found, expected, strict=True))
    whole = sum(float(b.square().sum()) for _, b in pairs) ** 0.5
    return max(float((a - b).norm() / (b.norm() + 1e-3 * whole)) for a, b in pairs)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize(("profile", "name"), CASES, ids=lambda part: part)
def test_gradients_of_a_chapter_equal_those_in_contiguous_order(profile: str, name: str) -> None:
    def built() -> Trained:
        torch.manual_seed(0)
        return CASES[profile, name](8)

    torch.set_num_threads(1)
    usual, x, labels, loss = built()
    for layer in usual.modules():
        layer._forward_pre_hooks.clear()
    for weight in usual.parameters():
        weight.data = contiguous(weight.data)
    expected = gradients(usual, lambda: loss(usual(contiguous(x)), labels))
    network, x, labels, loss = built()
    arrange(network, x)
    found = gradients(network, lambda: loss(network(last(x)), labels))
    # Rounding puts a few units on the other side of their ReLU; other numbers would be 1 apart.
    assert furthest(found, expected) < 0.1


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_a_layer_at_risk_equal_those_in_contiguous_order(name: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = LAYERS[name]()
    x = batch_for(network)
    expected = gradients(network, lambda: network(x).square().mean())
    for weight in network.parameters():  # as in a network that others have put in order
        weight.data = last(weight.data) if weight.ndim > 1 else weight.data
    arrange(network, x)
    for _ in range(3):  # what is written past the end need not be noticed at once
        found = gradients(network, lambda: network(last(x)).square().mean())
        assert furthest(found, expected) < 1e-5


def test_both_hold_on_a_processor_without_avx512() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", __file__, "-k", "gradients", "-p", "no:cacheprovider"],
        cwd=Path(__file__).parents[1], env=os.environ | AVX2, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-3000:]}{done.stderr}"
    assert f"{len(CASES) + len(LAYERS)} passed" in done.stdout


# ---------------------------------------------------------------- the decision


@pytest.mark.parametrize("name", LAYERS)
def test_a_network_with_a_layer_at_risk_stays_contiguous(name: str) -> None:
    network = nn.Sequential(nn.Identity(), LAYERS[name]())
    assert endangered(network[1])
    weight = arrange(network, torch.zeros(1, 1, 1, 1))[1].weight
    assert weight.stride() == torch.empty(weight.shape).stride()


@pytest.mark.parametrize("name", SAFE)
def test_any_other_network_has_its_channels_last(name: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), SAFE[name]())
    assert not endangered(network[1])
    assert arrange(network, torch.zeros(1, 1, 1, 1))[0].weight.stride() == (27, 1, 9, 3)
    assert not network[1]._forward_pre_hooks


def test_images_without_two_dimensions_leave_the_order_alone() -> None:
    network = nn.Conv2d(3, 4, 3)
    assert arrange(network, torch.zeros(2, 5)).weight.stride() == (27, 9, 3, 1)


def test_other_devices_have_the_channels_last_whatever_the_layers() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 1, stride=2))
    arranged = arrange(network, torch.zeros(1, 1, 1, 1, device="meta"))
    assert arranged[0].weight.device.type == "meta"
    assert arranged[0].weight.stride() == (27, 1, 9, 3)
    assert not arranged[1]._forward_pre_hooks


class Seen(nn.Module):
    """Notes the strides of what a layer gets."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.strides = layer, []
        layer.register_forward_hook(lambda _, given, __: self.strides.append(given[0].stride()))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(last(x)).mean((2, 3))


@pytest.mark.parametrize("channels", [1, 4])
def test_the_layer_gets_contiguous_batches_in_fit_and_from_other_layers(channels: int) -> None:
    seen = Seen(nn.Conv2d(channels, 8, 1, stride=2))
    x = torch.rand(6, channels, 5, 7)
    augment = random_shift(1)
    assert augment(x, torch.Generator()).stride() == (35 * channels, 1, 7 * channels, channels)
    fit(seen, x, torch.zeros(6).long(), steps=2, seed=0, batch_size=3, augment=augment)
    assert set(seen.strides) == {(35 * channels, 35, 7, 1)}


def test_arranging_twice_copying_and_pickling_keep_one_guard() -> None:
    network, images = nn.Conv2d(4, 8, 1, stride=2), torch.zeros(1, 1, 1, 1)
    arrange(arrange(network, images), images)
    for one in (network, copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert list(one._forward_pre_hooks.values()) == [memory_order._contiguous_batch]
