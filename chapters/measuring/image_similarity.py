# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   medbook:
#     title: "Image similarity: how different are two images, and where?"
#     summary: "CSIM compares the order of the pixels inside small patches. Does it find a small change better than SSIM or the plain difference, and does falling fast make a measure good?"
#     systems: [csim]
#     data: [chest_xray_lungs]
#     level: introductory
#     prerequisites: ["mean, standard deviation and correlation", "arrays in NumPy or PyTorch"]
# ---

# %% [markdown]
# # Image similarity
#
# A chest X-ray is compressed to fit into an e-mail, or taken again after a year, with a faint spot in one lung. Each time there are two images and one
# question: *how different are they, and where?* The number that answers it decides which reconstruction is published and which network is called better. One
# such number, CSIM, promises to be sensitive to small local changes. This chapter builds it, and asks two things of it and of its rivals: does it find the
# spot, and is a measure that falls faster a better one?

# %% [markdown]
# ## What you will learn
# - what PSNR, SSIM and CSIM compare, each from its equation, and why images with the same PSNR can look so different;
# - what the *data range* is, and how a wrong one makes damaged images look alike;
# - how CSIM follows from ranks, which changes it cannot see, and why it sees changes that are not there;
# - how to test a similarity map fairly: against the plain difference, over a grid of conditions, and with a control in which there is nothing to find;
# - why falling faster is not the same as measuring better.

# %% tags=["parameters"]
profile = "auto"  # auto, smoke, laptop or gpu
seed = 1

# %%
import medbook

run = medbook.start("image_similarity", profile=profile, seed=seed)

# %% [markdown]
# ## The problem
# A *full-reference* measure takes a reference $x$ and a second image $y$ of the same size, and returns one number or a map of numbers. We ask three things of
# it. It should **order** images by how badly they are damaged. Its map should be low **where** something changed. And it should **ignore** what does not
# matter, such as another display curve.
#
# Nothing in this chapter says what radiologists see: no human opinion is used.

# %% [markdown]
# ## Look at the data
# The images are chest X-rays of children, 256 x 256 pixels, 8 bits. We keep one image for each patient, because two images of one child are not two
# independent observations. The patients are divided in two: *validation* patients, on whom everything was chosen, and *test* patients, who give the numbers.
# The first edition of this chapter had measured the validation patients; no test patient has given a number before. (At profile smoke, phantoms take the
# place of the X-rays.)

# %%
from medbook.show import plots
plots.style()
validation = run.scale(smoke=9, laptop=96, gpu=96)  # patients
xrays = run.load("chest_xray_lungs", size=256, val_units=validation)
shown = xrays.val.one_per_unit().images[:6]  # in the figures
test = xrays.test.one_per_unit()

# %% tags=["hide-input"]
plots.show(
    plots.image_grid(shown.byte().cpu()),
    caption=f"Six validation patients ({xrays.kind}); {len(test)} others are the test "
    f"patients. {xrays.credit}.",
    alt="Six chest X-rays in a row: dark lungs left and right of a bright heart.",
)

# %% [markdown]
# ### Four images with the same PSNR
# The oldest measure is the mean of the squared differences, written in decibels as the *peak signal-to-noise ratio*
#
# $$\mathrm{PSNR}(x,y) = 10\log_{10}\frac{R^2}{\frac1{|x|}\sum_i (x_i-y_i)^2} \qquad (1)$$
#
# where the sum runs over the $|x|$ pixels and $R$ is the *data range*: the largest minus the smallest value that the format can hold, 255 for 8 bits.
#
# What can PSNR not tell apart? Damage one image in four ways, each time by just as much as is needed for 30 dB. The first changes come back later with a
# severity $t$ between 0 and 1: noise with a standard deviation of $20t$ grey levels, blur over $3t$ pixels, JPEG at quality $100-90t$, and a display curve
# with $\gamma=1-t/2$. Every damaged image is rounded to 8 bits, as a file would be.

# %% tags=["define"]
import numpy as np
import torch
from medbook.evaluate.damages import (
    DAMAGES, add_noise, blur, damage, eight_bit, gauss, moved, recurve, spot,
)
from medbook.evaluate.similarity import best_curve, floats, psnr, ssim, ssim_map

RANGE = 255.0  # R of 8-bit images

# %%
x, generator = shown[:1], torch.Generator(shown.device)
bump = spot(x, x.new_tensor([[100, 80]]), x.new_tensor([40]))

def at_30_dB(change):
    """Of copies with rising severity, the one whose PSNR is nearest to 30 dB."""
    severities = x.new_tensor(np.geomspace(0.02, 4, 120))
    copies = [eight_bit(change(t.reshape(1, 1, 1, 1))) for t in severities]
    return min(copies, key=lambda y: abs(float(psnr(x, y, RANGE)) - 30))

SAME = {
    "noise": at_30_dB(lambda t: add_noise(x, t, generator.manual_seed(0))),
    "blur": at_30_dB(lambda t: blur(x, t, generator)),
    "display curve": at_30_dB(lambda t: recurve(x, t / 2.5, generator)),
    "spot": at_30_dB(lambda t: x + 60 * t * bump),
}

# %% tags=["hide-input"]
plots.show(
    plots.image_grid(
        torch.cat([x, *SAME.values()]).byte().cpu(), titles=["original", *SAME]
    ),
    caption=f"A chest X-ray ({xrays.kind}) and four damaged copies, at 30 dB each.",
    alt="Five versions of one chest X-ray: the original, one with grain, one out of "
    "focus, one brighter, and one with a bright spot in the lung.",
)

