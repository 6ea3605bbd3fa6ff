"""Training with `fit` against a plain loop, and the time until data and package are ready.

The committed table is made by `python ci/bench/train.py --out ci/bench/train.md`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from measure import BUILD, arguments, interleaved, machine, publish, seconds, spread
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from medbook import chapter, data, paths
from medbook._book.markdown import table
from medbook.data.entries import File
from medbook.data.sources import file_hash
from medbook.learn.training import fit, random_shift

SIDE, BATCH, CLASSES = 28, 128, 2
SPLITS = {"train": 7000, "val": 1000, "test": 2000}  # 10,000 images
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
IMPORT = """
import time
start = time.perf_counter()
import torch
middle = time.perf_counter()
import medbook
print(middle - start, time.perf_counter() - middle)
"""

STEPS = """\
`fit` against a plain loop of the kind with which the MedMNIST project trains its baselines: a
data set that makes a PIL image of each item and transforms it alone, a DataLoader, Adam, the
loss read at every step (evaluation between epochs is left out; the transform is written without
torchvision). The same network (that of the first chapter, in channels-last order) and images, one
epoch; starting the workers belongs to the loop. *Without the network*: the same call with a
network that does not look at the images; input, loop and optimiser remain. Their share is to be
at most 10 % for `fit`."""
READY = """\
Until the images are tensors in memory, the files being in the page cache: to be less than 1 s.
The files have the layout and compression of MedMNIST's, their content is generated; checking
their hashes is included."""
IMPORTED = "In a new process, from bytecode: medbook is to add less than 0.3 s to torch."

Images = np.ndarray  # (N, 28, 28) uint8
Training = Callable[[nn.Module, Images, np.ndarray], object]


class Blind(nn.Module):
    """A network that does not look: of a step, the input, the loop and the optimiser remain."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(1, CLASSES))

    def forward(self, batch: Tensor) -> Tensor:
        return self.scores.expand(len(batch), CLASSES)


def small_resnet() -> nn.Module:
    """The network of the first chapter, in channels-last order."""
    book = chapter.load("unlearnable_examples")
    return book.make_network(book.resnet, torch.zeros(1, 1, SIDE, SIDE, device=DEVICE), seed=0)


class PilImages(Dataset):  # type: ignore[type-arg]
    """Items made one by one."""

    def __init__(self, images: Images, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, np.ndarray]:
        return to_tensor(Image.fromarray(self.images[index])), self.labels[index].astype(int)


def to_tensor(image: Image.Image) -> Tensor:
    """A PIL image as (1, H, W) in [-1, 1]: ToTensor and Normalize(0.5, 0.5) of torchvision, which
    cannot be imported beside the CPU build of torch."""
    pixels = torch.from_numpy(np.array(image, np.uint8, copy=True))[None]
    return pixels.to(torch.float32).div(255).sub_(0.5).div_(0.5)


def plain_loop(network: nn.Module, images: Images, labels: np.ndarray, workers: int) -> None:
    """One epoch."""
    network.to(DEVICE).train()
    loader = DataLoader(PilImages(images, labels), BATCH, shuffle=True, num_workers=workers)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for batch, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(batch.to(DEVICE)), targets.to(DEVICE))
        losses.append(loss.item())
        loss.backward()
        optimizer.step()


def with_fit(network: nn.Module, images: Images, labels: np.ndarray, shift: bool) -> None:
    """One epoch."""
    fit(
        network.to(DEVICE), torch.from_numpy(images[:, None]).to(DEVICE),
        torch.from_numpy(labels).to(DEVICE), steps=len(labels) // BATCH, seed=0,
        batch_size=BATCH, augment=random_shift(2) if shift else None,
    )  # fmt: skip


LOOPS: dict[str, Training] = {
    "`fit`": partial(with_fit, shift=False),
    "`fit` with `random_shift(2)`": partial(with_fit, shift=True),
    "plain loop, 0 workers": partial(plain_loop, workers=0),
    "plain loop, 2 workers": partial(plain_loop, workers=2),
}


