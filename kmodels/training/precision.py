"""In which numbers a network computes: the fastest that the device has units for."""

from contextlib import contextmanager

import keras

from kmodels.backend import compute_capability
from kmodels.errors import InputError

# The names of an experiment -> Keras' policies. Weights, batch-norm statistics, logits and loss stay in float32.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
# float16 ends at 6e-8: what the loss is multiplied by while gradients are taken. One constant for all steps: adapting
# it would make every step wait for a branch.
LOSS_SCALE = 1024.0


def resolve(precision):
    """The name in POLICIES that "auto" stands for here; any other name itself.

    bfloat16 where the GPU has compute capability 8.0 or newer, float16 at 7.x, float32 on older ones and on a CPU. A
    policy of Keras that the user has set counts as chosen: its name takes the place of auto and float32.
    """
    policy = keras.config.dtype_policy().name
    if policy != "float32" and precision in ("auto", "float32"):
        return policy
    if precision != "auto":
        return precision
    major = compute_capability()
    if major is None or major < 7:
        return "float32"
    return "bfloat16" if major >= 8 else "float16"


@contextmanager
def computing_in(precision):
    """Networks that are built inside compute in what `resolve` returned."""
    outside = keras.config.dtype_policy()
    if precision in ("bfloat16", "float16"):
        if outside.name != "float32":
            raise InputError(f"precision {precision!r} needs Keras' policy float32. Received: {outside.name!r}")
        keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(outside)
