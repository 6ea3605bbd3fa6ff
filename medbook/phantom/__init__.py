"""Phantoms: objects whose projections and images formulas know exactly."""

from medbook.phantom.axial import thorax_like
from medbook.phantom.base import Phantom, Sum
from medbook.phantom.brain import Brain
from medbook.phantom.heads import brain_like
from medbook.phantom.shapes import Boxes, Ellipsoids, Intersection
from medbook.phantom.slices import ellipses_and_lines
from medbook.phantom.waves import PlaneWaves

__all__ = [
    "Boxes", "Brain", "Ellipsoids", "Intersection", "Phantom", "PlaneWaves", "Sum", "brain_like",
    "ellipses_and_lines", "thorax_like",
]  # fmt: skip
