"""Who the patients are, and how they stand: what may be chosen freely, one number a patient."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.phantom.draw import Draw

RANGES = {
    "female": (0, 1), "age": (18, 100), "height": (1.4, 2.1), "bmi": (15, 50),
    "breath": (0, 1), "turn": (-0.5, 0.5), "arms": (0, 1),
}  # fmt: skip


class Table(Draw):
    """Random numbers that were drawn before: the same table gives the same patient again."""

    def __init__(self, table: Tensor) -> None:
        """Read the columns of a table (n, K) of numbers between 0 and 1, from the left."""
        self.n, self.table, self.used = len(table), table, 0

    def uniform(self, low: float | Tensor, high: float | Tensor, k: int = 1) -> Tensor:
        """Evenly between low and high: the next k columns.

        >>> Table(torch.full((2, 9), 0.5)).uniform(1, 3, k=4).shape
        torch.Size([2, 4])
        """
        if self.used + k > self.table.shape[1]:
            raise MedbookError(f"the table has {self.table.shape[1]} columns, all are used")
        share = self.table[:, self.used : self.used + k]
        self.used += k
        return low + (high - low) * share


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
    def draw(cls, draw: Draw) -> Self:
        """Adults of either sex, 20 to 90 years old.

        >>> Factors.draw(Draw(3, torch.Generator().manual_seed(0))).age.shape
        torch.Size([3])
        """
        u, female = draw.uniform, draw.chance(0.5).float()
        height = torch.where(female > 0, u(1.50, 1.76), u(1.62, 1.92))
        columns = female, u(20, 90), height, 18 + 20 * u(0, 1) * u(0, 1)
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
    def draw(cls, draw: Draw) -> Self:
        """Mostly deep breaths, turned by some degrees."""
        u = draw.uniform
        return cls(*(column[:, 0] for column in (u(0.3, 1), u(-0.06, 0.06), u(0, 1))))


def _check(record: Columns) -> None:
    for field in fields(record):
        column, (low, high) = getattr(record, field.name), RANGES[field.name]
        if column.ndim != 1 or not ((column >= low) & (column <= high)).all():
            raise MedbookError(
                f"{field.name} must be (n,) between {low} and {high}, not {tuple(column.shape)} "
                f"of {column.aminmax() if column.numel() else 'nothing'}"
            )
