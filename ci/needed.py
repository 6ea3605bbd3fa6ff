"""Prints what `medbook run` needs on a node that has torch and numpy.

At the installed versions; what only the node's Python needs is not installed here and has none.
Arguments: the node's Python version, and a file with what `pip freeze` prints there (optional).
"""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

THE_NODES_OWN = {"torch", "torchvision", "numpy"}


def needed(root: Requirement, python: str, without: set[str]) -> dict[str, str]:
    """Name -> version (empty if it is not installed) of a requirement's dependencies and theirs.

    Args:
        root: e.g. `medbook[book]`.
        python: version for which markers are read, e.g. "3.12.3".
        without: canonical names that are left out, with what only they need.
    """
    found: dict[str, str] = {}
    todo, seen = [root], set()
    while todo:
        asked = todo.pop()
        name = canonicalize_name(asked.name)
        if name in without or (name, *sorted(asked.extras)) in seen:
            continue
        seen.add((name, *sorted(asked.extras)))
        try:
            here = distribution(name)
        except PackageNotFoundError:
            found[name] = ""
            continue
        found[name] = here.version
        for line in here.requires or ():
            requirement = Requirement(line)
            if _applies(requirement, asked.extras, python):
                todo.append(requirement)
    return {name: version for name, version in found.items() if name != root.name}


def _applies(requirement: Requirement, extras: set[str], python: str) -> bool:
    major_minor = ".".join(python.split(".")[:2])
    environment = {"python_version": major_minor, "python_full_version": python}
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate(environment | {"extra": extra}) for extra in extras or {""}
    )


def frozen(path: Path) -> set[str]:
    """Names in the output of `pip freeze`."""
    names = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            names.add(canonicalize_name(Requirement(line).name))
        except InvalidRequirement:  # a comment, or `-e` and a folder
            continue
    return names


if __name__ == "__main__":
    version, *freeze = sys.argv[1:]
    present = THE_NODES_OWN.union(*(frozen(Path(path)) for path in freeze))
    for name, at in sorted(needed(Requirement("medbook[book]"), version, present).items()):
        print(f"{name}=={at}" if at else name)
