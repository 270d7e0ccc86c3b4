"""The logits of a network that ends in softmax or sigmoid.

The loss, Grad-CAM and calibration need logits: computed from probabilities they lose digits, or all of them where a
network is sure. Where the end of a network is visible in its graph, its logits are computed from the same layers. Where
it is hidden (in a subclass, say), its outputs tell whether they are probabilities of one class, which are refused.

An image is of one class here. Several units that end in sigmoid are of a network for images of several classes at once
(multi-label): no softmax gives their probabilities, so it is refused where it is visible, in training and in use.

`end_of` decides what a network ends in, for all others; `last_dense` finds its classifier.
"""

from functools import cache
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import activations, layers, ops

from kmodels.errors import InputError, require
from kmodels.models.checks import check_ends, check_images
from kmodels.models.graph import copy_of_graph, has_graph, inputs_of, require_model

# What softmax turns into the same probabilities: logits need not be looked for behind it.
LOGITS = (activations.linear, activations.log_softmax)
PROBABILITIES = (activations.softmax, activations.sigmoid)
# Functions that compute the same as those of keras.activations.
SAME = {ops.softmax: activations.softmax, ops.log_softmax: activations.log_softmax, ops.sigmoid: activations.sigmoid}
# Layers whose activation comes last.
ENDS = (layers.Dense, layers.EinsumDense, layers.Activation, layers.Softmax)
# How many images tell whether outputs are probabilities. They are shown so many times as bright: a logit leaves 0..1
# then, if not in the one direction, where ReLUs may be 0, in the other. float16 has no numbers above 65504.
FEW, BRIGHTNESS = 8, (1, 100, -100, 0)
# How far from 1 the sum of probabilities may be: those of bfloat16 have three digits, whatever they are cast to later.
ROUNDING = 0.02
HIDDEN = (
    "the network must end in logits, or in a softmax or sigmoid that can be seen (a Dense layer with that activation, "
    "an Activation or Softmax layer, or keras.ops). Received: outputs that look like probabilities"
)


class End(NamedTuple):
    """What a network ends in.

    Attributes:
        logits: the keras.Model without the softmax or sigmoid at the end; the network itself where none is visible.
        activation: the last one, a function of keras.activations or a layer of ReLU's kin; None where it is hidden.
        layers: the layer or operation that has it, and those called after it that change nothing.
    """

    logits: keras.Model
    activation: Any = None
    layers: tuple = ()


class LastDense(NamedTuple):
    """The Dense layer that the logits of a network come from, its classifier.

    Attributes:
        layer: the keras.layers.Dense.
        features: the keras.Model from the same inputs to what enters the layer, (batch, d).
    """

    layer: layers.Dense
    features: keras.Model


def last_dense(network):
    """The LastDense of a network, also inside a nested model; None where its logits come from anything else.

    Args:
        network: a keras.Model.

    Raises:
        InputError: if one unit ends in softmax, which is always 1.
    """
    has_end = has_graph(network) and len(network.outputs) == 1
    return _dense_of(end_of(network).logits) if has_end else None


def _dense_of(network):
    """The LastDense of a network that ends in logits."""
    if not has_graph(network) or len(network.outputs) != 1:
        return None
    if _is_linear_dense(network):
        return LastDense(network.layers[-1], keras.Model(inputs_of(network), network.layers[-1].input))
    inputs, output, calls = copy_of_graph(network)
    call = calls.get(id(output))
    while call and (_changes_nothing(call) or _is_log_softmax(call.operation)):
        call = calls.get(id(call.input))
    layer = call and call.operation
    if isinstance(layer, keras.Model):
        inner = _dense_of(layer)
        return inner and LastDense(inner.layer, keras.Model(inputs, inner.features(*call.arguments, **call.options)))
    if type(layer) is PreActivation:
        return LastDense(layer.dense, keras.Model(inputs, call.input))
    # By the exact type: a subclass may compute something else.
    linear = type(layer) is layers.Dense and layer.activation in LOGITS
    return LastDense(layer, keras.Model(inputs, call.input)) if linear else None


def _is_linear_dense(network):
    """Whether the last layer of a network with one output is a Dense layer that gives logits, without a look behind."""
    last = network.layers[-1]
    return type(last) is layers.Dense and last.activation in LOGITS and last.output is network.outputs[0]


def _is_log_softmax(layer):
    return type(layer) is not layers.Dense and _visible_activation(layer) is activations.log_softmax


