"""MobileNet of report `intel_scenes` (after Howard et al., MobileNets, 2017).

The report prints its two blocks, `conv_bn` and `conv_dw`, and that AlexNet's parameters went "from 54MB to 0.7MB", but
not how many blocks of which width. Its AlexNet has 57.03 million parameters, 54.4 times 2**20. Ten depthwise-separable
blocks of the paper's widths 64 to 512 have 747,590 for six classes, 0.71 times 2**20: a reconstruction.
"""

import keras
from keras import layers

from kmodels.models.blocks import IMAGENET_MEAN, IMAGENET_STD, batch_norm, conv, depthwise_conv, logits, pixels

# Channels and stride of each depthwise-separable block.
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (256, 1), (256, 1), (256, 1), (512, 2), (512, 1))


def mobilenet(input_shape, num_classes):
    """A strided convolution, ten depthwise-separable blocks, global average pooling: 747,590 parameters for six."""
    image, x = pixels(input_shape, smallest=16, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    x = conv(x, 32, 3, strides=2, padding=1, bias=False, name="stem_conv")
    x = layers.ReLU(name="stem_relu")(batch_norm(x, name="stem_norm"))
    for number, (filters, strides) in enumerate(BLOCKS, start=1):
        relu = "feature_map" if number == len(BLOCKS) else None
        x = _separable(x, filters, strides, name=f"block{number}", relu=relu)
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    return keras.Model(image, logits(x, num_classes), name="mobilenet")


def _separable(x, filters, strides, *, name, relu):
    """3x3 depthwise, then 1x1 across channels, each with batch normalisation and ReLU, none with a bias."""
    x = depthwise_conv(x, 3, strides=strides, padding=1, name=f"{name}_depthwise")
    x = layers.ReLU(name=f"{name}_relu1")(batch_norm(x, name=f"{name}_norm1"))
    x = conv(x, filters, 1, bias=False, name=f"{name}_pointwise")
    return layers.ReLU(name=relu or f"{name}_relu2")(batch_norm(x, name=f"{name}_norm2"))
