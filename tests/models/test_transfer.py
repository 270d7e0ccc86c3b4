"""Weights of one network transferred to another."""

import keras
import numpy as np
import pytest

from kmodels import InputError, build_model
from kmodels.models.graph import layers_within
from kmodels.models.transfer import freeze, freeze_batch_norm, transfer_weights


def weights(network, name):
    return [keras.ops.convert_to_numpy(weight) for weight in network.get_layer(name).weights]


def test_what_fits_in_name_and_shape_is_transferred_and_the_rest_keeps_its_initial_weights():
    source, network = build_model("conv_net", (32, 32, 3), 10), build_model("conv_net", (40, 40, 3), 4)
    before = weights(network, "dense1")
    transferred, initialised = transfer_weights(network, source)
    assert transferred == ("conv1", "conv2", "dense2")
    assert initialised == ("dense1", "logits")
    for name in transferred:
        for ours, theirs in zip(weights(network, name), weights(source, name), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for ours, old in zip(weights(network, "dense1"), before, strict=True):
        np.testing.assert_array_equal(ours, old)


def unnamed(convolutions=4):
    """A network whose layers have the names that Keras gives."""
    image = x = keras.Input((8, 8, 3))
    for _ in range(convolutions):
        x = keras.layers.Conv2D(3, 3, padding="same")(x)
    x = keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, keras.layers.Dense(2, name="logits")(x))


@pytest.mark.parametrize("before", [0, 1, 2, 5])
def test_names_that_keras_gave_are_counted_within_the_network(before):
    source = unnamed()
    for layer in source.layers:
        layer.set_weights([np.random.default_rng(0).normal(size=weight.shape) for weight in layer.weights])
    if before:
        unnamed(before)
    network = unnamed()
    transferred, initialised = transfer_weights(network, source)
    assert (len(transferred), initialised) == (6, ())
    for ours, theirs in zip(network.weights, source.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs))


def test_names_that_were_given_are_never_counted():
    def network(*names):
        image = x = keras.Input((4,))
        for name in names:
            x = keras.layers.Dense(4, name=name)(x)
        return keras.Model(image, x)

    assert transfer_weights(network("dense_0", None), network("dense_0", None))[0][0] == "dense_0"
    assert transfer_weights(network("b1", "b2", "b4"), network("b2", "b3", "b4")) == (("b2", "b4"), ("b1",))


def test_nothing_that_fits_names_both():
    source, network = build_model("mlp", (16, 16, 3), 3), build_model("conv_net", (16, 16, 3), 4)
    with pytest.raises(
        InputError, match=r"no layer of mlp fits one of conv_net .* mlp has dense1, .* conv_net has conv1"
    ):
        transfer_weights(network, source)


def test_layers_that_compute_something_else_with_the_same_weights_are_refused():
    source = build_model("model1", (32, 32, 3), 3)

    def copy(layer):
        changed = {"strides": (2, 2), "padding": "valid"} if layer.name == "conv2" else {}
        return type(layer).from_config({**layer.get_config(), **changed})

    with pytest.raises(InputError, match=r"layer 'conv2' differs: .*'strides': \(2, 2\).* in model1"):
        transfer_weights(source, keras.models.clone_model(source, clone_function=copy))
    networks = [scaled(keras.layers.BatchNormalization(epsilon=epsilon, name="norm")) for epsilon in (1e-3, 1e-5)]
    with pytest.raises(InputError, match=r"layer 'norm' differs: .*'epsilon': 1e-05.*'epsilon': 0\.001"):
        transfer_weights(*networks)


def scaled(*layers):
    """A network with these layers before its convolution."""
    x = image = keras.Input((8, 8, 3))
    for layer in layers:
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="conv")(x))
    return keras.Model(image, keras.layers.Dense(2, name="logits")(x))


class Block(keras.layers.Layer):
    """A batch norm inside a layer that is no model."""

    def __init__(self):
        super().__init__()
        self.norm = keras.layers.BatchNormalization()

    def call(self, x):
        return self.norm(x)


def backbone(*layers):
    return keras.Sequential([keras.Input((8, 8, 3)), *layers], name="backbone")


