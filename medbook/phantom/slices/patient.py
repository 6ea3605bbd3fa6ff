"""Who is scanned: the sizes and tissues that the organs of a slice share."""

import torch
from torch import Tensor

from medbook.phantom.draw import Draw
from medbook.phantom.shapes.convex import Boxes, Ellipsoids
from medbook.physics.ct.measure import MU_WATER

Numbers = float | Tensor  # one for all, (n, 1) for each patient, or (n, k) for k shapes of each
UNITS = MU_WATER / 1000  # attenuation of 1 HU


class Patient:
    """n patients; all attributes are (n, 1), lengths in mm.

    Attributes:
        height: of the slice: 0 at the liver, 1 at the shoulders.
        arms_down: beside the body; patients are smaller then, to fit into the field.
        a: half the width of the body.
        b: half its depth.
        rim: thickness of the fat under the skin.
        cavity_a: half the width of the thoracic cavity.
        cavity_b: half its depth.
        muscle: HU, of all soft tissue of which nothing else is said.
        fat: HU.
        lung: HU.
        blood: HU, higher with contrast medium.
    """

    def __init__(self, draw: Draw, scale: float) -> None:
        """Draw sizes and tissues; `scale` multiplies every length."""
        self.draw, self.scale, uniform = draw, scale, draw.uniform
        self.height, self.arms_down = uniform(0, 1), draw.chance(0.1)
        self.a = torch.where(self.arms_down, uniform(108, 124), uniform(135, 170))
        self.b = self.a * uniform(0.68, 0.84) * (1 - 0.15 * self.height**3)
        self.rim, wall = self.b * uniform(0.02, 0.13), self.a * uniform(0.07, 0.1)
        narrow = 1 - uniform(0.1, 0.35) * self.height**2
        self.cavity_a = (self.a - self.rim - wall) * narrow
        self.cavity_b = 0.95 * (self.b - self.rim - wall) * narrow.sqrt()
        self.muscle, self.fat, self.lung = uniform(10, 45), uniform(-120, -80), uniform(-890, -800)
        self.blood = self.muscle + torch.where(draw.chance(0.6), uniform(30, 250), uniform(0, 15))
        self.shift, self.turn = draw.disc(8.0), uniform(-0.08, 0.08)

    def ellipses(
        self, x: Numbers, y: Numbers, a: Numbers, b: Numbers, angle: Numbers = 0, hu: Numbers = 0
    ) -> Ellipsoids:
        """Ellipses in the patient's frame that raise the sum by `hu`; numbers broadcast."""
        return Ellipsoids.from_angle(*self._placed(x, y, a, b, angle, hu))

    def boxes(self, x: Numbers, y: Numbers, a: Numbers, b: Numbers) -> Boxes:
        """Rectangles of value 0."""
        return Boxes.from_angle(*self._placed(x, y, a, b, 0, 0))

    def _placed(self, *numbers: Numbers) -> tuple[Tensor, ...]:
        """Centre, axes, angle and value, in mm of the scanner and 1/mm."""
        x, y, a, b, angle, hu = torch.broadcast_tensors(
            *(torch.as_tensor(v).to(self.a) + 0 * self.a for v in numbers)
        )
        c, s = self.turn.cos(), self.turn.sin()
        centre = torch.stack([c * x - s * y, s * x + c * y], -1) + self.shift
        axes = torch.stack([a, b], -1)
        return self.scale * centre, self.scale * axes, angle + self.turn, UNITS * hu
