"""Who the patients are, and how they stand: what may be chosen freely, one number a patient."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.phantom.thorax.streams import Streams

RANGES = {
    "female": (0, 1), "age": (18, 100), "height": (1.4, 2.1), "bmi": (15, 50),
    "breath": (0, 1), "turn": (-0.5, 0.5), "arms": (0, 1),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Columns:
    """A record of tensors whose first axis counts patients."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self, index: slice | Tensor) -> Self:
        return self.map(lambda column: column[index])

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same record with changed tensors."""
        return type(self)(**{f.name: function(getattr(self, f.name)) for f in fields(self)})


@dataclass(frozen=True, eq=False)
class Factors(Columns):
    """What a patient is and stays, (n,) each; `dataclasses.replace` changes one alone.

    Attributes:
        female: 0 or 1. Moves width, height of the lungs, breasts, shoulders, bone.
        age: years, 18 to 100. Moves the depth of the chest, aorta, bone, curvature of the spine.
        height: m. All lengths grow with it.
        bmi: kg/m^2. Moves the fat under the skin, and the diaphragm.

    Raises:
        MedbookError: a number out of its range.
    """

    female: Tensor
    age: Tensor
    height: Tensor
    bmi: Tensor

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def draw(cls, draw: Streams) -> Self:
        """Adults of either sex, 20 to 90 years old.

        >>> Factors.draw(Streams(torch.arange(3))).age.shape
        torch.Size([3])
        """
        female, tall = draw.of("sex").chance(0.5).float(), draw.of("height").uniform
        height = torch.where(female > 0, tall(1.50, 1.76), tall(1.62, 1.92))
        heavy = draw.of("body mass").uniform
        bmi = 18 + 20 * heavy(0, 1) * heavy(0, 1)
        columns = female, draw.of("age").uniform(20, 90), height, bmi
        return cls(*(column[:, 0] for column in columns))


@dataclass(frozen=True, eq=False)
class Pose(Columns):
    """How a patient stands in one examination, (n,) each.

    Attributes:
        breath: 0 (shallow) to 1 (deep): the diaphragm and the air in the lungs.
        turn: rad about the body's axis, -0.5 to 0.5, anticlockwise seen from above.
        arms: 0 (hanging) to 1 (spread, as for a frontal X-ray).

    Raises:
        MedbookError: a number out of its range.
    """

    breath: Tensor
    turn: Tensor
    arms: Tensor

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def draw(cls, draw: Streams) -> Self:
        """Mostly deep breaths, turned by some degrees."""
        ranges = {"breath": (0.3, 1), "turn": (-0.06, 0.06), "arms": (0, 1)}
        return cls(*(draw.of(name).uniform(*ends)[:, 0] for name, ends in ranges.items()))


def _check(record: Columns) -> None:
    for field in fields(record):
        column, (low, high) = getattr(record, field.name), RANGES[field.name]
        if column.ndim != 1 or not ((column >= low) & (column <= high)).all():
            raise MedbookError(
                f"{field.name} must be (n,) between {low} and {high}, not {tuple(column.shape)} "
                f"of {column.aminmax() if column.numel() else 'nothing'}"
            )
