"""Layers whose training JAX compiles to something slow, computed in other ways.

Values are the same, and gradients but for rounding where windows overlap; those of batch normalisation are the same but
for rounding. (Of NaN and of forward-mode derivatives, which no training takes, that is not said.)

Max pooling. XLA takes its gradient by a `select_and_scatter`. On a processor that costs as much as a convolution; on a
GPU it adds with atomics, in an order that changes from run to run, or, where results are to repeat
(`make_deterministic`), sorts all windows first. Here the forward pass notes which pixel of a window was the largest,
the first of equal ones as in PyTorch, and the gradient is a sum of shifted copies, one for each pixel of a window.

Adaptive average pooling. See adaptive_pooling.py.

Batch normalisation. Keras reads a batch for its mean, again for its variance, and the gradient runs back through both.
Here one reading gives both, and the gradient is written out, so that one more gives all its sums. The variance is the
mean square less the square of the mean, of what is left when the moving mean is taken off: digits are lost only where
a channel's mean has moved by many of its standard deviations since.

Dropout. On a processor JAX draws random bits in five loops over memory, elsewhere in a kernel of its own. The same
rounds of the same generator, written out, become part of the loop that drops.

`kmodels bench --sections profile` shows what each kind of layer takes, `--sections kernels` what a step asks of a GPU.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import keras
from jax import lax

from kmodels.training.adaptive_pooling import adaptive_mean

# Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), as in JAX.
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def quicken(network):
    """Lets layers of a network compute in these ways; what is saved of them stays as it was.

    (Dropout takes its draws from `uniform` where trainer.py has it read its rate.)
    """
    for layer in network.layers:
        for kind, (suits, call) in QUICKER.items():
            if type(layer) is kind and suits(layer):
                layer.call = partial(call, layer)


def _channels_last(layer):
    return layer.data_format == "channels_last"


def _largest(layer, inputs):
    size, strides = layer.pool_size, layer.strides
    padding = lax.padtype_to_pads(inputs.shape[1:3], size, strides, layer.padding.upper())
    return max_pool(inputs, size, strides, tuple(padding))


def _usual_normalisation(layer):
    # Renormalisation came with Keras 3.14.
    renormalised = getattr(layer, "renorm", False)
    return layer.scale and layer.center and not renormalised and layer.axis in (-1, len(layer.input.shape) - 1)


def _normalised(layer, inputs, training=False, mask=None):
    if mask is not None or not jnp.issubdtype(inputs.dtype, jnp.floating):
        return type(layer).call(layer, inputs, training, mask)
    wide = jnp.promote_types(inputs.dtype, jnp.float32)
    variables = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    gamma, beta, mean, variance = (variable.value.astype(wide) for variable in variables)
    if not (training and layer.trainable):
        outputs = (inputs.astype(wide) - mean) * (lax.rsqrt(variance + layer.epsilon) * gamma) + beta
        return outputs.astype(layer.compute_dtype)
    outputs, *statistics = batch_norm(inputs, gamma, beta, mean, layer.epsilon)
    keep = layer.momentum
    for moving, batch in zip((layer.moving_mean, layer.moving_variance), statistics, strict=True):
        moving.assign(moving.value * keep + batch * (1 - keep))
    return outputs.astype(layer.compute_dtype)


# Whether a layer is one of those that compute as here, and how it does.
QUICKER = {
    keras.layers.MaxPooling2D: (_channels_last, _largest),
    keras.layers.AdaptiveAveragePooling2D: (_channels_last, adaptive_mean),
    keras.layers.BatchNormalization: (_usual_normalisation, _normalised),
}


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(images, size, strides, padding):
    """The largest value of each window.

    Args:
        images: floats (n, height, width, channels).
        size: of a window, (rows, columns).
        strides: from one window to the next, (rows, columns).
        padding: with -inf, ((above, below), (left, right)).

    Returns:
        An array (n, windows high, windows wide, channels).
    """
    windows, steps, around = (1, *size, 1), (1, *strides, 1), ((0, 0), *padding, (0, 0))
    return lax.reduce_window(images, _lowest(images), lax.max, windows, steps, around)


def _pool(images, size, strides, padding):
    # The shape of the images, but for their number, goes to the gradient as that of an empty array.
    shape = jnp.zeros((0, *images.shape[1:]), images.dtype)
    largest, place = None, None
    for number, pixels in enumerate(_pixels(images, size, strides, padding)):
        if number == 0:
            largest, place = pixels, jnp.zeros(pixels.shape, jnp.uint8 if math.prod(size) <= 256 else jnp.int32)
        else:
            place = jnp.where(pixels > largest, jnp.asarray(number, place.dtype), place)
            largest = jnp.maximum(largest, pixels)
    return largest, (place, shape)


def _pool_back(size, strides, padding, noted, gradient):
    place, shape = noted
    total = 0
    for number, start in enumerate(_starts(size)):
        # Back to where the slices of `_pixels` were taken, with zeros between and around.
        spread = [(0, 0, 0)]
        for axis in (0, 1):
            before = start[axis] - padding[axis][0]
            covered = before + (gradient.shape[1 + axis] - 1) * strides[axis] + 1
            spread.append((before, shape.shape[1 + axis] - covered, strides[axis] - 1))
        zero = jnp.zeros((), gradient.dtype)
        total += lax.pad(jnp.where(place == number, gradient, zero), zero, [*spread, (0, 0, 0)])
    return (total,)


max_pool.defvjp(_pool, _pool_back)


def _pixels(images, size, strides, padding):
    """The first pixel of all windows, the second, and so on, row by row."""
    padded = lax.pad(images, _lowest(images), [(0, 0, 0), (*padding[0], 0), (*padding[1], 0), (0, 0, 0)])
    count, height, width, channels = padded.shape
    ends = (height - size[0], width - size[1])
    for row, column in _starts(size):
        stop = (count, row + ends[0] + 1, column + ends[1] + 1, channels)
        yield lax.slice(padded, (0, row, column, 0), stop, (1, *strides, 1))


def _starts(size):
    return [(row, column) for row in range(size[0]) for column in range(size[1])]


def _lowest(images):
    return jnp.asarray(-jnp.inf, images.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def batch_norm(inputs, gamma, beta, near, epsilon):
    """Normalises the channels of a batch. A gradient runs through the outputs, not through the statistics.

    Args:
        inputs: floats (..., channels).
        gamma: the scale of each channel (channels,); its type, float32 or wider, is that of the sums.
        beta: the shift, the same.
        near: something near the mean of each channel, the same.
        epsilon: added to the variance.

    Returns:
        The outputs, in the type of the inputs; the mean and the variance of each channel, (channels,).
    """
    return _normalise(inputs, gamma, beta, near, epsilon)[0]


def _normalise(inputs, gamma, beta, near, epsilon):
    wide, axes = inputs.astype(gamma.dtype), tuple(range(inputs.ndim - 1))
    rest = wide - near
    mean, square = rest.mean(axes), jnp.square(rest).mean(axes)
    variance = jnp.maximum(square - jnp.square(mean), 0)
    mean, inverse = mean + near, lax.rsqrt(variance + epsilon)
    outputs = (wide - mean) * (inverse * gamma) + beta
    return (outputs.astype(inputs.dtype), mean, variance), (inputs, gamma, mean, inverse)


def _normalise_back(epsilon, noted, gradients):
    inputs, gamma, mean, inverse = noted
    gradient, axes = gradients[0].astype(gamma.dtype), tuple(range(inputs.ndim - 1))
    standard = (inputs.astype(gamma.dtype) - mean) * inverse
    of_gamma, of_beta = (gradient * standard).sum(axes), gradient.sum(axes)
    values = math.prod(inputs.shape[:-1])
    of_inputs = (gradient - (of_beta + standard * of_gamma) / values) * (inverse * gamma)
    return of_inputs.astype(inputs.dtype), of_gamma, of_beta, jnp.zeros_like(mean)


batch_norm.defvjp(_normalise, _normalise_back)


def uniform(shape, seed):
    """What `keras.random.uniform` draws, bit for bit, with JAX's usual generator (partitionable threefry).

    Args:
        shape: of ints.
        seed: a keras SeedGenerator.

    Returns:
        float32 array of this shape, from 0 to below 1.
    """
    places = lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    high, low = _threefry(seed.next(), jnp.zeros_like(places), places)
    return ((high ^ low) >> 9).astype(jnp.float32) * jnp.float32(2**-23)


def _threefry(key, high, low):
    keys = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    high, low = high + keys[0], low + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            high = high + low
            low = high ^ (low << rotation | low >> (32 - rotation))
        high, low = high + keys[(group + 1) % 3], low + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return high, low
