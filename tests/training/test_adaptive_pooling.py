"""Adaptive average pooling by slices: the values of Keras' own, in a trainer where results are to repeat."""

import keras
import numpy as np
import pytest

from kmodels import Experiment, build_model
from kmodels.training import trainer
from kmodels.training.adaptive_pooling import pool_by_slices


@pytest.mark.parametrize("size", [3, (2, 9), 1])
def test_values_and_what_is_saved_are_keras_own(size):
    layer = keras.layers.AdaptiveAveragePooling2D(size)
    image = keras.Input((7, 8, 3))
    network = keras.Model(image, layer(image))
    images = np.random.default_rng(0).normal(size=(2, 7, 8, 3)).astype(np.float32)
    config, expected = network.get_config(), keras.ops.convert_to_numpy(network(images))
    pool_by_slices(network)
    assert not hasattr(layer.call, "__self__")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(network(images)), expected, atol=1e-6)
    assert network.get_config() == config


def test_on_torch_a_trainer_pools_so_where_results_are_to_repeat(monkeypatch, backend):
    if backend != "torch":
        pytest.skip("JAX does always, TensorFlow's own repeats")
    for asked in (False, True):
        monkeypatch.setattr(trainer, "deterministic", lambda asked=asked: asked)
        network = build_model("alexnet", (71, 71, 3), 3)
        trainer.build_trainer(Experiment(name="tests/pool", model="alexnet"), network, 0)
        assert hasattr(network.get_layer("adaptive_pool").call, "__self__") != asked
