"""Random axial slices through heads, made of ellipses, with texture and phase of plane waves.

Sizes and grey levels are plausible, not fitted to anyone; the anatomy is as coarse as it looks.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.phantom.draw import Draw
from medbook.phantom.shapes.convex import Ellipsoids
from medbook.phantom.slices.brain import Brain
from medbook.phantom.slices.waves import PlaneWaves

SIDES = (-1, 1)  # the patient's right is at x < 0
TISSUES = "fat", "bone", "marrow", "fluid", "grey", "white"
T1 = (0.85, 1.0), (0.02, 0.08), (0.5, 0.75), (0.15, 0.25), (0.5, 0.6), (0.68, 0.78)
T2 = (0.5, 0.8), (0.02, 0.08), (0.25, 0.45), (0.9, 1.0), (0.55, 0.68), (0.38, 0.48)
SULCI = 8  # on each side
LESIONS, TRIES = 3, 40  # at most so many, and so many places tried for each
TEXTURE_WAVES, TEXTURE = 16, (5.0, 20.0)  # cycles per field of view
DISC, RIDGE = 0.46, 1e-4  # the phase is fitted within this radius, in fields of view
Numbers = float | Tensor  # one for all, (n, 1) for each head, or (n, k) for k shapes of each


def brain_like(n: int, generator: torch.Generator, field_mm: float = 220.0) -> Brain:
    """Draw heads: scalp, skull, fluid, grey and white matter, ventricles, nuclei, lesions.

    Half of them are T1-like (white matter brighter than grey, fluid dark), half T2-like (fluid
    bright). Up to three lesions lie in the white matter, clear of fluid and of each other. The
    front is on top, the patient's right at the left of the image.

    Args:
        n: number of heads, >= 1.
        generator: the shapes lie on its device.
        field_mm: side of the field of view; sizes are true to life at 220 and grow with it.

    Returns:
        n objects with values of 0 to about 1.2 before the phase, in arbitrary units.

    Raises:
        MedbookError: n or field_mm is not positive.

    >>> heads = brain_like(2, torch.Generator().manual_seed(0))
    >>> heads.kspace(32).shape, heads.scanner_image(32).dtype
    (torch.Size([2, 1, 32, 32]), torch.complex64)
    """
    if not 0 < field_mm < math.inf:
        raise MedbookError(f"field_mm is {field_mm}: give the side of the field in mm, > 0")
    head = _Head(Draw(n, generator), field_mm / 220)
    layers, ventricles, nuclei = _layers(head), _ventricles(head), _nuclei(head)
    fluid = [*ventricles, *_sulci(head)]
    white = layers._map(lambda t: t[:, -1:])
    lesions = _lesions(head, white, [*fluid, *nuclei])
    holes = [replace(shape, value=-torch.ones_like(shape.value)) for shape in ventricles]
    tissue = [head.ellipses(0, 0, head.a, head.b, value=1), *holes]
    anatomy = _joined([layers, *fluid, *nuclei])
    return Brain(anatomy, lesions, _joined(tissue), _texture(head), _phase(head), field_mm)


class _Head:
    """Who is scanned: size and tissues of n heads; all attributes are (n, 1), lengths in mm.

    Attributes:
        a: half the width of the brain.
        b: half its length.
        level: the brightness of each tissue.
        horn: half-axes and outward lean of the ventricles' frontal horns.
    """

    def __init__(self, draw: Draw, scale: float) -> None:
        self.draw, self.scale, u = draw, scale, draw.uniform
        self.a = u(54, 62)
        self.b = self.a * u(1.2, 1.3)
        self.turn, self.shift = u(-0.1, 0.1), draw.disc(4.0)
        t1 = draw.chance(0.5)
        pairs = zip(TISSUES, T1, T2, strict=True)
        self.level = {name: torch.where(t1, u(*one), u(*two)) for name, one, two in pairs}
        self.horn = u(3, 6), u(9, 13), u(0.15, 0.35)

    def ellipses(
        self, x: Numbers, y: Numbers, a: Numbers, b: Numbers, angle: Numbers = 0, value: Numbers = 0
    ) -> Ellipsoids:
        """Ellipses in the head's frame that raise the sum by `value`; numbers broadcast."""
        given = (torch.as_tensor(v).to(self.a) + 0 * self.a for v in (x, y, a, b, angle, value))
        at_x, at_y, *axes, tilt, rise = torch.broadcast_tensors(*given)
        half = self.scale * torch.stack(axes, -1)
        return Ellipsoids.from_angle(self.placed(at_x, at_y), half, tilt + self.turn, rise)

    def placed(self, x: Tensor, y: Tensor) -> Tensor:
        """From the head's frame to the scanner's: (n, k, 2), mm."""
        c, s = self.turn.cos(), self.turn.sin()
        return self.scale * (torch.stack([c * x - s * y, s * x + c * y], -1) + self.shift)

    def within(self, x: float, y: float) -> tuple[Tensor, Tensor]:
        """A place given for a brain of half-axes 60 and 75."""
        return x * self.a / 60, y * self.b / 75

    def rise(self, tissue: str, base: str = "white") -> Tensor:
        """From one tissue to another."""
        return self.level[tissue] - self.level[base]


