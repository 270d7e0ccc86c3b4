"""Archives through tfds' own downloader, from a server on this machine."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kmodels import InputError
from kmodels.data.archives import Archive, download

tfds = pytest.importorskip("tensorflow_datasets")

CONTENT = b"not really a zip file"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """An Archive that tfds expects under the name eurosat, the folder of its server, and a function to stop that."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "set.zip").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    archive = Archive(
        "set.zip", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), f"http://127.0.0.1:{server.server_port}/set.zip"
    )
    info = tfds.download.checksums.UrlInfo(size=archive.size, checksum=archive.sha256, filename=archive.name)
    monkeypatch.setattr(tfds.builder_cls("eurosat"), "url_infos", {archive.url: info})
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def stop():
        server.shutdown()
        server.server_close()
        thread.join()

    yield archive, folder, stop
    stop()


def test_an_archive_is_downloaded_once_under_its_own_name_and_nothing_else_is_kept(served, tmp_path):
    archive, _, stop = served
    path = download("eurosat", archive)
    assert path == tmp_path / "cache" / "archives" / "set.zip"
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    stop()
    assert download("eurosat", archive) == path


def test_a_file_other_than_the_published_one_is_refused(served, tmp_path):
    archive, folder, _ = served
    (folder / "set.zip").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"(?s)NonMatchingChecksumError: .* Expected: set.zip"):
        download("eurosat", archive)
    assert list((tmp_path / "cache" / "archives").iterdir()) == []


def test_without_a_network_the_error_comes_at_once_and_says_what_to_do(served):
    archive, _, stop = served
    stop()
    with pytest.raises(InputError, match=r"ConnectionRefusedError: .*\nDownload it yourself"):
        download("eurosat", archive)
