"""The estimate for a GPU counts what can be counted by hand."""

import sys
from pathlib import Path

import pytest
import torch
from chapter_networks import META, Trained
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "ci/bench"))
import gpu


def test_a_step_is_counted_as_by_hand() -> None:
    network = nn.Sequential(nn.Linear(100, 50, bias=False), nn.Linear(50, 10, bias=False)).to(META)
    images, labels = torch.zeros(4, 100, device=META), torch.zeros(4, 10, device=META)
    found = gpu.count(Trained(network, images, labels, F.mse_loss))
    assert found.parameters == 100 * 50 + 50 * 10
    first, second = 2 * 4 * 100 * 50, 2 * 4 * 50 * 10
    # forwards, weight gradients, and the gradient of what lies between the layers
    assert found.flops == 2 * first + 3 * second
    kept = 4 * (images.numel() + 4 * 50 + labels.numel() + 4 * 10)  # activations, in bytes
    assert kept <= found.saved <= kept + 4 * found.parameters
    products, loss = 5, 3  # mean squared error, the start of its gradient, and that gradient
    assert found.operations == products + loss


def test_a_step_takes_as_long_as_python_or_the_arithmetic() -> None:
    host = gpu.Counted(1, operations=1000, flops=0.0, saved=0)
    device = gpu.Counted(1, operations=1, flops=gpu.TFLOPS * 1e12, saved=0)
    assert host.ms == pytest.approx(gpu.UPDATE_MS + 10)
    assert device.ms == pytest.approx(gpu.UPDATE_MS + 1000)


@pytest.mark.parametrize("chapter", gpu.STEPS)
def test_steps_are_those_of_the_chapter(chapter: str) -> None:
    assert 100 <= gpu.steps_of(chapter, "gpu") <= 2000
    assert gpu.steps_of(chapter, "smoke") < gpu.steps_of(chapter, "laptop")
