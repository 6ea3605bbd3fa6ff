# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   medbook:
#     title: "Image similarity: how different are two images, and where?"
#     summary: "CSIM compares the order of the pixels inside small patches. It stands beside PSNR, SSIM, MS-SSIM, FSIM and ISSM, at the right data range, on real chest X-rays."
#     systems: [csim]
#     data: [chest_xray_lungs, chest_ct_lidc, fundus, phase_contrast]
#     level: introductory
#     prerequisites: ["mean, standard deviation and correlation", "arrays in NumPy or PyTorch"]
# ---

# %% [markdown]
# # Image similarity
#
# A chest X-ray is compressed to fit into an e-mail, or taken again after a year, with a faint spot in one lung. Each time there are two images and one
# question: *how different are they, and where?* A number that answers it decides which reconstruction is published and which network is called better. This
# chapter builds six such numbers and breaks each of them. Its subject, CSIM, promises to be sensitive to small local changes. It is, and also to changes that
# nobody can see.

# %% [markdown]
# ## What you will learn
# - what PSNR, SSIM, MS-SSIM, FSIM, ISSM and CSIM compare, each from its equation, and why images with the same PSNR can look different;
# - how CSIM follows from ranks, which changes it cannot see, and why it sees changes that are not there;
# - how to test a similarity map fairly: against the absolute difference, among equal surroundings, and with a control in which there is nothing to find;
# - why falling faster is not measuring better.

# %% tags=["parameters"]
profile = "auto"  # auto, smoke, laptop or gpu
seed = 0

# %%
import medbook

run = medbook.start("image_similarity", profile=profile, seed=seed)

# %% [markdown]
# ## The problem
# A *full-reference* measure takes a reference $x$ and a second image $y$ of the same size and returns one number, or a map of numbers. It should fall when the
# image gets worse, and **order** images by how much worse they are; its map should be low **where** the change is; and it should **ignore** what does not
# matter, such as another display curve. No measure does all of it. Nothing in this chapter says what radiologists see: no human opinion is used.

# %% [markdown]
# ## Look at the data
# The verdicts rest on chest X-rays of children, one for each patient, 256 x 256 pixels, 8 bits. Three other images are shown beside them and carry no verdict,
# because each is of one patient, one eye or one dish: a slice of a chest CT, the back of an eye in colour, and cells under a phase-contrast microscope. (At
# profile smoke procedural twins take their places: drawings, of no patient.)