# %% [markdown]
# Grain, a lost edge, another brightness and a new shadow: to (1) they are all the same. Which of them matters is a question about the patient, not about
# pixels.
#
# ### The rivals: SSIM, FSIM, ISSM
# **SSIM** ([Wang et al. 2004](https://doi.org/10.1109/TIP.2003.819861)) compares local means $\mu$, variances $\sigma^2$ and the covariance $\sigma_{xy}$
# under a Gaussian window of 1.5 pixels around every pixel:
#
# $$\mathrm{SSIM} = \frac{(2\mu_x\mu_y+c_1)(2\sigma_{xy}+c_2)}{(\mu_x^2+\mu_y^2+c_1)(\sigma_x^2+\sigma_y^2+c_2)},\qquad c_1=(0.01R)^2,\; c_2=(0.03R)^2 \qquad (2)$$
#
# Its mean over the image is the score. **FSIM** ([Zhang et al. 2011](https://doi.org/10.1109/TIP.2011.2109730)) compares the lengths of gradients and the
# *phase congruency* ([Kovesi 1999](https://www.cs.rochester.edu/u/brown/Videre/001/abstracts/v1n3001.html)), which is large at edges of any contrast.
# **ISSM** ([Aljanabi et al. 2019](https://doi.org/10.1080/22797254.2019.1628617)) mixes the correlation of two edge images, the entropy of the joint
# histogram, and SSIM; identical images get 1 by a rule of its own. Their code is in `medbook/evaluate`, and tests compare it with the formulas.
#
# ### The data range matters
# The constants of (2) grow with $R$. If $R$ is too large, they swamp the image, and everything looks alike. The table scores the four copies with the right
# range, and with 4095, the range of 12 bits.

# %%
from medbook.show.tables import Table
columns = [(m, R) for m in (psnr, ssim) for R in (RANGE, 4095.0)]
head = [f"{m.__name__.upper()}, R = {R:.0f}" for m, R in columns]
rows = [[k, *(f"{float(m(x, y, R)):.3f}" for m, R in columns)] for k, y in SAME.items()]
Table(["copy", *head], rows, f"One 8-bit X-ray ({xrays.kind}); PSNR in dB.")

# %% [markdown]
# This is not a made-up mistake. The paper's [repository](https://github.com/safouaneelg/copulasimilarity) stores the scores of 900 pairs of 8-bit
# photographs, and three of the image pairs. We scored these three again with the function of scikit-image that the repository calls:
#
# | pair (photograph 1600, level 4) | SSIM in the stored file | again, $R=4095$ | again, $R=255$ |
# |---|---|---|---|
# | blur | 0.9815 | 0.9815 | 0.6701 |
# | pink noise | 0.9755 | 0.9755 | 0.6987 |
# | JPEG 2000 | 0.9798 | 0.9798 | 0.6468 |
#
# The stored values equal those at 4095 to the last of 15 digits. (The function's default is 255 today; the file may be older.) So part of the contrast
# between "SSIM hardly falls" and "CSIM falls" in that file is a matter of scale. Here every measure gets $R=255$.

# %% [markdown]
# ## CSIM: ranks inside patches
# [El Ghazouali et al. 2024](https://arxiv.org/abs/2410.01411) cut both images into patches of $p\times p$ pixels, $p=8$, side by side, and forget the grey
# values. Of the $n=p^2=64$ pixels of a patch only the **order** counts: pixel $i$ has rank $r_i$, from 1 for the darkest to $n$ for the brightest.
#
# Equal values get their ranks in the order of their positions. Patches that do not fit at the right and at the bottom are dropped. In colour, ranks are found
# in each channel and averaged.

# %% tags=["define"]
import math
from collections.abc import Callable
from dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F
from medbook.refuse import need, need_pair, told

def to_patches(x: Tensor, p: int) -> Tensor:
    """Patches of p x p pixels, side by side: (N, C, H // p, W // p, p * p)."""
    n, c = x.shape[:2]
    h = x.shape[2] // p
    w = x.shape[3] // p
    x = x[:, :, : h * p, : w * p].reshape(n, c, h, p, w, p)
    return x.permute(0, 1, 2, 4, 3, 5).reshape(n, c, h, w, p * p)

def ranks(v: Tensor) -> Tensor:
    """Rank of each value along the last axis, 1 to n, equal ones by position."""
    order = v.argsort(dim=-1, stable=True)
    places = torch.arange(1, v.shape[-1] + 1, device=v.device, dtype=v.dtype)
    return torch.empty_like(v).scatter_(-1, order, places.expand_as(v))

# %% [markdown]
# Ranks are spread evenly. To give the extremes more weight, each becomes a *normal score* $z_i$: the point of a standard normal distribution that has the
# share $u_i$ of all values below it. The paper's code uses a closed form for the inverse error function (quoted by [Soranzo and Epure
# 2012](https://arxiv.org/abs/1201.1320)), which is off by less than 0.002 here:
#
# $$u_i=\frac{r_i}{n+1},\qquad z_i=\sqrt2\,\mathrm{erf}^{-1}(2u_i-1),\qquad \mathrm{erf}^{-1}(w)\approx\mathrm{sign}(w)\sqrt{\sqrt{b^2-\tfrac{\ln(1-w^2)}a}-b},\quad b=\frac2{\pi a}+\frac{\ln(1-w^2)}2,\; a=0.147 \qquad (3)$$
#
# The similarity of two patches is one minus the root mean squared difference of their scores, cut off at zero. CSIM is the mean over all patches:
#
# $$s=\max\Big(0,\;1-\sqrt{\tfrac1n\textstyle\sum_i(z_i^x-z_i^y)^2}\Big),\qquad \mathrm{CSIM}=\text{mean of } s \qquad (4)$$
#
# Statisticians call ranks with normal margins a Gaussian copula, hence the name; but no joint distribution is estimated anywhere. The argument `floor` is
# explained below.

