"""Results that repeat are chosen before anything computes."""

import os
import subprocess
import sys

import keras
import pytest

from kmodels import InputError
from kmodels.backend import import_tensorflow, make_deterministic

SCRIPT = """
from kmodels.backend import deterministic, make_deterministic
before = deterministic()
make_deterministic()
import kmodels.training, keras
keras.ops.convert_to_numpy(keras.ops.ones(3))
make_deterministic()
print(before, deterministic())
"""


def test_repeatable_results_can_be_asked_for_on_every_backend():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_asking_too_late_is_an_error_with_a_way_out(monkeypatch, backend):
    if backend != "jax":
        pytest.skip("the others can be asked at any time")
    assert keras.backend.backend() in sys.modules
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    with pytest.raises(InputError, match=r"before JAX is loaded: .* or set XLA_FLAGS=--xla_gpu_deterministic_ops=true"):
        make_deterministic()


def test_tensorflow_that_the_user_has_started_is_left_as_it_is(monkeypatch, backend):
    tf = pytest.importorskip("tensorflow")
    if backend == "tensorflow":
        pytest.skip("here it has the device")

    def refuse(devices, kind):
        raise RuntimeError("Visible devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config, "set_visible_devices", refuse)
    assert import_tensorflow() is tf


def test_tensorflow_that_is_missing_is_said_in_a_sentence(monkeypatch, backend):
    if backend == "tensorflow":
        pytest.skip("here it is there")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(InputError, match="tensorflow, which is not installed"):
        import_tensorflow()


@pytest.mark.parametrize("arguments", [("models", "two_layer_net"), ("run", "quickstart/digits", "--out", "results")])
def test_a_device_that_jax_does_not_find_is_said_in_a_sentence(arguments, tmp_path):
    pytest.importorskip("jax")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "nonsense"}
    command = [sys.executable, "-m", "kmodels", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "error: JAX_PLATFORMS=nonsense, and JAX finds no such device" in done.stderr
    assert "unset JAX_PLATFORMS" in done.stderr
