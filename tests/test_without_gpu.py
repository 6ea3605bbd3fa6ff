"""What can be known of a run on a GPU without one: devices and precision."""

import pytest
import torch
from chapter_networks import META, Trained, networks, shapes_alone, there
from torch import Tensor, nn
from torch.nn import functional as F

LARGE, SMALL = networks("gpu"), networks("smoke")


def twice(trained: Trained) -> list[Tensor]:
    """Losses of two steps: in the second there is something in the queue of a contrast."""
    losses = []
    for _ in range(2):
        losses.append(trained.loss(trained.network(trained.images), trained.labels))
        losses[-1].backward()
    return losses


# What is made without a device lies on the CPU: it cannot meet a tensor on `meta`, nor on a GPU.


@pytest.mark.parametrize("name", LARGE)
def test_every_network_and_loss_stays_on_its_device_at_gpu_sizes(name: str) -> None:
    with shapes_alone():
        losses = twice(trained := there(LARGE[name](2)))
    assert {loss.device for loss in losses} == {META}
    gradients = [p.grad for p in trained.network.parameters() if p.grad is not None]
    assert gradients and {g.device for g in gradients} == {META}


class Forgetful(nn.Module):
    """Makes a tensor and does not say where."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x + torch.linspace(0, 1, 4)


def test_a_tensor_made_without_a_device_is_noticed() -> None:
    forgetful = Trained(Forgetful(), torch.zeros(4), torch.zeros(4), F.mse_loss)
    twice(forgetful)
    with pytest.raises(RuntimeError, match="meta"):
        twice(there(forgetful))


@pytest.mark.parametrize("name", SMALL)
def test_a_step_in_bfloat16_gives_nearly_the_loss_and_finite_gradients(name: str) -> None:
    def step(enabled: bool) -> tuple[float, list[Tensor]]:
        torch.manual_seed(0)
        network, images, labels, loss = SMALL[name](8)
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = loss(network(images), labels)
        value.backward()
        return float(value.detach()), [p.grad for p in network.parameters() if p.grad is not None]

    torch.set_num_threads(1)
    (exact, usual), (rounded, gradients) = step(False), step(True)
    assert rounded == pytest.approx(exact, rel=0.03)
    assert len(gradients) == len(usual)
    assert all(torch.isfinite(g).all() for g in gradients)