def end_of(network):
    """What a network ends in; layers that change nothing in use, as Dropout, are not its end.

    Args:
        network: a keras.Model with a graph and one output (batch, units), whatever its inputs.

    Returns:
        An End.

    Raises:
        InputError: if one unit ends in softmax, which is always 1.
    """
    if _is_linear_dense(network):
        return End(network, network.layers[-1].activation)
    inputs, output, calls = copy_of_graph(network)
    call, later = calls.get(id(output)), []
    while call and _changes_nothing(call):
        later.insert(0, call)
        call = calls.get(id(call.input))
    if not call:
        return End(network)
    logits, activation, found = _before_activation(call, network.outputs[0].shape[-1])
    found = (*found, *(one.operation for one in later))
    if logits is None:
        return End(network, activation, found)
    for one in later:
        logits = one.on(logits)
    return End(keras.Model(inputs, logits, name=network.name), activation, found)


def why_no_logits(activation, units, compute, images):
    """Why the softmax of a network's logits is not the probability of each class, in words; None where it is.

    Args:
        activation: of its End.
        units: of its output.
        compute: a function from images to what the network puts out, an array (n, units). It is called only where the
            end is hidden.
        images: an array of one or more, or a list or dict of arrays; None: outputs are not looked at.
    """
    if activation is activations.sigmoid and units > 1:
        return (
            "an image must be of one class, so the network must end in softmax or logits. "
            f"Received: a sigmoid for each of {units} classes, which can all be true at once"
        )
    if activation is not None or images is None:
        return None
    outputs = [compute(_few(images, factor)) for factor in BRIGHTNESS]
    # 0 for whatever image are the logits of a layer that begins with zeros.
    return HIDDEN if all(map(looks_like_probabilities, outputs)) and np.any(outputs) else None


def _few(images, factor):
    def few(array):
        image = array.ndim == 4 or array.dtype.kind == "f"
        return factor * array[:FEW].astype("float32") if image and factor != 1 else array[:FEW]

    return keras.tree.map_structure(few, images)


def logits_network(network, num_classes, images=None):
    """A network from images to logits, of the same layers and variables.

    A last softmax or sigmoid is left out, also inside a nested model. One unit for two classes becomes the logits
    [0, z], whose softmax is sigmoid(z).

    >>> logits = logits_network(keras.applications.MobileNet(weights=None, classes=4), 4)
    >>> logits(images)  # (batch, 4); training `logits` trains the MobileNet

    Args:
        network: a keras.Model with one input (batch, height, width, channels) and one output: logits or probabilities
            (batch, num_classes), or (batch, 1) for two classes.
        num_classes: how many logits.
        images: (n, height, width, channels), those that it is to be trained on; some of them tell whether they fit, and
            whether outputs are logits where its end is hidden. None: neither is looked at.

    Returns:
        A keras.Model whose output is (batch, num_classes); `network` itself where it ends in logits, and where its end
        is hidden, in a subclassed model for instance.

    Raises:
        InputError: if the network is not built, has other inputs or outputs, or ends in another activation; if it does
            not fit the images, or what it makes of them are probabilities.
    """
    require_model(network)
    if not has_graph(network):
        return network
    check_ends(network, num_classes)
    end, units = end_of(network), network.outputs[0].shape[-1]
    _check_end(network, end)
    if images is not None:
        check_images(network, images)
    if problem := why_no_logits(end.activation, units, lambda few: ops.convert_to_numpy(network(few)), images):
        raise InputError(problem)
    return end.logits if units == num_classes else two_logits(end.logits)


def two_logits(network):
    """A network of the logits [0, z] of two classes, from one of the single logit z.

    Args:
        network: a keras.Model with one output (batch, 1).
    """
    z = network.outputs[0]
    return keras.Model(inputs_of(network), ops.concatenate([ops.zeros_like(z), z], axis=-1), name=network.name)


@cache
def _operations():
    """{class of an operation between layers: the activation that it computes}."""
    pixel = keras.Input((2,))
    functions = (activations.softmax, activations.log_softmax, activations.sigmoid)
    return {type(keras.Model(pixel, function(pixel)).operations[-1]): function for function in functions}


