"""The commands of `kmodels`: a file for those of one subject each; kmodels/cli.py lists them."""
