"""Training of a network on images that lie on the device, batches by index."""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from medbook.errors import MedbookError
from medbook.kernel import live
from medbook.learn.memory_order import arrange
from medbook.refuse import need, told

IGNORED = -100  # a label that cross-entropy leaves out
CHECK_EVERY = 50  # steps between two looks at the loss: each look waits for the GPU

Augment = Callable[[Tensor, torch.Generator], Tensor]
Loss = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class TrainingLog:
    """What a call of `fit` did.

    Attributes:
        losses: one mean loss a step.
        n_train: number of training images.
        steps: number of optimiser steps.
        parameters: number of trained parameters.
        seconds: wall time.
        weights: digest of the trained weights.
    """

    losses: tuple[float, ...]
    n_train: int
    steps: int
    parameters: int
    seconds: float
    weights: str


def fit(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    seed: int,
    batch_size: int = 128,
    optimizer: str = "adamw",
    lr: float = 1e-3,
    weight_decay: float = 1e-4,
    schedule: str = "cosine",
    augment: Augment | None = None,
    loss: Loss = F.cross_entropy,
    clip: float | None = None,
) -> TrainingLog:
    """Train a network in place.

    The order of the images depends on `seed`, the number of images and the batch size alone, so
    arms that share them see the same images in the same order.

    Args:
        network: maps a batch of images to what `loss` takes; on the device of the images.
        images: (N, C, H, W) uint8, which the network gets in [0, 1], or float, as they are.
        labels: (N, ...) whatever `loss` compares with; for cross-entropy int64 classes.
        steps: optimiser steps, >= 1.
        seed: of order and augmentation.
        batch_size: images a step, >= 1 (all of them if there are fewer).
        optimizer: "adamw" or "sgd" (Nesterov momentum 0.9).
        lr: peak learning rate.
        weight_decay: of the optimiser.
        schedule: "cosine" or "onecycle".
        augment: maps a float batch and a generator to a batch of the same shape.
        loss: maps network output and labels to a scalar.
        clip: gradients of a larger norm are shortened to it; left out, none is.

    Raises:
        MedbookError: a loss that is not finite, or arguments that do not fit.

    >>> data = torch.zeros(8, 1, 4, 4, dtype=torch.uint8), torch.zeros(8, dtype=torch.long)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    >>> fit(net, *data, steps=3, seed=0).n_train
    8
    """
    _need_images(images, batch_size)
    need(
        len(images) == len(labels) > 0 and steps >= 1 and 0 < lr < math.inf,
        f"fit takes images, as many labels, steps >= 1 and lr > 0, not {told(images)}, labels "
        f"{told(labels)}, {steps} steps, lr {lr}",
    )
    start, device = time.perf_counter(), images.device
    arrange(network, images).train()
    update = _optimizer(network, optimizer, lr, weight_decay)
    rate = _schedule(update, schedule, lr, steps)
    order = torch.Generator().manual_seed(seed)  # on the CPU: the same on every device
    noise = torch.Generator(device).manual_seed(seed)
    losses: list[Tensor] = []
    batches = _batches(len(images), batch_size, steps, order).to(device)
    bar = tqdm(total=steps, desc="training", disable=not live(), leave=False)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for step, index in enumerate(batches):
            torch.manual_seed(seed + step)  # of dropout
            batch = _unit_range(images[index])
            if augment is not None:
                batch = augment(batch, noise)
            with torch.autocast(device.type, torch.bfloat16, enabled=_has_bf16(device)):
                output = network(batch)
                if step == 0 and loss is F.cross_entropy:
                    _need_classes(output, labels)
                value = loss(output, labels[index])
            update.zero_grad(set_to_none=True)
            value.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(network.parameters(), clip)
            update.step()
            rate.step()
            losses.append(value.detach())
            bar.update()
            if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
                _refuse_nan(losses[-CHECK_EVERY:], step + 1)
    bar.close()
    return TrainingLog(
        losses=tuple(torch.stack([v.float().cpu() for v in losses]).tolist()),
        n_train=len(images),
        steps=steps,
        parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
        seconds=time.perf_counter() - start,
        weights=weights_digest(network),
    )


@torch.no_grad()
def predict(network: nn.Module, images: Tensor, batch_size: int = 512) -> Tensor:
    """Outputs of a network in evaluation mode, on the CPU in float32.

    Args:
        network: maps (B, C, H, W) to (B, ...).
        images: (N, C, H, W) uint8 or float, as in `fit`.
        batch_size: images at a time, >= 1.

    Returns:
        (N, ...) float32.

    Raises:
        MedbookError: images of another type, or no batch.

    >>> predict(nn.Flatten(), torch.full((3, 1, 1, 1), 255, dtype=torch.uint8)).tolist()
    [[1.0], [1.0], [1.0]]
    """
    _need_images(images, batch_size)
    network.eval()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=_has_bf16(images.device)):
        parts = [network(_unit_range(batch)) for batch in images.split(batch_size)]
    return torch.cat(parts).float().cpu()


