"""Counting right and wrong, and whether a network is as often right as it says."""

from dataclasses import dataclass

import numpy as np

from kmodels.errors import require


def confusion_matrix(labels, predictions, num_classes):
    """Counts (num_classes, num_classes): rows are true classes, columns predicted ones.

    Args:
        labels: ints (n,), 0..num_classes-1.
        predictions: ints (n,), 0..num_classes-1.

    Raises:
        InputError: if the two differ in length or hold other values.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    require(
        labels.shape == predictions.shape and labels.ndim == 1,
        "labels and predictions must be one-dimensional and equally long",
        (labels.shape, predictions.shape),
    )
    strange = set(np.concatenate([labels, predictions]).tolist()) - set(range(num_classes))
    require(not strange, f"labels and predictions must be integers from 0 to {num_classes - 1}", sorted(strange))
    matrix = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(matrix, (labels.astype(int), predictions.astype(int)), 1)
    return matrix


def per_class_accuracy(matrix):
    """For each class the fraction of its images that were recognised; None for a class without images."""
    matrix = np.asarray(matrix)
    return [
        float(right / total) if total else None
        for right, total in zip(np.diag(matrix), matrix.sum(axis=1), strict=True)
    ]


def log_softmax(logits):
    """Logarithms of the probabilities, float64 (n, classes), of logits (n, classes)."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Predictions sorted by confidence into bins of equal width between 0 and 1.

    Attributes:
        error: the expected calibration error: the gap between confidence and accuracy in a bin, averaged over the
            predictions; 0 for a network that is right as often as it says, at most 1.
        counts: predictions in each bin.
        confidences: mean confidence in each bin, fraction of 1; None for an empty bin.
        accuracies: fraction of 1 that was right in each bin; None for an empty bin.
    """

    error: float
    counts: tuple[int, ...]
    confidences: tuple[float | None, ...]
    accuracies: tuple[float | None, ...]


def calibration(confidences, right, bins=15):
    """Expected calibration error and the bins of a reliability diagram.

    Args:
        confidences: (n,), the probability of each predicted class, 0..1.
        right: booleans (n,), whether the prediction was.
        bins: how many, of equal width.

    Returns:
        A Calibration; None if a confidence is not a number.

    Raises:
        InputError: if the two differ in length, are empty or a confidence is outside 0..1.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017.
    """
    confidences, right = np.asarray(confidences, np.float64), np.asarray(right, bool)
    require(
        confidences.shape == right.shape and confidences.ndim == 1 and len(right),
        "confidences and right must be one-dimensional, equally long and not empty",
        (confidences.shape, right.shape),
    )
    if np.isnan(confidences).any():
        return None
    require(
        confidences.min() >= 0 and confidences.max() <= 1,
        "confidences must be from 0 to 1",
        (confidences.min(), confidences.max()),
    )
    # Bins are open below and closed above, (0, 1/15], as in the source.
    places = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    sums = {
        "confidences": np.bincount(places, confidences, minlength=bins),
        "accuracies": np.bincount(places, right, minlength=bins),
    }
    gaps = np.abs(sums["confidences"] - sums["accuracies"])
    means = {
        name: tuple(float(total / count) if count else None for total, count in zip(values, counts, strict=True))
        for name, values in sums.items()
    }
    return Calibration(error=float(gaps.sum() / len(right)), counts=tuple(map(int, counts)), **means)
