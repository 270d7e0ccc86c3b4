"""Published archives: found in the user's folder and checked, or downloaded through tensorflow-datasets."""

import hashlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from urllib.request import getproxies

from kmodels.backend import import_tensorflow
from kmodels.data.cache import cache_folder
from kmodels.errors import InputError, require
from kmodels.files import writable_folder


@dataclass(frozen=True)
class Archive:
    """A file as it was published.

    Attributes:
        name: of the file, under which it is looked for.
        size: in bytes.
        sha256: in hexadecimal digits.
        url: where it is published.
    """

    name: str
    size: int
    sha256: str
    url: str

    def __str__(self):
        return f"{self.name} ({self.size:,} bytes, sha256 {self.sha256}), from {self.url}"

    def difference(self, path):
        """What tells the file at `path` from the published one, in words; "" if nothing does."""
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return "" if (size, digest) == (self.size, self.sha256) else f"it has {size:,} bytes, sha256 {digest}"

    def check(self, path):
        """Raises an InputError if the file at `path` is not the published one."""
        difference = self.difference(path)
        if difference:
            raise InputError(f"{path} is damaged or another file: {difference}. Wanted: {self}")


def archive_folder(data_dir):
    """The folder to look for archives in: `data_dir`, or the one that it lies in if it is a file.

    Raises:
        InputError: if there is no such folder or file.
    """
    path = Path(data_dir)
    require(path.exists(), "data_dir must be a folder that exists", str(data_dir))
    return path.parent if path.is_file() else path


def find(folder, archives, others=(), lacks="no archive of the set"):
    """The first of the archives that is in the folder, and its path, after a check of every byte.

    Args:
        folder: where to look.
        archives: Archives of the same data; one is enough.
        others: names of archives of the same data that are not read, but that people have.
        lacks: what to say that the folder has if it has none of them.

    Raises:
        InputError: if none is there, or the one found is damaged; says which is wanted.
    """
    wanted = "; or ".join(map(str, archives))
    for archive in archives:
        path = folder / archive.name
        if path.is_file():
            archive.check(path)
            return archive, path
    for other in others:
        if (folder / other).exists():
            raise InputError(
                f"{folder} has {other}, which holds the same images in a format that is not read here. Wanted: {wanted}"
            )
    raise InputError(f"{folder} has {lacks}. Wanted: {wanted}. Without data_dir it is downloaded")


def import_tfds():
    """tensorflow-datasets, silent, and never waiting for a network that is not there."""
    # Without it, a machine with no network waits on look-ups of Google's metadata server.
    os.environ.setdefault("NO_GCE_CHECK", "true")
    import_tensorflow()
    import absl.logging
    import tensorflow_datasets as tfds

    # tfds warns of every folder that it looks into in vain.
    absl.logging.set_verbosity(absl.logging.ERROR)
    return tfds


def download(name, archive):
    """The path of an archive that tfds has downloaded and checked; it stays in the cache, under its own name.

    Args:
        name: of the set in tfds.
        archive: the Archive.

    Raises:
        InputError: if it cannot be downloaded, or is not what tfds expects.
    """
    folder = writable_folder(cache_folder() / "archives")
    path = folder / archive.name
    if path.exists():
        return path
    tfds = import_tfds()
    with TemporaryDirectory(dir=folder) as partial:
        manager = tfds.download.DownloadManager(
            download_dir=partial,
            url_infos=tfds.builder_cls(name).url_infos,
            dataset_name=name,
            force_checksums_validation=True,
        )
        try:
            _reach(archive.url)
            Path(manager.download(archive.url)).replace(path)
        except Exception as error:
            raise InputError(
                f"tfds could not download {archive.name}: {type(error).__name__}: {error}\n"
                f"Download it yourself and give its folder as data_dir. Wanted: {archive}"
            ) from error
    return path


def _reach(url):
    """Raises an OSError where there is no network; tfds would try again for minutes."""
    address = urlsplit(url)
    if getproxies().keys() & {address.scheme, "all"}:
        return
    port = address.port or {"http": 80, "https": 443}[address.scheme]
    socket.create_connection((address.hostname, port), timeout=20).close()
