"""Counting right and wrong."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as reference

from kmodels import InputError
from kmodels.analysis import confusion_matrix, per_class_accuracy


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
