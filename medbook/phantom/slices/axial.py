"""Random slices through chests, made of ellipses.

Lungs are what is left of the thoracic cavity when heart, spine and liver are cut out of it. Sizes
and Hounsfield units are plausible, not fitted to anyone; the anatomy is as coarse as it looks.
"""

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.phantom.draw import Draw
from medbook.phantom.shapes.base import Convex, Sum
from medbook.phantom.shapes.convex import Ellipsoids, Intersection
from medbook.phantom.slices.lungs import lungs
from medbook.phantom.slices.patient import UNITS, Numbers, Patient

SIDES = (-1, 1)  # the patient's right is at x < 0
TABLE = 500.0  # mm: radius of the table's arc


def thorax_like(n: int, generator: torch.Generator, field_mm: float = 360.0) -> Sum:
    """Draw chest CT slices: body, lungs with vessels, heart, aorta, spine, ribs; some have more.

    The patient's front is on top, the right side at the left of the image. Each slice is of
    another patient, at a random height between liver and shoulders.

    Args:
        n: number of slices, >= 1.
        generator: the shapes lie on its device.
        field_mm: side of the image; sizes are true to life at 360 and grow with it.

    Returns:
        n slices of some 300 shapes, with attenuation in 1/mm (air 0).

    Raises:
        MedbookError: n or field_mm is not positive.

    >>> thorax_like(2, torch.Generator().manual_seed(0)).image(64, 360 / 64).shape
    torch.Size([2, 1, 64, 64])
    """
    if not field_mm > 0:
        raise MedbookError(f"field_mm is {field_mm}: give the side of the image in mm, > 0")
    p = Patient(Draw(n, generator), field_mm / 360)
    return Sum((*_body(p), *lungs(p), *_spine(p), *_ribs(p), *_shoulders(p), *_arms(p), *_table(p)))


def _body(p: Patient) -> list[Convex]:
    """Fat under the skin and muscle within, squarer than ellipses; some unevenness."""
    u, k = p.draw.uniform, 6
    skin, muscle = _squarer(p, p.a, p.b), _squarer(p, p.a - p.rim, p.b - p.rim)
    x, y, a, b = (s * u(*r, k) for r in ((-0.4, 0.4), (0.05, 0.35)) for s in (p.a, p.b))
    return [
        Intersection(*skin, UNITS * (p.fat + 1000)),
        Intersection(*muscle, UNITS * (p.muscle - p.fat)),
        p.ellipses(x, y, a, b, u(0, 3, k), u(0, 30, k)),
    ]


def _squarer(p: Patient, a: Tensor, b: Tensor) -> tuple[Ellipsoids, Ellipsoids]:
    """Two ellipses whose intersection is 2 a wide and 2 b deep."""
    return p.ellipses(0, 0, a, 1.18 * b), p.ellipses(0, 0, 1.15 * a, b)


def _spine(p: Patient) -> list[Convex]:
    """A vertebra: body, arch around the canal, three processes."""
    u, y, r = p.draw.uniform, -0.6 * p.cavity_b, p.b * p.draw.uniform(0.15, 0.19)
    bone, back = u(250, 450), y - 1.5 * r
    return [
        p.ellipses(0, y, r, 0.85 * r, hu=bone),
        p.ellipses(0, y, 0.85 * r, 0.7 * r, hu=-u(80, 200)),
        p.ellipses(0, y - 1.35 * r, 0.8 * r, 0.62 * r, hu=bone),
        p.ellipses(0, y - 1.3 * r, 0.5 * r, 0.42 * r, hu=-bone),  # the canal
        p.ellipses(0, y - 2.1 * r, 0.16 * r, 0.55 * r, hu=u(200, 500)),
        *(p.ellipses(s * 1.1 * r, back, 0.6 * r, 0.2 * r, -0.4 * s, u(200, 500)) for s in SIDES),
    ]


def _ribs(p: Patient) -> list[Convex]:
    """Up to seven ribs a side, and the breast bone, with shells harder than their marrow."""
    u, k = p.draw.uniform, 7
    shapes: list[Convex] = []
    for side in SIDES:
        x, y, angle = _wall(p, torch.linspace(-1.1, 1, k).to(p.a) + u(-0.12, 0.12, k), 0.5, side)
        long, thick = u(7, 24, k), u(3, 5, k)
        hard = u(350, 800, k) * p.draw.chance(0.8, k)
        shapes.append(p.ellipses(x, y, long, thick, angle, hard))
        shapes.append(p.ellipses(x, y, 0.85 * long, 0.5 * thick, angle, -0.5 * hard))
    y, wide = 0.5 * (p.cavity_b + p.b - p.rim), u(12, 28)
    shell, marrow = u(200, 400), -u(100, 180)
    return [
        *shapes,
        p.ellipses(0, y, wide, 5.5, 0, shell),
        p.ellipses(0, y, wide - 3, 3, 0, marrow),
    ]


def _shoulders(p: Patient) -> list[Convex]:
    """Shoulder blades in high slices, and layers of fat between muscles."""
    u = p.draw.uniform
    shapes: list[Convex] = []
    muscles = p.ellipses(torch.zeros(3, device="cpu"), 0, p.a - p.rim, p.b - p.rim)
    for side in SIDES:
        x, y, angle = _wall(p, u(-0.8, -0.6), 0.85, side)
        bone = u(250, 600) * (p.height > 0.55)
        shapes.append(p.ellipses(x, y, p.a * u(0.15, 0.25), u(2.5, 4), angle + u(-0.2, 0.2), bone))
        x, y, angle = _wall(p, u(-1.2, 1.1, 3), u(0.3, 0.8, 3), side)
        fat = p.ellipses(x, y, u(15, 40, 3), u(1.5, 4, 3), angle, u(-130, -60, 3))
        shapes.append(Intersection(fat, muscles, fat.value))
    return shapes


def _arms(p: Patient) -> list[Convex]:
    """Skin, muscle, bone and marrow of arms that are down; others are out of the way."""
    u, away = p.draw.uniform, torch.where(p.arms_down, 0.0, 1e5)
    shapes: list[Convex] = []
    for side in SIDES:
        r = u(20, 24)
        x, y = side * (p.a + r + u(2, 6) + away), u(-25, 5)
        layers = (r, 1000 + p.fat), (0.85 * r, p.muscle - p.fat), (10, 800), (6, -700)
        shapes += [p.ellipses(x, y, a, a, 0, hu) for a, hu in layers]
    return shapes


def _table(p: Patient) -> list[Convex]:
    """The thin arc of the table below the back: the difference of two discs, as far as a box."""
    u, lowest = p.draw.uniform, -p.b - p.draw.uniform(8, 25)
    value = UNITS * u(300, 900) * p.draw.chance(0.8)
    near, thickness = p.boxes(0, lowest, u(90, 125), 40), u(1, 3)
    discs = [p.ellipses(0, lowest + TABLE, r, r) for r in (TABLE, TABLE - thickness)]
    return [Intersection(near, discs[0], value), Intersection(near, discs[1], -value)]


def _wall(p: Patient, around: Tensor, depth: Numbers, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """x, y and direction of the chest wall at an angle; depth is 0 at the cavity, 1 at the fat."""
    a, b = (
        inner + depth * (outer - p.rim - inner)
        for inner, outer in ((p.cavity_a, p.a), (p.cavity_b, p.b))
    )
    c, s = around.cos(), around.sin()
    return side * a * c, b * s, side * torch.atan2(b * c, -a * s)