def _layers(h: _Head) -> Ellipsoids:
    """Scalp, three layers of skull, fluid, cortex and white matter, from outside to inside."""
    u = h.draw.uniform
    names = "fat", "bone", "marrow", "bone", "fluid", "grey", "white"
    ranges = (4, 7), (1.5, 2.5), (2, 4), (1.5, 2.5), (2, 4), (3, 4.5)  # thickness of each but white
    thickness = torch.cat([u(*r) for r in ranges], 1)
    depth = torch.nn.functional.pad(thickness.cumsum(1), (1, 0))  # below the skin, (n, 7)
    out = depth[:, 5:6] - depth  # of the brain's outline
    level = torch.cat([h.level[name] for name in names], 1)
    rise = level.diff(dim=1, prepend=0 * h.a)
    return h.ellipses(0, 0, h.a + out, h.b + out, 0, rise)


def _ventricles(h: _Head) -> list[Ellipsoids]:
    """Third ventricle, frontal horns, and the atria behind."""
    u, fluid = h.draw.uniform, h.rise("fluid")
    shapes = [h.ellipses(*h.within(0, -3), u(1, 2.2), u(7, 11), value=fluid)]
    a, b, lean = h.horn
    for side in SIDES:
        x, y = side * (2.5 + _half_width(h)), h.within(0, 21)[1]
        shapes.append(h.ellipses(x, y, a, b, -side * lean, fluid))
        at = h.within(side * 24, -30)
        shapes.append(h.ellipses(*at, u(3, 6), u(8, 12), side * u(0.2, 0.5), fluid))
    return shapes


def _half_width(h: _Head) -> Tensor:
    """Of a frontal horn with its lean."""
    a, b, lean = h.horn
    return torch.hypot(a * lean.cos(), b * lean.sin())


def _sulci(h: _Head) -> list[Ellipsoids]:
    """Thin clefts of fluid from the surface inward, and the fissure in front and behind."""
    u, rise = h.draw.uniform, h.rise("fluid", "grey")
    shapes = []
    for side in SIDES:
        around = torch.linspace(-1.15, 1.15, SULCI).to(h.a) + u(-0.06, 0.06, SULCI)
        x, y, half = side * h.a * around.cos(), h.b * around.sin(), u(4, 9, SULCI)
        inward = 1 - (half + 0.5) / torch.hypot(x, y)
        shapes.append(
            h.ellipses(inward * x, inward * y, half, u(0.6, 1.4, SULCI), y.atan2(x), rise)
        )
        half = u(9, 13)
        shapes.append(h.ellipses(0, side * (h.b - half - 0.5), u(0.7, 1.4), half, 0, rise))
    return shapes


def _nuclei(h: _Head) -> list[Ellipsoids]:
    """Thalamus, head of the caudate nucleus and putamen, of grey matter, on each side."""
    u, (_, _, lean) = h.draw.uniform, h.horn
    shapes = []
    for side in SIDES:
        thalamus, caudate, grey = u(6.5, 8.5), u(3, 4.5), u(0.7, 1.1) * h.rise("grey")
        x, y = side * (3 + thalamus), h.within(0, -6)[1]
        shapes.append(h.ellipses(x, y, thalamus, u(9, 11.5), 0, grey))
        x, y = side * (3 + 2 * _half_width(h) + caudate), h.within(0, 22)[1]
        shapes.append(h.ellipses(x, y, caudate, u(6, 9), -side * lean, grey))
        at = h.within(side * 28, 4)
        shapes.append(h.ellipses(*at, u(3.5, 5), u(9, 12), -side * u(0, 0.2), grey))
    return shapes


