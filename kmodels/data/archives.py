"""Published archives: find and check them in the user's folder, and say what another file looks like."""

import contextlib
import hashlib
import os
import shutil
import socket
import sys
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from kmodels.backend import import_tensorflow
from kmodels.errors import InputError, require
from kmodels.files import writable_cache
from kmodels.packages import explained

# The first folder in an archive -> what the archive is.
CONTENTS = {
    "2750": "EuroSAT.zip",
    "ds": "EuroSATallBands.zip, which has all bands as TIFF files",
    "cifar-10-batches-bin": "the binary archive of CIFAR-10 (cifar-10-binary.tar.gz)",
    "cifar-10-batches-mat": "the Matlab archive of CIFAR-10 (cifar-10-matlab.tar.gz)",
    "cifar-10-batches-py": "the Python archive of CIFAR-10 (cifar-10-python.tar.gz)",
    "cifar-100-binary": "the binary archive of CIFAR-100 (cifar-100-binary.tar.gz)",
    "cifar-100-matlab": "the Matlab archive of CIFAR-100 (cifar-100-matlab.tar.gz)",
    "cifar-100-python": "the Python archive of CIFAR-100 (cifar-100-python.tar.gz)",
    "seg_pred": "Intel Image Classification, the zip file of Kaggle",
    "seg_train": "Intel Image Classification, the zip file of Kaggle",
    "seg_test": "Intel Image Classification, the zip file of Kaggle",
    "stl10_binary": "the binary archive of STL-10 (stl10_binary.tar.gz)",
    "stl10_matlab": "the Matlab archive of STL-10 (stl10_matlab.tar.gz)",
}
# How many bytes of a file tell what it is, and how many of them a message shows.
HEAD_BYTES, SHOWN_BYTES = 512, 16


@dataclass(frozen=True)
class Archive:
    """A file as it was published.

    Attributes:
        name: of the file.
        size: in bytes.
        sha256: in hexadecimal digits.
        url: where it is published.
        mirrors: other URLs of the same file, tried in this order after the first.

    Example:
        archive = Archive("EuroSAT.zip", size=94_280_567, sha256="8ebea6...", url="http://madm.dfki.de/...")
        archive.check(Path("downloads/EuroSAT.zip"))
    """

    name: str
    size: int
    sha256: str
    url: str
    mirrors: tuple[str, ...] = ()

    def __str__(self):
        return f"{self.name} ({self.size:,} bytes, sha256 {self.sha256}), from {self.url}"

    def difference(self, path):
        """How the file at `path` differs from the published one, for messages; "" if it does not."""
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return "" if (size, digest) == (self.size, self.sha256) else f"it has {size:,} bytes, sha256 {digest}"

    def check(self, path):
        """Raises an InputError that says what the file at `path` looks like, if it differs from the published one."""
        difference = self.difference(path)
        if difference:
            raise InputError(
                f"{path} is damaged or not the published file: {difference}; {looks_like(path, self.size)}. "
                f"Expected: {self}"
            )


