"""What can only be seen on a GPU: `pytest -m gpu`."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from kmodels import build_model, run, run_seeds
from kmodels.analysis import grad_cam
from kmodels.backend import device_name, import_tensorflow

pytestmark = pytest.mark.gpu


def test_a_run_is_on_the_gpu_and_its_record_names_it(tiny, tmp_path):
    record = run(tiny, 0, tmp_path, verbose=0)
    assert record.status == "completed"
    assert not record.device.startswith("cpu")
    assert record.device == device_name()


def test_tensorflow_as_a_loader_computes_on_the_cpu(backend):
    pytest.importorskip("tensorflow")
    if backend == "tensorflow":
        pytest.skip("here TensorFlow is the backend")
    tf = import_tensorflow()
    assert "CPU" in tf.zeros(3).device
    assert tf.config.list_logical_devices("GPU") == []


def test_grad_cam_on_jax_is_the_same_as_on_its_cpu(backend):
    if backend != "jax":
        pytest.skip("compares two devices of JAX")
    import jax

    model = build_model("model4", (32, 32, 3), 10)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    with jax.default_matmul_precision("highest"):
        on_gpu = grad_cam(model, images)
        weights = model.get_weights()
        with jax.default_device(jax.devices("cpu")[0]):
            twin = build_model("model4", (32, 32, 3), 10)
            twin.set_weights(weights)
            on_cpu = grad_cam(twin, images)
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-3)


def test_precision_and_epoch_program_are_chosen_by_the_device(tiny, tmp_path, backend):
    from kmodels.training.job import Job
    from kmodels.training.run import prepare

    assert prepare(Job(tiny, 0, tmp_path)).on_device == (backend == "jax")
    assert run(tiny, 0, tmp_path, verbose=0).precision in ("float32", "float16", "bfloat16")


@pytest.mark.parametrize("model", ["model4", "mobilenet"])
def test_an_epoch_in_one_call_takes_the_steps_of_single_calls(tiny, tmp_path, backend, model):
    if backend != "jax":
        pytest.skip("the epoch program is JAX's")
    experiment = replace(tiny, model=model, image_size=32, precision="float32")
    steps = run(experiment, 0, tmp_path / "steps", verbose=0, on_device=False)
    epochs = run(experiment, 0, tmp_path / "epochs", verbose=0, on_device=True)
    # TensorFloat-32 rounds to three digits, in another order each time.
    np.testing.assert_allclose(epochs.history["loss"], steps.history["loss"], rtol=2e-2)


def test_seeds_train_together_as_alone(tiny, tmp_path, backend):
    if backend != "jax":
        pytest.skip("vmap is JAX's")
    experiment = replace(tiny, model="mlp", precision="float32")
    together = run_seeds(experiment, [0, 1, 2], tmp_path / "together", verbose=0, together=True)
    alone = run_seeds(experiment, [0, 1, 2], tmp_path / "alone", verbose=0, together=False)
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.seeds_at_once == 3
        np.testing.assert_allclose(ours.history["loss"], theirs.history["loss"], rtol=2e-2)


REPEAT = """
import sys
from kmodels import Experiment, make_deterministic
make_deterministic()
from kmodels import run
experiment = Experiment(
    name="tests/repeat", dataset="synthetic", image_size=32, model="model4", epochs=3, batch_size=16
)
print(run(experiment, 0, sys.argv[1], verbose=0).history["loss"])
"""


def test_deterministic_repeats_are_equal_bit_for_bit_whatever_was_compiled_before(tmp_path, monkeypatch):
    def losses(name, cache, program=REPEAT):
        monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / cache))
        command = [sys.executable, "-c", program, str(tmp_path / name)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    usual = REPEAT.replace("\nmake_deterministic()\n", "\n")
    assert usual != REPEAT
    losses("usual", "used", usual)
    assert losses("first", "new") == losses("second", "newer") == losses("third", "used")
