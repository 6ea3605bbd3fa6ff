"""YAML files whose mistakes are named with their line."""

import json
from pathlib import Path
from typing import Any

import yaml

from medbook.errors import MedbookError

STRICT = {"extra": "forbid", "strict": True}  # pydantic's configuration of what `checked` reads


class Located(dict[Any, Any]):
    """A mapping that knows the line, counted from 1, on which it begins."""

    line: int


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Makes every mapping a `Located` one; in C, which is eight times as fast, where there is C."""


def _located(loader: _Loader, node: yaml.MappingNode) -> Located:
    mapping = Located(loader.construct_mapping(node, deep=True))
    mapping.line = node.start_mark.line + 1
    return mapping


_Loader.add_constructor("tag:yaml.org,2002:map", _located)


def read(path: Path, name: str) -> Any:
    """Content of a YAML file, its mappings `Located`.

    Args:
        path: the file.
        name: how messages call it.

    Raises:
        MedbookError: it is no YAML; the message begins with `name:line:`.
    """
    return parse(path.read_bytes(), name)


def parse(content: bytes, name: str) -> Any:
    """The same of a content that was read before."""
    try:
        return yaml.load(content, _Loader)
    except yaml.YAMLError as error:
        raise invalid(error, name) from None


def mapping(path: Path) -> Located:
    """The mapping that a file holds.

    Raises:
        MedbookError: the file cannot be read or holds something else.
    """
    try:
        found = read(path, path.name)
    except OSError as error:
        raise MedbookError(f"{path.name} cannot be read: {error}") from None
    if not isinstance(found, Located):
        raise MedbookError(f"{path.name}:1: expected a mapping, found {found!r:.40}")
    return found


def entries(parent: Located, name: str, kind: type, file: str) -> list[Located]:
    """The list of mappings under a name, each of a kind.

    Args:
        parent: what holds the list.
        name: its field.
        kind: a dataclass, what each mapping holds.
        file: how messages call the file.

    Raises:
        MedbookError: a field is missing, unknown or of another type; file and line are named.
    """
    found = parent.get(name)
    if not isinstance(found, list) or not all(isinstance(entry, Located) for entry in found):
        raise MedbookError(f"{file}:{parent.line}: `{name}` must be a list of mappings")
    for entry in found:
        checked(kind, entry, f"{file}:{entry.line}")
    return found


def checked(kind: type, entry: Any, where: str) -> Any:
    """A mapping as a dataclass: each of its fields there, of its type, and no other.

    Args:
        kind: the dataclass; `__pydantic_config__ = STRICT` in it refuses other fields.
        entry: what the file holds.
        where: `file:` or `file:line: ` and what it is, for messages.

    Raises:
        MedbookError: the first thing that is wrong, in one line.
    """
    from pydantic import TypeAdapter, ValidationError  # here: `import medbook` does not need it

    if not isinstance(entry, Located):
        raise MedbookError(f"{where}: expected a mapping, found {entry!r:.40}")
    given = {name: value for name, value in entry.items() if value is not None}
    try:  # as JSON, in which a list may become a tuple and nothing else changes its type
        return TypeAdapter(kind).validate_json(json.dumps(given, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise MedbookError(f"{where}: {field}: {first['msg']}{_given(first)}") from None


def _given(error: Any) -> str:
    """The value that does not fit, where there is one."""
    return "" if error["type"] == "missing" else f", not {error['input']!r:.40}"


def invalid(error: Exception, name: str, first_line: int = 1) -> MedbookError:
    """What is wrong in a YAML text that begins on `first_line` of a file, in one line.

    Args:
        error: of the YAML reader.
        name: how messages call the file.
        first_line: of the YAML text in the file, counted from 1.
    """
    mark = getattr(error, "problem_mark", None)
    line = first_line + (mark.line if mark else 0)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return MedbookError(f"{name}:{line}: not valid YAML: {problem}")
