"""Contenders in hand-written JAX, without Keras in what is compiled.

`jax_network` rebuilds a Keras network as a plain function of its weights: the layers are read while JAX traces.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax
from keras import layers

from kmodels.bench.blocks import SEED, build_network, in_epochs, synthetic_split, timed
from kmodels.bench.graph import nodes


def jax_network(network):
    """The network as `apply(weights, moving, images, key=None) -> (logits, moving)`; a key means training.

    Args:
        network: a functional keras.Model with layers that `graph.nodes` accepts.

    Returns:
        That function, the trainable weights {layer: (array, ...)} and the moving statistics {layer: (mean, variance)}.

    Raises:
        InputError: for another layer.
    """
    graph = nodes(network)
    weights = {layer.name: _arrays(layer.trainable_weights) for layer, _ in graph}
    moving = {
        layer.name: _arrays((layer.moving_mean, layer.moving_variance))
        for layer, _ in graph
        if isinstance(layer, layers.BatchNormalization)
    }

    def apply(weights, moving, images, key=None):
        values, moving = {graph[0][0].name: images}, dict(moving)
        for number, (layer, inputs) in enumerate(graph[1:]):
            layer_key = None if key is None else jax.random.fold_in(key, number)
            x = [values[name] for name in inputs]
            values[layer.name] = _compute(layer, x if len(x) > 1 else x[0], weights[layer.name], moving, layer_key)
        return values[graph[-1][0].name], moving

    return apply, weights, moving


def _arrays(variables):
    return tuple(jnp.asarray(keras.ops.convert_to_numpy(variable)) for variable in variables)


def _compute(layer, x, weights, moving, key):
    """The output of a layer. Training replaces the layer's entry in `moving`."""
    match layer:
        case layers.Rescaling():
            x = x.astype(layer.compute_dtype)
            return x * jnp.asarray(layer.scale, x.dtype) + jnp.asarray(layer.offset, x.dtype)
        case layers.Conv2D():
            x, kernel, *bias = (array.astype(layer.compute_dtype) for array in (x, *weights))
            dimensions = ("NHWC", "HWIO", "NHWC")
            x = lax.conv_general_dilated(x, kernel, layer.strides, layer.padding.upper(), dimension_numbers=dimensions)
            return x + bias[0] if bias else x
        case layers.Dense():
            x, kernel, *bias = (array.astype(layer.compute_dtype) for array in (x, *weights))
            return x @ kernel + bias[0] if bias else x @ kernel
        case layers.BatchNormalization():
            return _batch_norm(layer, x, weights, moving, key is not None)
        case layers.ReLU():
            return jax.nn.relu(x)
        case layers.MaxPooling2D():
            return lax.reduce_window(x, np.array(-np.inf, x.dtype), lax.max, *_windows(layer))
        case layers.AveragePooling2D():
            area = layer.pool_size[0] * layer.pool_size[1]
            return lax.reduce_window(x, np.array(0, x.dtype), lax.add, *_windows(layer)) / area
        case layers.GlobalAveragePooling2D():
            return x.mean((1, 2))
        case layers.ZeroPadding2D():
            return jnp.pad(x, ((0, 0), *layer.padding, (0, 0)))
        case layers.Flatten():
            return x.reshape(len(x), -1)
        case layers.Dropout():
            if key is None or not layer.rate:
                return x
            kept = jax.random.bernoulli(key, 1 - layer.rate, x.shape)
            return jnp.where(kept, x / (1 - layer.rate), 0).astype(x.dtype)
        case layers.Add():
            return sum(x[1:], x[0])
        case layers.Concatenate():
            return jnp.concatenate(x, -1)


def _windows(layer):
    return (1, *layer.pool_size, 1), (1, *layer.strides, 1), "VALID"


def _batch_norm(layer, x, weights, moving, training):
    gamma, beta = weights
    mean, variance = moving[layer.name]
    # Statistics in single precision at least, whatever the network computes in; both from one reading of x.
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    if training:
        keep, old, axes = layer.momentum, (mean, variance), tuple(range(x.ndim - 1))
        mean = wide.mean(axes)
        variance = jnp.maximum(jnp.square(wide).mean(axes) - jnp.square(mean), 0)
        moving[layer.name] = tuple(keep * a + (1 - keep) * b for a, b in zip(old, (mean, variance), strict=True))
    return ((wide - mean) * (lax.rsqrt(variance + layer.epsilon) * gamma) + beta).astype(x.dtype)


