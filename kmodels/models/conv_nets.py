"""The tuned convolutional network of report `cifar100_to_stl10`, question 1.4, and a variant that it tried.

The report prints the layers of the first and the text names batch normalisation, average pooling and ReLU, not their
order: here as usual, each convolution normalised, then ReLU, then the pooling. Its 8192 inputs of the first dense layer
imply that the one pooling layer printed is used twice.
"""

import keras
from keras import layers

from kmodels.models.blocks import batch_norm, conv, dense, logits, pixels


def conv_net_tuned(input_shape, num_classes):
    """Two 3x3 convolutions (64, 128) with batch norm and average pooling, then 512 and the classes.

    4,322,148 parameters for a hundred classes at 32x32, where the first dense layer has 8192 inputs; at 96x96 it has
    73,728.
    """
    image, x = pixels(input_shape, smallest=4, mean=0.5, std=0.5)
    x = _two_convolutions(x, 3, layers.AveragePooling2D, padding=1)
    return _classified(image, x, num_classes, name="conv_net_tuned")


def conv_net_5x5(input_shape, num_classes):
    """Two 5x5 convolutions (64, 128) with batch norm and max-pooling, then 512 and the classes; tried and rejected.

    The report describes it as "2 convolutions with kernel 5, 2 batch norm layer and 2 max pooling layers". The rest
    is free: here no padding, as in `conv_net`, and the widths of `conv_net_tuned`.
    """
    image, x = pixels(input_shape, smallest=16, mean=0.5, std=0.5)
    x = _two_convolutions(x, 5, layers.MaxPooling2D, padding=0)
    return _classified(image, x, num_classes, name="conv_net_5x5")


def _two_convolutions(x, kernel_size, pooling, *, padding):
    for number, (filters, relu) in enumerate(((64, "relu1"), (128, "feature_map")), start=1):
        x = conv(x, filters, kernel_size, padding=padding, name=f"conv{number}")
        x = layers.ReLU(name=relu)(batch_norm(x, name=f"conv{number}_norm"))
        x = pooling(2, name=f"pool{number}")(x)
    return x


def _classified(image, x, num_classes, *, name):
    x = layers.Flatten(name="flatten")(x)
    x = layers.ReLU(name="embedding")(dense(x, 512, name="dense1"))
    return keras.Model(image, logits(x, num_classes), name=name)
