"""Training: an experiment and a seed in, a record out.

runs.py does one run, sweeps.py many, outcomes.py is what became of them; one_run.py is the way from data to record,
heads.py that of a head on the features of another network, which parents.py finds and embeddings.py keeps; trainer.py
compiles a network as an experiment says, with layers that faster_layers.py and adaptive_pooling.py have compute
otherwise; epoch_program.py is the fast way on a GPU, together.py several seeds in it; checkpoint.py is exact resume;
optimizers.py and losses.py hold PyTorch's arithmetic; precision.py, compilation.py and shelf.py what makes runs cheap;
callbacks.py what happens between epochs; environment.py what the record says of the machine; devices.py and hosts.py
divide a run among several, spread.py the runs of a sweep.
"""

from kmodels.backend import check_backend

check_backend()

from kmodels.training.hosts import join_hosts  # noqa: E402

join_hosts()

from kmodels.training.runs import run  # noqa: E402 (a clear error instead of one of Keras)
from kmodels.training.sweeps import run_seeds, sweep  # noqa: E402

__all__ = ["run", "run_seeds", "sweep"]