def adam(rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
    """Adam: w -= rate * m' / (sqrt(v') + epsilon), with bias-corrected moments.

    Returns:
        (start, update): `start(weights) -> slots`, `update(weights, slots, gradients) -> (weights, slots)`.
    """

    def start(weights):
        # Two separate trees: a donated buffer must not be there twice.
        mean, square = (jax.tree.map(jnp.zeros_like, weights) for _ in range(2))
        return {"count": jnp.zeros((), jnp.float32), "mean": mean, "square": square}

    def update(weights, slots, gradients):
        count = slots["count"] + 1
        mean = jax.tree.map(lambda m, g: beta_1 * m + (1 - beta_1) * g, slots["mean"], gradients)
        square = jax.tree.map(lambda v, g: beta_2 * v + (1 - beta_2) * g * g, slots["square"], gradients)
        in_mean, in_square = 1 - beta_1**count, 1 - beta_2**count

        def step(w, m, v):
            return w - rate * (m / in_mean) / (jnp.sqrt(v / in_square) + epsilon)

        return jax.tree.map(step, weights, mean, square), {"count": count, "mean": mean, "square": square}

    return start, update


def training(network, optimizer):
    """(step, first state) of the training of a network; `step(state, images, labels) -> state` is not yet compiled.

    Args:
        network: as in `jax_network`.
        optimizer: (start, update) as from `adam`.
    """
    apply, weights, moving = jax_network(network)
    start, update = optimizer

    def loss(weights, moving, images, labels, key):
        logits, moving = apply(weights, moving, images, key)
        log_probabilities = jax.nn.log_softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))
        correct = (logits.argmax(-1) == labels).sum()
        return -jnp.take_along_axis(log_probabilities, labels[:, None], 1).mean(), (moving, correct)

    def step(state, images, labels):
        key, step_key = jax.random.split(state["key"])
        gradient = jax.value_and_grad(loss, has_aux=True)
        (value, (moving, correct)), gradients = gradient(state["weights"], state["moving"], images, labels, step_key)
        weights, slots = update(state["weights"], state["slots"], gradients)
        metrics = {"loss": state["metrics"]["loss"] + value, "correct": state["metrics"]["correct"] + correct}
        return {"weights": weights, "moving": moving, "slots": slots, "key": key, "metrics": metrics}

    metrics = {"loss": jnp.zeros(()), "correct": jnp.zeros((), jnp.int32)}
    key = jax.random.key(SEED)
    return step, {"weights": weights, "moving": moving, "slots": start(weights), "key": key, "metrics": metrics}


def epoch_of(step, batch_size):
    """`epoch(state, images, labels) -> state`: all images of the device in a new order, as one scan of steps."""

    def epoch(state, images, labels):
        key, order_key = jax.random.split(state["key"])
        steps = len(images) // batch_size
        order = jax.random.permutation(order_key, len(images))[: steps * batch_size].reshape(steps, batch_size)

        def one(state, indices):
            return step(state, images[indices], labels[indices]), None

        return lax.scan(one, {**state, "key": key}, order)[0]

    return epoch


def step_blocks(job):
    """A compiled step whose state is donated, with batches from memory."""
    step, state = training(build_network(job), adam(job.learning_rate))
    step = jax.jit(step, donate_argnums=0)
    split, rng = synthetic_split(job, job.epoch_steps), np.random.default_rng(SEED)

    def train(epochs, steps):
        nonlocal state
        for _ in range(epochs):
            for indices in rng.permutation(len(split))[: steps * job.batch_size].reshape(steps, job.batch_size):
                state = step(state, split.images[indices], split.labels[indices])
        jax.block_until_ready(state)

    return in_epochs(timed(train), job.epoch_steps)


def epoch_blocks(job):
    """A compiled epoch, a scan of steps over images on the device."""
    step, state = training(build_network(job), adam(job.learning_rate))
    epoch = jax.jit(epoch_of(step, job.batch_size), donate_argnums=0)
    split = synthetic_split(job, job.program_steps)
    images, labels = jax.device_put((split.images, split.labels))

    def train(epochs, steps):
        nonlocal state
        for _ in range(epochs):
            state = epoch(state, images, labels)
        jax.block_until_ready(state)

    return in_epochs(timed(train), job.program_steps, whole=True)