# %% tags=["define"]
def normal_score(u: Tensor) -> Tensor:
    """Quantile of the standard normal distribution at u in (0, 1), eq. 3."""
    w = 2 * u - 1
    a = 0.147
    log = torch.log1p(-w * w)
    b = 2 / (math.pi * a) + log / 2
    return math.sqrt(2) * w.sign() * ((b * b - log / a).sqrt() - b).clamp(min=0).sqrt()

def scores(v: Tensor, floor: float | None = None) -> Tensor:
    """Normal scores of patches (N, C, h, w, n): (N, h, w, n). `floor`: see eq. 6."""
    r = ranks(v) if floor is None else soft_ranks(v, floor)
    return normal_score(r.mean(1) / (v.shape[-1] + 1))

def csim_map(
    x: Tensor, y: Tensor, patch: int = 8, floor: float | None = None
) -> Tensor:
    """Similarity of each patch, eq. 4, in [0, 1]: (N, H // patch, W // patch)."""
    need_pair(x, y)
    fits = 2 <= patch <= min(x.shape[-2:])
    need(fits, f"patch is {patch}: {told(x)} hold patches of 2 to {min(x.shape[-2:])}")
    need(floor is None or 0 <= floor < math.inf, f"floor is {floor}: give noise >= 0")
    x, y = floats(x, y)
    zx = scores(to_patches(x, patch), floor)
    zy = scores(to_patches(y, patch), floor)
    return (1 - (zx - zy).square().mean(-1).sqrt()).clamp(min=0)

def csim(x: Tensor, y: Tensor, patch: int = 8, floor: float | None = None) -> Tensor:
    """Mean of the CSIM map of each pair: (N,)."""
    return csim_map(x, y, patch, floor).mean((1, 2))
# %% [markdown]
# Watch it work on one patch. In each row, the grey values become ranks and the ranks become normal scores; (4) compares the two pictures on the right.

# %% tags=["hide-input"]
import matplotlib.pyplot as plt

noisy = damage("noise", x, x.new_tensor([0.15]), generator.manual_seed(1))
corner = (slice(None), slice(None), slice(96, 104), slice(80, 88))
figure, axes = plt.subplots(2, 3, figsize=(7, 4.8))
for row, (name, image) in zip(axes, {"x": x, "y": noisy}.items(), strict=True):
    r = ranks(to_patches(image[corner], 8))
    steps = {"grey values": image[corner], "ranks": r, "scores": normal_score(r / 65)}
    for ax, (step, values) in zip(row, steps.items(), strict=True):
        form = "%.1f" if step == "scores" else "%.0f"
        plots.numbers(ax, values.reshape(8, 8).cpu().numpy(), form)
        ax.set(title=f"{name}: {step}", xticks=[], yticks=[])
plots.show(
    figure,
    caption=f"A patch of a chest X-ray ({xrays.kind}), and below with noise of 3 grey "
    f"levels. Their similarity s is {float(csim(x[corner], noisy[corner])):.2f}.",
    alt="Two rows of three 8 x 8 squares of numbers: grey values, ranks from 1 to 64, "
    "normal scores from about -2.2 to 2.2. Many ranks differ between the rows.",
)

# %% [markdown]
# And on whole images: the four copies with equal PSNR, with their CSIM maps and, in blocks of the same size, their SSIM maps.

# %% tags=["define"]
def blocks(x: Tensor, p: int = 8) -> Tensor:
    """Mean of each block of a map: (N, H, W) -> (N, H // p, W // p)."""
    return F.avg_pool2d(x[:, None], p)[:, 0]

# %% tags=["hide-input"]
copies = SAME.values()
maps = {
    "CSIM": torch.cat([csim_map(x, y) for y in copies]),
    "SSIM": torch.cat([blocks(ssim_map(x, y, RANGE)) for y in copies]),
}
grey = [(255 * (1 - v).clamp(0, 1)).byte()[:, None].cpu() for v in maps.values()]
means = [f"{m} " + ", ".join(f"{one.mean():.2f}" for one in v) for m, v in maps.items()]
plots.show(
    plots.image_grid(grey, titles=list(SAME), labels=list(maps)),
    caption="Maps of the four copies: black is 1, no change; white is 0. Means from "
    f"left to right: {'; '.join(means)}.",
    alt="Two rows of four coarse maps in grey, one for each damaged copy: CSIM above, "
    f"SSIM below. Means from left to right: {'; '.join(means)}.",
)

# %% [markdown]
# ### What follows from the formula
# *It cannot see a display curve.* Any strictly increasing change of the grey values keeps the ranks. As long as nothing is rounded, gain, offset and gamma
# leave CSIM at exactly 1 (check csim-k1).
#
# *It is a correlation.* Without equal values both patches hold the same $n$ scores in another order, with mean 0 and variance $\sigma_z^2$. With the
# correlation $c$ of the scores, $\frac1n\sum(z_i^x-z_i^y)^2=2\sigma_z^2(1-c)$, and therefore (check csim-k2)
#
# $$s=\max\big(0,\;1-\sigma_z\sqrt{2(1-c)}\big) \qquad (5)$$
#
# The square root is infinitely steep at $c=1$: a correlation of 0.99 already costs 0.13. And $s$ is 0 as soon as $c$ falls below
# $1-1/(2\sigma_z^2)\approx0.44$.

