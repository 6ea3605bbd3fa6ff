"""Soft tissue: shapes in the order in which they are painted, with density and label.

First fat, muscle in it, the lungs in that, then what has its place in the lungs: findings, heart
and vessels of the mediastinum, the domes of the diaphragm; last the air in windpipe and stomach.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from medbook.phantom.shapes.base import Convex
from medbook.phantom.shapes.convex import Ellipsoids, Intersection
from medbook.phantom.thorax.frame import HUGE, SIDES, Frame, Numbers
from medbook.phantom.thorax.materials import AIR, BLOOD, FAT, LIVER, MUSCLE

LABELS = (
    "air", "fat", "muscle", "right lung", "left lung", "lesion", "pleural fluid", "pleural air",
    "mediastinum", "heart", "aorta", "airway", "abdomen", "stomach gas", "bone", "metal",
)  # fmt: skip


@dataclass
class Paint:
    """Shapes with densities (as water), labels and findings, in the order of painting.

    Each shape, density and label is (n, 1); the slot is that of a finding, or -1.
    """

    shapes: list[Convex] = field(default_factory=list)
    density: list[Tensor] = field(default_factory=list)
    label: list[Tensor] = field(default_factory=list)
    slot: list[int] = field(default_factory=list)

    def add(self, label: str | Tensor, density: Numbers, *shapes: Convex, slot: int = -1) -> None:
        """Paint single shapes (n, 1) over all that is there."""
        for shape in shapes:
            self.shapes.append(shape)
            self.density.append(density + torch.zeros_like(shape.value))
            number = LABELS.index(label) if isinstance(label, str) else label
            self.label.append(number + torch.zeros_like(shape.value, dtype=torch.long))
            self.slot.append(slot)


@dataclass(frozen=True)
class Lungs:
    """The right and the left lung before anything has its place in them, and their density."""

    shapes: tuple[Intersection, Intersection]
    density: Tensor


def body(f: Frame, paint: Paint) -> None:
    """Trunk, neck, shoulders, arms and breasts of fat, with muscle within."""
    u, s, rim = f.draw.of("body").uniform, f.s, f.rim
    breasts = _breasts(f)
    spread, heavy = u(0, 10), u(0.9, 1.1)
    for name, density, less in (("fat", FAT, 0 * rim), ("muscle", MUSCLE, rim)):
        trunk = f.ellipsoids(
            (0, 0, -90 * s), (f.a + f.wall + rim - less, f.b + f.wall + rim - less, 430 * s)
        )
        cap = f.ellipsoids((0, -10 * s, -75 * s), (265 * s, 210 * s, 232 * s - less))
        neck = f.ellipsoids((0, -12 * s, 210 * s), (56 * s - less / 3, 58 * s - less / 3, 105 * s))
        paint.add(name, density, Intersection(trunk, cap, trunk.value), neck)
        for side in SIDES:
            x = side * (128 + spread) * s
            shoulder = f.ellipsoids(
                (x, -8 * s, 78 * s), (78 * s + 0.5 * rim - less, 50 * s + 0.3 * rim - less,
                                      52 * s * heavy + 0.5 * rim - less), -side * 0.45)  # fmt: skip
            slope = f.ellipsoids(
                (side * 62 * s, -22 * s, 122 * s),
                (92 * s - less / 2, 44 * s - less / 2, 46 * s - less / 2), -side * 0.5)  # fmt: skip
            end = (side * (205 + 105 * f.arms) * s, -6 * s, -190 * s + 70 * f.arms * s)
            start = (side * 172 * s, -6 * s, 92 * s)
            arm = f.rods(
                *_points(f, start, end), (44 * s + 0.6 * rim - less) * (0.8 + 0.2 * heavy), 0.0
            )
            paint.add(name, density, shoulder, slope, arm)
        if name == "fat":
            paint.add(name, density, *breasts)


def lungs(f: Frame, paint: Paint) -> Lungs:
    """Each fills its half of the cavity as far as an ellipsoid reaches that leans on the other."""
    u = f.draw.of("lungs").uniform
    density = torch.lerp(u(0.27, 0.36), u(0.17, 0.25), f.breath)
    cavity, both = f.cavity(), []
    for side in SIDES:
        half = f.ellipsoids(
            (side * 0.46 * f.a, -0.06 * f.b, f.apex - 0.78 * f.c),
            (0.60 * f.a, 1.25 * f.b, 0.78 * f.c), side * u(-0.01, 0.03))  # fmt: skip
        both.append(Intersection(cavity, half, torch.zeros_like(cavity.value)))
        paint.add("left lung" if side > 0 else "right lung", density, both[-1])
    return Lungs((both[0], both[1]), density)


def mediastinum(f: Frame, paint: Paint, ratio: Tensor) -> None:
    """Heart of a width that is `ratio` of the cavity's, great vessels, and tissue at the spine."""
    u, s = f.draw.of("mediastinum").uniform, f.s
    y = -0.86 * f.b
    paint.add("mediastinum", MUSCLE, f.ellipsoids(
        (f.scoliosis, y, 0), (u(19, 23) * s, u(24, 30) * s, 400 * s)))  # fmt: skip
    upper = f.ellipsoids(
        (u(-2, 4) * s, -0.05 * f.b, 40 * s), (u(20, 26) * s, 0.62 * f.b, u(150, 175) * s)
    )
    fat = torch.lerp(u(0.98, 1.03), u(0.95, 1.0), f.age)
    paint.add("mediastinum", fat, upper)
    _vessels(f, paint)
    _heart(f, paint, ratio)


