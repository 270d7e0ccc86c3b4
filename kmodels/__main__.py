"""`python -m kmodels`, the same as the command `kmodels`."""

import sys


def main():
    """Runs the command; where a library that it needs cannot be imported, names that."""
    try:
        from kmodels.cli import main as command
    except Exception as error:
        if sys.argv[1:2] == ["doctor"]:
            from kmodels.doctor import doctor

            sys.exit(doctor(json="--json" in sys.argv))
        print(f"error: {type(error).__name__}: {error}; `kmodels doctor` says what mends it", file=sys.stderr)
        sys.exit(2)
    command()


if __name__ == "__main__":
    main()
