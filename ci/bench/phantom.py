"""How long phantom patients take: X-rays, pairs, masks, volumes and reports.

The committed table is made by `python ci/bench/phantom.py --out ci/bench/phantom.md`.
"""

import time
from collections.abc import Callable

import torch
from measure import arguments, machine, publish, spread

from medbook._book.markdown import table
from medbook.phantom import thorax
from medbook.trials import parallel

GOAL = 30.0  # s for 1000 X-rays of 64 px on two cores
WHAT = """\
Seconds for 1,000 patients, from drawing to the tensor, in batches of {batch}: {n} were made and
the time scaled. The goal is {goal:.0f} s for 1,000 X-rays of 64 px on two cores. *CPU*: processor
seconds, which other programs on the machine do not change; on two cores half of it is the least
time that can pass. *Pair*: with and without bones at both energies, which cost no further rays."""


def main() -> None:
    options = arguments(__doc__, "phantom.md").parse_args()
    n, batch, rounds = (2, 2, 1) if options.quick else (60, 20, 3)
    rows = []
    for threads in (1, parallel.threads()):
        torch.set_num_threads(threads)
        for name, work in WORKS.items():
            some = batch if name in SLOW else n
            times = [measured(work, some, batch) for _ in range(rounds)]
            wall, cpu = ([1000 / some * one[i] for one in times] for i in (0, 1))
            rows.append([name, threads, spread(wall, 1), spread(cpu, 1)])
    text = WHAT.format(batch=batch, n=n, goal=GOAL)
    heads = ["what", "threads", "seconds", "CPU"]
    publish(["# Phantom patients: time", machine(rounds), text, table(heads, rows)], options.out)


def measured(work: Callable[[thorax.Thorax], object], n: int, batch: int) -> tuple[float, float]:
    """Wall and processor seconds for n patients."""
    generator = torch.Generator().manual_seed(0)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(n // batch):
        work(thorax.sample(batch, generator))
    return time.perf_counter() - wall, time.process_time() - cpu


def pair(people: thorax.Thorax) -> object:
    paths = people.paths(thorax.View(64))
    return [thorax.attenuation(paths, e, b) for e in thorax.ENERGIES for b in (True, False)]


def volume(people: thorax.Thorax) -> object:
    return people.volume(thorax.Grid(32, 12.5))


WORKS: dict[str, Callable[[thorax.Thorax], object]] = {
    "X-ray, 64 px": lambda people: people.xray(thorax.View(64)),
    "pair, 64 px": pair,
    "X-ray, 128 px": lambda people: people.xray(thorax.View(128)),
    "masks, 64 px": lambda people: people.masks(thorax.View(64)),
    "volume, 32 voxels": volume,
    "reports": lambda people: people.reports(torch.Generator().manual_seed(0)),
}
SLOW = ("X-ray, 128 px", "masks, 64 px", "volume, 32 voxels")

if __name__ == "__main__":
    main()
