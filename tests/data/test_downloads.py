"""Downloads from servers on this machine: whole, broken off, slow, and of other files."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kmodels import InputError
from kmodels.data import downloads
from kmodels.data.archives import Archive
from kmodels.data.downloads import download, from_mirror

CONTENT = b"PK" + hashlib.sha512(b"content").digest() * 20_000


class Server:
    """A server of one file.

    Attributes:
        content: what it sends.
        ranges: whether it can send a part.
        ends: after how many bytes each answer breaks off, one for each; those after the last are whole.
        status: of its answers.
        seconds: to wait between blocks of 100 kB.
        length: whether it says how long the file is.
        asked: the Range of every request, None where there is none.
    """

    def __init__(self):
        self.content, self.ranges, self.ends, self.status = CONTENT, True, [], 200
        self.seconds, self.length, self.asked = 0, True, []
        self.waiting = threading.Event()
        served = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

            def do_GET(self):
                served.answer(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/set.zip"

    def answer(self, handler):
        wanted = handler.headers.get("Range")
        self.asked.append(wanted)
        first = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.ranges else 0
        body = self.content[first:]
        handler.send_response(self.status if self.status != 200 or not first else 206 if body else 416)
        if first:
            handler.send_header("Content-Range", f"bytes {first}-{len(self.content) - 1}/{len(self.content)}")
        if self.length:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        end = self.ends.pop(0) if self.ends else len(body)
        for start in range(0, end, 100_000):
            try:
                handler.wfile.write(body[start : min(start + 100_000, end)])
            except OSError:
                return
            self.waiting.wait(self.seconds)

    def stop(self):
        self.waiting.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def servers(tmp_path, monkeypatch):
    """Two servers of the same file."""
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(downloads, "PAUSE", 0)
    monkeypatch.setattr(downloads, "BLOCK_BYTES", 10_000)
    started = [Server(), Server()]
    yield started
    for server in started:
        server.stop()


def archive_from(*servers, content=CONTENT, name="set.zip"):
    first, *mirrors = [server.url for server in servers]
    return Archive(name, len(content), hashlib.sha256(content).hexdigest(), first, tuple(mirrors))


def kept(tmp_path):
    return {path.name for path in (tmp_path / "cache" / "archives").iterdir()}


def test_a_file_is_downloaded_once_and_nothing_else_is_kept(servers, tmp_path, capsys):
    archive = archive_from(servers[0])
    found, path = download([archive])
    assert (found, path) == (archive, tmp_path / "cache" / "archives" / "set.zip")
    assert path.read_bytes() == CONTENT
    assert kept(tmp_path) == {"set.zip"}
    assert download([archive]) == (found, path)
    assert servers[0].asked == [None]
    # Standard error is no terminal here, which would have a bar.
    (line,) = capsys.readouterr().err.splitlines()
    assert f"1 MB, from {servers[0].url}" in line


def test_a_broken_download_is_continued(servers, capsys):
    servers[0].ends = [300_000, 200_000]
    assert download([archive_from(servers[0])])[1].read_bytes() == CONTENT
    assert servers[0].asked == [None, "bytes=300000-", "bytes=500000-"]
    assert "500,000 of 1,280,002 bytes; trying again" in capsys.readouterr().err


def test_a_killed_download_is_continued_by_the_next(servers, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    servers[0].ends = [300_000]
    monkeypatch.setattr(downloads.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download([archive_from(servers[0])])
    assert kept(tmp_path) == {"set.zip.part"}
    assert download([archive_from(servers[0])])[1].read_bytes() == CONTENT
    assert servers[0].asked == [None, "bytes=300000-"]


def test_without_ranges_it_starts_again(servers):
    servers[0].ranges, servers[0].ends = False, [300_000]
    assert download([archive_from(servers[0])])[1].read_bytes() == CONTENT
    assert len(servers[0].asked) == 2


def test_a_server_that_always_ends_at_the_same_byte_is_given_up(servers, tmp_path):
    servers[0].ranges, servers[0].ends = False, [300_000] * 20
    with pytest.raises(InputError, match=r"(?s)cannot download set.zip.*--mirror.*--archive.*--data-dir"):
        download([archive_from(servers[0])])
    assert len(servers[0].asked) == 2 + downloads.RETRIES
    assert kept(tmp_path) == {"set.zip.part"}


def test_a_wrong_beginning_is_replaced(servers, tmp_path):
    folder = tmp_path / "cache" / "archives"
    folder.mkdir(parents=True)
    (folder / "set.zip.part").write_bytes(b"x" * 1000)
    assert download([archive_from(servers[0])])[1].read_bytes() == CONTENT
    assert servers[0].asked == ["bytes=1000-", None]


@pytest.mark.parametrize(
    ("content", "length", "words"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", True, "37 bytes.*web page"),
        (b"<html>" + b" " * (len(CONTENT) - 6), True, "web page"),
        (b"<html>" + b" " * 5000, False, "unknown size.*web page"),
        (CONTENT[:-7], True, "1,279,995 bytes"),
        (CONTENT + b"x", False, "more than 1,280,002 bytes"),
        (b"PK" + b"x" * (len(CONTENT) - 2), True, "sha256"),
    ],
)
def test_another_file_is_refused_and_described(servers, tmp_path, content, length, words):
    servers[0].content, servers[0].length = content, length
    with pytest.raises(InputError, match=f"(?s)another file.*{words}.*Expected: set.zip"):
        download([archive_from(servers[0])])
    assert not kept(tmp_path) - {"set.zip.part"}


def test_a_mirror_is_asked_where_the_first_server_fails(servers):
    servers[0].status = 503
    assert download([archive_from(*servers)])[1].read_bytes() == CONTENT
    servers[0].content = b"<html>"
    assert len(servers[0].asked) == len(servers[1].asked) == 1


def test_a_mirror_continues_what_a_slow_server_began(servers, monkeypatch, capsys):
    monkeypatch.setattr(downloads, "SLOW_AFTER", 0.2)
    monkeypatch.setattr(downloads, "SLOW", 10**9)
    servers[0].seconds = 0.15
    assert download([archive_from(*servers)])[1].read_bytes() == CONTENT
    assert servers[1].asked[0].startswith("bytes=")
    assert "kB/s; trying the next server" in capsys.readouterr().err


def test_a_slow_server_is_better_than_none(servers, monkeypatch):
    monkeypatch.setattr(downloads, "SLOW_AFTER", 0.05)
    monkeypatch.setattr(downloads, "SLOW", 10**9)
    servers[0].seconds, servers[1].status = 0.03, 404
    assert download([archive_from(*servers)])[1].read_bytes() == CONTENT
    assert len(servers[0].asked) == 2


@pytest.mark.parametrize("folder", [False, True])
def test_a_mirror_of_ones_own_is_asked_first_and_its_hash_decides(servers, folder):
    url = servers[1].url.removesuffix("set.zip") if folder else servers[1].url
    servers[1].content = b"PK" + b"x" * (len(CONTENT) - 2)
    with from_mirror(url):
        assert download([archive_from(servers[0])])[1].read_bytes() == CONTENT
    assert servers[1].asked == servers[0].asked == [None]
    with pytest.raises(InputError, match="--mirror"), from_mirror("ftp://x"):
        pass


def test_another_archive_of_the_same_data_will_do(servers, tmp_path):
    servers[0].status = 404
    other = archive_from(servers[1], name="other.zip")
    assert download([archive_from(servers[0]), other])[0] == other
    assert kept(tmp_path) == {"other.zip"}


def test_without_a_network_the_error_comes_at_once_and_says_what_to_do(servers):
    archive = archive_from(servers[0])
    servers[0].server.server_close()
    with pytest.raises(
        InputError, match=r"ConnectionError: .*(refused|reset).*\nGive another server of it as --mirror URL"
    ):
        download([archive])


def test_without_space_it_says_where_else_to_write(servers, monkeypatch):
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match=r"no space.*KMODELS_CACHE"):
        download([archive_from(servers[0])])


def test_a_damaged_file_in_the_cache_is_downloaded_again(servers):
    _, path = download([archive_from(servers[0])])
    path.write_bytes(b"PK")
    assert download([archive_from(servers[0])])[1].read_bytes() == CONTENT
