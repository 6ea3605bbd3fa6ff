"""Phantoms: objects whose projections and images formulas know exactly."""

from medbook.phantom.base import Phantom, Sum
from medbook.phantom.shapes import Boxes, Ellipsoids, Intersection
from medbook.phantom.slices import ellipses_and_lines
from medbook.phantom.thorax import thorax_like

__all__ = [
    "Boxes", "Ellipsoids", "Intersection", "Phantom", "Sum", "ellipses_and_lines", "thorax_like",
]  # fmt: skip
