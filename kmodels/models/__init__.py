"""The networks: one architecture family a file.

A builder is `name(input_shape, num_classes, *, options) -> keras.Model`: a flat functional graph from pixels 0..255
`(batch, height, width, 3)` to logits `(batch, num_classes)`, with two layers of fixed names: `feature_map` (4-D, the
last convolutional output) and `embedding` (2-D, the input of the classifier).

"applications:NAME" is the network NAME of keras.applications, made to be the same (kmodels/models/applications.py).

To add one: write the builder, with its options as keyword arguments, name it here, and pin its parameter count in
tests/models/test_battery.py.
"""

import inspect
import math
from importlib import import_module

from kmodels.components import check_name, load_component
from kmodels.errors import InputError, require, require_whole

# Name of the builder -> the file it is in. Names, not functions, so that reading them imports no Keras.
MODELS = {
    "alexnet": "alexnet",
    "alexnet_cifar": "alexnet",
    "basic_cnn": "lenet",
    "conv_net": "lenet",
    "conv_net_5x5": "conv_nets",
    "conv_net_tuned": "conv_nets",
    "densenet121": "densenet",
    "efficientnet_lite0": "efficientnet",
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

# What the names of networks of keras.applications begin with.
APPLICATIONS = "applications:"


def build_model(name, input_shape, num_classes, **options):
    """Builds a network with random initial weights.

    Args:
        name: one of MODELS; "applications:NAME" for any network of keras.applications, "applications:MobileNetV2" for
            instance; or a function of yours, as "module:function" or the function itself, with the arguments
            `(input_shape, num_classes, **options)`.
        input_shape: (height, width, 3).
        num_classes: how many logits, at least 2.
        **options: keyword arguments of that builder, for instance `dropout=0.5`.

    Returns:
        A keras.Model from pixels (batch, height, width, 3), 0..255, to logits (batch, num_classes).

    Raises:
        InputError: for an unknown name, an option that the builder does not have or take, or images too small for it.
    """
    require_whole("num_classes", num_classes, 2)
    function = builder(name, options)
    try:
        network = function(tuple(input_shape), num_classes, **options)
    except (TypeError, ValueError) as error:
        # Of a function of the user's, the traceback says more.
        if isinstance(error, InputError) or not (name in MODELS or is_application(name)):
            raise
        raise InputError(f"model {name!r} cannot be built with {options}: {error}") from error
    import keras

    require(isinstance(network, keras.Model), f"{name} must return a keras.Model", type(network).__name__)
    return network


def builder(name, options=None):
    """The function that builds a network, after checking that it has these options.

    Args:
        name: as in `build_model`.
        options: {name: value} of keyword arguments; None: none.

    Raises:
        InputError: for an unknown name, an option that the builder does not have (says which it has), or one that is
            neither true nor false where the builder tests just that.
    """
    options = options or {}
    require(callable(name) or isinstance(name, str), "a model must be given by its name or as a function", name)
    if callable(name):
        function = name
    elif name in MODELS:
        function = getattr(import_module(f"kmodels.models.{MODELS[name]}"), name)
    elif is_application(name):
        function = import_module("kmodels.models.applications").application(name.removeprefix(APPLICATIONS))
    else:
        check_name("model", name, MODELS, APPLICATIONS)
        function = load_component("model", name)
    _check_options(name, function, options)
    return function


def _check_options(name, function, options):
    signature = inspect.signature(function)
    parameters = signature.parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        # The first two are input_shape and num_classes.
        known = list(parameters)[2:]
        for option in options:
            if option not in known:
                raise InputError(f"model {name!r} has no option {option!r}; it has: {', '.join(known) or 'none'}")
    try:
        signature.bind((), 0, **options)
    except TypeError as error:
        raise InputError(f"model {name!r} must take (input_shape, num_classes, **options): {error}") from error
    if isinstance(name, str) and (name in MODELS or is_application(name)):
        for option, value in options.items():
            # "no" would count as true.
            if isinstance(parameters[option].default, bool) and not isinstance(value, bool):
                raise InputError(f"the option {option} of model {name!r} must be true or false. Received: {value!r}")


def is_application(name):
    """Whether a name is one of keras.applications, known there or not: "applications:NAME"."""
    return isinstance(name, str) and name.startswith(APPLICATIONS)


def trainable_parameters(layer):
    """How many numbers training changes in a layer or a whole network."""
    return sum(math.prod(weight.shape) for weight in layer.trainable_weights)
