"""`python -m kmodels`, the same as the command `kmodels`."""

import contextlib
import io
import os
import sys

from kmodels.interrupts import Interrupts


def main():
    """Runs the command; an interrupt that comes before it begins is told as one that comes later."""
    try:
        _main()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr, flush=True)
        # The clean-up of libraries that were being loaded crashes.
        os._exit(130)


def _main():
    """Runs the command; where a library that it needs cannot be imported, says so, and doctor still works."""
    for_doctor, discarded = sys.argv[1:2] == ["doctor"], io.StringIO()
    try:
        with Interrupts(), contextlib.redirect_stderr(discarded if for_doctor else sys.stderr):
            from kmodels.cli import main as command
    except (Exception, SystemExit) as error:
        if for_doctor:
            from kmodels.commands.doctor import doctor

            sys.exit(doctor(json="--json" in sys.argv))
        if isinstance(error, SystemExit):
            raise
        print(f"error: {type(error).__name__}: {error}; `kmodels doctor` says how to fix it", file=sys.stderr)
        sys.exit(2)
    command()


if __name__ == "__main__":
    main()
