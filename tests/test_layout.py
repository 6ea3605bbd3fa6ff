"""The layout of the package: every module says what it is for, and imports form no cycle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "medbook").rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_name(path) for path in FILES}


def imported(source: str) -> set[str]:
    """Modules of the package that a file imports when it is imported."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner if inner <= NAMES else (inner & NAMES) | {str(node.module)}
    return found & NAMES


def test_what_a_file_imports_is_found() -> None:
    text = "from medbook import data\nfrom medbook.data.sources import locate\nimport torch\n"
    assert imported(text) == {"medbook.data", "medbook.data.sources"}
    assert imported("def late():\n    import medbook.data\n") == set()


def test_no_file_imports_itself_by_way_of_others() -> None:
    graph = {module_name(path): imported(path.read_text(encoding="utf-8")) for path in FILES}
    order = list(TopologicalSorter(graph).static_order())  # a cycle raises and is named
    assert set(order) == NAMES


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_the_first_line_says_what_a_module_is_for(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert len(said.splitlines()[0].split()) >= 3 if said else False
