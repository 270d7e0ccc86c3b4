"""The logits of a network that ends in softmax or sigmoid.

The loss, Grad-CAM and calibration need logits: computed from probabilities they lose digits, or all of them where a
network is sure. Where the end of a network is visible in its graph, its logits are computed from the same layers.
"""

import keras
import numpy as np
from keras import activations, layers, ops

from kmodels.errors import InputError, require

# What softmax turns into the same probabilities: logits need not be looked for behind it.
LOGITS = (activations.linear, activations.log_softmax)
PROBABILITIES = (activations.softmax, activations.sigmoid)


def logits_network(network, num_classes):
    """A network from images to logits, of the same layers and variables.

    A last softmax or sigmoid is left out, also inside a nested model. One unit for two classes becomes the logits
    [0, z], whose softmax is sigmoid(z).

    >>> logits = logits_network(keras.applications.MobileNet(weights=None, classes=4), 4)
    >>> logits(images)  # (batch, 4); training `logits` trains the MobileNet

    Args:
        network: a keras.Model with one input (batch, height, width, channels) and one output: logits or probabilities
            (batch, num_classes), or (batch, 1) for two classes.
        num_classes: how many logits.

    Returns:
        A keras.Model whose output is (batch, num_classes); `network` itself where it ends in logits, and where its end
        is not visible: a subclassed model, alone or at the end of another one (see `looks_like_probabilities`).

    Raises:
        InputError: if the network is not built, has other inputs or outputs, or ends in another activation.
    """
    require(isinstance(network, keras.Model), "network must be a keras.Model", network)
    require_weights(network)
    if not has_graph(network):
        return network
    _check(network, num_classes)
    logits = without_activation(network)
    return logits if logits.outputs[0].shape[-1] == num_classes else two_logits(logits)


def two_logits(network):
    """A network of the logits [0, z] of two classes, from one of the single logit z.

    Args:
        network: a keras.Model with one output (batch, 1).
    """
    z = network.outputs[0]
    return keras.Model(inputs_of(network), ops.concatenate([ops.zeros_like(z), z], axis=-1), name=network.name)


def require_weights(network):
    """Raises InputError if the network has not been built."""
    require(
        network.built,
        "the network has no weights yet: call it once on a batch of images, or begin it with keras.Input(shape), as in "
        "keras.Sequential([keras.Input(shape), network])",
        network.name,
    )


def has_graph(network):
    """Whether the network is functional or Sequential, so that its inputs, outputs and layers' calls are known."""
    return getattr(network, "inputs", None) is not None


def all_layers(network):
    """Every layer, nested model and, in a functional model, operation between layers (a sum, say), each once."""
    found = {}
    for layer in getattr(network, "operations", network.layers):
        if isinstance(layer, keras.Model):
            found.update(dict.fromkeys(all_layers(layer)))
        if not isinstance(layer, keras.layers.InputLayer):
            found[layer] = None
    return list(found)


def inputs_of(network):
    """The symbolic inputs of a network with a graph, as its builder arranged them: a tensor, or a list or dict."""
    # `input` of a Sequential network is that of its first call as a layer.
    return network.inputs[0] if isinstance(network, keras.Sequential) else network.input


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
    activation = getattr(layer, "activation", None)
    return activations.softmax if isinstance(activation, layers.Softmax) else activation


def looks_like_probabilities(outputs, least=2):
    """Whether a network's outputs are probabilities rather than logits, as far as numbers can tell.

    Args:
        outputs: floats (n, classes), of several images.
        least: how many images there must be for the answer True.

    Returns:
        True if all are from 0 to 1, and each row's sum is 1 within 0.001.
    """
    outputs = np.asarray(outputs, np.float64)
    within = outputs.ndim == 2 and len(outputs) >= least and outputs.min() >= 0 and outputs.max() <= 1
    return bool(within and np.allclose(outputs.sum(axis=1), 1, rtol=0, atol=1e-3))


def check_images(network, logits, images):
    """Raises InputError where a network cannot be trained on images, or its outputs are probabilities.

    Args:
        network: a built keras.Model; a subclassed one only inside a functional or Sequential one.
        logits: what `logits_network` made of it.
        images: (n, height, width, channels), of which the first are looked at.
    """
    require(
        has_graph(network),
        "a subclassed network must be part of a functional or Sequential one: give keras.Sequential([keras.Input("
        f"{tuple(images.shape[1:])}), network])",
        type(network).__name__,
    )
    wanted, shape = network.input_shape[1:], images.shape[1:]
    if any(side not in (None, size) for side, size in zip(wanted, shape, strict=True)):
        hint = ""
        if wanted[-1] == 3 and shape[-1] == 1:
            hint = "; np.repeat(images, 3, axis=-1) makes grey images ones of three channels"
        raise InputError(f"the network takes images {wanted}, and those of the dataset are {shape}{hint}")
    sample = np.asarray(images[:64])
    if sample.dtype != np.uint8 and sample.max() <= 1 and divides_by_255(network):
        raise InputError(
            "the network divides pixels by 255 itself, and the images are in 0..1 already; give pixels 0..255. "
            f"Received: {sample.dtype} from {sample.min():g} to {sample.max():g}"
        )
    # Only where the end cannot be seen, since JAX compiles this forward pass operation by operation.
    ends_in_dense = isinstance(network.layers[-1], layers.Dense)
    if logits is network and not ends_in_dense and looks_like_probabilities(ops.convert_to_numpy(logits(sample))):
        raise InputError(
            "the network must end in logits, or in a softmax or sigmoid that can be seen (a Dense layer with that "
            "activation, or an Activation or Softmax layer). Received: outputs that are probabilities"
        )


