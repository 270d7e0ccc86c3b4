"""Sources of image files: a folder, or a zip file, which is read without unpacking it.

Both name a file by its path from the top, with "/" as separator ("train/cat/1.png"); the top itself is "".
"""

import hashlib
import math
import os
import posixpath
import stat
import threading
import zlib
from collections import defaultdict
from contextlib import contextmanager
from functools import cached_property
from lzma import LZMAError
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from kmodels.errors import InputError, require

# Files of a folder whose size and modification time enter its fingerprint: on a local disk they take half a second.
# More would make opening a large set slow.
FINGERPRINT_FILES = 100_000

# Folders that macOS and Python write.
WRITTEN_BY_SYSTEMS = ("__MACOSX", "__pycache__")

# Folders within folders. In a zip file, a path of 30,000 of them would fill the memory with their names.
MAX_DEPTH = 100


@contextmanager
def _readable():
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from error


def _raise(error):
    raise error


def _visible(folder_name):
    return not folder_name.startswith(".") and folder_name not in WRITTEN_BY_SYSTEMS


class Folder:
    """The files under a folder on disk.

    Example:
        files = Folder("pets")
        files.folders("train")  # ["cat", "dog"]
        files.read("train/cat/1.png")
    """

    def __init__(self, path):
        self.path = Path(path).resolve()

    def where(self, name):
        """The full path of a file or folder, for messages."""
        return self.path / name

    @_readable()
    def names(self, folder):
        """Names of everything in the folder, unsorted."""
        return os.listdir(self.where(folder))

    @_readable()
    def folders(self, folder, hidden=False):
        """Sorted names of the visible folders in the folder; or of the hidden ones."""
        with os.scandir(self.where(folder)) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and _visible(entry.name) != hidden)

    @_readable()
    def walk(self, folder):
        """Names of all files that are not hidden, in the folder and the visible folders in it, relative to it.

        Links to folders are followed, but no folder is read twice: a link may lead back.

        Raises:
            InputError: if folders cannot be read, or are more than MAX_DEPTH deep.
        """
        top, found, read = str(self.where(folder)), [], set()
        for path, folders, names in os.walk(top, onerror=_raise, followlinks=True):
            folders[:] = filter(_visible, folders)
            if (real := os.path.realpath(path)) in read:
                folders.clear()
                continue
            read.add(real)
            inside = path[len(top) :].replace(os.sep, "/").lstrip("/")
            # Python before 3.12 calls itself for every folder in a folder.
            if inside.count("/") > MAX_DEPTH:
                raise InputError(f"{top} has folders in folders, more than {MAX_DEPTH} deep: {inside[:200]!r}")
            found += [posixpath.join(inside, name) for name in names if not name.startswith(".")]
        return found

    def size(self, name):
        """The size of the file in bytes.

        Raises:
            OSError: if there is no such file, or it is a pipe or another thing without a size.
        """
        status = os.stat(f"{self.path}/{name}")
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a file")
        return status.st_size

    def read(self, name):
        """The bytes of the file."""
        with open(f"{self.path}/{name}", "rb", buffering=0) as file:
            return file.read()

    @_readable()
    def fingerprint(self, list_class_folders):
        """A digest that changes when the files do.

        It covers every name, the modification time of every folder, and size and modification time of up to
        FINGERPRINT_FILES files. In a larger set, overwriting one of the other files goes unnoticed: then delete the
        prepared folder, or `touch` the class folder.

        Args:
            list_class_folders: returns (folder, names of its files in a fixed order) of each class.
        """
        class_folders = list_class_folders()
        digest = hashlib.sha256()
        step = math.ceil(sum(len(names) for _, names in class_folders) / FINGERPRINT_FILES)
        for folder, names in class_folders:
            digest.update(os.fsencode("\0".join([folder, *names])))
            inner = sorted({posixpath.dirname(name) for name in names} - {""})
            for path in [folder, *(f"{folder}/{name}" for name in [*inner, *names[::step]])]:
                try:
                    status = os.stat(f"{self.path}/{path}")
                except OSError:
                    # A broken link, for instance: decoding refuses it, or leaves it out.
                    digest.update(b"\0missing")
                else:
                    digest.update(b"\0%d %d" % (status.st_size, status.st_mtime_ns))
        return digest.hexdigest()

    def close(self):
        """Does nothing: a folder holds no file open."""


