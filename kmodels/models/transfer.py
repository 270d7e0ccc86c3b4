"""Weights of one network taken over by another, and frozen there."""

from typing import NamedTuple

from kmodels.errors import InputError, few

# What must be equal beside the shapes, or the same weights compute something else.
SETTINGS = ("strides", "padding", "dilation_rate", "groups", "scale", "offset")


class Inherited(NamedTuple):
    """Names of the layers with weights: those taken over, and those that stayed as they were drawn."""

    taken: tuple[str, ...]
    drawn: tuple[str, ...]


def inherit(network, source):
    """Copies the weights of every layer of `source` whose name and shapes `network` has too; returns Inherited.

    Raises:
        InputError: if there is no such layer, or the two scale pixels or step over them differently.
    """
    ours, theirs = _shapes(network), _shapes(source)
    taken = tuple(name for name in ours if ours[name] == theirs.get(name))
    if not taken:
        raise InputError(
            f"no layer of {source.name} fits one of {network.name} in name and shape; "
            f"{source.name} has {few(theirs)}; {network.name} has {few(ours)}"
        )
    for name in (*taken, *({"scale"} & _names(network) & _names(source))):
        mine, other = (_settings(model.get_layer(name)) for model in (network, source))
        if mine != other:
            raise InputError(f"layer {name!r} is another in {source.name}: {other} there, {mine} in {network.name}")
    for name in taken:
        network.get_layer(name).set_weights(source.get_layer(name).get_weights())
    return Inherited(taken, tuple(name for name in ours if name not in taken))


def take_over(network, source, drawn_anew=("logits",)):
    """Copies all weights of `source` into `network` but those of the layers drawn anew.

    Raises:
        InputError: if the two differ in more than these layers; names the first layers that do.
    """
    ours, theirs = _shapes(network), _shapes(source)
    names = [name for name in {**ours, **theirs} if name not in drawn_anew]
    differing = [name for name in names if ours.get(name) != theirs.get(name)]
    if differing:
        raise InputError(f"the weights are of another network than {network.name}: {few(differing)}")
    for name in names:
        network.get_layer(name).set_weights(source.get_layer(name).get_weights())


def freeze(network, trained=("logits",)):
    """Leaves only the named layers to be trained; batch-norm statistics of the others stay as they are, too."""
    for layer in network.layers:
        layer.trainable = layer.name in trained


def _shapes(network):
    """{name: shapes of its weights} of every layer that has weights."""
    return {layer.name: [tuple(weight.shape) for weight in layer.weights] for layer in network.layers if layer.weights}


def _names(network):
    return {layer.name for layer in network.layers}


def _settings(layer):
    return {name: value for name, value in layer.get_config().items() if name in SETTINGS}
