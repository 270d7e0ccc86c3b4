"""A Keras network as the list of its layers, each with those it reads: what a network is rebuilt from elsewhere."""

from typing import NamedTuple

import keras

from kmodels.errors import InputError


class Node(NamedTuple):
    """A layer and the names of the layers whose outputs it takes."""

    layer: keras.layers.Layer
    inputs: tuple[str, ...]


def nodes(network):
    """The layers of a flat functional network in the order of computation, its input layer first.

    Raises:
        InputError: if a layer is used more than once, or has weights that are neither trained nor moving statistics.
    """
    makers = {id(layer.output): layer.name for layer in network.layers}
    found = []
    for layer in network.layers:
        if isinstance(layer, keras.layers.InputLayer):
            found.append(Node(layer, ()))
            continue
        tensors = layer.input if isinstance(layer.input, list) else [layer.input]
        if any(id(tensor) not in makers for tensor in tensors):
            raise InputError(f"layer {layer.name!r} of {network.name} reads a layer that is used more than once")
        if layer.weights and not layer.trainable:
            raise InputError(f"layer {layer.name!r} of {network.name} is frozen; a comparison trains all layers")
        found.append(Node(layer, tuple(makers[id(tensor)] for tensor in tensors)))
    return found


def handler_of(layer, handlers, where):
    """The entry of the first class in `handlers`, {class: entry}, that the layer is an instance of.

    Raises:
        InputError: if there is none; names the layer and what is known.
    """
    for kind, entry in handlers.items():
        if isinstance(layer, kind):
            return entry
    known = ", ".join(kind.__name__ for kind in handlers)
    raise InputError(f"layer {layer.name!r}, a {type(layer).__name__}, has no counterpart in {where}; known: {known}")


def refuse(layer, what):
    """The InputError for a layer of a known class with a setting that its counterpart lacks."""
    return InputError(f"layer {layer.name!r}, a {type(layer).__name__}, has no counterpart with {what}")


def activation_name(layer):
    """ "relu", "linear" and so on: what a layer does to its result."""
    return layer.activation.__name__


def hand_count(network):
    """Floating-point operations of one training step for one image: three times the products and sums of the layers
    with a kernel, since the backward pass computes two tensors where the forward pass computes one."""
    total = 0
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            height, width = layer.output.shape[1:3]
            total += height * width * _size(layer.kernel)
        elif isinstance(layer, keras.layers.Dense):
            total += _size(layer.kernel)
    return 3 * 2 * total


def _size(kernel):
    count = 1
    for side in kernel.shape:
        count *= side
    return count
