"""How close phantom X-rays come to real ones: a lung segmenter, histograms and power spectra.

The committed table is made by `python ci/bench/phantom_realism.py --out
ci/bench/phantom_realism.md` with the set chest_xray_lungs in `MEDBOOK_DATA`.
"""

import math
from functools import partial

import numpy as np
import torch
from measure import arguments, machine, publish
from scipy.stats import wasserstein_distance
from torch import Tensor, nn
from torch.nn import functional as F

from medbook import data
from medbook._book.markdown import table
from medbook.networks import UNet
from medbook.phantom import thorax
from medbook.training import fit, predict

SIDE, HELD_OUT, COPIES = 64, 0.25, 6  # px; share of the patients; changed copies of each picture
FIELD = (
    340.0  # mm: the real pictures are centre squares, in which the chest fills most of the width
)
WIDTHS = (8, 16, 32, 64)

DICE = """\
A U-Net sees {train} real X-rays with lung masks, each in {copies} copies (turned, moved, scaled and
of other contrast), and no phantom. It is then given {val} real ones of other patients, and phantoms
against the phantom's own lung masks. Dice of both lungs: mean over pictures, the tenth part, the
least. Real masks were drawn by people and hold what lies behind the heart, as the phantom's do."""
GREY = """\
Grey values are brought to 0 to 1. *Distance* is the first Wasserstein distance of the pooled grey
values to those of half of the real pictures; *slope* is that of the logarithm of the power over
the logarithm of the frequency, between 2 and {nyquist} cycles a picture width, averaged over all
directions (natural pictures: about -2 to -3)."""


