"""Weights of one network transferred to another, and frozen there."""

from typing import NamedTuple

import keras

from kmodels.errors import InputError, shorten

# What must be equal beside the shapes, or the same weights compute something else.
SETTINGS = ("strides", "padding", "dilation_rate", "groups", "scale", "offset")


class Transferred(NamedTuple):
    """Names of a network's layers with weights, after `transfer_weights`.

    >>> transferred, initialised = transfer_weights(network, source)

    Attributes:
        transferred: layers that have the weights of the source.
        initialised: layers that kept their initial weights.
    """

    transferred: tuple[str, ...]
    initialised: tuple[str, ...]


def transfer_weights(network, source):
    """Copies the weights of every layer of `source` whose name and shapes `network` has too.

    Args:
        network: a keras.Model, changed in place.
        source: a keras.Model, left as it is.

    Returns:
        A Transferred.

    Raises:
        InputError: if there is no such layer, or the two scale pixels or step over them differently.
    """
    ours, theirs = _shapes(network), _shapes(source)
    transferred = tuple(name for name in ours if ours[name] == theirs.get(name))
    if not transferred:
        raise InputError(
            f"no layer of {source.name} fits one of {network.name} in name and shape; "
            f"{source.name} has {shorten(theirs)}; {network.name} has {shorten(ours)}"
        )
    for name in (*transferred, *({"scale"} & _names(network) & _names(source))):
        mine, other = (_settings(model.get_layer(name)) for model in (network, source))
        if mine != other:
            raise InputError(f"layer {name!r} differs: {other} in {source.name}, {mine} in {network.name}")
    for name in transferred:
        network.get_layer(name).set_weights(source.get_layer(name).get_weights())
    return Transferred(transferred, tuple(name for name in ours if name not in transferred))


def copy_weights(network, source, initialised=("logits",)):
    """Copies all weights of `source` into `network`, but those of some layers.

    Args:
        network: a keras.Model, changed in place.
        source: a keras.Model with the same layers, left as it is.
        initialised: names of the layers that keep their initial weights.

    Raises:
        InputError: if the two differ in more than these layers; names the first layers that do.
    """
    ours, theirs = _shapes(network), _shapes(source)
    names = [name for name in {**ours, **theirs} if name not in initialised]
    differing = [name for name in names if ours.get(name) != theirs.get(name)]
    if differing:
        raise InputError(f"the weights are of another network than {network.name}: {shorten(differing)}")
    for name in names:
        network.get_layer(name).set_weights(source.get_layer(name).get_weights())


def freeze(network, trained=("logits",)):
    """Freezes all but some layers; batch-norm statistics of frozen layers stay as they are, too.

    Args:
        network: a keras.Model, changed in place.
        trained: names of the layers that are trained.
    """
    for layer in network.layers:
        layer.trainable = layer.name in trained


def freeze_batch_norm(network):
    """Freezes all batch norms, their statistics too: with few images, those of a batch say little.

    Args:
        network: a keras.Model, changed in place.
    """
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _shapes(network):
    """{name: shapes of its weights} of every layer that has weights."""
    return {layer.name: [tuple(weight.shape) for weight in layer.weights] for layer in network.layers if layer.weights}


def _names(network):
    return {layer.name for layer in network.layers}


def _settings(layer):
    return {name: value for name, value in layer.get_config().items() if name in SETTINGS}
