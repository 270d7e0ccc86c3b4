"""Scores of predictions by class, and whether a network's confidence is its accuracy."""

from dataclasses import dataclass

import numpy as np

from kmodels.errors import require


def confusion_matrix(labels, predictions, num_classes):
    """Counts (num_classes, num_classes): rows are true classes, columns predicted ones.

    Args:
        labels: ints (n,), 0..num_classes-1.
        predictions: ints (n,), 0..num_classes-1.
        num_classes: how many classes there are.

    Returns:
        An int64 array.

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


def balanced_accuracy(matrix):
    """The mean of the classes' accuracies, over the classes that have images; None where none has.

    Args:
        matrix: a confusion matrix, counts (classes, classes), rows true.

    Raises:
        InputError: if the matrix is not square.
    """
    return _mean([accuracy for accuracy in per_class_accuracy(_square(matrix)) if accuracy is not None])


def macro_f1(matrix):
    """The mean of the classes' F1 scores, over the classes that occur in the truth or among the predictions.

    F1 is 2 * right / (images of the class + predictions of the class). None for a matrix without counts.

    Args:
        matrix: a confusion matrix, counts (classes, classes), rows true.

    Raises:
        InputError: if the matrix is not square.
    """
    matrix = _square(matrix)
    both = matrix.sum(axis=0) + matrix.sum(axis=1)
    return _mean([2 * right / total for right, total in zip(np.diag(matrix), both, strict=True) if total])


def shot_accuracy(matrix, train_counts, many=100, few=20):
    """The fraction of test images recognised among classes with many, medium and few training images.

    Args:
        matrix: the confusion matrix of the test images, counts (classes, classes), rows true.
        train_counts: training images of each class.
        many: classes with more than that are "many".
        few: classes with fewer than that are "few"; those between, both numbers included, are "medium".

    Returns:
        {"many": .., "medium": .., "few": ..}, fractions of 1; None for a group without classes or test images.

    Raises:
        InputError: if the matrix is not square, train_counts is not one number per class, or many is less than few.

    Source: Liu et al., Large-Scale Long-Tailed Recognition in an Open World, 2019.
    """
    matrix, counts = _square(matrix), np.asarray(train_counts)
    require(counts.shape == (len(matrix),), f"train_counts must be {len(matrix)} numbers, one per class", counts.shape)
    require(many >= few, "many must be at least few", (many, few))
    groups = {"many": counts > many, "medium": (counts <= many) & (counts >= few), "few": counts < few}
    right, totals = np.diag(matrix), matrix.sum(axis=1)
    return {
        name: float(right[group].sum() / totals[group].sum()) if totals[group].sum() else None
        for name, group in groups.items()
    }


def _square(matrix):
    matrix = np.asarray(matrix)
    require(matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1], "matrix must be square", matrix.shape)
    return matrix


def _mean(numbers):
    return float(np.mean(numbers)) if numbers else None


def accuracy_interval(right, total):
    """Wilson's 95 % interval of an accuracy, fractions of 1, of so many right predictions among so many."""
    # It takes half a second to import.
    from scipy.stats import binomtest

    return tuple(binomtest(right, total).proportion_ci(method="wilson"))


def log_softmax(logits):
    """Logarithms of the probabilities, float64 (n, classes), of logits (n, classes), in nats."""
    logits = np.asarray(logits, np.float64)
    # As scipy.special.log_softmax, which takes an eighth of a second to import.
    # What is not finite gives NaN.
    with np.errstate(invalid="ignore"):
        return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Predictions sorted by confidence into bins of equal width between 0 and 1.

    Attributes:
        error: the expected calibration error: the gap between confidence and accuracy in a bin, averaged over the
            predictions; 0 for a perfectly calibrated network, at most 1.
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
        right: booleans (n,), whether each prediction was right.
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
    indices = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(indices, minlength=bins)
    sums = {
        "confidences": np.bincount(indices, confidences, minlength=bins),
        "accuracies": np.bincount(indices, right, minlength=bins),
    }
    gaps = np.abs(sums["confidences"] - sums["accuracies"])
    means = {
        name: tuple(float(total / count) if count else None for total, count in zip(values, counts, strict=True))
        for name, values in sums.items()
    }
    return Calibration(error=float(gaps.sum() / len(right)), counts=tuple(map(int, counts)), **means)