class Zip:
    """The files in a zip file, which is opened when it is first read.

    Example:
        with closing(Zip("pets.zip")) as files:
            files.folders("train")  # ["cat", "dog"]
            files.read("train/cat/1.png")

    Raises:
        InputError: on the first read, if the file is not a zip file, or has a member whose path leads out of it.
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
            raise InputError(f"{self.path} is not a zip file, or is incomplete: {error}") from error

    @cached_property
    def _members(self):
        """{name: member} of all files."""
        members = {}
        for member in self._zip.infolist():
            # Some programs on Windows write "\".
            name = member.filename.replace("\\", "/")
            parts = name.split("/")
            if name.startswith("/") or name[1:2] == ":" or ".." in parts or len(parts) > MAX_DEPTH:
                self.close()
                raise InputError(
                    f"{self.path} is refused: it has a member whose path leads out of it, or through more than "
                    f"{MAX_DEPTH} folders: {member.filename[:200]!r}"
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
        """Names of everything in the folder, unsorted."""
        return list(self._names.get(folder, ()))

    def folders(self, folder):
        """Sorted names of the visible folders in the folder."""
        inside = f"{folder}/" if folder else ""
        return sorted(name for name in self.names(folder) if inside + name in self._names and _visible(name))

    def walk(self, folder):
        """Names of all files that are not hidden, in the folder and the visible folders in it, relative to it."""
        top = f"{folder}/" if folder else ""
        found, waiting = [], [""]
        while waiting:
            inside = waiting.pop()
            for name in self.names(f"{top}{inside}".rstrip("/")):
                if f"{top}{inside}{name}" in self._names:
                    waiting += [f"{inside}{name}/"] if _visible(name) else []
                elif not name.startswith("."):
                    found.append(f"{inside}{name}")
        return found

    def size(self, name):
        """The size of the unpacked file in bytes, as the zip file has it. No more than that is ever unpacked."""
        return self._members[name].file_size

    def read(self, name):
        """The bytes of the file.

        Raises:
            OSError: if it is damaged, encrypted or compressed in a way that Python does not know.
        """
        try:
            with self._lock, self._zip.open(self._members[name]) as file:
                # Unpacked in one go, a member that is larger than its header says would fill the memory.
                return b"".join(iter(lambda: file.read(2**16), b""))
        except (BadZipFile, EOFError, RuntimeError, zlib.error, LZMAError) as error:
            raise OSError(str(error)) from error

    @_readable()
    def fingerprint(self, list_class_folders):
        """Size and modification time of the zip file itself, whichever of its files are used."""
        status = os.stat(self.path)
        return [status.st_size, status.st_mtime_ns]

    def close(self):
        """Closes the zip file if it was opened."""
        if "_zip" in vars(self):
            self._zip.close()


def open_files(data_dir, folder_names):
    """Opens a zip file or a folder.

    Args:
        data_dir: a zip file, or a folder. A folder that has a single zip file and none of `folder_names` stands for
            that zip file.
        folder_names: names of folders of the set, in any case.

    Returns:
        A Folder or Zip.

    Raises:
        InputError: if there is no such file or folder, or the folder has several zip files.
    """
    path = Path(data_dir)
    require(path.exists(), "data_dir (--data-dir) must be a folder or a zip file that exists", str(data_dir))
    if path.is_file():
        return Zip(path)
    files = Folder(path)
    expected = {name.lower() for name in folder_names}
    zips = sorted(file for file in files.names("") if file.lower().endswith(".zip"))
    if not zips or any(folder.lower() in expected for folder in files.folders("")):
        return files
    if len(zips) > 1:
        raise InputError(
            f"{path} has several zip files: {', '.join(zips)}; give the one to read as data_dir (--data-dir)"
        )
    return Zip(path / zips[0])


def innermost(files, folder):
    """Descends while a folder contains exactly one folder, as in seg_train/seg_train.

    Args:
        files: a Folder or Zip.
        folder: where to start, as a path from the top.

    Returns:
        The path of the first folder that does not contain exactly one folder.
    """
    while len(inner := files.folders(folder)) == 1:
        folder = posixpath.join(folder, inner[0])
    return folder
