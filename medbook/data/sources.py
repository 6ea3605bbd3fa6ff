"""Find the file of a data set, check its hash, or download it."""

import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import pooch
import requests
from filelock import FileLock
from tqdm.auto import tqdm

from medbook.data.entries import File
from medbook.errors import MedbookError

CONNECT_SECONDS = 3.0  # short: a machine without network must not wait long for its twin
READ_SECONDS = 20.0  # the longest pause between two packets of a download
ATTEMPTS = 5  # requests to one mirror that breaks off
CHUNK = 1 << 16  # bytes that are written at a time


class Unavailable(MedbookError):
    """There is no real file here and none could be downloaded."""


def cache_folder() -> Path:
    """The user's cache folder of medbook."""
    return Path(pooch.os_cache("medbook"))


@lru_cache(maxsize=256)
def _hash_of_version(path: Path, algorithm: str, _size: int, _mtime_ns: int) -> str:
    return pooch.file_hash(str(path), alg=algorithm)


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file, remembered for this process until the file's size or time changes."""
    stat = path.stat()
    return _hash_of_version(path, algorithm, stat.st_size, stat.st_mtime_ns)


def verify(path: Path, file: File) -> Path:
    """Return ``path`` if it has the registered hash.

    Raises:
        MedbookError: the hash differs; the message names file, expected and found hash.
    """
    algorithm, expected = file.digest.split(":")
    found = file_hash(path, algorithm)
    if found != expected:
        raise MedbookError(
            f"{path} is damaged or not the official file: {algorithm} {found}, expected "
            f"{expected}; delete it or replace it by {(*file.urls, 'the official file')[0]}"
        )
    return path


def download(file: File) -> Path:
    """Fetch a file into the cache from the first mirror that gives the registered content.

    What a mirror gave before it broke off is kept, and the next attempt goes on from there.

    Raises:
        Unavailable: no mirror did; the message says what was wrong with each.
    """
    target = cache_folder() / file.path
    failures = []
    for number, url in enumerate(file.urls, 1):
        part = target.with_name(f"{target.name}.part{number}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{target}.lock"):  # chapters side by side may want the same file
                if not target.exists():
                    _complete(part, url, file)
                    part.replace(target)
            return target
        except (requests.RequestException, OSError, MedbookError) as error:
            kept = f" after {_size(part) / 2**20:.1f} MiB, which are kept" if _size(part) else ""
            failures.append(f"{url}: {_reason(error)}{kept}")
    raise Unavailable("; ".join(failures) or "it has no public mirror")


def _complete(part: Path, url: str, file: File) -> None:
    """Fetch what ``part`` lacks and check its hash; a wrong one is not kept."""
    resumed = part.exists()
    for attempt in range(1, ATTEMPTS + 1):
        before = _size(part)
        try:
            _append(url, part)
            break
        except requests.RequestException:
            if attempt == ATTEMPTS or _size(part) <= before:  # the next would bring as little
                raise
    try:
        verify(part, file)
    except MedbookError:
        part.unlink()
        if not resumed:
            raise
        _complete(part, url, file)  # what was kept was of another file


def _append(url: str, part: Path) -> None:
    """Ask once for what ``part`` lacks; a server that cannot go on in the middle starts anew."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # there is no more: the hash tells whether the part is all
        answer.raise_for_status()
        goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        start = have if goes_on else 0
        total = start + int(answer.headers.get("Content-Length", 0))
        with (
            part.open("ab" if goes_on else "wb") as out,
            tqdm(total=total or None, initial=start, unit="B", unit_scale=True) as bar,
        ):
            for chunk in answer.iter_content(CHUNK):
                bar.update(out.write(chunk))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    """What was wrong with a mirror or with the cache, in a few words."""
    if isinstance(error, MedbookError):
        return "wrong hash"
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"answers {error.response.status_code}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename or 'the cache'}"
    return type(error).__name__


def places(file: File) -> list[Path]:
    """Where a file is looked for: ``MEDBOOK_DATA``, the user's cache, its Python package."""
    given = os.environ.get("MEDBOOK_DATA")
    folders = [*([Path(given)] if given else []), cache_folder()]
    package = find_spec(file.path.split("/")[0]) if file.package else None
    if package and package.origin:
        folders.append(Path(package.origin).parents[1])
    return [folder / file.path for folder in folders]


def locate(file: File) -> Path:
    """Path of the verified real file: in one of its ``places``, else downloaded.

    Raises:
        Unavailable: no file found, and none could be (or may be) downloaded.
        MedbookError: a file was found whose hash is wrong, or ``MEDBOOK_DATA`` is no folder.
    """
    given = os.environ.get("MEDBOOK_DATA")
    if given and not Path(given).is_dir():
        raise MedbookError(f"MEDBOOK_DATA is {given}, which is no folder: correct or unset it")
    for path in places(file):
        if path.is_file():
            return verify(path, file)
    missing = "no " + " or ".join(map(str, places(file)))
    if os.environ.get("MEDBOOK_OFFLINE") == "1":
        raise Unavailable(f"{missing}, and MEDBOOK_OFFLINE=1 forbids downloads")
    try:
        return download(file)
    except Unavailable as error:
        raise Unavailable(f"{missing}, and it was not downloaded ({error})") from error
