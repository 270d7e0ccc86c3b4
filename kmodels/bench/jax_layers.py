"""Every layer type of our networks in plain JAX: a function of the layer's settings, its input and its weights.

To add one: a function and its line in HANDLERS.
"""

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax

from kmodels.bench.graph import activation_name, refuse

CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")
ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "softmax": jax.nn.softmax,
    "tanh": jnp.tanh,
}


@dataclass
class Pass:
    """One way of a batch through the network.

    Attributes:
        training: whether statistics are of the batch, and dropout acts.
        key: of what the layers draw; None leaves out dropout and noise.
        moving: {layer: (mean, variance)}; training replaces the entries.
        draws: how often this way has drawn.
    """

    training: bool
    key: jax.Array | None
    moving: dict
    draws: int = field(default=0)

    def next_key(self):
        """A key that no other layer gets."""
        self.draws += 1
        return jax.random.fold_in(self.key, self.draws)


def _computed(layer, *arrays):
    return [array.astype(layer.compute_dtype) for array in arrays]


def _activated(layer, x):
    name = activation_name(layer)
    if name not in ACTIVATIONS:
        raise refuse(layer, f"activation {name!r}")
    return ACTIVATIONS[name](x)


def rescaling(layer, x, weights, way):
    (x,) = _computed(layer, x)
    return x * jnp.asarray(layer.scale, x.dtype) + jnp.asarray(layer.offset, x.dtype)


def conv2d(layer, x, weights, way):
    x, kernel, *bias = _computed(layer, x, *weights)
    x = lax.conv_general_dilated(
        x,
        kernel,
        layer.strides,
        layer.padding.upper(),
        rhs_dilation=layer.dilation_rate,
        dimension_numbers=CHANNELS_LAST,
        feature_group_count=layer.groups,
    )
    return _activated(layer, x + bias[0] if bias else x)


def depthwise_conv2d(layer, x, weights, way):
    x, kernel, *bias = _computed(layer, x, *weights)
    height, width, channels, multiplier = kernel.shape
    x = lax.conv_general_dilated(
        x,
        kernel.reshape(height, width, 1, channels * multiplier),
        layer.strides,
        layer.padding.upper(),
        rhs_dilation=layer.dilation_rate,
        dimension_numbers=CHANNELS_LAST,
        feature_group_count=channels,
    )
    return _activated(layer, x + bias[0] if bias else x)


def dense(layer, x, weights, way):
    x, kernel, *bias = _computed(layer, x, *weights)
    x = x @ kernel
    return _activated(layer, x + bias[0] if bias else x)


def batch_norm(layer, x, weights, way):
    if layer.axis not in (-1, x.ndim - 1):
        raise refuse(layer, f"axis {layer.axis}")
    mean, variance = way.moving[layer.name]
    # Statistics in single precision at least, whatever the network computes in; one reading of x for both.
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    if way.training:
        axes = tuple(range(x.ndim - 1))
        old = (mean, variance)
        mean = wide.mean(axes)
        variance = jnp.maximum(jnp.square(wide).mean(axes) - jnp.square(mean), 0)
        way.moving[layer.name] = tuple(
            layer.momentum * before + (1 - layer.momentum) * now
            for before, now in zip(old, (mean, variance), strict=True)
        )
    weights = list(weights)
    scale = lax.rsqrt(variance + layer.epsilon) * (weights.pop(0) if layer.scale else 1)
    shift = weights.pop(0) if layer.center else 0
    return ((wide - mean) * scale + shift).astype(x.dtype)


def relu(layer, x, weights, way):
    if layer.max_value is not None or layer.negative_slope or layer.threshold:
        raise refuse(layer, "a maximum, slope or threshold")
    return jax.nn.relu(x)


def activation(layer, x, weights, way):
    return _activated(layer, x)


