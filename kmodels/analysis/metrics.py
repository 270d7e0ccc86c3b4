"""Counting right and wrong."""

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
