"""A Keras network as the list of its layers: what the hand-written networks are made from."""

import keras
from keras import layers

from kmodels.errors import InputError

# The layers that hand-written networks know, and the settings that they must have: {layer: {setting: values}}.
LINEAR, LAST = {"activation": ["linear"]}, {"data_format": ["channels_last"]}
KNOWN = {
    layers.InputLayer: {},
    layers.Rescaling: {},
    layers.Conv2D: {**LINEAR, **LAST, "groups": [1], "dilation_rate": [(1, 1)]},
    layers.Dense: LINEAR,
    layers.BatchNormalization: {"axis": [-1], "scale": [True], "center": [True]},
    layers.ReLU: {"max_value": [None], "negative_slope": [0], "threshold": [0]},
    layers.MaxPooling2D: {**LAST, "padding": ["valid"]},
    layers.AveragePooling2D: {**LAST, "padding": ["valid"]},
    layers.GlobalAveragePooling2D: {**LAST, "keepdims": [False]},
    layers.ZeroPadding2D: LAST,
    layers.Flatten: LAST,
    layers.Dropout: {"noise_shape": [None]},
    layers.Add: {},
    layers.Concatenate: {"axis": [-1]},
}


def nodes(network):
    """The layers of a network in the order of computation, its input layer first.

    Each in a pair (layer, names of the layers whose outputs it takes; of the input layer its own).

    Args:
        network: a functional or Sequential keras.Model.

    Raises:
        InputError: for a layer that is not in KNOWN, has other settings, is used more than once or is frozen; and for
            a network without a graph of layers.
    """
    if not hasattr(network, "inputs"):
        raise InputError(f"network {network.name!r} has no graph of layers, which the hand-written networks need")
    # That of a Sequential has its input layer, too.
    network = keras.Model(network.inputs, network.outputs)
    makers = {id(layer.output): layer.name for layer in network.layers if type(layer) in KNOWN}
    found = []
    for layer in network.layers:
        _check(layer)
        tensors = layer.input if isinstance(layer.input, list) else [layer.input]
        if any(id(tensor) not in makers for tensor in tensors):
            raise InputError(f"layer {layer.name!r} takes the output of a layer that is used more than once")
        found.append((layer, tuple(makers[id(tensor)] for tensor in tensors)))
    return found


def _check(layer):
    what = f"layer {layer.name!r}, a {type(layer).__name__}"
    if type(layer) not in KNOWN:
        raise InputError(f"{what}, is not one that the hand-written networks know")
    config = layer.get_config()
    for name, values in KNOWN[type(layer)].items():
        if config[name] not in values:
            raise InputError(f"{what}, has {name}={config[name]!r}, not {values[0]!r}")
    if config.get("padding") == "same" and config["strides"] != (1, 1):
        raise InputError(f"{what}, has strides and padding 'same', which differ between libraries")
    if layer.weights and not layer.trainable:
        raise InputError(f"{what}, is frozen; a comparison trains all layers")
