"""What the benchmarks share: times side by side, their spread, and the page of tables."""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from medbook.record import profiles, results, session
from medbook.trials import parallel

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "_build/bench"

Arm = Callable[[], float]  # does the work once, returns what was measured


def interleaved(arms: Mapping[str, Arm], rounds: int) -> dict[str, list[float]]:
    """Measure every arm once a round, so that a slow moment of the machine hits them all."""
    found = [{name: arm() for name, arm in arms.items()} for _ in range(rounds)]
    return {name: [one[name] for one in found] for name in arms}


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median with the smallest and the largest value: `1.20 [1.10, 1.90]`."""
    numbers = (statistics.median(values), min(values), max(values))
    middle, low, high = (f"{number:,.{digits}f}" for number in numbers)
    return f"{middle} [{low}, {high}]"


def machine(rounds: int) -> str:
    """Hardware, versions, thread counts, and how to read the numbers."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = session.environment(device)
    versions = ", ".join(f"{name} {found[name]}" for name in ("python", "torch", "numpy", "monai"))
    return (
        f"Measured on {found['device']}, {parallel.threads()} cores, torch on "
        f"{torch.get_num_threads()} threads, {profiles.memory_gib():.0f} GiB of memory, "
        f"{platform.system()}; {versions}, jupyter-book {version('jupyter-book')}. "
        f"Rounds: {rounds}, in each of which all that a table compares takes its turn; numbers are "
        "median [smallest, largest]."
    )


def arguments(description: str, name: str) -> argparse.ArgumentParser:
    """The options of both benchmarks."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="small sizes: only a check")
    parser.add_argument("--out", type=Path, default=BUILD / name, help="where the tables go")
    return parser


def publish(blocks: Sequence[str], out: Path) -> None:
    """Print the page and write it."""
    text = "\n\n".join(blocks) + "\n"
    print(text)
    results.write_atomic(out, text)
