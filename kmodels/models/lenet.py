"""LeNet-like networks (after LeCun et al. 1998): of report `cifar100_to_stl10`, question 1.3, and the first network of
report `cifar10_alexnet`, "a basic CNN" that it does not show; assumed to be that of PyTorch's CIFAR-10 tutorial, whose
settings it shares."""

import keras
from keras import layers

from kmodels.models.blocks import conv, dense, logits, pixels


def conv_net(input_shape, num_classes):
    """Two 5x5 convolutions with average pooling, then 120, 84 and the classes; ReLU throughout."""
    return _lenet(input_shape, num_classes, layers.AveragePooling2D, name="conv_net")


def basic_cnn(input_shape, num_classes):
    """The LeNet-like network with max-pooling: 62,006 parameters for ten classes at 32x32."""
    return _lenet(input_shape, num_classes, layers.MaxPooling2D, name="basic_cnn")


def _lenet(input_shape, num_classes, pooling, *, name):
    image, x = pixels(input_shape, smallest=16, mean=0.5, std=0.5)
    x = layers.ReLU(name="relu1")(conv(x, 6, 5, name="conv1"))
    x = pooling(2, name="pool1")(x)
    x = layers.ReLU(name="feature_map")(conv(x, 16, 5, name="conv2"))
    x = pooling(2, name="pool2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.ReLU(name="relu3")(dense(x, 120, name="dense1"))
    x = layers.ReLU(name="embedding")(dense(x, 84, name="dense2"))
    return keras.Model(image, logits(x, num_classes), name=name)
