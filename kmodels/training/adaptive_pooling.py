"""Adaptive average pooling by slices, whose gradient adds in a fixed order on a GPU.

Keras on JAX takes the windows by indexing, whose gradient adds with atomics, in an order that changes from run to run;
of PyTorch's own kernel the gradient is refused where results are to repeat.
"""

from functools import partial

import keras
from keras import ops


def pool_by_slices(network):
    """Lets the adaptive average pooling layers of a network compute so; what is saved of them stays as it was."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.AdaptiveAveragePooling2D) and layer.data_format == "channels_last":
            layer.call = partial(adaptive_mean, layer)


def adaptive_mean(layer, inputs):
    """What an AdaptiveAveragePooling2D layer computes of images (batch, height, width, channels)."""
    for axis, windows in enumerate(layer.output_size, start=1):
        length = inputs.shape[axis]
        spans = [slice(i * length // windows, -(-(i + 1) * length // windows)) for i in range(windows)]
        before = (slice(None),) * axis
        inputs = ops.stack([ops.mean(inputs[(*before, span)], axis) for span in spans], axis)
    return inputs
