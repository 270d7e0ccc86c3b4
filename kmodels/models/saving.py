"""Networks as .keras files: written completely or not at all, and readable by every supported version of Keras."""

import copy
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import keras

from kmodels.backend import import_tensorflow
from kmodels.errors import InputError, require
from kmodels.files import writable_folder

# Arguments that Keras 3.14 and 3.15 added, with their defaults: Keras 3.13, which Kaggle has, refuses a file that names
# them. Found by comparing the signatures of all layers and initializers of 3.13.2 and 3.15.1.
NEWER_ARGUMENTS = {
    "input_axes": None,
    "native_serialization_platforms": None,
    "oov_method": "floormod",
    "output_axes": None,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
    "salt": None,
    "sliding_window": None,
    "use_gate": False,
}


def save_network(network, path):
    """Writes the network, without optimizer, to a .keras file.

    The saved network computes in float32, whatever precision it was trained in, and loads in every supported version
    of Keras, unless it uses something newer.

    Args:
        network: a keras.Model.
        path: of the file, ending in ".keras"; its folder is created where needed.

    Returns:
        The path, as a Path.

    Raises:
        InputError: if the file cannot be written; an old one is left as it was.
    """
    path = Path(path)
    _hide_gpu_from_tensorflow()
    with tempfile.TemporaryDirectory(dir=writable_folder(path.parent), prefix=".") as folder:
        try:
            saved = Path(folder) / path.name
            _in_single_precision(network).save(saved, include_optimizer=False)
            os.replace(_without_newer_arguments(saved), path)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _in_single_precision(network):
    """The network, or where it computes in half precision, which suits one device only, a copy that does not."""
    if network.compute_dtype not in ("bfloat16", "float16"):
        return network

    def single(layer):
        return type(layer).from_config({**layer.get_config(), "dtype": layer.variable_dtype})

    twin = keras.models.clone_model(network, clone_function=single)
    twin.set_weights(network.get_weights())
    return twin


def _without_newer_arguments(path):
    """The path of the same network without NEWER_ARGUMENTS at their defaults; the same path where it has none."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        older = _older(config)
        if older == config:
            return path
        rewritten = path.with_name(f"older-{path.name}")
        with zipfile.ZipFile(rewritten, "w") as target:
            for item in archive.infolist():
                if item.filename == "config.json":
                    target.writestr(item.filename, json.dumps(older))
                else:
                    # A member's sizes are set again as it is written.
                    with archive.open(item) as source, target.open(copy.copy(item), "w") as sink:
                        shutil.copyfileobj(source, sink)
    return rewritten


def _older(config):
    if isinstance(config, list):
        return [_older(value) for value in config]
    if not isinstance(config, dict):
        return config
    config = {name: _older(value) for name, value in config.items()}
    if str(config.get("module")).startswith("keras") and isinstance(config.get("config"), dict):
        config["config"] = {
            name: value
            for name, value in config["config"].items()
            if name not in NEWER_ARGUMENTS or value != NEWER_ARGUMENTS[name]
        }
    return config


def weights_checksum(path):
    """SHA-256 of the weights in a file.

    Of a .keras file only the weights, with the layers' names, are counted: it also holds the time of saving.

    Args:
        path: of a .keras file or a file of weights; or None.

    Returns:
        64 hexadecimal digits; None for None, or if there is no such file.
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

    Args:
        path: of the file.

    Returns:
        A keras.Model, not compiled.

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