def test_networks_that_scale_pixels_differently_are_refused_whatever_the_layer_is_called():
    ours, theirs = keras.layers.Rescaling(1 / 255, -0.0, name="scale"), keras.layers.Rescaling(1 / 255)
    assert transfer_weights(scaled(ours), scaled(theirs)).transferred == ("conv", "logits")
    with pytest.raises(InputError, match=r"the networks scale pixels differently; .* none in .*0\.00392"):
        transfer_weights(scaled(ours), scaled())
    with pytest.raises(InputError, match=r"the networks scale pixels differently; .*0\.00392.* none in"):
        transfer_weights(scaled(), scaled(theirs))
    with pytest.raises(InputError, match="the networks scale pixels differently"):
        transfer_weights(scaled(ours), scaled(keras.layers.Rescaling(1 / 127.5, -1)))


def test_what_a_nested_network_computes_with_its_weights_is_compared_too():
    rescaling = keras.layers.Rescaling
    assert transfer_weights(scaled(backbone(rescaling(1 / 255))), scaled(rescaling(1 / 255))).transferred
    with pytest.raises(InputError, match=r"the networks scale pixels differently; .* none in .*0\.00392"):
        transfer_weights(scaled(backbone(rescaling(1 / 255))), scaled())
    networks = [
        scaled(backbone(keras.layers.Conv2D(3, 3, strides=strides, name="inner"))) for strides in ((1, 1), (2, 2))
    ]
    with pytest.raises(InputError, match=r"layer 'inner' differs: .*\(2, 2\).*\(1, 1\)"):
        transfer_weights(*networks)
    assert transfer_weights(networks[0], networks[0]).transferred[0] == "backbone"


def test_frozen_layers_are_all_but_the_named_ones():
    network = build_model("conv_net", (16, 16, 3), 4)
    freeze(network, ("dense1",))
    assert {weight.path.split("/")[0] for weight in network.trainable_weights} == {"dense1", "logits"}


def ending(*layers):
    x = image = keras.Input((8, 8, 3))
    for layer in (keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(), *layers):
        x = layer(x)
    return keras.Model(image, x)


def test_the_classifier_trains_where_all_else_is_frozen_whatever_it_is_called_and_wherever_it_is():
    dense = keras.layers.Dense
    for network in (
        ending(dense(2, activation="softmax", name="out")),
        ending(dense(2, name="out"), keras.layers.Softmax()),
        keras.Sequential([keras.Input((8, 8, 3)), ending(dense(3, name="hidden"), dense(2, name="out"))]),
        # What it ends in is no classifier: the name tells.
        ending(dense(2, name="logits"), keras.layers.ReLU(max_value=9)),
    ):
        last = next(layer for layer in layers_within(network) if layer.name in ("out", "logits"))
        freeze(network)
        assert [id(weight) for weight in network.trainable_weights] == [id(weight) for weight in last.weights]


def test_a_network_of_which_nothing_would_train_is_not_frozen():
    with pytest.raises(InputError, match=r"frozen needs a layer to train: .* 'logits'\. Received: 'functional"):
        freeze(ending(dense := keras.layers.Dense(2), keras.layers.BatchNormalization()))
    assert not dense.trainable


@pytest.mark.parametrize(
    "wrapped",
    [lambda norm: norm, lambda norm: backbone(norm), lambda norm: backbone(backbone(norm)), lambda norm: Block()],
    ids=["flat", "nested", "nested twice", "in a layer"],
)
def test_frozen_batch_norms_stay_as_they_are_wherever_they_are(wrapped):
    network = scaled(wrapped(keras.layers.BatchNormalization()))
    trained = len(network.trainable_weights)
    freeze_batch_norm(network)
    assert len(network.trainable_weights) == trained - 2
    before = [keras.ops.convert_to_numpy(weight) for weight in network.non_trainable_weights]
    assert len(before) == 4
    network(np.random.default_rng(0).normal(5, 3, (16, 8, 8, 3)), training=True)
    for old, weight in zip(before, network.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), old)


def test_a_network_without_batch_norms_has_none_to_freeze():
    with pytest.raises(InputError, match=r"frozen_batch_norm needs .* BatchNormalization.*Received: 'mlp'"):
        freeze_batch_norm(build_model("mlp", (8, 8, 3), 2))
