"""Operations whose training JAX compiles to something slow, computed in other ways; see faster_layers.py."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

# Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), as in JAX.
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


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
    largest, index = None, None
    for number, pixels in enumerate(_pixels(images, size, strides, padding, _lowest(images))):
        if number == 0:
            largest, index = pixels, jnp.zeros(pixels.shape, jnp.uint8 if math.prod(size) <= 256 else jnp.int32)
        else:
            index = jnp.where(pixels > largest, jnp.asarray(number, index.dtype), index)
            largest = jnp.maximum(largest, pixels)
    return largest, (index, shape)


def _pool_back(size, strides, padding, saved, gradient):
    index, shape = saved
    total = 0
    for number, start in enumerate(_starts(size)):
        # Back to where the slices of `_pixels` were taken, with zeros between and around.
        spread = [(0, 0, 0)]
        for axis in (0, 1):
            before = start[axis] - padding[axis][0]
            covered = before + (gradient.shape[1 + axis] - 1) * strides[axis] + 1
            spread.append((before, shape.shape[1 + axis] - covered, strides[axis] - 1))
        zero = jnp.zeros((), gradient.dtype)
        total += lax.pad(jnp.where(index == number, gradient, zero), zero, [*spread, (0, 0, 0)])
    return (total,)


max_pool.defvjp(_pool, _pool_back)


def _pixels(images, size, strides, padding, around):
    """The first pixel of all windows, the second, and so on, row by row; `around` is the value of the padding."""
    padded = lax.pad(images, around, [(0, 0, 0), (*padding[0], 0), (*padding[1], 0), (0, 0, 0)])
    count, height, width, channels = padded.shape
    ends = (height - size[0], width - size[1])
    for row, column in _starts(size):
        stop = (count, row + ends[0] + 1, column + ends[1] + 1, channels)
        yield lax.slice(padded, (0, row, column, 0), stop, (1, *strides, 1))


def _starts(size):
    return [(row, column) for row in range(size[0]) for column in range(size[1])]


def depthwise_conv(images, kernel, strides, padding):
    """Correlates each channel with a filter of its own: a sum of shifted copies, each times its weights.

    Args:
        images: floats (n, height, width, channels).
        kernel: floats (rows, columns, channels).
        strides: from one window to the next, (rows, columns).
        padding: with zeros, ((above, below), (left, right)).

    Returns:
        An array (n, windows high, windows wide, channels); of half precision, summed in float32.
    """
    wide = jnp.promote_types(images.dtype, jnp.float32)
    copies = _pixels(images, kernel.shape[:2], strides, padding, jnp.zeros((), images.dtype))
    weights = kernel.reshape(-1, kernel.shape[-1]).astype(wide)
    return sum(pixels.astype(wide) * weights[i] for i, pixels in enumerate(copies)).astype(images.dtype)


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


def _normalise_back(epsilon, saved, gradients):
    inputs, gamma, mean, inverse = saved
    gradient, axes = gradients[0].astype(gamma.dtype), tuple(range(inputs.ndim - 1))
    standard = (inputs.astype(gamma.dtype) - mean) * inverse
    of_gamma, of_beta = (gradient * standard).sum(axes), gradient.sum(axes)
    values = math.prod(inputs.shape[:-1])
    of_inputs = (gradient - (of_beta + standard * of_gamma) / values) * (inverse * gamma)
    return of_inputs.astype(inputs.dtype), of_gamma, of_beta, jnp.zeros_like(mean)


batch_norm.defvjp(_normalise, _normalise_back)


def uniform(shape, seed):
    """The values of `keras.random.uniform`, bit for bit, with JAX's usual generator (partitionable threefry).

    Args:
        shape: of ints.
        seed: a keras SeedGenerator.

    Returns:
        float32 array of this shape, from 0 to below 1.
    """
    counters = lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    high, low = _threefry(seed.next(), jnp.zeros_like(counters), counters)
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
