"""Writing files so that a reader finds the old content or the new, never half of one."""

import os
import tempfile
from pathlib import Path

from kmodels.errors import InputError, require


def writable_folder(path):
    """Makes the folder where it is missing and proves that files can be written there.

    Raises:
        InputError: if the path is a file, or nothing can be written in it.
    """
    path = Path(path)
    require(not path.is_file(), "the folder to write into is a file", str(path))
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(f"cannot write into the folder {str(path)!r}: {error.strerror}") from error
    return path


def write_atomically(path, content):
    """Writes text or bytes to a temporary file beside `path`, then renames it over `path`; returns the path.

    Raises:
        InputError: if it cannot be written (no space, no permission); an old file is still whole then.
    """
    path = Path(path)
    # File names that are no UTF-8 have characters that cannot be encoded.
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    writable_folder(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path
