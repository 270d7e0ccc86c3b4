"""Cross entropy."""

import keras
import numpy as np
import pytest

from kmodels.training.losses import CrossEntropy, class_weights


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equal_to_torch(smoothing):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(8, 5)).astype(np.float32) * 10, rng.integers(0, 5, 8)
    expected = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels), label_smoothing=smoothing)
    measured = CrossEntropy(smoothing)(labels, keras.ops.convert_to_tensor(logits))
    assert float(measured) == pytest.approx(float(expected), rel=1e-5)


def test_it_is_finite_where_the_network_is_very_sure():
    logits = np.array([[1000.0, -1000.0], [-1000.0, 1000.0]], np.float32)
    assert float(CrossEntropy()(np.array([0, 1]), logits)) == pytest.approx(0)
    assert float(CrossEntropy()(np.array([1, 0]), logits)) == pytest.approx(2000)


def test_half_precision_logits_are_summed_in_single():
    logits = keras.ops.cast(np.zeros((4, 1000)), "float16")
    assert float(CrossEntropy()(np.zeros(4), logits)) == pytest.approx(np.log(1000), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_classes_are_equal_to_torch(smoothing):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(8, 5)).astype(np.float32) * 3, rng.integers(0, 5, 8)
    weights = np.array([0.1, 1, 2, 0.5, 0], np.float32)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(logits), torch.tensor(labels), torch.tensor(weights), label_smoothing=smoothing
    )
    measured = CrossEntropy(smoothing, class_weight=weights)(labels, keras.ops.convert_to_tensor(logits))
    assert float(measured) == pytest.approx(float(expected), rel=1e-5)


def test_balanced_weights_make_every_class_count_the_same():
    labels = np.repeat([0, 1, 3], [60, 30, 10])
    weights = class_weights("balanced", labels, 4)
    np.testing.assert_allclose(weights[[0, 1, 3]] * [60, 30, 10], 100 / 3, rtol=1e-6)
    assert weights[2] == 0
    assert class_weights(None, labels, 4) is None
    np.testing.assert_array_equal(class_weights((1, 2, 3, 4), labels, 4), [1, 2, 3, 4])
