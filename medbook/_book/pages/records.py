"""Lists of records in a YAML file of the book, checked, with the line of each."""

from collections.abc import Mapping
from pathlib import Path

from medbook import yamlfile
from medbook.errors import MedbookError
from medbook.yamlfile import Located

WORDS: dict[type, str] = {
    str: "a text",
    dict: "a mapping",
    list: "a list",
    list[str]: "a list of texts",
}


def read(path: Path) -> Located:
    """The mapping that a file holds.

    Raises:
        MedbookError: the file cannot be read or holds something else.
    """
    try:
        found = yamlfile.read(path, path.name)
    except OSError as error:
        raise MedbookError(f"{path.name} cannot be read: {error}") from None
    if not isinstance(found, Located):
        raise MedbookError(f"{path.name}:1: expected a mapping, found {found!r:.40}")
    return found


def entries(parent: Located, name: str, fields: Mapping[str, type], file: str) -> list[Located]:
    """The list of mappings under a name, each with exactly these fields of these types.

    Args:
        parent: what holds the list.
        name: its field.
        fields: the type of each field of the mappings, one of `WORDS`.
        file: how messages call the file.

    Raises:
        MedbookError: a field is missing, unknown or of another type; file and line are named.
    """
    found = parent.get(name)
    if not isinstance(found, list) or not all(isinstance(entry, Located) for entry in found):
        raise MedbookError(f"{file}:{parent.line}: `{name}` must be a list of mappings")
    for entry in found:
        _check(entry, fields, f"{file}:{entry.line}")
    return found


def _check(entry: Located, fields: Mapping[str, type], where: str) -> None:
    if wrong := sorted(map(str, entry.keys() ^ fields.keys())):
        accepted = ", ".join(fields)
        raise MedbookError(
            f"{where}: missing or unknown: {', '.join(wrong)}; the fields: {accepted}"
        )
    for name, kind in fields.items():
        if not _fits(entry[name], kind):
            raise MedbookError(f"{where}: `{name}` must be {WORDS[kind]}, not {entry[name]!r:.40}")


def _fits(value: object, kind: type) -> bool:
    if kind == list[str]:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, kind)
