"""The networks: one architecture family a file.

A builder is `name(input_shape, num_classes, *, options) -> keras.Model`: a flat functional graph from pixels 0..255
`(batch, height, width, 3)` to logits `(batch, num_classes)`, with two layers of fixed names: `feature_map` (4-D, the
last convolutional output) and `embedding` (2-D, the input of the classifier).

To add one: write the builder, name it here, pin its parameter count in tests/models/test_battery.py.
"""

import inspect
import math
from importlib import import_module

from kmodels.errors import InputError, require, unknown

# Name of the builder -> the file it is in. Names, not functions, so that reading them imports no Keras.
MODELS = {
    "alexnet": "alexnet",
    "alexnet_cifar": "alexnet",
    "basic_cnn": "lenet",
    "conv_net": "lenet",
    "conv_net_5x5": "conv_nets",
    "conv_net_tuned": "conv_nets",
    "densenet121": "densenet",
    "mlp": "mlp",
    "mobilenet": "mobilenet",
    "resnet18_cifar": "resnet",
    "resnet32_cifar": "resnet",
    "resnet50": "resnet",
    "model1": "small_cnns",
    "model2": "small_cnns",
    "model3": "small_cnns",
    "model4": "small_cnns",
    "model5": "small_cnns",
    "model6": "small_cnns",
    "two_layer_net": "mlp",
}


def build_model(name, input_shape, num_classes, **options):
    """Builds a network with freshly drawn weights.

    Args:
        name: one of MODELS.
        input_shape: (height, width, 3).
        num_classes: how many logits, at least 2.
        **options: keyword arguments of that builder, for instance `dropout=0.5`.

    Raises:
        InputError: for an unknown name, an option that the builder does not have, or images too small for it.
    """
    require(num_classes >= 2, "num_classes must be at least 2", num_classes)
    return builder(name, options)(tuple(input_shape), num_classes, **options)


def builder(name, options=()):
    """The function that builds a network, after checking that it has these options. Errors as in `build_model`."""
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    function = getattr(import_module(f"kmodels.models.{MODELS[name]}"), name)
    known = [p.name for p in inspect.signature(function).parameters.values() if p.kind == p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise InputError(f"model {name!r} has no option {option!r}; it has: {', '.join(known) or 'none'}")
    return function


def trainable_parameters(layer):
    """How many numbers training changes in a layer or a whole network."""
    return sum(math.prod(weight.shape) for weight in layer.trainable_weights)
