"""Who trains in the benchmark, by name."""

from typing import NamedTuple

from kmodels.backend import XLA_DETERMINISTIC


class Contender(NamedTuple):
    """One way to train a network.

    Attributes:
        what: in a few words, for tables.
        build: "module:function"; the function takes a Job and returns `block(steps) -> Block`.
        backend: of Keras in its process.
        needs: packages without which it is left out.
        default_on: the kinds of device on which it is measured unless the user chooses.
        environment: variables of its process.
    """

    what: str
    build: str
    backend: str = "jax"
    needs: tuple[str, ...] = ()
    default_on: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


BOTH = ("cpu", "gpu")

# To add one: a function and its line here.
CONTENDERS = {
    "ours": Contender("kmodels on JAX, a step at a time", "kmodels.bench.ours:ours", default_on=BOTH),
    "ours-epoch": Contender(
        "kmodels on JAX, an epoch as one program", "kmodels.bench.ours:ours_epoch", default_on=("gpu",)
    ),
    "jax": Contender("hand-written JAX, a step at a time", "kmodels.bench.plain:step_blocks", default_on=BOTH),
    "jax-epoch": Contender(
        "hand-written JAX, an epoch as one program", "kmodels.bench.plain:epoch_blocks", default_on=("gpu",)
    ),
    "stock-fit": Contender("Keras' own fit on arrays, on JAX", "kmodels.bench.ours:stock_fit", default_on=BOTH),
    "torch": Contender(
        "hand-written PyTorch", "kmodels.bench.torch_twin:blocks", "torch", needs=("torch",), default_on=BOTH
    ),
    "keras-tensorflow": Contender(
        "kmodels on TensorFlow", "kmodels.bench.ours:ours", "tensorflow", needs=("tensorflow",), default_on=("cpu",)
    ),
    "keras-torch": Contender(
        "kmodels on PyTorch", "kmodels.bench.ours:ours", "torch", needs=("torch",), default_on=("cpu",)
    ),
    "input": Contender("our batches, without training", "kmodels.bench.ours:input_alone", default_on=BOTH),
}

# Not for the user to choose: the sections of the benchmark start them.
HELPERS = {
    "matmul": Contender("matrix product", "kmodels.bench.plain:matmul_blocks"),
    "deterministic": Contender(
        "kmodels with deterministic operations",
        "kmodels.bench.ours:ours_epoch",
        environment=(("XLA_FLAGS", XLA_DETERMINISTIC),),
    ),
}