def main() -> None:
    parser = arguments(__doc__, "phantom_realism.md")
    parser.add_argument("--seed", type=int, default=0, help="of the phantoms and the segmenter")
    options = parser.parse_args()
    n, steps, source = (8, 5, "twin") if options.quick else (48, 400, "auto")
    real = data.images("chest_xray_lungs", 128, source=source)
    pictures = F.avg_pool2d(real.images, 128 // SIDE) / 255
    truth = F.avg_pool2d((real.masks if real.masks is not None else 0 * real.images).float(),
                         128 // SIDE) >= 0.5  # fmt: skip
    held = real.groups >= real.groups.unique().float().quantile(1 - HELD_OUT)
    train, val = real.has_mask & ~held, real.has_mask & held
    network = segmenter(pictures[train], truth[train], steps, options.seed)
    rows = [["real, other patients", *scores(network, pictures[val], truth[val])]]
    shown = {}
    for name, prevalence in (("healthy phantoms", dict.fromkeys(thorax.KINDS, 0.0)),
                             ("phantoms with findings", {})):  # fmt: skip
        generator = torch.Generator().manual_seed(options.seed + 100)
        shown[name], lungs = phantoms(n, generator, prevalence)
        rows.append([name, *scores(network, shown[name], lungs)])
    half = torch.arange(len(pictures)) % 2 == 0
    compared = {"real, other half": pictures[~half], **shown}
    grey = [
        [name, *greys(some, pictures[half])]
        for name, some in {"real, one half": pictures[half], **compared}.items()
    ]
    texts = DICE.format(train=int(train.sum()), val=int(val.sum()), copies=COPIES)
    publish([
        "# Phantom X-rays beside real ones", machine(1),
        f"Real pictures: {real.kind}, {real.credit}",
        f"## Lungs found by a network that saw only real X-rays, {SIDE} px", texts,
        table(["pictures", "number", "Dice, mean", "tenth part", "least"], rows),
        "## Grey values and power", GREY.format(nyquist=SIDE // 4),
        table(["pictures", "mean", "standard deviation", "distance", "slope"], grey),
    ], options.out)  # fmt: skip


def segmenter(pictures: Tensor, truth: Tensor, steps: int, seed: int) -> nn.Module:
    """A U-Net for lungs, trained on changed copies."""
    generator = torch.Generator().manual_seed(seed)
    both = torch.cat([pictures, truth.float()], 1).repeat(COPIES, 1, 1, 1)
    moved = changed(both, generator)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = UNet(1, 1, WIDTHS, block, nn.MaxPool2d(2), up)
    fit(network, moved[:, :1].contiguous(), moved[:, 1:].contiguous(), steps=steps, seed=seed,
        batch_size=16, lr=3e-3, loss=overlap, augment=relit)  # fmt: skip
    return network


def block(a: int, b: int) -> nn.Module:
    layers = (
        (nn.Conv2d(c, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()) for c in (a, b)
    )
    return nn.Sequential(*(layer for layers_ in layers for layer in layers_))


def up(a: int, b: int) -> nn.Module:
    return nn.ConvTranspose2d(a, b, 2, 2)


def overlap(found: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy plus one minus the Dice of the probabilities."""
    p = found.sigmoid()
    dice = 2 * (p * truth).sum() / (p.sum() + truth.sum() + 1)
    return F.binary_cross_entropy_with_logits(found, truth) + 1 - dice


def changed(both: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures and masks turned, moved and scaled together; black comes in at the sides."""
    u = torch.rand(4, len(both), generator=generator) * 2 - 1
    angle, scale, shift = 0.15 * u[0], torch.exp(0.25 * u[1]), 0.15 * u[2:]
    c, s = angle.cos() * scale, angle.sin() * scale
    theta = torch.stack([torch.stack([c, -s, shift[0]], 1), torch.stack([s, c, shift[1]], 1)], 1)
    grid = F.affine_grid(theta, list(both.shape), align_corners=False)
    return F.grid_sample(both, grid, align_corners=False)


def relit(x: Tensor, generator: torch.Generator) -> Tensor:
    """Another brightness, contrast and gamma for each picture."""
    u = torch.rand(3, len(x), 1, 1, 1, generator=generator, device=x.device) * 2 - 1
    bent = x.clamp(0, 1) ** torch.exp(0.4 * u[0])
    return ((bent - 0.5) * torch.exp(0.25 * u[1]) + 0.5 + 0.1 * u[2]).clamp(0, 1)


def phantoms(
    n: int, generator: torch.Generator, prevalence: dict[str, float]
) -> tuple[Tensor, Tensor]:
    """Frontal X-rays as the default scanner shows them, and the shadow of the lungs."""
    people = thorax.sample(n, generator, prevalence)
    view = thorax.View(SIDE, FIELD, oversample=2)
    shown = thorax.Scanner().picture(people.xray(view), view, generator)
    return shown, people.organ("lungs", view)


def scores(network: nn.Module, pictures: Tensor, truth: Tensor) -> list[object]:
    """Number of pictures, and mean, tenth part and least Dice."""
    found = predict(network, pictures) > 0
    both = (found & truth).flatten(1).sum(1)
    dice = 2 * both / (found.flatten(1).sum(1) + truth.flatten(1).sum(1)).clamp(min=1)
    numbers = dice.mean(), dice.quantile(0.1), dice.min()
    return [len(dice), *(f"{value:.3f}" for value in numbers)]


def greys(pictures: Tensor, reference: Tensor) -> list[str]:
    pool = partial(np.asarray, dtype=np.float64)
    distance = wasserstein_distance(pool(pictures.flatten()), pool(reference.flatten()))
    numbers = pictures.mean(), pictures.std(), distance, slope(pictures)
    return [f"{value:.3f}" for value in numbers]


def slope(pictures: Tensor) -> float:
    """Of log power over log frequency: a straight line by least squares."""
    size = pictures.shape[-1]
    window = torch.hann_window(size, periodic=False)
    flat = (pictures - pictures.mean((-2, -1), keepdim=True)) * window * window[:, None]
    power = torch.fft.fft2(flat).abs().square().mean((0, 1))
    f = torch.fft.fftfreq(size) * size
    radius = torch.hypot(f, f[:, None]).round().long()
    rings = torch.arange(2, size // 4 + 1)
    means = torch.stack([power[radius == r].mean() for r in rings])
    return float(np.polyfit([math.log(r) for r in rings.tolist()], means.log().numpy(), 1)[0])


if __name__ == "__main__":
    main()
