"""Who trains in the benchmark, by name."""

import importlib.util
from typing import NamedTuple

from kmodels.backend import XLA_DETERMINISTIC

BOTH, GPU, CPU = ("cpu", "gpu"), ("gpu",), ("cpu",)


class Contender(NamedTuple):
    """One way to train a network.

    Attributes:
        what: in words, for tables.
        build: "module:function"; the function takes a Job and returns `block(steps) -> Block`.
        backend: of Keras in its process, which needs the package of that name.
        default_on: the kinds of device on which it is measured unless the user chooses.
        xla_flags: in addition to those of the user.
    """

    what: str
    build: str
    backend: str = "jax"
    default_on: tuple[str, ...] = ()
    xla_flags: str = ""


OURS, STOCK = "kmodels.bench.ours:ours", "kmodels.bench.ours:stock_fit"
OURS_EPOCH = "kmodels.bench.ours:ours_epoch"
JAX, JAX_EPOCH = "kmodels.bench.jax_twin:step_blocks", "kmodels.bench.jax_twin:epoch_blocks"

# To add one: a function and its line here.
CONTENDERS = {
    "ours": Contender("kmodels on JAX, a step at a time", OURS, default_on=BOTH),
    "ours-epoch": Contender("kmodels on JAX, an epoch as one program", OURS_EPOCH, default_on=GPU),
    "deterministic": Contender("ours-epoch with deterministic operations", OURS_EPOCH, xla_flags=XLA_DETERMINISTIC),
    "jax": Contender("hand-written JAX, a step at a time", JAX, default_on=BOTH),
    "jax-epoch": Contender("hand-written JAX, an epoch as one program", JAX_EPOCH, default_on=GPU),
    "stock-fit": Contender("Keras' own fit on arrays, on JAX", STOCK, default_on=BOTH),
    "torch": Contender("hand-written PyTorch", "kmodels.bench.torch_twin:step_blocks", "torch", BOTH),
    "keras-tensorflow": Contender("kmodels on TensorFlow", OURS, "tensorflow", CPU),
    "stock-fit-tensorflow": Contender("Keras' own fit on arrays, on TensorFlow", STOCK, "tensorflow", CPU),
    "keras-torch": Contender("kmodels on PyTorch", OURS, "torch", CPU),
    "stock-fit-torch": Contender("Keras' own fit on arrays, on PyTorch", STOCK, "torch", CPU),
    "input": Contender("our batches, without training", "kmodels.bench.ours:input_alone", default_on=BOTH),
}


def is_installed(name):
    """Whether the backend of a contender is installed."""
    return importlib.util.find_spec(CONTENDERS[name].backend) is not None
