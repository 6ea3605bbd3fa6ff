"""Things that show because of metal in them: a chest drain, a sponge's marker, a needle."""

import math

import torch
from torch import Tensor

from medbook.phantom.shapes.convex import Ellipsoids
from medbook.phantom.thorax.findings import Findings, slots
from medbook.phantom.thorax.frame import AWAY, Frame

PIECES = 10  # of a curve
STRIPE, MARKER, STEEL = 0.16, 0.14, 1.0  # share of iron


def devices(f: Frame, found: Findings) -> dict[str, Ellipsoids]:
    """Rods of metal by kind; those of who has none lie far away."""
    shapes = {"drain": _drain(f, found), "sponge": _sponge(f, found), "needle": _needle(f, found)}
    for kind, rods in shapes.items():
        (slot,) = slots(kind)
        gone = ~found.present[:, slot, None]
        shapes[kind] = Ellipsoids(
            rods.centre + AWAY * gone[..., None], rods.axes, rods.rotation, rods.value * ~gone
        )
    return shapes


def _drain(f: Frame, found: Findings) -> Ellipsoids:
    """From the skin at the side into the chest, then up behind the lung."""
    (slot,) = slots("drain")
    side, place = found.side[:, slot, None], found.place[:, slot]
    low, high = place[:, :1], place[:, 1:2]
    z = f.s * (-30 + 40 * low)
    start = f.a + f.wall + f.rim + 25 * f.s, 0.0 * f.b, z - 18 * f.s
    bend = 0.55 * f.a, -0.35 * f.b, z + 6 * f.s
    end = 0.42 * f.a, -0.3 * f.b, z + f.s * (45 + 50 * high)
    t = torch.linspace(0, 1, PIECES + 1).to(f.a)
    x, y, height = (
        (1 - t) ** 2 * start[axis] + 2 * t * (1 - t) * bend[axis] + t**2 * end[axis]
        for axis in range(3)
    )
    return _curve(f, side * x, y, height, 1.6, STRIPE)


def _sponge(f: Frame, found: Findings) -> Ellipsoids:
    """A ribbon that was folded to and fro, within a hand's breadth."""
    (slot,) = slots("sponge")
    side, place = found.side[:, slot, None], found.place[:, slot]
    t = torch.linspace(0, 1, PIECES + 1).to(f.a)
    wave = 2 * math.pi * (1.5 * t + place[:, :1])
    x = side * f.a * (0.2 + 0.4 * place[:, :1]) + f.s * 17 * torch.sin(wave)
    z = (
        f.dome
        + f.s * (-70 + 80 * place[:, 2:])
        + f.s * (34 * (t - 0.5) + 8 * torch.cos(1.7 * wave))
    )
    y = 0.3 * f.b * (2 * place[:, 1:2] - 1) + f.s * 6 * torch.cos(wave)
    return _curve(f, x, y, z, 1.5, MARKER)


def _needle(f: Frame, found: Findings) -> Ellipsoids:
    """Half a circle of steel, as surgeons use them."""
    (slot,) = slots("needle")
    side, place = found.side[:, slot, None], found.place[:, slot]
    t = torch.linspace(0, math.pi, PIECES + 1).to(f.a) + 2 * math.pi * place[:, 1:2]
    r = 9 * f.s
    x = side * f.a * (0.15 + 0.5 * place[:, :1]) + r * t.cos()
    z = f.dome + f.s * (-60 + 110 * place[:, 2:]) + r * t.sin()
    return _curve(f, x, 0.2 * f.b + 0 * x, z, 0.7, STEEL)


def _curve(f: Frame, x: Tensor, y: Tensor, z: Tensor, radius: float, value: float) -> Ellipsoids:
    """Rods along places (n, K + 1)."""
    places = torch.stack(torch.broadcast_tensors(x, y, z), -1)
    return f.rods(places[:, :-1], places[:, 1:], radius, value)
