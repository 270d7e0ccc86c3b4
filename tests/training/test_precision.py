"""What a network computes in follows the device; what must be exact stays in single precision."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from kmodels import InputError, build_model, load_dataset, run
from kmodels.models.saving import load_network
from kmodels.training import precision
from kmodels.training.precision import computing_in, resolve
from kmodels.training.train import Training


@pytest.fixture
def tiny(tiny):
    """With convolutions."""
    return replace(tiny, model="model1")


@pytest.mark.parametrize(
    ("major", "expected"),
    [(None, "float32"), (6, "float32"), (7, "float16"), (8, "bfloat16"), (9, "bfloat16"), (12, "bfloat16")],
)
def test_auto_is_the_fastest_that_the_device_has_units_for(monkeypatch, major, expected):
    monkeypatch.setattr(precision, "compute_capability", lambda: major)
    assert resolve("auto") == expected
    assert resolve("float32") == "float32"


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_a_run_in_half_precision_keeps_what_must_be_exact_in_single(tiny, tmp_path, half):
    tiny = replace(tiny, augmentation="none", epochs=1)
    record = run(replace(tiny, precision=half), 0, tmp_path, verbose=0)
    assert record.precision == half
    assert f"-{half}-" in record.stem
    assert np.isfinite(record.test.loss)
    network = load_network(tmp_path / f"{record.stem}.keras")
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    whole = run(tiny, 0, tmp_path, verbose=0)
    assert whole.precision == "float32"
    assert half not in whole.stem


# JAX computes in float32 instead.
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_a_run_computes_in_the_policy_that_the_user_has_set(tiny, tmp_path, policy):
    keras.config.set_dtype_policy(policy)
    try:
        record = run(replace(tiny, augmentation="none", epochs=1), 0, tmp_path, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert (record.status, record.precision, record.warnings) == ("completed", policy, ())
    assert f"-{policy}-" in record.stem
    assert load_network(tmp_path / f"{record.stem}.keras").get_layer("logits").compute_dtype in ("float32", policy)


def test_logits_scaling_and_weights_are_single_and_convolutions_half():
    with computing_in("bfloat16"):
        network = build_model("model4", (16, 16, 3), 10)
    assert keras.config.dtype_policy().name == "float32"
    computes = {layer.name: layer.compute_dtype for layer in network.layers}
    assert computes["conv1"] == "bfloat16"
    assert computes["scale"] == computes["logits"] == "float32"
    assert {weight.dtype for weight in network.weights} == {"float32"}
    assert keras.backend.standardize_dtype(network.outputs[0].dtype) == "float32"


def test_float16_scales_the_loss_by_a_constant_and_others_do_not():
    dataset = load_dataset("synthetic", 32)
    for name, scale in (("float16", precision.LOSS_SCALE), ("bfloat16", None), ("float32", None)):
        with computing_in(name):
            network = build_model("model1", (32, 32, 3), 10)
        optimizer = Training(network, dataset, batch_size=8).trainer.optimizer
        assert optimizer.loss_scale_factor == scale
        assert type(optimizer).__name__ == "Adam"


def test_half_precision_in_double_is_refused():
    keras.config.set_dtype_policy("float64")
    try:
        assert resolve("auto") == resolve("float32") == "float64"
        with pytest.raises(InputError, match=r"precision 'bfloat16' needs Keras' policy float32. Received: 'float64'"):
            computing_in("bfloat16").__enter__()
        assert keras.config.dtype_policy().name == "float64"
    finally:
        keras.config.set_dtype_policy("float32")
