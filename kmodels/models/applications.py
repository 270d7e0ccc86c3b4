"""The networks of keras.applications, by their names there: "applications:MobileNetV2".

Each is Keras' own graph with its own top (average pooling, and what else its authors put before the classifier), and
differs in the ends only: it takes pixels 0..255, whatever the network expects is computed in the graph, and it gives
logits. What `preprocess_input` of the network does is asked of Keras, not listed here.
"""

import inspect
import os
import re
from pathlib import Path

import keras
import numpy as np
from keras import layers

from kmodels.errors import InputError, shorten, unknown
from kmodels.models.blocks import IMAGENET_MEAN, IMAGENET_STD, drop, full_precision, logits, pixels
from kmodels.models.saving import load_network

# Arguments of Keras' builders that are decided here, or are called otherwise.
DECIDED = (
    "include_top", "include_preprocessing", "weights", "input_tensor", "input_shape", "pooling", "classes",
    "classifier_activation", "name", "dropout", "dropout_rate",
)  # fmt: skip
# Networks whose top has hidden layers with weights, so that weights without top are not all that they need.
WITH_HIDDEN_TOP = ("MobileNetV3Large", "MobileNetV3Small", "VGG16", "VGG19")


def architectures():
    """{name: Keras' builder} of all networks that this version of Keras has."""
    found = {name: getattr(keras.applications, name) for name in dir(keras.applications)}
    return {
        name: function
        for name, function in found.items()
        if inspect.isfunction(function) and "include_top" in inspect.signature(function).parameters
    }


def application(name):
    """The builder of a network, `(input_shape, num_classes, *, weights, dropout, ...) -> keras.Model`.

    Args:
        name: of a network in keras.applications.

    Returns:
        A function whose signature has the options of this network:
            weights: None for random ones; "imagenet" for those that Keras downloads; or a file: .h5, .weights.h5 or
                .keras of this network, with or without its top for a thousand classes. The classifier is always
                re-initialised.
            dropout: rate before the classifier; by default that of Keras' builder, which is 0 for most.
            hidden_top: whether the hidden layers before the classifier are there (VGG and MobileNetV3 only): False for
                weights without them, and for the weights of VGG on images that are not 224x224.
            others: as Keras' builder has them, `alpha` for instance.

    Raises:
        InputError: if there is no such network.
    """
    known = architectures()
    if name not in known:
        raise unknown("network of keras.applications", name, known)
    function = known[name]

    def build(input_shape, num_classes, *, weights=None, dropout=None, hidden_top=True, **options):
        _check_weights(weights)
        network = _assemble(function, tuple(input_shape), num_classes, dropout, hidden_top, options)
        if weights is not None:
            _copy(network, _source(function, weights, hidden_top, options), weights)
        return network

    ours = [
        parameter
        for option, parameter in inspect.signature(build).parameters.items()
        if option != "options" and (option != "hidden_top" or name in WITH_HIDDEN_TOP)
    ]
    theirs = [
        parameter.replace(kind=parameter.KEYWORD_ONLY)
        for option, parameter in inspect.signature(function).parameters.items()
        if option not in DECIDED
    ]
    build.__name__ = name
    build.__doc__ = f"{name} of keras.applications."
    build.__signature__ = inspect.Signature([*ours, *theirs])
    return build


def _check_weights(weights):
    """Raises an InputError, before the network is built, for a file that is not there."""
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise InputError(
            "weights (--model-options weights=FILE) must be 'imagenet' or a file that exists. "
            f"Received: {str(weights)!r}"
        )


def preprocessing(function):
    """What a network of Keras wants its pixels to be, by what its `preprocess_input` does to black and to each colour.

    Args:
        function: Keras' builder.

    Returns:
        (scale, offset, flipped): of red, green and blue, and whether blue comes first after that. A scale of 1 and an
        offset of 0 where the network itself begins with its preprocessing.
    """
    colours = 255 * np.concatenate([np.zeros((1, 3)), np.eye(3)]).reshape(4, 1, 1, 3)
    preprocess_input = inspect.getmodule(function).preprocess_input
    offset, *rows = preprocess_input(colours, data_format="channels_last").reshape(4, 3)
    matrix = (np.array(rows) - offset) / 255
    flipped = not matrix[0, 0]
    if flipped:
        matrix, offset = matrix[:, ::-1], offset[::-1]
    if np.count_nonzero(matrix - np.diag(np.diag(matrix))):
        raise InputError(f"{function.__name__}: its preprocess_input mixes colours, which is not known here")
    return np.diag(matrix), offset, flipped


def _assemble(function, input_shape, num_classes, dropout, hidden_top, options):
    """The network with newly initialised weights."""
    scale, offset, flipped = preprocessing(function)
    std = 1 / (255 * scale)
    image, x = pixels(input_shape, smallest=32, mean=tuple(-offset * std), std=tuple(std))
    if not flipped and (scale == 1).all():
        x = image
    if flipped:
        x = keras.ops.flip(x, axis=-1)
    fixed = {"weights": None, "classes": 2, "classifier_activation": None, "include_top": hidden_top}
    try:
        theirs = function(input_tensor=x, input_shape=input_shape, **fixed, **options)
    except (TypeError, ValueError) as error:
        size = f"{input_shape[0]}x{input_shape[1]} pixels"
        given = f" and options {options}" if options else ""
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{function.__name__} cannot be built for images of {size}{given}: {reason}") from error
    network = _flat(theirs)
    x, rate = _embedding(network) if hidden_top else (layers.GlobalAveragePooling2D(name="pool")(network.output), 0)
    if len(x.shape) == 4:
        x = layers.Flatten(name="flatten")(x)
    x = drop(x, rate if dropout is None else dropout, name="embedding")
    # Not `input`, which is a list of one here.
    return keras.Model(network.inputs[0], logits(x, num_classes), name=function.__name__)


