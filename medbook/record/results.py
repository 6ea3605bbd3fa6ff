"""The results file: what a chapter measured, in one JSON that can be compared."""

import hashlib
import json
import math
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medbook.errors import MedbookError
from medbook.record.cases import beside

SCHEMA = 2
DEPTH = {"trials": 2, "digests": 2}  # how far an entry is broken into lines; else 1
TIMES = ("s", "ms")  # units of numbers that no two runs share

Results = dict[str, Any]


def write_atomic(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new one, never a part.

    Args:
        path: target; its folder is made.
        text: the whole content, written as UTF-8.

    Raises:
        OSError: it cannot be written; the error names the target.
    """
    write_together({path: text})


def write_together(contents: Mapping[Path, str | bytes]) -> None:
    """Write files that belong together, all of them or, where the disk is full, none.

    Args:
        contents: the whole content of each file, text as UTF-8; their folders are made.

    Raises:
        OSError: one cannot be written; the error names it.
    """
    ending = f"{os.getpid()}.{threading.get_ident()}"
    temporary = {path: path.with_name(f".{path.name}.{ending}") for path in contents}
    path = next(iter(contents))
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            raw = content.encode("utf-8") if isinstance(content, str) else content
            temporary[path].write_bytes(raw)
        for path in contents:
            temporary[path].replace(path)
    except OSError as error:  # of a full disk, for instance, which names no file
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        for written in temporary.values():
            written.unlink(missing_ok=True)


def save(results: Results, path: Path, packed: bytes | None = None) -> None:
    """Store results with a digest of their content; infinite ends become null.

    Args:
        results: their content.
        path: of the results file.
        packed: scores of single cases, see `medbook.record.cases`; they go beside it.
    """
    files: dict[Path, str | bytes] = {path: text_of(sealed(results))}
    write_together(files if packed is None else {beside(path): packed} | files)


def sealed(results: Results) -> Results:
    """Results as they are stored: infinite ends are null, and a digest of the content."""
    content: Results = finite(results)
    return content | {"digest": digest(content)}


def text_of(results: Results) -> str:
    """JSON with one record a line (a metric, a claim, an arm, a data set), so that changes show.

    >>> print(text_of({"schema": 2, "metrics": {"a": {"values": [1.0, 2.0]}}}), end="")
    {
    "schema": 2,
    "metrics": {
     "a": {"values": [1.0, 2.0]}
    }
    }
    """
    entries = (f"{_json(name)}: {_lines(x, DEPTH.get(name, 1))}" for name, x in results.items())
    return "{\n" + ",\n".join(entries) + "\n}\n"


def load(path: Path) -> Results:
    """Read a results file.

    Raises:
        MedbookError: it is missing, no JSON, of another schema, or edited after it was written.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MedbookError(f"{path.name}: no such results file: run the chapter") from None
    except ValueError as error:
        raise _unusable(path, f"not valid JSON ({error})") from None
    if not isinstance(results, dict) or results.get("schema") != SCHEMA:
        raise _unusable(path, f"not a results file of schema {SCHEMA}")
    if results.get("digest") != digest(results):
        raise _unusable(path, "changed after it was measured (digest differs)")
    return results


def digest(results: Results) -> str:
    """Sixteen hex digits over the whole content but the digest itself.

    >>> digest({"a": 1}) == digest({"a": 1, "digest": "of before"}) != digest({"a": 2})
    True
    """
    content = {key: value for key, value in results.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def numbers(results: Results) -> str:
    """Sixteen hex digits over all that a run measured, but times: equal runs have equal ones.

    >>> one = {"seed": 0, "metrics": {"a": {"values": [1.0], "unit": ""}}}
    >>> late = {"values": [9.0], "unit": "s"}
    >>> numbers(one) == numbers(one | {"metrics": one["metrics"] | {"late": late}})
    True
    """
    metrics = {k: v["values"] for k, v in results["metrics"].items() if v["unit"] not in TIMES}
    return digest({"seed": results["seed"], "metrics": metrics})


def _lines(value: Any, depth: int) -> str:
    """A list or mapping with an entry a line, down to a depth; anything else is one line."""
    if not depth or not value or not isinstance(value, dict | list):
        return _json(value)
    inner = (
        [_lines(item, depth - 1) for item in value]
        if isinstance(value, list)
        else [f"{_json(name)}: {_lines(item, depth - 1)}" for name, item in value.items()]
    )
    opened, closed = "[]" if isinstance(value, list) else "{}"
    return f"{opened}\n " + ",\n ".join(inner) + f"\n{closed}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _unusable(path: Path, why: str) -> MedbookError:
    return MedbookError(f"{path.name}: {why}: restore it, or run the chapter again")


def finite(value: Any) -> Any:
    """JSON has no infinity: an unbounded end is null.

    >>> finite({"low": -math.inf})
    {'low': None}
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
