"""A lock that one process holds while others wait: filelock's, or the same by flock where that is not installed."""

import contextlib
import os
import sys
import time

from kmodels.packages import missing

try:
    from filelock import FileLock, Timeout
except ModuleNotFoundError:

    class Timeout(TimeoutError):  # noqa: N818 (filelock's name)
        """Another process has the lock."""

    class FileLock:
        """The part of filelock's FileLock that is used here, on the same files.

        Args:
            path: of the file, which is made where it is missing and stays.
            timeout: how long to wait for the lock, in seconds; -1 waits for ever.

        Example:
            with FileLock("results/cifar10.lock"):
                ...
        """

        def __init__(self, path, timeout=-1):
            self._path, self._timeout, self._file = os.fspath(path), timeout, None

        def acquire(self, blocking=True):
            """Takes the lock; raises Timeout if it cannot be had in time."""
            try:
                import fcntl
            except ModuleNotFoundError as error:
                # On Windows there is no flock.
                raise missing("filelock", "a lock between processes") from error
            until = time.monotonic() + (self._timeout if blocking else 0)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._file = file
                    return
                except BlockingIOError as error:
                    if (not blocking or self._timeout >= 0) and time.monotonic() >= until:
                        os.close(file)
                        raise Timeout(f"another process has {self._path}") from error
                    time.sleep(0.05)

        def release(self):
            """Gives the lock back."""
            if self._file is not None:
                os.close(self._file)
                self._file = None

        def __enter__(self):
            self.acquire()
            return self

        def __exit__(self, *error):
            self.release()


@contextlib.contextmanager
def alone(path, doing):
    """A context that one process is in at a time; one that has to wait says so.

    Args:
        path: of the lock's file.
        doing: what is done in it: "preparing cifar10".
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"waiting: another process is {doing}", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


__all__ = ["FileLock", "Timeout", "alone"]
