"""Layers that are faster, or repeat exactly, put in the place of Keras' own for training and for prediction.

`use_fast_layers` clones the graph of a network with `keras.models.clone_model`. A layer that is computed differently is
wrapped by one that holds it and uses its variables; all others are shared as they are. So training changes the network
itself, and what is saved of it knows nothing of this file. Values are the same, and gradients are the same but for
rounding (where windows overlap, and in batch normalisation).

Max pooling (JAX). XLA takes its gradient by a `select_and_scatter`. On a CPU that costs as much as a convolution; on a
GPU it adds with atomics, in an order that changes from run to run, or sorts all windows first where results are to
repeat (`make_deterministic`). Here the forward pass notes which pixel of a window was the largest, the first of equal
ones as in PyTorch, and the gradient is a sum of shifted copies, one for each pixel of a window.

Adaptive average pooling (JAX; PyTorch where results are to repeat). Keras on JAX takes the windows by indexing, whose
gradient adds with atomics; PyTorch refuses the gradient of its own kernel where results are to repeat. By slices the
order of the sum is fixed.

Batch normalisation (JAX). Keras reads a batch for its mean, again for its variance, and the gradient runs back through
both. Here one reading gives both, and the gradient is written out, so that one more reading gives all its sums. The
variance is the mean square less the square of the mean, after the moving mean is subtracted: digits are lost only where
the mean of a channel has moved by many of its standard deviations since.

Batch normalisation (TensorFlow, PyTorch). Keras composes it of operations, each of which reads memory. Both have one
operation for all of it and one for its gradient, which on a CPU take a fifth of the time or less. TensorFlow joins the
first to the convolution before and the activation after it where no gradient is asked for.

Dropout. On a CPU, JAX generates random bits in five loops over memory, elsewhere in a kernel of its own. The same
rounds of the same generator, written out, become part of the loop that drops. On PyTorch, uniform numbers and a product
take half the time of its own dropout.

Depthwise convolution (JAX on a CPU). XLA computes it on one core there. A sum of shifted copies, each times its
weights, takes a tenth of the time or less.

Convolution with a kernel of one pixel (JAX on a CPU). As a product of matrices it takes half the time, and its gradient
a third.

`kmodels bench --sections kernels` shows the work of a GPU step.
"""

import keras
from keras import ops

from kmodels.backend import deterministic
from kmodels.models.graph import has_graph


def use_fast_layers(network, training=True):
    """A model that computes what `network` does, with its variables, and is faster.

    Args:
        network: a keras.Model. Only functional and Sequential models are changed, nested ones included; one with a
            `call` of its own is kept as it is, and so is all that is in it.
        training: whether it is to be trained; else only what is slow in prediction is changed.

    Returns:
        A model with the same inputs and outputs. Training it trains `network`.
    """
    fast = {}

    def fast_or_same(layer):
        if id(layer) not in fast:
            fast[id(layer)] = _clone(layer, fast_or_same) if _is_graph(layer) else _fast(layer, training)
        return fast[id(layer)]

    return fast_or_same(network)


def _is_graph(layer):
    return isinstance(layer, keras.Model) and has_graph(layer)


def _clone(network, change):
    if all(change(layer) is layer for layer in network.layers):
        return network
    return keras.models.clone_model(network, clone_function=change)


def _fast(layer, training):
    replacement = _replacement(layer, training)
    return replacement(layer) if replacement else layer


def _replacement(layer, training):
    """The class that computes this layer in another way on this backend; None where there is none."""
    if getattr(layer, "activity_regularizer", None):
        # Its outputs are part of the loss, to which the layer itself adds them.
        return None
    # By the exact type: a subclass may compute something else.
    for kind, fast, backends in FAST_LAYERS:
        wanted = type(layer) is kind and keras.backend.backend() in backends and (training or fast.in_prediction)
        if wanted and fast.suits(layer):
            return fast
    return None


class FastLayer(keras.layers.Layer):
    """Base of the layers that compute what another one does, with its variables.

    Args:
        layer: a built layer of Keras, of the kind that the subclass stands for.
    """

    # Whether it is worth while in prediction, too.
    in_prediction = False

    def __init__(self, layer):
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.layer = layer
        self.supports_masking = layer.supports_masking
        self.built = True

    @staticmethod
    def suits(layer):
        """Whether this layer is one of those that the class can compute."""
        return layer.data_format == "channels_last"


