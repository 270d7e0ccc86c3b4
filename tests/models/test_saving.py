"""Saved networks: older versions of Keras must be able to read them."""

import inspect
import json
import zipfile

import keras
import numpy as np
from keras import layers

from kmodels.models.saving import NEWER_ARGUMENTS, load_network, save_network


def names_in(config):
    """All names in a config, at any depth."""
    if isinstance(config, list):
        return set().union(*map(names_in, config)) if config else set()
    return set(config).union(*map(names_in, config.values())) if isinstance(config, dict) else set()


def saved_config(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return json.loads(archive.read("config.json"))


def network(**options):
    image = keras.Input((8, 8, 3))
    inner = keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization(**options)])
    x = layers.Reshape((36, 4))(inner(image))
    x = layers.MultiHeadAttention(1, 2)(x, x)
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


def test_what_older_versions_of_keras_do_not_know_is_left_out(tmp_path):
    original = network()
    path = save_network(original, tmp_path / "network.keras")
    assert not names_in(saved_config(path)) & set(NEWER_ARGUMENTS)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    outputs = [keras.ops.convert_to_numpy(model(images)) for model in (original, load_network(path))]
    np.testing.assert_array_equal(*outputs)


def test_what_a_network_uses_of_newer_versions_is_kept(tmp_path):
    if "renorm" not in inspect.signature(layers.BatchNormalization).parameters:
        return
    path = save_network(network(renorm=True), tmp_path / "network.keras")
    assert names_in(saved_config(path)) >= {"renorm"}
    assert load_network(path).layers[1].layers[-1].renorm


def test_the_defaults_are_those_of_keras():
    for module in (layers, keras.initializers):
        for cls in filter(inspect.isclass, vars(module).values()):
            for name, parameter in inspect.signature(cls).parameters.items():
                if name in NEWER_ARGUMENTS:
                    assert parameter.default == NEWER_ARGUMENTS[name], (cls, name)
