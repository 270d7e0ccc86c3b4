"""Counting right and wrong, and whether a network is as often right as it says."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as reference

from kmodels import InputError
from kmodels.analysis import calibration, confusion_matrix, log_softmax, per_class_accuracy


def test_equal_to_scikit_learn():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 6, (2, 500))
    np.testing.assert_array_equal(
        confusion_matrix(labels, predictions, 6), reference(labels, predictions, labels=range(6))
    )


def test_a_class_without_images_has_no_accuracy():
    matrix = confusion_matrix([0, 0, 2], [0, 1, 2], 3)
    assert per_class_accuracy(matrix) == [0.5, None, 1.0]
    assert per_class_accuracy(confusion_matrix([], [], 2)) == [None, None]


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, 1], [0], "equally long"),
        ([0, 3], [0, 1], "must be integers from 0 to 2. Received"),
        ([0, -1], [0, 1], "must be integers from 0 to 2. Received"),
    ],
)
def test_what_does_not_fit_is_refused(labels, predictions, message):
    with pytest.raises(InputError, match=message):
        confusion_matrix(labels, predictions, 3)


def test_calibration_by_hand():
    measured = calibration([0.95, 0.85, 0.85, 0.2], [True, True, False, False], bins=5)
    assert measured.counts == (1, 0, 0, 0, 3)
    assert measured.confidences == pytest.approx((0.2, None, None, None, 2.65 / 3))
    assert measured.accuracies == pytest.approx((0.0, None, None, None, 2 / 3))
    assert measured.error == pytest.approx((0.2 + 0.65) / 4)


def test_calibration_equals_its_definition():
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.1, 1, 5000)
    right = rng.uniform(size=5000) < confidences**2
    error = 0
    for low in np.arange(15) / 15:
        within = (confidences > low) & (confidences <= low + 1 / 15)
        if within.any():
            error += within.mean() * abs(confidences[within].mean() - right[within].mean())
    assert calibration(confidences, right).error == pytest.approx(error, abs=1e-9)
    assert calibration([1.0, 1.0], [True, True]).error == 0


def test_what_cannot_be_calibrated_is_none_or_refused():
    assert calibration([float("nan"), 0.5], [True, True]) is None
    for confidences, right in (([], []), ([0.5], [True, False])):
        with pytest.raises(InputError, match="must be one-dimensional, equally long and not empty"):
            calibration(confidences, right)
    with pytest.raises(InputError, match="confidences must be from 0 to 1"):
        calibration([1.5], [True])


def test_log_softmax_stands_large_logits():
    logits = np.array([[1000.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(log_softmax(logits), [[0, -1000], np.log([0.5, 0.5])])