def end_activation(layer):
    """The activation that a layer ends in: a function, or the layer itself if it is one of ReLU's kin.

    Args:
        layer: a layer of Keras, the last one of a network.

    Returns:
        None where none is visible: the layer is of another kind, whatever it computes.
    """
    if isinstance(layer, layers.Softmax):
        return activations.softmax
    if isinstance(layer, layers.ReLU | layers.LeakyReLU | layers.PReLU | layers.ELU):
        return layer
    activation = layer.activation if isinstance(layer, ENDS) else None
    return activations.softmax if isinstance(activation, layers.Softmax) else SAME.get(activation, activation)


def looks_like_probabilities(outputs):
    """Whether a network's outputs are probabilities rather than logits, as far as numbers can tell.

    Args:
        outputs: floats (n, units), of one or more images.

    Returns:
        True if all are from 0 to 1 and, of several units, each row's sum is about 1.
    """
    outputs = np.asarray(outputs, np.float64)
    outputs = outputs[np.isfinite(outputs).all(axis=-1)]
    if outputs.ndim != 2 or not len(outputs) or outputs.min() < 0 or outputs.max() > 1:
        return False
    return outputs.shape[1] == 1 or bool(np.allclose(outputs.sum(axis=1), 1, rtol=0, atol=ROUNDING))


class PreActivation(layers.Layer):
    """What a Dense layer computes before its activation, from the layer's own variables.

    Args:
        dense: a built keras.layers.Dense.
    """

    def __init__(self, dense, **kwargs):
        super().__init__(name=f"{dense.name}_logits", dtype=dense.dtype_policy, **kwargs)
        self.dense = dense

    def call(self, inputs):
        outputs = ops.matmul(inputs, self.dense.kernel)
        return outputs if self.dense.bias is None else ops.add(outputs, self.dense.bias)


def _check_end(network, end):
    """Raises InputError for an end before which no loss can be computed."""
    if end.activation is not None and end.activation not in (*LOGITS, *PROBABILITIES):
        received = getattr(end.activation, "__name__", type(end.activation).__name__)
        raise InputError(
            "the network must end in logits, softmax or sigmoid; remove the activation of its last layer "
            f"{end.layers[0].name!r}, or give it by its name, activation='softmax'. Received: {received}"
        )
    regularised = [layer.name for layer in end.layers if getattr(layer, "activity_regularizer", None)]
    require(
        end.logits is network or not regularised,
        "an activity_regularizer at the end of the network must be one of logits, since the loss is computed before "
        "softmax and sigmoid; remove it, or end the network in logits",
        ", ".join(regularised),
    )


def require_sigmoid(layer, activation, units):
    """Raises InputError if the activation of a layer is softmax over a single unit, which is always 1."""
    require(
        units > 1 or activation is activations.sigmoid,
        f"one unit for two classes must be a logit or end in sigmoid; in {layer.name!r} it is always 1",
        getattr(activation, "__name__", activation),
    )


def _changes_nothing(call):
    """Whether this call returns its input, in inference mode."""
    layer = call.operation
    linear = type(layer) is layers.Activation and layer.activation is activations.linear
    return linear or (type(layer) in (layers.Dropout, layers.Identity) and not call.options.get("training"))


def _visible_activation(operation):
    """The activation that a layer or operation is known to end in; None where it may compute anything."""
    activation = _operations().get(type(operation)) or end_activation(operation)
    # By the exact type: a subclass may compute something else.
    if type(operation) in (layers.Dense, layers.Activation, layers.Softmax, *_operations()):
        return activation if getattr(operation, "axis", -1) in (-1, 1) else None
    if type(operation) is PreActivation:
        return activations.linear
    return None if activation in (*LOGITS, *PROBABILITIES) else activation


def _before_activation(call, units):
    """What the last Call of a network computes before its softmax or sigmoid, and `activation` and `layers` of an End.

    The first is None where neither is visible.
    """
    last, tensor = call.operation, call.input
    if isinstance(last, keras.Model):
        end = end_of(last) if has_graph(last) and len(last.outputs) == 1 else End(last)
        logits = None if end.logits is last else end.logits(*call.arguments, **call.options)
        return logits, end.activation, end.layers
    activation = _visible_activation(last)
    if activation not in PROBABILITIES:
        return None, activation, (last,)
    require_sigmoid(last, activation, units)
    if type(last) is layers.Dense:
        tensor = PreActivation(last)(tensor)
    elif isinstance(last, layers.Layer):
        tensor = layers.Activation("linear", name=f"{last.name}_logits", dtype=last.dtype_policy)(tensor)
    return tensor, activation, (last,)
