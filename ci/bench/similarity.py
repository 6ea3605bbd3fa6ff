"""CSIM of the chapter on image similarity against the published package and against SSIM.

The committed table is made by `python ci/bench/similarity.py --out ci/bench/similarity.md`, in an
environment that holds the package `CopulaSimilarity` (else its row is left out).
"""

import importlib.util
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import torch
from measure import arguments, interleaved, machine, publish, seconds, spread
from skimage.metrics import structural_similarity
from torch import Tensor

from medbook import chapter, data
from medbook._book.markdown import table
from medbook.evaluate.fsim import fsim
from medbook.evaluate.similarity import ssim_map

SIDE, BATCH = 256, 16
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
OURS = "CSIM, the chapter's, 1 pair"
PACKAGE = "CopulaSimilarity"
RANGE = 255  # of 8-bit images

INTRODUCTION = f"""\
Pairs of grey 8-bit images of {SIDE} x {SIDE} pixels (the twin of the chest X-rays, and the same
with noise of 5 grey levels), maps included, everything on one thread. The chapter's measures get
32-bit floats, one pair or {BATCH} at a time; the others get 8-bit arrays, one pair at a time."""


def pairs() -> tuple[Tensor, Tensor]:
    """Images and noisy copies, float32 (16, 1, 256, 256), whole numbers from 0 to 255."""
    x = data.load("chest_xray_lungs", size=SIDE, source="twin").images[:BATCH]
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    return x, (x + 5 * noise).round().clamp(0, 255)


def arms(repeats: int) -> dict[str, Callable[[], float]]:
    """What is compared; each returns milliseconds for a pair."""
    book, (x, y) = chapter.load("image_similarity"), pairs()
    first, second = (image[0, 0].byte().numpy() for image in (x, y))
    one, all_ = ([v[:n].to(DEVICE) for v in (x, y)] for n in (1, BATCH))

    def timed(work: Callable[[], object], n: int = 1) -> float:
        return 1000 * seconds(lambda: [work() for _ in range(repeats)]) / repeats / n

    def torch_arm(measure: Callable[..., Tensor], images: list[Tensor]) -> Callable[[], float]:
        return partial(timed, lambda: measure(*images).cpu(), len(images[0]))

    found = {
        OURS: torch_arm(book.csim_map, one),
        f"CSIM, the chapter's, {BATCH} pairs": torch_arm(book.csim_map, all_),
        "CSIM with a floor, 1 pair": torch_arm(partial(book.csim_map, floor=2.0), one),
    }
    if importlib.util.find_spec(PACKAGE):
        from CopulaSimilarity.CSM import CopulaBasedSimilarity

        published = CopulaBasedSimilarity().compute_local_similarity
        name = f"CSIM, {PACKAGE} {version(PACKAGE)}"
        found[name] = partial(timed, lambda: published(first[..., None], second[..., None]))
    ssim = partial(structural_similarity, first, second, data_range=RANGE, full=True)
    ours_ssim = partial(ssim_map, data_range=RANGE)
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return found | {
        "SSIM, scikit-image, uniform window": partial(timed, ssim),
        "SSIM, scikit-image, Gaussian window": partial(timed, partial(ssim, **gaussian)),
        "SSIM, torchmetrics, 1 pair": torch_arm(ours_ssim, one),
        f"SSIM, torchmetrics, {BATCH} pairs": torch_arm(ours_ssim, all_),
        "FSIM, medbook's, 1 pair": torch_arm(partial(fsim, data_range=RANGE), one),
    }


def times_table(repeats: int, rounds: int) -> str:
    """Milliseconds a pair, and how many times as long as the chapter's CSIM takes."""
    measures = arms(repeats)
    interleaved(measures, 1)  # the first calls fill caches
    found = interleaved(measures, rounds)
    rows = []
    for name, times in found.items():
        slower = [a / b for a, b in zip(times, found[OURS], strict=True)]
        rows.append([name, spread(times), spread(slower, 1)])
    return table(["measure", "a pair, ms", "a pair / a pair of the first row"], rows)


def main() -> None:
    options = arguments(__doc__, "similarity.md").parse_args()
    torch.set_num_threads(1)  # the others use no more
    repeats, rounds = (1, 2) if options.quick else (5, 9)
    blocks = ["# Image similarity: benchmark", machine(rounds), INTRODUCTION]
    publish([*blocks, times_table(repeats, rounds)], options.out)


if __name__ == "__main__":
    main()
