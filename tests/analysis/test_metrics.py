"""Counting right and wrong, and whether a network is as often right as it says."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.metrics import confusion_matrix as reference

from kmodels import InputError
from kmodels.analysis import (
    balanced_accuracy,
    calibration,
    confusion_matrix,
    log_softmax,
    macro_f1,
    per_class_accuracy,
    shot_accuracy,
)


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


def test_means_over_classes_equal_scikit_learn():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 6, (2, 300))
    # Of eight classes 6 and 7 do not occur at all, 5 in predictions only, 0 in labels only.
    labels, predictions = np.where(labels == 5, 4, labels), np.where(predictions == 0, 1, predictions)
    matrix = confusion_matrix(labels, predictions, 8)
    assert macro_f1(matrix) == pytest.approx(f1_score(labels, predictions, average="macro"))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert balanced_accuracy(matrix) == pytest.approx(balanced_accuracy_score(labels, predictions))


def test_means_over_no_classes_are_none():
    nothing = np.zeros((3, 3), int)
    assert balanced_accuracy(nothing) is None
    assert macro_f1(nothing) is None
    assert shot_accuracy(nothing, [500, 50, 5]) == {"many": None, "medium": None, "few": None}


def test_shot_accuracy_groups_classes_by_their_training_images():
    matrix = np.diag([9, 8, 3, 1, 0]) + np.eye(5, k=-1, dtype=int) * [[0], [2], [7], [9], [30]]
    measured = shot_accuracy(matrix, [101, 100, 20, 19, 0])
    assert measured == pytest.approx({"many": 9 / 9, "medium": 11 / 20, "few": 1 / 40})
    assert shot_accuracy(matrix, [500] * 5)["few"] is None
    assert shot_accuracy(matrix, [5, 4, 3, 2, 1], many=3, few=3) == pytest.approx(
        {"many": 17 / 19, "medium": 3 / 10, "few": 1 / 40}
    )


def test_means_refuse_what_does_not_fit():
    for function in (balanced_accuracy, macro_f1):
        with pytest.raises(InputError, match="matrix must be square"):
            function(np.zeros((2, 3)))
    with pytest.raises(InputError, match="train_counts must be 2 numbers, one per class"):
        shot_accuracy(np.eye(2), [1, 2, 3])
    with pytest.raises(InputError, match="many must be at least few"):
        shot_accuracy(np.eye(2), [1, 2], many=10, few=20)


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
