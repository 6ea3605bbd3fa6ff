"""Phantom patients: one record, and from the same shapes X-rays, CT, masks, boxes and reports.

    people = sample(16, generator, {"effusion": 0.5})   # who they are, what they have
    view = View(128, angle=0.0)                          # source and detector
    people.xray(view, "high", bones=True)                # line integrals, (n, 1, H, W)
    Scanner().picture(people.xray(view), view, generator)  # what the screen shows, 0 to 1
    people.volume(Grid(64, 6.25)), people.labels(...)    # CT in HU, and what is in each voxel
    people.masks(view), people.boxes(view)               # (n, F, H, W), (n, F, 4): a slot a finding
    people.organ("lungs", view)                          # (n, 1, H, W)
    people.reports(generator)                            # sentences, each with its slot
    people.followup(generator)                           # the same people later
    replace(people, factors=..., findings=...)           # the same people, had something been other

Everything follows from a seed per patient, `Factors`, `Pose` and `Findings`; nothing is
stored twice, so no output can disagree with another. Shapes are convex; a line enters and leaves
each once, so X-rays need no voxels and a reconstruction of them commits no inverse crime.

Who uses what (slugs of the systems):

- text and pictures (convirt, unimed-clip, devide, flair, simcrop, biomedcoop, llava-rad, m3ret,
  medimageinsight): `xray`, `volume` (simcrop, m3ret), `reports`, `Findings.labels`
- boxes and masks from text (structural-glip, abnormality-grounding, vlsm, anatomy-vlm): `reports`
  with `masks`, `boxes` and `organ`
- making pictures (roentgen, rfo-bench, causal-longtail-gen, bs-ldm, diffusion-survey): `reports`;
  sponge and needle; `replace` of factors or findings; pairs by `bones=False` at two energies
- X-rays from CT, few views (ct2x-gan, mindi-3d, gaussian-object, spare-rendering): `volume`, `xray`
  at any angle with a near source
- examinations in time (sadm): `followup`, `reports(generator, before)`
- shortcuts, fairness, concepts, other machines (mask-of-truth, clip-cxr-fairness, robust-cbm,
  knobo, qformer-ae, adverx-ray, intrinsic-properties): `prevalence` given for each patient, such as
  a drain that comes with an effusion; `Factors`; `Findings.labels` as concepts; `Scanner` as
  another hospital
- segmentation (gms, dsaif, medsamix, sam-med2d, sam-med3d): `masks`, `organ`, `labels`
"""

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
