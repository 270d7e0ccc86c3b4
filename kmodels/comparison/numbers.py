"""The difference of two test accuracies with its interval: the fields of a Comparison, as a dict."""

import numpy as np

from kmodels.analysis import intervals
from kmodels.comparison.sides import same_data
from kmodels.records.predictions import read_predictions
from kmodels.records.summaries import paired_differences


def over_seeds(a, b):
    """Over the seeds of both; None where these have no spread."""
    numbers = [[record.test.accuracy for record in summary.records] for summary in (b, a)]
    method = f"Welch's t over {len(a.records)} and {len(b.records)} seeds"
    differences = paired_differences(b.records, a.records, lambda record: record.test.accuracy)
    if len(differences) > 1 and same_data(a, b):
        numbers = [differences]
        method = f"Student's t over {len(differences)} pairs of runs that share a network"
    if not intervals.has_spread(numbers):
        return None
    low, high = intervals.t_interval(numbers)
    images = " and ".join(dict.fromkeys(f"{one.records[0].test.examples:,}" for one in (a, b)))
    note = f"This is about training with other seeds, judged on these {images} test images, not about other images."
    needed = intervals.runs_needed(numbers)
    difference = intervals.mean_difference(numbers)
    return {"difference": difference, "low": low, "high": high, "method": method, "needed": needed, "notes": [note]}


def on_images(a, b, paths):
    """Of one run each, on the test images; paths: {id of a Record: path of its file}."""
    records = [summary.records[0] for summary in (a, b)]
    predictions = [_test_predictions(record, paths[id(record)]) for record in records]
    notes = ["This is about two networks on images like these, not about their settings."]
    if all(predictions) and _same_images(*predictions, same_data(a, b)):
        pairs = intervals.count_pairs(*(one.predicted == one.labels for one in predictions))
        low, high = intervals.paired_interval(pairs)
        method, needed = "Newcombe's, paired by image", intervals.images_needed(pairs)
        p_value = intervals.mcnemar(pairs)
    else:
        right = [(_right(one), one.test.examples) for one in records]
        low, high = intervals.unpaired_interval(*right)
        method, needed = "Newcombe's, of two sets of images", intervals.unpaired_images_needed(*right)
        pairs = p_value = None
        if same_data(a, b):
            missing = [letter for letter, one in zip("ab", predictions, strict=True) if one is None]
            notes.append(
                f"The images are the same, and image by image the interval would be narrower. There are no "
                f"predictions beside the record of {' and '.join(missing)}: --again (again=True) runs it again."
                if missing
                else "The predictions are not of the same images in the same order."
            )
    return {
        "difference": b.mean - a.mean,
        "low": low,
        "high": high,
        "method": method,
        "needed": needed,
        "pairs": pairs,
        "p_value": p_value,
        "notes": notes,
    }


def _test_predictions(record, path):
    """Predictions of the test images; None where there are none, or not of this run."""
    found = read_predictions(path)
    if found is None:
        return None
    test = found["test"]
    return test if int((test.predicted == test.labels).sum()) == _right(record) else None


def _same_images(one, other, same_data):
    """Whether predictions are of the same images in the same order, by the data or, in other sizes, by the files."""
    known = same_data or (
        one.files is not None and one.folder == other.folder and np.array_equal(one.files, other.files)
    )
    return known and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("index", "labels"))


def _right(record):
    return round(record.test.accuracy * record.test.examples)
