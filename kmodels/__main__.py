"""`python -m kmodels`, the same as the command `kmodels`."""

import contextlib
import io
import sys


def main():
    """Runs the command; where a library that it needs cannot be imported, says so, and doctor still works."""
    for_doctor, discarded = sys.argv[1:2] == ["doctor"], io.StringIO()
    try:
        with contextlib.redirect_stderr(discarded if for_doctor else sys.stderr):
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
