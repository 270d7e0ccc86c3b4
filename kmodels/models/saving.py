"""Networks as .keras files: written completely or not at all, and readable by every supported version of Keras."""

import contextlib
import copy
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import textwrap
import threading
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np

from kmodels.backend import import_tensorflow
from kmodels.errors import InputError, require
from kmodels.files import replacing
from kmodels.models.about import write_about
from kmodels.models.graph import layers_within

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

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_ONE_AT_A_TIME = threading.RLock()
REGISTER = "@keras.saving.register_keras_serializable()"


def save_network(network, path, about=None):
    """Writes the network, without optimizer, to a .keras file.

    The saved network computes in float32, whatever precision it was trained in, and loads in every supported version
    of Keras, unless it uses something newer.

    Args:
        network: a keras.Model.
        path: of the file, ending in ".keras"; its folder is created where needed.
        about: an About, which the file then carries: its classes and its run.

    Returns:
        The path, as a Path.

    Raises:
        InputError: if the file cannot be written; an old one is left as it was.
    """
    path = Path(path)
    _hide_gpu_from_tensorflow()
    with replacing(path, ending=".keras") as temporary:
        with _in_single_precision(network):
            network.save(temporary, include_optimizer=False)
        _leave_out_newer_arguments(temporary)
        if about:
            write_about(temporary, about)
    return path


@contextlib.contextmanager
def _in_single_precision(network):
    """Within it, the configs of a network in half precision, which suits one device only, say single precision."""
    half = ("bfloat16", "float16")
    changed = [layer for layer in layers_within(network) if layer.compute_dtype in half]
    policies = [layer.dtype_policy for layer in changed]
    try:
        for layer in changed:
            layer.dtype_policy = "float32"
        yield
    finally:
        for layer, policy in zip(changed, policies, strict=True):
            layer.dtype_policy = policy


def _leave_out_newer_arguments(path):
    """Rewrites a .keras file without NEWER_ARGUMENTS at their defaults, where it has some."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read(CONFIG))
        older = _older(config)
        if older == config:
            return
        rewritten = path.with_name(f"{path.name}.older")
        try:
            with zipfile.ZipFile(rewritten, "w") as target:
                for item in archive.infolist():
                    if item.filename == CONFIG:
                        target.writestr(item.filename, json.dumps(older))
                    else:
                        # A member's sizes are set again as it is written.
                        with archive.open(item) as source, target.open(copy.copy(item), "w") as sink:
                            shutil.copyfileobj(source, sink)
            os.replace(rewritten, path)
        finally:
            rewritten.unlink(missing_ok=True)


def _older(config):
    if isinstance(config, list):
        return [_older(value) for value in config]
    if not isinstance(config, dict):
        return config
    config = {name: _older(value) for name, value in config.items()}
    if _is_of_keras(config) and isinstance(config.get("config"), dict):
        config["config"] = {
            name: value
            for name, value in config["config"].items()
            if name not in NEWER_ARGUMENTS or value != NEWER_ARGUMENTS[name]
        }
    return config


def _is_of_keras(config):
    """Whether an object's config is of a class of Keras itself; a module of the user's may be called keras_blocks."""
    return f"{config.get('module')}.".startswith("keras.")


def weights_checksum(path):
    """SHA-256 of the weights in a file.

    Of a .keras file only the weights, with the layers' names, are counted: it also holds the time of saving.

    Args:
        path: of a .keras file or a file of weights; or None.

    Returns:
        64 hexadecimal digits; None for None, or if there is no such file.

    Raises:
        InputError: for a zip file without weights.
    """
    if path is None or not Path(path).is_file():
        return None
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if WEIGHTS in archive.namelist():
                with archive.open(WEIGHTS) as weights:
                    return hashlib.file_digest(weights, "sha256").hexdigest()
        # PyTorch's files are zip files too.
        require(Path(path).suffix != ".keras", "a .keras file must have weights in it", str(path))
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_network(path):
    """Reads a .keras file. Python code in it, as a Lambda layer may have, is never run.

    Classes of the user's own must be registered; see `load_network_of_run` of records/networks.py, too.

    Args:
        path: of the file.

    Returns:
        A keras.Model, not compiled.

    Raises:
        InputError: if there is no such file, it is damaged, it holds no network or one with code, or it needs classes
            that are not registered.
    """
    path = Path(path)
    require(path.is_file() and path.suffix == ".keras", "the network must be a .keras file that exists", str(path))
    config = _config(path)
    # Keras does not import TensorFlow to load, which takes seconds; where something has, as below.
    if "tensorflow" in sys.modules:
        _hide_gpu_from_tensorflow()
    try:
        with _initialized_by_numpy():
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise InputError(f"cannot load the network {path}: {_reason(config, error)}") from error


@contextlib.contextmanager
def _initialized_by_numpy():
    """On JAX, layers that this thread builds get their first weights from NumPy, zeros where they would be drawn.

    The file has others; and JAX compiles a program for each shape, ten seconds of them for EfficientNet-Lite0.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    known, thread = keras.initializers, threading.get_ident()
    zeros = (known.Zeros, known.VarianceScaling, known.RandomNormal, known.RandomUniform, known.TruncatedNormal)

    def numpys(layer, shape=None, initializer=None, *arguments, **options):
        if threading.get_ident() == thread:
            chosen = known.get("glorot_uniform" if initializer is None else initializer)
            if isinstance(chosen, (*zeros, known.Ones)):
                initializer = np.ones if isinstance(chosen, known.Ones) else np.zeros
        return add_weight(layer, shape, initializer, *arguments, **options)

    with _ONE_AT_A_TIME:
        add_weight = keras.Layer.add_weight
        keras.Layer.add_weight = numpys
        try:
            yield
        finally:
            keras.Layer.add_weight = add_weight


