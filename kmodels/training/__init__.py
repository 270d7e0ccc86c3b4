"""Training: an experiment and a seed in, a record out.

runs.py does one run from data to record; optimizers.py and losses.py hold PyTorch's arithmetic; callbacks.py what
happens between epochs; environment.py what the record says of the machine.
"""

from kmodels.backend import check_backend

check_backend()

from kmodels.training.runs import run, run_seeds  # noqa: E402 (a clear error instead of one of Keras)

__all__ = ["run", "run_seeds"]
