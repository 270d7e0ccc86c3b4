"""Grad-CAM: which part of an image is evidence for a class.

Source: Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, 2017.

One way for JAX, TensorFlow and PyTorch: a zero tensor is added to the output of the chosen layer during one forward
pass, and the class logit is differentiated with respect to it. The graph is never cut, so nested models and skip
connections work.
"""

import keras
import numpy as np
from keras import ops
from PIL import Image

from kmodels.analysis.predict import output_rank
from kmodels.errors import InputError, require, unknown


def grad_cam(model, images, layer=None, classes=None):
    """Heat maps: 1 where the evidence for a class is strongest, 0 where there is none or it is against the class.

    Args:
        model: a network whose output is logits (batch, classes). After a softmax the gradient vanishes where the
            network is sure, and so would the map.
        images: (n, height, width, channels), as the model takes them.
        layer: name of a layer with 4-D output, also inside a nested model; None: "feature_map" or, in a model without
            one, the last layer with 4-D output.
        classes: ints (n,), the class to explain for each image; None: the predicted one.

    Returns:
        float32 (n, height, width) in [0, 1], each map divided by its maximum; all 0 without evidence for the class.

    Raises:
        InputError: if the layer does not exist or its output is not 4-D, or `classes` does not fit.
    """
    images = np.asarray(images)
    require(images.ndim == 4, "images must be (n, height, width, channels)", images.shape)
    maps = []
    for start in range(0, len(images), 64):
        part = slice(start, start + 64)
        maps.append(class_activation(model, images[part], layer, None if classes is None else classes[part]))
    height, width = images.shape[1:3]
    resized = np.zeros((len(images), height, width), np.float32)
    for i, heat in enumerate(np.concatenate(maps) if maps else ()):
        # In Pillow rather than keras.ops: the same on every backend.
        larger = Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR)
        resized[i] = np.asarray(larger)
    peak = resized.max(axis=(1, 2), keepdims=True, initial=0)
    return np.divide(resized, peak, out=np.zeros_like(resized), where=peak > 0)


def class_activation(model, images, layer=None, classes=None):
    """Grad-CAM before resizing and scaling: float32 (n, rows, columns) of the layer's output, at least 0.

    Arguments and errors as in `grad_cam`.
    """
    target = _find(model, layer)
    if classes is not None:
        classes = np.asarray(classes)
        num_classes = model.output_shape[-1]
        require(
            classes.shape == (len(images),)
            and np.issubdtype(classes.dtype, np.integer)
            and classes.min() >= 0
            and classes.max() < num_classes,
            f"classes must be {len(images)} integers from 0 to {num_classes - 1}, one per image",
            classes.tolist(),
        )
    activation, gradient = _activation_and_gradient(model, images, target, classes)
    weights = gradient.mean(axis=(1, 2), keepdims=True)
    return np.maximum((weights * activation).sum(axis=-1), 0).astype(np.float32)


def cam_layers(model, at_most=5):
    """Names of up to `at_most` layers to look at with Grad-CAM, evenly from the first to the last.

    They are activations with 4-D output; in a model that has none as layers, its convolutions. An empty list for a
    model without convolutions.
    """
    four_d = [layer for layer in _flatten(model) if output_rank(layer) == 4]
    activations = [layer for layer in four_d if isinstance(layer, keras.layers.ReLU | keras.layers.Activation)]
    convolutions = [layer for layer in four_d if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)]
    names = [layer.name for layer in activations or convolutions]
    indices = np.linspace(0, len(names) - 1, min(at_most, len(names)))
    return [names[round(index)] for index in indices]


def _find(model, name):
    layers = {layer.name: layer for layer in _flatten(model)}
    four_d = [key for key, layer in layers.items() if output_rank(layer) == 4]
    if name is None:
        require(four_d, "Grad-CAM needs a layer with 4-D output; this model has none", model.name)
        return layers["feature_map" if "feature_map" in four_d else four_d[-1]]
    if name not in layers:
        raise unknown("layer", name, four_d)
    if name not in four_d:
        raise InputError(
            f"layer {name!r} must have 4-D output (batch, rows, columns, channels); choose one of {four_d}"
        )
    return layers[name]


def _flatten(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flatten(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer


def _activation_and_gradient(model, images, layer, classes):
    """The layer's output and the class logits' gradient with respect to it, both (n, rows, columns, channels)."""
    seen = {}
    original = layer.call
    # A `call` of the instance itself; without one, that of its class.
    own = {name: value for name, value in vars(layer).items() if name == "call"}

    def score(delta):
        def call(*args, **kwargs):
            output = original(*args, **kwargs)
            seen["activation"] = output if delta is None else output + ops.cast(delta, output.dtype)
            return seen["activation"]

        # Past Keras' attribute tracking, and only for this forward pass.
        vars(layer)["call"] = call
        try:
            logits = model(images, training=False)
        finally:
            del vars(layer)["call"]
            vars(layer).update(own)
        index = ops.argmax(logits, axis=-1) if classes is None else ops.convert_to_tensor(classes)
        chosen = ops.take_along_axis(logits, ops.expand_dims(ops.cast(index, "int32"), -1), axis=-1)
        return ops.sum(ops.cast(chosen, "float32")), seen["activation"]

    gradient_of = {"jax": _jax_gradient, "tensorflow": _tensorflow_gradient, "torch": _torch_gradient}
    _, activation = score(None)
    gradient, activation = gradient_of[keras.backend.backend()](score, ops.zeros(ops.shape(activation), "float32"))
    return tuple(ops.convert_to_numpy(value).astype(np.float32) for value in (activation, gradient))


def _jax_gradient(score, zero):
    import jax

    return jax.grad(score, has_aux=True)(zero)


def _tensorflow_gradient(score, zero):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(zero)
        value, activation = score(zero)
    return tape.gradient(value, zero), activation


def _torch_gradient(score, zero):
    import torch

    zero = zero.detach().requires_grad_(True)
    value, activation = score(zero)
    return torch.autograd.grad(value, zero)[0], activation.detach()
