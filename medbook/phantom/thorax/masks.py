"""Where findings and organs are in a picture."""

from dataclasses import replace

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.phantom.thorax.anatomy import LUNGS, Anatomy
from medbook.phantom.thorax.findings import DEVICES, SLOTS, Findings, slots
from medbook.phantom.thorax.organs import LABELS
from medbook.phantom.thorax.splat import splat
from medbook.phantom.thorax.views import View

COVERED = 15.0  # mm of abdomen: what lies behind a dome is not counted to the lungs' shadow
LEAST = 2.0  # mm: a ray that passes less of a finding does not show it
RAYS = 2  # along each side of a pixel, at least
WITHIN = tuple(LABELS.index(name) for name in ("lesion", "pleural fluid", "pleural air"))
PAINTED = [name for name in LABELS if name not in ("air", "bone", "metal")]


def of_findings(anatomy: Anatomy, found: Findings, view: View) -> Tensor:
    """Pixels that rays of at least 2 mm in the finding reach: (n, F, H, W) bool."""
    view = _finer(view)
    n, shape = len(found), view.shape
    masks = torch.zeros(n, len(SLOTS), *shape, dtype=torch.bool, device=found.present.device)
    wanted = [
        number for number, kind in enumerate(SLOTS)
        if kind not in DEVICES and found.present[:, number].any()
    ]  # fmt: skip
    if wanted:
        chosen = torch.stack([_of_slot(anatomy, number) for number in wanted], 1)
        masks[:, wanted] = _reached(anatomy.lengths(view, chosen) >= LEAST, view)
    for kind in DEVICES:
        (number,) = slots(kind)
        if found.present[:, number].any():
            masks[:, number] = _reached(_device(anatomy, kind, view)[:, None], view)[:, 0]
    return masks & found.present[..., None, None]


def of_organ(anatomy: Anatomy, name: str, view: View, least_mm: float) -> Tensor:
    """Pixels whose rays are that long in an organ: (n, 1, H, W) bool."""
    if name not in (*PAINTED, "lungs"):
        raise MedbookError(f"no organ is called {name!r}: give lungs or {', '.join(PAINTED)}")
    numbers = (*LUNGS, *WITHIN) if name == "lungs" else (LABELS.index(name),)
    groups = [numbers, (LABELS.index("abdomen"), LABELS.index("stomach gas"))]
    chosen = torch.stack([
        torch.isin(anatomy.label, torch.tensor(group, device=anatomy.label.device))
        for group in groups
    ], 1)  # fmt: skip
    fine = anatomy.lengths(view, chosen.double())
    length, below = torch.nn.functional.avg_pool2d(fine, view.oversample).split(1, 1)
    return (length >= least_mm) & ((below < COVERED) | (name != "lungs"))


def boxes(masks: Tensor) -> Tensor:
    """Left, top, right and bottom edges in px around masks (..., H, W): (..., 4)."""
    edges = []
    for axis in (-2, -1):  # what is left of the columns, then of the rows
        there = masks.any(axis)
        size = there.shape[-1]
        first = there.int().argmax(-1)
        last = size - there.flip(-1).int().argmax(-1)
        edges.append((first * there.any(-1), last * there.any(-1)))
    (left, right), (top, bottom) = edges
    return torch.stack([left, top, right, bottom], -1)


def _finer(view: View) -> View:
    return replace(view, oversample=max(RAYS, view.oversample))


def _reached(fine: Tensor, view: View) -> Tensor:
    """Pixels of which any ray is in (n, C, h, w)."""
    return torch.nn.functional.max_pool2d(fine.float(), view.oversample) > 0


def _of_slot(anatomy: Anatomy, number: int) -> Tensor:
    """1 for the shapes of a finding; those of an enlarged heart are the heart's: (n, M)."""
    if SLOTS[number] == "cardiomegaly":
        return (anatomy.label == LABELS.index("heart")).double()
    return (anatomy.slot == number).double().expand(anatomy.label.shape)


def _device(anatomy: Anatomy, kind: str, view: View) -> Tensor:
    """Fine pixels that rods touch: those whose middle lies in rods thicker by half a pixel."""
    rods, fine = anatomy.devices[kind], view.fine
    thicker = replace(rods, axes=rods.axes + 0.6 * fine.pixel_mm)
    return splat(thicker, fine) > 0