@torch.no_grad()
def reconstruct(network: nn.Module, given: Tensor, batch_size: int = 32) -> Tensor:
    """Images of a trained network, on the CPU, computed in float32 throughout.

    Unlike `predict`, which scores classes, it never rounds to bfloat16: a PSNR would show it.

    Args:
        network: maps (B, ...) to images (B, C, H, W).
        given: (N, ...) what the network gets, float.
        batch_size: items at a time.

    Returns:
        (N, C, H, W) float32.

    >>> reconstruct(nn.Identity(), torch.ones(3, 1, 2, 2), batch_size=2).shape
    torch.Size([3, 1, 2, 2])
    """
    need(batch_size >= 1, f"batch_size is {batch_size}: take at least 1 item at a time")
    network.eval()
    return torch.cat([network(batch) for batch in given.split(batch_size)]).float().cpu()


def random_shift(pixels: int) -> Augment:
    """Augmentation that moves each image by up to `pixels` along both axes, edges repeated.

    >>> random_shift(2)(torch.ones(3, 1, 5, 5), torch.Generator()).shape
    torch.Size([3, 1, 5, 5])
    """
    need(pixels >= 0, f"pixels is {pixels}: give the largest shift, >= 0")

    def shift(batch: Tensor, generator: torch.Generator) -> Tensor:
        b, _, h, w = batch.shape
        dy, dx = torch.randint(
            -pixels, pixels + 1, (2, b, 1), generator=generator, device=batch.device
        )
        rows = (torch.arange(h, device=batch.device) + dy).clamp(0, h - 1)  # (B, H)
        columns = (torch.arange(w, device=batch.device) + dx).clamp(0, w - 1)  # (B, W)
        which = torch.arange(b, device=batch.device)[:, None, None]
        moved = batch.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]
        return moved.permute(0, 3, 1, 2)  # (B, C, H, W) in channels_last order

    return shift


def weights_digest(network: nn.Module) -> str:
    """Sixteen hex digits over all weights and buffers of a network.

    >>> len(weights_digest(nn.Linear(2, 1)))
    16
    """
    sha = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()[:16]


def _need_images(images: Tensor, batch_size: int) -> None:
    readable = images.dtype == torch.uint8 or images.is_floating_point()
    need(readable, f"images are {told(images)}: give uint8, or float in the network's range")
    need(batch_size >= 1, f"batch_size is {batch_size}: take at least 1 image at a time")


def _need_classes(output: Tensor, labels: Tensor) -> None:
    """What cross-entropy takes for outputs (B, K, ...): classes (N, ...), or shares (N, K, ...)."""
    classes = output.shape[1] if output.ndim > 1 else 0
    if labels.is_floating_point():
        need(
            labels.shape[1:] == output.shape[1:],
            f"labels are {told(labels)}: give int64 classes, or shares of {classes} classes",
        )
        return
    shape = (len(labels), *output.shape[2:])
    need(
        labels.dtype == torch.int64 and labels.shape == shape,
        f"labels are {told(labels)}: for outputs {told(output)} give int64 classes {shape}",
    )
    low, high = int(labels.min()), int(labels.max())
    need(
        (low >= 0 or low == IGNORED) and high < classes,
        f"labels range from {low} to {high}: the network tells {classes} classes apart, "
        f"0 to {classes - 1}",
    )


def _unit_range(batch: Tensor) -> Tensor:
    """What the network gets: of uint8 0 to 255 as 0 to 1."""
    return batch.float().div_(255) if batch.dtype == torch.uint8 else batch


def _batches(n: int, size: int, steps: int, generator: torch.Generator) -> Tensor:
    """Indices (steps, size) of the batches: permutation after permutation, none left out."""
    size = min(size, n)
    epochs = math.ceil(steps * size / n)
    order = torch.cat([torch.randperm(n, generator=generator) for _ in range(epochs)])
    return order[: steps * size].view(steps, size)


def _has_bf16(device: torch.device) -> bool:
    """True on GPUs that compute in bfloat16 (Ampere and later)."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8


def _optimizer(
    network: nn.Module, name: str, lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    weights = network.parameters()
    options: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
    if name == "adamw":
        return torch.optim.AdamW(weights, **options)
    if name == "sgd":
        return torch.optim.SGD(weights, momentum=0.9, nesterov=True, **options)
    raise MedbookError(f"unknown optimizer {name!r}: choose adamw or sgd")


def _schedule(
    update: torch.optim.Optimizer, name: str, lr: float, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if name == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(update, steps)
    if name == "onecycle":
        # one step more than is taken: the scheduler is also asked after the last one
        return torch.optim.lr_scheduler.OneCycleLR(update, max_lr=lr, total_steps=steps + 1)
    raise MedbookError(f"unknown schedule {name!r}: choose cosine or onecycle")


def _refuse_nan(losses: list[Tensor], step: int) -> None:
    if not torch.isfinite(torch.stack(losses)).all():
        raise MedbookError(
            f"the loss is not finite at or shortly before step {step}: lower lr or check the input"
        )
