"""What a record says of one pass over a split."""

import numpy as np

from kmodels.analysis.metrics import calibration, confusion_matrix, log_softmax, per_class_accuracy
from kmodels.records import Evaluation, finite


def evaluation_of_logits(labels, logits):
    """The Evaluation of logits (n, classes)."""
    log_probabilities = log_softmax(logits)
    predictions = log_probabilities.argmax(axis=1)
    return evaluation(
        labels,
        predictions,
        logits.shape[1],
        loss=finite(-np.mean(log_probabilities[np.arange(len(labels)), labels])),
        calibration=calibration(np.exp(log_probabilities.max(axis=1)), predictions == labels),
    )


def evaluation(labels, predictions, num_classes, *, loss=None, calibration=None):
    """The Evaluation of predicted classes; of a classifier without probabilities loss and calibration are None."""
    matrix = confusion_matrix(labels, predictions, num_classes)
    return Evaluation(
        examples=len(labels),
        loss=loss,
        accuracy=float(np.trace(matrix) / len(labels)),
        per_class_accuracy=tuple(per_class_accuracy(matrix)),
        confusion_matrix=tuple(tuple(map(int, row)) for row in matrix),
        calibration=calibration,
    )
