"""Progress of a preparation or a download: a bar on a terminal or in a notebook, and nothing in a log."""

import sys

from tqdm import tqdm

from kmodels.cell_output import InPlace, in_kernel


def progress(what, total, unit=" images", initial=0):
    """A tqdm progress bar, with speed and remaining time; one that shows nothing where standard error is no terminal.

    Args:
        what: text before the bar.
        total: how much there is to do.
        unit: what is counted: images, or "B" for bytes.
        initial: how much was done before.
    """
    # In a log it would be glued to other lines.
    where = {"disable": not sys.stderr.isatty(), "dynamic_ncols": True}
    if in_kernel():
        # The bar limits its updates itself.
        where = {"file": InPlace(interval=0), "ncols": 90, "ascii": False}
    return tqdm(total=total, unit=unit, unit_scale=unit == "B", initial=initial, desc=what, **where)
