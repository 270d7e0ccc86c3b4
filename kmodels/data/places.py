"""Where the bytes of files are: in a folder, or in a zip, which is read as it is and never unpacked.

Both name a file from the top, with "/" between the parts ("train/cat/1.png"); the top itself is "".
"""

import hashlib
import math
import os
import posixpath
import threading
import zlib
from collections import defaultdict
from contextlib import contextmanager
from functools import cached_property
from lzma import LZMAError
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from kmodels.errors import InputError, require

# How many files of a folder are looked at, one by one, to see whether any has changed.
STAMPED = 5000


@contextmanager
def _readable():
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from error


def _visible(folder_name):
    # What begins with "." or "__" comes from the system (.DS_Store, __MACOSX).
    return not folder_name.startswith((".", "__"))


class Folder:
    """The files under a folder on disk."""

    def __init__(self, path):
        self.path = Path(path).resolve()

    def where(self, name):
        """The full path, for messages."""
        return self.path / name

    @_readable()
    def names(self, folder):
        """Names of all that is in the folder, in no order."""
        return os.listdir(self.where(folder))

    @_readable()
    def folders(self, folder):
        """Sorted names of the visible folders in the folder."""
        with os.scandir(self.where(folder)) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and _visible(entry.name))

    def read(self, name):
        """The bytes of the file."""
        with open(f"{self.path}/{name}", "rb", buffering=0) as file:
            return file.read()

    @_readable()
    def stamp(self, list_class_folders):
        """A digest that changes when the files do.

        It takes in every name, the time of change of every folder, and the size and time of change of up to STAMPED
        files. So in a larger set a file overwritten in place, among those not looked at, goes unnoticed: delete the
        prepared folder then, or `touch` the class folder.

        Args:
            list_class_folders: returns (folder, names of its files in a fixed order) of each class.
        """
        class_folders = list_class_folders()
        digest = hashlib.sha256()
        step = math.ceil(sum(len(names) for _, names in class_folders) / STAMPED)
        for folder, names in class_folders:
            digest.update(os.fsencode("\0".join([folder, *names])))
            for path in [folder, *(f"{folder}/{name}" for name in names[::step])]:
                status = os.stat(f"{self.path}/{path}")
                digest.update(b"\0%d %d" % (status.st_size, status.st_mtime_ns))
        return digest.hexdigest()

    def close(self):
        """Nothing is held open."""


class Zip:
    """The files in a zip file, which is opened when one of them is asked for.

    Raises:
        InputError: then, if the file is no zip, or has a member that would be unpacked outside the folder it is
            unpacked in.
    """

    def __init__(self, path):
        self.path = Path(path).resolve()
        # ZipFile does not promise that threads may share it.
        self._lock = threading.Lock()

    @cached_property
    @_readable()
    def _zip(self):
        try:
            return ZipFile(self.path)
        except (BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path} is no zip file, or only part of one: {error}") from error

    @cached_property
    def _members(self):
        """{name: member} of all files."""
        members = {}
        for member in self._zip.infolist():
            # Some programs on Windows write "\".
            name = member.filename.replace("\\", "/")
            if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
                self.close()
                raise InputError(
                    f"{self.path} has a member that leads out of it, so it is not read: {member.filename!r}"
                )
            if not member.is_dir():
                members[name] = member
        return members

    @cached_property
    def _names(self):
        """{folder: names in it}."""
        names = defaultdict(set)
        for name in self._members:
            while name:
                folder, _, last = name.rpartition("/")
                names[folder].add(last)
                name = folder
        return names

    def where(self, name):
        """The path as if the zip were a folder, for messages."""
        return self.path / name

    def names(self, folder):
        """Names of all that is in the folder, in no order."""
        return list(self._names.get(folder, ()))

    def folders(self, folder):
        """Sorted names of the visible folders in the folder."""
        inside = f"{folder}/" if folder else ""
        return sorted(name for name in self.names(folder) if inside + name in self._names and _visible(name))

    def read(self, name):
        """The bytes of the file.

        Raises:
            OSError: if it is damaged, encrypted or compressed in a way that Python does not know.
        """
        try:
            with self._lock:
                return self._zip.read(self._members[name])
        except (BadZipFile, EOFError, RuntimeError, zlib.error, LZMAError) as error:
            raise OSError(str(error)) from error

    @_readable()
    def stamp(self, list_class_folders):
        """Size and time of change of the zip file itself, whichever of its files are used; it need not be opened."""
        status = os.stat(self.path)
        return [status.st_size, status.st_mtime_ns]

    def close(self):
        """Closes the zip file, if it was opened."""
        if "_zip" in vars(self):
            self._zip.close()


def open_place(data_dir, own):
    """The Folder or Zip that a set is in.

    Args:
        data_dir: a zip file, or a folder; then the only zip file in it is meant, unless it has folders of the set.
        own: names of those folders; their case does not matter.

    Raises:
        InputError: if there is no such file or folder, or the folder has several zip files.
    """
    path = Path(data_dir)
    require(path.exists(), "data_dir must be a folder or a zip file that exists", str(data_dir))
    if path.is_file():
        return Zip(path)
    place = Folder(path)
    own = {name.lower() for name in own}
    zips = sorted(file for file in place.names("") if file.lower().endswith(".zip"))
    if not zips or any(folder.lower() in own for folder in place.folders("")):
        return place
    if len(zips) > 1:
        raise InputError(f"{path} has several zip files: {', '.join(zips)}; give the one to read as data_dir")
    return Zip(path / zips[0])


def inside(place, folder):
    """The folder, or the one in it that alone holds everything, as in seg_train/seg_train."""
    while len(inner := place.folders(folder)) == 1:
        folder = posixpath.join(folder, inner[0])
    return folder
