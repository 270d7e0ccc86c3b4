"""Writing files so that a reader finds the old content or the new, never half of one."""

import contextlib
import glob
import os
import platform
import re
import tempfile
import threading
from pathlib import Path

from kmodels.errors import InputError, require

# What helps where results cannot be written.
ELSEWHERE = "choose another place with --out (out=)"
OTHER_CACHE = "the environment variable KMODELS_CACHE chooses another folder for prepared datasets"


def writable_folder(path, remedy=ELSEWHERE):
    """Makes the folder where it is missing and proves that files can be written there.

    Args:
        path: of the folder.
        remedy: what helps where it cannot be written, the end of the message.

    Raises:
        InputError: if the path is a file, or nothing can be written in it.
    """
    path = Path(path)
    require(not path.is_file(), f"the folder to write into is a file; {remedy}", str(path))
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(f"cannot write into the folder {str(path)!r}: {error.strerror}; {remedy}") from error
    return path


def require_folder(path, what):
    """Raises InputError unless the path is of a folder.

    Args:
        path: as the user gave it.
        what: what it is of, for the message: "the folder of photographs".
    """
    if Path(path).is_file():
        raise InputError(f"{what} must be a folder; {path} is a file: unpack it first if it is an archive")
    require(Path(path).is_dir(), f"{what} must be a folder that exists", str(path))


def cache_folder():
    """The folder of all caches: `$KMODELS_CACHE`, or kmodels/ in the user's cache folder.

    Raises:
        InputError: if the user has no home folder; names the variable that chooses another.
    """
    if chosen := os.environ.get("KMODELS_CACHE"):
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kmodels"
    except RuntimeError as error:
        raise InputError(f"the user has no home folder, and HOME is not set; {OTHER_CACHE}") from error


def writable_cache(*parts):
    """Makes the cache folder, or the folder `parts` in it, where it is missing; returns its path.

    Raises:
        InputError: if it cannot be written; names the variable that chooses another.
    """
    return writable_folder(cache_folder().joinpath(*parts), OTHER_CACHE)


def write_atomically(path, content):
    """Writes text or bytes to a temporary file beside `path`, then renames it over `path`; returns the path.

    Raises:
        InputError: if it cannot be written (no space, no permission); an old file is still whole then.
    """
    path = Path(path)
    # File names that are no UTF-8 have characters that cannot be encoded.
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return path


@contextlib.contextmanager
def replacing(path, ending=""):
    """A context that yields the path of a temporary file, which takes the place of `path` once it is written.

    It lies beside `path`, and is flushed to the disk before it is renamed, as the folder is after that. What a writer
    of the same file left here when it was killed is removed.

    Args:
        path: of the file.
        ending: of the temporary file's name; without one nobody who looks for files of some kind finds it.

    Raises:
        InputError: if it cannot be written (no space, no permission); an old file is still whole then.
    """
    path = Path(path)
    writable_folder(path.parent)
    ours = f".{path.name}.{platform.node()}-"
    for left in path.parent.glob(f"{glob.escape(ours)}*"):
        # Another host's name may begin with that of this one and a hyphen.
        writer = re.fullmatch(r"(\d+)\.\d+(\.\w+)?", left.name.removeprefix(ours))
        if writer and not _is_running(int(writer[1])):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f"{ours}{os.getpid()}.{threading.get_ident()}{ending}")
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        flush(path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; {ELSEWHERE}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def flush(path):
    """Waits until a file is on the disk, or the names in a folder, where the system can flush those."""
    if path.is_file():
        with path.open("r+b") as file:
            os.fsync(file.fileno())
        return
    # Windows opens no folder, and some network file systems flush none.
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
