"""What a network must be to be trained here, and to be trained on these images."""

import keras
import numpy as np
from keras import layers

from kmodels.errors import InputError, require
from kmodels.models.graph import has_graph, layers_within, require_model

ONE_OUTPUT = "the network must have one output, logits (batch, classes); make one by keras.Model(network.input, output)"


def check_graph(network, image_shape):
    """Raises InputError where a network is none that can be trained on its own.

    Args:
        network: a keras.Model.
        image_shape: (height, width, channels).
    """
    require_model(network)
    rule = "the network must have layers that train; it has none, or all of them are frozen"
    require(network.trainable_variables, rule, network.name)
    nested = f"keras.Sequential([keras.Input({tuple(image_shape)}), network])"
    require(
        has_graph(network),
        f"a network with a call of its own must be part of a functional or Sequential one: give {nested}",
        type(network).__name__,
    )
    steps = ("train_step", "test_step", "compute_loss")
    own = [name for name in steps if getattr(type(network), name) is not getattr(keras.Model, name)]
    require(
        not own,
        "the network must leave the training step and the loss to kmodels, which is the cross entropy of its logits: "
        f"train it by its own fit, or give {nested}, whose steps are Keras' own",
        ", ".join(own),
    )


def check_images(network, images):
    """Raises InputError where a network cannot be trained on images.

    Args:
        network: a built keras.Model with a graph.
        images: (n, height, width, channels), of which the first are looked at.
    """
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


def divides_by_255(network):
    """Whether the network scales pixels 0..255 to about 1 itself, in a Rescaling layer, which may be inside others."""
    scales = [np.max(layer.scale) for layer in layers_within(network) if isinstance(layer, layers.Rescaling)]
    return bool(scales) and scales[0] < 0.1


def check_ends(network, num_classes):
    """Raises InputError where a network with a graph has other ends than images and a unit for each class."""
    shapes = [tuple(tensor.shape) for tensor in network.inputs]
    require(
        len(shapes) == 1 and len(shapes[0]) in (2, 4),
        "the network must have one input, images (batch, height, width, channels) or features (batch, d)",
        shapes,
    )
    check_one_output(network)
    named = not isinstance(network, keras.Sequential) and isinstance(network.output, dict)
    require(not named, ONE_OUTPUT, named and sorted(network.output))
    shape = tuple(network.outputs[0].shape)
    require(
        len(shape) == 2,
        "the network's output must be (batch, classes); end it with Flatten or GlobalAveragePooling2D and Dense",
        shape,
    )
    units = (num_classes, 1) if num_classes == 2 else (num_classes,)
    require(
        shape[1] in units,
        f"the network must have an output for each of the {num_classes} classes"
        f"{' (or one for both)' if num_classes == 2 else ''}: end it with Dense({num_classes})",
        shape[1],
    )


def check_one_output(network):
    """Raises InputError where a network has several outputs, as far as its graph tells."""
    outputs = getattr(network, "outputs", None) or ()
    require(len(outputs) < 2, ONE_OUTPUT, getattr(network, "output_names", len(outputs)))
