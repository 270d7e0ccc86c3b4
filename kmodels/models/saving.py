"""Networks as .keras files: written whole or not at all, read with a plain word on what is wrong."""

import importlib.util
import os
import tempfile
from pathlib import Path

import keras

from kmodels.backend import import_tensorflow
from kmodels.errors import InputError, require
from kmodels.files import writable_folder
from kmodels.models.blocks import Dropout


def save_network(network, path):
    """Writes the network, without optimizer, to a .keras file; returns the path.

    The file needs nothing but Keras to be read, and computes in float32 whatever the network was trained in.

    Raises:
        InputError: if the file cannot be written; an old one is still whole then.
    """
    path = Path(path)
    _hide_gpu_from_tensorflow()
    with tempfile.TemporaryDirectory(dir=writable_folder(path.parent), prefix=".") as folder:
        try:
            _in_plain_keras(network).save(Path(folder) / path.name, include_optimizer=False)
            os.replace(Path(folder) / path.name, path)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _in_plain_keras(network):
    """The same network in layers of Keras, without the policy of a device."""

    def plain(layer):
        config = layer.get_config()
        if layer.compute_dtype in ("bfloat16", "float16"):
            config["dtype"] = layer.variable_dtype
        return (keras.layers.Dropout if isinstance(layer, Dropout) else type(layer)).from_config(config)

    copy = keras.models.clone_model(network, clone_function=plain)
    copy.set_weights(network.get_weights())
    return copy


def load_network(path):
    """Reads a .keras file.

    Raises:
        InputError: if there is no such file, or it holds no network.
    """
    require(Path(path).is_file(), "the network must be a .keras file that exists", str(path))
    _hide_gpu_from_tensorflow()
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        raise InputError(f"cannot load the network {path}: {error}") from error


def _hide_gpu_from_tensorflow():
    # Keras imports TensorFlow to save and to load, on every backend; it must not take the GPU.
    if importlib.util.find_spec("tensorflow"):
        import_tensorflow()
