"""How close phantom X-rays come to real ones: a lung segmenter, histograms and power spectra.

The committed table is made by `python ci/bench/phantom_realism.py --out
ci/bench/realism/phantoms.md` with the set chest_xray_lungs in `MEDBOOK_DATA`.
"""

import math

import numpy as np
import torch
from measure import arguments, machine, publish
from scipy.stats import wasserstein_distance
from torch import Tensor, nn
from torch.nn import functional as F

from medbook import data
from medbook._book.markdown import table
from medbook.learn.networks import UNet
from medbook.learn.training import fit, predict
from medbook.phantom import thorax

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
Grey values from 0, black, to 1: those below which a share of all pixels lies, and their mean.
*Distance* is the first Wasserstein distance to the pooled grey values of one half of the real
pictures."""
POWER = """\
Share of the power, in percent, in octaves of the frequency (cycles a picture width), with a Hann
window and without the mean of each picture. *Slope*: of the logarithm of the power over the
logarithm of the frequency from 2 to 16 cycles; a lower one means smoother pictures."""
QUANTILES, OCTAVES = (0.05, 0.25, 0.5, 0.75, 0.95), (2, 4, 8, 16)


def main() -> None:
    parser = arguments(__doc__, "realism/phantoms.md")
    # 0 was looked at while the display of phantoms was chosen
    parser.add_argument("--seed", type=int, default=1, help="of the phantoms and the segmenter")
    options = parser.parse_args()
    n, steps, source = (8, 5, "twin") if options.quick else (48, 400, "auto")
    real = data.load("chest_xray_lungs", 128, source=source)
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
    compared = {"real, one half": pictures[half], **compared}
    grey = [[name, *greys(some, pictures[half])] for name, some in compared.items()]
    power = [[name, *octaves(some), f"{slope(some):.2f}"] for name, some in compared.items()]
    texts = DICE.format(train=int(train.sum()), val=int(val.sum()), copies=COPIES)
    heads = ["pictures", *(f"{100 * q:.0f} % below" for q in QUANTILES), "mean", "distance"]
    bands = [f"{low} to {2 * low}" for low in OCTAVES]
    publish(
        [
            "# Phantom X-rays beside real ones",
            machine(1),
            f"Pictures called real: {real.kind}, {real.credit}",
            f"## Lungs found by a network that saw only real X-rays, {SIDE} px",
            texts,
            table(["pictures", "number", "Dice, mean", "tenth part", "least"], rows),
            "## Histogram of grey values",
            GREY,
            table(heads, grey),
            "## Power spectrum",
            POWER,
            table(["pictures", *bands, "slope"], power),
        ],
        options.out,
    )


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
    """Quantiles, mean, and distance to the reference."""
    pool, other = (np.asarray(x.flatten(), dtype=np.float64) for x in (pictures, reference))
    numbers = *np.quantile(pool, QUANTILES), pool.mean(), wasserstein_distance(pool, other)
    return [f"{value:.3f}" for value in numbers]


def rings(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Frequency in whole cycles a picture width, and power, of all places of the spectrum."""
    size = pictures.shape[-1]
    window = torch.hann_window(size, periodic=False)
    flat = (pictures - pictures.mean((-2, -1), keepdim=True)) * window * window[:, None]
    f = torch.fft.fftfreq(size) * size
    power = torch.fft.fft2(flat).abs().square().mean((0, 1))
    return torch.hypot(f, f[:, None]).round().long(), power


def octaves(pictures: Tensor) -> list[str]:
    """Percent of the power from each frequency to its double."""
    radius, power = rings(pictures)
    parts = [power[(radius >= low) & (radius < 2 * low)].sum() for low in OCTAVES]
    whole = power[radius >= OCTAVES[0]].sum()
    return [f"{100 * part / whole:.2f}" for part in parts]


def slope(pictures: Tensor) -> float:
    """A straight line by least squares through the logarithms of the mean of each ring."""
    radius, power = rings(pictures)
    numbers = range(2, SIDE // 4 + 1)
    means = [power[radius == r].mean().log().item() for r in numbers]
    return float(np.polyfit([math.log(r) for r in numbers], means, 1)[0])


if __name__ == "__main__":
    main()
