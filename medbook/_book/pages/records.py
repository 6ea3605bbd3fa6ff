"""Lists of records in a YAML file of the book, checked, with the line of each."""

from pathlib import Path

from medbook import yamlfile
from medbook.errors import MedbookError
from medbook.yamlfile import Located


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
        yamlfile.checked(kind, entry, f"{file}:{entry.line}")
    return found
