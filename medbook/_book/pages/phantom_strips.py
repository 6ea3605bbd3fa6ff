"""Pictures of phantom patients, beside real X-rays where these are at hand."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from medbook import data
from medbook._book.project import Project
from medbook.errors import MedbookError
from medbook.phantom import thorax
from medbook.show import plots

SIDE, FIELD, SHOWN, DPI = 96, 360.0, 8, 90
REAL = "chest_xray_lungs"


def strips(project: Project) -> str:
    """Figures of healthy patients, of pairs and of findings."""
    return "\n\n".join([_beside_real_ones(), _pair(), _findings()])


@cache  # the same on every call
def _beside_real_ones() -> str:
    """Sixteen phantoms, and as many real X-rays if the data folder has them."""
    people, generator = _drawn(2 * SHOWN, {})
    shown = _screen(people.xray(_view()), generator)
    rows, note = [shown[:SHOWN], shown[SHOWN:]], ""
    alt = "Two rows of eight generated chest X-rays that differ in build, heart and findings."
    if (real := _real()) is not None:
        rows += [real[0][:SHOWN], real[0][SHOWN:]]
        note = f" Below: sixteen real X-rays of children. {real[1]}"
        alt += " Below them two rows of eight real ones, with finer texture and sharper ribs."
    figure = plots.image_grid(list(rows))
    caption = f"Phantom patients with random findings, {SIDE} px. Not pictures of anybody.{note}"
    return plots.card(plots.data_uri(figure, DPI), alt, caption)


@cache
def _pair() -> str:
    """One patient at two energies, without bones, from the side, and the lungs."""
    people, generator = _drawn(1, dict.fromkeys(thorax.KINDS, 0.0))
    view, side = _view(), _view(angle=torch.pi / 2)
    lines = {
        "40 keV": people.xray(view, "low"), "70 keV": people.xray(view),
        "no bones": people.xray(view, bones=False), "bones": people.paths(view)[:, 1:2] / 10,
        "from the left": people.xray(side),
    }  # fmt: skip
    pictures = [_screen(y, generator) for y in lines.values()]
    lungs = people.organ("lungs", view)[:, 0, ..., None].permute(0, 3, 1, 2)
    grey = np.where(lungs.numpy(), 255, 0).astype(np.uint8)
    figure = plots.image_grid(np.concatenate([*pictures, grey]), titles=[*lines, "lungs"])
    caption = "One patient: exact pairs, another view, and the shadow of the lungs."
    alt = (
        "Six generated pictures of one chest: at 40 keV ribs are brighter than at 70 keV; without "
        "bones no rib is left; the bones alone; the chest from the side; a mask of both lungs."
    )
    return plots.card(plots.data_uri(figure, DPI), alt, caption)


@cache
def _findings() -> str:
    """One patient with each finding in turn, above, and its mask."""
    eye = torch.eye(len(thorax.KINDS))
    chances = dict(zip(thorax.KINDS, eye, strict=True))
    people, generator = _drawn(len(thorax.KINDS), chances)
    shown = _screen(people.xray(_view()), generator)
    mask = people.masks(_view()).any(1, keepdim=True).numpy()
    rows = [shown, np.where(mask, 255, shown // 3).astype(np.uint8)]
    figure = plots.image_grid(list(rows), titles=list(thorax.KINDS), labels=["X-ray", "mask"])
    report = thorax.text(people.reports(generator)[0])
    caption = f"Each finding in another patient, and its mask in white. The first report: {report}"
    alt = (
        "Generated chest X-rays, one for each finding: " + ", ".join(thorax.KINDS) + "; below, the "
        "pixels of the finding are white."
    )
    return plots.card(plots.data_uri(figure, DPI), alt, caption)


def _drawn(
    n: int, chances: dict[str, float] | dict[str, Tensor]
) -> tuple[thorax.Thorax, torch.Generator]:
    generator = torch.Generator().manual_seed(0)
    return thorax.sample(n, generator, chances), generator


def _view(angle: float = 0.0) -> thorax.View:
    return thorax.View(SIDE, FIELD, angle)


def _screen(y: Tensor, generator: torch.Generator) -> np.ndarray:
    """As the default scanner shows it: uint8 (n, 1, H, W)."""
    shown = thorax.Scanner().picture(y, _view(), generator)
    return (255 * shown).round().to(torch.uint8).numpy()


def _real() -> tuple[np.ndarray, str] | None:
    """Sixteen real X-rays at equal steps and their credit line, if they can be had."""
    try:
        found = data.load(REAL, 128, source="real")
    except MedbookError:
        return None
    index = np.linspace(0, found.n - 1, 2 * SHOWN).astype(int)
    pictures = torch.nn.functional.interpolate(found.images[index], SIDE, mode="area")
    return pictures.round().to(torch.uint8).numpy(), found.credit
