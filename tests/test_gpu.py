"""What can only be seen on a GPU: `pytest -m gpu`."""

import numpy as np
import pytest

from kmodels import build_model, run
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