# %%
import numpy as np
from medbook.show import plots
plots.style()
SETS = {
    name: run.load(name, size=256)
    for name in ("chest_xray_lungs", "chest_ct_lidc", "fundus", "phase_contrast")
}
xrays = SETS["chest_xray_lungs"]
# the first image of each patient
first = np.unique(xrays.groups.cpu().numpy(), return_index=True)[1]
PICK = first[
    np.linspace(
        0, len(first) - 1, min(len(first), run.scale(smoke=4, laptop=96, gpu=1000))
    ).astype(int)
]
images = xrays.images[PICK]
# the same, unless the leak check shuffles the references
references = xrays.targets[PICK]
patients = xrays.groups[PICK].cpu().numpy()
OTHERS = {
    name: SETS[name].images[SETS[name].n // 2][None]
    for name in ("chest_ct_lidc", "fundus", "phase_contrast")
}
# the window from -1000 to 400 HU
OTHERS["chest_ct_lidc"] = (OTHERS["chest_ct_lidc"] + 1000) / 1400 * 255
OTHERS = {name: image.round().clamp(0, 255) for name, image in OTHERS.items()}

# %% tags=["hide-input"]
def grey(image):  # three channels, for image_grid
    return image.expand(1, 3, *image.shape[2:]).cpu().numpy().astype(np.uint8)

plots.show(
    plots.image_grid(
        np.concatenate([grey(y) for y in (images[:1], *OTHERS.values())]),
        titles=["chest X-ray", "chest CT", "fundus", "phase contrast"],
    ),
    caption=f"One image of each set ({xrays.kind}). "
    + " ".join(image_set.credit + "." for image_set in SETS.values()),
    alt="Four pictures side by side: a chest X-ray with dark lungs, a slice through a "
    "chest in CT, a reddish disc with vessels, and cells with bright halos.",
)

# %% [markdown]
# ### Four images with the same PSNR
# The oldest measure is the mean of the squared differences, written in decibels as the *peak signal-to-noise ratio*
#
# $$\mathrm{PSNR}(x,y) = 10\log_{10}\frac{R^2}{\frac1{|x|}\sum_i (x_i-y_i)^2} \qquad (1)$$
#
# where the sum runs over the $|x|$ pixels and $R$ is the *data range*: the difference between the largest and the smallest value that the format can hold, 255
# for 8 bits. To see what it cannot tell apart, change an image in four ways, each just as much as is needed for 30 dB. The changes come back later with a
# severity $t$: noise of standard deviation $20t$ grey levels, blur of $3t$ pixels, JPEG of quality $100-90t$, and a display curve with $\gamma=1-t/2$.

# %% tags=["define"]
import io
import math
from dataclasses import dataclass
import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional import image as metrics
from medbook.refuse import need, need_pair, told

RANGE = 255.0  # R of 8-bit images

def range_of(x: Tensor, y: Tensor, R: float | None) -> float:
    """R of two batches (N, C, H, W): as given, or that of their format, uint8."""
    need_pair(x, y)
    if x.dtype == torch.uint8 and R is None:
        R = RANGE
    need(R is not None, f"data_range is missing: {told(x)} may end at 1, 255 or 4095")
    need(0 < R < math.inf, f"data_range is {R}: give largest minus smallest value, > 0")
    return R

def floats(*images: Tensor) -> list[Tensor]:
    """Whole numbers of 8 bits as floats."""
    return [x.float() if x.dtype == torch.uint8 else x for x in images]

def psnr(x: Tensor, y: Tensor, data_range: float | None = None) -> Tensor:
    """PSNR in dB of each pair, eq. 1, at most 100: (N,)."""
    R = range_of(x, y, data_range)
    x, y = floats(x, y)
    options = {"data_range": R, "reduction": "none", "dim": (1, 2, 3)}
    return metrics.peak_signal_noise_ratio(y, x, **options).clamp(max=100.0)

def eight_bit(x: Tensor) -> Tensor:
    """What is left after the image was stored with 8 bits."""
    return x.round().clamp(0, 255)

def gauss(x: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers in the shape of x."""
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)

def each(function, x: Tensor, *numbers: Tensor) -> Tensor:
    """`function(image, number, ...)` of each image as a NumPy array: (N, 1, H, W)."""
    rows = zip(
        x[:, 0].cpu().numpy(), *(n.flatten().tolist() for n in numbers), strict=True
    )
    return torch.from_numpy(np.stack([function(*row) for row in rows]))[:, None].to(x)

def jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """A grey 8-bit image (H, W) after JPEG compression."""
    file = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(file, "JPEG", quality=round(quality))
    return np.asarray(Image.open(file))

def spot(x: Tensor, centre: Tensor, fwhm: Tensor) -> Tensor:
    """Gaussian spots of height 1; centre (row, column): (N, 2), fwhm: (N,)."""
    rows, columns = (torch.arange(n, device=x.device).to(x.dtype) for n in x.shape[-2:])
    dy, dx = rows - centre[:, :1], columns - centre[:, 1:]  # (N, H), (N, W)
    square = dy[:, :, None] ** 2 + dx[:, None, :] ** 2
    return torch.exp(-4 * math.log(2) * square / fwhm[:, None, None] ** 2)[:, None]

CHANGES = {  # t has shape (N, 1, 1, 1)
    "noise": lambda x, t, generator: x + 20 * t * gauss(x, generator),
    "blur": lambda x, t, generator: each(gaussian_filter, x, 3 * t),
    "JPEG": lambda x, t, generator: each(jpeg, x, 100 - 90 * t),
    "gamma": lambda x, t, generator: 255 * (x / 255) ** (1 - t / 2),
}

def distort(kind: str, x: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
    """8-bit images x changed with severity t (N,), > 0; 1 is severe."""
    need(kind in CHANGES, f"no change {kind!r}: choose one of {', '.join(CHANGES)}")
    need((t > 0).all(), f"severities range from {t.min()}: give numbers > 0")
    return eight_bit(CHANGES[kind](x, t[:, None, None, None], generator))

# %%
x, generator = images[:1], torch.Generator(images.device)
def at_30_dB(change) -> Tensor:
    """Of copies with rising severity the one whose PSNR is nearest to 30 dB."""
    copies = [
        eight_bit(change(x.new_full((1, 1, 1, 1), t)))
        for t in np.geomspace(0.02, 4, 120)
    ]
    return min(copies, key=lambda y: abs(float(psnr(x, y, RANGE)) - 30))

SAME = {
    "noise": at_30_dB(lambda t: CHANGES["noise"](x, t, generator.manual_seed(0))),
    "blur": at_30_dB(lambda t: CHANGES["blur"](x, t, None)),
    "gamma": at_30_dB(lambda t: CHANGES["gamma"](x, t / 2.5, None)),
    "spot": at_30_dB(
        lambda t: x + 60 * t * spot(x, x.new_tensor([[100, 80]]), x.new_tensor([40]))
    ),
}

# %% tags=["hide-input"]
plots.show(
    plots.image_grid(
        np.concatenate([grey(y) for y in (x, *SAME.values())]),
        titles=["original", *SAME],
    ),
    caption="One chest X-ray and four changed copies; PSNR: "
    + ", ".join(f"{name} {float(psnr(x, y, RANGE)):.1f} dB" for name, y in SAME.items())
    + ".",
    alt="Five versions of one chest X-ray: the original, one with grain, one out of "
    "focus, one brighter, and one with a bright spot in the lung.",
)

# %% [markdown]
# Grain, a lost edge, another brightness and a new shadow: to (1) they are the same. Which of them matters is a question about the patient, not about pixels.
#
# ## Measures that came before
# ### SSIM and MS-SSIM
# [Wang et al. 2004](https://doi.org/10.1109/TIP.2003.819861) compare local means $\mu$, variances $\sigma^2$ and the covariance $\sigma_{xy}$ under a Gaussian
# window of standard deviation 1.5 pixels around every pixel:
#
# $$\mathrm{SSIM} = \frac{(2\mu_x\mu_y+c_1)(2\sigma_{xy}+c_2)}{(\mu_x^2+\mu_y^2+c_1)(\sigma_x^2+\sigma_y^2+c_2)},\qquad c_1=(0.01R)^2,\; c_2=(0.03R)^2 \qquad (2)$$
#
# The mean of that map is the score. [MS-SSIM](https://doi.org/10.1109/ACSSC.2003.1292216) multiplies the second factor over five scales, each half as large as
# the one before. Both come from torchmetrics, as does (1). Too large an $R$ makes $c_1$ and $c_2$ swamp the image, and everything looks alike.

# %% tags=["define"]
def ssim_map(x: Tensor, y: Tensor, data_range: float | None = None) -> Tensor:
    """SSIM around every pixel, eq. 2, mean over channels: (N, H, W)."""
    R = range_of(x, y, data_range)
    x, y = floats(x, y)
    need(min(x.shape[-2:]) > 5, f"images are {told(x)}: SSIM needs sides of 6 pixels")
    options = {"data_range": R, "reduction": "none", "return_full_image": True}
    return metrics.structural_similarity_index_measure(y, x, **options)[1].mean(1)

def ssim(x: Tensor, y: Tensor, data_range: float | None = None) -> Tensor:
    """Mean of the SSIM map of each pair: (N,)."""
    return ssim_map(x, y, data_range).mean((1, 2))

def ms_ssim(x: Tensor, y: Tensor, data_range: float | None = None) -> Tensor:
    """MS-SSIM of each pair, sides of at least 161 pixels: (N,)."""
    R = range_of(x, y, data_range)
    x, y = floats(x, y)
    need(
        min(x.shape[-2:]) > 160,
        f"images are {told(x)}: MS-SSIM needs 161 pixels a side",
    )
    options = {"data_range": R, "reduction": "none"}
    found = metrics.multiscale_structural_similarity_index_measure(y, x, **options)
    return found.reshape(-1)  # of one pair torchmetrics gives a single number

# %% [markdown]
# ### FSIM: edges by the phase of waves
# An edge is where waves of all lengths rise together, whatever its contrast. [Kovesi
# 1999](https://www.cs.rochester.edu/u/brown/Videre/001/abstracts/v1n3001.html) measures this *phase congruency* with log-Gabor filters of four lengths ($s$)
# and four directions ($o$). Each gives a complex response $e_{os}$ at every pixel. In one direction the responses agree as far as they point along their sum;
# what is expected of noise, $T_o$, is taken off:
#
# $$\mathrm{PC}=\frac{\sum_o\max(E_o-T_o,0)}{\sum_{o,s}|e_{os}|},\qquad E_o=\sum_s\mathrm{Re}(e_{os}\bar u_o)-|\mathrm{Im}(e_{os}\bar u_o)|,\qquad u_o=\frac{\sum_s e_{os}}{|\sum_s e_{os}|} \qquad (3)$$
#
# [Zhang et al. 2011](https://doi.org/10.1109/TIP.2011.2109730) compare phase congruency and the length $G$ of the gradient, and weigh each pixel by the larger
# phase congruency:
#
# $$\mathrm{FSIM}=\frac{\sum S(\mathrm{PC}_x,\mathrm{PC}_y;0.85)\,S(G_x,G_y;160)\,\max(\mathrm{PC}_x,\mathrm{PC}_y)}{\sum\max(\mathrm{PC}_x,\mathrm{PC}_y)},\qquad S(a,b;T)=\frac{2ab+T}{a^2+b^2+T} \qquad (4)$$

# %% tags=["define"]
def log_gabor(x: Tensor) -> Tensor:
    """Filters of 4 directions and 4 wavelengths 6, 12, 24, 48 pixels: (O, S, H, W)."""
    fy, fx = (
        torch.fft.fftfreq(n, device=x.device, dtype=x.dtype) for n in x.shape[-2:]
    )
    radius = torch.hypot(fy[:, None], fx)
    radius[0, 0] = 1.0  # any number: the mean of the image is left out below
    k = torch.arange(4, device=x.device, dtype=x.dtype)[:, None, None]
    octaves = torch.log(radius * 6 * 2**k) / math.log(0.55)
    # not the corners
    radial = torch.exp(-0.5 * octaves**2) / (1 + (radius / 0.45) ** 30)
    radial[:, 0, 0] = 0.0
    angle = torch.atan2(-fy[:, None], fx) - k * math.pi / 4
    angle = torch.atan2(angle.sin(), angle.cos())  # in (-pi, pi]
    return torch.exp(-0.5 * (angle / (math.pi / 4.8)) ** 2)[:, None] * radial

def phase_congruency(x: Tensor) -> Tensor:
    """Eq. 3 of grey images (N, 1, H, W), in [0, 1]: (N, H, W)."""
    filters = log_gabor(x)
    e = torch.fft.ifft2(torch.fft.fft2(x)[:, :, None] * filters)  # (N, O, S, H, W)
    along = e * torch.sgn(e.sum(2, keepdim=True)).conj()
    energy = (along.real - along.imag.abs()).sum(2)
    # most responses of the smallest filters are noise: their median gives its power
    smallest = e[:, :, 0].abs().square().flatten(2).median(-1).values / math.log(2)
    power = smallest / filters[:, 0].square().sum((1, 2))  # (N, O)
    even = (filters + filters.flip(-1, -2).roll((1, 1), (-1, -2))) / 2
    tau = (power * even.sum(1).square().sum((1, 2))).sqrt()  # Rayleigh law of the sum
    threshold = tau * (math.sqrt(math.pi / 2) + 2 * math.sqrt(2 - math.pi / 2)) / 1.7
    kept = (energy - threshold[:, :, None, None]).clamp(min=0).sum(1)
    return kept / e.abs().sum((1, 2)).clamp(min=torch.finfo(x.dtype).tiny)

def fsim(x: Tensor, y: Tensor, data_range: float | None = None) -> Tensor:
    """FSIM of each pair of grey images, eq. 4; its constants are for R = 255: (N,)."""
    R = range_of(x, y, data_range)
    x, y = floats(x, y)
    need(x.shape[1] == 1, f"images are {told(x)}: FSIM is of grey ones")
    x, y = (image * (RANGE / R) for image in (x, y))
    k = max(1, round(min(x.shape[-2:]) / 256))  # the paper's viewing distance
    pair = [F.avg_pool2d(image, k) for image in (x, y)]
    scharr = x.new_tensor([[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]]) / 16
    scharr = torch.stack([scharr, scharr.T])[:, None]
    g, h = (F.conv2d(image, scharr, padding=1).norm(dim=1) for image in pair)
    p, q = map(phase_congruency, pair)
    same = (2 * p * q + 0.85) / (p**2 + q**2 + 0.85)
    same, weight = same * (2 * g * h + 160) / (g**2 + h**2 + 160), torch.maximum(p, q)
    return (same * weight).sum((1, 2)) / weight.sum((1, 2))

# %% [markdown]
# ### ISSM: a mixture
# [Aljanabi et al. 2019](https://doi.org/10.1080/22797254.2019.1628617) mix the correlation $E$ of two edge images (Canny), the entropy $H$ of the joint
# histogram in bits, and SSIM. The formula that the paper's repository computes is
#
# $$\mathrm{ISSM}=\frac{0.8\,E\,H}{0.3\,E\,H+0.5\,H+0.7\,\mathrm{SSIM}} \qquad (5)$$
#
# and 1 for identical images, a rule of its own: with $E=\mathrm{SSIM}=1$, (5) gives $0.8H/(0.8H+0.7)<1$. The repository takes 4095 for the range of this SSIM;
# here it is 255.

# %% tags=["define"]
from skimage import feature

def edges(x: Tensor) -> Tensor:
    """Canny edges (0 or 1) of images in [0, 255], without smoothing: (N, 1, H, W)."""
    # thresholds 100 and 200 on |gx| + |gy|, which is on average 4 / pi times the length
    return each(lambda i: feature.canny(i, 0, 25 * math.pi, 50 * math.pi), x)

def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation over the last axis, 0 where one of them is constant."""
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    size = (a.square().sum(-1) * b.square().sum(-1)).sqrt()
    return (a * b).sum(-1) / torch.where(size > 0, size, torch.inf)

def joint_entropy(x: Tensor, y: Tensor) -> Tensor:
    """Entropy in bits of the joint histogram, 255 bins from 0 to 255: (N,)."""
    a, b = (image.flatten(1).long().clamp(0, 254) for image in (x, y))
    counts = [torch.bincount(k, minlength=255**2) for k in 255 * a + b]
    share = torch.stack(counts).to(x.dtype) / a.shape[1]
    return torch.special.entr(share).sum(1) / math.log(2)

def issm(x: Tensor, y: Tensor, data_range: float | None = None) -> Tensor:
    """ISSM of each pair of grey images, eq. 5; its thresholds are for R = 255: (N,)."""
    R = range_of(x, y, data_range)
    x, y = floats(x, y)
    need(x.shape[1] == 1, f"images are {told(x)}: ISSM is of grey ones")
    x, y = (image * (RANGE / R) for image in (x, y))
    e = correlation(*(edges(image).flatten(1) for image in (x, y)))
    h = joint_entropy(x, y)
    score = 0.8 * e * h / (0.3 * e * h + 0.5 * h + 0.7 * ssim(x, y, RANGE))
    return torch.where((x == y).flatten(1).all(1), torch.ones_like(score), score)

# %% [markdown]
# ## CSIM: ranks inside patches
# [El Ghazouali et al. 2024](https://arxiv.org/abs/2410.01411) look at patches of $p\times p$ pixels, $p=8$, side by side, and forget the grey values: of the
# $n=p^2=64$ pixels of a patch only the **order** counts. Pixel $i$ has rank $r_i$, from 1 for the darkest to $n$ for the brightest. (Patches that do not fit at
# the right and at the bottom are dropped; in colour, ranks are found in each channel and averaged.) Equal values get their ranks in the order of their
# positions.

# %% tags=["define"]
def to_patches(x: Tensor, p: int) -> Tensor:
    """Patches of p x p pixels, side by side: (N, C, H // p, W // p, p * p)."""
    n = x.shape[0]
    c = x.shape[1]
    h = x.shape[2] // p
    w = x.shape[3] // p
    x = x[:, :, : h * p, : w * p].reshape(n, c, h, p, w, p)
    return x.permute(0, 1, 2, 4, 3, 5).reshape(n, c, h, w, p * p)

def ascending(v: Tensor) -> Tensor:
    """Positions along the last axis from smallest to largest, ties by position."""
    if v.dtype != torch.float32 or v.device.type != "cpu":
        return v.argsort(dim=-1, stable=True)
    # the same ten times as fast: NumPy sorts integers that hold value and position
    bits = (v + 0.0).contiguous().view(torch.int32).long()  # + 0.0: -0 is 0
    bits ^= bits >> 63 & 0x7FFFFFFF  # a negative float grows with smaller bits
    shift = (v.shape[-1] - 1).bit_length()
    keys = (bits << shift).add_(torch.arange(v.shape[-1], device="cpu"))
    keys.numpy().sort(axis=-1)
    return keys & (1 << shift) - 1

def ranks(v: Tensor) -> Tensor:
    """Rank of each value along the last axis, 1 to n, ties by position."""
    places = torch.arange(1, v.shape[-1] + 1, device=v.device, dtype=v.dtype)
    return torch.empty_like(v).scatter_(-1, ascending(v), places.expand_as(v))

# %% [markdown]
# Ranks are uniform. To give the extremes more weight, each becomes a *normal score*: the place in a standard normal distribution that has the share $u_i$ of
# all values below it. The code of the paper uses a closed form for the inverse error function (Winitzki 2008, quoted by [Soranzo and Epure
# 2012](https://arxiv.org/abs/1201.1320)), which is off by less than 0.002 here:
#
# $$u_i=\frac{r_i}{n+1},\qquad z_i=\sqrt2\,\mathrm{erf}^{-1}(2u_i-1),\qquad \mathrm{erf}^{-1}(w)\approx\mathrm{sign}(w)\sqrt{\sqrt{b^2-\tfrac{\ln(1-w^2)}a}-b},\quad b=\frac2{\pi a}+\frac{\ln(1-w^2)}2,\; a=0.147 \qquad (6)$$
#
# The similarity of two patches is one minus the root mean squared difference of their scores, cut off at zero, and CSIM is the mean over all patches:
#
# $$s=\max\Big(0,\;1-\sqrt{\tfrac1n\textstyle\sum_i(z_i^x-z_i^y)^2}\Big),\qquad \mathrm{CSIM}=\text{mean of } s \qquad (7)$$
#
# Ranks with normal margins are what statisticians call a Gaussian copula, hence the name; but no joint distribution is estimated anywhere.

# %% tags=["define"]
def normal_score(u: Tensor) -> Tensor:
    """Quantile of the standard normal distribution at u in (0, 1), eq. 6."""
    w, a = 2 * u - 1, 0.147
    log = torch.log1p(-w * w)
    b = 2 / (math.pi * a) + log / 2
    return math.sqrt(2) * w.sign() * ((b * b - log / a).sqrt() - b).clamp(min=0).sqrt()

def scores(v: Tensor, floor: float | None = None) -> Tensor:
    """Normal scores of patches (N, C, h, w, n): (N, h, w, n). `floor`: see eq. 9."""
    n = v.shape[-1]
    if floor is None and v.shape[1] == 1:  # grey: one of n scores, looked up
        table = normal_score(
            torch.arange(1, n + 1, device=v.device).to(v.dtype) / (n + 1)
        )
        return torch.empty_like(v).scatter_(-1, ascending(v), table.expand_as(v))[:, 0]
    r = ranks(v) if floor is None else soft_ranks(v, floor)
    return normal_score(r.mean(1) / (n + 1))

def csim_map(
    x: Tensor, y: Tensor, patch: int = 8, floor: float | None = None
) -> Tensor:
    """Similarity of each patch, eq. 7, in [0, 1]: (N, H // patch, W // patch)."""
    need_pair(x, y)
    fits = 2 <= patch <= min(x.shape[-2:])
    need(fits, f"patch is {patch}: {told(x)} hold patches of 2 to {min(x.shape[-2:])}")
    need(floor is None or 0 <= floor < math.inf, f"floor is {floor}: give noise >= 0")
    zx, zy = (scores(to_patches(image, patch), floor) for image in (x, y))
    return (1 - torch.linalg.vector_norm(zx - zy, dim=-1) / patch).clamp(min=0)

def csim(x: Tensor, y: Tensor, patch: int = 8, floor: float | None = None) -> Tensor:
    """Mean of the CSIM map of each pair: (N,)."""
    return csim_map(x, y, patch, floor).mean((1, 2))

# %% [markdown]
# ### What follows from the formula
# *It cannot see a display curve.* Any strictly increasing change of the grey values keeps the ranks: gain, offset and gamma leave CSIM at exactly 1.
#
# *It is a correlation.* Without equal values both lists hold the same $n$ scores in another order, with mean 0 and variance $\sigma_z^2$. So
# $\frac1n\sum(z_i^x-z_i^y)^2=2\sigma_z^2(1-c)$ with the correlation $c$ of the scores, and
#
# $$s=\max\big(0,\;1-\sigma_z\sqrt{2(1-c)}\big) \qquad (8)$$
#
# The square root has an infinite slope near $c=1$: a correlation of 0.99 already costs 0.13. And $s$ is 0 as soon as $c$ falls below
# $1-1/(2\sigma_z^2)\approx0.44$: whatever happens beyond that is not seen.

# %% tags=["nbval-check-output"]
generator = torch.Generator().manual_seed(0)
# no two values are equal
a, b = torch.rand(2, 1, 1, 64, 64, generator=generator, dtype=torch.float64)
b = 0.9 * a + 0.1 * b
print(
    "images:", tuple(images.shape[1:]), images.dtype, xrays.value_range,
    " whole numbers:", bool((images == images.round()).all()),
)
print(
    "map:", tuple(csim_map(a, b).shape[1:]), " identical:", float(csim(a, a)),
    " display curve:", float(csim(a, 20 + 0.5 * a**0.7)),
)
za, zb = (scores(to_patches(v, 8)) for v in (a, b))
by_correlation = 1 - za.std(-1, correction=0) * (2 * (1 - correlation(za, zb))).sqrt()
print(
    "eq. 8 holds:",
    bool(torch.allclose(by_correlation.clamp(min=0), csim_map(a, b), atol=1e-9)),
)

# %% [markdown]
# ### Mending: a floor under the noise
# Medical images have flat parts, and 8 bits give many pixels of a patch the same value. Their ranks then follow from their positions, and noise far below one
# grey level shuffles them. Imagine instead that each pixel had noise of standard deviation $\tau$, the *floor*, and give it its **expected** rank:
#
# $$r_i=\tfrac12+\sum_j\Phi\Big(\frac{x_i-x_j}{\sqrt2\,\tau}\Big) \qquad (9)$$
#
# with the normal distribution function $\Phi$. For $\tau\to0$ these are the usual average ranks of equal values. Differences well below $\tau$ hardly count.
# The price is that gain now matters a little, and more time. Here $\tau$ is 2 grey levels, the noise that we add to a second image. (SSIM has a floor, too:
# $c_2$ of (2) is the variance of noise of 7.65 grey levels.) The paper has no floor; results with one stand beside those without.

# %% tags=["define"]
FLOOR = 2.0  # grey levels

def soft_ranks(v: Tensor, floor: float) -> Tensor:
    """Expected ranks under noise of deviation `floor`, eq. 9; 0: average ranks."""
    def expected(v: Tensor) -> Tensor:
        d = v.unsqueeze(-1) - v.unsqueeze(-2)  # (..., n, n)
        p = (
            torch.special.ndtr(d / (math.sqrt(2) * floor))
            if floor
            else (1 + d.sign()) / 2
        )
        return 0.5 + p.sum(-1)
    few = v.flatten(0, -2).split(128)  # a patch needs n * n numbers
    return torch.cat([expected(patches) for patches in few]).reshape(v.shape)

MEASURES = {
    "PSNR": lambda x, y: psnr(x, y, RANGE),
    "SSIM": lambda x, y: ssim(x, y, RANGE),
    "MS-SSIM": lambda x, y: ms_ssim(x, y, RANGE),
    "FSIM": lambda x, y: fsim(x, y, RANGE),
    "ISSM": lambda x, y: issm(x, y, RANGE),
    "CSIM": csim,
    "CSIM, floor": lambda x, y: csim(x, y, floor=FLOOR),
}

def in_parts(score, x: Tensor, y: Tensor) -> Tensor:
    """`score(x, y)` of few images at a time, so that they stay in the cache."""
    size = 1 if x.device.type == "cpu" else 32
    return torch.cat(
        [score(*xy) for xy in zip(x.split(size), y.split(size), strict=True)]
    )

# %% [markdown]
# The four copies of the first figure, which (1) cannot tell apart, by all measures. Compare the orders in which the columns put the rows.

# %%
from medbook.show.tables import Table
rows = [
    [name]
    + [f"{float(MEASURES[m](x, y)):.{1 if m == 'PSNR' else 3}f}" for m in MEASURES]
    for name, y in SAME.items()
]
Table(
    ["copy", *MEASURES],
    rows,
    f"Four changes of one chest X-ray ({xrays.kind}) with equal PSNR, in dB; the "
    "other scores have no unit.",
)

# %% [markdown]
# ## The experiment
# Three experiments on the same X-rays, one a patient. The *seed* draws noise, severities, places and directions; the *unit* is the patient. A second image is
# rounded to 8 bits unless the text says otherwise. Sizes, claims and margins were fixed before the first run on these images; after a trial with three seeds
# the control got more places, and nothing else was changed.
#
# **1. Find the spot.** The second image is the first with a Gaussian spot, 10 grey levels high and 3 to 9 pixels wide (full width at half maximum), and with
# noise of 2 grey levels, without which every map would be perfect. A map is judged by its AUC: the probability that a block of 8 x 8 pixels with a part of the
# spot looks more changed than a block without. Two baselines need no theory: the mean absolute difference in a block; and, for another display curve, the mean
# absolute difference from the **best common curve**, which replaces each grey level of the first image by the mean of what it became in the second.
#
# A spot is looked for *anywhere* in the body, among the *textured* quarter of the blocks, or among the *flat* quarter, always against other blocks of the same
# kind: otherwise the AUC would reward a map for telling flat from textured. The **negative control** draws 16 places in each image and puts no spot there (one
# place would leave a wide interval).

# %% tags=["define"]
from sklearn.metrics import roc_auc_score

NOISE, HEIGHT = 2.0, 10.0  # of a second image, of the spot: grey levels
CONDITIONS = {
    "anywhere": {}, "textured": {"site": (0.75, 1.0)}, "flat": {"site": (0.0, 0.25)},
    "other curve": {"gamma": 0.7}, "no spot": {"height": 0.0, "draws": 16},
}

def blocks(x: Tensor, p: int = 8) -> Tensor:
    """Mean of each block of a map: (N, H, W) -> (N, H // p, W // p)."""
    return F.avg_pool2d(x[:, None], p)[:, 0]

def places(x: Tensor, site: tuple[float, float]) -> Tensor:
    """Blocks whose standard deviation is between two quantiles: bool (N, h, w)."""
    v = to_patches(x, 8).mean(1)
    mean, spread = v.mean(-1), v.std(-1)
    # not the black or white surroundings of the body
    inside = (mean > 10) & (mean < 245)
    known = spread.masked_fill(~inside, torch.nan).flatten(1)
    low, high = (known.nanquantile(q, dim=1)[:, None, None] for q in site)
    return inside & (spread >= low) & (spread <= high)

def random_spot(x: Tensor, among: Tensor, generator: torch.Generator) -> Tensor:
    """A spot of height 1 in one of the blocks `among` (N, h, w), 3 to 9 pixels wide."""
    block = torch.multinomial(among.flatten(1).to(x.dtype), 1, generator=generator)
    corner = 8 * torch.cat([block // among.shape[2], block % among.shape[2]], 1)
    chance = torch.rand(len(x), 3, generator=generator, device=x.device, dtype=x.dtype)
    return spot(x, corner - 0.5 + 8 * chance[:, :2], 3 + 6 * chance[:, 2])

def best_curve(x: Tensor, y: Tensor) -> Tensor:
    """Each grey level of 8-bit x replaced by the mean of what it became in y."""
    level, zero = x.flatten(1).long(), x.new_zeros(len(x), 256)
    sums = zero.scatter_add(1, level, y.flatten(1))
    counts = zero.scatter_add(1, level, torch.ones_like(sums[:, :1]).expand_as(level))
    return (sums / counts.clamp(min=1)).gather(1, level).reshape(x.shape)

CHANGE_MAPS = {  # large where something changed
    "CSIM": lambda x, y: 1 - csim_map(x, y),
    "CSIM, floor": lambda x, y: 1 - csim_map(x, y, floor=FLOOR),
    "SSIM": lambda x, y: 1 - blocks(ssim_map(x, y, RANGE)),
    "difference": lambda x, y: blocks((y - x).abs().mean(1)),
    "difference from curve": lambda x, y: blocks((y - best_curve(x, y)).abs().mean(1)),
}

def auc(hit: Tensor, change: Tensor, among: Tensor) -> np.ndarray:
    """AUC of each change map for blocks `hit` among others, (N, h, w) each: (N,)."""
    images = zip(hit.cpu(), change.cpu(), among.cpu(), strict=True)
    return np.array([roc_auc_score(h[a], c[a]) for h, c, a in images])

def locate(
    reference: Tensor, source: Tensor, generator: torch.Generator,
    site: tuple = (0.0, 1.0), height: float = HEIGHT, gamma: float = 1.0,
    draws: int = 1,
) -> dict:
    """AUC of each map: the spot's blocks against others of the same site, (N,) each."""
    among = places(reference, site)
    spots = [random_spot(source, among, generator) for _ in range(draws)]
    y = (source + height * spots[0] + NOISE * gauss(source, generator)).clamp(0, 255)
    y = eight_bit(255 * (y / 255) ** gamma)
    # any pixel above half height
    hits = [F.max_pool2d(s[:, 0], 8) > 0.5 for s in spots]
    maps = {
        name: in_parts(change, reference, y) for name, change in CHANGE_MAPS.items()
    }
    return {
        m: np.mean([auc(hit, maps[m], among) for hit in hits], axis=0) for m in maps
    }

# %% [markdown]
# **2. Make it worse.** Each image is distorted by noise, blur, JPEG or gamma, once in each fifth of the severities $0<t\le1$, at a random place in it. The mean
# over the five says how fast a measure falls. The *order* says how much it knows: of all pairs of a distorted image of one patient and one of the same or
# another patient, in how many has the image with the larger severity the lower score? A half is guessing; a tie counts a half. A last sweep is of strong noise,
# 20, 40 and 80 grey levels.

# %% tags=["define"]
KINDS = ("noise", "blur", "JPEG", "gamma")
FAST = ("CSIM", "SSIM", "PSNR")  # on all images and seeds
SLOW = ("MS-SSIM", "FSIM", "ISSM")  # on few, without gamma

def concordance(score: np.ndarray, severity: np.ndarray) -> np.ndarray:
    """Share of pairs (own, any other) in the right order: (N, T) twice -> (N,)."""
    worse = np.sign(severity[:, :, None, None] - severity)  # (N, T, N, T)
    right = worse * np.sign(score - score[:, :, None, None])
    return 0.5 + 0.5 * right.sum((1, 2, 3)) / np.abs(worse).sum((1, 2, 3))

def sweep(
    kind: str, names: tuple, strata: list, x: Tensor, source: Tensor,
    generator: torch.Generator,
) -> tuple[np.ndarray, dict]:
    """Severities, one drawn in each stratum, and the scores of each measure: (N, T)."""
    drawn, found = [], {name: [] for name in names}
    for low, high in strata:
        chance = torch.rand(len(source), generator=generator, device=source.device)
        t = high - (high - low) * chance
        y = distort(kind, source, t, generator)
        drawn.append(t.cpu().numpy())
        for name in names:
            found[name].append(in_parts(MEASURES[name], x, y).cpu().numpy())
    return np.stack(drawn, 1), {name: np.stack(found[name], 1) for name in names}

# %% [markdown]
# **3. Change nothing that matters.** A display curve ($\gamma$ from 0.6 to 0.8) with and without rounding; noise of a thousandth of a grey level; a mirror for
# both images; a shift by a pixel. PSNR, SSIM and CSIM run on all images and seeds; MS-SSIM, FSIM and ISSM take longer and run on every fourth image, with three
# seeds.

# %% tags=["define"]
def moved(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image moved by one pixel along both axes, in one of four directions."""
    step = (
        torch.randint(0, 2, (len(x), 2), generator=generator, device=x.device) * 2 - 1
    )
    return torch.stack([x[i].roll(s, (1, 2)) for i, s in enumerate(step.tolist())])

def tie_change(x: Tensor, y: Tensor, floor: float | None = None) -> Tensor:
    """What mirroring both images changes in each block of the CSIM map."""
    mirrored = csim_map(x.flip(-1), y.flip(-1), floor=floor).flip(-1)
    return (mirrored - csim_map(x, y, floor=floor)).abs()

def harmless(x: Tensor, source: Tensor, generator: torch.Generator) -> dict:
    """Scores against x of changes of `source` that make nothing worse: (N,) each."""
    chance = torch.rand((len(x), 1, 1, 1), generator=generator, device=x.device)
    curve = CHANGES["gamma"](source.double(), 0.4 + 0.4 * chance, generator)
    # a shift comes in again at the other side
    inner = (..., slice(8, -8), slice(8, -8))
    pairs = {
        "curve": (x, curve.to(x.dtype)),
        "curve, 8 bits": (x, eight_bit(curve.to(x.dtype))),
        "tiny noise": (x, source + 1e-3 * gauss(x, generator)),
        "shift": (x[inner], moved(source, generator)[inner]),
    }
    names, found = ("CSIM", "CSIM, floor", "SSIM"), {}
    for what, pair in pairs.items():
        found |= {f"{what}/{m}": in_parts(MEASURES[m], *pair) for m in names}
    found["curve/float64"] = csim(x.double(), 20 + 0.5 * curve)  # gain and offset, too
    noisy = distort("noise", source, 0.1 + 0.1 * chance.flatten(), generator)
    found["mirror/CSIM"] = tie_change(x, noisy).mean((1, 2))
    return {key: values.cpu().numpy() for key, values in found.items()}

FIFTHS = [(0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0)]
STRONG = [(1, 1), (2, 2), (4, 4)]
SWEEPS = {kind: (kind, FIFTHS) for kind in KINDS} | {"strong noise": ("noise", STRONG)}

@dataclass(frozen=True)
class Job:
    """What one seed measures; `slow`: the slow measures, too, on every fourth image."""

    references: Tensor
    images: Tensor
    seed: int
    slow: bool

def trial(job: Job) -> dict[str, np.ndarray]:
    """All experiments with one seed: (images, ...) each."""
    x, source = job.references, job.images
    generator, done = torch.Generator(source.device).manual_seed(job.seed), {}
    for name, options in CONDITIONS.items():
        found = locate(x, source, generator, **options)
        done |= {f"auc/{name}/{m}": values for m, values in found.items()}
    for name, (kind, strata) in SWEEPS.items():
        severity, scored = sweep(kind, FAST, strata, x, source, generator)
        done |= {f"score/{name}/{m}": values for m, values in scored.items()}
        done |= {
            f"order/{name}/{m}": concordance(v, severity) for m, v in scored.items()
        }
    for kind in KINDS[:3] if job.slow else ():
        few = x[::4], source[::4]
        _, scored = sweep(kind, ("CSIM", *SLOW), FIFTHS, *few, generator)
        done |= {f"few/{kind}/{m}": values for m, values in scored.items()}
    return done | harmless(x, source, generator)

# %%
SEEDS = run.seeds(run.scale(smoke=1, laptop=5, gpu=10))
jobs = [Job(references, images, s, slow=k < 3) for k, s in enumerate(SEEDS)]
trials = run.map(trial, jobs)
# (seeds, images, ...)
measured = {key: np.stack([t[key] for t in trials if key in t]) for key in trials[0]}
for key, values in measured.items():
    in_dB = "PSNR" in key and "order" not in key
    run.record(
        key, values.reshape(len(values), -1).mean(1), unit="dB" if in_dB else "",
        on="test",
    )

# %% [markdown]
# ## What the paper claims, what we measure
# The paper's title calls CSIM sensitive to local changes; its repository shows that it falls faster than SSIM, FSIM and ISSM on
# [CSIQ](https://doi.org/10.1117/1.3267105), a set of photographs. Those are claims csim-1 and csim-8 to csim-14. The others ask what a user would ask next.
# Margins: 2 points of AUC or of order, because less would change no decision; 0.10 of a score where the stored scores of the repository differ by 0.2 or more,
# 0.05 where they differ by 0.1.

# %%
one = np.ones_like(measured["shift/SSIM"])
for id, ours, baseline in (
    ("csim-1", measured["auc/anywhere/CSIM"], measured["auc/anywhere/SSIM"]),
    ("csim-2", measured["auc/textured/CSIM"], measured["auc/textured/SSIM"]),
    ("csim-3", measured["auc/flat/CSIM"], measured["auc/flat/SSIM"]),
    ("csim-4", measured["auc/anywhere/CSIM"], measured["auc/anywhere/difference"]),
    (
        "csim-5",
        measured["auc/other curve/CSIM"],
        measured["auc/other curve/difference from curve"],
    ),
    ("csim-6", measured["auc/anywhere/CSIM, floor"], measured["auc/anywhere/CSIM"]),
    ("csim-7", measured["auc/no spot/CSIM"], one / 2),
    (
        "csim-8",
        measured["score/noise/CSIM"].mean(2),
        measured["score/noise/SSIM"].mean(2),
    ),
    (
        "csim-9",
        measured["score/blur/CSIM"].mean(2),
        measured["score/blur/SSIM"].mean(2),
    ),
    (
        "csim-10",
        measured["score/JPEG/CSIM"].mean(2),
        measured["score/JPEG/SSIM"].mean(2),
    ),
    ("csim-11", measured["few/noise/CSIM"].mean(2), measured["few/noise/FSIM"].mean(2)),
    ("csim-12", measured["few/noise/CSIM"].mean(2), measured["few/noise/ISSM"].mean(2)),
    ("csim-14", measured["curve/SSIM"], measured["curve/CSIM"]),
    ("csim-15", measured["curve, 8 bits/CSIM"], measured["curve/CSIM"]),
    ("csim-16", measured["tiny noise/CSIM"], one),
    ("csim-17", measured["tiny noise/CSIM, floor"], one),
    ("csim-18", measured["mirror/CSIM"], 0 * one),
    ("csim-20", measured["shift/CSIM"], measured["shift/SSIM"]),
    (
        "csim-22",
        measured["order/strong noise/SSIM"],
        measured["order/strong noise/CSIM"],
    ),
    (
        "csim-23",
        *(
            np.mean([measured[f"order/{kind}/{m}"] for kind in KINDS], axis=0)
            for m in ("CSIM", "SSIM")
        ),
    ),
):
    run.claim(
        id,
        ours=ours,
        baseline=baseline,
        units=patients if ours.shape[1] == len(patients) else patients[::4],
    )

# %% [markdown]
# Three claims are identities: a display curve leaves CSIM at 1 (csim-13); average ranks do not depend on where a pixel stands (csim-19); and (8) is exact
# (csim-21).

# %%
run.claim("csim-13", ours=measured["curve/float64"], baseline=one)
few = images[:4].double()
generator = torch.Generator(few.device).manual_seed(SEEDS[0])
mirrored = tie_change(
    few, distort("noise", few, few.new_full((len(few),), 0.15), generator), floor=0.0
)
run.claim("csim-19", ours=mirrored.cpu().numpy(), baseline=np.zeros(mirrored.shape))
# no two values are equal any more
one_copy, other = (few + 3 * gauss(few, generator) for _ in range(2))
zx, zy = (scores(to_patches(v, 8)) for v in (one_copy, other))
formula = (
    1 - zx.std(-1, correction=0) * (2 * (1 - correlation(zx, zy))).clamp(min=0).sqrt()
).clamp(min=0)
run.claim(
    "csim-21",
    ours=csim_map(one_copy, other).cpu().numpy(),
    baseline=formula.cpu().numpy(),
)
run.claims_table()

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.6), layout="constrained", sharex=True)
for ax, conditions in zip(
    axes, (("anywhere", "other curve"), ("textured", "flat")), strict=True
):
    pairs = [(c, m) for c in conditions for m in CHANGE_MAPS]
    plots.intervals(
        ax,
        [f"{c}: {m}" for c, m in pairs],
        [measured[f"auc/{c}/{m}"].mean(1) for c, m in pairs],
    )
    ax.axvline(0.5, color="0.7", zorder=0)
    ax.set(xlabel="AUC")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
plots.show(
    figure,
    caption=f"Finding a spot of {HEIGHT:g} grey levels under noise of {NOISE:g}. "
    f"{len(images)} patients ({xrays.kind}), {len(SEEDS)} seeds; the grey line is "
    "guessing. Without a spot: "
    + ", ".join(f"{m} {measured[f'auc/no spot/{m}'].mean():.3f}" for m in CHANGE_MAPS)
    + ".",
    alt="Dot plots of the AUC of five maps in four conditions. Mean values: "
    + "; ".join(
        f"{c}: "
        + ", ".join(f"{m} {measured[f'auc/{c}/{m}'].mean():.2f}" for m in CHANGE_MAPS)
        for c in CONDITIONS
    )
    + ".",
)

# %% [markdown]
# Look first at the row *difference*. Every map that promises to show local changes has to beat it. Another display curve is what it cannot stand; then the row
# *difference from curve* is the one to beat.
# ### How fast does each measure fall, and what does it know?

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 4, figsize=(10, 3), layout="constrained", sharey=True)
for ax, kind in zip(axes, KINDS, strict=True):
    for name in ("SSIM", "CSIM", *SLOW):
        key = f"{'few' if name in SLOW else 'score'}/{kind}/{name}"
        if key in measured:
            ax.plot([0.1, 0.3, 0.5, 0.7, 0.9], measured[key].mean((0, 1)), label=name)
    ax.set(title=kind, xlabel="severity t", ylim=(0, 1.02))
axes[0].set_ylabel("mean score")
figure.legend(
    *axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=5, fontsize=9
)
plots.show(
    figure,
    caption=f"Mean scores at five severities (X-rays, {xrays.kind}). 1 stands for "
    "noise of 20 grey levels, blur of 3 pixels, JPEG of quality 10, gamma of 0.5.",
    alt="Four line plots of mean scores against severity. At the largest severity: "
    + "; ".join(
        f"{k}: "
        + ", ".join(
            f"{m} {measured[f'score/{k}/{m}'][..., -1].mean():.2f}"
            for m in ("SSIM", "CSIM")
        )
        for k in KINDS
    )
    + ".",
)
figure, ax = plt.subplots(figsize=(7, 4.6))
pairs = [(kind, name) for kind in SWEEPS for name in FAST]
plots.intervals(
    ax,
    [f"{kind}: {name}" for kind, name in pairs],
    [measured[f"order/{kind}/{name}"].mean(1) for kind, name in pairs],
)
ax.axvline(0.5, color="0.7", zorder=0)
ax.set(xlabel="share of pairs in the right order")
ax.legend(fontsize=9, loc="lower left")
plots.show(
    figure,
    caption="Which measure orders images of different patients by how badly they were "
    f"distorted? {len(images)} patients ({xrays.kind}); guessing is a half. At noise "
    "of 80 grey levels the mean CSIM is "
    f"{measured['score/strong noise/CSIM'][..., -1].mean():.4f}.",
    alt="Dot plot of the share of correctly ordered pairs. "
    + ", ".join(f"{k} {m} {measured[f'order/{k}/{m}'].mean():.2f}" for k, m in pairs)
    + ".",
)

# %% [markdown]
# Falling fast and ordering well are different virtues: a score that is near 0 after the first step has little left to say about the second. PSNR is the mark to
# beat for noise, whose strength it measures directly; for blur it is not: in the stored laptop run CSIM orders blurred X-rays best.
# ### One image of each kind

# %%
generator, rows = torch.Generator(images.device).manual_seed(SEEDS[0]), []
for name, image in {"chest_xray_lungs": images[:1], **OTHERS}.items():
    noisy = eight_bit(image + 5 * gauss(image, generator))
    curved = 255 * (image / 255) ** 0.7
    for what, y in {
        "noise": noisy,
        "gamma": curved,
        "shift": image.roll((1, 1), (2, 3)),
    }.items():
        found = {
            m: float(MEASURES[m](image, y))
            for m in ("PSNR", "SSIM", "CSIM", "CSIM, floor")
        }
        rows.append(
            [
                name, what, f"{found['PSNR']:.1f}",
                *(f"{found[m]:.3f}" for m in list(found)[1:]),
            ]
        )
Table(
    ["image", "change", "PSNR (dB)", "SSIM", "CSIM", "CSIM, floor"],
    rows,
    f"One image of each set ({xrays.kind}), which proves nothing about CT, eyes or "
    "microscopes: noise of 5 grey levels, gamma 0.7 (not rounded), a shift by one "
    "pixel.",
)

# %% [markdown]
# ## Paper and here
# | ingredient | paper | here |
# |---|---|---|
# | patches, ranks (in colour their mean), scores, distance, mean (6, 7) | code of the repository | same, value by value on images without equal values |
# | equal values | order that NumPy's default sort leaves, which depends on the data type | replaced: order of positions, the same on every machine |
# | floor, average ranks (9) | none | added; always beside the published form |
# | "Gaussian copula" | abstract and README | unverified in the paper's text; in the code no joint distribution is estimated |
# | SSIM; FSIM | 7 x 7 uniform window; a package with another phase congruency and gradients as unsigned 16-bit integers | replaced: formulas and constants of Wang et al. and Zhang et al. |
# | PSNR, ISSM | data range 4095 on 8-bit images; OpenCV's Canny | replaced: 255; scikit-image's Canny |
# | noise | normal numbers cast to 8 bits before they are added, so that negative ones become 246 to 255 | replaced: added first, then rounded and limited |
# | sweep | noise to 20 grey levels, blur to 20 pixels with a kernel of 5 x 5, JPEG, JPEG 2000, contrast, pink noise | scaled: noise the same, blur to 3 pixels without a cut, JPEG, gamma |
# | images; localisation | one photograph, CSIQ (30 photographs), two videos; shown in pictures | replaced: chest X-rays, 256 x 256; measured as AUC |
#
# The paper's text was not read; what is said of it rests on its abstract, its code and its stored scores. Signs can be tested on other images than the paper's;
# sizes need not agree.

# %% [markdown]
# ## Play with it
# A part of one image with a spot of 10 grey levels in its middle, and noise of rising strength. **Question:** at which noise do you lose the spot in the image,
# and at which in each map?

# %% tags=["hide-input"]
from medbook.show.explore import explore
part = images[:1, :, 64:160, 40:136]
# an image of your own: part = 255 * medbook.own_image("image.png", 96).to(part)
hidden = part + HEIGHT * spot(part, part.new_tensor([[51, 51]]), part.new_tensor([8]))

def draw(sigma: float):
    y = eight_bit(
        hidden + sigma * gauss(part, torch.Generator(part.device).manual_seed(0))
    )
    maps = {
        "CSIM": csim_map(part, y),
        "SSIM": blocks(ssim_map(part, y, RANGE)),
        "difference": 1 - blocks((y - part).abs()[:, 0]) / 12,
    }
    figure, axes = plt.subplots(1, 4, figsize=(8, 2.3))
    for ax, (name, values) in zip(
        axes, {"second image": y[0] / 255, **maps}.items(), strict=True
    ):
        ax.imshow(values[0].cpu(), vmin=0, vmax=1)
        ax.set(
            title=f"{name} {float(values.mean()):.2f}" if "SIM" in name else name,
            xticks=[],
            yticks=[],
        )
    return figure

explore(
    draw,
    [0.0, 0.5, 1.0, 2.0, 4.0, 8.0],
    label="noise (grey levels)",
    start=2,
    caption=f"A part of one image ({xrays.kind}) with a spot, and three maps in blocks "
    "of 8 x 8 pixels: white is no change, black is 0 (CSIM and SSIM, means above) or "
    "12 grey levels (difference).",
    alt=lambda sigma: (
        f"Four pictures for noise of {sigma:g} grey levels: the noisy image with its "
        "spot, the CSIM map, the SSIM map and the map of the difference."
    ),
)

# %% [markdown]
# ## Exercises
# ### Exercise 1: the wrong range
# The repository computes PSNR with $R=4095$ for images that end at 255. By how many dB is it too high, whatever the images (`excess`)? What
# becomes of SSIM under noise of 40 grey levels (`wrong_ssim`, `right_ssim`)?

# %% tags=["solution"]
worst = eight_bit(
    images[:1] + 40 * gauss(images[:1], torch.Generator(images.device).manual_seed(1))
)
excess = float(psnr(images[:1], worst, 4095.0) - psnr(images[:1], worst, RANGE))
wrong_ssim, right_ssim = (float(ssim(images[:1], worst, R)) for R in (4095.0, RANGE))
print(
    f"PSNR is {excess:.1f} dB too high; SSIM {wrong_ssim:.3f} instead of "
    f"{right_ssim:.3f}"
)

# %% tags=["check"]
assert excess > 0, "a larger range gives a higher PSNR"
assert abs(10 ** (excess / 20) - 4095 / 255) < 0.01, "R counts squared, in 10 log10"
assert wrong_ssim > right_ssim + 0.1, "the constants of SSIM grow with R"

# %% [markdown]
# ### Exercise 2: noise that wraps around
# Draw normal numbers with standard deviation 10, cast them to 8 bits *before* adding them (`wrapped`), and add with saturation. What is the mean of
# this "noise", and what does it cost in PSNR (`loss_dB`)?

# %% tags=["solution"]
drawn = np.random.default_rng(0).normal(0, 10, images[0, 0].shape)
wrapped = drawn.astype(np.int64).astype(np.uint8)  # -1 becomes 255
clean = images[:1].cpu()
as_coded = (clean + torch.from_numpy(wrapped.astype(np.float32))).clamp(0, 255)
as_meant = eight_bit(clean + torch.from_numpy(drawn.astype(np.float32)))
coded_dB, meant_dB = (float(psnr(clean, y, RANGE)) for y in (as_coded, as_meant))
loss_dB = meant_dB - coded_dB
print(
    f"mean of the noise {wrapped.mean():.0f} grey levels; PSNR {coded_dB:.1f} dB, "
    f"should be {meant_dB:.1f} dB"
)

# %% tags=["check"]
assert wrapped.dtype == np.uint8, "8 bits hold whole numbers from 0 to 255"
assert 100 < wrapped.mean() < 140, "half of the numbers are below 0: what is -1?"
assert loss_dB > 10, "the noise of each second pixel saturates it"

# %% [markdown]
# ### Exercise 3: nothing in common
# Compare two images of independent noise, in grey and in colour (`unrelated`, by channels). Why is CSIM not near 0 in colour?

# %% tags=["solution"]
unrelated, generator = {}, torch.Generator().manual_seed(3)
for channels in (1, 3):
    a, b = torch.rand(2, 1, channels, 256, 256, generator=generator)
    unrelated[channels] = float(csim(a, b))
    print(
        f"{channels} channels: CSIM {unrelated[channels]:.3f}, standard deviation of "
        f"the scores {float(scores(to_patches(a, 8)).std()):.2f}"
    )

# %% tags=["check"]
assert unrelated[1] < 0.03, "independent ranks have nothing in common"
# mean ranks crowd in the middle: 1 - 0.45 sqrt(2) = 0.36
assert 0.15 < unrelated[3] < 0.6, "the mean of three independent ranks varies less"

# %% [markdown]
# ## Where this breaks
# - **It sees what is not there.** Noise of a thousandth of a grey level lowers the CSIM of an 8-bit X-ray (csim-16), because equal values have no order. In the
#   extreme, a flat patch:

# %%
flat = torch.full((1, 1, 64, 64), 128.0, device=images.device)
generator = torch.Generator(flat.device).manual_seed(0)
shaken, again = (
    flat.double() + 1e-3 * gauss(flat.double(), generator) for _ in range(2)
)
for name, floor in (("as published", None), ("with a floor", FLOOR)):
    value = run.record(
        f"flat phantom/{name}", float(csim(shaken, again, floor=floor)), on="nothing"
    ).mean
    print(
        f"two flat grey phantoms with noise of 0.001 grey levels, CSIM {name}: "
        f"{value:.3f}"
    )

# %% [markdown]
# - **It saturates.** Once every block is near 0, more damage costs nothing (csim-22 asks whether that hurts).
# - **It is tied to its grid.** A shift by one pixel changes every rank near an edge (csim-20): register first. SSIM and PSNR do not forgive a shift either.
# - **Equal values are ranked by position**, so a score changes in a mirror (csim-18) and, with the published code, with the data type.
# - **Colour.** Unrelated colour images are not at 0 (exercise 3): scores of grey and of colour images cannot be compared. Nor can scores of different $p$.
# - **No gradient.** Ranks are piecewise constant: CSIM cannot be a loss.
# - **A floor is a choice.** Here it equals the known noise; it hides real changes below it.
# - **The spot is a phantom** in a real image: Gaussian, of known size, under white noise. The patients are children of one clinic, known only by file names;
#   the images are JPEG files, made smaller.
#
# The negative control is csim-7: without a spot the AUC must be a half. Two common misconceptions: *"It falls faster, so it is more sensitive, so it is
# better."* A measure that is always 0 falls fastest; ask what it orders and what it finds. *"A map that lights up at the lesion shows the lesion."* It may
# light up everywhere; look at the control. Not to be concluded: that CSIM agrees or disagrees with what people see, that it finds or misses disease, that a
# high score makes an image fit for diagnosis.

# %% [markdown]
# ## Go further
# - The paper's [code](https://github.com/safouaneelg/copulasimilarity) may be used for research only, says its README. This chapter's was written from the
#   formulas; a test compares both.
# - How long each measure takes: the page on speed. Replicate: `medbook run image_similarity --profile laptop --seed 1 --out replications`.
# - Make a measure for images that do not match to the pixel: shift each block by up to two pixels and keep the best score. What becomes of csim-20, and of the
#   spot?

# %%
results_file = run.finish()
