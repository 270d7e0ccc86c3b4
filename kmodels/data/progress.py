"""Progress of a preparation or a download: a bar on a terminal or in a notebook, a line every ten seconds in a log."""

import sys

from tqdm import tqdm

from kmodels.cell_output import InPlace, in_kernel


def progress(what, total, unit=" images", initial=0):
    """A tqdm progress bar, with speed and remaining time.

    Args:
        what: text before the bar.
        total: how much there is to do.
        unit: what is counted: images, or "B" for bytes.
        initial: how much was done before.
    """
    where = {"mininterval": 0.1 if sys.stderr.isatty() else 10, "dynamic_ncols": True}
    if in_kernel():
        # The bar limits its updates itself.
        where = {"file": InPlace(interval=0), "ncols": 90, "ascii": False}
    return tqdm(total=total, unit=unit, unit_scale=unit == "B", initial=initial, desc=what, **where)