def divides_by_255(network):
    """Whether the network scales pixels 0..255 to about 1 itself, in a Rescaling layer."""
    scales = [np.max(layer.scale) for layer in network.layers if isinstance(layer, layers.Rescaling)]
    return bool(scales) and scales[0] < 0.1


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


def _check(network, num_classes):
    shapes = [tuple(tensor.shape) for tensor in network.inputs]
    require(
        len(shapes) == 1 and len(shapes[0]) in (2, 4),
        "the network must have one input, images (batch, height, width, channels) or features (batch, d)",
        shapes,
    )
    shapes = [tuple(tensor.shape) for tensor in network.outputs]
    named = not isinstance(network, keras.Sequential) and isinstance(network.output, dict)
    require(
        len(shapes) == 1 and not named,
        "the network must have one output, logits (batch, classes); make one by keras.Model(network.input, output)",
        sorted(network.output) if named else shapes,
    )
    require(
        len(shapes[0]) == 2,
        "the network's output must be (batch, classes); end it with Flatten or GlobalAveragePooling2D and Dense",
        shapes[0],
    )
    units = (num_classes, 1) if num_classes == 2 else (num_classes,)
    require(
        shapes[0][1] in units,
        f"the network must have an output for each of the {num_classes} classes"
        f"{' (or one for both)' if num_classes == 2 else ''}: end it with Dense({num_classes})",
        shapes[0][1],
    )


def without_activation(network, strict=True):
    """The network without the softmax or sigmoid that it ends in, also inside a nested model.

    Args:
        network: a functional or Sequential keras.Model with one output (batch, units), whatever its inputs.
        strict: refuse an end in another activation.

    Returns:
        A keras.Model; `network` itself where no softmax or sigmoid is visible at its end.

    Raises:
        InputError: if one unit ends in softmax, or, where strict, for another activation.
    """
    last = network.layers[-1]
    if last.output is network.outputs[0] and getattr(last, "activation", None) in LOGITS:
        return network
    inputs, last, arguments, options = _last_call(network)
    if isinstance(last, keras.Model):
        if not has_graph(last):
            return network
        inner = without_activation(last, strict)
        return network if inner is last else keras.Model(inputs, inner(*arguments, **options), name=network.name)
    activation = end_activation(last)
    if activation is None or activation in LOGITS:
        return network
    name = getattr(activation, "__name__", type(activation).__name__)
    if activation not in PROBABILITIES:
        if not strict:
            return network
        raise InputError(
            f"the network must end in logits, softmax or sigmoid; remove the activation of its last layer "
            f"{last.name!r}. Received: {name}"
        )
    require_sigmoid(last, activation, network.outputs[0].shape[-1])
    if type(last) is layers.Dense:
        end = PreActivation(last)
    elif isinstance(last, layers.Activation | layers.Softmax):
        end = layers.Activation("linear", name=f"{last.name}_logits", dtype=last.dtype_policy)
    else:
        return network
    return keras.Model(inputs, end(arguments[0]), name=network.name)


def require_sigmoid(layer, activation, units):
    """Raises InputError if the activation of a layer is softmax over a single unit, which is always 1."""
    require(
        units > 1 or activation is activations.sigmoid,
        f"one unit for two classes must be a logit or end in sigmoid; in {layer.name!r} it is always 1",
        getattr(activation, "__name__", activation),
    )


def _last_call(network):
    """The inputs of a copy of the network's graph, and the layer called last there, with its arguments.

    In a copy, because `layer.input` is that of the layer's first call, which may be in another network.
    """
    calls = []

    def call(layer, *arguments, **options):
        calls.append((layer, arguments, options))
        return layer(*arguments, **options)

    # An uncompiled network of the same layers: of a compiled one, the copy would have an optimizer too.
    graph = keras.Model(inputs_of(network), network.outputs[0])
    copy = keras.models.clone_model(graph, clone_function=lambda layer: layer, call_function=call)
    return inputs_of(copy), *calls[-1]
