"""`python -m kmodels`, the same as the command `kmodels`."""

from kmodels.cli import main

main()