class FastMaxPooling2D(FastLayer):
    """Max pooling whose gradient is a sum of shifted copies."""

    def call(self, inputs):
        from jax import lax

        from kmodels.models.jax_ops import max_pool

        size, strides = self.layer.pool_size, self.layer.strides
        padding = lax.padtype_to_pads(inputs.shape[1:3], size, strides, self.layer.padding.upper())
        return max_pool(inputs, size, strides, tuple(padding))


class FastAdaptiveAveragePooling2D(FastLayer):
    """Adaptive average pooling by slices."""

    @staticmethod
    def suits(layer):
        return layer.data_format == "channels_last" and (keras.backend.backend() == "jax" or deterministic())

    def call(self, inputs):
        for axis, windows in enumerate(self.layer.output_size, start=1):
            length = inputs.shape[axis]
            spans = [slice(i * length // windows, -(-(i + 1) * length // windows)) for i in range(windows)]
            before = (slice(None),) * axis
            inputs = ops.stack([ops.mean(inputs[(*before, span)], axis) for span in spans], axis)
        return inputs


class FastBatchNormalization(FastLayer):
    """Batch normalisation that reads a batch once."""

    @staticmethod
    def suits(layer):
        # Renormalisation came with Keras 3.14.
        standard = layer.scale and layer.center and not getattr(layer, "renorm", False)
        return standard and layer.axis in (-1, len(layer.input.shape) - 1)

    def call(self, inputs, training=False, mask=None):
        import jax.numpy as jnp
        from jax import lax

        from kmodels.models.jax_ops import batch_norm

        layer = self.layer
        if mask is not None or not jnp.issubdtype(inputs.dtype, jnp.floating):
            return layer(inputs, training=training, mask=mask)
        wide = jnp.promote_types(inputs.dtype, jnp.float32)
        variables = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
        gamma, beta, mean, variance = (variable.value.astype(wide) for variable in variables)
        if not (training and layer.trainable):
            outputs = (inputs.astype(wide) - mean) * (lax.rsqrt(variance + layer.epsilon) * gamma) + beta
            return outputs.astype(layer.compute_dtype)
        outputs, *statistics = batch_norm(inputs, gamma, beta, mean, layer.epsilon)
        _move_statistics(layer, *statistics)
        return outputs.astype(layer.compute_dtype)


class FusedBatchNormalization(FastLayer):
    """Batch normalisation of images by one operation of TensorFlow or PyTorch."""

    in_prediction = True

    @staticmethod
    def suits(layer):
        return FastBatchNormalization.suits(layer) and len(layer.input.shape) == 4 and not layer.synchronized

    def call(self, inputs, training=False, mask=None):
        layer, training = self.layer, bool(training)
        narrow = keras.backend.standardize_dtype(inputs.dtype) in ("float16", "bfloat16", "float32")
        # By moving statistics, the gradient is faster by Keras' operations; TensorFlow's would not repeat on a GPU.
        frozen = training and not layer.trainable
        if mask is not None or not narrow or frozen or (training and _single_pixel(inputs)):
            return layer(inputs, training=training, mask=mask)
        variables = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
        wide = (ops.cast(variable, "float32") for variable in variables)
        normalise = _tensorflow_norm if keras.backend.backend() == "tensorflow" else _torch_norm
        outputs, *statistics = normalise(inputs, *wide, layer.epsilon, training)
        if training:
            _move_statistics(layer, *statistics)
        return ops.cast(outputs, layer.compute_dtype)


def _move_statistics(layer, mean, variance):
    """Moves those of a batch normalisation towards mean and variance of a batch."""
    keep = layer.momentum
    for moving, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(ops.cast(moving, batch.dtype) * keep + batch * (1 - keep))


def _single_pixel(inputs):
    """Whether PyTorch refuses to normalise them by their own mean."""
    return keras.backend.backend() == "torch" and inputs.numel() == inputs.shape[-1]


def _tensorflow_norm(inputs, gamma, beta, mean, variance, epsilon, training):
    """What `inputs` become; while training also mean and variance (divided by their number) of their channels."""
    import tensorflow as tf

    known = {"mean": [], "variance": []} if training else {"mean": mean, "variance": variance}
    fused = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, **known, epsilon=epsilon, is_training=training
    )
    pixels = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
    # TensorFlow divides by one less than the number of pixels, Keras by their number.
    return fused.y, fused.batch_mean, fused.batch_variance * (pixels - 1) / pixels


def _torch_norm(inputs, gamma, beta, mean, variance, epsilon, training):
    """As `_tensorflow_norm`."""
    import torch

    if training:
        # With a momentum of 1 those of the batch are written into them.
        mean, variance = torch.zeros_like(mean), torch.zeros_like(variance)
    channels_first = inputs.permute(0, 3, 1, 2)
    outputs = torch.nn.functional.batch_norm(channels_first, mean, variance, gamma, beta, training, 1.0, epsilon)
    pixels = inputs.numel() // inputs.shape[-1]
    # PyTorch divides by one less than the number of pixels, Keras by their number.
    return outputs.permute(0, 2, 3, 1), mean, variance * (pixels - 1) / pixels


class FastDropout(FastLayer):
    """Dropout of single values."""

    @staticmethod
    def suits(layer):
        return 0 < layer.rate < 1 and layer.noise_shape is None

    def call(self, inputs, training=False):
        if not training:
            return inputs
        keep = 1 - ops.cast(self.layer.rate, "float32")
        uniform = _uniform()
        kept = uniform(ops.shape(inputs), seed=self.layer.seed_generator) < keep
        scaled = inputs / ops.cast(keep, inputs.dtype)
        if keras.backend.backend() == "torch":
            # The same values in half the time: PyTorch computes one operation at a time, and a choice is its slowest.
            return scaled * ops.cast(kept, inputs.dtype)
        return ops.where(kept, scaled, ops.zeros_like(inputs))


class FastDepthwiseConv2D(FastLayer):
    """Depthwise convolution as a sum of shifted copies."""

    in_prediction = True

    @staticmethod
    def suits(layer):
        return _on_cpu(layer) and layer.depth_multiplier == 1 and set(layer.dilation_rate) == {1}

    def call(self, inputs):
        from jax import lax

        from kmodels.models.jax_ops import depthwise_conv

        layer = self.layer
        padding = lax.padtype_to_pads(inputs.shape[1:3], layer.kernel_size, layer.strides, layer.padding.upper())
        outputs = depthwise_conv(inputs, layer.kernel.value[..., 0], layer.strides, tuple(padding))
        if layer.use_bias:
            outputs += layer.bias.value
        return layer.activation(outputs)


class FastPointwiseConv2D(FastLayer):
    """Convolution with a kernel of one pixel, as a product of matrices."""

    in_prediction = True

    @staticmethod
    def suits(layer):
        return _on_cpu(layer) and tuple(layer.kernel_size) == (1, 1) and layer.groups == 1

    def call(self, inputs):
        layer = self.layer
        rows, columns = layer.strides
        pixels = inputs[:, ::rows, ::columns]
        outputs = ops.reshape(ops.reshape(pixels, (-1, pixels.shape[-1])) @ layer.kernel[0, 0], (*pixels.shape[:3], -1))
        return layer.activation(outputs + layer.bias if layer.use_bias else outputs)


def _on_cpu(layer):
    import jax

    return layer.data_format == "channels_last" and jax.default_backend() == "cpu"


def _uniform():
    if keras.backend.backend() != "jax":
        return keras.random.uniform
    from kmodels.models.jax_ops import uniform

    return uniform


# Layer of Keras, what computes it during training, and on which backends.
FAST_LAYERS = (
    (keras.layers.MaxPooling2D, FastMaxPooling2D, ("jax",)),
    (keras.layers.AdaptiveAveragePooling2D, FastAdaptiveAveragePooling2D, ("jax", "torch")),
    (keras.layers.BatchNormalization, FastBatchNormalization, ("jax",)),
    (keras.layers.BatchNormalization, FusedBatchNormalization, ("tensorflow", "torch")),
    (keras.layers.Conv2D, FastPointwiseConv2D, ("jax",)),
    (keras.layers.DepthwiseConv2D, FastDepthwiseConv2D, ("jax",)),
    (keras.layers.Dropout, FastDropout, ("jax", "tensorflow", "torch")),
)
