"""Networks as .keras files: written whole or not at all, read with a plain word on what is wrong."""

import hashlib
import importlib.util
import os
import tempfile
import zipfile
from pathlib import Path

import keras

from kmodels.backend import import_tensorflow
from kmodels.errors import InputError, require
from kmodels.files import writable_folder


def save_network(network, path):
    """Writes the network, without optimizer, to a .keras file; returns the path.

    What it holds computes in float32, whatever the network was trained in.

    Raises:
        InputError: if the file cannot be written; an old one is still whole then.
    """
    path = Path(path)
    _hide_gpu_from_tensorflow()
    with tempfile.TemporaryDirectory(dir=writable_folder(path.parent), prefix=".") as folder:
        try:
            _in_single_precision(network).save(Path(folder) / path.name, include_optimizer=False)
            os.replace(Path(folder) / path.name, path)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _in_single_precision(network):
    """The network, or where it computes in half precision, which suits one device only, a copy that does not."""
    if network.compute_dtype not in ("bfloat16", "float16"):
        return network

    def single(layer):
        return type(layer).from_config({**layer.get_config(), "dtype": layer.variable_dtype})

    copy = keras.models.clone_model(network, clone_function=single)
    copy.set_weights(network.get_weights())
    return copy


def weights_checksum(path):
    """SHA-256 of the weights in a file; None for None, or where there is no such file.

    Of a .keras file only of its weights, with the layers' names: it also holds the time of saving.
    """
    if path is None or not Path(path).is_file():
        return None
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as weights:
            return hashlib.file_digest(weights, "sha256").hexdigest()
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
