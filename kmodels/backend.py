"""Which Keras backend is in use, on which device, and TensorFlow kept in its place beside it."""

import importlib.util
import os

from kmodels.errors import InputError, unknown

BACKENDS = ("jax", "tensorflow", "torch")


def check_backend():
    """Fails early and plainly where Keras would fail late.

    Raises:
        InputError: if `KERAS_BACKEND` names no backend, or one that is not installed.
    """
    name = os.environ.get("KERAS_BACKEND", "jax")
    if name not in BACKENDS:
        raise unknown("KERAS_BACKEND", name, BACKENDS)
    if importlib.util.find_spec(name) is None:
        raise InputError(
            f"KERAS_BACKEND={name}, but {name} is not installed here; "
            f"install it (pip install {name}) or choose another of {', '.join(BACKENDS)}"
        )


def import_tensorflow():
    """TensorFlow for reading and preparing data; beside another backend it must not take the GPU."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        tf.config.set_visible_devices([], "GPU")
    return tf


def device_name():
    """The device that Keras computes on, in words: "cpu" or the name of the GPU."""
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        return "cpu" if device.platform == "cpu" else device.device_kind
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_logical_devices("GPU") and tf.config.list_physical_devices("GPU")
        return tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else "cpu"
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
