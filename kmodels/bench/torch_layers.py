"""Every layer type of our networks as a PyTorch module with the same weights; in memory, channels come last.

To add one: a function from the layer to the module, and its line in HANDLERS.
"""

import keras
import numpy as np
import torch
from torch import nn

from kmodels.bench.graph import activation_name, refuse

ACTIVATIONS = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class Noise(nn.Module):
    """Adds normally distributed numbers while training."""

    def __init__(self, layer):
        super().__init__()
        self.std = layer.stddev

    def forward(self, x):
        return x + self.std * torch.randn_like(x) if self.training and self.std else x


class Scale(nn.Module):
    """Pixels times a scale plus an offset, each one number or one a channel."""

    def __init__(self, layer):
        super().__init__()
        for name in ("scale", "offset"):
            value = torch.tensor(np.asarray(getattr(layer, name), np.float32))
            self.register_buffer(name, value.reshape(1, -1, 1, 1) if value.ndim else value)

    def forward(self, images):
        return images.float() * self.scale + self.offset


def _filled(module, **arrays):
    with torch.no_grad():
        for name, array in arrays.items():
            getattr(module, name).copy_(torch.tensor(keras.ops.convert_to_numpy(array)))
    return module


def _kernel_and_bias(module, layer, kernel):
    bias = {"bias": layer.bias} if layer.use_bias else {}
    return _activated(layer, _filled(module, weight=kernel, **bias))


def _activated(layer, module):
    name = activation_name(layer)
    if name not in ACTIVATIONS:
        raise refuse(layer, f"activation {name!r}")
    return module if name == "linear" else nn.Sequential(module, ACTIVATIONS[name]())


def _padding(layer, kernel_size):
    if layer.padding == "valid":
        return 0
    if set(layer.strides) != {1} or any(side % 2 == 0 for side in kernel_size):
        raise refuse(layer, "padding that is not the same on both sides")
    return tuple(
        dilation * (side - 1) // 2
        for side, dilation in zip(kernel_size, getattr(layer, "dilation_rate", (1, 1)), strict=True)
    )


def _conv(layer, filters, groups, kernel):
    module = nn.Conv2d(
        layer.input.shape[-1],
        filters,
        layer.kernel_size,
        layer.strides,
        _padding(layer, layer.kernel_size),
        layer.dilation_rate,
        groups,
        layer.use_bias,
    )
    return _kernel_and_bias(module, layer, kernel)


def conv2d(layer):
    return _conv(layer, layer.filters, layer.groups, keras.ops.transpose(layer.kernel, (3, 2, 0, 1)))


def depthwise_conv2d(layer):
    height, width, channels, multiplier = layer.kernel.shape
    kernel = keras.ops.transpose(layer.kernel, (2, 3, 0, 1))
    kernel = keras.ops.reshape(kernel, (channels * multiplier, 1, height, width))
    return _conv(layer, channels * multiplier, channels, kernel)


def dense(layer):
    inputs, units = layer.kernel.shape
    return _kernel_and_bias(nn.Linear(inputs, units, layer.use_bias), layer, keras.ops.transpose(layer.kernel))


def batch_norm(layer):
    channels = layer.moving_mean.shape[0]
    dimensions = len(layer.input.shape)
    if layer.axis not in (-1, dimensions - 1):
        raise refuse(layer, f"axis {layer.axis}")
    if layer.scale != layer.center:
        raise refuse(layer, "one of scale and center")
    kind = nn.BatchNorm2d if dimensions == 4 else nn.BatchNorm1d
    module = kind(channels, layer.epsilon, 1 - layer.momentum, affine=layer.scale)
    affine = {"weight": layer.gamma, "bias": layer.beta} if layer.scale else {}
    return _filled(module, **affine, running_mean=layer.moving_mean, running_var=layer.moving_variance)


def relu(layer):
    if layer.max_value is not None or layer.negative_slope or layer.threshold:
        raise refuse(layer, "a maximum, slope or threshold")
    return nn.ReLU()


def activation(layer):
    return _activated(layer, nn.Identity())


def max_pooling(layer):
    return nn.MaxPool2d(layer.pool_size, layer.strides, _padding(layer, layer.pool_size))


def average_pooling(layer):
    padding = _padding(layer, layer.pool_size)
    return nn.AvgPool2d(layer.pool_size, layer.strides, padding, count_include_pad=False)


def global_average_pooling(layer):
    return Call(lambda x: x.mean((2, 3), keepdim=layer.keepdims))


def zero_padding(layer):
    (top, bottom), (left, right) = layer.padding
    if layer.data_format == "channels_last":
        return nn.ZeroPad2d((left, right, top, bottom))
    # With channels "first" the layer takes our columns for rows and our channels for columns.
    return Call(lambda x: nn.functional.pad(x, (top, bottom, 0, 0, left, right)))


def up_sampling(layer):
    if layer.interpolation != "nearest":
        raise refuse(layer, f"interpolation {layer.interpolation!r}")
    return nn.Upsample(scale_factor=tuple(map(float, layer.size)))


def _channels_first(x):
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def _channels_last(x):
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def flatten(layer):
    # In Keras' order, rows, columns, channels: how the numbers lie in channels_last memory already.
    return Call(lambda x: _channels_last(x).flatten(1))


def reshape(layer):
    shape = layer.target_shape
    return Call(lambda x: _channels_first(_channels_last(x).reshape(len(x), *shape)))


def concatenate(layer):
    if layer.axis not in (-1, len(layer.output.shape) - 1):
        raise refuse(layer, f"axis {layer.axis}")
    return Call(lambda *x: torch.cat(x, 1))


# The first class that a layer is an instance of decides.
HANDLERS = {
    keras.layers.Rescaling: Scale,
    keras.layers.DepthwiseConv2D: depthwise_conv2d,
    keras.layers.Conv2D: conv2d,
    keras.layers.Dense: dense,
    keras.layers.BatchNormalization: batch_norm,
    keras.layers.ReLU: relu,
    keras.layers.Activation: activation,
    keras.layers.MaxPooling2D: max_pooling,
    keras.layers.AveragePooling2D: average_pooling,
    keras.layers.GlobalAveragePooling2D: global_average_pooling,
    keras.layers.AdaptiveAveragePooling2D: lambda layer: nn.AdaptiveAvgPool2d(layer.output_size),
    keras.layers.ZeroPadding2D: zero_padding,
    keras.layers.UpSampling2D: up_sampling,
    keras.layers.Flatten: flatten,
    keras.layers.Reshape: reshape,
    keras.layers.Dropout: lambda layer: nn.Dropout(layer.rate),
    keras.layers.GaussianNoise: Noise,
    keras.layers.Add: lambda layer: Call(lambda *x: sum(x[1:], x[0])),
    keras.layers.Concatenate: concatenate,
    keras.layers.Identity: lambda layer: nn.Identity(),
}
