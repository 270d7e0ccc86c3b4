"""How a command ends: its exit status, one line for what the user can mend, and an output that may be closed."""

import contextlib
import gc
import os
import signal
import sys

from kmodels.backend import check_platforms
from kmodels.errors import InputError
from kmodels.interrupts import Interrupts
from kmodels.packages import explained

# After Ctrl-C and SIGTERM.
INTERRUPTED = (130, 143)


def leave(status):
    """Ends the process with this exit status."""
    if status in INTERRUPTED:
        # After Ctrl-C while libraries were being loaded, their clean-up crashes.
        for stream in (sys.stdout, sys.stderr):
            # Its reader may have been interrupted too.
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)
    # The process's memory goes as a whole; to free it object by object takes most of a second.
    gc.freeze()
    sys.exit(status)


def run_command(command, *arguments, **options):
    """Calls a function and returns an exit status; a user's mistake becomes one line instead of a traceback."""
    sys.stdout = output = _Output(sys.stdout)
    try:
        with explained("this command"), _explained_device(), Interrupts():
            status = command(*arguments, **options)
        sys.stdout.flush()
        return status or int(output.failed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader, `head` say, has seen enough; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as interrupt:
        print(f"\ninterrupted{f': {interrupt}' if str(interrupt) else ''}", file=sys.stderr)
        return 130
    except SystemExit as end:
        if end.code in INTERRUPTED:
            return end.code
        raise


def how_it_ended(status):
    """How a process that we started ended, in words; "" for status 0.

    Args:
        status: the returncode of a subprocess, the negative number of a signal that ended it.
    """
    if status >= 0:
        return f"its process ended with status {status}" if status else ""
    if status == -9:
        return "its process was killed, perhaps as memory ran out"
    try:
        return f"its process was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"its process was ended by signal {-status}"


@contextlib.contextmanager
def _explained_device():
    """Whatever fails without a device that JAX computes on is an InputError that says so."""
    try:
        yield
    except InputError:
        raise
    except Exception:
        check_platforms()
        raise


class _Output:
    """Standard output that a run outlives: where nothing can be written to it, that is said once, on standard error.

    Args:
        stream: the standard output; None: it was closed before the process began.

    Attributes:
        failed: whether something could not be written.
    """

    def __init__(self, stream):
        self._stream, self.failed = stream or open(os.devnull, "w"), False  # noqa: SIM115 (as long as the process)
        if hasattr(self._stream, "reconfigure"):
            # Names may be of files and no UTF-8, or not in the terminal's encoding; standard error does the same.
            self._stream.reconfigure(errors="backslashreplace")

    def write(self, text):
        return self._tried(self._stream.write, text)

    def flush(self):
        self._tried(self._stream.flush)

    def _tried(self, do, *arguments):
        try:
            return do(*arguments)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.failed = True
            print(f"cannot write to standard output: {error.strerror}; going on without it", file=sys.stderr)
            # What is in the buffers goes there too.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            return do(*arguments)

    def __getattr__(self, name):
        return getattr(self._stream, name)
