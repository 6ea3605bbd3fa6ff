"""What a patient has: a table of findings, in slots of fixed kind.

A finding is there or not; it has a side, a zone (a third of the lung's height), a place within
the zone, and a size. Shapes follow from these numbers and the anatomy, so the same nodule can grow,
or move to another patient.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.phantom.thorax.factors import Columns
from medbook.phantom.thorax.streams import Streams

SLOTS = (
    "nodule", "nodule", "mass", "consolidation", "effusion", "effusion", "pneumothorax",
    "cardiomegaly", "drain", "sponge", "needle",
)  # fmt: skip
KINDS = tuple(dict.fromkeys(SLOTS))
NAMES = tuple(f"{kind} {SLOTS[:slot].count(kind)}" for slot, kind in enumerate(SLOTS))
ZONES = "lower", "middle", "upper"
SIZES = "small", "moderate", "large"

# smallest, moderate from, large from, largest
RANGES: dict[str, tuple[float, float, float, float]] = {
    "nodule": (8, 13, 20, 29),  # mm across
    "mass": (31, 42, 55, 70),  # mm across
    "consolidation": (40, 65, 95, 130),  # mm across
    "effusion": (35, 60, 90, 130),  # mm of height over the lowest point of the dome's edge
    "pneumothorax": (12, 25, 40, 60),  # mm from the chest wall to the lung at the side
    "cardiomegaly": (0.54, 0.58, 0.63, 0.70),  # width of the heart over that of the cavity
    "drain": (1, 2, 3, 4), "sponge": (1, 2, 3, 4), "needle": (1, 2, 3, 4),  # of one size each
}  # fmt: skip
HEALTHY_HEART = 0.41, 0.48  # of the same unit as cardiomegaly
DEVICES = "drain", "sponge", "needle"
PREVALENCE = {
    "nodule": 0.15, "mass": 0.1, "consolidation": 0.15, "effusion": 0.15, "pneumothorax": 0.1,
    "cardiomegaly": 0.2, "drain": 0.05, "sponge": 0.02, "needle": 0.02,
}  # fmt: skip
GROWTH = 1.18  # the least factor of size between visits that a report speaks of


@dataclass(frozen=True, eq=False)
class Findings(Columns):
    """One row a patient and one column a slot of `SLOTS`, (n, F) each.

    Attributes:
        present: bool.
        side: -1 (the patient's right) or 1 (left).
        zone: 0 lower, 1 middle, 2 upper.
        size: in the unit of `RANGES`, within its ends.
        place: (n, F, 3) between 0 and 1: across, forwards and up within what zone and side allow.

    Raises:
        MedbookError: tensors that do not fit to each other, or numbers out of their range.
    """

    present: Tensor
    side: Tensor
    zone: Tensor
    size: Tensor
    place: Tensor

    def __post_init__(self) -> None:
        shape = (len(self.present), len(SLOTS))
        given = [tuple(t.shape[:2]) for t in (self.present, self.side, self.zone, self.size)]
        if {*given, tuple(self.place.shape[:2])} != {shape}:
            raise MedbookError(f"findings must be (n, {len(SLOTS)}), not {given}")
        low, high = (torch.tensor(ends).to(self.size) for ends in _ends())
        ok = (
            ((self.size >= low) & (self.size <= high)).all() and (self.side.abs() == 1).all()
            and ((self.zone >= 0) & (self.zone <= 2)).all()
            and ((self.place >= 0) & (self.place <= 1)).all()
        )  # fmt: skip
        if not ok:
            raise MedbookError(
                "side must be -1 or 1, zone 0 to 2, place 0 to 1, and size within RANGES: "
                f"{low.tolist()} to {high.tolist()}"
            )

    @property
    def severity(self) -> Tensor:
        """0 small, 1 moderate, 2 large: (n, F)."""
        steps = torch.tensor([RANGES[kind][1:3] for kind in SLOTS]).to(self.size)
        return (self.size[..., None] >= steps).sum(-1)

    def has(self, kind: str) -> Tensor:
        """Whether a patient has any finding of a kind: (n,) bool.

        Raises:
            MedbookError: an unknown kind.
        """
        return self.present[:, slots(kind)].any(1)

    def labels(self) -> Tensor:
        """One column for each of `KINDS`: (n, K) bool."""
        return torch.stack([self.has(kind) for kind in KINDS], 1)

    @classmethod
    def draw(
        cls, draw: Streams, prevalence: Mapping[str, float | Tensor] | None = None
    ) -> "Findings":
        """Independent findings; a kind with two slots is as frequent as told, too.

        Args:
            draw: of as many patients.
            prevalence: probability of each kind, a number or (n,); those left out are as in
                `PREVALENCE`. 0 and 1 decide; correlated kinds, such as a drain that comes with an
                effusion, are made by giving one the result of the other.

        Raises:
            MedbookError: an unknown kind, or no probability.

        >>> some = Findings.draw(Streams(torch.arange(4)), {"mass": 1.0})
        >>> some.has("mass")
        tensor([True, True, True, True])
        """
        chance = _chances(dict(PREVALENCE) | dict(prevalence or {}), draw.n)
        # there, side, zone, size, and the three of the place: seven numbers of each slot
        share = torch.stack([draw.of(name).uniform(0, 1, 7) for name in NAMES], 1)
        present = share[..., 0] < chance.to(share)
        side = torch.where(share[..., 1] < 0.5, 1, -1)
        zone = (3 * share[..., 2]).long().clamp(max=2)
        low, high = (torch.tensor(ends).to(share) for ends in _ends())
        size, place = low + (high - low) * share[..., 3], share[..., 4:]
        first, second = slots("effusion")
        side[:, second] = -side[:, first]  # one on either side
        return cls(present, side, zone, size, place)

    def later(
        self,
        draw: Streams,
        growth: float | Tensor | None = None,
        news: Mapping[str, float | Tensor] | None = None,
        resolved: float = 0.15,
    ) -> "Findings":
        """After some time; see `Thorax.followup`. A new finding is drawn anew, an old one keeps
        its side and place.
        """  # noqa: D205
        rare = {kind: 0.1 * chance for kind, chance in PREVALENCE.items()}
        fresh = Findings.draw(draw, rare | dict(news or {}))
        course = [draw.of(f"{name}, course") for name in NAMES]
        factor = torch.exp(torch.cat([one.uniform(-0.5, 0.55) for one in course], 1))
        if growth is not None:
            factor = torch.as_tensor(growth).to(factor).reshape(-1, 1).expand_as(factor)
        (heart,), low, high = slots("cardiomegaly"), *(torch.tensor(e).to(factor) for e in _ends())
        gone = torch.cat([one.chance(resolved) for one in course], 1)
        gone[:, heart] = False
        fixed = torch.tensor([kind in DEVICES for kind in SLOTS]).to(gone.device)
        factor = torch.where(fixed, 1.0, factor)
        grown = torch.maximum(torch.minimum(self.size * factor, high), low)
        old = self.present
        return Findings(
            torch.where(old, ~gone, fresh.present), torch.where(old, self.side, fresh.side),
            torch.where(old, self.zone, fresh.zone), torch.where(old, grown, fresh.size),
            torch.where(old[..., None], self.place, fresh.place),
        )  # fmt: skip

    def without(self, *kinds: str) -> "Findings":
        """The same patients, cured of some kinds."""
        present = self.present.clone()
        for kind in kinds:
            present[:, slots(kind)] = False
        return replace(self, present=present)


def slots(kind: str) -> list[int]:
    """The columns of a kind.

    >>> slots("effusion")
    [4, 5]
    """
    if kind not in SLOTS:
        raise MedbookError(f"no finding is called {kind!r}: give one of {', '.join(KINDS)}")
    return [number for number, name in enumerate(SLOTS) if name == kind]


def _ends() -> tuple[list[float], list[float]]:
    return [RANGES[kind][0] for kind in SLOTS], [RANGES[kind][3] for kind in SLOTS]


def _chances(prevalence: Mapping[str, float | Tensor], n: int) -> Tensor:
    """Of each slot (n, F), so that at least one slot of a kind is taken as often as told."""
    columns = {}
    for kind, given in prevalence.items():
        numbers = torch.as_tensor(given, dtype=torch.get_default_dtype(), device="cpu")
        chance = numbers.expand(n)
        if not ((chance >= 0) & (chance <= 1)).all():
            raise MedbookError(f"prevalence of {kind} must lie between 0 and 1, not {given}")
        columns[kind] = 1 - (1 - chance) ** (1 / len(slots(kind)))
    return torch.stack([columns[kind] for kind in SLOTS], 1)
