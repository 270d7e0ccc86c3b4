"""LeNet-like network (report `cifar100_to_stl10`, question 1.3; after LeCun et al. 1998)."""

import keras
from keras import layers

from kmodels.models.blocks import conv, dense, pixels


def conv_net(input_shape, num_classes):
    """Two 5x5 convolutions with average pooling, then 120, 84 and the classes; ReLU throughout."""
    image, x = pixels(input_shape, smallest=16, mean=0.5, std=0.5)
    x = layers.ReLU(name="relu1")(conv(x, 6, 5, name="conv1"))
    x = layers.AveragePooling2D(2, name="pool1")(x)
    x = layers.ReLU(name="feature_map")(conv(x, 16, 5, name="conv2"))
    x = layers.AveragePooling2D(2, name="pool2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.ReLU(name="relu3")(dense(x, 120, name="dense1"))
    x = layers.ReLU(name="embedding")(dense(x, 84, name="dense2"))
    return keras.Model(image, dense(x, num_classes, name="logits"), name="conv_net")
