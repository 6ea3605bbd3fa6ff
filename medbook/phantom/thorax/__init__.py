"""Phantom patients: one record, and from the same shapes X-rays, CT, masks, boxes and reports."""

from medbook.phantom.thorax.factors import Factors, Pose
from medbook.phantom.thorax.findings import KINDS, PREVALENCE, SLOTS, Findings
from medbook.phantom.thorax.materials import ENERGIES, MATERIALS, attenuation
from medbook.phantom.thorax.organs import LABELS
from medbook.phantom.thorax.patient import Thorax, sample
from medbook.phantom.thorax.reports import Sentence, text
from medbook.phantom.thorax.scanner import Scanner
from medbook.phantom.thorax.views import View
from medbook.phantom.thorax.volumes import Grid

__all__ = [
    "ENERGIES", "KINDS", "LABELS", "MATERIALS", "PREVALENCE", "SLOTS", "Factors", "Findings",
    "Grid", "Pose", "Scanner", "Sentence", "Thorax", "View", "attenuation", "sample", "text",
]  # fmt: skip
