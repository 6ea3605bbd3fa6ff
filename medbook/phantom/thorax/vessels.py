"""Branching vessels from the root of each lung, as thin ellipsoids that join."""

from collections.abc import Callable

import torch
from torch import Tensor

from medbook.phantom.shapes.convex import Ellipsoids
from medbook.phantom.thorax.frame import SIDES, Frame, joined
from medbook.phantom.thorax.materials import BLOOD

TRUNKS, FORKS = 11, 4  # main branches in each lung, and generations
LENGTH, RADIUS = (34.0, 27.0, 21.0, 16.0), (4.2, 2.8, 1.8, 1.2)  # mm, by generation


def vessels(f: Frame, density: Tensor) -> Ellipsoids:
    """Trees whose branches fork in two; values are what blood adds to lung of a density."""
    return joined([_tree(f, side, density) for side in SIDES])


def _tree(f: Frame, side: int, density: Tensor) -> Ellipsoids:
    """Of one lung, first the trunks, fanned out from the root."""
    u, k = f.draw.of(f"vessels {side}").uniform, TRUNKS
    fan = torch.linspace(-1.45, 1.25, k).to(f.a) + u(-0.2, 0.2, k)
    direction = _unit(torch.stack([side * fan.cos(), u(-0.7, 0.7, k), fan.sin()], -1))
    low = -8 if side < 0 else 2
    root = torch.stack(f._all(side * 30 * f.s, -0.12 * f.b, (22 + low) * f.s), -1)
    start = root.expand(-1, k, 3) + 6 * f.s[..., None] * direction
    levels = []
    for generation in range(FORKS):
        count = start.shape[1]
        long = f.s * LENGTH[generation] * u(0.7, 1.3, count)
        end = start + long[..., None] * direction
        thick = f.s * RADIUS[generation] * u(0.7, 1.15, count)
        levels.append(f.rods(start, end, thick, (BLOOD - density) + 0 * thick))
        start = end.repeat_interleave(2, 1)
        direction = _forked(u, direction)
    return joined(levels)


def _forked(u: Callable[..., Tensor], direction: Tensor) -> Tensor:
    """Each direction (n, k, 3) twice, bent to two opposite sides."""
    k = direction.shape[1]
    sideways = torch.stack([u(-1, 1, k) for _ in range(3)], -1)
    sideways = _unit(sideways - (sideways * direction).sum(-1, keepdim=True) * direction)
    bend = u(0.25, 0.6, k)[..., None]
    both = torch.stack([direction + bend * sideways, direction - bend * sideways], 2)
    return _unit(both.flatten(1, 2))


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)
