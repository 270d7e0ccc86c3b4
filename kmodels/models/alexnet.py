"""AlexNet, for photographs and for CIFAR.

Source: Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014, as torchvision has it
(report `intel_scenes`); and the code printed in report `cifar10_alexnet`.
"""

import keras
from keras import layers

from kmodels.models.blocks import IMAGENET_MEAN, IMAGENET_STD, batch_norm, conv, dense, drop, logits, pixels


def alexnet(input_shape, num_classes, *, dropout=0.5, batch_norm=False):
    """torchvision's AlexNet: 57,028,422 parameters for six classes at any size of at least 63x63 pixels.

    Args:
        dropout: rate before each of the two hidden dense layers.
        batch_norm: normalise after each convolution, before its ReLU. torchvision has no such variant.
    """
    image, x = pixels(input_shape, smallest=63, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    x = _conv_relu(x, 1, 64, 11, strides=4, padding=2, norm=batch_norm)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    x = _conv_relu(x, 2, 192, 5, padding=2, norm=batch_norm)
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)
    x = _conv_relu(x, 3, 384, 3, padding=1, norm=batch_norm)
    x = _conv_relu(x, 4, 256, 3, padding=1, norm=batch_norm)
    x = _conv_relu(x, 5, 256, 3, padding=1, norm=batch_norm, relu="feature_map")
    x = layers.MaxPooling2D(3, 2, name="pool5")(x)
    if 1 in x.shape[1:3]:
        # What adaptive pooling does to a single row or column; Keras' (3.15) cannot do it on TensorFlow.
        x = layers.UpSampling2D([6 if side == 1 else 1 for side in x.shape[1:3]], name="widen")(x)
    x = layers.AdaptiveAveragePooling2D(6, name="adaptive_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = drop(x, dropout, name="dropout1")
    x = layers.ReLU(name="relu6")(dense(x, 4096, name="dense1"))
    x = drop(x, dropout, name="dropout2")
    x = layers.ReLU(name="embedding")(dense(x, 4096, name="dense2"))
    return keras.Model(image, logits(x, num_classes), name="alexnet")


def alexnet_cifar(input_shape, num_classes, *, dropout=0.0):
    """AlexNet for 32x32, as the report prints it: 27,279,882 parameters for ten classes.

    Args:
        dropout: rate after each of the two hidden dense layers; the report's second version has 0.5.
    """
    image, x = pixels(input_shape, smallest=15, mean=0.5, std=0.5)
    x = _conv_relu(x, 1, 96, 5, strides=2, padding=2)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = _conv_relu(x, 2, 256, 5, padding=2)
    x = layers.MaxPooling2D(2, name="pool2")(x)
    x = _conv_relu(x, 3, 384, 3, padding=1)
    x = _conv_relu(x, 4, 384, 3, padding=1)
    x = _conv_relu(x, 5, 384, 3, padding=1, relu="feature_map")
    x = layers.MaxPooling2D(2, name="pool5")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.ReLU(name="relu6")(dense(x, 4096, name="dense1"))
    x = drop(x, dropout, name="dropout1")
    x = layers.ReLU(name="relu7")(dense(x, 4096, name="dense2"))
    x = drop(x, dropout, name="embedding")
    return keras.Model(image, logits(x, num_classes), name="alexnet_cifar")


def _conv_relu(x, number, filters, kernel_size, *, strides=1, padding, norm=False, relu=None):
    x = conv(x, filters, kernel_size, strides=strides, padding=padding, name=f"conv{number}")
    if norm:
        x = batch_norm(x, name=f"conv{number}_norm")
    return layers.ReLU(name=relu or f"relu{number}")(x)
