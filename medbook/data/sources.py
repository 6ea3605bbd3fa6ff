"""Find the file of a data set, check its hash, or download it."""

import os
from functools import lru_cache
from pathlib import Path

import pooch
import requests

from medbook.data.registry import File
from medbook.errors import MedbookError

CONNECT_SECONDS = 3.0  # short: a machine without network must not wait long for its twin
READ_SECONDS = 20.0  # the longest pause between two packets of a download


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

    Raises:
        Unavailable: no mirror did; the message says what was wrong with each.
    """
    target = cache_folder() / file.path
    failures = []
    for url in file.urls:
        downloader = pooch.HTTPDownloader(
            progressbar=True, chunk_size=1 << 16, timeout=(CONNECT_SECONDS, READ_SECONDS)
        )
        try:
            pooch.retrieve(url, file.digest, target.name, target.parent, downloader=downloader)
        except (requests.RequestException, OSError, ValueError) as error:
            wrong = "wrong hash" if isinstance(error, ValueError) else type(error).__name__
            failures.append(f"{url}: {wrong}")
        else:
            return target
    raise Unavailable("; ".join(failures) or "it has no public mirror")


def locate(file: File) -> Path:
    """Path of the verified real file: ``MEDBOOK_DATA``, the user's cache, else a download.

    Raises:
        Unavailable: no file found, and none could be (or may be) downloaded.
        MedbookError: a file was found whose hash is wrong.
    """
    data = os.environ.get("MEDBOOK_DATA")
    folders = [Path(data)] if data else []
    places = [folder / file.path for folder in (*folders, cache_folder())]
    for path in places:
        if path.is_file():
            return verify(path, file)
    missing = "no " + " or ".join(map(str, places))
    if os.environ.get("MEDBOOK_OFFLINE") == "1":
        raise Unavailable(f"{missing}, and MEDBOOK_OFFLINE=1 forbids downloads")
    try:
        return download(file)
    except Unavailable as error:
        raise Unavailable(f"{missing}, and it was not downloaded ({error})") from error
