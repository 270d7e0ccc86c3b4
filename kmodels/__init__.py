"""Train, compare and explain small image classifiers in Keras 3, on JAX, TensorFlow or PyTorch.

    import kmodels

    experiment = kmodels.Experiment(name="digits/lenet", dataset="digits", model="conv_net", image_size=32)
    record = kmodels.run(experiment, seed=0)

Names are imported when they are first used, so `import kmodels` itself costs nothing. It has two side effects:
where neither `KERAS_BACKEND` is set nor Keras imported yet, it chooses JAX; and for versions of JAX that compute wrong
validation on a CPU, it sets the flag in `XLA_FLAGS` that cures them.
"""

import os
import sys
from importlib import import_module

from kmodels.backend import avoid_stale_weights
from kmodels.packages import explained, public

if "keras" not in sys.modules:
    os.environ.setdefault("KERAS_BACKEND", "jax")
avoid_stale_weights()

__version__ = "0.1.0"

_HOME = {
    "Classifier": "kmodels.classifier",
    "DATASETS": "kmodels.data",
    "Dataset": "kmodels.data",
    "load_dataset": "kmodels.data",
    "Experiment": "kmodels.experiment",
    "Published": "kmodels.experiment",
    "InputError": "kmodels.errors",
    "MODELS": "kmodels.models",
    "build_model": "kmodels.models",
    "compare": "kmodels.comparison",
    "POLICIES": "kmodels.augment",
    "Record": "kmodels.records",
    "find_learning_rate": "kmodels.learning_rate",
    "make_deterministic": "kmodels.backend",
    "read_predictions": "kmodels.records.predictions",
    "read_record": "kmodels.records",
    "read_records": "kmodels.records",
    "run": "kmodels.training",
    "run_seeds": "kmodels.training",
    "train": "kmodels.training",
}
_MODULES = ("analysis", "plots", "records", "report")

__all__ = sorted([*_HOME, *_MODULES, "__version__"])


def __getattr__(name):
    if name in _MODULES:
        with explained(f"kmodels.{name}"):
            return import_module(f"kmodels.{name}")
    return public("kmodels", _HOME, name)


def __dir__():
    return __all__
