"""Bones: what they add to the soft tissue in whose place they are, as shares of cortical bone.

A rib is what a tilted slab cuts out of the wall between two ellipsoids, from its head at the spine
to its end in front. Values of bones add where they overlap.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from medbook.phantom.shapes.convex import Boxes, Ellipsoids
from medbook.phantom.thorax.frame import HUGE, SIDES, Frame, Numbers, joined

RIBS = 12
LEVELS = 19  # vertebrae from the sixth of the neck to the fifth of the loin
STEP = 2**16  # pairs of a line and a slab in memory at a time


@dataclass(frozen=True, eq=False)
class Hoops:
    """Where slabs cut the wall between an outer and an inner ellipsoid.

    Attributes:
        outer: (B, 1).
        inner: (B, 1), within the outer one.
        slabs: (B, N) boxes, whose values count.
    """

    outer: Ellipsoids
    inner: Ellipsoids
    slabs: Boxes

    def integrals(self, origin: Tensor, direction: Tensor) -> Tensor:
        """Integrate the values along lines (R, 3): (B, R) float64, in mm."""
        step = max(1, STEP // self.slabs.value.numel())
        pieces = zip(origin.split(step), direction.split(step), strict=True)
        return torch.cat([self._some(*rays) for rays in pieces], -1) * direction.norm(dim=-1)

    def at(self, points: Tensor) -> Tensor:
        """Sum of the values at points (P, 3): (B, P) float64."""
        wall = self.outer.contains(points) & ~self.inner.contains(points)  # (B, 1, P)
        return torch.einsum(
            "bn,bnp->bp", self.slabs.value.double(), (self.slabs.contains(points) & wall).double()
        )

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same with changed parameters."""
        outer, inner = self.outer._map(function), self.inner._map(function)
        return type(self)(outer, inner, self.slabs._map(function))

    def _some(self, origin: Tensor, direction: Tensor) -> Tensor:
        enter, leave = self.slabs._span(origin, direction)  # (B, N, R)
        total = torch.zeros(len(enter), enter.shape[-1], dtype=enter.dtype, device=enter.device)
        for sign, shell in ((1, self.outer), (-1, self.inner)):
            near, far = shell._span(origin, direction)
            length = (torch.minimum(leave, far) - torch.maximum(enter, near)).clamp_(min=0)
            total += sign * (self.slabs.value.double()[:, None] @ length)[:, 0]
        return total


def ribs(f: Frame) -> list[Hoops]:
    """Twelve pairs: a hard shell, and less of it within."""
    u = f.draw.of("ribs").uniform
    number = torch.arange(RIBS, dtype=f.a.dtype, device=f.a.device).expand(f.draw.n, RIBS)
    back = f.apex + 4 * f.s - (f.apex - f.dome + 45 * f.s) / (RIBS - 1) * number  # z at the spine
    forward, outward = u(0.42, 0.60) + 0.012 * number, u(0.16, 0.34)
    tall = f.s * u(5.6, 7.4) * torch.where(number > 9, 0.75, 1.0)  # half the height
    hard = torch.where(f.female, 0.85, 1.0) * (1.05 - 0.4 * f.age) * u(0.8, 1.1)
    hollow = []
    for half, (inner, outer), value in (
        (tall, (2.0, 9.0), 1.0 * hard),
        (tall - 1.5 * f.s, (3.3, 7.7), -0.72 * hard),  # of the shell's bone this much is missing
    ):
        slabs = joined([_slab(f, side, back, forward, outward, half, value) for side in SIDES])
        hollow.append(Hoops(f.cavity(outer), f.cavity(inner), slabs))
    return hollow


def others(f: Frame) -> list[Ellipsoids]:
    """Spine, breast bone, collar bones, shoulder blades and upper arms."""
    return [*_spine(f), *_sternum(f), *_clavicles(f), *_shoulders(f)]


def _slab(
    f: Frame,
    side: int,
    back: Tensor,
    forward: Tensor,
    outward: Tensor,
    half: Tensor,
    value: Tensor,
) -> Boxes:
    """Falls forwards and outwards from z = back at the spine, and ends before the breast bone."""
    one = torch.ones_like(back)
    normal = torch.stack([side * outward * one, forward * one, one], -1)
    normal = torch.nn.functional.normalize(normal, dim=-1)
    ahead = torch.tensor([side * 0.93, -0.36, 0.0]).to(normal)  # towards the cut end
    along = ahead - (normal @ ahead)[..., None] * normal
    along = torch.nn.functional.normalize(along, dim=-1)
    rotation = torch.stack([along, torch.linalg.cross(normal, along), normal], -1)
    x, y = side * 20 * f.s + 0 * back, -f.b - 4 * f.s + 0 * back
    head = torch.stack([x, y, back], -1)
    start = head + along * (f.s * 2)[..., None]
    centre = start + along * HUGE
    return f.boxes(tuple(centre.unbind(-1)), (HUGE, HUGE, half), rotation, value)


