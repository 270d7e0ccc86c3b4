"""Weights of one network transferred to another, and frozen there."""

import re
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

    Names that Keras gave, as conv2d_4, count the layers of the process. They are counted from the first of their kind
    in each of the two networks instead, so that it does not matter what was built before.

    Args:
        network: a keras.Model, changed in place.
        source: a keras.Model, left as it is.

    Returns:
        A Transferred.

    Raises:
        InputError: if there is no such layer, or the two scale pixels or step over them differently.
    """
    ours, theirs = _by_key(network), _by_key(source)
    shared = [key for key in ours if key in theirs]
    transferred = [key for key in shared if ours[key].weights and _shapes(ours[key]) == _shapes(theirs[key])]
    if not transferred:
        raise InputError(
            f"no layer of {source.name} fits one of {network.name} in name and shape; "
            f"{source.name} has {shorten(_with_weights(source))}; {network.name} has {shorten(_with_weights(network))}"
        )
    for key in (*transferred, *({"scale"} & set(shared))):
        mine, other = _settings(ours[key]), _settings(theirs[key])
        if mine != other:
            raise InputError(f"layer {ours[key].name!r} differs: {other} in {source.name}, {mine} in {network.name}")
    for key in transferred:
        ours[key].set_weights(theirs[key].get_weights())
    names = tuple(ours[key].name for key in transferred)
    return Transferred(names, tuple(name for name in _with_weights(network) if name not in names))


def copy_weights(network, source, initialised=("logits",)):
    """Copies all weights of `source` into `network`, but those of some layers.

    Args:
        network: a keras.Model, changed in place.
        source: a keras.Model with the same layers, left as it is.
        initialised: names of the layers that keep their initial weights.

    Raises:
        InputError: if the two differ in more than these layers; names the first layers that do.
    """
    ours, theirs = _with_weights(network), _with_weights(source)
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


def _with_weights(network):
    """{name: shapes of its weights} of every layer that has weights."""
    return {layer.name: _shapes(layer) for layer in network.layers if layer.weights}


def _shapes(layer):
    return [tuple(weight.shape) for weight in layer.weights]


def _by_key(network):
    """{key: layer}: a key is the layer's name or, where Keras gave that, (kind, number from the first of the kind)."""
    automatic = {}
    for layer in network.layers:
        kind, number = re.fullmatch(r"(.+?)(?:_([1-9]\d*))?", layer.name).groups()
        # Keras writes the name of the class in snake case.
        if kind.replace("_", "") == type(layer).__name__.replace("_", "").lower():
            automatic[layer.name] = kind, int(number or 0)
    first = {}
    for kind, number in automatic.values():
        first[kind] = min(number, first.get(kind, number))

    def key(name):
        if name not in automatic:
            return name
        kind, number = automatic[name]
        return kind, number - first[kind]

    return {key(layer.name): layer for layer in network.layers}


def _settings(layer):
    return {name: value for name, value in layer.get_config().items() if name in SETTINGS}