# %% tags=["nbval-check-output"]
generator = torch.Generator().manual_seed(0)
# no two values are equal
a, b = torch.rand(2, 1, 1, 64, 64, generator=generator, dtype=torch.float64)
b = 0.9 * a + 0.1 * b
print("image:", tuple(a.shape[1:]), " map:", tuple(csim_map(a, b).shape[1:]))
print("identical:", float(csim(a, a)), " curve:", float(csim(a, 20 + 0.5 * a**0.7)))

# %% [markdown]
# ### A floor under the noise
# Medical images have flat parts, where 8 bits give many pixels of a patch the same value. Their ranks then follow from their positions, and noise far below
# one grey level shuffles them. Here is a way out, which the paper does not have. Imagine that each pixel had noise of standard deviation $\tau$, the *floor*,
# and give it its **expected** rank
#
# $$r_i=\tfrac12+\sum_j\Phi\Big(\frac{x_i-x_j}{\sqrt2\,\tau}\Big) \qquad (6)$$
#
# with the normal distribution function $\Phi$. For $\tau\to0$ these are average ranks, which do not depend on positions (check csim-k3). Differences well
# below $\tau$ hardly count. SSIM has a floor, too: $c_2$ of (2) is the variance of noise of 7.65 grey levels.

# %% tags=["define"]
FLOOR = 2.0  # grey levels

def soft_ranks(v: Tensor, floor: float) -> Tensor:
    """Expected ranks of patches (..., n), eq. 6; floor 0 gives average ranks."""
    d = v.unsqueeze(-1) - v.unsqueeze(-2)  # (..., n, n)
    if floor == 0:
        return 0.5 + ((1 + d.sign()) / 2).sum(-1)
    return 0.5 + torch.special.ndtr(d / (math.sqrt(2) * floor)).sum(-1)

# %% [markdown]
# ## The experiment
# **1. Find the spot.** The second image is the first with four faint Gaussian spots, 3 to 9 pixels wide (full width at half maximum), moved by a part of a
# pixel as after an imperfect registration (with linear interpolation), and with noise. A map is judged by its *AUC*: the probability that a block of 8 x 8
# pixels with a part of a spot looks more changed than another block of the body. A half is guessing.
#
# One faint spot under one noise level shows what one wants it to show. So the claim is about the mean over a *grid* of heights, noise levels, shifts and
# display curves, chosen on validation patients so that the plain difference is neither perfect nor blind. The **negative control** is the same grid with
# spots of height 0.
#
# | map | what it needs to know |
# |---|---|
# | CSIM (4) | nothing |
# | SSIM (2), mean of each block | the data range |
# | difference: mean of $\lvert y-x\rvert$ in a block | that both images have the same display curve |
# | difference from the best common curve: each grey level of $x$ is first replaced by the mean of what it became in $y$ | nothing; the strongest rival |

# %% tags=["define"]
from sklearn.metrics import roc_auc_score

SPOTS = 4  # in each second image

@dataclass(frozen=True)
class Setting:
    """What a second image has more: spots, noise (grey levels), a shift (pixels)."""

    height: float
    noise: float
    shift: float
    gamma: float = 1.0  # of another display curve

def body(x: Tensor) -> Tensor:
    """Blocks that are neither the black nor the white surroundings: bool (N, h, w)."""
    mean = blocks(x[:, 0])
    return (mean > 10) & (mean < 245)

