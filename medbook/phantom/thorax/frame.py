"""The sizes that organs share, and how shapes are placed in the patient's frame.

The frame, in mm: x towards the patient's left, y forwards, z up; the origin is in mid-chest.
"""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from medbook.phantom.shapes.convex import Boxes, Ellipsoids
from medbook.phantom.thorax.factors import Factors, Pose
from medbook.phantom.thorax.streams import Streams

Shape = TypeVar("Shape", Boxes, Ellipsoids)
Numbers = float | Tensor  # one for all, (n, 1) for each patient, or (n, k) for k shapes of each
SIDES = (-1, 1)  # the patient's right, at x < 0, and left
AWAY = 1e5  # mm: where shapes are that a patient does not have
HUGE = 2000.0  # mm: half of a side of a box that stands for a half-space


class Frame:
    """Sizes of n patients; all attributes are (n, 1), lengths in mm.

    Attributes:
        a: half the width of the thoracic cavity, an ellipsoid.
        b: half its depth.
        c: half its height.
        z: of its centre.
        apex: z of the top of the lungs, which end below that of the cavity.
        dome: z of the top of the right half of the diaphragm.
        wall: thickness of muscle and ribs around the cavity.
        rim: thickness of the fat under the skin.
        s: length of everything, 1 for 1.70 m.
        age: 0 at 20 and 1 at 90 years.
    """

    def __init__(self, draw: Streams, factors: Factors, pose: Pose) -> None:
        self.draw, self.factors, self.pose, u = draw, factors, pose, draw.of("frame").uniform
        self.female, self.s = factors.female[:, None] > 0.5, factors.height[:, None] / 1.7
        self.age = (factors.age[:, None] - 20) / 70
        self.breath, self.arms = pose.breath[:, None], pose.arms[:, None]
        bmi = factors.bmi[:, None]
        self.a = self.s * torch.where(self.female, u(112, 126), u(122, 138)) * (0.97 + 0.0012 * bmi)
        self.b = self.a * (u(0.60, 0.72) + 0.08 * self.age + 0.002 * (bmi - 22))
        self.apex = self.s * u(136, 150)
        self.c = self.s * torch.where(self.female, u(310, 340), u(320, 355))
        self.z = self.apex + 68 * self.s - self.c
        low, deep = u(-55, -38), u(-98, -76)
        self.dome = self.s * (torch.lerp(low, deep, self.breath) + 0.8 * (bmi - 24).clamp(0))
        self.wall = self.s * u(17, 23) * torch.where(self.female, 0.9, 1.0)
        self.rim = (3 + 1.1 * (bmi - 17).clamp(0)) * u(0.8, 1.2) * torch.where(self.female, 1.2, 1)
        self.kyphosis = u(0.6, 1.2) + 0.8 * self.age
        self.scoliosis = self.s * u(-5, 5)

    def width_at(self, z: Numbers, y: Numbers = 0.0) -> Tensor:
        """Half the width of the cavity at a height and depth, 0 above and below it."""
        rest = 1 - ((z - self.z) / self.c) ** 2 - (y / self.b) ** 2
        return self.a * rest.clamp(0).sqrt()

    def cavity(self, more: float = 0.0) -> Ellipsoids:
        """The thoracic cavity, grown by some mm."""
        return self.ellipsoids((0, 0, self.z), (self.a + more, self.b + more, self.c + more))

    def spine_at(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """X and y of the middle of the vertebral bodies at heights (n, k)."""
        t = z / (self.s * 150)
        bend = 14 * self.kyphosis * self.s * (t - 0.1) ** 2
        return self.scoliosis * torch.cos(2.2 * t), bend - 0.86 * self.b

    def ellipsoids(
        self,
        centre: tuple[Numbers, Numbers, Numbers],
        axes: tuple[Numbers, Numbers, Numbers],
        lean: Numbers = 0.0,
        pitch: Numbers = 0.0,
        yaw: Numbers = 0.0,
        value: Numbers = 0.0,
    ) -> Ellipsoids:
        """Ellipsoids whose axes along x, y, z are tilted; numbers broadcast.

        Args:
            centre: x, y, z in mm.
            axes: half-axes, mm.
            lean: rad, of the first axis upwards in the frontal plane.
            pitch: rad, of the second axis upwards in the sagittal plane, done first.
            yaw: rad, of the first axis forwards in the axial plane, done last.
            value: added inside, where values add.
        """
        numbers = self._all(*centre, *axes, lean, pitch, yaw, value)
        return Ellipsoids(*self._placed(numbers[:3], numbers[3:6], _turned(*numbers[6:9])),
                          numbers[9])  # fmt: skip

    def boxes(
        self,
        centre: tuple[Numbers, ...],
        axes: tuple[Numbers, ...],
        rotation: Tensor | None = None,
        value: Numbers = 0.0,
    ) -> Boxes:
        """Boxes whose axes are the columns of a rotation (n, k, 3, 3), those of the patient."""
        *numbers, value = self._all(*centre, *axes, value)
        if rotation is None:
            rotation = torch.eye(3).to(self.a)
        rotation = rotation.expand(*numbers[0].shape, 3, 3)
        return Boxes(*self._placed(numbers[:3], numbers[3:], rotation), value)

    def rods(self, start: Tensor, end: Tensor, radius: Numbers, value: Numbers) -> Ellipsoids:
        """Thin ellipsoids from place to place (n, k, 3), a little longer, so that they join."""
        along = end - start
        long = along.norm(dim=-1)
        axes = torch.stack(
            [0.6 * long + 0 * self.a, *2 * [radius + 0 * self.a + 0 * long]], -1
        )  # (n, k, 3)
        middle = (start + end) / 2
        centre, axes, rotation = self._placed(
            list(middle.unbind(-1)), list(axes.unbind(-1)), pointing(along)
        )
        return Ellipsoids(centre, axes, rotation, value + 0 * self.a + 0 * long)

    def _all(self, *numbers: Numbers) -> list[Tensor]:
        """All of them (n, k) of one k."""
        given = (torch.as_tensor(v).to(self.a) + 0 * self.a for v in numbers)
        return list(torch.broadcast_tensors(*given))

    def _placed(
        self, centre: list[Tensor], axes: list[Tensor], rotation: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """From the patient's frame to the room: the patient may be turned."""
        angle = self.pose.turn[:, None]
        room = _turned(0 * angle, 0 * angle, angle)  # (n, 1, 3, 3)
        moved = (room @ torch.stack(centre, -1)[..., None])[..., 0]
        return moved, torch.stack(axes, -1), room @ rotation


def joined(shapes: Sequence[Shape]) -> Shape:
    """All shapes of a kind in one, in this order."""
    columns = zip(*(shape._tensors() for shape in shapes), strict=True)
    return type(shapes[0])(*(torch.cat(column, 1) for column in columns))


def pointing(direction: Tensor) -> Tensor:
    """Rotations (..., 3, 3) whose first column points along a direction (..., 3)."""
    first = torch.nn.functional.normalize(direction, dim=-1)
    least = torch.nn.functional.one_hot(first.abs().argmin(-1), 3).to(first)
    second = torch.nn.functional.normalize(torch.linalg.cross(first, least), dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def _turned(lean: Tensor, pitch: Tensor, yaw: Tensor) -> Tensor:
    """Rotations (n, k, 3, 3): pitch about x first, then lean about y, then yaw about z."""
    (cl, sl), (cp, sp), (cy, sy) = ((t.cos(), t.sin()) for t in (lean, pitch, yaw))
    zero, one = torch.zeros_like(cl), torch.ones_like(cl)

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, -1).unflatten(-1, (3, 3))

    about_x = matrix(one, zero, zero, zero, cp, -sp, zero, sp, cp)
    about_y = matrix(cl, zero, -sl, zero, one, zero, sl, zero, cl)
    about_z = matrix(cy, -sy, zero, sy, cy, zero, zero, zero, one)
    return about_z @ about_y @ about_x