def steps_table(steps: int, rounds: int) -> str:
    """Each loop with the network and with a blind one, which leaves the input and the loop."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (steps * BATCH, SIDE, SIDE), dtype=np.uint8)
    labels = rng.integers(0, CLASSES, len(images))

    def step_ms(loop: Training, make: Callable[[], nn.Module]) -> float:
        network = make()
        return 1000 * seconds(lambda: loop(network, images, labels)) / steps

    arms = {(name, make): partial(step_ms, loop, make)
            for make in (small_resnet, Blind) for name, loop in LOOPS.items()}  # fmt: skip
    interleaved(arms, 1)  # the first calls compile and fill caches
    found = interleaved(arms, rounds)
    rows = []
    for name in LOOPS:
        step, rest = found[name, small_resnet], found[name, Blind]
        shares = [100 * part / whole for part, whole in zip(rest, step, strict=True)]
        slower = [a / b for a, b in zip(step, found["`fit`", small_resnet], strict=True)]
        rows.append([name, spread(step), spread(rest), spread(shares, 1), spread(slower)])
    head = ["loop", "step, ms", "without the network, ms", "share, %", "step / step of `fit`"]
    return table(head, rows)


def ready_table(rounds: int) -> str:
    """Data sets until they are tensors; a real file is read, unpacked and its hash checked."""
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        os.environ["MEDBOOK_DATA"] = folder
        arms = {}
        for like in ("pneumoniamnist", "bloodmnist"):
            file, twin = medmnist_file(Path(folder), like), data.load(like, source="twin")
            size = f"{sum(SPLITS.values()):,} images, {file.stat().st_size / 2**20:.1f} MiB"
            arms[f"file like {like}, {size}"] = partial(ready, file, file.stem, "real")
            arms[f"twin of {like}, {twin.n} images"] = partial(ready, file, like, "twin")
        interleaved(arms, 1)
        found = interleaved(arms, rounds)
    rows = [[name, spread(values, 3)] for name, values in found.items()]
    return table(["`medbook.data.load`", "seconds"], rows)


def medmnist_file(folder: Path, like: str) -> Path:
    """A registered file of the MedMNIST layout; its images are those of a twin, repeated."""
    pixels = data.load(like, source="twin").train.images.movedim(1, -1).squeeze(-1).numpy()
    arrays = {}
    for split, n in SPLITS.items():
        arrays[f"{split}_images"] = np.resize(pixels, (n, *pixels.shape[1:]))
        arrays[f"{split}_labels"] = np.zeros((n, 1), np.uint8)
    path = folder / f"bench_{like}.npz"
    np.savez_compressed(path, **arrays)
    entry = File(path.name, f"md5:{file_hash(path, 'md5')}")
    data.ENTRIES[path.stem] = replace(data.info(like), name=path.stem, files={SIDE: entry})
    return path


def ready(file: Path, name: str, source: Literal["real", "twin"]) -> float:
    """Time of `load`; the hash of a file is remembered in a process until its date changes."""
    os.utime(file)
    return seconds(lambda: data.load(name, SIDE, source=source))


def import_table(rounds: int) -> str:
    """New processes that import torch, then medbook from bytecode, as after an installation."""
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        shutil.copytree(paths.PACKAGE, Path(folder, "medbook"))
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        command = [sys.executable, "-c", IMPORT]
        times = [
            tuple(map(float, subprocess.check_output(command, cwd=folder, env=kept).split()))
            for _ in range(rounds + 1)
        ]
    torch_seconds, medbook_seconds = zip(*times[1:], strict=True)
    rows = [["torch", spread(torch_seconds, 3)], ["then medbook", spread(medbook_seconds, 3)]]
    return table(["import of", "seconds"], rows)


def main() -> None:
    options = arguments(__doc__, "train.md").parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    steps, rounds = (2, 2) if options.quick else (79, 5)  # 79 batches are about 10,000 images
    publish(
        [
            "# Training: benchmark",
            machine(rounds),
            f"## One step: ResNet, {SIDE} x {SIDE} pixels, batches of {BATCH}, {steps} steps",
            STEPS,
            steps_table(steps, rounds),
            "## Data ready",
            READY,
            ready_table(rounds),
            "## Import",
            IMPORTED,
            import_table(rounds),
        ],
        options.out,
    )


if __name__ == "__main__":
    main()