def _spine(f: Frame) -> list[Ellipsoids]:
    """Vertebral bodies between hard plates, arches and spinous processes."""
    u, k = f.draw.of("spine").uniform, LEVELS
    number = torch.arange(k, dtype=f.a.dtype, device=f.a.device).expand(f.draw.n, k)
    pitch = (f.apex - f.dome + 45 * f.s) / (RIBS - 1)
    z = f.apex + (2 - number + 0.5) * pitch
    x, y = f.spine_at(z)
    wide = f.s * (12.5 + 0.35 * number) * u(0.95, 1.05)
    tall, deep = 0.40 * pitch, f.s * (10 + 0.25 * number)
    hard = (1.05 - 0.45 * f.age) * u(0.85, 1.15)
    shapes = [
        f.ellipsoids((x, y, z), (1.1 * wide, 1.1 * deep, 1.15 * tall), value=0.30 * hard),
        *(
            f.ellipsoids((x, y, z + end * 0.9 * tall), (wide, deep, 1.4 * f.s), value=0.4 * hard)
            for end in (-1, 1)
        ),
    ]
    behind = y - deep - 9 * f.s
    for side in SIDES:
        shapes.append(f.ellipsoids(
            (x + side * 0.72 * wide, behind + 4 * f.s, z + 0.25 * tall),
            (3.6 * f.s, 6 * f.s, 5.5 * f.s), value=0.7 * hard))  # fmt: skip
        shapes.append(f.ellipsoids(
            (x + side * 1.5 * wide, behind, z + 0.1 * tall), (0.75 * wide, 4 * f.s, 4.5 * f.s),
            lean=side * 0.2, value=0.35 * hard))  # fmt: skip
    shapes.append(
        f.ellipsoids((x, behind - 14 * f.s, z - 0.5 * tall), (2.6 * f.s, 14 * f.s, 8 * f.s),
                     pitch=0.5, value=0.5 * hard))  # fmt: skip
    return shapes


def _sternum(f: Frame) -> list[Ellipsoids]:
    """The body of the breast bone and its handle, along the front wall."""
    u, hard = f.draw.of("sternum").uniform, 0.9 - 0.3 * f.age
    tilt = u(0.15, 0.3)
    shapes: list[Ellipsoids] = []
    for z, tall, wide in ((80, 26, 25), (15, 55, 16)):
        y = f.b * (1 - ((z * f.s - f.z) / f.c) ** 2).clamp(0.05).sqrt() + 3 * f.s
        for less, value in ((0.0, 0.3), (2.0, -0.2)):
            axes = ((wide - less) * f.s, (6 - less) * f.s, (tall - less) * f.s)
            shapes.append(f.ellipsoids((0, y, z * f.s), axes, pitch=tilt, value=value * hard))
    return shapes


def _clavicles(f: Frame) -> list[Ellipsoids]:
    """Each bends forwards in its inner and backwards in its outer half."""
    u = f.draw.of("clavicles").uniform
    rise, middle = u(0, 26), u(4, 12)
    bones: list[Ellipsoids] = []
    radius, hard = f.s * u(5, 6.2), (1.0 - 0.3 * f.age) * torch.where(f.female, 0.85, 1.0)
    for side in SIDES:
        front = f.b * 0.80
        stations = (
            (20, front, 84), (58, front + 4, 89 + 0.4 * rise + middle),
            (100, 0.35 * front, 98 + 0.8 * rise + middle), (142, -6 * f.s, 102 + rise),
        )  # fmt: skip
        points = [_point(f, side * x * f.s, y, z * f.s) for x, y, z in stations]
        start, end = torch.cat(points[:-1], 1), torch.cat(points[1:], 1)
        for share, value in ((1.0, 0.9), (0.6, -0.55)):
            bones.append(f.rods(start, end, share * radius, value * hard))
    return bones


def _shoulders(f: Frame) -> list[Ellipsoids]:
    """Blade, its spine and edge, joint, head and shaft of the upper arm, on either side."""
    u, s = f.draw.of("shoulders").uniform, f.s
    bones: list[Ellipsoids] = []
    hard, out = (1.05 - 0.3 * f.age) * torch.where(f.female, 0.85, 1.0), u(-6, 8) + 18 * f.arms
    for side in SIDES:
        x, y, lean = 118 + out, -0.72 * f.b, side * (0.10 + 0.35 * f.arms)
        blade = f.ellipsoids(
            (side * x * s, y, 48 * s), (30 * s, 2.6 * s, 62 * s), -lean, 0.15, -side * 0.55,
            value=0.55 * hard)  # fmt: skip
        bones.append(blade)
        tip, joint = (side * (x - 8) * s, y - 6 * s, -12 * s), (side * 148 * s, -8 * s, 92 * s)
        edge = [_point(f, *tip), _point(f, side * (x + 12) * s, y + 2 * s, 40 * s),
                _point(f, *joint)]  # fmt: skip
        bones.append(f.rods(torch.cat(edge[:2], 1), torch.cat(edge[1:], 1), 3.6 * s, 0.6 * hard))
        ridge = [_point(f, side * (x - 24) * s, y - 14 * s, 86 * s),
                 _point(f, side * 156 * s, -22 * s, 112 * s)]  # fmt: skip
        bones.append(f.rods(ridge[0], ridge[1], 5 * s, 0.5 * hard))
        bones.append(f.ellipsoids(joint, (9 * s, 12 * s, 17 * s), -side * 0.3, value=0.45 * hard))
        head = (side * (172 + 2 * f.arms) * s, -6 * s, 96 * s)
        elbow = _point(f, side * (192 + 90 * f.arms) * s, -6 * s, -190 * s + 70 * f.arms * s)
        for less, value in ((0.0, 0.5), (2.0, -0.25)):
            radius = 23 * s - less
            bones.append(f.ellipsoids(head, (radius, radius, radius), value=value * hard))
        for r, value in ((12.5, 0.95), (8.0, -0.7)):
            bones.append(f.rods(_point(f, *head), elbow, r * s, value * hard))
    return bones


def _point(f: Frame, x: Numbers, y: Numbers, z: Numbers) -> Tensor:
    """One place in each patient: (n, 1, 3)."""
    return torch.stack(f._all(x, y, z), -1)
