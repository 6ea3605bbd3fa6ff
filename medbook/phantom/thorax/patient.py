"""The patients: one record, from which every picture, volume, mask and report is made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.phantom.thorax import masks
from medbook.phantom.thorax.anatomy import Anatomy, build
from medbook.phantom.thorax.factors import Factors, Pose
from medbook.phantom.thorax.findings import Findings
from medbook.phantom.thorax.materials import attenuation
from medbook.phantom.thorax.reports import Sentence, write
from medbook.phantom.thorax.streams import Streams
from medbook.phantom.thorax.views import View
from medbook.phantom.thorax.volumes import Grid, filled
from medbook.physics.ct.measure import hu_from_mu

FRONTAL = View()


@dataclass(frozen=True, eq=False)
class Thorax:
    """n patients in one examination each; made by `sample`.

    `dataclasses.replace` changes what is wanted and keeps all else: `replace(p, factors=...)` is
    the same person had they been older, `replace(p, findings=p.findings.without("mass"))` the same
    one cured.

    Attributes:
        seeds: (n,) int64: all that is not chosen follows from them, part by part.
        factors: who they are.
        pose: how they stand.
        findings: what they have.

    Raises:
        MedbookError: different numbers of patients.
    """

    seeds: Tensor
    factors: Factors
    pose: Pose
    findings: Findings

    def __post_init__(self) -> None:
        given = [len(part) for part in (self.seeds, self.factors, self.pose, self.findings)]
        if len(set(given)) != 1 or self.seeds.ndim != 1:
            raise MedbookError(
                f"numbers of patients {given} and seeds {tuple(self.seeds.shape)}: all must be of "
                "the same patients, and the seeds (n,)"
            )

    @cached_property
    def anatomy(self) -> Anatomy:
        """All shapes, made once."""
        return build(self.seeds, self.factors, self.pose, self.findings)

    def paths(self, view: View = FRONTAL) -> Tensor:
        """Lengths along the rays of soft tissue (as water), cortical bone and iron.

        Returns:
            (n, 3, H, W) in mm; `attenuation` makes line integrals of them at either energy.
        """
        return self.anatomy.paths(view).to(self.factors.age.dtype)

    def xray(self, view: View = FRONTAL, energy: str = "high", bones: bool = True) -> Tensor:
        """Line integrals of the attenuation: an X-ray before any scanner, bright where dense.

        Args:
            view: geometry and size of the picture.
            energy: "low" (40 keV) or "high" (70 keV).
            bones: False leaves out what bone adds to the soft tissue in its place. The difference
                of both pictures is that of the bones alone.

        Returns:
            (n, 1, H, W) dimensionless.

        >>> from medbook.phantom import thorax
        >>> people = thorax.sample(2, torch.Generator().manual_seed(0))
        >>> people.xray(View(16), "low", bones=False).shape
        torch.Size([2, 1, 16, 16])
        """
        return attenuation(self.paths(view), energy, bones)

    def volume(self, grid: Grid | None = None) -> Tensor:
        """A CT without noise or blur: the attenuation at 70 keV in the middle of each voxel.

        Returns:
            (n, 1, D, H, W) in HU, from head to feet, front to back, the patient's right to left.
        """
        parts, _ = filled(self.anatomy, grid or Grid())
        return hu_from_mu(attenuation(parts, "high")).to(self.factors.age.dtype)

    def labels(self, grid: Grid | None = None) -> Tensor:
        """What is in the middle of each voxel: (n, 1, D, H, W) numbers of `LABELS`."""
        return filled(self.anatomy, grid or Grid())[1]

    def masks(self, view: View = FRONTAL) -> Tensor:
        """Pixels through which rays meet a finding: (n, F, H, W) bool, empty where it is absent."""
        return masks.of_findings(self.anatomy, self.findings, view)

    def boxes(self, view: View = FRONTAL) -> Tensor:
        """Smallest boxes around the masks: (n, F, 4), px, left, top, right, bottom edge.

        All four are 0 where a finding is absent or out of the picture.
        """
        return masks.boxes(self.masks(view))

    def organ(self, name: str, view: View = FRONTAL, least_mm: float = 10.0) -> Tensor:
        """Pixels through which rays pass an organ: (n, 1, H, W) bool.

        Args:
            name: one of `LABELS` that is painted, or "lungs": both, with what findings took of
                them and what lies behind heart and ribs, down to the edge of the diaphragm.
            view: geometry and size of the picture.
            least_mm: the shortest way in the organ that counts.

        Raises:
            MedbookError: an unknown organ.
        """
        return masks.of_organ(self.anatomy, name, view, least_mm)

    @property
    def heart_ratio(self) -> Tensor:
        """Width of the heart over that of the cavity (n,), as the shapes have it."""
        return self.anatomy.ratio

    def followup(
        self,
        generator: torch.Generator,
        years: float = 0.5,
        growth: float | Tensor | None = None,
        news: Mapping[str, float | Tensor] | None = None,
        resolved: float = 0.15,
    ) -> Self:
        """The same people later: in another pose, their findings grown, shrunk, gone or new.

        Args:
            generator: on the device of the patients.
            years: between the two examinations.
            growth: factor of size of all findings, a number or (n,); random from 0.6 to 1.7 if
                left out.
            news: probability of each kind to be new; a tenth of `PREVALENCE` if left out.
            resolved: probability of each finding to be gone; cardiomegaly stays.

        >>> from medbook.phantom import thorax
        >>> people = thorax.sample(2, torch.Generator().manual_seed(0))
        >>> later = people.followup(torch.Generator().manual_seed(1), years=2.0)
        >>> (later.factors.age - people.factors.age).tolist()
        [2.0, 2.0]
        """
        draw = Streams.start(len(self), generator)
        age = (self.factors.age + years).clamp(max=100)
        return replace(
            self, factors=replace(self.factors, age=age), pose=Pose.draw(draw),
            findings=self.findings.later(draw, growth, news, resolved),
        )  # fmt: skip

    def reports(
        self, generator: torch.Generator, before: Self | None = None
    ) -> list[list[Sentence]]:
        """A report for each patient; see `medbook.phantom.thorax.reports.write`.

        A sentence's `slot` is the column of its finding in `masks` and `boxes`.
        """
        return write(self.findings, generator, before.findings if before is not None else None)

    def to(self, device: torch.device | str) -> Self:
        """The same patients on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def __getitem__(self, index: slice | Tensor) -> Self:
        return self._map(lambda tensor: tensor[index])

    def __len__(self) -> int:
        return len(self.seeds)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        factors, pose = self.factors.map(function), self.pose.map(function)
        return type(self)(function(self.seeds), factors, pose, self.findings.map(function))


def sample(
    n: int,
    generator: torch.Generator,
    prevalence: Mapping[str, float | Tensor] | None = None,
    factors: Factors | None = None,
) -> Thorax:
    """Draw patients with independent findings.

    Args:
        n: number of patients, >= 1.
        generator: the patients live on its device.
        prevalence: probability of each kind of finding, a number or (n,); those left out are as
            in `PREVALENCE`.
        factors: of n patients; random adults if left out.

    Raises:
        MedbookError: n < 1, an unknown finding, or no probability.

    >>> sample(3, torch.Generator().manual_seed(0), {"effusion": 1.0}).findings.has("effusion")
    tensor([True, True, True])
    """
    draw = Streams.start(n, generator)
    drawn = Factors.draw(draw)
    pose, findings = Pose.draw(draw), Findings.draw(draw, prevalence)
    return Thorax(draw.seeds, factors or drawn, pose, findings)
