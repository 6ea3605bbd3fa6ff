"""The three sizes at which every chapter runs."""

import os
from pathlib import Path
from typing import Literal, TypeVar, get_args

import torch

from medbook.errors import MedbookError

Profile = Literal["smoke", "laptop", "gpu"]
PROFILES = get_args(Profile)
SMOKE_BELOW_GIB = 4.0  # Binder gives 2 GiB: too little for the laptop profile

T = TypeVar("T")


def resolve(profile: str = "auto") -> str:
    """Name of the profile to run on this machine: `named`, and its device is there.

    Raises:
        MedbookError: the name is unknown, or gpu was asked for where there is none.

    >>> resolve("smoke")
    'smoke'
    """
    profile = named(profile)
    if profile == "gpu" and not torch.cuda.is_available():
        raise MedbookError("profile gpu needs a CUDA device and none is visible: choose laptop")
    return profile


def named(profile: str = "auto") -> str:
    """Name of a profile, which may run or have run on another machine.

    Args:
        profile: "smoke", "laptop", "gpu" or "auto". Auto takes the environment variable
            `MEDBOOK_PROFILE`; else gpu if there is one, smoke below 4 GiB of memory, else laptop.

    Raises:
        MedbookError: the name is unknown.

    >>> named("gpu")
    'gpu'
    """
    origin = ""
    if profile == "auto" and (profile := os.environ.get("MEDBOOK_PROFILE") or "auto") != "auto":
        origin = " (from MEDBOOK_PROFILE)"
    if profile == "auto":
        profile = _fitting()
    if profile not in PROFILES:
        raise MedbookError(
            f"unknown profile {profile!r}{origin}: choose one of auto, {', '.join(PROFILES)}"
        )
    return profile


def choose(profile: str, smoke: T, laptop: T, gpu: T) -> T:
    """The value that belongs to a resolved profile.

    >>> choose("laptop", smoke=1, laptop=2, gpu=3)
    2
    """
    return {"smoke": smoke, "laptop": laptop, "gpu": gpu}[profile]


def _fitting() -> str:
    if torch.cuda.is_available():
        return "gpu"
    return "smoke" if memory_gib() < SMOKE_BELOW_GIB else "laptop"


def memory_gib() -> float:
    """Memory of the machine in GiB, or of the container where that is less.

    >>> memory_gib() > 0
    True
    """
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system: assume a laptop
        return 8.0
    for limit_file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(limit_file).read_text()))
        except (OSError, ValueError):  # no such limit, or "max"
            continue
    return total / 2**30
