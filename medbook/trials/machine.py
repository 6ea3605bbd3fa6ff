"""Which processor or GPU computes: numbers of two kinds may differ in their last digits."""

import platform
from functools import lru_cache
from pathlib import Path

import torch


@lru_cache(maxsize=2)
def machine(device: str) -> str:
    """Model of the GPU, or of the CPU with the instruction set that torch uses on it.

    Args:
        device: type of the device, "cpu" or "cuda".

    >>> machine("cpu").endswith(f"({torch.backends.cpu.get_cpu_capability()})")
    True
    """
    if device == "cuda":
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        pass
    return f"{model} ({torch.backends.cpu.get_cpu_capability()})"
