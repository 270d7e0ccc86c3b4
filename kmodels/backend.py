"""Which Keras backend is in use, on which device, and TensorFlow kept in its place beside it."""

import contextlib
import importlib.metadata
import importlib.util
import logging
import os
import sys

from kmodels.errors import InputError, unknown
from kmodels.files import writable_cache
from kmodels.packages import BACKENDS, explained, missing

# Read before `kmodels` sets the default.
BACKEND_IS_CHOSEN = "KERAS_BACKEND" in os.environ
XLA_DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
# These versions of jaxlib keep the weights of a dense layer after a flatten as they were at its first call, on a CPU:
# validation is wrong from the second epoch on, in stock Keras too. Without XNNPACK it is right.
STALE_JAXLIB = ("0.7.2", "0.8.0", "0.8.1")
WITHOUT_XNNPACK = "--xla_cpu_use_xnnpack=false"
# Of programs that JAX keeps, the least recently used go first; one of a large network takes a few megabytes.
CACHE_BYTES = 2**32


def check_backend():
    """Fails early and plainly where Keras would fail late.

    Raises:
        InputError: if `KERAS_BACKEND` names no backend, or one that is not installed.
    """
    name = _backend()
    if name not in BACKENDS:
        raise unknown("KERAS_BACKEND", name, BACKENDS)
    if os.environ.get("KERAS_BACKEND", name) != name:
        raise InputError(
            f"KERAS_BACKEND={os.environ['KERAS_BACKEND']} came too late: Keras is loaded already and uses {name}; "
            "set it before the first import of Keras"
        )
    if importlib.util.find_spec(name) is None:
        raise missing(name, f"KERAS_BACKEND={name}")
    _quiet_tensorflow(name)


def _backend():
    """The name of the backend: Keras' own once it is loaded, before that what the environment says."""
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    return os.environ.get("KERAS_BACKEND", "jax")


def _quiet_tensorflow(backend):
    # Keras imports TensorFlow to save and load on every backend, and its start-up notes would fill the screen. The
    # note on oneDNN can only be had away with oneDNN, which nobody misses where TensorFlow computes nothing.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if backend != "tensorflow":
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # Every layer that is looked at is a program of its own.
    logging.getLogger("tensorflow").addFilter(_says_no_retracing)


def _says_no_retracing(record):
    return "triggered tf.function retracing" not in record.getMessage()


def import_tensorflow():
    """TensorFlow for reading and preparing data; beside another backend it is not to take the GPU.

    Raises:
        InputError: if it is not installed.
    """
    import keras

    _quiet_tensorflow(keras.backend.backend())
    with explained("reading or preparing data of tensorflow-datasets"):
        import tensorflow as tf
    if keras.backend.backend() != "tensorflow":
        # Where the user's own code has used TensorFlow before, its devices are chosen.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    return tf


def avoid_stale_weights():
    """Sets XLA's flag against wrong validation for the versions of JAX that need it; it counts until JAX computes."""
    flags = os.environ.get("XLA_FLAGS", "")
    if needs_xnnpack_off() and "xla_cpu_use_xnnpack" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {WITHOUT_XNNPACK}".strip()


def needs_xnnpack_off():
    """Whether the installed JAX is of the versions that compute wrong validation on a CPU."""
    try:
        return importlib.metadata.version("jaxlib") in STALE_JAXLIB
    except importlib.metadata.PackageNotFoundError:
        return False


def make_deterministic():
    """Makes repeats on a GPU equal bit for bit, at some cost in speed.

    To be called first, before anything computes. On a CPU repeats are equal anyway. What it costs on JAX is measured
    by `kmodels bench --contenders ours-epoch deterministic`.

    Raises:
        InputError: if JAX is loaded already, which reads the choice only once.
    """
    backend = _backend()
    if backend == "jax" and not deterministic():
        if "jax" in sys.modules:
            raise InputError(
                "repeatable results must be chosen before JAX is loaded: call make_deterministic first, or set "
                f"XLA_FLAGS={XLA_DETERMINISTIC} in the environment"
            )
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {XLA_DETERMINISTIC}".strip()
    elif backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "torch":
        # cuBLAS reads it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        import torch

        torch.use_deterministic_algorithms(True)


def deterministic():
    """Whether repeats on a GPU are made equal."""
    backend = _backend()
    if backend == "jax":
        return XLA_DETERMINISTIC in os.environ.get("XLA_FLAGS", "")
    if backend == "torch":
        import torch

        return torch.are_deterministic_algorithms_enabled()
    from tensorflow.python.framework import config

    return config.is_op_determinism_enabled()


def import_keras_alone():
    """Imports Keras without scikit-learn and matplotlib, for a command that uses neither through Keras.

    Keras imports both where it finds them, for its wrappers and galleries: a third of the time of a first prediction.
    """
    if "keras" in sys.modules:
        return
    hidden = [name for name in ("sklearn", "matplotlib") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        import keras  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]


def keep_compiled():
    """Makes JAX keep what it compiles under the cache folder, unless the user chose one (JAX_COMPILATION_CACHE_DIR)."""
    if _backend() != "jax":
        return
    import jax

    if deterministic():
        # JAX would also keep which algorithms were the fastest when tried, and use them whatever flags say.
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    if jax.config.jax_compilation_cache_dir or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder = writable_cache("compiled")
    except InputError as error:
        print(f"{error}; what is compiled here is not kept for the next time", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Without filelock, as on Kaggle, JAX keeps no cache that has a limit.
    if importlib.util.find_spec("filelock"):
        jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    # Everything: a step of a small network compiles in less than the second from which JAX keeps programs by itself.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def device_name():
    """The device that Keras computes on: the name of the GPU, or "cpu (2 cores)"."""
    import keras

    return {"jax": _jax_gpu, "tensorflow": _tensorflow_gpu, "torch": _torch_gpu}[keras.backend.backend()]() or (
        f"cpu ({len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores)"
    )


def check_platforms():
    """Says it plainly where the environment asks JAX for a device that is not there.

    Raises:
        InputError: if JAX is loaded, and finds no device of those that `JAX_PLATFORMS` names.
    """
    platforms = os.environ.get("JAX_PLATFORMS")
    if not platforms or _backend() != "jax" or "jax" not in sys.modules:
        return
    try:
        sys.modules["jax"].devices()
    # An AssertionError without a word for a GPU, a RuntimeError for other devices.
    except (AssertionError, RuntimeError) as error:
        reason = f" ({error})" if str(error) else ""
        raise InputError(
            f"JAX_PLATFORMS={platforms}, and JAX finds no such device{reason}; unset JAX_PLATFORMS"
        ) from error


def _jax_gpu():
    import jax

    check_platforms()
    device = jax.devices()[0]
    return None if device.platform == "cpu" else device.device_kind


def _tensorflow_gpu():
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else None


def _torch_gpu():
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def compute_capability():
    """The major number of the GPU's CUDA compute capability (8 for 8.6); None on a CPU or another kind of device."""
    import keras

    version = {"jax": _jax_capability, "tensorflow": _tensorflow_capability, "torch": _torch_capability}
    return version[keras.backend.backend()]()


def _jax_capability():
    import jax

    version = str(getattr(jax.devices()[0], "compute_capability", ""))
    return int(version.split(".")[0]) if version[:1].isdigit() else None


def _tensorflow_capability():
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    version = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability") if gpus else None
    return version[0] if version else None


def _torch_capability():
    import torch

    return torch.cuda.get_device_capability(0)[0] if torch.cuda.is_available() else None
