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
    both = np.concatenate([labels, predictions])
    require(
        len(both) == 0 or (both.min() >= 0 and both.max() < num_classes),
        f"labels and predictions must be 0 to {num_classes - 1}",
        None if len(both) == 0 else (int(both.min()), int(both.max())),
    )
    cells = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def per_class_accuracy(matrix):
    """For each class the fraction of its images that were recognised; None for a class without images."""
    matrix = np.asarray(matrix)
    return [
        float(right / total) if total else None
        for right, total in zip(np.diag(matrix), matrix.sum(axis=1), strict=True)
    ]
