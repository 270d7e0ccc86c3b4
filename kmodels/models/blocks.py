"""What every network here is made of: Keras layers with PyTorch's padding, initialisation and constants."""

import math

import keras
from keras import layers

from kmodels.errors import require


def pixels(input_shape, *, smallest, mean=0.0, std=1.0):
    """The input of a network: images (batch, height, width, 3), 0..255, scaled to 0..1, then normalised.

    Args:
        smallest: the least height and width that the network can work with.
        mean: subtracted from the scaled pixels.
        std: what the difference is divided by.

    Returns:
        The input tensor and the scaled tensor.

    Raises:
        InputError: if the images have not three channels or are smaller than `smallest` pixels a side.
    """
    require(
        len(input_shape) == 3 and input_shape[-1] == 3,
        "input_shape must be (height, width, 3)",
        tuple(input_shape),
    )
    require(
        min(input_shape[:2]) >= smallest,
        f"this network needs images of at least {smallest}x{smallest} pixels",
        f"{input_shape[0]}x{input_shape[1]}",
    )
    image = layers.Input(input_shape, name="image")
    return image, layers.Rescaling(1 / (255 * std), -mean / std, name="scale")(image)


def conv(x, filters, kernel_size, *, name, strides=1, padding=0):
    """Convolution with `padding` zeros on every side, as in PyTorch."""
    # Keras' "same" pads like PyTorch at stride 1 only; elsewhere it pads the far side more.
    same = strides == 1 and 2 * padding == kernel_size - 1
    if padding and not same:
        x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
    return layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding="same" if same else "valid",
        name=name,
        **_torch_initializers(kernel_size * kernel_size * x.shape[-1]),
    )(x)


def dense(x, units, *, name):
    """Fully connected layer."""
    return layers.Dense(units, name=name, **_torch_initializers(x.shape[-1]))(x)


def batch_norm(x, *, name):
    """Batch normalisation with PyTorch's constants (its momentum 0.1 is 0.9 here).

    One difference is left: PyTorch adds n / (n - 1) times the variance of a batch to its running variance, Keras the
    variance itself; n is the number of values a channel has in a batch, thousands.
    """
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def _torch_initializers(fan_in):
    """PyTorch draws weights and biases uniformly from +-1/sqrt(fan_in) (torch.nn.Linear, torch.nn.Conv2d)."""
    limit = 1 / math.sqrt(fan_in)
    return {
        "kernel_initializer": keras.initializers.RandomUniform(-limit, limit),
        "bias_initializer": keras.initializers.RandomUniform(-limit, limit),
    }
