"""A folder of outcomes, one file each, by what made them."""

import hashlib
import hmac
import io
import json
import os
import pickle
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from inspect import unwrap
from pathlib import Path
from types import FunctionType
from typing import Any

from filelock import FileLock

from medbook.chapter import PREFIX
from medbook.data.sources import cache_folder
from medbook.errors import MedbookError

SCHEMA = "v2"  # folder: other versions of this file look elsewhere
SECRET_BYTES = 32
HERE = ("__main__", PREFIX)  # modules that only the process knows which made them


@dataclass(frozen=True)
class Recipe:
    """What an outcome depends on.

    Attributes:
        function: `<chapter or module>.<name>`.
        parts: name of each thing that made it, and what it was: `definition training.fit`,
            `version torch`, `device`, `job.steps`.
    """

    function: str
    parts: Mapping[str, str]

    @cached_property
    def key(self) -> str:
        """32 hex digits over all of it."""
        text = json.dumps([self.function, sorted(self.parts.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Trial:
    """What a call gave: value, seconds, peak memory of its process in MiB, what it ran on."""

    value: Any
    seconds: float
    peak_mib: int
    machine: str


class Damaged(Exception):
    """A file that was cut short, or written by somebody else."""


@dataclass(frozen=True)
class Store:
    """Outcomes on disk.

    A file holds a seal, a line of JSON (function, what made it, seconds) and the pickled value.
    Pickles execute code as they are read; so the seal is a keyed hash whose secret lies in the
    user's cache folder, and a `_build` that came from elsewhere is computed again, never read.
    Writers need no lock: a file appears whole, and two writers of one key write the same.

    Attributes:
        folder: e.g. `_build/trials`.
        secret: of the seals.
    """

    folder: Path
    secret: bytes

    @classmethod
    def at(cls, folder: Path) -> "Store":
        """The store in a folder, with this user's secret."""
        return cls(folder.absolute(), _secret())

    def load(self, recipe: Recipe, function: Callable[..., Any]) -> Trial | None:
        """An outcome, or None if there is none.

        Raises:
            Damaged: the file is not what this user's processes have written.
        """
        try:
            content = self._file(recipe).read_bytes()
        except FileNotFoundError:
            return None
        seal, _, sealed = content.partition(b"\n")
        header, _, value = sealed.partition(b"\n")
        if not hmac.compare_digest(seal, self._seal(sealed)):
            raise Damaged
        made = json.loads(header)
        try:
            known = _Reader(io.BytesIO(value), function).load()
        except Exception as error:  # of a class that is no longer there, for instance
            raise Damaged from error
        return Trial(known, made["seconds"], made["peak_mib"], made["machine"])

    def save(self, recipe: Recipe, trial: Trial, function: Callable[..., Any]) -> None:
        """Store an outcome.

        Raises:
            MedbookError: it cannot be pickled, or the disk is full.
        """
        header: dict[str, Any] = {"function": recipe.function, "parts": dict(recipe.parts)}
        header |= {"seconds": trial.seconds, "peak_mib": trial.peak_mib}
        header["machine"] = trial.machine
        sealed = json.dumps(header).encode() + b"\n" + _pickled(trial.value, function)
        file = self._file(recipe)
        part = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(self._seal(sealed) + b"\n" + sealed)
            part.replace(file)
        except OSError as error:
            raise MedbookError(
                f"cannot store an outcome of {recipe.function} in {self.folder} "
                f"({error.strerror}): make room, then run again; what is stored stays"
            ) from None
        finally:
            part.unlink(missing_ok=True)

    def recipes(self, function: str) -> Iterator[Recipe]:
        """What made the stored outcomes of a function, newest first."""
        files = (self.folder / SCHEMA / function).glob("[!.]*")
        for file in sorted(files, key=lambda f: f.stat().st_mtime, reverse=True):
            with suppress(OSError, ValueError, KeyError), file.open("rb") as opened:
                opened.readline()  # the seal
                yield Recipe(function, json.loads(opened.readline())["parts"])

    def _file(self, recipe: Recipe) -> Path:
        return self.folder / SCHEMA / recipe.function / recipe.key

    def _seal(self, sealed: bytes) -> bytes:
        return hmac.new(self.secret, sealed, "sha256").hexdigest().encode()


def _secret() -> bytes:
    """Made at the first use; whoever deletes it computes everything again."""
    file = cache_folder() / "trials.secret"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock"):
            if not file.exists() or file.stat().st_size != SECRET_BYTES:
                file.touch(mode=0o600)
                file.write_bytes(secrets.token_bytes(SECRET_BYTES))
            return file.read_bytes()
    except OSError as error:
        raise MedbookError(
            f"cannot write {file} ({error.strerror}), which marks stored outcomes as yours: "
            "set HOME or XDG_CACHE_HOME to a folder that you may write to"
        ) from None


# ---------------------------------------------------------------- pickles


def _pickled(value: Any, function: Callable[..., Any]) -> bytes:
    file = io.BytesIO()
    try:
        _Writer(file, function).dump(value)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise MedbookError(
            f"an outcome cannot be stored ({error}): "
            "return numbers, text, tensors, arrays, networks, dataclasses of these"
        ) from None
    return file.getvalue()


class _Writer(pickle.Pickler):
    """Classes of a chapter by name: another process of the same chapter has its own."""

    def __init__(self, file: io.BytesIO, function: Callable[..., Any]) -> None:
        super().__init__(file, protocol=5)
        self._home = _plain(function).__module__

    def persistent_id(self, obj: Any) -> tuple[str, str] | None:
        if not isinstance(obj, type | FunctionType) or "<" in obj.__qualname__:
            return None
        if not obj.__module__ or not obj.__module__.startswith(HERE):
            return None
        same = obj.__module__ == self._home  # may have another name in another chapter
        return "" if same else obj.__module__, obj.__qualname__


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, function: Callable[..., Any]) -> None:
        super().__init__(file)
        self._names = _plain(function).__globals__

    def persistent_load(self, pid: tuple[str, str]) -> Any:
        module, qualname = pid
        first, *others = qualname.split(".")
        found = (vars(sys.modules[module]) if module else self._names)[first]
        for name in others:
            found = getattr(found, name)
        return found


def _plain(function: Any) -> Any:
    """The function inside of partials, methods and decorators."""
    while isinstance(function, partial) or hasattr(function, "__func__"):
        function = function.func if isinstance(function, partial) else function.__func__
    return unwrap(function)
