"""What public helpers cannot use is refused in one line that names it, and nothing else changes."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from medbook import chapter, refuse
from medbook.errors import MedbookError
from medbook.evaluate import probes, stats
from medbook.evaluate.damages import damage
from medbook.evaluate.fsim import fsim
from medbook.evaluate.issm import issm
from medbook.evaluate.similarity import psnr, ssim
from medbook.learn import training, views
from medbook.physics import ct as scanner
from medbook.physics import mri as magnet
from medbook.physics import operator
from medbook.physics.ct import filters
from medbook.physics.mri import loops
from medbook.physics.sparse import SparseOperator
from medbook.solvers import cgls, fista, sgp, sirt, smooth_tv_objective, soft_threshold, tv
from medbook.solvers.wavelets import Wavelets

similarity = chapter.load("image_similarity")
diffusion = chapter.load("diffusion")
sparsity = chapter.load("structured_sparsity")
unlearnable = chapter.load("unlearnable_examples")
language = chapter.load("image_text_pretraining")
ct = chapter.load("sparse_view_ct")
mri = chapter.load("mri_reconstruction")

NAN = float("nan")
ONE, TWO = torch.ones(1, 3), torch.eye(2, 3)
BITS = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
UNIT = BITS.float()
HOLE = UNIT.clone().fill_(NAN)
LINE = torch.tensor([[0], [1]])  # labels (2, 1)
WORDS = torch.zeros(2, dtype=torch.int64)


SAME = SimpleNamespace(A=lambda x: x, AT=lambda y: y)
LOST = SimpleNamespace(A=lambda x: x * NAN, AT=lambda y: y)
SOLVERS = {
    "cgls": partial(cgls, SAME),
    "sirt": partial(sirt, SAME),
    "fista": lambda y, iterations: fista(
        SAME, y, 1.0, transform=Wavelets("haar", 1), iterations=iterations, norm=1.0
    ),
    "sgp": lambda y, iterations: sgp(SAME, y, 1.0, iterations=iterations),
    "tv": lambda y, iterations: tv(SAME, y, 1.0, iterations=iterations, upper=1.0, norm=1.0),
}
SCAN = scanner.Projector(scanner.ParallelBeam(size=8, views=6, bins=12))
KSPACE = torch.ones(1, 2, 8, 8, dtype=torch.complex64)
PLANE = KSPACE[:, :1]
CHANCE = torch.Generator()


class Case(NamedTuple):
    call: Callable[[], object]
    says: str


def fit(labels: Tensor, images: Tensor = BITS, **options) -> object:
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    return training.fit(network, images, labels, **({"steps": 1, "seed": 0} | options))


def pair(function: Callable, name: str, *options: object) -> list[Case]:
    """A measure of two batches of images refuses these pairs."""
    return [
        Case(lambda: function(UNIT, UNIT[:1], *options), rf"{name}.*\(2, 1, 16, 16\).*\(1, 1, 16"),
        Case(lambda: function(UNIT[0], UNIT[0], *options), rf"{name}.*\(1, 16, 16\)"),
        Case(lambda: function(UNIT[:0], UNIT[:0], *options), r"x is empty: float32 \(0, 1"),
        Case(lambda: function(UNIT, HOLE, *options), "y, float32 .* holds 512 values that are not"),
        Case(lambda: function(BITS, UNIT, *options), "uint8 .* and float32 .* one range"),
        Case(lambda: function(UNIT.to(torch.complex64), UNIT, *options), "complex64"),
    ]


MEASURES = (psnr, ssim, fsim, issm)
CASES = {
    "a range": [
        *(Case(partial(m, UNIT, UNIT), "data_range is missing: float32") for m in MEASURES),
        *(Case(partial(m, UNIT, UNIT, 0.0), "data_range is 0.0") for m in MEASURES),
        *(Case(partial(m, UNIT, UNIT, NAN), "data_range is nan") for m in MEASURES),
    ],
    "a pair": [
        *(case for m in MEASURES for case in pair(m, "images are", 255.0)),
        *pair(similarity.csim, "images are"),
        *pair(ct.psnr, "images are"),
        *pair(ct.ssim, "images are"),
        *pair(mri.psnr, "images are"),
    ],
    "a size": [
        Case(lambda: ssim(BITS[..., :5], BITS[..., :5]), r"\(2, 1, 16, 5\): SSIM"),
        Case(lambda: similarity.csim(UNIT, UNIT, 17), "patch is 17"),
        Case(lambda: similarity.csim(UNIT, UNIT, 1), "patch is 1:"),
        Case(lambda: similarity.csim(UNIT, UNIT, floor=-1.0), "floor is -1.0"),
        Case(lambda: fsim(BITS.expand(2, 3, 16, 16), BITS.expand(2, 3, 16, 16)), "grey"),
        Case(lambda: issm(BITS.expand(2, 3, 16, 16), BITS.expand(2, 3, 16, 16)), "grey"),
        Case(lambda: damage("fog", UNIT, torch.ones(2), None), "'fog'.*noise, blur"),
        Case(lambda: damage("blur", UNIT, torch.zeros(2), None), "severities .* 0.0"),
    ],
    "auc": [
        Case(lambda: probes.auc(torch.tensor([[NAN], [1.0]]), LINE), "1 of the scores.* are NaN"),
        Case(lambda: probes.auc(torch.zeros(0, 1), LINE[:0]), "labels is empty"),
        Case(lambda: probes.auc(torch.zeros(2), LINE), r"scores are float32 \(2,\)"),
        Case(lambda: probes.auc(torch.zeros(2), LINE[:, 0]), r"labels are int64 \(2,\)"),
        Case(lambda: probes.auc(torch.zeros(2, 1), 2 * LINE), "range from 0 to 2: give 0 or 1"),
        Case(lambda: probes.auc(torch.zeros(2, 1), LINE * NAN), "labels.* not finite"),
    ],
    "fixed features": [
        Case(lambda: probes.logistic(TWO * NAN, LINE, 0.1), "h, float32.* not finite"),
        Case(lambda: probes.logistic(TWO[:0], LINE[:0], 0.1), "h is empty"),
        Case(lambda: probes.logistic(TWO, LINE, 0.0), "strength is 0.0"),
        Case(lambda: probes.logistic(TWO, LINE, -1.0), "strength is -1.0"),
        Case(lambda: probes.logistic(TWO, LINE[:1], 0.1), r"labels are int64 \(1, 1\): give 2"),
        Case(lambda: probes.logistic(TWO[0], LINE, 0.1), r"h is float32 \(3,\)"),
        Case(lambda: probes.probe(*[probes.Features(ONE, LINE[:1])] * 4), "the pool is"),
        Case(lambda: probes.nearest(TWO, WORDS, TWO, WORDS, 0), "k is 0"),
        Case(lambda: probes.nearest(TWO, WORDS[:1], TWO, WORDS, 1), r"have kinds int64 \(1,\)"),
        Case(lambda: probes.nearest(TWO[:0], WORDS[:0], TWO, WORDS, 1), "queries is empty"),
        Case(lambda: probes.nearest(TWO, WORDS, TWO * NAN, WORDS, 1), "items.* not finite"),
        Case(lambda: probes.nearest_others(ONE, WORDS[:1], 1), "an item needs others"),
        Case(lambda: probes.nearest_others(TWO, WORDS, -1), "k is -1"),
        Case(lambda: probes.nearest_others(TWO, WORDS[:1], 1), r"have kinds int64 \(1,\)"),
    ],
    "fit": [
        Case(lambda: fit(WORDS[:, None]), r"labels are int64 \(2, 1\): for outputs .* \(2,\)"),
        Case(lambda: fit(WORDS.float()), r"labels are float32 \(2,\): .* shares of 3 classes"),
        Case(lambda: fit(WORDS.int()), r"labels are int32 \(2,\)"),
        Case(lambda: fit(WORDS + 3), "range from 3 to 3: .* 3 classes apart, 0 to 2"),
        Case(lambda: fit(WORDS - 1), "range from -1 to -1"),
        Case(lambda: fit(WORDS[:1]), r"not uint8 \(2, 1, 16, 16\), labels int64 \(1,\)"),
        Case(lambda: fit(WORDS[:0], BITS[:0]), r"not uint8 \(0, 1, 16, 16\)"),
        Case(lambda: fit(WORDS, BITS.long()), "images are int64"),
        Case(lambda: fit(WORDS, steps=0), " 0 steps"),
        Case(lambda: fit(WORDS, lr=NAN), "lr nan"),
        Case(lambda: fit(WORDS, lr=-1.0), "lr -1.0"),
        Case(lambda: fit(WORDS, batch_size=0), "batch_size is 0"),
        Case(lambda: fit(WORDS, HOLE), "the loss is not finite"),
    ],
    "networks in use": [
        Case(lambda: training.predict(nn.Flatten(), BITS.long()), "images are int64"),
        Case(lambda: training.predict(nn.Flatten(), BITS, 0), "batch_size is 0"),
        Case(lambda: training.reconstruct(nn.Identity(), UNIT, -1), "batch_size is -1"),
        Case(lambda: training.random_shift(-1), "pixels is -1"),
        Case(lambda: views.random_view(1.5), "strength is 1.5"),
        Case(lambda: views.random_view(NAN), "strength is nan"),
        Case(lambda: views.turned(UNIT[..., :5], WORDS), r"\(2, 1, 16, 5\): give square"),
        Case(lambda: views.turned(UNIT, WORDS[:1]), r"labels are int64 \(1,\): give 2"),
        Case(lambda: views.turned(UNIT, WORDS.float()), "labels are float32"),
    ],
    "contrast": [
        Case(lambda: language.info_nce(ONE, ONE), r"float32 \(1, 3\).*no wrong partner"),
        Case(lambda: language.info_nce(TWO, ONE), r"float32 \(2, 3\), float32 \(1, 3\)"),
        Case(lambda: language.info_nce(TWO, TWO, tau=0.0), "tau 0.0"),
        Case(lambda: language.info_nce(TWO, TWO, lam=2.0), "lam 2.0"),
        Case(lambda: language.info_nce(TWO, TWO, equal=torch.ones(2, 2) > 0), "all 2 sentences"),
        Case(lambda: language.simclr(TWO), "two of 2 images or more"),
        Case(lambda: language.simclr(torch.ones(5, 2)), r"views are float32 \(5, 2\)"),
        Case(lambda: language.balanced(TWO[0] > 0, WORDS), r"bool \(3,\) for int64 \(2,\)"),
        Case(lambda: language.balanced(WORDS[:0] > 0, WORDS[:0]), r"bool \(0,\)"),
        Case(lambda: ct.contrastive(ONE, WORDS[:1]), r"float32 \(1, 3\) with labels"),
        Case(lambda: ct.contrastive(TWO, WORDS[:1]), r"labels int64 \(1,\)"),
        Case(lambda: ct.psnr(UNIT, UNIT, "bone"), "no window 'bone': choose one of wide"),
    ],
    "chains and levels": [
        *(
            Case(partial(diffusion.descent, diffusion.alpha_bars(), n), f"n is {n}: .* 1 to 1000")
            for n in (0, -1, 1001, 1500)
        ),
        Case(lambda: diffusion.alpha_bars(0), "T 0"),
        Case(lambda: diffusion.alpha_bars(10, 0.5, 0.1), "beta 0.5 to 0.1"),
        Case(lambda: diffusion.alpha_bars(10, 0.5, 1.0), "beta 0.5 to 1.0"),
        Case(lambda: diffusion.ncsn_sigmas(1), "L is 1"),
        Case(lambda: diffusion.frechet(ONE, TWO), r"float32 \(1, 3\) and float32 \(2, 3\)"),
        Case(lambda: diffusion.frechet(TWO[:, :2], TWO), r"\(2, 2\) and float32 \(2, 3\)"),
        Case(lambda: diffusion.frechet(TWO * NAN, TWO), "a, float32.* not finite"),
        Case(lambda: diffusion.covered(TWO, TWO, 2), "k is 2: 2 points have 1 to 1 others"),
        Case(lambda: diffusion.covered(TWO, TWO, 0), "k is 0"),
        Case(lambda: diffusion.covered(TWO[:0], TWO, 1), "points is empty"),
    ],
    "masks": [
        Case(lambda: sparsity.nm_mask(torch.ones(8), 2, 4), r"weights are float32 \(8,\)"),
        Case(lambda: sparsity.nm_mask(torch.ones(2, 8), 0, 4), "no 0:4 pattern on 8 inputs"),
        Case(lambda: sparsity.nm_mask(torch.ones(2, 8), 2, 3), "no 2:3 pattern on 8 inputs"),
        Case(lambda: sparsity.fullest_group(torch.ones(2, 8), 3), "no groups of 3 inputs"),
        Case(lambda: sparsity.fullest_group(torch.ones(0, 8), 4), r"weights float32 \(0, 8\)"),
        Case(lambda: sparsity.sad([], []), "are none"),
        Case(lambda: sparsity.sad([ONE], [TWO]), r"\(1, 3\).*\(2, 3\)"),
        Case(lambda: sparsity.stepwise(0.8)(0.5, 3, 16), "no way to 3:16 by halves"),
        Case(lambda: sparsity.stepwise(0.8)(0.5, 0, 16), "no way to 0:16 by halves"),
        Case(lambda: unlearnable.keep_top(UNIT, 1.5), "ratio is 1.5"),
        Case(lambda: unlearnable.keep_top(UNIT, -0.1), "ratio is -0.1"),
        Case(lambda: unlearnable.keep_top(UNIT[0], 0.1), r"float32 \(1, 16, 16\)"),
        Case(lambda: mri.set_aside(UNIT[0, 0], 0.5, None), "the mask is float32"),
        Case(lambda: mri.set_aside(UNIT[0, 0] > 0, 2.0, None), "share is 2.0"),
        Case(lambda: mri.hats(1.0), "reach is 1.0"),
        Case(lambda: mri.hats(NAN), "reach is nan"),
    ],
    "statistics": [
        Case(lambda: stats.t_interval([1.0, NAN]), r"finite numbers, got shape \(2,\)"),
        Case(lambda: stats.t_interval([]), r"non-empty"),
        Case(lambda: stats.t_interval([[1.0, 2.0]]), r"got shape \(1, 2\)"),
        *(Case(partial(stats.t_interval, [1, 2], v), f"level is {v}") for v in (0, 1, 95, -1, NAN)),
        Case(lambda: stats.cluster_bootstrap([1, 2], [0, 1], level=1.0), "level is 1.0"),
        Case(lambda: stats.cluster_bootstrap([1, 2], [0, 1], draws=0), "draws is 0"),
        Case(lambda: stats.cluster_bootstrap([1, NAN], [0, 1]), "finite"),
        Case(lambda: stats.cluster_bootstrap([1, 2], [0]), "2 scores but 1 units"),
        Case(lambda: stats.cluster_bootstrap([1, 2], [0, NAN]), "units, .* hold NaN"),
        Case(lambda: stats.cluster_bootstrap([1, 2], [0, 1], [0, NAN]), "strata, .* hold NaN"),
        Case(lambda: stats.paired_effect([1, 2], [1]), r"ours has shape \(2,\), baseline \(1,\)"),
        Case(lambda: stats.paired_effect([1, NAN], [1, 2]), "ours.* not finite"),
        Case(lambda: stats.paired_effect([1, 2], [1, float("inf")]), "baseline.* not finite"),
        Case(lambda: stats.paired_effect([], []), "ours.* empty"),
        Case(lambda: stats.paired_effect([1], [2], "smaller"), "better is 'smaller'"),
        Case(lambda: stats.paired_interval([[[1.0]]], [0]), r"effects.*\(1, 1, 1\)"),
        Case(lambda: stats.paired_interval([1, 2], [0, 1]), "units given"),
        Case(lambda: stats.paired_interval([[1, 2]]), "units missing"),
        Case(lambda: stats.paired_interval([[]], []), "effects.* empty"),
        *(
            Case(partial(stats.verdict, kind, stats.Interval(0, -1, 1, 3), margin), f"is {margin}")
            for kind in stats.KINDS for margin in (-0.1, NAN, float("inf"))
        ),
        Case(lambda: stats.verdict("more", stats.Interval(0, -1, 1, 3), 0.1), "'more'"),
        Case(lambda: stats.verdict("greater", stats.Interval(NAN, -1, 1, 3), 0.1), "no interval"),
        Case(lambda: stats.verdict("greater", stats.Interval(0, NAN, 1, 3), 0.1), "no interval"),
        Case(lambda: stats.verdict("greater", stats.Interval(0, 1, -1, 3), 0.1), "no interval"),
        Case(lambda: stats.trend([[1, 2]]), r"not \(1, 2\)"),
        Case(lambda: stats.trend([[1, 2, NAN]]), "ours.* not finite"),
        Case(lambda: stats.reversal([1, 2, 3], 0.1), r"not \(3,\)"),
        Case(lambda: stats.reversal([[1, NAN, 3]], 0.1), "ours.* not finite"),
        Case(lambda: stats.reversal([[1, 2, 3]], -0.1), "margin is -0.1"),
        Case(lambda: stats.verdict_of_sweep([[1, NAN, 3]], 0.1), "ours.* not finite"),
        Case(lambda: stats.seeds_needed([], "greater", 0.1), "effects.* empty"),
        Case(lambda: stats.seeds_needed([1, NAN], "greater", 0.1), "effects.* not finite"),
        Case(lambda: stats.seeds_needed([1, 2], "greater", NAN), "margin is nan"),
        Case(lambda: stats.predictive_interval([1, 2, 3], 0), "n_new is 0"),
        Case(lambda: stats.predictive_interval([1, 2, 3], 3, 1.5), "level is 1.5"),
        Case(lambda: stats.balanced_scores([0, NAN], [0, 1]), "predicted.* not finite"),
        Case(lambda: stats.balanced_scores([0], [0, 1]), r"predicted \(1,\) and labels \(2,\)"),
    ],
    "solvers": [
        *(Case(partial(solve, UNIT[0, 0, 0], 1), "y has shape") for solve in SOLVERS.values()),
        *(Case(partial(solve, UNIT, 0), "iterations is 0") for solve in SOLVERS.values()),
        *(Case(partial(solve, UNIT, -1), "iterations is -1") for solve in SOLVERS.values()),
        *(Case(partial(solve, HOLE, 1), "y, float32 .* not finite") for solve in SOLVERS.values()),
        *(Case(partial(solve, UNIT[:0], 1), "y is empty") for solve in SOLVERS.values()),
        Case(lambda: cgls(SAME, UNIT, 1, shift=-1.0), "shift is -1.0"),
        Case(lambda: cgls(SAME, UNIT, 1, shift=NAN), "shift is nan"),
        Case(lambda: cgls(SAME, UNIT, 1, shift=float("inf")), "shift is inf"),
        Case(lambda: cgls(SAME, UNIT[:1], 1, x0=UNIT), r"x0 gives .*\(2, 1.* y is .*\(1, 1"),
        Case(lambda: sirt(SAME, UNIT, 1, lower=NAN), "lower is nan"),
        Case(lambda: sirt(LOST, UNIT, 1), "sums to nan"),
        Case(lambda: sgp(SAME, UNIT, -1.0, iterations=1), "weight -1.0"),
        Case(lambda: sgp(SAME, UNIT, 1.0, iterations=1, beta=0.0), "beta 0.0"),
        Case(lambda: sgp(SAME, UNIT, 1.0, iterations=3, keep=(0, 3, 4)), r"keep names \[0, 4\]"),
        Case(lambda: smooth_tv_objective(SAME, UNIT, UNIT, NAN), "weight nan"),
        Case(lambda: smooth_tv_objective(SAME, UNIT, UNIT, 1.0, -1.0), "beta -1.0"),
        Case(lambda: soft_threshold(UNIT, -1.0), "threshold is -1.0"),
        Case(lambda: soft_threshold(UNIT, NAN), "threshold is nan"),
    ],
    "operators": [
        Case(lambda: operator.operator_norm(SAME, UNIT, 0, CHANCE), "iterations is 0"),
        Case(lambda: operator.operator_norm(SAME, UNIT[:0], 1, CHANCE), r"like is .*\(0, 1"),
        Case(lambda: operator.operator_norm(SAME, BITS, 1, CHANCE), "like is uint8"),
        Case(lambda: operator.operator_norm(LOST, UNIT, 1, CHANCE), "not finite for float32"),
        Case(lambda: operator.dot_test(SAME, UNIT, UNIT[:1]), r"A x is .*\(2, 1.* y .*\(1, 1"),
        Case(lambda: operator.dot_test(LOST, UNIT, UNIT), "Ax, .* not finite"),
        Case(lambda: SparseOperator(csr_matrix([[1.0, 2.0]]), (2, 2), (1,)), r"it is \(1, 4\)"),
        Case(lambda: SparseOperator(csr_matrix([[1.0]]), (1,), (1,)).A(BITS), "not torch.uint8"),
    ],
    "ct": [
        Case(lambda: filters.ramp(0, 1.0), "bins 0"),
        Case(lambda: filters.ramp(4, 0.0), "spacing 0.0"),
        Case(lambda: filters.ramp(4, NAN), "spacing nan"),
        Case(lambda: filters.window("hann", 0), "length is 0"),
        Case(lambda: filters.window("box", 3), "'box'.*ram-lak"),
        Case(lambda: filters.filter_rows(UNIT, torch.ones(9)), "16 bins and a response of 9"),
        Case(lambda: scanner.ParallelBeam(size=8, views=2.5), "whole numbers"),
        Case(lambda: scanner.ParallelBeam(size=8, views=0), "positive and finite"),
        Case(lambda: scanner.ParallelBeam(size=8, views=6).finer(0), "n is 0"),
        Case(lambda: scanner.ParallelBeam(size=8, views=6).every(4), "choose a divisor"),
        Case(lambda: scanner.Projector(SCAN.geometry, unit=0.0), "unit is 0.0"),
        Case(lambda: SCAN.A(UNIT), r"shape \(2, 1, 16, 16\)"),
        Case(lambda: SCAN.fbp(torch.ones(1, 1, 6, 1)), r"y is float32 \(1, 1, 6, 1\)"),
        Case(lambda: scanner.hu_window(UNIT, 40, 0), "width 0"),
        Case(lambda: scanner.hu_window(UNIT, NAN, 400), "centre nan"),
        Case(lambda: scanner.photon_noise(UNIT, 0, CHANCE), "photons is 0"),
        Case(lambda: scanner.photon_noise(UNIT, float("inf"), CHANCE), "photons is inf"),
        Case(lambda: scanner.photon_noise(UNIT, 1e4, CHANCE, -1.0), "electronic -1.0"),
        Case(lambda: scanner.photon_noise(UNIT, 1e4, CHANCE, NAN), "electronic nan"),
        Case(lambda: scanner.photon_noise(HOLE, 1e4, CHANCE), "y, .* not finite"),
        Case(lambda: scanner.relative_noise(UNIT, -0.1, CHANCE), "level is -0.1"),
        Case(lambda: scanner.relative_noise(UNIT, NAN, CHANCE), "level is nan"),
        Case(lambda: scanner.relative_noise(UNIT[0, 0, 0], 0.1, CHANCE), r"y is float32 \(16,\)"),
        Case(lambda: scanner.relative_noise(HOLE, 0.1, CHANCE), "y, .* not finite"),
    ],
    "mri": [
        Case(lambda: magnet.combine(KSPACE[:, :1], KSPACE), r"images complex64 \(1, 1, 8, 8\)"),
        Case(lambda: magnet.combine(KSPACE, KSPACE.expand(3, 2, 8, 8)), r"maps complex64 \(3, 2"),
        Case(lambda: magnet.calibrated_maps(KSPACE, 0), "centre is 0"),
        Case(lambda: magnet.calibrated_maps(KSPACE, 9), "9 x 9 samples does not fit"),
        Case(lambda: magnet.calibrated_maps(KSPACE[0], 2), r"k-space is complex64 \(2, 8, 8\)"),
        Case(lambda: magnet.calibrated_maps(KSPACE.real, 2), "k-space is float32"),
        Case(lambda: magnet.coil_maps(0, 8), "n is 0"),
        Case(lambda: magnet.coil_maps(2, 0), "size is 0"),
        Case(lambda: loops.loop_radius(0), "n is 0"),
        Case(lambda: loops.loop_field(torch.zeros(1, 2), 0.0, 0.0), "radius 0.0"),
        Case(lambda: loops.loop_field(torch.zeros(1, 2), 0.0, 0.3, 2), "2 segments"),
        Case(lambda: magnet.acceleration(UNIT > 1), "mask is bool"),
        Case(lambda: magnet.acceleration(UNIT + 1), "mask is float32"),
        Case(lambda: magnet.gaussian_points((8, 8), 2, 2, CHANCE, 0.0), "spread is 0.0"),
        Case(lambda: magnet.gaussian_points((8, 8), NAN, 2, CHANCE), "acceleration is nan"),
        Case(lambda: magnet.random_lines((8, 8), 2, 1.5, CHANCE), "centre is 1.5"),
        Case(lambda: magnet.random_lines((8, 0), 2, 0.1, CHANCE), "acceleration is 2"),
        Case(lambda: magnet.poisson_disc((8, 8), 0.5, 2, CHANCE), "acceleration is 0.5"),
        Case(lambda: magnet.complex_noise(KSPACE, -1.0, CHANCE), "sigma is -1.0"),
        Case(lambda: magnet.complex_noise(KSPACE, NAN, CHANCE), "sigma is nan"),
        Case(lambda: magnet.complex_noise(KSPACE, float("inf"), CHANCE), "sigma is inf"),
        Case(lambda: magnet.noise_sigma(UNIT, 0), "snr is 0"),
        Case(lambda: magnet.noise_sigma(HOLE, 30), "image, .* not finite"),
        Case(lambda: magnet.noise_sigma(UNIT, 30, UNIT > 1), "the support is empty"),
        Case(lambda: magnet.nrmse(UNIT, UNIT[:1]), r"\(2, 1, 16, 16\) and \(1, 1, 16, 16\)"),
        Case(lambda: magnet.nrmse(HOLE, UNIT + 1), "error, .* not finite"),
        Case(lambda: magnet.nrmse(UNIT[:0], UNIT[:0]), "error is empty"),
        Case(lambda: magnet.nrmse(UNIT, UNIT), "the true image is zero"),
        Case(lambda: magnet.Radial(8, 5, 16).sinogram_of(torch.ones(1, 1, 5, 16), 0), "bins is 0"),
        Case(lambda: magnet.smooth_phase(0, 8, CHANCE), "n 0"),
        Case(lambda: magnet.smooth_phase(1, 0, CHANCE), "size 0"),
        Case(lambda: magnet.scanned(KSPACE, 2, 4), r"image is complex64 \(1, 2, 8, 8\)"),
        Case(lambda: magnet.scanned(PLANE[..., :6], 2, 4), r"image is complex64 \(1, 1, 8, 6\)"),
        Case(lambda: magnet.scanned(PLANE, 2, 9), r"\(9, 9\) samples cannot be cut"),
        Case(lambda: magnet.head_of(HOLE), "x, .* not finite"),
        Case(lambda: magnet.measured(KSPACE, PLANE.real, 30, CHANCE), "mask is float32"),
        Case(lambda: magnet.measured(KSPACE, UNIT > 0, 30, CHANCE), r"mask is bool \(2, 1, 16, 16"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=f"{k}: {c.says}") for k, some in CASES.items() for c in some]
)
def test_nonsense_is_refused_in_one_line(case: Case) -> None:
    with pytest.raises(MedbookError, match=case.says) as found:
        case.call()
    assert len(str(found.value).splitlines()) == 1


def test_images_that_end_at_1_get_the_numbers_of_their_own_range() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 1, 176, 176, generator=generator, dtype=torch.float64)
    y = (x + 0.2 * torch.randn(x.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    for measure in MEASURES:
        in_bits = measure(255 * x, 255 * y, 255.0)
        torch.testing.assert_close(measure(x, y, 1.0), in_bits, rtol=1e-5, atol=1e-5)
    assert 14 < psnr(x, y, 1.0).item() < 17 and ssim(x, y, 1.0).item() < 0.9


def test_uint8_says_its_own_range() -> None:
    x = torch.randint(0, 256, (1, 1, 176, 176), generator=torch.Generator().manual_seed(1))
    x, y = x.to(torch.uint8), x.flip(-1).to(torch.uint8)
    for measure in MEASURES:
        torch.testing.assert_close(measure(x, y), measure(x.float(), y.float(), 255.0))


def test_what_is_valid_stays_so() -> None:
    """The ends of what is accepted."""
    assert len(diffusion.descent(diffusion.alpha_bars(), 1000)) == 1000
    assert len(diffusion.descent(diffusion.alpha_bars(), 1)) == 1
    assert sparsity.stepwise(0.8)(0.0, 4, 4) == (4, 4)
    assert language.info_nce(TWO, TWO, equal=torch.eye(2) > 0).item() >= 0
    assert probes.auc(torch.tensor([[-torch.inf], [torch.inf]]), LINE) == 1.0
    soft = F.one_hot(WORDS, 3).float()
    assert fit(soft).steps == fit(torch.tensor([0, 2])).steps == 1
    assert fit(torch.tensor([0, training.IGNORED])).steps == 1
    assert unlearnable.keep_top(UNIT, 0.0).sum() == 0 and unlearnable.keep_top(UNIT, 1.0).all()
    assert refuse.told(BITS) == "uint8 (2, 1, 16, 16)"
