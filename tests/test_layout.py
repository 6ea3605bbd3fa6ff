"""The layout of the package: every module says what it is for, and imports form no cycle."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
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


GRAPH = {module_name(path): imported(path.read_text(encoding="utf-8")) for path in FILES}
FOLDERS = {module_name(path) for path in FILES if path.name == "__init__.py"}


def neighbours(graph: dict[str, set[str]], folders: set[str]) -> dict[str, dict[str, set[str]]]:
    """Folder -> what lies in it, files and folders -> which of these it imports from."""
    found: dict[str, dict[str, set[str]]] = {}
    for name, imports in graph.items():
        for other in imports:
            mine, theirs = (
                [*n.split("."), *(["__init__"] if n in folders else [])] for n in (name, other)
            )
            same = next(i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b)
            inside = found.setdefault(".".join(mine[:same]), {})
            inside.setdefault(mine[same], set()).add(theirs[same])
    return found


def test_no_file_imports_itself_by_way_of_others() -> None:
    order = list(TopologicalSorter(GRAPH).static_order())  # a cycle raises and is named
    assert set(order) == NAMES


@pytest.mark.parametrize("folder", sorted(neighbours(GRAPH, FOLDERS)))
def test_no_folder_imports_itself_by_way_of_its_neighbours(folder: str) -> None:
    TopologicalSorter(neighbours(GRAPH, FOLDERS)[folder]).prepare()  # a cycle raises and is named


def test_a_cycle_of_folders_without_a_cycle_of_files_is_found() -> None:
    graph = {"m.a.one": {"m.b.two"}, "m.b.three": {"m.a.four"}, "m.a": {"m.a.one"}}
    found = neighbours(graph, {"m", "m.a", "m.b"})
    assert found == {"m": {"a": {"b"}, "b": {"a"}}, "m.a": {"__init__": {"one"}}}
    with pytest.raises(CycleError):
        TopologicalSorter(found["m"]).prepare()


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_the_first_line_says_what_a_module_is_for(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert says_something(said.partition("\n")[0], module_name(path).rpartition(".")[2])


def says_something(line: str, name: str) -> bool:
    """It is a sentence of three words and more beside those of the file's name."""
    words = [word.strip("`.,:;()").lower() for word in line.split()]
    return line.endswith((".", "?")) and len([w for w in words if w not in name.split("_")]) >= 3


def test_a_first_line_that_repeats_the_name_says_nothing() -> None:
    assert says_something("Trials: one function called with many jobs.", "trials")
    assert not says_something("Memory order.", "memory_order")
    assert not says_something("", "memory_order")
    assert not says_something("of trials on the", "trials")


GUIDE = (
    (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where things belong")[2]
)
TREE, ANSWERS = GUIDE.split("\n## ")[0].split("```")[1:3]
PLACE = re.compile(r"`((?:medbook|book|chapters)/[\w/.<>]+|_toc\.yml)`")


def listed() -> dict[str, list[str]]:
    """Folder -> its files and folders, in the order in which the guide lists them."""
    found: dict[str, list[str]] = {}
    for line in TREE.strip().splitlines():
        if not line.startswith(" "):
            inside = found.setdefault(line.split()[0].rstrip("/").replace("/", "."), [])
        else:
            named = re.split(r" {3,}", line.strip())[0]
            inside += [name.rstrip("/") for name in named.split()]
    return found


@pytest.mark.parametrize("folder", ["medbook", "medbook._book"])
def test_the_guide_lists_all_that_a_folder_holds_and_imports_lead_up(folder: str) -> None:
    depth = folder.count(".") + 1
    there = {name.split(".")[depth] for name in NAMES if name.startswith(f"{folder}.")} - {"_book"}
    order = listed()[folder]
    assert sorted(order) == sorted(there)
    graph = neighbours(GRAPH, FOLDERS)[folder]
    below = {name: set(order[order.index(name) + 1 :]) & graph.get(name, set()) for name in order}
    assert not any(below.values()), below


def test_each_question_where_a_thing_belongs_has_an_answer_that_exists() -> None:
    rows = [line.split("|")[1:-1] for line in ANSWERS.strip().splitlines() if line.startswith("| ")]
    asked = [row[0].strip() for row in rows[1:]]
    assert asked == ["a data set", "an organ", "a metric", "a page", "an arm", "a check of lint"]
    for row in rows[1:]:
        for place in PLACE.findall("|".join(row[1:])):
            folder, _, new = place.partition("<")
            assert ROOT.joinpath(folder).exists(), place
            assert not new or list(ROOT.glob(re.sub("<[a-z]+>", "*", place))), place


def test_the_names_that_the_answers_give_are_there() -> None:
    from medbook._book.lint import book, code, prose, size, thoughts, trials
    from medbook._book.pages import handwritten
    from medbook.phantom.thorax import organs

    assert handwritten.MAKERS and organs.LABELS
    checks = (prose, size, code, thoughts, trials, book)
    assert all(
        rules.RULES and f"`{rules.__name__.split('.')[-1]}.py`" in ANSWERS for rules in checks
    )
