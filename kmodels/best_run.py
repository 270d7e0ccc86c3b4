"""The best network of a folder of runs: what a command or a `Classifier` uses where it is given the folder."""

import math
import sys
from collections import Counter
from pathlib import Path

from kmodels.errors import InputError, require, shorten
from kmodels.records import read_records
from kmodels.records.descriptions import percent
from kmodels.text import printable


def best_run(folder):
    """The path of the record, under a folder of runs, of the network to use; a line on standard error names it.

    It is the completed run with the best validation accuracy whose network (.keras) is there; of equal ones that with
    the smallest validation loss, and of equal ones again the newest: the line says what decided. Runs on other images
    than the newest such run are left out (see `on_the_same_images`).

    Args:
        folder: of the runs of a report or of one of its experiments, "runs/photos" for instance.

    Raises:
        InputError: if there is no such run.
    """
    records = read_records(folder)
    require(records, "a folder given for a network must have runs in it, of kmodels train for instance", str(folder))
    completed = {path: record for path, record in records.items() if record.status == "completed"}
    if not completed:
        counts = Counter(record.status for record in records.values())
        states = ", ".join(f"{count} {status}" for status, count in counts.items())
        raise InputError(f"{folder} must have a completed run. Received: {states}")
    kept = {path: record for path, record in completed.items() if path.with_suffix(".keras").is_file()}
    if not kept:
        names = shorten([path.with_suffix(".keras").name for path in completed])
        raise InputError(f"{folder} has no network: a completed run must have its .keras file. Missing: {names}")
    comparable = on_the_same_images(kept.values())
    same = {path: record for path, record in kept.items() if record in comparable}
    best = max(same, key=lambda path: _rank(same[path]))
    others = f"; {len(kept) - len(same)} on other images left out" if len(same) < len(kept) else ""
    number = f", the best of {len(same)}" if len(same) > 1 else ""
    if decided := tie_break(same[best], same.values()):
        number = f"{number} ({decided})"
    network, accuracy = printable(best.with_suffix(".keras")), percent(same[best].val.accuracy)
    print(f"using {network}: validation accuracy {accuracy} %{number}{others}", file=sys.stderr)
    return best


def on_the_same_images(records):
    """Those of Records whose validation accuracies can be compared with that of the newest.

    They have its classes, and were trained and validated on its images. Checksums are of resized images: of runs with
    another image size, the numbers of images are compared instead.

    Args:
        records: at least one.
    """
    records = list(records)
    newest = max(records, key=lambda record: record.started)

    def same(record):
        if record.class_names != newest.class_names or record.val.examples != newest.val.examples:
            return False
        key = "sha256" if record.image_shape == newest.image_shape else "counts"
        return record.source[key] == newest.source[key]

    return [record for record in records if same(record)]


def best_of(records):
    """Of completed Records the one with the best validation accuracy, chosen as by `best_run`."""
    return max(records, key=_rank)


def tie_break(best, records):
    """In words, what decided between Records with the same validation accuracy; "" where no other has it.

    Args:
        best: the Record that was chosen of
        records: Records.
    """
    equal = [record for record in records if record.val.accuracy == best.val.accuracy]
    alike = [record for record in equal if record.val.loss == best.val.loss]
    if len(equal) == 1:
        return ""
    if len(alike) == 1:
        return f"of {len(equal)} with this validation accuracy the one with the smallest validation loss"
    loss = "" if best.val.loss is None else " and loss"
    return f"of {len(alike)} with this validation accuracy{loss} the newest"


def _rank(record):
    # Some heads have no loss, and of a diverged network it is not finite.
    loss = math.inf if record.val.loss is None else record.val.loss
    return record.val.accuracy, -loss, record.started


def network_file(path):
    """A .keras file as it was given; of a folder of runs that of `best_run`.

    Args:
        path: of the file or the folder.

    Raises:
        InputError: if there is neither.
    """
    if Path(path).is_dir():
        return best_run(path).with_suffix(".keras")
    wanted = "the network must be a .keras file that exists, or a folder of runs such as runs/photos"
    require(Path(path).is_file() and Path(path).suffix == ".keras", wanted, str(path))
    return path