def random_spots(x: Tensor, among: Tensor, generator: torch.Generator) -> Tensor:
    """Spots of height 1 in blocks `among` (N, h, w), 3 to 9 pixels wide: as x."""
    weights = among.flatten(1).to(x.dtype)
    found = torch.zeros_like(x)
    for block in torch.multinomial(weights, SPOTS, generator=generator).T:
        corner = 8 * torch.stack([block // among.shape[2], block % among.shape[2]], 1)
        u = torch.rand(len(x), 3, generator=generator, device=x.device, dtype=x.dtype)
        one = spot(x, corner - 0.5 + 8 * u[:, :2], 3 + 6 * u[:, 2])
        found = torch.maximum(found, one)
    return found

def second_images(
    setting: Setting, x: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """8-bit second images, and the blocks with a part of a spot: bool (N, h, w)."""
    spots = random_spots(x, body(x), generator)
    y = moved(x, setting.shift, generator) + setting.height * spots
    y = (y + setting.noise * gauss(x, generator)).clamp(0, RANGE)
    hits = F.max_pool2d(spots[:, 0], 8) > 0.5  # any pixel above half height
    return eight_bit(RANGE * (y / RANGE) ** setting.gamma), hits

def csim_change(x: Tensor, y: Tensor) -> Tensor:
    """One minus the CSIM map: large where something changed, as all that follow."""
    return 1 - csim_map(x, y)

def ssim_change(x: Tensor, y: Tensor) -> Tensor:
    """One minus the SSIM map, mean of each block."""
    return 1 - blocks(ssim_map(x, y, RANGE))

def difference(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference of each block."""
    return blocks((y - x).abs().mean(1))

def difference_from_curve(x: Tensor, y: Tensor) -> Tensor:
    """The same after the best common display curve."""
    return difference(best_curve(x, y), y)

@dataclass(frozen=True)
class Arm:
    """A measure or map under test: of two batches (N, 1, H, W) of 8 bits."""

    name: str
    function: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The measure, one pair at a time, so that it stays in the cache."""
        pairs = zip(x.split(1), y.split(1), strict=True)
        return torch.cat([self.function(*pair) for pair in pairs])

@dataclass(frozen=True)
class Job:
    """What one map or measure scores with one seed."""

    arm: Arm
    references: Tensor  # uint8
    images: Tensor  # uint8; what is changed: the references, but for the leak check
    seed: int
    settings: tuple[Setting, ...] = ()

def search(job: Job) -> np.ndarray:
    """AUC of each setting and image: (settings, N)."""
    source = job.images.float()
    generator = torch.Generator(source.device).manual_seed(job.seed)
    among = body(source).cpu()
    found = []
    for setting in job.settings:
        y, hits = second_images(setting, source, generator)
        change = job.arm(job.references.float(), y).cpu()
        images = zip(change, hits.cpu(), among, strict=True)
        found.append([roc_auc_score(h[ok], c[ok]) for c, h, ok in images])
    return np.array(found)

# %% [markdown]
# **2. Make it worse.** Each image is damaged by noise, blur, JPEG or another display curve, once in each third of the severities $0<t\le1$, at a random
# severity in it. The mean over the three says how *fast* a measure falls. The *order* says how much it *knows*: of all pairs of a damaged image of one
# patient and one of the same or another patient, in how many does the worse one have the lower score? Guessing gives a half; a tie counts a half.
#
# The paper's rivals are SSIM, FSIM and ISSM. For each kind of damage, the claim is about CSIM and the rival that falls fastest on validation patients.

# %% tags=["define"]
THIRDS = 3  # of the severities

@dataclass(frozen=True)
class Scores:
    """Severities and scores of a measure, by kind of damage: (thirds, N) each."""

    severity: dict[str, np.ndarray]
    score: dict[str, np.ndarray]

def fall(job: Job) -> Scores:
    """Damage each image in each third of the severities, and score it."""
    source = job.images.float()
    generator = torch.Generator(source.device).manual_seed(job.seed)
    found = Scores({}, {})
    for kind in DAMAGES:
        u = torch.rand(THIRDS, len(source), generator=generator, device=source.device)
        third = torch.arange(THIRDS, device=u.device)[:, None]
        t = (third + 1 - u) / THIRDS  # in (third, third + 1] / 3
        copies = [damage(kind, source, one, generator).byte() for one in t]
        score = [job.arm(job.references, y).cpu().numpy() for y in copies]
        found.severity[kind] = t.cpu().numpy()
        found.score[kind] = np.stack(score)
    return found

def concordance(score: np.ndarray, severity: np.ndarray) -> np.ndarray:
    """Share of pairs (own, any other) in the right order: (T, N) twice -> (N,)."""
    worse = np.sign(severity[..., None, None] - severity)  # (T, N, T, N)
    right = worse * np.sign(score - score[..., None, None])
    return 0.5 + 0.5 * right.sum((0, 2, 3)) / np.abs(worse).sum((0, 2, 3))
# %% [markdown]
# The *unit* of every interval is the patient. The *seeds* draw noise, places and severities. Nothing is trained and nothing is tuned: the arms only compute.

# %%
from functools import partial
from itertools import product
from medbook.evaluate.fsim import fsim
from medbook.evaluate.issm import issm
HEIGHTS = run.scale(smoke=(8,), laptop=(4, 8, 16), gpu=(4, 8, 16))  # grey levels
NOISES = run.scale(smoke=(0.5,), laptop=(0.5, 2.0), gpu=(0.5, 2.0))  # grey levels
SHIFTS = (0.0, 0.25, 0.5)  # pixels
GAMMAS = (1.0, 0.7)
SETTINGS = tuple(
    Setting(height, noise, shift, gamma)
    for gamma, noise, shift, height in product(GAMMAS, NOISES, SHIFTS, (0, *HEIGHTS))
)
MAPS = (
    Arm("CSIM", csim_change), Arm("SSIM", ssim_change), Arm("difference", difference),
    Arm("difference from curve", difference_from_curve),
)
MEASURES = (
    Arm("CSIM", csim), Arm("SSIM", ssim), Arm("FSIM", fsim), Arm("ISSM", issm),
    Arm("PSNR", psnr),
)
SEEDS = run.seeds(run.scale(smoke=2, laptop=3, gpu=10))
pair = test.labels.byte(), test.images.byte()  # references, and what is changed
auc = run.map(search, [Job(m, *pair, s, SETTINGS) for m in MAPS for s in SEEDS])
falls = run.map(fall, [Job(m, *pair, s) for m in MEASURES for s in SEEDS])

# %%
for name in dict.fromkeys(arm.name for arm in (*MAPS, *MEASURES)):
    run.arm(name)
run.arm("guessing")

def keep(name: str, values, arm: str, unit: str = "") -> np.ndarray:
    """Record (seeds, patients) on test images, and hand them on."""
    run.record(name, values, unit=unit, on="test", arm=arm, units=test.groups.cpu())
    return np.array(values)

spots = np.array([setting.height > 0 for setting in SETTINGS])
shape = (len(MAPS), len(SEEDS), len(SETTINGS), len(test))
auc = dict(zip([arm.name for arm in MAPS], np.reshape(auc, shape), strict=True))
for m, v in auc.items():
    keep(f"AUC/{m}", v[:, spots].mean(1), m)
blind = {m: keep(f"AUC, no spot/{m}", v[:, ~spots].mean(1), m) for m, v in auc.items()}
keep("AUC, no spot/guessing", np.full_like(blind["CSIM"], 0.5), "guessing")
falls = np.array(falls, object).reshape(len(MEASURES), len(SEEDS))
repeats = dict(zip([arm.name for arm in MEASURES], falls, strict=True))
mean_score = {}
order = {}
for m, kind in product(repeats, DAMAGES):
    means = [r.score[kind].mean(0) for r in repeats[m]]
    ordered = [concordance(r.score[kind], r.severity[kind]) for r in repeats[m]]
    unit = "dB" if m == "PSNR" else ""
    mean_score[m, kind] = keep(f"score/{kind}/{m}", means, m, unit)
    order[m, kind] = keep(f"order/{kind}/{m}", ordered, m)
for m in repeats:
    keep(f"order/{m}", np.mean([order[m, kind] for kind in DAMAGES], axis=0), m)

# %% [markdown]
# ## What the paper claims, what we measure
# The paper's title calls CSIM sensitive to local changes. Its repository shows that its mean score falls further than those of SSIM, FSIM and ISSM on
# [CSIQ](https://doi.org/10.1117/1.3267105), a set of photographs. How far a score falls depends on its scale, which the order does not; so one question of
# our own stands beside the paper's claims: does CSIM order damaged images as well as SSIM?
#
# The claims were written down before any measure had seen a test patient.

# %%
run.claim("csim-24", ours="AUC/CSIM", baseline="AUC/SSIM")
run.claim("csim-25", ours="score/noise/CSIM", baseline="score/noise/ISSM")
run.claim("csim-26", ours="score/blur/CSIM", baseline="score/blur/ISSM")
run.claim("csim-27", ours="score/JPEG/CSIM", baseline="score/JPEG/ISSM")
run.claim(
    "csim-28", ours="score/display curve/CSIM", baseline="score/display curve/SSIM"
)
run.claim("csim-29", ours="order/CSIM", baseline="order/SSIM")
run.claim("csim-c1", ours="AUC, no spot/CSIM", baseline="AUC, no spot/guessing")
run.claims_table()

# %% [markdown]
# Three checks stand beside them: identities, which hold or betray a bug.

# %% tags=["define"]
def correlation_form(x: Tensor, y: Tensor) -> Tensor:
    """Eq. 5 for each patch of grey images without equal values: as `csim_map`."""
    zx = scores(to_patches(x, 8))
    zy = scores(to_patches(y, 8))
    variance = zx.square().mean(-1)
    c = (zx * zy).mean(-1) / variance
    return (1 - (variance * 2 * (1 - c).clamp(min=0)).sqrt()).clamp(min=0)

# %%
few = shown[:4].double()
generator = torch.Generator(few.device).manual_seed(SEEDS[0])
run.check("csim-k1", csim(few, 20 + 0.5 * few**0.7).cpu(), np.ones(len(few)))
copies = [few + 3 * gauss(few, generator) for _ in range(2)]  # no equal values
run.check("csim-k2", csim_map(*copies).cpu(), correlation_form(*copies).cpu())
noisy = eight_bit(few + 3 * gauss(few, generator))
mirrored = csim_map(few.flip(-1), noisy.flip(-1), floor=0.0).flip(-1)
run.check("csim-k3", csim_map(few, noisy, floor=0.0).cpu(), mirrored.cpu())
run.checks_table()

# %%
run.effects()

# %% [markdown]
# ### What we found

# %%
run.findings()

# %% [markdown]
# ### Where is the spot found?
# Every setting of the grid. The plain difference is the line to beat: it needs no theory at all.

# %% tags=["hide-input"]
figure, axes = plt.subplots(2, 1, figsize=(10, 4.6), layout="constrained", sharex=True)
cells = {}  # mean AUC of each map in each setting
for ax, gamma in zip(axes, GAMMAS, strict=True):
    here = [k for k, s in enumerate(SETTINGS) if s.height > 0 and s.gamma == gamma]
    cells[gamma] = np.array([auc[m][:, here].mean((0, 2)) for m in auc])
    plots.numbers(ax, cells[gamma], "%.2f")
    ax.set_yticks(range(len(auc)), list(auc))
    ax.set_title(f"gamma {gamma:g}")
labels = [f"{s.noise:g}\n{s.shift:g}\n{s.height:g}" for s in SETTINGS if s.height > 0]
ax.set_xticks(range(len(here)), labels[: len(here)])
ax.set_xlabel("noise (grey levels), shift (pixels), height of the spots (grey levels)")
of_ssim = np.concatenate([v[1] for v in cells.values()])
plots.show(
    figure,
    caption=f"AUC in every setting, brighter is better ({len(test)} test patients, "
    f"{xrays.kind}); 0.5 is guessing. SSIM is between 0.6 and 0.95 in "
    f"{((of_ssim > 0.6) & (of_ssim < 0.95)).sum()} of {of_ssim.size} settings.",
    alt="Two tables of numbers, a row for each map, a column for each setting. Means: "
    + "; ".join(f"{m} {v[:, spots].mean():.2f}" for m, v in auc.items()),
)

# %% [markdown]
# ### How far does each measure fall, and what does it know?
# A score that is near 0 after the first step has little left to say about the second. So look at both rows: how far each score falls, and how often it puts
# two damaged images in the right order. PSNR is the mark to beat for noise, whose strength it measures directly.

# %% tags=["hide-input"]
figure, axes = plt.subplots(2, 4, figsize=(10, 6), layout="constrained", sharey="row")
for (above, below), kind in zip(axes.T, DAMAGES, strict=True):
    for m in list(repeats)[:-1]:  # PSNR has another scale
        curve = np.mean([r.score[kind] for r in repeats[m]], axis=(0, 2))
        above.plot([1 / 6, 1 / 2, 5 / 6], curve, marker="o", label=m)
    above.set(title=kind, xlabel="severity t", ylabel="mean score", ylim=(-0.02, 1.02))
    plots.intervals(below, list(repeats), [order[m, kind].mean(1) for m in repeats])
    below.set(xlabel="share in order")
figure.legend(*above.get_legend_handles_labels(), loc="outside upper right", ncols=4)
shares = [f"{kind}, {m} {v.mean():.2f}" for (m, kind), v in order.items()]
plots.show(
    figure,
    caption=f"{len(test)} test patients ({xrays.kind}), {len(SEEDS)} seeds. Above: "
    "mean scores in thirds of the severities. Below: share of pairs in the right "
    "order, with its t interval over seeds; guessing is a half.",
    alt="Line plots of mean scores against severity, and dot plots of the share of "
    f"pairs in order, for four damages. Shares: {'; '.join(shares)}.",
)

# %% [markdown]
# ## Paper and here
# | ingredient | paper | here |
# |---|---|---|
# | patches, ranks (in colour their mean), scores, distance, mean (3, 4) | code of the repository | same, value by value on images without equal values |
# | equal values | order that NumPy's default sort leaves, which depends on the data type | replaced: order of positions, the same on every machine |
# | floor, average ranks (6) | none | added; never part of a claim |
# | "Gaussian copula" | abstract and README | unverified in the paper's text; in the code no joint distribution is estimated |
# | SSIM; FSIM | 7 x 7 uniform window; a package with another phase congruency and gradients as unsigned 16-bit integers | replaced: formulas and constants of Wang et al. and Zhang et al. |
# | data range of SSIM; of PSNR and ISSM | 4095 in the stored scores; 4095 on 8-bit images | replaced: 255 |
# | edges in ISSM | OpenCV's Canny | replaced: scikit-image's Canny |
# | noise | normal numbers cast to 8 bits before they are added, so that negative ones become 246 to 255 | replaced: added first, then rounded and limited |
# | damages | noise to 20 grey levels, blur to 20 pixels with a kernel of 5 x 5, JPEG, JPEG 2000, contrast, pink noise | scaled: noise the same, blur to 3 pixels without a cut, JPEG, gamma |
# | images; localisation | one photograph, CSIQ (30 photographs), two videos; shown in pictures | replaced: chest X-rays, 256 x 256; measured as AUC |
#
# The paper's text was not read; what is said of it rests on its abstract, its code and its stored scores. Signs can be tested on other images than the
# paper's; sizes need not agree.

# %% [markdown]
# ## Play with it
# A part of one image with a spot of 10 grey levels in its middle, and noise of rising strength. **Question:** at which noise do you lose the spot in the
# image, and at which in each map? Does the floor help?

# %% tags=["hide-input"]
from medbook.show.explore import explore
part = shown[:1, :, 64:160, 40:136]
# an image of your own: part = 255 * medbook.own_image("image.png", 96).to(part)
hidden = part + 10 * spot(part, part.new_tensor([[51, 51]]), part.new_tensor([8]))

def draw(sigma: float):
    generator = torch.Generator(part.device).manual_seed(0)
    y = eight_bit(hidden + sigma * gauss(part, generator))
    pictures = {
        "image": y[0] / 255,
        "CSIM": csim_change(part, y),
        "with a floor": 1 - csim_map(part, y, floor=FLOOR),
        "SSIM": ssim_change(part, y),
        "difference": difference(part, y) / 12,
    }
    figure, axes = plt.subplots(1, 5, figsize=(9, 2.2))
    for ax, (name, values) in zip(axes, pictures.items(), strict=True):
        ax.imshow(values[0].cpu(), vmin=0, vmax=1)
        ax.set(title=name, xticks=[], yticks=[])
    return figure

explore(
    draw, [0.0, 0.5, 1.0, 2.0, 4.0, 8.0], label="noise (grey levels)", start=2,
    caption=f"A part of one image ({xrays.kind}) with a spot, and four maps in blocks "
    "of 8 x 8 pixels: black is no change; white is 0, or a difference of 12 levels.",
    alt=lambda sigma: f"Noise of {sigma:g} grey levels: the image, its CSIM map, the "
    "same with a floor, its SSIM map and the difference.",
)

# %% [markdown]
# ## Exercises
# ### Exercise 1: the wrong range
# By how many dB is PSNR too high, whatever the images, if it is computed with $R=4095$ on images that end at 255 (`excess`)? What becomes of SSIM under noise
# of 40 grey levels (`wrong_ssim`, `right_ssim`)?

# %% tags=["solution"]
generator = torch.Generator(shown.device).manual_seed(1)
worst = eight_bit(shown[:1] + 40 * gauss(shown[:1], generator))
excess = float(psnr(shown[:1], worst, 4095.0) - psnr(shown[:1], worst, RANGE))
wrong_ssim = float(ssim(shown[:1], worst, 4095.0))
right_ssim = float(ssim(shown[:1], worst, RANGE))
print(f"PSNR is {excess:.1f} dB too high")
print(f"SSIM {wrong_ssim:.3f} instead of {right_ssim:.3f}")

# %% tags=["check"]
assert excess > 0, "a larger range gives a higher PSNR"
assert abs(10 ** (excess / 20) - 4095 / 255) < 0.01, "R counts squared, in 10 log10"
assert wrong_ssim > right_ssim + 0.1, "the constants of SSIM grow with R"

# %% [markdown]
# ### Exercise 2: noise that wraps around
# Draw normal numbers with standard deviation 10, cast them to 8 bits *before* adding them (`wrapped`), and add with saturation. What is the mean of this
# "noise", and what does it cost in PSNR (`loss_dB`)?

# %% tags=["solution"]
drawn = np.random.default_rng(0).normal(0, 10, shown[0, 0].shape)
wrapped = drawn.astype(np.int64).astype(np.uint8)  # -1 becomes 255
clean = shown[:1].cpu()
as_coded = eight_bit(clean + torch.from_numpy(wrapped.astype(np.float32)))
as_meant = eight_bit(clean + torch.from_numpy(drawn.astype(np.float32)))
loss_dB = float(psnr(clean, as_meant, RANGE) - psnr(clean, as_coded, RANGE))
print(f"mean of the noise: {wrapped.mean():.0f} grey levels, loss: {loss_dB:.1f} dB")

# %% tags=["check"]
assert wrapped.dtype == np.uint8, "8 bits hold whole numbers from 0 to 255"
assert 100 < wrapped.mean() < 140, "half of the numbers are below 0: what is -1?"
assert loss_dB > 10, "the noise of each second pixel saturates it"

# %% [markdown]
# ### Exercise 3: nothing in common
# Compare two images of independent noise, in grey and in colour (`unrelated`, by channels). Why is CSIM not near 0 in colour?

# %% tags=["solution"]
unrelated = {}
generator = torch.Generator().manual_seed(3)
for channels in (1, 3):
    a, b = torch.rand(2, 1, channels, 256, 256, generator=generator)
    unrelated[channels] = float(csim(a, b))
    spread = float(scores(to_patches(a, 8)).std())
    print(f"{channels} channels: CSIM {unrelated[channels]:.3f}, spread {spread:.2f}")

# %% tags=["check"]
assert unrelated[1] < 0.03, "independent ranks have nothing in common"
# mean ranks crowd in the middle: 1 - 0.45 sqrt(2) = 0.36
assert 0.15 < unrelated[3] < 0.6, "the mean of three independent ranks varies less"

# %% [markdown]
# ## Where this breaks
# Three changes that make nothing worse, and what the measures say about them: noise of a thousandth of a grey level (not rounded), a shift by one pixel, and
# the same noise on a flat grey phantom.

# %%
generator = torch.Generator(shown.device).manual_seed(SEEDS[0])
flat = torch.full_like(shown[:1], 128.0)
harmless = {
    "noise of 0.001": (test.labels, test.images + 1e-3 * gauss(test.images, generator)),
    "shift by 1 pixel": (test.labels, moved(test.images, 1, generator)),
    "noise of 0.001 on a flat phantom": (flat, flat + 1e-3 * gauss(flat, generator)),
}
FLOORED = Arm("CSIM with a floor", partial(csim, floor=FLOOR))
three = MEASURES[0], FLOORED, Arm("SSIM", partial(ssim, data_range=RANGE))
run.arm(FLOORED.name)
rows = []
for what, changed in harmless.items():
    means = {arm.name: float(arm(*changed).mean()) for arm in three}
    for name, mean in means.items():
        run.record(f"{what}/{name}", mean, on="test", arm=name)
    rows.append([what, *(f"{mean:.3f}" for mean in means.values())])
Table(["change", *means], rows, f"Mean scores ({len(test)} patients, {xrays.kind}).")

# %% [markdown]
# - **Equal values have no order.** They are ranked by position, so the tiniest noise reorders them; with the published code the score even depends on the
#   data type.
# - **It is tied to its grid.** A shift changes every rank near an edge: register first. SSIM and PSNR do not forgive a shift either.
# - **Colour.** Unrelated colour images are not at 0 (exercise 3): scores of grey and of colour images cannot be compared. Nor can scores of different $p$.
# - **No gradient.** Ranks are piecewise constant: CSIM cannot be a loss.
# - **A floor is a choice.** It hides real changes below it.
# - **The spot is a phantom** in a real image: Gaussian, of known size, under white noise. The patients are children of one clinic, known only by file names;
#   the images are JPEG files, made smaller.
#
# The negative control is csim-c1: without a spot the AUC must be a half. Two common misconceptions. *"It falls further, so it is more sensitive, so it is
# better."* A measure that is always 0 falls furthest; ask what it orders and what it finds. *"A map that lights up at the lesion shows the lesion."* It may
# light up everywhere; look at the control. Not to be concluded: that CSIM agrees with what people see, that it finds or misses disease.

# %% [markdown]
# ## Go further
# - The paper's [code](https://github.com/safouaneelg/copulasimilarity) may be used for research only, says its README. This chapter's was written from the
#   formulas; a test compares both.
# - How long each measure takes: the page on speed. Replicate: `medbook run image_similarity --profile laptop --seed 2 --out replications`.
# - Make a measure for images that do not match to the pixel: move each block by up to two pixels and keep the best score. What becomes of the shift, and of
#   the spot?

# %%
results_file = run.finish()
