"""Prints the wheels of a folder whose packages this Python does not have.

Argument: the folder.
"""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def installed(name: str) -> bool:
    """Whether a distribution of this name is there, in whatever version."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


for wheel in sorted(Path(sys.argv[1]).glob("*.whl")):
    if not installed(wheel.name.split("-")[0]):
        print(wheel)
