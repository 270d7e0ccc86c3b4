"""Progress of a preparation: a bar on a terminal, a line every ten seconds in a log."""

import sys

from tqdm import tqdm


def progress(what, total):
    """A tqdm progress bar that counts images.

    Args:
        what: text before the bar.
        total: number of images.
    """
    return tqdm(
        total=total,
        unit=" images",
        desc=what,
        mininterval=0.1 if sys.stderr.isatty() else 10,
        dynamic_ncols=True,
    )