def _flat(theirs):
    """The same network newly initialised: without nested ones, with names that are the same each time."""
    names, tap = _names(theirs), _feature_layer(theirs).name

    def renamed(layer):
        if not isinstance(layer, layers.Layer):
            return layer
        config = layer.get_config()
        if isinstance(layer, layers.Rescaling | layers.Normalization):
            config["dtype"] = full_precision()
        if isinstance(layer, layers.Normalization) and layer.input_mean is None:
            # EfficientNetB0 to B7: Keras has these numbers in the files of weights, and divides by the root of the
            # deviation instead, of which another layer makes the deviation where the weights are downloaded.
            config |= {"mean": IMAGENET_MEAN, "variance": tuple(std**2 for std in IMAGENET_STD)}
        return type(layer).from_config({**config, "name": names[layer.name]})

    def call(layer, *arguments, **keywords):
        if isinstance(layer, keras.Sequential):
            (x,) = arguments
            for inner in layer.layers:
                x = inner(x)
        else:
            x = layer(*arguments, **keywords)
        # A layer of its own, for the last convolutional output of ConvNeXt is a sum that no layer computes.
        return layers.Identity(name="feature_map")(x) if layer.name == names.get(tap, tap) else x

    return keras.models.clone_model(theirs, clone_function=renamed, call_function=call)


def _names(theirs):
    """{name: ours} of layers. Where Keras counts through all networks of a process, ours begin at 1 in each."""
    counts, names = {}, {}
    for layer in theirs.layers:
        base = re.sub(r"_\d+$", "", layer.name)
        if re.fullmatch("_?".join(type(layer).__name__.lower()), base):
            counts[base] = counts.get(base, 0) + 1
            names[layer.name] = f"{base}_{counts[base]}"
        else:
            names[layer.name] = layer.name
    return names


def _feature_layer(theirs):
    """The layer or operation with the last convolutional output."""
    pool = _pool(theirs)
    layer = _producer(theirs, pool.input if pool else theirs.output)
    return _producer(theirs, layer.input) if isinstance(layer, layers.MaxPooling2D) else layer


def _pool(theirs):
    """The layer with which the top begins: the last average of whole maps, or else what flattens them; None: no top."""
    if len(theirs.output.shape) == 4:
        return None
    for kind in (layers.GlobalAveragePooling2D, layers.Flatten):
        found = [layer for layer in theirs.layers if isinstance(layer, kind)]
        if found:
            return found[-1]
    raise InputError(f"{theirs.name} has a top of a kind that is not known here")


def _embedding(network):
    """The classifier's input in a network with top, before its dropout, and the rate of that."""
    x = _weighted(network)[-1].input
    layer = _producer(network, x)
    return (layer.input, layer.rate) if isinstance(layer, layers.Dropout) else (x, 0)


def _producer(network, tensor):
    return next(operation for operation in network.operations if operation.output is tensor)


def _weighted(network):
    """The layers with weights, also those of nested networks, in order, but for preprocessing."""
    inner = (_weighted(layer) if isinstance(layer, keras.Model) else [layer] for layer in network.layers)
    found = [layer for group in inner for layer in group]
    return [layer for layer in found if layer.weights and not isinstance(layer, layers.Normalization)]


def _source(function, weights, hidden_top, options):
    """A network of Keras, or of ours, with the weights that the builder was given."""
    name = function.__name__
    if weights == "imagenet":
        return _downloaded(function, name in WITH_HIDDEN_TOP and hidden_top, options)
    if Path(weights).suffix == ".keras":
        return load_network(weights)
    full = function(weights=None, classifier_activation=None, **options)
    without_top = _pool(full).input if name in WITH_HIDDEN_TOP else _weighted(full)[-1].input
    for source in (full, keras.Model(full.input, without_top)):
        try:
            source.load_weights(weights)
            return source
        # What a file that does not fit raises depends on its format and on what is in it.
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
    raise InputError(f"{weights} does not hold the weights of keras.applications.{name}: {reason}")


def _downloaded(function, include_top, options):
    # Without top, the weights are the same for all sizes; those for 224x224 pixels are what Keras takes by default.
    shape = None if include_top else (224, 224, 3)
    try:
        return function(include_top=include_top, weights="imagenet", input_shape=shape, **options)
    except (TypeError, ValueError):
        raise
    except Exception as error:
        folder = Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models"
        raise InputError(
            f"cannot download the ImageNet weights of {function.__name__}, which Keras keeps in {folder}: {error}; a "
            "file that you have can be given as weights (--model-options weights=FILE)"
        ) from error


def _copy(network, source, weights):
    """Copies all weights but the classifier's, in the order of the layers: the names in files of Keras vary."""
    *ours, _ = _weighted(network)
    theirs = _weighted(source)
    lacking = ours[len(theirs) :]
    pairs = list(zip(ours, theirs, strict=False))
    differing = [mine for mine, other in pairs if _shapes(mine) != _shapes(other)]
    if differing or lacking:
        hint = "; hidden_top=false leaves out the hidden layers of its top" * (network.name in WITH_HIDDEN_TOP)
        names = shorten(layer.name for layer in (*differing, *lacking))
        size = "x".join(map(str, network.input_shape[1:3]))
        raise InputError(f"{weights} has no weights for {names} of {network.name} for images of {size} pixels{hint}")
    for mine, other in pairs:
        mine.set_weights(other.get_weights())


def _shapes(layer):
    return [tuple(weight.shape) for weight in layer.weights]
