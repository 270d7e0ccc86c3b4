"""Contenders in hand-written JAX, and what the device can do at most: a product of matrices."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from kmodels.bench.blocks import SEED, Block, build_network, epochs_for, made_up_split
from kmodels.bench.graph import hand_count
from kmodels.bench.plain_jax import plain_function
from kmodels.bench.plain_training import epoch_of, first_state, optimizer, step_of, training_flops


def step_blocks(job):
    """A compiled step whose state is donated, fed from memory a batch at a time."""
    step, state = training(job)
    step = jax.jit(step, donate_argnums=0)
    split = made_up_split(job, job.epoch_steps)
    rng = np.random.default_rng(SEED)

    def block(steps):
        nonlocal state
        epochs, each = epochs_for(steps, job.epoch_steps)
        start = time.perf_counter()
        for _ in range(epochs):
            order = rng.permutation(len(split))[: each * job.batch_size].reshape(each, job.batch_size)
            for places in order:
                state = step(state, split.images[places], split.labels[places])
        jax.block_until_ready(state)
        return Block(epochs * each, time.perf_counter() - start)

    return block


def epoch_blocks(job):
    """A compiled epoch, a scan of steps over images that lie on the device."""
    step, state = training(job)
    epoch = jax.jit(epoch_of(step, job.batch_size), donate_argnums=0)
    split = made_up_split(job, job.program_steps)
    images, labels = jax.device_put((split.images, split.labels))

    def block(steps):
        nonlocal state
        epochs, _ = epochs_for(steps, job.program_steps)
        start = time.perf_counter()
        for _ in range(epochs):
            state = epoch(state, images, labels)
        jax.block_until_ready(state)
        return Block(epochs * job.program_steps, time.perf_counter() - start)

    return block


def training(job):
    """(step, first state) of a Job's training, not yet compiled."""
    apply, weights, moving = plain_function(build_network(job))
    start, update = optimizer(job.optimizer, job.learning_rate)
    return step_of(apply, update), first_state(weights, moving, start, SEED)


def matmul_blocks(job):
    """Products of square matrices in the precision of the network; a step is one product."""
    side = matmul_side(job)
    dtype = jnp.bfloat16 if job.precision == "bfloat16" else jnp.float32
    left = jax.random.normal(jax.random.key(SEED), (side, side), dtype)
    # Small enough that a row of products neither grows nor vanishes.
    right = (jax.random.normal(jax.random.key(SEED + 1), (side, side)) / side**0.5).astype(dtype)
    product = jax.jit(jnp.matmul)

    def block(steps):
        start, x = time.perf_counter(), left
        for _ in range(steps):
            x = product(x, right)
        jax.block_until_ready(x)
        return Block(steps, time.perf_counter() - start)

    return block


def matmul_side(job):
    """Rows of the matrices: large enough for the device to be busy, small enough for a processor."""
    return 8192 if jax.devices()[0].platform == "gpu" else 2048


def count_flops(job, report):
    """Operations of one training step for one image: XLA's count of the hand-written step, else ours by hand.

    Returns:
        {"per_image", "counted": who counted, "matmul": operations of one product of `matmul_blocks`}.
    """
    network = build_network(job)
    split = made_up_split(job, 1)
    try:
        counted = training_flops(*plain_function(network), split.images, split.labels)
    except ValueError:
        counted = None
    by_hand = hand_count(network)
    return {
        "per_image": counted or by_hand,
        "counted": "XLA, of the hand-written JAX step" if counted else "by hand, three times the forward pass",
        "matmul": 2 * matmul_side(job) ** 3,
    }
