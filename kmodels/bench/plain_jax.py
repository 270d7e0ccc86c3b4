"""A network of ours as a plain JAX function, as one would write it without Keras.

The layers are read while JAX traces; nothing of Keras is in what it compiles.
"""

import jax.numpy as jnp
import keras

from kmodels.bench.graph import handler_of, nodes
from kmodels.bench.jax_layers import HANDLERS, Pass


def plain_function(network):
    """The network as `apply(weights, moving, images, key=None, training=False) -> (logits, moving)`.

    Args:
        network: a flat functional network whose layers are all in HANDLERS.

    Returns:
        That function, the trainable weights {layer: (array, ...)} and the moving statistics {layer: (mean, variance)}.

    Raises:
        InputError: for a layer without a counterpart here.
    """
    graph = nodes(network)
    steps = [(node, handler_of(node.layer, HANDLERS, "plain JAX")) for node in graph[1:]]
    layers = [node.layer for node in graph if node.layer.weights]
    weights = {layer.name: _arrays(layer.trainable_weights) for layer in layers}
    moving = {layer.name: _arrays(layer.non_trainable_weights) for layer in layers if layer.non_trainable_weights}

    def apply(weights, moving, images, key=None, training=False):
        way = Pass(training, key, dict(moving))
        values = {graph[0].layer.name: images}
        for node, handler in steps:
            layer = node.layer
            inputs = [values[name] for name in node.inputs]
            x = inputs[0] if len(inputs) == 1 else inputs
            values[layer.name] = handler(layer, x, weights.get(layer.name, ()), way)
        return values[graph[-1].layer.name], way.moving

    return apply, weights, moving


def _arrays(variables):
    return tuple(jnp.asarray(keras.ops.convert_to_numpy(variable)) for variable in variables)
