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
        twin: whether it is a network written by hand, which knows only the layers of `graph.KNOWN`.
        environment: variables of its process.
    """

    what: str
    build: str
    backend: str = "jax"
    default_on: tuple[str, ...] = ()
    twin: bool = False
    environment: tuple[tuple[str, str], ...] = ()


OURS, STOCK = "kmodels.bench.ours:ours", "kmodels.bench.ours:stock_fit"
OURS_EPOCH = "kmodels.bench.ours:ours_epoch"
JAX, JAX_EPOCH, TORCH = (
    f"kmodels.bench.{function}"
    for function in ("jax_twin:step_blocks", "jax_twin:epoch_blocks", "torch_twin:step_blocks")
)

# To add one: a function and its line here.
CONTENDERS = {
    "ours": Contender("kmodels on JAX, a step at a time", OURS, default_on=BOTH),
    "ours-epoch": Contender("kmodels on JAX, an epoch as one program", OURS_EPOCH, default_on=GPU),
    "jax": Contender("hand-written JAX, a step at a time", JAX, default_on=BOTH, twin=True),
    "jax-epoch": Contender("hand-written JAX, an epoch as one program", JAX_EPOCH, default_on=GPU, twin=True),
    "stock-fit": Contender("Keras' own fit on arrays, on JAX", STOCK, default_on=BOTH),
    "torch": Contender("hand-written PyTorch", TORCH, "torch", BOTH, twin=True),
    "keras-tensorflow": Contender("kmodels on TensorFlow", OURS, "tensorflow", CPU),
    "stock-fit-tensorflow": Contender("Keras' own fit on arrays, on TensorFlow", STOCK, "tensorflow", CPU),
    "keras-torch": Contender("kmodels on PyTorch", OURS, "torch", CPU),
    "stock-fit-torch": Contender("Keras' own fit on arrays, on PyTorch", STOCK, "torch", CPU),
    "input": Contender("our batches, without training", "kmodels.bench.ours:input_alone", default_on=BOTH),
}

# Not for the user to choose: sections start them.
HELPERS = {
    "matmul": Contender("matrix product", "kmodels.bench.jax_twin:matmul_blocks"),
    "deterministic": Contender(
        "kmodels with deterministic operations", OURS_EPOCH, environment=(("XLA_FLAGS", XLA_DETERMINISTIC),)
    ),
}
EVERYONE = {**CONTENDERS, **HELPERS}


def is_installed(name):
    """Whether the backend of a contender is installed."""
    return importlib.util.find_spec(CONTENDERS[name].backend) is not None
