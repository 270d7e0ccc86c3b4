"""ResNets (He et al., Deep Residual Learning for Image Recognition, 2015): 18 and 32 layers for CIFAR, and ResNet50.

ResNet50 is torchvision's where it is trained from scratch. Keras' published weights belong to another arrangement of
the same layers; what differs is in `Arrangement`, and both are built here, so that whatever the weights, the
network has the same names.
"""

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from kmodels.errors import InputError, require
from kmodels.models.blocks import IMAGENET_MEAN, IMAGENET_STD, batch_norm, conv, logits, pixels
from kmodels.models.saving import load_network
from kmodels.models.transfer import copy_weights

KERAS_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{KERAS_FILE}"

# Channels and number of blocks of each stage.
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
STAGES_18 = ((64, 2), (128, 2), (256, 2), (512, 2))
STAGES_32 = ((16, 5), (32, 5), (64, 5))


class Arrangement(NamedTuple):
    """What torchvision's and Keras' ResNet50 do differently.

    Attributes:
        strided: which convolution of the first block of a stage has the stride: 1 (1x1) or 2 (3x3).
        mean, std: of red, green and blue scaled to 0..1, to normalise with.
    """

    strided: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


TORCHVISION = Arrangement(strided=2, mean=IMAGENET_MEAN, std=IMAGENET_STD)
# Keras' weights expect pixels 0..255 less ImageNet's mean.
KERAS_APPLICATIONS = Arrangement(strided=1, mean=(123.68 / 255, 116.779 / 255, 103.939 / 255), std=(1 / 255,) * 3)


def resnet50(input_shape, num_classes, *, weights=None, small_stem=False):
    """ResNet50: 23,520,326 trainable parameters for six classes, 12,294 of them in the classifier.

    Args:
        weights: None for random ones; "imagenet" for those of `keras.applications` (downloaded once); or a file: theirs
            (`resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5`), or a ResNet50 of ours (.keras, for instance what
            `kmodels convert` makes of torchvision's). The classifier is always re-initialised.
        small_stem: for small images, CIFAR's 32x32 say: a 3x3 convolution without stride and no max-pooling first,
            where ImageNet's stem makes 8x8 of 32x32 at once. Has no published weights.

    Raises:
        InputError: for options that exclude each other, or weights that are not there or of another network.
    """
    require(not (weights and small_stem), "small_stem has no published weights; leave weights out", weights)
    source = _read(weights) if weights else None
    arrangement = _arrangement(source) if source else TORCHVISION
    network = assemble(input_shape, num_classes, arrangement, small_stem)
    if source:
        copy_weights(network, source)
    return network


def resnet18_cifar(input_shape, num_classes):
    """ResNet18 with the stem for small images: 11,173,962 parameters for ten classes at any size from 8x8 pixels."""
    return _cifar(input_shape, num_classes, STAGES_18, _projected, name="resnet18_cifar")


def resnet32_cifar(input_shape, num_classes):
    """The paper's 32 layers for CIFAR (section 4.2, n = 5): 464,154 parameters for ten classes, no projections.

    Where a stage doubles the channels, the shortcut leaves out every other row and column and appends channels of zeros
    (option A of the paper, without parameters). Pixels are normalised and convolutions initialised as in
    `resnet18_cifar`.
    """
    return _cifar(input_shape, num_classes, STAGES_32, _subsampled, name="resnet32_cifar")