def heart_width(f: Frame, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """How far the heart reaches to the right and to the left of the midline, mm: (n, 1) each."""
    whole = 2 * ratio * f.a
    return 0.31 * whole, 0.69 * whole


def abdomen(f: Frame, paint: Paint) -> None:
    """What the domes of the diaphragm cover, the liver on the right; gas in the stomach."""
    u, s = f.draw.of("abdomen").uniform, f.s
    cavity = f.cavity(1.0)
    lower = u(6, 18) * s
    for side, drop in ((-1, 0 * lower), (1, lower)):
        tall = u(70, 105) * s
        top = f.dome - drop
        dome = f.ellipsoids(
            (side * u(0.38, 0.44) * f.a, u(0.02, 0.12) * f.b, top - tall),
            (0.74 * f.a, 1.14 * f.b, tall), pitch=0.10)  # fmt: skip
        paint.add("abdomen", LIVER, Intersection(dome, cavity, dome.value))
    stomach = f.draw.of("stomach")
    u = stomach.uniform
    gas = f.ellipsoids(
        (u(0.3, 0.5) * f.a, u(-0.1, 0.3) * f.b, f.dome - lower - u(20, 28) * s),
        (u(12, 30) * s, u(14, 28) * s, u(6, 13) * s), lean=u(-0.4, 0.4))  # fmt: skip
    middle = f.ellipsoids((0, 0.2 * f.b, f.dome - 16 * s - 90), (0.6 * f.a, 0.75 * f.b, 90.0))
    paint.add("abdomen", LIVER, Intersection(middle, cavity, middle.value))
    below = f.boxes((0, 0, f.dome - 75 * s - HUGE), (HUGE, HUGE, HUGE))
    paint.add("abdomen", 1.03, Intersection(cavity, below, cavity.value))
    none, names = stomach.chance(0.35), (LABELS.index("abdomen"), LABELS.index("stomach gas"))
    paint.add(torch.where(none, *names), torch.where(none, LIVER, AIR), gas)


def airways(f: Frame, paint: Paint) -> None:
    """Windpipe and two main bronchi."""
    u, s = f.draw.of("airways").uniform, f.s
    fork, y = 38 * s, -0.28 * f.b
    top = _points(f, (0, y, 240 * s), (u(-1, 3) * s, y, fork))
    paint.add("airway", AIR, f.rods(*top, u(6.5, 9) * s, 0.0))
    for side, steep in ((-1, 30), (1, 20)):
        ends = _points(f, (0, y, fork + 4 * s), (side * 36 * s, y, fork - steep * s))
        paint.add("airway", AIR, f.rods(*ends, u(4.5, 6.0) * s, 0.0))


def _breasts(f: Frame) -> list[Ellipsoids]:
    """Caps on the front wall, low in the chest; thin pads of fat on the chests of men."""
    u, s = f.draw.of("breasts").uniform, f.s
    large = torch.where(f.female, u(0.5, 1.1), 0.3) * (0.75 + 0.02 * f.rim)
    z = (-20 - u(0, 25) * f.age) * s
    deep, wide = (14 + 34 * large) * s, (42 + 35 * large) * s
    front = f.b + f.wall + f.rim
    return [
        f.ellipsoids(
            (side * 0.52 * f.a, 0.82 * front - 0.35 * deep, z),
            (wide, deep + 12, wide),
            yaw=-side * 0.25,
        )
        for side in SIDES
    ]


def _vessels(f: Frame, paint: Paint) -> None:
    """Superior vena cava, the arch of the aorta and its descending part, pulmonary trunk, hila."""
    u, s, old = f.draw.of("great vessels").uniform, f.s, f.age
    paint.add("mediastinum", BLOOD, f.ellipsoids(
        (-u(20, 25) * s, 0.1 * f.b, 62 * s), (u(9, 13) * s, 13 * s, 62 * s)))  # fmt: skip
    wide = (11.5 + 4 * old) * s
    paint.add("aorta", BLOOD, f.ellipsoids(
        (0.5 * wide + u(10, 15) * s, -0.2 * f.b, 66 * s),
        (1.25 * wide, 2.2 * wide, 1.4 * wide)))  # fmt: skip
    paint.add("aorta", BLOOD, f.ellipsoids(
        ((u(14, 18) + 4 * old) * s, -0.62 * f.b, -10 * s), (wide, wide, 125 * s)))  # fmt: skip
    paint.add("heart", BLOOD, f.ellipsoids(
        (u(15, 21) * s, 0.15 * f.b, 8 * s), (u(23, 30) * s, 26 * s, u(46, 56) * s),
        lean=0.25))  # fmt: skip


def _heart(f: Frame, paint: Paint, ratio: Tensor) -> None:
    """Two ellipsoids whose outlines reach exactly as far as `heart_width` says."""
    u, s = f.draw.of("heart").uniform, f.s
    right, left = heart_width(f, ratio)
    lean, slim = u(-0.85, -0.5), u(0.78, 0.90)  # the apex points down and to the left
    reach = 0.43 * (right + left)
    long = reach / torch.hypot(lean.cos(), slim * lean.sin())
    bottom = torch.maximum(f.dome - 16 * s, -105 * s)
    height = torch.hypot(long * lean.sin(), slim * long * lean.cos())  # half of it
    paint.add("heart", BLOOD, f.ellipsoids(
        (left - reach, 0.26 * f.b, bottom + height), (long, 0.9 * long, slim * long),
        lean))  # fmt: skip
    wide, tall = 0.27 * (right + left), u(1.05, 1.2) * height
    paint.add("heart", BLOOD, f.ellipsoids(
        (wide - right, 0.15 * f.b, bottom + 1.2 * height), (wide, 0.8 * long, tall)))  # fmt: skip


def _points(
    f: Frame, start: tuple[Numbers, Numbers, Numbers], end: tuple[Numbers, Numbers, Numbers]
) -> tuple[Tensor, Tensor]:
    """Two places in each patient: (n, 1, 3) each."""
    return torch.stack(f._all(*start), -1), torch.stack(f._all(*end), -1)
