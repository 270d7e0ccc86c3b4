"""Training: `train` fits any network on any dataset; `run` turns an experiment and a seed into a record.

From the outside in: sweeps.py does many runs, in this process or in workers.py; run.py does one, with parents.py (what
it starts from), heads.py and embeddings.py (classifiers on features), environment.py (what the record says of the
machine); train.py trains. Its parts: settings.py checks what it is given; trainer.py compiles a network with losses.py,
optimizers.py and precision.py; callbacks.py and checkpoint.py act between epochs;
epoch_program.py is the fast way on a GPU, together.py several seeds in it, devices.py several GPUs; compilation.py
keeps compiled programs.
"""

from kmodels.backend import check_backend

check_backend()

from kmodels.training.run import run  # noqa: E402 (a clear error instead of one of Keras)
from kmodels.training.sweeps import run_seeds, sweep  # noqa: E402
from kmodels.training.train import Fitted, train  # noqa: E402

__all__ = ["Fitted", "run", "run_seeds", "sweep", "train"]