def looks_like(path, expected_size=None):
    """What a file looks like, in words: by its first bytes and by the first folder in it.

    Args:
        path: a Path.
        expected_size: in bytes; a smaller file may be the beginning of the expected one.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    size, kind = path.stat().st_size, kind_of(head)
    if kind is None:
        with contextlib.suppress(OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile, StopIteration):
            top = _first_member(path, head).removeprefix("./").split("/")[0]
            kind = CONTENTS.get(top, f"an archive whose first folder is {top!r}")
    words = [f"it begins with {head[:SHOWN_BYTES]!r}"]
    words += [f"and looks like {kind}"] if kind else []
    if expected_size and 0 < size < expected_size and (kind is None or kind in CONTENTS.values()):
        words.append(f"and may be cut off, at {size / expected_size:.0%}")
    return " ".join(words)


def kind_of(head):
    """What the first bytes of a file say that it is, if that is no archive; else None."""
    if not head:
        return "an empty file"
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        return "a web page, which servers send instead of a file to report an error or to ask for a login"
    if start.startswith((b"{", b"version https://git-lfs")):
        return "a text, not an archive"
    if head.startswith((b"PK", b"\x1f\x8b")) or head[257:262] == b"ustar":
        return None
    return "no archive of a kind that is known here"


def _first_member(path, head):
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()[0]
    # As a stream, so that the end of a file which is cut off is not missed.
    with tarfile.open(path, "r|*") as archive:
        return next(iter(archive)).name


def existing(data_dir):
    """`data_dir` as a Path; raises an InputError if there is no such folder or archive."""
    path = Path(data_dir)
    require(path.exists(), "data_dir (--data-dir) must be a folder or an archive that exists", str(data_dir))
    return path


def archive_folder(data_dir):
    """The folder to look for data in: `data_dir`, or its parent if it is a file; raises as `existing`."""
    path = existing(data_dir)
    return path.parent if path.is_file() else path


def find(place, archives, others=(), missing="no archive of the set"):
    """Finds the first of several archives in a folder and checks its hash.

    Args:
        place: a Path: the folder; or a file, which must be one of the archives, whatever its name.
        archives: Archives of the same data; one is enough.
        others: names of archives of the same data in formats that are not supported, for the message.
        missing: what the message says is in the folder if none of the archives is.

    Returns:
        The Archive found and its path.

    Raises:
        InputError: if none is there, or the one found is damaged; says which files are expected.
    """
    expected = "; or ".join(map(str, archives))
    if place.is_file() and place.name not in others:
        return recognise(place, archives), place
    folder = place.parent if place.is_file() else place
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
    raise InputError(f"{folder} has {missing}. Expected: {expected}. Without data_dir (--data-dir) it is downloaded")


def recognise(path, archives):
    """Which of several archives a file is, by its size and hash and not by its name.

    Args:
        path: of the file.
        archives: Archives of the same data.

    Raises:
        InputError: if it is none of them; says what it looks like.
    """
    size = path.stat().st_size
    likely = [archive for archive in archives if archive.size == size]
    named = [archive for archive in archives if archive.name == path.name]
    if not likely and not named:
        raise InputError(
            f"{path} is damaged or not the published file: it has {size:,} bytes; "
            f"{looks_like(path, archives[0].size)}. Expected: {'; or '.join(map(str, archives))}"
        )
    archive = (likely or named)[0]
    archive.check(path)
    return archive


def hand_over(path, archives):
    """Lets an archive that the user already has take the place of the download; it is checked, and stays where it is.

    Args:
        path: of the file.
        archives: Archives of the data that it may be.

    Returns:
        The Archive that it is.

    Raises:
        InputError: if there is no such file, or it is none of them.
    """
    path = Path(path)
    require(path.is_file(), "the archive (--archive) must be a file that exists", str(path))
    archive = recognise(path, archives)
    place = writable_cache("archives") / archive.name
    if place.exists() and place.samefile(path):
        return archive
    place.unlink(missing_ok=True)
    link(path, place)
    return archive


def link(path, place):
    """Makes the file at `path` appear at `place` too."""
    try:
        place.symlink_to(path.resolve())
    except OSError:
        # Windows lets only some users make links.
        shutil.copyfile(path, place)


def check_reachable(url):
    """Raises an OSError if the server cannot be reached. Without this check, tfds retries for minutes."""
    address = urlsplit(url)
    if getproxies().keys() & {address.scheme, "all"}:
        return
    port = address.port or {"http": 80, "https": 443}[address.scheme]
    socket.create_connection((address.hostname, port), timeout=20).close()


def import_tfds():
    """Imports tensorflow-datasets, without its warnings and without look-ups on the network.

    Raises:
        InputError: if it or TensorFlow is not installed.
    """
    # Else a machine without a network waits for look-ups of Google's metadata server.
    os.environ.setdefault("NO_GCE_CHECK", "true")
    import_tensorflow()
    with explained("reading or preparing data of tensorflow-datasets"):
        try:
            import importlib_resources  # noqa: F401
        except ModuleNotFoundError:
            # tfds imports it without declaring it. It is the standard library's module, for older versions of Python.
            import importlib.resources.abc

            sys.modules["importlib_resources"] = importlib.resources
        import absl.logging
        import tensorflow_datasets as tfds

    # tfds warns of every folder in which it finds no dataset.
    absl.logging.set_verbosity(absl.logging.ERROR)
    return tfds
