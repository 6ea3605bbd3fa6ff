"""The data sets of the book, a module each: what is known of it, its reader and its twin.

A new set is one new file here: it defines `ENTRY`, and is found by its being here.
"""

from importlib import import_module
from pkgutil import iter_modules

from medbook.data.entries import Entry
from medbook.errors import MedbookError


def discovered() -> dict[str, Entry]:
    """The entry of each module of this folder, by name and in alphabetical order.

    Raises:
        MedbookError: a module without an entry of its own name.
    """
    found = {}
    for name in sorted(module.name for module in iter_modules(__path__)):
        entry = getattr(import_module(f"{__name__}.{name}"), "ENTRY", None)
        if not isinstance(entry, Entry) or entry.name != name:
            raise MedbookError(f"{__name__}.{name} must define ENTRY, an Entry(name={name!r}, ...)")
        found[name] = entry
    return found
