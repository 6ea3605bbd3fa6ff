"""What the chapters' trainings would take on a GPU: counted on a device without numbers.

The committed table is made by `python ci/bench/gpu.py --out ci/bench/gpu.md`; it needs no GPU.
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measure import ROOT, arguments, publish
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from medbook._book.markdown import table

sys.path.insert(0, str(ROOT / "tests"))
from chapter_networks import BOOKS, Trained, constants, networks, shapes_alone, there

CALL_US = 10  # an operation that Python starts, forwards or backwards
UPDATE_MS = 0.6  # optimiser, clipping, schedule, loss looked at
TFLOPS = 30  # of an H200's 990 in bfloat16, by convolutions as small as these
BATCH = {  # at profile gpu
    "unlearnable_examples": 128, "structured_sparsity": 128, "diffusion": 128,
    "sparse_view_ct": 16, "mri_reconstruction": 8, "image_text_pretraining": 128,
}  # fmt: skip
STEPS = {  # the constant that sets the length of a chapter's trainings
    "unlearnable_examples": "STEPS", "structured_sparsity": "STEPS", "diffusion": "SIZES",
    "sparse_view_ct": "SIZES", "mri_reconstruction": "STEPS", "image_text_pretraining": "SIZES",
}  # fmt: skip
VIEWS = ("view", "detach", "expand", "permute", "transpose", "aten.t.", "slice", "select", "alias",
         "squeeze", "as_strided", "split")  # fmt: skip

TEXT = f"""\
No GPU was used. Each network of a chapter takes one training step at gpu sizes on torch's device
`meta`, which knows shapes and no numbers; operations and their multiplications are counted, and
what the backward pass keeps in memory is added up. A step is then estimated as the longer of
{CALL_US} us an operation and {TFLOPS} TFLOP/s, plus {UPDATE_MS} ms for the update: assumptions for
one H200, whose small networks wait for Python more than they compute. Products with sparse
matrices count as one operation."""
TOTAL = """\
The trainings of the stored laptop run, each with the steps of profile gpu (which has more seeds in
one chapter: five of diffusion where laptop has three). Choices of settings, reconstructions by
solvers, sampling, and the making of data come on top. The budget is 3 minutes a chapter."""


class Counted(NamedTuple):
    """One training step."""

    parameters: int
    operations: int
    flops: float
    saved: int  # bytes

    @property
    def ms(self) -> float:
        """Estimated time on an H200."""
        return UPDATE_MS + max(self.operations * CALL_US / 1e3, self.flops / TFLOPS / 1e9)


class Calls(TorchDispatchMode):
    """Counts operations that start a computation."""

    number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += not any(view in str(func) for view in VIEWS)
        return func(*args, **(kwargs or {}))


def count(trained: Trained) -> Counted:
    """One step, forwards and backwards."""
    saved: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        saved[storage._cdata] = storage.nbytes()
        return x

    calls, flops = Calls(), FlopCounterMode(display=False)
    with calls, flops, torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        trained.loss(trained.network(trained.images), trained.labels).backward()
    parameters = sum(p.numel() for p in trained.network.parameters())
    return Counted(parameters, calls.number, flops.get_total_flops(), sum(saved.values()))


def counted() -> dict[str, Counted]:
    """Every network at gpu sizes."""
    with shapes_alone():
        return {
            name: count(there(build(BATCH[name.split(":")[0]])))
            for name, build in networks("gpu").items()
        }


def steps_of(chapter: str, profile: str) -> int:
    """Steps of a training of the usual length."""
    (value,) = constants(BOOKS[chapter], profile, STEPS[chapter])
    return int(value["steps"] if isinstance(value, dict) else getattr(value, "steps", value))


def total(chapter: str, found: dict[str, Counted]) -> tuple[int, float]:
    """Steps of all trainings at gpu sizes, and their estimated seconds."""
    stored = json.loads(Path(ROOT, f"book/results/{chapter}.laptop.json").read_text())
    longer = steps_of(chapter, "gpu") / steps_of(chapter, "laptop")
    own = {name.split(": ", 1)[1]: one.ms for name, one in found.items() if chapter in name}
    mean = sum(own.values()) / len(own)
    steps, seconds = 0.0, 0.0
    for arm in stored["arms"]:
        taken = arm["steps"] * len(arm["weights"]) * longer
        near = max((n for n in own if arm["name"].startswith(n)), key=len, default="")
        steps, seconds = steps + taken, seconds + taken * own.get(near, mean) / 1e3
    return round(steps), seconds


def main() -> None:
    options = arguments(__doc__, "gpu.md").parse_args()
    found = counted()
    rows = [
        [name, f"{c.parameters / 1e6:.2f}", c.operations, f"{c.flops / 1e9:,.0f}",
         f"{c.saved / 2**20:,.0f}", f"{c.ms:.1f}"] for name, c in found.items()
    ]  # fmt: skip
    head = ["network", "million weights", "operations", "GFLOP", "MiB kept", "ms"]
    totals = [(chapter, *total(chapter, found)) for chapter in BATCH]
    chapters = [[c, f"{steps:,}", f"{seconds / 60:.1f}"] for c, steps, seconds in totals]
    publish(
        ["# Trainings at gpu sizes: an estimate", TEXT, "## One step", table(head, rows),
         "## All trainings", TOTAL, table(["chapter", "steps", "minutes"], chapters)],
        options.out,
    )  # fmt: skip


if __name__ == "__main__":
    main()
