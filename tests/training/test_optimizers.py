"""Optimizers: the same weights as PyTorch's after several steps."""

import keras
import numpy as np
import pytest

from kmodels import InputError
from kmodels.experiment import OPTIMIZERS
from kmodels.training.optimizers import build_optimizer

CASES = [
    ("adam", {}),
    ("adam", {"weight_decay": 0.1}),
    ("adamw", {}),
    ("adamw", {"weight_decay": 0.3}),
    ("sgd", {}),
    ("sgd", {"momentum": 0.9, "weight_decay": 0.1}),
    ("rmsprop", {}),
    ("rmsprop", {"momentum": 0.9, "weight_decay": 0.1}),
    ("adagrad", {}),
    ("adagrad", {"weight_decay": 0.1}),
]


def gradients():
    """Six gradients of ten weights, over many magnitudes and with exact zeros."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 10)) * 10.0 ** rng.integers(-9, 2, (6, 10))
    values[:, 0] = 0
    return values.astype(np.float32)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_equal_to_torch_also_after_the_rate_changes(name, settings):
    torch = pytest.importorskip("torch")
    start = np.linspace(-1, 1, 10).astype(np.float32)
    ours = keras.Variable(start)
    optimizer = build_optimizer(name, 0.01, **settings)
    optimizer.build([ours])
    theirs = torch.nn.Parameter(torch.tensor(start))
    classes = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop", "adagrad": "Adagrad"}
    reference = getattr(torch.optim, classes[name])([theirs], lr=0.01, **settings)
    for step, gradient in enumerate(gradients()):
        if step == 3:
            optimizer.learning_rate = 0.001
            reference.param_groups[0]["lr"] = 0.001
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [ours])
        theirs.grad = torch.tensor(gradient)
        reference.step()
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(ours), theirs.detach().cpu().numpy(), atol=1e-6, err_msg=f"step {step}"
        )
    assert np.abs(keras.ops.convert_to_numpy(ours) - start).max() > 1e-3


def test_a_gradient_may_lie_in_memory_in_another_order():
    # As that of a convolution on PyTorch: its numbers are another row of the same memory.
    gradient = np.arange(6, dtype=np.float32).reshape(2, 3) + 1
    turned = keras.ops.transpose(keras.ops.convert_to_tensor(np.ascontiguousarray(gradient.T)))
    results = []
    for given in (gradient, turned):
        weights = keras.Variable(np.zeros((2, 3), np.float32))
        optimizer = build_optimizer("adam", 0.1, weight_decay=0.1)
        optimizer.build([weights])
        for _ in range(2):
            optimizer.apply([keras.ops.multiply(given, weights + 1.0)], [weights])
        results.append(keras.ops.convert_to_numpy(weights))
    np.testing.assert_allclose(*results, atol=1e-7)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_saved_and_loaded_it_has_the_same_settings(name):
    optimizer = build_optimizer(name, 0.02, weight_decay=0.1)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()
    assert type(again) is type(optimizer)


def test_an_unknown_optimizer_offers_the_nearest():
    with pytest.raises(InputError, match="unknown optimizer 'adamm'; did you mean adam"):
        build_optimizer("adamm", 0.1)
