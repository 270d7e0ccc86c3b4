"""A plain-JAX training step and epoch around `plain_jax`: PyTorch's SGD and Adam by hand, no Keras, no optax."""

import jax
import jax.numpy as jnp

from kmodels.errors import unknown


def sgd(rate, momentum):
    """(start, update) of SGD: buffer = momentum * buffer + g; w -= rate * buffer."""

    def start(weights):
        return {"buffer": jax.tree.map(jnp.zeros_like, weights)} if momentum else {}

    def update(weights, slots, gradients):
        if momentum:
            gradients = jax.tree.map(lambda b, g: momentum * b + g, slots["buffer"], gradients)
            slots = {"buffer": gradients}
        return jax.tree.map(lambda w, g: w - rate * g, weights, gradients), slots

    return start, update


def adam(rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
    """(start, update) of Adam: w -= rate * m' / (sqrt(v') + epsilon), with bias-corrected moments."""

    def start(weights):
        # Two trees of their own: a donated buffer must not be there twice.
        zeros = [jax.tree.map(jnp.zeros_like, weights) for _ in range(2)]
        return {"count": jnp.zeros((), jnp.float32), "mean": zeros[0], "square": zeros[1]}

    def update(weights, slots, gradients):
        count = slots["count"] + 1
        mean = jax.tree.map(lambda m, g: beta_1 * m + (1 - beta_1) * g, slots["mean"], gradients)
        square = jax.tree.map(lambda v, g: beta_2 * v + (1 - beta_2) * g * g, slots["square"], gradients)
        in_mean, in_square = 1 - beta_1**count, 1 - beta_2**count

        def step(w, m, v):
            return w - rate * (m / in_mean) / (jnp.sqrt(v / in_square) + epsilon)

        return jax.tree.map(step, weights, mean, square), {"count": count, "mean": mean, "square": square}

    return start, update


def optimizer(name, rate, momentum=0.0):
    """(start, update) of "sgd" or "adam".

    Raises:
        InputError: for another name.
    """
    if name == "sgd":
        return sgd(rate, momentum)
    if name == "adam":
        return adam(rate)
    raise unknown("optimizer of the hand-written step", name, ("adam", "sgd"))


def loss_of(apply):
    """`loss(weights, moving, images, labels, key) -> (mean cross entropy, (moving, number of right answers))`."""

    def loss(weights, moving, images, labels, key):
        logits, moving = apply(weights, moving, images, key, training=True)
        log_probabilities = jax.nn.log_softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))
        right = (logits.argmax(-1) == labels).sum()
        return -jnp.take_along_axis(log_probabilities, labels[:, None], 1).mean(), (moving, right)

    return loss


def first_state(weights, moving, start, seed=0):
    """What a step takes and gives: weights, moving statistics, slots of the optimizer, a key, sums of the metrics."""
    metrics = {"loss": jnp.zeros(()), "right": jnp.zeros((), jnp.int32)}
    slots = start(weights)
    return {"weights": weights, "moving": moving, "slots": slots, "key": jax.random.key(seed), "metrics": metrics}


def step_of(apply, update):
    """`step(state, images, labels) -> state`, not yet compiled; images uint8 (batch, height, width, 3)."""
    gradient = jax.value_and_grad(loss_of(apply), has_aux=True)

    def step(state, images, labels):
        key, drawn = jax.random.split(state["key"])
        (loss, (moving, right)), gradients = gradient(state["weights"], state["moving"], images, labels, drawn)
        weights, slots = update(state["weights"], state["slots"], gradients)
        metrics = {"loss": state["metrics"]["loss"] + loss, "right": state["metrics"]["right"] + right}
        return {"weights": weights, "moving": moving, "slots": slots, "key": key, "metrics": metrics}

    return step


def epoch_of(step, batch_size):
    """`epoch(state, images, labels) -> state`: all images of the device in a new order, as one scan of steps."""

    def epoch(state, images, labels):
        key, drawn = jax.random.split(state["key"])
        steps = len(images) // batch_size
        order = jax.random.permutation(drawn, len(images))[: steps * batch_size].reshape(steps, batch_size)

        def one(state, places):
            return step(state, images[places], labels[places]), None

        return jax.lax.scan(one, {**state, "key": key}, order)[0]

    return epoch


def training_flops(apply, weights, moving, images, labels):
    """Floating-point operations of loss and gradient for one image, as XLA counts them before it optimises.

    Dropout and noise are left out: the integers that their random numbers are made of would be counted too.

    Returns:
        The number, or None where XLA does not count.
    """
    gradient = jax.jit(jax.value_and_grad(loss_of(apply), has_aux=True))
    arguments = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (weights, moving, images, labels))
    # Of a program for a GPU it is not told.
    with jax.default_device(jax.devices("cpu")[0]):
        analysis = gradient.lower(*arguments, None).cost_analysis()
    return analysis["flops"] / len(images) if analysis and "flops" in analysis else None
