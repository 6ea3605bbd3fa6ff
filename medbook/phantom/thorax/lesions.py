"""Shapes of the findings, painted into the lungs that they change."""

import torch
from torch import Tensor

from medbook.phantom.shapes.base import Convex
from medbook.phantom.shapes.convex import Boxes, Ellipsoids, Intersection
from medbook.phantom.thorax.findings import NAMES, SLOTS, Findings, slots
from medbook.phantom.thorax.frame import AWAY, HUGE, Frame, Numbers
from medbook.phantom.thorax.materials import AIR, MUSCLE, WATER
from medbook.phantom.thorax.organs import LABELS, Lungs, Paint

BEHIND = {"nodule": (-0.62, -0.12), "mass": (-0.55, -0.1), "consolidation": (-0.5, 0.0)}


def lesions(f: Frame, paint: Paint, lungs: Lungs, found: Findings) -> None:
    """Paint pleural air and fluid, consolidation, mass and nodules: the smaller ones on top."""
    _pleural_air(f, paint, lungs, found)
    for slot in slots("effusion"):
        _fluid(f, paint, lungs, found, slot)
    for kind in ("consolidation", "mass", "nodule"):
        for slot in slots(kind):
            _round(f, paint, lungs, found, slot)


def centre(f: Frame, found: Findings, slot: int) -> tuple[Tensor, Tensor, Tensor]:
    """x, y, z of a finding in its zone, clear of wall, dome and heart: (n, 1) each."""
    low, high = BEHIND[SLOTS[slot]]
    across, forwards, up = (found.place[:, slot, axis, None] for axis in range(3))
    r = 0.5 * found.size[:, slot, None].clamp(max=70)
    floor, roof = f.dome + 6 * f.s, f.apex - 18 * f.s
    zone = found.zone[:, slot, None]
    share = (zone + 0.5 + 0.7 * (up - 0.5)) / 3
    z = (floor + share * (roof - floor)).clamp(max=f.apex - 10 * f.s - r)
    beside = (zone == 2) | (found.side[:, slot, None] < 0)  # the heart; elsewhere behind it
    y = f.b * (low + (high - low) * forwards * torch.where(beside, 1.0, 0.2))
    outer = f.width_at(z, y) - r - 4 * f.s - _gap(found, found.side[:, slot])
    inner = torch.minimum(outer, 34 * f.s + 0.5 * r)
    return found.side[:, slot, None] * (inner + across * (outer - inner)), y, z


def _gap(found: Findings, side: Tensor) -> Tensor:
    """How far the lung of a side (n,) fell back from the wall, mm: (n, 1)."""
    (slot,) = slots("pneumothorax")
    fallen = found.present[:, slot] & (found.side[:, slot] == side)
    return (found.size[:, slot] * fallen)[:, None]


def _round(f: Frame, paint: Paint, lungs: Lungs, found: Findings, slot: int) -> None:
    """A solid ball, or a cloud with a denser core: wherever there is lung on its side."""
    u, kind = f.draw.of(f"{NAMES[slot]}, shape").uniform, SLOTS[slot]
    there = found.present[:, slot, None]
    x, y, z = centre(f, found, slot)
    r, side = 0.5 * found.size[:, slot, None], found.side[:, slot, None]
    oval = u(0.85, 1.0), u(0.85, 1.0)
    turn = u(-0.8, 0.8)
    whole = f.ellipsoids(
        (torch.where(there, x, AWAY), y, z), (r, oval[0] * r, oval[1] * r), turn)  # fmt: skip
    layers = [(whole, MUSCLE if kind != "consolidation" else u(0.5, 0.62))]
    if kind == "consolidation":
        core = f.ellipsoids(
            (torch.where(there, x, AWAY), y, z),
            (0.72 * r, 0.7 * oval[0] * r, 0.72 * r), turn)  # fmt: skip
        layers.append((core, u(0.78, 0.95)))
    for shape, density in layers:
        paint.add("lesion", density, _in_lung(shape, lungs, side), slot=slot)


def _in_lung(shape: Convex, lungs: Lungs, side: Tensor) -> Intersection:
    """What a shape shares with the lung of its side."""
    right, left = lungs.shapes
    first, second = _choose(right.first, left.first, side), _choose(right.second, left.second, side)
    return Intersection(Intersection(shape, first, shape.value), second, shape.value)


def _choose(right: Convex, left: Convex, side: Tensor) -> Ellipsoids:
    """Of two, the one of each patient's side."""
    assert isinstance(right, Ellipsoids) and isinstance(left, Ellipsoids)
    chosen = (
        torch.where((side > 0).view(-1, *(1,) * (r.ndim - 1)), left_, r)
        for r, left_ in zip(right._tensors(), left._tensors(), strict=True)
    )
    return Ellipsoids(*chosen)


def _pleural_air(f: Frame, paint: Paint, lungs: Lungs, found: Findings) -> None:
    """Air in the whole half of the chest, and on it the lung that fell back from the side.

    Seen from the front the lung's edge is a line: the ellipsoid that is left of it is far deeper
    than the chest.
    """
    (slot,) = slots("pneumothorax")
    there, side = found.present[:, slot, None], found.side[:, slot, None]
    gap = found.size[:, slot, None]
    air = f.ellipsoids((torch.where(there, 0.0, AWAY), 0, f.z), (2 * f.a, 2 * f.b, 2 * f.c))
    paint.add("pleural air", AIR, _in_lung(air, lungs, side), slot=slot)
    inner = -45 * f.s  # beyond the midline: the mediastinum covers the other edge
    half = (0.97 * f.a - gap - inner) / 2
    fallen = f.ellipsoids(
        (torch.where(there, side * (inner + half), AWAY), 0, f.dome - 20 * f.s),
        (half, 12 * f.b, f.apex - f.dome + 20 * f.s - 0.9 * gap), -side * 0.02)  # fmt: skip
    denser = lungs.density * (1 + 0.012 * gap)
    name = torch.where(side > 0, LABELS.index("left lung"), LABELS.index("right lung"))
    paint.add(name, denser, _in_lung(fallen, lungs, side))


def _fluid(f: Frame, paint: Paint, lungs: Lungs, found: Findings, slot: int) -> None:
    """Below a level, and below planes that climb the wall: together a meniscus."""
    there, side = found.present[:, slot, None], found.side[:, slot, None]
    edge = f.dome - 45 * f.s  # where the dome meets the wall, about
    level = edge + 0.72 * found.size[:, slot, None]
    rise = found.size[:, slot, None] * 0.5
    for wall, slope in ((0.0 * rise, 0.05), (0.45 * rise, 0.5), (rise, 1.8)):
        at = torch.where(there, side * (0.97 * f.a), AWAY)
        plane = _below(f, at, level + wall, slope * side)
        paint.add("pleural fluid", WATER, _in_lung(plane, lungs, side), slot=slot)


def _below(f: Frame, x: Tensor, z: Tensor, slope: Numbers) -> Boxes:
    """The half-space below a plane through (x, 0, z) that climbs with x."""
    slope = slope + 0 * f.a
    norm = (1 + slope**2).sqrt()
    zero = torch.zeros_like(slope)
    along = torch.stack([1 / norm, zero, slope / norm], -1)
    normal = torch.stack([-slope / norm, zero, 1 / norm], -1)
    rotation = torch.stack([along, torch.linalg.cross(normal, along), normal], -1)
    far = [x - HUGE * normal[..., 0], zero, z - HUGE * normal[..., 2]]
    return f.boxes(tuple(far), (HUGE, HUGE, HUGE), rotation)
