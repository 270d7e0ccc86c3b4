"""Weights of one network transferred to another, and frozen there."""

import re
from typing import NamedTuple

import keras
import numpy as np

from kmodels.errors import InputError, require, shorten
from kmodels.models.graph import all_layers, layers_within
from kmodels.models.logits import last_dense

# What must be equal beside the shapes, or the same weights compute something else.
SETTINGS = ("strides", "padding", "dilation_rate", "groups", "epsilon")


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
        InputError: if there is no such layer, one computes something else with the same weights, or the two networks
            scale pixels differently.
    """
    ours, theirs = _by_key(network), _by_key(source)
    shared = [key for key in ours if key in theirs]
    transferred = [key for key in shared if ours[key].weights and _shapes(ours[key]) == _shapes(theirs[key])]
    if not transferred:
        raise InputError(
            f"no layer of {source.name} fits one of {network.name} in name and shape; "
            f"{source.name} has {shorten(_with_weights(source))}; {network.name} has {shorten(_with_weights(network))}"
        )
    mine, other = _scaling(network), _scaling(source)
    if mine != other:
        raise InputError(
            "the networks scale pixels differently; scale and offset of their Rescaling layers: "
            f"{other or 'none'} in {source.name}, {mine or 'none'} in {network.name}"
        )
    for key in transferred:
        for layer, like in zip(_computing(ours[key]), _computing(theirs[key]), strict=False):
            mine, other = _settings(layer), _settings(like)
            if mine != other:
                raise InputError(f"layer {layer.name!r} differs: {other} in {source.name}, {mine} in {network.name}")
    for key in transferred:
        ours[key].set_weights(theirs[key].get_weights())
    names = tuple(ours[key].name for key in transferred)
    return Transferred(names, tuple(name for name in _with_weights(network) if name not in names))


def copy_weights(network, source):
    """Copies all weights of `source` into `network`, but those of the classifier, the layer "logits".

    Args:
        network: a keras.Model, changed in place.
        source: a keras.Model with the same layers, left as it is.

    Raises:
        InputError: if the two differ in more than the classifier; names the first layers that do.
    """
    ours, theirs = _with_weights(network), _with_weights(source)
    names = [name for name in {**ours, **theirs} if name != "logits"]
    differing = [name for name in names if ours.get(name) != theirs.get(name)]
    if differing:
        raise InputError(f"the weights are of another network than {network.name}: {shorten(differing)}")
    for name in names:
        network.get_layer(name).set_weights(source.get_layer(name).get_weights())


def freeze(network, trained=()):
    """Freezes all but the classifier and some layers; batch-norm statistics of frozen layers stay as they are, too.

    The classifier is the Dense layer that the network ends in, also inside a nested model, or else the layer "logits".

    Args:
        network: a keras.Model, changed in place.
        trained: names of further layers that are trained.

    Raises:
        InputError: if no layer is left to train.
    """
    classifier = last_dense(network)
    _freeze(network, trained if classifier else (*trained, "logits"), classifier and classifier.layer)
    rule = "frozen needs a layer to train: a newly initialised one, a Dense layer at the end, or one called 'logits'"
    require(network.trainable_weights, rule, network.name)


def _freeze(network, trained, classifier):
    for layer in network.layers:
        layer.trainable = layer is classifier or layer.name in trained
        if not layer.trainable and isinstance(layer, keras.Model) and classifier in all_layers(layer):
            layer.trainable = True
            _freeze(layer, (), classifier)


def freeze_batch_norm(network):
    """Freezes all batch norms, their statistics too: with few images, those of a batch say little.

    Args:
        network: a keras.Model, changed in place, with those of its nested models.

    Raises:
        InputError: if it has none.
    """
    norms = [layer for layer in layers_within(network) if isinstance(layer, keras.layers.BatchNormalization)]
    require(norms, "frozen_batch_norm needs a network with BatchNormalization layers", network.name)
    for layer in norms:
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


def _scaling(network):
    """(scale, offset) of every Rescaling layer, each as a list of numbers, whatever the layer is called."""
    rescaling = [layer for layer in layers_within(network) if isinstance(layer, keras.layers.Rescaling)]
    return [(np.ravel(layer.scale).tolist(), np.ravel(layer.offset).tolist()) for layer in rescaling]


def _computing(layer):
    """The layers with weights inside a nested model; any other layer itself."""
    if not isinstance(layer, keras.Model):
        return [layer]
    return [one for one in all_layers(layer) if not isinstance(one, keras.Model) and getattr(one, "weights", ())]


def _settings(layer):
    return {name: value for name, value in layer.get_config().items() if name in SETTINGS}
