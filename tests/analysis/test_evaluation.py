"""Evaluations: of logits and of predicted classes."""

import numpy as np
import pytest

from kmodels import InputError
from kmodels.analysis import evaluate_logits, evaluate_predictions


def test_of_logits_by_hand():
    logits = np.log([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3]])
    evaluation = evaluate_logits([0, 1, 0], logits)
    assert (evaluation.examples, evaluation.accuracy) == (3, 2 / 3)
    assert evaluation.loss == pytest.approx(-np.log([0.7, 0.5, 0.1]).mean())
    assert evaluation.per_class_accuracy == (0.5, 1.0, None)
    assert evaluation.confusion_matrix == ((1, 1, 0), (0, 1, 0), (0, 0, 0))
    assert sum(evaluation.calibration.counts) == 3


def test_without_probabilities_there_is_no_loss():
    evaluation = evaluate_predictions([0, 1, 0], [0, 1, 1], 3)
    assert (evaluation.loss, evaluation.calibration) == (None, None)
    assert evaluation.confusion_matrix == evaluate_logits([0, 1, 0], np.eye(3)[[0, 1, 1]]).confusion_matrix


def test_an_image_without_finite_logits_is_wrong_whatever_its_class_and_that_is_said():
    nan, inf = float("nan"), float("inf")
    logits = [[0.0, nan, 0.0], [nan, nan, nan], [0.0, 1.0, 0.0], [inf, 0.0, 0.0], [-inf, 0.0, 1.0]]
    with pytest.warns(UserWarning, match="not finite numbers for 3 of 5 images; these count as wrong"):
        evaluation = evaluate_logits([0, 2, 1, 0, 2], logits)
    assert evaluation.accuracy == 2 / 5
    assert evaluation.per_class_accuracy == (0.0, 1.0, 0.5)
    assert np.sum(evaluation.confusion_matrix) == 5
    assert (evaluation.loss, evaluation.calibration) == (None, None)


def test_an_infinite_loss_is_none():
    evaluation = evaluate_logits([0, 1], [[-float("inf"), 0.0], [0.0, 1.0]])
    assert (evaluation.loss, evaluation.accuracy) == (None, 0.5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="must be integers from 0 to 2"):
        evaluate_logits([3], np.eye(3)[:1])
    with pytest.raises(InputError, match=r"logits must be \(n, classes\)"):
        evaluate_logits([0], np.zeros(3))
    with pytest.raises(InputError, match="equally long"):
        evaluate_logits([0, 1], np.eye(3))
    with pytest.raises(InputError, match="at least one example"):
        evaluate_predictions([], [], 3)