def _cifar(input_shape, num_classes, stages, widen, *, name):
    """A 3x3 convolution without stride, stages of basic blocks, global average pooling."""
    image, x = pixels(input_shape, smallest=8, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    x = layers.ReLU(name="stem_relu")(_conv_norm(x, stages[0][0], 3, padding=1, name="stem"))
    for filters, strides, block, last in _blocks(stages):
        relu = "feature_map" if last else None
        x = _basic_block(x, filters, strides=strides, widen=widen, name=block, relu=relu)
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    return keras.Model(image, logits(x, num_classes), name=name)


def assemble(input_shape, num_classes, arrangement, small_stem=False):
    """The graph with newly initialised weights."""
    smallest = 8 if small_stem else 32
    image, x = pixels(input_shape, smallest=smallest, mean=arrangement.mean, std=arrangement.std)
    if small_stem:
        x = _conv_norm(x, 64, 3, padding=1, name="stem")
        x = layers.ReLU(name="stem_relu")(x)
    else:
        x = _conv_norm(x, 64, 7, strides=2, padding=3, name="stem")
        x = layers.ReLU(name="stem_relu")(x)
        # Zeros in place of PyTorch's minus infinity: after a ReLU the maximum is the same.
        x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    for filters, strides, name, last in _blocks(STAGES):
        relu = "feature_map" if last else None
        x = _bottleneck(x, filters, strides=strides, strided=arrangement.strided, name=name, relu=relu)
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    return keras.Model(image, logits(x, num_classes), name="resnet50")


def _blocks(stages):
    """(filters, strides, name, whether it is the last) of each block; every stage but the first halves the sides."""
    for stage, (filters, blocks) in enumerate(stages, start=1):
        for block in range(1, blocks + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            yield filters, strides, f"stage{stage}_block{block}", stage == len(stages) and block == blocks


def _basic_block(x, filters, *, strides, widen, name, relu):
    """Two 3x3 convolutions, added to the input or to what `widen` makes of it."""
    shortcut = x
    x = _conv_norm(x, filters, 3, strides=strides, padding=1, name=f"{name}_conv1", norm=f"{name}_norm1")
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = _conv_norm(x, filters, 3, padding=1, name=f"{name}_conv2", norm=f"{name}_norm2")
    if shortcut.shape[-1] != filters:
        shortcut = widen(shortcut, filters, strides, name=f"{name}_shortcut")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=relu or f"{name}_relu2")(x)


def _projected(x, filters, strides, *, name):
    return _conv_norm(x, filters, 1, strides=strides, name=name)


def _subsampled(x, filters, strides, *, name):
    """Every `strides`-th row and column, with zeros for the channels that are added."""
    # Windows of one pixel leave out what is between them. Zeros go to the last axis if the layer is told it is the
    # columns. Layers of Keras, so that the network saves and loads everywhere.
    x = layers.AveragePooling2D(1, strides, name=f"{name}_pool")(x)
    added = ((0, 0), (0, filters - x.shape[-1]))
    return layers.ZeroPadding2D(added, data_format="channels_first", name=f"{name}_pad")(x)


def _bottleneck(x, filters, *, strides, strided, name, relu):
    """1x1, 3x3 and 1x1 convolutions to four times the filters, added to the input or to a projection of it."""
    shortcut = x
    first, second = (strides, 1) if strided == 1 else (1, strides)
    x = _conv_norm(x, filters, 1, strides=first, name=f"{name}_conv1", norm=f"{name}_norm1")
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = _conv_norm(x, filters, 3, strides=second, padding=1, name=f"{name}_conv2", norm=f"{name}_norm2")
    x = layers.ReLU(name=f"{name}_relu2")(x)
    x = _conv_norm(x, 4 * filters, 1, name=f"{name}_conv3", norm=f"{name}_norm3")
    if shortcut.shape[-1] != 4 * filters:
        shortcut = _conv_norm(shortcut, 4 * filters, 1, strides=strides, name=f"{name}_shortcut")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=relu or f"{name}_relu3")(x)


def _conv_norm(x, filters, kernel_size, *, name, norm=None, strides=1, padding=0):
    # As torchvision's ResNet initialises its convolutions: He et al., normal, by fan-out.
    he = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    x = conv(x, filters, kernel_size, strides=strides, padding=padding, bias=False, kernel_initializer=he, name=name)
    return batch_norm(x, name=norm or f"{name}_norm")


def _read(weights):
    """A ResNet50 of ours with the weights that `resnet50` was given."""
    if weights != "imagenet" and not Path(weights).is_file():
        raise InputError(f"weights must be 'imagenet' or a file that exists. Received: {str(weights)!r}")
    if weights == "imagenet" or Path(weights).suffix == ".h5":
        return from_keras_applications(_keras_resnet50(weights))
    if Path(weights).suffix == ".keras":
        return load_network(weights)
    raise InputError(
        f"weights in a file must be .keras or .h5. Received: {str(weights)!r}; PyTorch's are read by "
        "kmodels convert FILE.pth --model resnet50"
    )


def _arrangement(source):
    """The Arrangement of a ResNet50 of ours."""
    strided = any(layer.name == "stage2_block1_conv1" and layer.strides == (2, 2) for layer in source.layers)
    return KERAS_APPLICATIONS if strided else TORCHVISION


def _keras_resnet50(weights):
    try:
        return keras.applications.ResNet50(include_top=False, weights=weights, input_shape=(None, None, 3))
    except Exception as error:
        if weights == "imagenet":
            raise InputError(
                f"cannot download ResNet50's weights: {error}",
                f"Download {KERAS_URL} yourself and give that file as weights (--model-options weights=FILE)",
            ) from error
        raise InputError(
            f"{weights} does not hold the weights of keras.applications.ResNet50 without top ({KERAS_FILE}): {error}"
        ) from error


def from_keras_applications(theirs):
    """The same function as Keras' ResNet50 without top, in our layers.

    Theirs expects blue, green, red; its convolutions have biases, which here go into the batch norm that follows; and
    its epsilon is 1.001e-5, of which the part that ours lacks goes into the variances.
    """
    ours = assemble((224, 224, 3), 2, KERAS_APPLICATIONS)
    pairs = {"stem": ("conv1", "stem_norm")}
    for stage, (_, blocks) in enumerate(STAGES, start=1):
        for block in range(1, blocks + 1):
            name, their_name = f"stage{stage}_block{block}", f"conv{stage + 1}_block{block}"
            for i in (1, 2, 3):
                pairs[f"{name}_conv{i}"] = (f"{their_name}_{i}", f"{name}_norm{i}")
        shortcut = f"stage{stage}_block1_shortcut"
        pairs[shortcut] = (f"conv{stage + 1}_block1_0", f"{shortcut}_norm")
    for name, (their_name, norm_name) in pairs.items():
        kernel, bias = theirs.get_layer(f"{their_name}_conv").get_weights()
        norm, our_norm = theirs.get_layer(f"{their_name}_bn"), ours.get_layer(norm_name)
        gamma, beta, mean, variance = norm.get_weights()
        ours.get_layer(name).set_weights([kernel[:, :, ::-1] if name == "stem" else kernel])
        our_norm.set_weights([gamma, beta, mean - bias, variance + np.float32(norm.epsilon - our_norm.epsilon)])
    return ours
