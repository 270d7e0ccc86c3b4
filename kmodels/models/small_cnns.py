"""The six small networks of report `cifar10_small_cnns`.

The report prints the layers of models 2 to 4 (parameter counts pin them) but neither the widths of model 1, the
activations, the dropout rate nor the layer order of model 6. Chosen here: ReLU right after each convolution; model 1
about as large as the others, because the report's conclusion compares them and its training accuracy stays below 80 %;
dropout 0.2; model 6 as in its docstring.
"""

import keras
from keras import layers

from kmodels.models.blocks import batch_norm, conv, dense, drop, logits, pixels


def model1(input_shape, num_classes):
    """Three 3x3 convolutions (8, 16, 32), each with a max-pool, then dense layers 64, 32 and the classes."""
    image, x = pixels(input_shape, smallest=8)
    for i, filters in enumerate((8, 16, 32), start=1):
        x = conv(x, filters, 3, padding=1, name=f"conv{i}")
        x = layers.ReLU(name="feature_map" if i == 3 else f"relu{i}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.ReLU(name="relu4")(dense(x, 64, name="dense1"))
    x = layers.ReLU(name="embedding")(dense(x, 32, name="dense2"))
    return keras.Model(image, logits(x, num_classes), name="model1")


def model2(input_shape, num_classes, *, dropout=0.2):
    """Four batch normalisations, two dropouts: 42,506 parameters for ten classes at 32x32."""
    return _five_convolutions(
        input_shape,
        num_classes,
        name="model2",
        norm_after=("conv1", "conv2", "pool1", "pool2"),
        dropout_after=("conv1", "conv2"),
        dropout=dropout,
    )


def model3(input_shape, num_classes, *, dropout=0.2):
    """No batch normalisation, two dropouts: 42,218 parameters for ten classes at 32x32."""
    return _five_convolutions(
        input_shape, num_classes, name="model3", dropout_after=("conv1", "conv2"), dropout=dropout
    )


def model4(input_shape, num_classes, *, dropout=0.2):
    """Two batch normalisations, two dropouts: 42,314 parameters for ten classes at 32x32."""
    return _five_convolutions(
        input_shape,
        num_classes,
        name="model4",
        norm_after=("conv2", "pool2"),
        dropout_after=("conv1", "conv2"),
        dropout=dropout,
    )


def model5(input_shape, num_classes):
    """Model 4 without dropout."""
    return _five_convolutions(input_shape, num_classes, name="model5", norm_after=("conv2", "pool2"))


def model6(input_shape, num_classes, *, dropout=0.2):
    """Model 4 with both moved: batch normalisation after conv 1 and pool 1, dropout after conv 2 and pool 2."""
    return _five_convolutions(
        input_shape,
        num_classes,
        name="model6",
        norm_after=("conv1", "pool1"),
        dropout_after=("conv2", "pool2"),
        dropout=dropout,
    )


def _five_convolutions(input_shape, num_classes, *, name, norm_after=(), dropout_after=(), dropout=0.0):
    """What models 2 to 6 share; what they add comes after "conv1", "conv2", "pool1" or "pool2"."""

    def extras(x, layer):
        if layer in norm_after:
            x = batch_norm(x, name=f"{layer}_norm")
        if layer in dropout_after:
            x = drop(x, dropout, name=f"{layer}_dropout")
        return x

    image, x = pixels(input_shape, smallest=12)
    x = layers.ReLU(name="relu1")(conv(x, 64, 3, padding=1, name="conv1"))
    x = extras(x, "conv1")
    x = layers.ReLU(name="relu2")(conv(x, 32, 3, padding=1, name="conv2"))
    x = extras(x, "conv2")
    x = layers.ReLU(name="relu3")(conv(x, 32, 3, padding=1, name="conv3"))
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = extras(x, "pool1")
    x = layers.ReLU(name="relu4")(conv(x, 16, 3, padding=1, name="conv4"))
    x = layers.MaxPooling2D(2, name="pool2")(x)
    x = extras(x, "pool2")
    x = layers.ReLU(name="feature_map")(conv(x, 16, 3, name="conv5"))
    x = layers.Flatten(name="embedding")(x)
    return keras.Model(image, logits(x, num_classes), name=name)
