"""Each check accepts the solution and rejects the empty cell and two typical wrong answers.

Solutions and checks are those of the chapters; a few lines stand in for what a chapter computes
before its exercises.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from medbook import chapter
from medbook._book.notebooks.student import stub
from medbook._book.project import find_project

PROJECT = find_project(Path(__file__).parent)


class Exercise(NamedTuple):
    """Two wrong answers, each the solution with one piece exchanged; what stands in before it."""

    wrong: tuple[tuple[str, str], tuple[str, str]]
    before: str = ""


RAMP = """
shown = torch.linspace(60, 200, 176).expand(1, 1, 176, 176)
"""
MIXTURE = """
from monai.networks.schedulers import DDIMScheduler
mixture = four_modes()
"""
HEADS = """
from types import SimpleNamespace
from medbook.physics.mri import middle
brain = SimpleNamespace(images=torch.rand(1, 1, 40, 40))
fine = lambda x: x.to(torch.complex64)
kept = (torch.arange(16) % 2).float()
half = SimpleNamespace(A=lambda x: x * kept, AT=lambda y: y * kept)
half.A = lambda x: x * kept * (0.5 + torch.arange(16) / 30)
half.AT = half.A
full_brain = x_brain = torch.ones(1, 1, 4, 16)
noisy_scan = lambda full, R, s: SimpleNamespace(y=half.A(full) + 0.1, E=half)
SEEDS = [0]
"""
PATIENT = """
SIZE, DOSE, at = 32, 1e5, slice(0, 1)
K = Projector(scan(SIZE, 24), MU_WATER)
rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, SIZE)] * 2, indexing="ij")
inside = ((rows / 0.6) ** 2 + (columns / 0.8) ** 2 < 1).float()[None, None]
inside = inside - 0.7 * (((rows - 0.1) / 0.4) ** 2 + ((columns + 0.35) / 0.25) ** 2 < 1).float()
clean = K.A(inside)
noisy = lambda dose: photon_noise(clean, dose, torch.Generator().manual_seed(1))
from types import SimpleNamespace as Some
tests = {"patient": Some(y=noisy(DOSE)), "phantom": Some(truth=inside)}
tests["phantom, dose / 40"] = Some(y=noisy(DOSE / 40))
"""
REPORTS = """
reports = [["There is a mass.", "No effusion.", "The lungs are clear."]] * 10
"""
SETS = """
from types import SimpleNamespace
generator = torch.Generator().manual_seed(0)
labels = torch.arange(40) % 2
light = 60 + 60 * labels[:, None, None, None] + 40 * torch.rand(40, 1, 16, 16, generator=generator)
demo = SimpleNamespace(images=light.to(torch.uint8), labels=labels)
"""

EXERCISES = {
    "structured_sparsity": [
        Exercise(
            (("math.comb(m, n)) / n", "math.comb(m, n))"), ("/ (16 + bits[", "/ (12 + bits["))
        ),
        Exercise((("/ (1 - 0.9)", ""), ("steps / 2 /", "steps /"))),
        Exercise((("8 >> min", "16 >> min"), ("int(4 * u), 3", "int(5 * u), 3"))),
    ],
    "diffusion": [
        Exercise(
            (("sigma_of(b) - sigma_of(a)", "sigma_of(a) - sigma_of(b)"), (" * b.sqrt()", "")),
            MIXTURE,
        ),
        Exercise(
            (
                ("-mixture(y, sigma)", "mixture(y, sigma)"),
                (
                    "in (mixture, lambda y, sigma: -mixture(y, sigma))",
                    "in (lambda y, sigma: -mixture(y, sigma), mixture)",
                ),
            ),
            MIXTURE,
        ),
        Exercise(
            (
                ("[t - 1000 // 10 for t in asked]", "[*asked[1:], 0]"),
                ("scheduler.timesteps.tolist()", "list(range(999, -1, -100))"),
            ),
            MIXTURE,
        ),
    ],
    "mri_reconstruction": [
        Exercise(
            (
                (
                    "fft.ifftshift(\n        torch.fft.ifft2(torch.fft.fftshift(k",
                    "fft.fftshift(\n        torch.fft.ifft2(torch.fft.ifftshift(k",
                ),
                ("torch.fft.fftshift(k, dim=(-2, -1))", "k"),
            ),
            HEADS,
        ),
        Exercise(
            (("for tau in (1.0, 2.0)", "for tau in (1.0,)"), ("- tau * E.AT", "- E.AT")), HEADS
        ),
        Exercise(
            (
                ("    layer.basis = hats(2 * REACH)\n", ""),
                ("zip(coarse, dense, strict=True)", "zip(coarse[::-1], dense[::-1])"),
            )
        ),
    ],
    "sparse_view_ct": [
        Exercise(
            (
                ("hidden = nodule - cgls(K, K.A(nodule), 100).x", "hidden = nodule"),
                ("nodule - cgls", "0 * nodule + cgls"),
            ),
            PATIENT,
        ),
        Exercise(
            (
                ("K.AT(y.flip(-1))", "K.AT(y)"),
                (
                    "(torch.arange(SIZE, device=y.device) < SIZE // 2)",
                    "0 + inside[at].flip(-1) + inside[at]",
                ),
            ),
            PATIENT,
        ),
        Exercise(
            (
                ("asked_at = (2, 5, 10, 25, 50, 100, 200)", "asked_at = (2, 200)"),
                ('tests["phantom, dose / 40"].y[:4]', 'K.A(tests["phantom"].truth[:4])'),
            ),
            PATIENT,
        ),
    ],
    "image_text_pretraining": [
        Exercise(
            (
                ("u[:m] = u[0]\n", ""),
                ("least = float(info_nce(v, u, tau=0.01, lam=1.0))", "least = math.log(m)"),
            ),
            REPORTS,
        ),
        Exercise(
            (
                ("unit(unit(c).mean(0))", "unit(c.mean(0))"),
                ("float(unit(c.mean(0)) @ unit(image))", "float(c.mean(0) @ image)"),
            ),
            REPORTS,
        ),
        Exercise(((" + 3))", "))"), ("0.5 * (", "(")), REPORTS),
    ],
    "image_similarity": [
        Exercise(
            (
                (
                    "float(psnr(shown[:1], worst, 4095.0) -",
                    "-float(psnr(shown[:1], worst, 4095.0) -",
                ),
                (
                    "wrong_ssim = float(ssim(shown[:1], worst, 4095.0))",
                    "wrong_ssim = float(ssim(shown[:1], worst, RANGE))",
                ),
            ),
            RAMP,
        ),
        Exercise(
            (
                ("drawn.astype(np.int64).astype(np.uint8)", "drawn.clip(0, 255).astype(np.uint8)"),
                ("drawn.astype(np.int64).astype(np.uint8)", "drawn"),
            ),
            RAMP,
        ),
        Exercise(
            (
                ("for channels in (1, 3)", "for channels in (3, 1)[:1]"),
                ("csim(a, b)", "csim(a, a)"),
            ),
            RAMP,
        ),
    ],
    "unlearnable_examples": [
        Exercise((("r * rho**2", "r**2 * rho**2"), ("-10 * np", "-20 * np"))),
        Exercise(
            (
                ('"descend": RHO / 2', '"descend": -RHO'),
                ('"ascend": -RHO / 2', '"ascend": 0.0, "other": 0.0'),
            ),
            SETS,
        ),
        Exercise((("np.argmax(reached)", "np.argmin(reached)"), ("scores > t", "scores < t"))),
    ],
}
ALL = [
    pytest.param(id, number, id=f"{id}-{number + 1}")
    for id, some in EXERCISES.items()
    for number in range(len(some))
]


def cells(id: str) -> list[tuple[str, str]]:
    """Each solution of a chapter with its check."""
    code = [c for c in PROJECT.select([id])[0].notebook().cells if c.cell_type == "code"]
    tags = [c.metadata.get("tags", []) for c in code]
    return [
        (code[k].source, code[k + 1].source)
        for k, (this, below) in enumerate(pairwise(tags))
        if "solution" in this and "check" in below
    ]


def passes(id: str, before: str, answer: str, check: str) -> bool:
    """Whether a check lets an answer pass; the answer itself must run."""
    names: dict[str, Any] = dict(vars(chapter.load(id)))
    torch.manual_seed(0)
    exec(before, names)
    exec(answer, names)
    try:
        exec(check, names)
    except (AssertionError, NameError, TypeError, KeyError, AttributeError):
        return False
    return True


def test_every_exercise_of_the_book_is_here() -> None:
    assert {c.id for c in PROJECT.chapters()} == set(EXERCISES)
    assert {id: len(cells(id)) for id in EXERCISES} == {id: len(e) for id, e in EXERCISES.items()}


@pytest.mark.parametrize(("id", "number"), ALL)
def test_the_solution_passes_its_check(id: str, number: int) -> None:
    solution, check = cells(id)[number]
    assert passes(id, EXERCISES[id][number].before, solution, check)


@pytest.mark.parametrize(("id", "number"), ALL)
def test_a_stub_runs_and_does_not_pass(id: str, number: int) -> None:
    solution, check = cells(id)[number]
    empty = stub("Exercise", solution, check)
    assert len(empty.splitlines()) > 1  # the check reads something of the answer
    assert not passes(id, EXERCISES[id][number].before, empty, check)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("id", "number"), ALL)
def test_a_wrong_answer_does_not_pass(id: str, number: int, which: int) -> None:
    solution, check = cells(id)[number]
    right, wrong = EXERCISES[id][number].wrong[which]
    assert solution.count(right) == 1
    assert not passes(id, EXERCISES[id][number].before, solution.replace(right, wrong), check)
