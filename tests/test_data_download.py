"""Downloads, from a server on this machine that can be wrong, slow, silent or cut off."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pooch
import pytest
from test_data import alone, register, write_medmnist  # noqa: F401

from medbook import data
from medbook.data import sources
from medbook.errors import MedbookError


class Handler(BaseHTTPRequestHandler):
    """Serves ``content`` at /good and spoils it elsewhere."""

    content = b""

    def do_GET(self):
        kind = self.path.strip("/")
        self.server.asked.append(kind)
        if kind == "missing":
            self.send_error(404)
            return
        if kind == "silent":
            self.server.stop_silence.wait(5)
            return
        body = self.content[::-1] if kind == "wrong" else self.content
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = len(body) // 2
        self.wfile.write(body[:half])
        if kind == "stalls":
            self.server.stop_silence.wait(5)
        if kind not in ("stalls", "cut"):
            self.wfile.write(body[half:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MEDBOOK_OFFLINE")
    monkeypatch.setattr(sources, "READ_SECONDS", 0.3)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.stop_silence = [], threading.Event()
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
    return sorted(p.name for p in sources.cache_folder().rglob("*") if p.is_file())


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
    assert server.asked == [kind, "good"] and cached_files() == ["pneumoniamnist.npz"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("wrong", "wrong hash"),
        ("missing", "HTTPError"),
        ("cut", "Error"),
        ("stalls", "Error"),
        ("silent", "ReadTimeout"),
    ],
)
def test_only_bad_mirrors_give_the_twin_and_say_why(offer, kind, reason):
    offer(kind)
    with pytest.warns(UserWarning, match=f"twin.*/{kind}: .*{reason}"):
        assert data.load("pneumoniamnist").kind == "twin"
    assert cached_files() == []
    with pytest.raises(MedbookError, match=f"/{kind}: .*{reason}"):
        data.load("pneumoniamnist", source="real")


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
    with pytest.warns(UserWarning, match="twin"):
        assert data.load("pneumoniamnist").kind == "twin"


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
