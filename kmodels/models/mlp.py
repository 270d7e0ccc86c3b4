"""Multi-layer perceptrons of reports `intel_scenes` and `cifar100_to_stl10`.

The first gives its size, 667K parameters for six classes, and no layers. Two hidden layers of 96 and 32 on images of
48x48 pixels have 666,950: a reconstruction. The second prints its layers.
"""

import keras
from keras import layers

from kmodels.errors import require
from kmodels.models.blocks import dense, logits, pixels


def mlp(input_shape, num_classes):
    """Dense layers of 96, 32 and the classes, with ReLU: 666,950 parameters for six classes at 48x48."""
    return _perceptron(input_shape, num_classes, (96, 32), name="mlp")


def two_layer_net(input_shape, num_classes, *, hidden=(64,)):
    """Dense layers of 64 and the classes, with ReLU: 203,172 parameters for a hundred classes at 32x32.

    Args:
        hidden: widths of the hidden layers; the report's tuned network has (128, 128, 128).

    Raises:
        InputError: if hidden is empty or holds anything but whole numbers from 1 up.
    """
    require(
        isinstance(hidden, tuple | list) and hidden and all(type(width) is int and width >= 1 for width in hidden),
        "hidden must be one or more whole numbers from 1 up",
        hidden,
    )
    return _perceptron(input_shape, num_classes, hidden, name="two_layer_net")


def _perceptron(input_shape, num_classes, hidden, *, name):
    image, x = pixels(input_shape, smallest=1, mean=0.5, std=0.5)
    x = layers.Flatten(name="flatten")(x)
    for number, width in enumerate(hidden, start=1):
        x = dense(x, width, name=f"dense{number}")
        x = layers.ReLU(name="embedding" if number == len(hidden) else f"relu{number}")(x)
    return keras.Model(image, logits(x, num_classes), name=name)
