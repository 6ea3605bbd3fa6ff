"""Downloads, from a server on this machine that can be wrong, slow, silent or cut off."""

import errno
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pooch
import pytest
from test_data import alone, register, write_medmnist  # noqa: F401

from medbook import data
from medbook.data import sources
from medbook.errors import MedbookError


class Handler(BaseHTTPRequestHandler):
    """Serves ``content`` at /good and spoils it elsewhere; /resume* go on where they are asked."""

    content = b""

    def do_GET(self):
        kind = self.path.strip("/")
        self.server.asked.append(kind)
        self.server.ranges.append(self.headers.get("Range"))
        if kind == "missing":
            self.send_error(404)
            return
        if kind == "silent":
            self.server.stop_silence.wait(5)
            return
        body = self.content[::-1] if kind == "wrong" else self.content
        start = self._start(kind)
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            told = start - 1 if kind == "resume-elsewhere" else start
            self.send_header("Content-Range", f"bytes {told}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        half = (start + len(body)) // 2
        self.wfile.write(body[start:half])
        if kind == "stalls":
            self.server.stop_silence.wait(5)
        elif kind == "cut" or (kind.startswith("resume") and self.server.cuts > 0):
            self.server.cuts -= 1
        else:
            self.wfile.write(body[half:])

    def _start(self, kind):
        """First byte that is asked for; only some mirrors know what a range is."""
        asked = self.headers.get("Range", "")
        return int(asked[6:-1]) if kind.startswith("resume") and asked else 0

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MEDBOOK_OFFLINE")
    monkeypatch.setattr(sources, "READ_SECONDS", 0.3)
    monkeypatch.setattr(sources, "CHUNK", 1000)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.ranges, server.cuts = [], [], 0
    server.stop_silence = threading.Event()
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.stop_silence.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def offer(server, tmp_path, monkeypatch):
    """Register a set whose mirrors behave as named; its content is at the mirror ``good``."""
    path = tmp_path / "origin.npz"
    write_medmnist(path)
    monkeypatch.setattr(Handler, "content", path.read_bytes())

    def mirrors(*kinds):
        register(monkeypatch, path, urls=tuple(f"{server.address}/{kind}" for kind in kinds))

    return mirrors


def cached_files():
    found = (p.name for p in sources.cache_folder().rglob("*") if p.is_file())
    return sorted(name for name in found if not name.endswith(".lock"))


def test_download_is_kept_and_used_again(offer, server, monkeypatch):
    offer("good")
    first = data.load("pneumoniamnist")
    assert first.kind == "real" and cached_files() == ["pneumoniamnist.npz"]
    monkeypatch.setenv("MEDBOOK_OFFLINE", "1")
    assert data.load("pneumoniamnist", source="real").sha256 == first.sha256
    assert server.asked == ["good"]


@pytest.mark.parametrize("kind", ["wrong", "missing", "cut", "stalls", "silent"])
def test_a_bad_mirror_is_followed_by_the_next(offer, server, kind):
    offer(kind, "good")
    assert data.load("pneumoniamnist", source="real").n == 57
    broke_off = kind in ("cut", "stalls")  # and is asked once more, as it gave something
    assert server.asked == [kind, *[kind] * broke_off, "good"]


@pytest.mark.parametrize(
    ("kind", "reason", "kept"),
    [
        ("wrong", "wrong hash", []),
        ("missing", "answers 404", []),
        ("cut", "ChunkedEncodingError after 0.0 MiB, which are kept", ["pneumoniamnist.npz.part1"]),
        ("stalls", "ConnectionError after 0.0 MiB, which are kept", ["pneumoniamnist.npz.part1"]),
        ("silent", "ReadTimeout", []),
    ],
)
def test_only_bad_mirrors_give_the_twin_and_say_why(offer, kind, reason, kept):
    offer(kind)
    with pytest.warns(UserWarning, match=f"twin.*/{kind}: {reason}") as caught:
        assert data.load("pneumoniamnist").kind == "twin"
    assert "\n" not in str(caught[0].message)
    assert cached_files() == kept
    with pytest.raises(MedbookError, match=f"/{kind}: {reason}"):
        data.load("pneumoniamnist", source="real")


def part_of(content, share=0.5):
    """What an earlier attempt left of the first mirror's content."""
    part = sources.cache_folder() / "medmnist" / "pneumoniamnist.npz.part1"
    part.parent.mkdir(parents=True)
    part.write_bytes(content[: int(len(content) * share)])
    return part


@pytest.mark.parametrize("cuts", [1, 3])
def test_a_download_that_breaks_off_goes_on_where_it_was(offer, server, cuts):
    offer("resume")
    server.cuts = cuts
    assert data.load("pneumoniamnist", source="real").n == 57
    starts = [0]
    for _ in range(cuts):  # the server sends half of the rest, whole chunks of it are kept
        sent = (len(Handler.content) - starts[-1]) // 2
        starts.append(starts[-1] + sent // sources.CHUNK * sources.CHUNK)
    assert server.ranges == [None, *(f"bytes={start}-" for start in starts[1:])]
    assert cached_files() == ["pneumoniamnist.npz"]


def test_a_mirror_that_breaks_off_again_and_again_is_left(offer, server):
    offer("resume")
    server.cuts = 99
    with pytest.raises(MedbookError, match="which are kept"):
        data.load("pneumoniamnist", source="real")
    assert len(server.asked) == sources.ATTEMPTS


def test_the_next_command_goes_on_with_the_part(offer, server):
    offer("resume")
    part = part_of(Handler.content)
    asked = f"bytes={part.stat().st_size}-"
    assert data.load("pneumoniamnist", source="real").n == 57
    assert server.ranges == [asked] and cached_files() == ["pneumoniamnist.npz"]


def test_a_part_that_is_already_whole_is_taken(offer, server):
    offer("resume")
    part_of(Handler.content, share=1)
    assert data.load("pneumoniamnist", source="real").n == 57
    assert server.asked == ["resume"]


@pytest.mark.parametrize("kind", ["good", "resume-elsewhere"])
def test_a_server_that_does_not_go_on_there_starts_anew(offer, server, kind):
    offer(kind)
    part_of(Handler.content)
    assert data.load("pneumoniamnist", source="real").n == 57
    assert server.ranges[0] is not None and cached_files() == ["pneumoniamnist.npz"]


@pytest.mark.parametrize("share", [0.5, 1, 1.5])
def test_a_part_of_another_file_is_fetched_anew(offer, server, share):
    offer("resume")
    part_of(b"x" * len(Handler.content) * 2, share / 2)
    assert data.load("pneumoniamnist", source="real").n == 57
    assert server.ranges[-1] is None and cached_files() == ["pneumoniamnist.npz"]


def test_two_at_once_download_once(offer, server):
    offer("good")
    with ThreadPoolExecutor(4) as pool:
        kinds = list(pool.map(lambda _: data.load("pneumoniamnist").kind, range(4)))
    assert kinds == ["real"] * 4 and server.asked == ["good"]


def test_no_server_falls_back_quickly(offer, server, monkeypatch):
    offer("good")
    server.shutdown()
    server.server_close()
    start = time.perf_counter()
    with pytest.warns(UserWarning, match="ConnectionError"):
        assert data.load("pneumoniamnist").kind == "twin"
    assert time.perf_counter() - start < sources.CONNECT_SECONDS + 1


def test_offline_asks_no_server(offer, server, monkeypatch):
    offer("good")
    monkeypatch.setenv("MEDBOOK_OFFLINE", "1")
    with pytest.warns(UserWarning, match="MEDBOOK_OFFLINE=1"):
        assert data.load("pneumoniamnist").kind == "twin"
    assert server.asked == []


def test_cache_that_cannot_be_written_gives_the_twin(offer, tmp_path, monkeypatch):
    offer("good")
    (tmp_path / "file").write_text("a file where the cache should be")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "file" / project)
    with pytest.warns(UserWarning, match=rf"twin.*/good: Not a directory: {tmp_path}/file"):
        assert data.load("pneumoniamnist").kind == "twin"


def test_a_disk_that_is_full_gives_the_twin(offer, monkeypatch):
    offer("good")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sources, "_append", full)
    with pytest.warns(UserWarning, match="/good: No space left on device: the cache"):
        assert data.load("pneumoniamnist").kind == "twin"
    assert cached_files() == []


def test_damaged_file_in_the_cache_is_not_overwritten_by_a_download(offer, server):
    offer("good")
    path = sources.cache_folder() / "medmnist" / "pneumoniamnist.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a file")
    with pytest.raises(MedbookError, match=f"delete it or replace it by {server.address}/good"):
        data.load("pneumoniamnist")
    assert server.asked == [] and path.read_bytes() == b"half a file"


def test_set_without_mirror_says_so(monkeypatch):
    monkeypatch.delenv("MEDBOOK_OFFLINE")
    with pytest.raises(MedbookError, match="no public mirror"):
        data.load("mednist", size=32, source="real")
