"""Lungs, and the organs that give them their shape."""

import torch
from torch import Tensor

from medbook.phantom.shapes.base import Convex
from medbook.phantom.shapes.convex import Ellipsoids, Intersection
from medbook.phantom.slices.patient import UNITS, Patient

VESSELS = 100  # tried in each lung; about half of them find room


def lungs(p: Patient) -> list[Convex]:
    """Two lungs with their vessels, some with a nodule, and what lies between and below them."""
    cavity, heart, aorta = p.ellipses(0, 0, p.cavity_a, p.cavity_b), _heart(p), _aorta(p)
    shapes: list[Convex] = [heart, aorta, _chambers(p, heart), _windpipe(p, heart)]
    for side in (-1, 1):
        filling, dome = _filling(p, side), _dome(p, side)
        cutters = [heart, _spinal(p), dome, *([aorta] if side > 0 else [])]
        shapes += _without(Intersection(filling, cavity, UNITS * (p.lung - p.muscle)), cutters)
        shapes.append(Intersection(dome, cavity, dome.value))
        shapes.append(_vessels(p, side, [filling, cavity], cutters))
    return shapes


def _without(lung: Intersection, cutters: list[Ellipsoids]) -> list[Intersection]:
    """The lung that the cutters leave, by inclusion and exclusion of all that they share."""
    terms = [lung]
    for cutter in cutters:
        terms += [Intersection(term, cutter, -term.value) for term in terms]
    return terms


def _filling(p: Patient, side: int) -> Ellipsoids:
    """The ellipse that a lung fills as far as the cavity reaches; it does not cross x = 0."""
    tilt, b = p.draw.uniform(0, 0.12), 1.3 * p.cavity_b
    reach = 0.52 * p.cavity_a  # half the width of the tilted ellipse
    a = (reach**2 - (b * tilt.sin()) ** 2).sqrt() / tilt.cos()
    return p.ellipses(side * (reach + 2), 0, a, b, side * tilt)


def _heart(p: Patient) -> Ellipsoids:
    """The heart in low slices, the fat of the mediastinum above it, gradually."""
    u, high = p.draw.uniform, ((p.height - 0.35) / 0.3).clamp(0, 1)
    a = p.cavity_a * torch.lerp(u(0.42, 0.58), u(0.17, 0.28), high)
    b = p.cavity_b * torch.lerp(u(0.48, 0.66), u(0.5, 0.7), high)
    x, angle = torch.lerp(u(8, 24), u(-4, 6), high), torch.lerp(u(0.2, 0.7), u(-0.1, 0.1), high)
    hu = torch.lerp(u(0, 15), u(-110, -20), high)
    return p.ellipses(x, p.cavity_b * u(0.15, 0.3), a, b, angle, hu)


def _chambers(p: Patient, heart: Ellipsoids) -> Ellipsoids:
    """Blood in four chambers, or great vessels."""
    u = p.draw.uniform
    corners = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]]).to(p.a) * 0.4
    at = corners + 0.06 * torch.stack([u(-1, 1, 4), u(-1, 1, 4)], -1)
    rounder = (heart.axes + heart.axes.amin(-1, keepdim=True)) / 2
    axes = u(0.26, 0.4, 4)[..., None] * rounder
    blood = UNITS * (p.blood - p.muscle) * u(0.5, 1, 4) * p.draw.chance(0.85, 4)
    return _within(heart, at, axes, blood - heart.value)


def _windpipe(p: Patient, heart: Ellipsoids) -> Intersection:
    """Air behind the great vessels, in high slices."""
    at = torch.tensor([0.0, -0.7]).to(p.a).expand(p.draw.n, 1, 2)
    radius = p.scale * p.a * p.draw.uniform(0.04, 0.06)
    air = -(UNITS * (1000 + p.muscle) + heart.value) * (p.height > 0.6)
    return Intersection(_within(heart, at, radius[..., None], air), heart, air)


def _aorta(p: Patient) -> Ellipsoids:
    """The descending aorta, left of the spine."""
    u, r = p.draw.uniform, p.a * p.draw.uniform(0.065, 0.1)
    return p.ellipses(0.11 * p.a + r, p.cavity_b * u(-0.5, -0.36), r, r, hu=p.blood - p.muscle)


