"""The graph of a network: its inputs, its layers, and the calls that it is made of."""

from functools import cache
from typing import Any, NamedTuple

import keras
from keras import layers

from kmodels.errors import require


def require_model(network, name="network"):
    """Raises InputError if this is no keras.Model, or one that has not been built; `name` is that of the argument."""
    require(isinstance(network, keras.Model), f"{name} must be a keras.Model", network)
    require(
        network.built,
        "the network has no weights yet: call it once on a batch of images, or begin it with keras.Input(shape), as in "
        "keras.Sequential([keras.Input(shape), network])",
        network.name,
    )


def has_graph(network):
    """Whether a network is functional or Sequential, without a `call` of its own: its graph is all that it computes."""
    stock = type(network).call in (keras.Sequential.call, _functional().call)
    return stock and getattr(network, "inputs", None) is not None


@cache
def _functional():
    pixel = keras.Input((1,))
    return type(keras.Model(pixel, layers.Identity()(pixel)))


def inputs_of(network):
    """The symbolic inputs of a network with a graph, as its builder arranged them: a tensor, or a list or dict."""
    # `input` of a Sequential network is that of its first call as a layer.
    return network.inputs[0] if isinstance(network, keras.Sequential) else network.input


def all_layers(network):
    """Every layer, nested model and, in a functional model, operation between layers (a sum, say), each once."""
    found = {}
    for layer in getattr(network, "operations", network.layers):
        if isinstance(layer, keras.Model):
            found.update(dict.fromkeys(all_layers(layer)))
        if not isinstance(layer, keras.layers.InputLayer):
            found[layer] = None
    return list(found)


def layers_within(layer):
    """The layer, then every layer inside it at any depth, each once, in the order in which their models have them.

    Unlike `all_layers`, it enters layers that are no models, too: those of the user, and Bidirectional for instance.
    """
    found = {layer: None}
    # Keras' own recursion has the layers of a nested model in reverse.
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        found.update(dict.fromkeys(layers_within(inner)))
    return list(found)


class Call(NamedTuple):
    """A call of a layer or operation in the graph of a network."""

    operation: Any
    arguments: tuple
    options: dict

    @property
    def input(self):
        return next(iter((*self.arguments, *self.options.values())))

    def on(self, tensor):
        """The same call on another tensor."""
        if self.arguments:
            return self.operation(tensor, *self.arguments[1:], **self.options)
        return self.operation(**{**self.options, next(iter(self.options)): tensor})


def copy_of_graph(network):
    """The inputs and the output of a copy of the network's graph, and {id of a tensor there: the Call it comes from}.

    In a copy, because `layer.input` is that of the layer's first call, which may be in another network.
    """
    calls = {}

    def call(layer, *arguments, **options):
        outputs = layer(*arguments, **options)
        for tensor in keras.tree.flatten(outputs):
            calls[id(tensor)] = Call(layer, arguments, options)
        return outputs

    # An uncompiled network of the same layers: of a compiled one, the copy would have an optimizer too.
    graph = keras.Model(inputs_of(network), network.outputs[0])
    copy = keras.models.clone_model(graph, clone_function=lambda layer: layer, call_function=call)
    return inputs_of(copy), copy.outputs[0], calls
