"""Phantoms: objects whose projections and images formulas know exactly."""

from medbook.phantom.shapes.base import Phantom, Sum
from medbook.phantom.shapes.convex import Boxes, Ellipsoids, Intersection
from medbook.phantom.slices.axial import thorax_like
from medbook.phantom.slices.brain import Brain
from medbook.phantom.slices.heads import brain_like
from medbook.phantom.slices.plain import ellipses_and_lines
from medbook.phantom.slices.waves import PlaneWaves

__all__ = [
    "Boxes", "Brain", "Ellipsoids", "Intersection", "Phantom", "PlaneWaves", "Sum", "brain_like",
    "ellipses_and_lines", "thorax_like",
]  # fmt: skip
