"""Progress of a preparation or a download: a bar on a terminal, a line every ten seconds in a log."""

import sys

from tqdm import tqdm


def progress(what, total, unit=" images", initial=0):
    """A tqdm progress bar, with speed and remaining time.

    Args:
        what: text before the bar.
        total: how much there is to do.
        unit: what is counted: images, or "B" for bytes.
        initial: how much was done before.
    """
    return tqdm(
        total=total,
        unit=unit,
        unit_scale=unit == "B",
        initial=initial,
        desc=what,
        mininterval=0.1 if sys.stderr.isatty() else 10,
        dynamic_ncols=True,
    )
