"""What contenders share in their processes: the network, synthetic images, and how long a block is."""

import math
import time

import numpy as np

from kmodels.data import Split
from kmodels.models import build_model
from kmodels.training.precision import computing_in

SEED = 0
# In blocks of fewer steps the start and end of an epoch would count for too much; those of a real run have hundreds.
LEAST_STEPS = 8


def build_network(job):
    """The network of a Job, in its precision, newly initialised."""
    with computing_in(job.precision):
        return build_model(job.model, (job.image_size, job.image_size, 3), job.num_classes)


def synthetic_split(job, steps):
    """A Split of random images and labels for so many steps, the same every time."""
    rng, examples = np.random.default_rng(SEED), steps * job.batch_size
    images = rng.integers(0, 256, (examples, job.image_size, job.image_size, 3), np.uint8)
    return Split(images, rng.integers(0, job.num_classes, examples).astype(np.int32), np.arange(examples))


def in_epochs(train, most, *, whole=False):
    """`block(steps) -> (steps, seconds)` of at least so many steps, divided into epochs of equal length.

    Args:
        train: `train(epochs, steps_per_epoch) -> seconds`.
        most: the largest number of steps per epoch.
        whole: whether every epoch has that number.
    """

    def block(steps):
        epochs = math.ceil(steps / most)
        each = most if whole else math.ceil(steps / epochs)
        return epochs * each, train(epochs, each)

    return block


def timed(train):
    """A function with the arguments of `train`, which returns the seconds that `train` took."""

    def seconds(*arguments):
        start = time.perf_counter()
        train(*arguments)
        return time.perf_counter() - start

    return seconds


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