def _spinal(p: Patient) -> Ellipsoids:
    """The soft tissue around the spine."""
    a = p.a * p.draw.uniform(0.15, 0.21)
    return p.ellipses(4, -0.74 * p.cavity_b, a, 0.4 * p.cavity_b)


def _dome(p: Patient, side: int) -> Ellipsoids:
    """What rises into the lower lungs: the liver on the right (side -1), less on the left."""
    u = p.draw.uniform
    grown = ((u(0.15, 0.4) - p.height) / 0.3 - 0.35 * (side > 0)).clamp(0, 1).sqrt()
    x = torch.where(grown > 0, side * p.cavity_a * u(0.42, 0.55), 1e5)  # out of the way
    a, b = p.cavity_a * u(0.5, 0.6), p.cavity_b * u(0.7, 0.95)
    y = p.cavity_b * u(-0.05, 0.3)
    return p.ellipses(x, y, a * grown + 0.1, b * grown + 0.1, hu=u(0, 50))


def _vessels(
    p: Patient, side: int, inside: list[Ellipsoids], outside: list[Ellipsoids]
) -> Ellipsoids:
    """Vessels that point to the root of the lung and are thick near it; in some a nodule.

    None touches another one or leaves the lung: those are drawn without value.
    """
    u, k = p.draw.uniform, VESSELS
    centre = _places(inside[0], p.draw.disc(0.95, k))
    root = _places(inside[0], torch.tensor([[-0.45 * side, 0.0]]).to(p.a))
    away = root - centre
    near = torch.exp(-away.norm(dim=-1) / (40 * p.scale))
    thick = p.scale * (0.7 + 0.8 * u(0, 1, k) + 5 * near * u(0, 1, k) ** 2)
    long = thick * (1 + 3 * u(0, 1, k) ** 2)
    nodule = (torch.arange(k, device=near.device) == 0) & p.draw.chance(0.4)
    size = p.scale * torch.where(p.draw.chance(0.3), u(9, 22), u(3, 7))
    thick, long = torch.where(nodule, size, thick), torch.where(nodule, size * u(1, 1.3), long)
    room = _first_come(centre, 1.1 * long)
    for shape in inside:
        room &= _covers(shape, centre, -1.1 * long)
    for shape in outside:
        room &= ~_covers(shape, centre, 1.1 * long)
    angle = torch.atan2(away[..., 1], away[..., 0]) + 0.4 * u(-1, 1, k)
    hu = torch.where(nodule, u(0, 60), u(-200, 50, k)) - p.lung
    axes = torch.stack([long, thick], -1)
    return _those(room, Ellipsoids.from_angle(centre, axes, angle, UNITS * hu * room))


def _those(wanted: Tensor, shapes: Ellipsoids) -> Ellipsoids:
    """The wanted ones (n, k), filled up with others where an object has fewer of them."""
    order = wanted.int().argsort(dim=-1, descending=True, stable=True)
    first = order[:, : int(wanted.sum(1).max())]
    objects = torch.arange(len(wanted), device=wanted.device)[:, None]
    return shapes._map(lambda tensor: tensor[objects, first])


def _first_come(centre: Tensor, radius: Tensor) -> Tensor:
    """Which discs (n, k) are apart from all discs that come before them."""
    apart = torch.cdist(centre, centre) > radius[..., None] + radius[..., None, :]
    return (apart | apart.new_ones(apart.shape[1:]).triu()).all(-1)


def _covers(shape: Ellipsoids, points: Tensor, more: Tensor) -> Tensor:
    """Whether points (n, k, 2) lie in an ellipse whose half-axes are longer by `more` (n, k)."""
    own = ((points - shape.centre)[..., None, :] @ shape.rotation)[..., 0, :]
    axes = shape.axes + more[..., None]
    return (axes > 0).all(-1) & ((own / axes).norm(dim=-1) < 1)


def _within(shape: Ellipsoids, at: Tensor, axes: Tensor, value: Tensor) -> Ellipsoids:
    """Ellipses turned like another one, at places (n, k, 2) of its unit disc."""
    rotation = shape.rotation.expand(*at.shape, 2)
    return Ellipsoids(_places(shape, at), axes.expand_as(at), rotation, value)


def _places(shape: Ellipsoids, at: Tensor) -> Tensor:
    """From an ellipse's unit disc to mm: (n, k, 2)."""
    return shape.centre + (shape.rotation @ (shape.axes * at)[..., None])[..., 0]
