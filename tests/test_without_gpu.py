"""What can be known of a run on a GPU without one: devices and precision."""

import math
from contextlib import nullcontext

import pytest
import torch
from chapter_networks import BOOKS, Trained, networks
from torch import Tensor, nn
from torch.nn import functional as F

from medbook.physics.sparse import SparseOperator

# What is made without a device lies on the CPU: it cannot meet a tensor on `meta`, nor on a GPU.
META = torch.device("meta")
LARGE, SMALL = networks("gpu"), networks("smoke")


def there(trained: Trained) -> Trained:
    """Weights and data on `meta`; counters stay, as there is no number to read."""
    for module in trained.network.modules():
        for tensors in (module._parameters, module._buffers):
            for name, x in tensors.items():
                if x is not None and x.is_floating_point():
                    tensors[name] = x.to(META) if x.is_leaf and not x.requires_grad else _weight(x)
    return trained._replace(images=trained.images.to(META), labels=trained.labels.to(META))


def _weight(x: Tensor) -> nn.Parameter:
    return nn.Parameter(x.detach().to(META))


def twice(trained: Trained) -> list[Tensor]:
    """Losses of two steps: in the second there is something in the queue of a contrast."""
    losses = []
    for _ in range(2):
        losses.append(trained.loss(trained.network(trained.images), trained.labels))
        losses[-1].backward()
    return losses


@pytest.fixture
def shapes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks at numbers, or is unknown to `meta`, replaced by something of the same shape."""

    def product(
        self: SparseOperator, x: Tensor, given: tuple[int, ...], wanted: tuple[int, ...], **_: bool
    ) -> Tensor:
        matrix = torch.zeros(math.prod(given), math.prod(wanted), device=x.device)
        rows = x.reshape(-1, len(matrix)).float()
        return (rows @ matrix).reshape(*x.shape[: x.ndim - len(given)], *wanted)

    monkeypatch.setattr(SparseOperator, "_apply", product)
    monkeypatch.setattr(nn.modules.transformer, "_detect_is_causal_mask", lambda *_: False)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(BOOKS["sparse_view_ct"], "band", lambda z: F.normalize(z.flatten(1), dim=1))
    monkeypatch.setattr(BOOKS["image_text_pretraining"], "one_of", lambda ways: ways[:, 0].long())


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.usefixtures("shapes_alone")
def test_every_network_and_loss_stays_on_its_device_at_gpu_sizes(name: str) -> None:
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