def _config(path):
    """What a .keras file says of its layers, after checking that it is one."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
        members = zipfile.ZipFile(path).namelist() if head.startswith(b"PK") else []
        if CONFIG in members and WEIGHTS in members:
            with zipfile.ZipFile(path) as archive:
                return json.loads(archive.read(CONFIG))
    # Of a damaged member, zlib and json tell in ways of their own.
    except Exception as error:
        reason = f"{error.strerror}" if isinstance(error, OSError) else "it is damaged or incomplete"
        raise InputError(f"cannot load the network {path}: {reason}") from error
    if members:
        reason = f"it is a zip file without {' and '.join(name for name in (CONFIG, WEIGHTS) if name not in members)}"
    elif head == b"\x89HDF":
        reason = "it is of Keras' older format HDF5; load it with Keras and save it as .keras"
    else:
        reason = "it is no .keras file, which is a zip file" if head else "it is empty (0 bytes)"
    raise InputError(f"cannot load the network {path}: {reason}")


def loading_problem(network):
    """Why `load_network` would refuse a network once it is saved; None where it would load it.

    Args:
        network: a keras.Model.

    Raises:
        InputError: for a network that cannot even be saved.
    """
    try:
        with warnings.catch_warnings():
            # Keras warns of what is told here.
            warnings.simplefilter("ignore")
            return _missing(keras.saving.serialize_keras_object(network))
    except Exception as error:
        reason = f"{type(error).__name__}: {textwrap.shorten(str(error), 200)}"
        raise InputError(
            f"the network cannot be saved ({reason}); the classes of its layers need a get_config that returns all "
            "arguments of their __init__"
        ) from error


def missing_object(path):
    """What Keras would need to load a .keras file, in a line; None where it has all. Raises as `registered_objects`."""
    return _missing(_config(Path(path)))


def registered_objects(path):
    """What a .keras file needs beyond Keras, as far as it is registered here: {its registered name: class or function}.

    Args:
        path: of the file.

    Raises:
        InputError: if it is no .keras file, or damaged.
    """
    names = {_registered_name(item) for item in _objects(_config(Path(path)))}
    found = {name: keras.saving.get_registered_object(name) for name in names if name}
    return {name: value for name, value in found.items() if value is not None}


def _registered_name(item):
    """The name by which Keras finds an object's class, or a function, that is not its own; None of its own."""
    if _is_of_keras(item):
        return None
    # Of a function, Keras writes the name in another field.
    name = item.get("config" if item["class_name"] == "function" else "registered_name")
    return name if isinstance(name, str) else None


def _missing(config):
    """What Keras would need to load a network of this configuration, in a line; None where it has all."""
    for item in _objects(config):
        if item["class_name"] == "__lambda__":
            return (
                "it has a Lambda layer with Python code in it, which is not run; save the network with a layer of its "
                f"own class, or a named function, registered with {REGISTER}"
            )
        name = _registered_name(item)
        if name and keras.saving.get_registered_object(name) is None:
            module = f", from the module {item['module']}" if item.get("module") not in (None, "builtins") else ""
            return f"it needs {name}{module}: register it with {REGISTER} and import it before"
    return None


def _reason(config, error):
    """Why Keras cannot load a file, in a line; Keras' own text advises to run the code that is in it."""
    if missing := _missing(config):
        return missing
    # Keras puts the error of the innermost object last.
    text = str(error).strip().rpartition("Exception encountered: ")[2]
    line = text.splitlines()[0] if text else type(error).__name__
    if "could not be loaded" in line or "variables" in line or isinstance(error, OSError):
        return f"its weights are damaged or of another network: {line}"
    return "it holds code or objects that are not loaded" if "safe" in str(error) else line[:300]


def _objects(value):
    """All objects that a config describes, at any depth."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and isinstance(value.get("class_name"), str):
        yield value
    for item in inner:
        yield from _objects(item)


def _hide_gpu_from_tensorflow():
    # Keras imports TensorFlow to save, on every backend; it must not take the GPU.
    if importlib.util.find_spec("tensorflow"):
        import_tensorflow()