def _lesions(h: _Head, white: Ellipsoids, others: list[Ellipsoids]) -> Ellipsoids:
    """None to three, each where a random place in the white matter is free; brighter or darker."""
    u, wanted = h.draw.uniform, h.draw.uniform(0, LESIONS + 1).floor()
    taken, lesions = list(others), []
    for count in range(LESIONS):
        axes = torch.cat([u(3, 7), u(3, 7)], 1)
        room = h.scale * (axes.amax(1, keepdim=True) + 2)  # mm to spare, as `_distance` is rough
        x, y = h.draw.disc(1.0, TRIES).unbind(-1)
        places = h.placed(x * h.a, y * h.b)
        free = (_distance(places, white, -room) < 1).all(1)
        for shape in taken:
            free &= (_distance(places, shape, room) > 1).all(1)
        first = free.int().argmax(1)
        centre = places[torch.arange(len(places), device=first.device), first][:, None]
        there = free.any(1, keepdim=True) & (count < wanted)
        bright = (h.rise("fluid") > 0) | h.draw.chance(0.5)  # always in T2
        value = torch.where(bright, 1, -1) * u(0.15, 0.4) * there
        angle = h.draw.uniform(0, math.pi)
        lesions.append(Ellipsoids.from_angle(centre, h.scale * axes[:, None], angle, value))
        taken.append(lesions[-1])
    return _joined(lesions)


def _distance(points: Tensor, shapes: Ellipsoids, grown: Tensor) -> Tensor:
    """From the centres of shapes with axes grown by (n, 1) mm, 1 on their outlines: (n, N, K)."""
    own = (points[:, None] - shapes.centre[:, :, None]) @ shapes.rotation
    return (own / (shapes.axes + grown[..., None])[:, :, None]).norm(dim=-1)


def _texture(h: _Head) -> PlaneWaves:
    """Real waves of random direction, whose root mean square is some per cent of white matter."""
    u, k = h.draw.uniform, TEXTURE_WAVES
    angle, turn, size = u(0, 2 * math.pi, k), u(0, 2 * math.pi, k), u(*TEXTURE, k)
    f = (2 * size[..., None] * torch.stack([angle.cos(), angle.sin()], -1)).round() / 2
    amplitude = u(0.02, 0.06) * h.level["white"] * (2 / k) ** 0.5
    c = torch.polar((amplitude / 2).expand(-1, k).double(), turn.double())
    return PlaneWaves(torch.cat([c, c.conj()], 1), torch.cat([f, -f], 1).double())


def _phase(h: _Head) -> PlaneWaves:
    """exp(i phi) for a random quadratic phi, up to some radian, approximated by 25 waves."""
    u, where = h.draw.uniform, h.a.device
    axis = torch.linspace(-DISC, DISC, 21, dtype=torch.float64, device=where)
    points = torch.cartesian_prod(axis, axis)
    points = points[points.norm(dim=1) <= DISC]  # (P, 2)
    x, y = points.T
    basis = torch.stack([0 * x + math.pi, 2 * x, 2 * y, 4 * x**2, 4 * x * y, 4 * y**2])
    phi = u(-1, 1, len(basis)).double() @ basis  # (n, P)
    f = torch.arange(-2, 3, dtype=torch.float64, device=where) / 2
    frequencies = torch.cartesian_prod(f, f)
    E = torch.exp(2j * math.pi * (points @ frequencies.T))  # (P, L)
    normal = E.mH @ E + RIDGE * len(points) * torch.eye(len(frequencies), device=where)
    return PlaneWaves(torch.linalg.solve(normal, E.mH @ torch.exp(1j * phi).T).T, frequencies)


def _joined(shapes: list[Ellipsoids]) -> Ellipsoids:
    """All in one, in this order."""
    return Ellipsoids(
        *(torch.cat(parts, 1) for parts in zip(*(s._tensors() for s in shapes), strict=True))
    )
