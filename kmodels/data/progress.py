"""A progress bar on a terminal, a line now and then in a log."""

import sys

from tqdm import tqdm


def progress(what, total):
    """A tqdm bar that counts images."""
    return tqdm(
        total=total,
        unit=" images",
        desc=what,
        mininterval=0.1 if sys.stderr.isatty() else 10,
        dynamic_ncols=True,
    )
