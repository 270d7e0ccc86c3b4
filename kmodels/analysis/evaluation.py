"""How good a classifier is on a split: one Evaluation from labels and logits, or from predicted classes."""

import math
import warnings
from dataclasses import dataclass, field, replace

import numpy as np

from kmodels.analysis.metrics import Calibration, confusion_matrix, log_softmax, per_class_accuracy
from kmodels.analysis.metrics import calibration as calibration_of
from kmodels.errors import require

# Of a network that has diverged, or whose weights are damaged.
NOT_FINITE = "the network's outputs are not finite numbers"
NEVER_FINITE = f"{NOT_FINITE} for any image: its training has diverged, or its weights are damaged"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The outcome of one pass over a split, in inference mode.

    >>> evaluation = evaluate_logits(labels, predict_logits(network, images))
    >>> evaluation.accuracy, evaluation.per_class_accuracy

    Attributes:
        examples: how many images were evaluated: all of the split.
        loss: mean cross entropy without label smoothing, in nats; None if it is not finite, or if the classifier has
            no probabilities.
        accuracy: fraction of 1.
        per_class_accuracy: fraction of 1 for each class; None for a class without images.
        confusion_matrix: counts; rows are true classes, columns predicted ones.
        calibration: how far confidence is from accuracy, in 15 bins; None for a classifier without probabilities, and
            in records older than it.
    """

    examples: int
    loss: float | None
    accuracy: float
    per_class_accuracy: tuple[float | None, ...] = field(repr=False)
    confusion_matrix: tuple[tuple[int, ...], ...] = field(repr=False)
    calibration: Calibration | None = field(default=None, repr=False)


def evaluate_logits(labels, logits):
    """The Evaluation of a network.

    An image whose logits are not finite counts as wrong, see `predicted_classes`; a warning tells how many there are.

    Args:
        labels: ints (n,), 0..classes-1, n at least 1.
        logits: floats (n, classes).

    Returns:
        An Evaluation with loss and calibration, both None if there is such an image.

    Raises:
        InputError: if the two do not fit.
    """
    labels, logits = np.asarray(labels), np.asarray(logits)
    require(logits.ndim == 2, "logits must be (n, classes)", logits.shape)
    rule = "labels must be one-dimensional, and labels and logits equally long"
    require(labels.shape == logits.shape[:1], rule, (labels.shape, logits.shape))
    log_probabilities = log_softmax(logits)
    if lost := int(np.isnan(log_probabilities).any(axis=1).sum()):
        warnings.warn(not_finite(lost, len(labels)), stacklevel=2)
    predictions = predicted_classes(labels, log_probabilities)
    evaluation = evaluate_predictions(labels, predictions, logits.shape[1])
    return replace(
        evaluation,
        loss=finite(-np.mean(log_probabilities[np.arange(len(labels)), labels])),
        calibration=calibration_of(np.exp(log_probabilities.max(axis=1)), predictions == labels),
    )


def predicted_classes(labels, scores):
    """The class of each image with the highest score, ints (n,).

    Without a finite prediction an image is given the class after its own, the first after the last: it counts as wrong,
    and in the row of its class in a confusion matrix.

    Args:
        labels: ints (n,), the true classes.
        scores: floats (n, classes), probabilities or their logarithms; a row with NaN is no prediction.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    return np.where(np.isnan(scores).any(axis=1), wrong_class(labels, scores.shape[1]), scores.argmax(axis=1))


def wrong_class(labels, num_classes):
    """What an image without a finite prediction is counted as, given its class or an array of them."""
    return (labels + 1) % num_classes


def not_finite(lost, total):
    """The warning that so many images of `total` have no finite prediction."""
    return f"{NOT_FINITE} for {lost:,} of {total:,} images; these count as wrong"


def evaluate_predictions(labels, predictions, num_classes, *, loss=None, calibration=None):
    """The Evaluation of predicted classes.

    Args:
        labels: ints (n,), 0..num_classes-1, n at least 1.
        predictions: ints (n,), the same.
        num_classes: how many classes there are.
        loss: mean cross entropy in nats; None for a classifier without probabilities.
        calibration: a Calibration; None, too.

    Returns:
        An Evaluation.

    Raises:
        InputError: if labels and predictions do not fit.
    """
    matrix = confusion_matrix(labels, predictions, num_classes)
    require(len(labels) > 0, "an evaluation needs at least one example", len(labels))
    return Evaluation(
        examples=len(labels),
        loss=loss,
        accuracy=float(np.trace(matrix) / len(labels)),
        per_class_accuracy=tuple(per_class_accuracy(matrix)),
        confusion_matrix=tuple(tuple(map(int, row)) for row in matrix),
        calibration=calibration,
    )


def finite(value):
    """The value as a float; None where it is not a finite number, which strict JSON cannot hold."""
    return float(value) if math.isfinite(value) else None
