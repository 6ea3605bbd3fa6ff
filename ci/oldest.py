"""The oldest version of each package that pyproject.toml allows, as constraints for pip."""

import re
import tomllib
from pathlib import Path

LOWER = re.compile(r"([\w.-]+)\s*>=\s*([\w.]+)")


def constraints(pyproject: str) -> list[str]:
    """`name==version` of each requirement with a lower bound."""
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *extras["book"]]  # tools of tests are no one's burden
    return [f"{found[1]}=={found[2]}" for text in named if (found := LOWER.match(text))]


if __name__ == "__main__":
    print(*constraints(Path("pyproject.toml").read_text(encoding="utf-8")), sep="\n")
