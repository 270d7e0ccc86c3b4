"""The blocks of every network here: Keras layers with PyTorch's padding, initialisation and constants."""

import math

import keras
from keras import layers

from kmodels.errors import require

# Of the red, green and blue of ImageNet scaled to 0..1, as torchvision's networks are fed.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def pixels(input_shape, *, smallest, mean=0.0, std=1.0):
    """The input of a network: images (batch, height, width, 3), 0..255, scaled to 0..1, then normalised.

    Args:
        smallest: the least height and width that the network can work with.
        mean: subtracted from the scaled pixels; one number, or one for each channel.
        std: what the difference is divided by; the same.

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
    if isinstance(mean, tuple):
        scale = [1 / (255 * s) for s in std]
        offset = [-m / s for m, s in zip(mean, std, strict=True)]
    else:
        scale, offset = 1 / (255 * std), -mean / std
    return image, layers.Rescaling(scale, offset, dtype=full_precision(), name="scale")(image)


def full_precision():
    """The dtype of layers that half precision would harm: that of the variables, float32 in half precision."""
    return keras.config.dtype_policy().variable_dtype


def conv(x, filters, kernel_size, *, name, strides=1, padding=0, bias=True, kernel_initializer=None):
    """Convolution with `padding` zeros on every side, initialised as in PyTorch where no `kernel_initializer` is given.

    Args:
        kernel_size: height and width of the kernel, or the pair (height, width).
        padding: rows of zeros above and below and columns to the left and right, or the pair (rows, columns); or
            "same": Keras' own, which at stride 2 adds more below and to the right.
    """
    x, keras_padding = _padded(x, kernel_size, strides, padding, name)
    initializers = _torch_initializers(math.prod(_pair(kernel_size)) * x.shape[-1])
    if kernel_initializer is not None:
        initializers["kernel_initializer"] = kernel_initializer
    return layers.Conv2D(
        filters, kernel_size, strides, padding=keras_padding, use_bias=bias, name=name, **initializers
    )(x)


def depthwise_conv(x, kernel_size, *, name, strides=1, padding=0, kernel_initializer=None):
    """One filter for each channel, without bias; `padding` and `kernel_initializer` as in `conv`."""
    x, keras_padding = _padded(x, kernel_size, strides, padding, name)
    initializer = kernel_initializer or _torch_initializers(kernel_size * kernel_size)["kernel_initializer"]
    return layers.DepthwiseConv2D(
        kernel_size,
        strides,
        padding=keras_padding,
        use_bias=False,
        depthwise_initializer=initializer,
        name=name,
    )(x)


def _padded(x, kernel_size, strides, padding, name):
    """The input and the `padding` argument with which a Keras convolution pads like PyTorch."""
    if padding == "same":
        return x, "same"
    # Keras' "same" pads like PyTorch at stride 1 only; elsewhere it pads the far side more.
    sides, zeros = _pair(kernel_size), _pair(padding)
    if strides == 1 and all(2 * z == side - 1 for side, z in zip(sides, zeros, strict=True)):
        return x, "same"
    return (layers.ZeroPadding2D(zeros, name=f"{name}_pad")(x) if any(zeros) else x), "valid"


def _pair(sides):
    return sides if isinstance(sides, tuple) else (sides, sides)


def dense(x, units, *, name):
    """Fully connected layer."""
    return layers.Dense(units, name=name, **_torch_initializers(x.shape[-1]))(x)


def logits(x, num_classes, *, bias_initializer=None):
    """The classifier; in single precision also where the network computes in half.

    Initialised as in PyTorch, but for the bias where a `bias_initializer` is given.
    """
    initializers = _torch_initializers(x.shape[-1])
    if bias_initializer is not None:
        initializers["bias_initializer"] = bias_initializer
    return layers.Dense(num_classes, dtype=full_precision(), name="logits", **initializers)(x)


def drop(x, rate, *, name):
    """Dropout: while training, sets values to 0 with probability `rate` and divides the others by 1 - rate."""
    return layers.Dropout(rate, name=name)(x)


def batch_norm(x, *, name, momentum=0.9, epsilon=1e-5):
    """Batch normalisation, by default with PyTorch's constants (its momentum 0.1 is 0.9 here).

    One difference is left: PyTorch adds n / (n - 1) times the variance of a batch to its running variance, Keras the
    variance itself; n is the number of values a channel has in a batch, thousands but for the
    smallest maps.
    """
    return layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name=name)(x)


def _torch_initializers(fan_in):
    """PyTorch initialises weights and biases uniformly in +-1/sqrt(fan_in) (torch.nn.Linear, torch.nn.Conv2d)."""
    limit = 1 / math.sqrt(fan_in)
    return {
        "kernel_initializer": keras.initializers.RandomUniform(-limit, limit),
        "bias_initializer": keras.initializers.RandomUniform(-limit, limit),
    }
