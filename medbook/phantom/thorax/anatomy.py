"""All shapes of some patients: what is painted, what adds to it, and what each part is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from medbook.phantom.shapes.convex import Ellipsoids
from medbook.phantom.shapes.painted import Painted
from medbook.phantom.thorax import bones, organs
from medbook.phantom.thorax.devices import devices
from medbook.phantom.thorax.factors import Factors, Pose
from medbook.phantom.thorax.findings import HEALTHY_HEART, Findings, slots
from medbook.phantom.thorax.frame import Frame
from medbook.phantom.thorax.lesions import lesions
from medbook.phantom.thorax.organs import LABELS, Paint
from medbook.phantom.thorax.splat import splat
from medbook.phantom.thorax.streams import Streams
from medbook.phantom.thorax.vessels import vessels
from medbook.phantom.thorax.views import View

LUNGS = LABELS.index("right lung"), LABELS.index("left lung")


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Shapes of n patients; made by `build`.

    Attributes:
        painted: M organs and findings, of which the last one counts.
        density: (n, M) as water.
        label: (n, M) numbers of `LABELS`.
        slot: (M,) the finding's column, -1 for none.
        vessels: in the lungs; their values add to the density.
        ribs: values add up to the share of cortical bone, as those of `bones` do.
        bones: other bones.
        devices: by kind; values are the share of iron.
        ratio: (n,) width of the heart over that of the cavity.
    """

    painted: Painted
    density: Tensor
    label: Tensor
    slot: Tensor
    vessels: Ellipsoids
    ribs: tuple[bones.Hoops, ...]
    bones: tuple[Ellipsoids, ...]
    devices: dict[str, Ellipsoids]
    ratio: Tensor

    def paths(self, view: View) -> Tensor:
        """Lengths of soft tissue, bone and metal along the rays: (n, 3, H, W), mm."""
        fine = view.fine
        rays = fine.rays(self.density.device)
        shape = len(self.density), *fine.shape
        soft = self.painted.integrals(*rays, self.density[:, None]).view(shape)
        soft = soft + splat(self.vessels, fine)
        bone = sum((hoops.integrals(*rays) for hoops in self.ribs), torch.zeros(()).to(soft))
        bone = bone.view(shape) + _sum(self.bones, fine)
        return averaged(torch.stack([soft, bone, _sum(self.devices.values(), fine)], 1), view)

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The three materials (n, 3, P) and the label (n, P) at points (P, 3) in mm."""
        top = self.painted.top(points)
        padded = torch.nn.functional.pad(self.density.double(), (1, 0))
        soft = padded.gather(1, top) + values_at(self.vessels, points)
        bone = sum((hoops.at(points) for hoops in self.ribs), torch.zeros(()).to(soft))
        bone = bone + sum(values_at(shape, points) for shape in self.bones)
        metal = sum(
            (values_at(rods, points) for rods in self.devices.values()), torch.zeros(()).to(soft)
        )
        label = torch.nn.functional.pad(self.label, (1, 0)).gather(1, top)
        label = torch.where(bone > 0.1, LABELS.index("bone"), label)
        label = torch.where(metal > 0, LABELS.index("metal"), label)
        return torch.stack([soft, bone, metal], 1), label

    def lengths(self, view: View, chosen: Tensor) -> Tensor:
        """Lengths in mm of painted shapes on top, chosen by (n, C, M) of 0 and 1: (n, C, H, W)."""
        fine = view.fine
        found = self.painted.integrals(*fine.rays(chosen.device), chosen)
        return found.unflatten(-1, fine.shape)

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same anatomy with changed tensors: chosen patients, or another device."""
        return replace(
            self,
            painted=self.painted.map(function), density=function(self.density),
            label=function(self.label), vessels=self.vessels._map(function),
            ribs=tuple(hoops.map(function) for hoops in self.ribs),
            bones=tuple(bone._map(function) for bone in self.bones),
            devices={kind: rods._map(function) for kind, rods in self.devices.items()},
            ratio=function(self.ratio),
        )  # fmt: skip


def build(seeds: Tensor, factors: Factors, pose: Pose, found: Findings) -> Anatomy:
    """Make all shapes from the patients' seeds (n,) and what is chosen.

    Each part has random numbers of its own, whatever is chosen and whatever other parts there are:
    patients keep their ribs and vessels when a finding goes.
    """
    f, paint = Frame(Streams(seeds), factors, pose), Paint()
    (heart,) = slots("cardiomegaly")
    healthy = f.draw.of("width of the heart").uniform(*HEALTHY_HEART)
    ratio = torch.where(found.present[:, heart, None], found.size[:, heart, None], healthy)
    organs.body(f, paint)
    lungs = organs.lungs(f, paint)
    lesions(f, paint, lungs, found)
    organs.mediastinum(f, paint, ratio)
    organs.abdomen(f, paint)
    organs.airways(f, paint)
    painted, label = Painted(tuple(paint.shapes)), torch.cat(paint.label, 1)
    tree = vessels(f, lungs.density)
    return Anatomy(
        painted, torch.cat(paint.density, 1), label, torch.tensor(paint.slot, device=seeds.device),
        _within_lung(tree, painted, label), tuple(bones.ribs(f)), tuple(bones.others(f)),
        devices(f, found), ratio[:, 0],
    )  # fmt: skip


def averaged(fine: Tensor, view: View) -> Tensor:
    """Means over the rays of each pixel: (n, C, H, W)."""
    return torch.nn.functional.avg_pool2d(fine, view.oversample)


def values_at(shape: Ellipsoids, points: Tensor) -> Tensor:
    """Sum of the shapes' values at points (P, 3): (n, P)."""
    half = (shape.rotation * shape.axes[..., None, :]).norm(dim=-1)  # of the bounding boxes
    low, high = points.aminmax(dim=0)
    near = ((shape.centre + half >= low) & (shape.centre - half <= high)).all(-1) & (
        shape.value != 0
    )
    shape = shape._map(lambda tensor: tensor[:, near.any(0)])
    return torch.einsum("bn,bnp->bp", shape.value.double(), shape.contains(points).double())


def _sum(shapes: Iterable[Ellipsoids], view: View) -> Tensor:
    """Of the line integrals of all: (n, H, W)."""
    return torch.stack([splat(shape, view) for shape in shapes]).sum(0)


def _within_lung(tree: Ellipsoids, painted: Painted, label: Tensor) -> Ellipsoids:
    """Vessels whose middle and ends lie in lung that nothing covers; others lose their value."""
    along = 0.8 * tree.axes[..., :1] * tree.rotation[..., 0]
    points = torch.cat([tree.centre, tree.centre + along, tree.centre - along], 1)
    top = torch.nn.functional.pad(label, (1, 0)).gather(1, painted.top(points))
    inside = ((top == LUNGS[0]) | (top == LUNGS[1])).unflatten(1, (3, -1)).all(1)
    return replace(tree, value=tree.value * inside)
