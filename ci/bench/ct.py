"""CT operators against scikit-image and the ASTRA toolbox, on the CPU.

The committed table is made by `python ci/bench/ct.py --out ci/bench/ct.md` in an environment that
has the extra `oracles`, too; without ASTRA its rows are left out.
"""

import statistics
from functools import partial
from importlib.metadata import version

import torch
from ct_others import ASTRA, MATRIX, Arms, astra_arms, astra_projector, skimage_arms
from measure import arguments, interleaved, machine, publish, seconds, spread
from scipy.sparse import csr_matrix
from torch import Tensor

from medbook._book.markdown import table
from medbook.phantom import thorax_like
from medbook.physics.ct import FanBeam, Geometry, ParallelBeam, Projector
from medbook.physics.ct.matrices import backprojection_matrix, system_matrix
from medbook.physics.sparse import SparseOperator
from medbook.trials import parallel

VIEWS, BATCH = 180, 16
OPERATIONS = ("A", "AT", "fbp")

SAME = """\
Milliseconds an image. *A*: line integrals; *AT*: their adjoint; *fbp*: filtered backprojection
with the ramp. *Difference*: of A of a chest phantom from ours. The data lie where each program
wants them; set-up is below. scikit-image has no adjoint and no fan beam, and gets `circle=True`,
with which it looks at fewer bins. ASTRA computes its weights anew in every call (`line`: the same
ones as ours; `linear`: of interpolation) or keeps them as a sparse matrix; on the CPU it filters
and projects back parallel beams only, without a matrix. Neither takes batches, so an image costs
the same in a batch, and both use one thread."""
SUMMARY = """\
Time of the fastest of the others over ours on one thread, medians, both for an image."""
SETUP = """\
Once for a geometry; MiB in float32 with the transposed copy. `A` and `AT` use the first matrix,
`fbp` the second. scikit-image, and ASTRA without a matrix, need neither time nor memory here."""

Times = dict[tuple[str, str], list[float]]


def main() -> None:
    options = arguments(__doc__, "ct.md").parse_args()
    sizes, rounds = ((32,), 2) if options.quick else ((128, 256), 7)
    blocks, faster, setup = [], [], []
    for geometry in (scan for size in sizes for scan in scans(size)):
        times, differences = compare(geometry, rounds)
        title = f"{name_of(geometry)}, {geometry.views} views, {geometry.bins} bins"
        blocks += [f"## {title}", times_table(times, differences)]
        faster.append([name_of(geometry), *(advantage(times, one) for one in OPERATIONS)])
        setup.append([name_of(geometry), *preparation(geometry, rounds)])
    heads = [f"{one}, batch {BATCH} / 1" for one in OPERATIONS]
    blocks += ["## How many times faster", SUMMARY, table(["scan", *heads], faster)]
    heads = ["line integrals, s", "MiB", "interpolation, s", "MiB", "ASTRA's line integrals, s"]
    blocks += ["## Set-up", SETUP, table(["scan", *heads], setup)]
    publish(["# CT operators: benchmark", machine(rounds), versions(), SAME, *blocks], options.out)


def scans(size: int) -> tuple[Geometry, Geometry]:
    """Lengths in pixels."""
    far = 2.0 * size
    fan = FanBeam(
        size=size, views=VIEWS, bins=3 * size // 2, pitch_mm=2, source_mm=far, detector_mm=far
    )
    return ParallelBeam(size=size, views=VIEWS), fan


def name_of(geometry: Geometry) -> str:
    kind = "parallel beam" if isinstance(geometry, ParallelBeam) else "flat fan"
    return f"{geometry.size} px, {kind}"


def compare(geometry: Geometry, rounds: int) -> tuple[Times, dict[str, float]]:
    """Milliseconds an image of every program and operation, and how far the others are off."""
    x = thorax_like(1, torch.Generator().manual_seed(0)).image(geometry.size, 360 / geometry.size)
    y = Projector(geometry).A(x)
    arms, differences = our_arms(geometry, x, y), {}
    if isinstance(geometry, ParallelBeam):
        arms |= skimage_arms(geometry, x[0, 0].numpy())
    if ASTRA:
        theirs, differences = astra_arms(geometry, x[0, 0].numpy(), y[0, 0].numpy())
        arms |= theirs
    measured = {
        key: partial(lambda work, images: 1000 * seconds(work) / images, *arm)
        for key, arm in arms.items()
    }
    interleaved(measured, 1)  # the first calls make matrices and fill caches
    return interleaved(measured, rounds), differences


def ours(threads: int, batch: int) -> str:
    return f"medbook, {threads} thread{'s' * (threads > 1)}, batch {batch}"


def our_arms(geometry: Geometry, x: Tensor, y: Tensor) -> Arms:
    """On one thread and on all, one image and a batch."""
    scan, arms = Projector(geometry), {}

    def work(operation: str, data: Tensor, threads: int) -> None:
        torch.set_num_threads(threads)
        getattr(scan, operation)(data)

    for threads in sorted({1, parallel.threads()}):
        for batch in (1, BATCH):
            for one, data in zip(OPERATIONS, (x, y, y), strict=True):
                images = data.expand(batch, -1, -1, -1).contiguous()
                arms[ours(threads, batch), one] = partial(work, one, images, threads), batch
    return arms


def times_table(times: Times, differences: dict[str, float]) -> str:
    rows = []
    for program in dict.fromkeys(program for program, _ in times):
        cells = [times.get((program, one)) for one in OPERATIONS]
        off = f"{differences[program]:.0e}" if program in differences else ""
        rows.append([program, *(spread(cell) if cell else "" for cell in cells), off])
    return table(["program", *OPERATIONS, "difference"], rows)


def advantage(times: Times, operation: str) -> str:
    """The fastest other program over ours, for a batch and for one image."""
    medians = {name: statistics.median(v) for (name, one), v in times.items() if one == operation}
    others = [median for name, median in medians.items() if not name.startswith("medbook")]
    batch, one = (medians[ours(1, n)] for n in (BATCH, 1))
    return f"{min(others) / batch:.1f} / {min(others) / one:.1f}" if others else ""


def preparation(geometry: Geometry, rounds: int) -> list[str]:
    """Seconds and memory of both matrices, and ASTRA's seconds for the first."""
    torch.set_num_threads(1)
    image, sinogram = (geometry.size, geometry.size), (geometry.views, geometry.bins)
    cells = []
    for make, sides in (
        (system_matrix, (image, sinogram)),
        (backprojection_matrix, (sinogram, image)),
    ):
        matrix = make(geometry)

        def build(make=make, sides=sides) -> None:
            upload(make(geometry), *sides)

        cells += [spread([seconds(build) for _ in range(rounds)])]
        cells.append(f"{2 * matrix.nnz * (4 + 4) / 2**20:,.0f}")
    astra = partial(astra_projector, geometry, MATRIX)
    return [*cells, spread([seconds(astra) for _ in range(rounds)]) if ASTRA else ""]


def upload(matrix: csr_matrix, domain: tuple[int, int], range: tuple[int, int]) -> None:
    """Both copies that an operator computes with."""
    SparseOperator(matrix, domain, range)._copy(torch.device("cpu"), torch.float32)


def versions() -> str:
    names = ["scikit-image", "scipy", *["astra-toolbox"] * ASTRA]
    return f"With {', '.join(f'{name} {version(name)}' for name in names)}."


if __name__ == "__main__":
    main()
