"""Published archives: find and check them in the user's folder, or download them with tensorflow-datasets."""

import hashlib
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from kmodels.backend import import_tensorflow
from kmodels.data.cache import writable_cache
from kmodels.errors import InputError, require


@dataclass(frozen=True)
class Archive:
    """A file as it was published.

    Attributes:
        name: of the file.
        size: in bytes.
        sha256: in hexadecimal digits.
        url: where it is published.

    Example:
        archive = Archive("EuroSAT.zip", size=94_280_567, sha256="8ebea6...", url="http://madm.dfki.de/...")
        archive.check(Path("downloads/EuroSAT.zip"))
    """

    name: str
    size: int
    sha256: str
    url: str

    def __str__(self):
        return f"{self.name} ({self.size:,} bytes, sha256 {self.sha256}), from {self.url}"

    def difference(self, path):
        """How the file at `path` differs from the published one, for messages; "" if it does not."""
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return "" if (size, digest) == (self.size, self.sha256) else f"it has {size:,} bytes, sha256 {digest}"

    def check(self, path):
        """Raises an InputError if the file at `path` differs from the published one."""
        difference = self.difference(path)
        if difference:
            raise InputError(f"{path} is damaged or not the published file: {difference}. Expected: {self}")


def archive_folder(data_dir):
    """The folder to look for archives in: `data_dir`, or its parent if it is a file.

    Raises:
        InputError: if there is no such folder or file.
    """
    path = Path(data_dir)
    require(path.exists(), "data_dir must be a folder that exists", str(data_dir))
    return path.parent if path.is_file() else path


def find(folder, archives, others=(), missing="no archive of the set"):
    """Finds the first of several archives in a folder and checks its hash.

    Args:
        folder: a Path.
        archives: Archives of the same data; one is enough.
        others: names of archives of the same data in formats that are not supported, for the message.
        missing: what the message says is in the folder if none of the archives is.

    Returns:
        The Archive found and its path.

    Raises:
        InputError: if none is there, or the one found is damaged; says which files are expected.
    """
    expected = "; or ".join(map(str, archives))
    for archive in archives:
        path = folder / archive.name
        if path.is_file():
            archive.check(path)
            return archive, path
    for other in others:
        if (folder / other).exists():
            raise InputError(
                f"{folder} has {other}, which has the same images in an unsupported format. Expected: {expected}"
            )
    raise InputError(f"{folder} has {missing}. Expected: {expected}. Without data_dir it is downloaded")


def import_tfds():
    """Imports tensorflow-datasets, without its warnings and without look-ups on the network."""
    # Else a machine without a network waits for look-ups of Google's metadata server.
    os.environ.setdefault("NO_GCE_CHECK", "true")
    import_tensorflow()
    import absl.logging
    import tensorflow_datasets as tfds

    # tfds warns of every folder in which it finds no dataset.
    absl.logging.set_verbosity(absl.logging.ERROR)
    return tfds


def download(name, archive):
    """Downloads an archive with tfds, which checks its hash, into the cache, unless it is there.

    Args:
        name: of the dataset in tfds.
        archive: the Archive.

    Returns:
        The path of the archive in the cache.

    Raises:
        InputError: if it cannot be downloaded, or is not what tfds expects.
    """
    from filelock import FileLock

    path = writable_cache("archives") / archive.name
    with FileLock(writable_cache() / f"{archive.name}.lock"):
        if not path.exists():
            _download(name, archive, path)
    return path


def _download(name, archive, path):
    tfds = import_tfds()
    # Always the same folder: what a killed download left in it is removed.
    partial = path.with_name(f"{archive.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    manager = tfds.download.DownloadManager(
        download_dir=partial,
        url_infos=tfds.builder_cls(name).url_infos,
        dataset_name=name,
        force_checksums_validation=True,
    )
    try:
        check_reachable(archive.url)
        Path(manager.download(archive.url)).replace(path)
    except Exception as error:
        raise InputError(
            f"tfds could not download {archive.name}: {type(error).__name__}: {error}",
            f"Download it yourself and give its folder as data_dir. Expected: {archive}",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_reachable(url):
    """Raises an OSError if the server cannot be reached. Without this check, tfds retries for minutes."""
    address = urlsplit(url)
    if getproxies().keys() & {address.scheme, "all"}:
        return
    port = address.port or {"http": 80, "https": 443}[address.scheme]
    socket.create_connection((address.hostname, port), timeout=20).close()
