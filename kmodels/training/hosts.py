"""Several processes, one a host, that train one network together (JAX).

Each is the same command, with Keras' own variables set: KERAS_DISTRIBUTION_JOB_ADDRESSES (of process 0, host:port, or
of all, comma-separated), KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID. All compute the same;
process 0 alone writes and speaks. Results folder and data must be the same for all: a disk that the hosts share.
"""

import hashlib
import os
from contextlib import contextmanager

import keras
import numpy as np

from kmodels.errors import InputError, require

ADDRESSES, COUNT, PLACE = (f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID"))


def join_hosts():
    """Makes this process one of several where the variables say so. Must come before JAX computes anything.

    Raises:
        InputError: if some of the variables are missing or wrong, or JAX is already in use.
    """
    given = {name: os.environ[name] for name in (ADDRESSES, COUNT, PLACE) if name in os.environ}
    if not given or keras.backend.backend() != "jax":
        return
    import jax

    if jax.distributed.is_initialized():
        return
    require(len(given) == 3, f"{ADDRESSES}, {COUNT} and {PLACE} must be set together", given)
    numbers = given[COUNT].isdigit() and given[PLACE].isdigit() and int(given[PLACE]) < int(given[COUNT])
    require(numbers, f"{PLACE} must be a number from 0 up and below {COUNT}", given)
    try:
        # Keras' own initialize would also agree on a seed; here every draw follows the seed of the run.
        jax.distributed.initialize(given[ADDRESSES].split(",")[0], int(given[COUNT]), int(given[PLACE]))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"cannot join the processes at {given[ADDRESSES]}: {error}") from error


def count():
    """How many processes train together."""
    if keras.backend.backend() != "jax":
        return 1
    import jax

    return jax.process_count()


def is_first():
    """Whether this process is the one that writes."""
    if keras.backend.backend() != "jax":
        return True
    import jax

    return jax.process_index() == 0


def require_same(what, value):
    """Raises InputError in every process where a value, as text, is not the same in all of them."""
    if count() == 1:
        return
    from jax.experimental.multihost_utils import process_allgather

    digest = np.frombuffer(hashlib.sha256(str(value).encode()).digest()[:16], np.int32)
    everywhere = process_allgather(digest)
    require((everywhere == digest).all(), f"{what} must be the same in all {count()} processes", value)


def of_first(number):
    """The integer that process 0 gives; all must ask at the same point."""
    if count() == 1:
        return number
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return int(broadcast_one_to_all(np.int32(number)))


def wait():
    """Returns when all processes have come here."""
    if count() > 1:
        from jax.experimental.multihost_utils import sync_global_devices

        sync_global_devices("kmodels")


@contextmanager
def keeping_batches():
    """Keeps Keras from giving batches to jax.device_put, which refuses arrays that lie on several hosts.

    Keras does that ahead of a step where it knows of no distribution; the feeds have placed them already.
    """
    if count() == 1:
        yield
        return
    from keras.src.backend.jax import trainer

    place, trainer._distribute_data = trainer._distribute_data, lambda data, layouts=None: data
    try:
        yield
    finally:
        trainer._distribute_data = place
