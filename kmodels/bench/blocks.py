"""What contenders share in their processes: the network, made-up images, and how long a block is."""

import math
from typing import NamedTuple

import numpy as np

from kmodels.data import Split
from kmodels.experiment import Experiment
from kmodels.models import build_model
from kmodels.training.precision import computing_in

SEED = 0
NEVER = 1_000_000
# Fewer would measure how an epoch begins and ends; those of a run have hundreds.
LEAST_STEPS = 8


class Block(NamedTuple):
    """Training steps in a row, and the seconds they took until the device had finished."""

    steps: int
    seconds: float


def build_network(job):
    """The network of a Job, in its precision, with freshly drawn weights."""
    with computing_in(job.precision):
        return build_model(job.model, (job.image_size, job.image_size, 3), job.num_classes)


def experiment_of(job):
    """The Experiment that trains as the Job says."""
    return Experiment(
        name="bench/ours",
        dataset="synthetic",
        image_size=job.image_size,
        model=job.model,
        optimizer=job.optimizer,
        learning_rate=job.learning_rate,
        precision=job.precision,
        batch_size=job.batch_size,
        epochs=job.epochs,
        # Random labels cannot be learnt for long; training goes on.
        patience=NEVER,
        plateau_patience=NEVER - 1,
    )


def made_up_split(job, steps):
    """Random pixels and labels for so many whole batches: a Split of `steps * batch_size` images."""
    examples = steps * job.batch_size
    rng = np.random.default_rng(SEED)
    images = rng.integers(0, 256, (examples, job.image_size, job.image_size, 3), np.uint8)
    return Split(images, rng.integers(0, job.num_classes, examples).astype(np.int32), np.arange(examples))


def epochs_for(steps, most):
    """(epochs, steps an epoch) for at least `steps` steps in epochs of at most `most`."""
    epochs = math.ceil(steps / most)
    return epochs, math.ceil(steps / epochs)


def calibrate(block, seconds):
    """How many steps take about `seconds`, found with blocks that grow; compiled before.

    At least LEAST_STEPS, unless they took ten times as long.
    """
    steps = 1
    while True:
        done, spent = block(steps)
        if spent >= seconds / 2:
            fitting = done * seconds / spent
            return math.ceil(max(fitting, min(LEAST_STEPS, 10 * fitting)))
        steps = done * min(8, max(2, math.ceil(seconds / max(spent, 1e-6))))