def _windows(layer, x, start, combine):
    sides = (1, *layer.pool_size, 1), (1, *layer.strides, 1)
    return lax.reduce_window(x, np.array(start, x.dtype), combine, *sides, layer.padding.upper())


def max_pooling(layer, x, weights, way):
    return _windows(layer, x, -jnp.inf, lax.max)


def average_pooling(layer, x, weights, way):
    # At a border, padding counts neither in the sum nor in the number.
    return _windows(layer, x, 0, lax.add) / _windows(layer, jnp.ones((1, *x.shape[1:3], 1), x.dtype), 0, lax.add)


def global_average_pooling(layer, x, weights, way):
    return x.mean((1, 2), keepdims=layer.keepdims)


def adaptive_average_pooling(layer, x, weights, way):
    rows, columns = (
        jnp.asarray(_averages(side, wanted), x.dtype)
        for side, wanted in zip(x.shape[1:3], layer.output_size, strict=True)
    )
    return jnp.einsum("nhwc,ih,jw->nijc", x, rows, columns)


def _averages(side, wanted):
    """Matrix (wanted, side) that averages over as many windows, as PyTorch cuts them."""
    matrix = np.zeros((wanted, side))
    for i in range(wanted):
        first, end = i * side // wanted, math.ceil((i + 1) * side / wanted)
        matrix[i, first:end] = 1 / (end - first)
    return matrix


def zero_padding(layer, x, weights, way):
    # The two axes that the layer takes for rows and columns: with channels "first", columns and channels of ours.
    sides = (*layer.padding, (0, 0)) if layer.data_format == "channels_last" else ((0, 0), *layer.padding)
    return jnp.pad(x, ((0, 0), *sides))


def up_sampling(layer, x, weights, way):
    if layer.interpolation != "nearest":
        raise refuse(layer, f"interpolation {layer.interpolation!r}")
    rows, columns = layer.size
    return x.repeat(rows, 1).repeat(columns, 2)


def flatten(layer, x, weights, way):
    return x.reshape(len(x), -1)


def reshape(layer, x, weights, way):
    return x.reshape(len(x), *layer.target_shape)


def dropout(layer, x, weights, way):
    if not way.training or way.key is None or not layer.rate:
        return x
    kept = jax.random.bernoulli(way.next_key(), 1 - layer.rate, x.shape)
    return jnp.where(kept, x / (1 - layer.rate), 0).astype(x.dtype)


def gaussian_noise(layer, x, weights, way):
    if not way.training or way.key is None or not layer.stddev:
        return x
    return x + layer.stddev * jax.random.normal(way.next_key(), x.shape, x.dtype)


def add(layer, x, weights, way):
    return sum(x[1:], x[0])


def concatenate(layer, x, weights, way):
    return jnp.concatenate(x, layer.axis)


def identity(layer, x, weights, way):
    return x


# The first class that a layer is an instance of decides: subclasses stand before their bases (DepthwiseConv2D is none).
HANDLERS = {
    keras.layers.Rescaling: rescaling,
    keras.layers.DepthwiseConv2D: depthwise_conv2d,
    keras.layers.Conv2D: conv2d,
    keras.layers.Dense: dense,
    keras.layers.BatchNormalization: batch_norm,
    keras.layers.ReLU: relu,
    keras.layers.Activation: activation,
    keras.layers.MaxPooling2D: max_pooling,
    keras.layers.AveragePooling2D: average_pooling,
    keras.layers.GlobalAveragePooling2D: global_average_pooling,
    keras.layers.AdaptiveAveragePooling2D: adaptive_average_pooling,
    keras.layers.ZeroPadding2D: zero_padding,
    keras.layers.UpSampling2D: up_sampling,
    keras.layers.Flatten: flatten,
    keras.layers.Reshape: reshape,
    keras.layers.Dropout: dropout,
    keras.layers.GaussianNoise: gaussian_noise,
    keras.layers.Add: add,
    keras.layers.Concatenate: concatenate,
    keras.layers.Identity: identity,
}
