"""What every network must do. A network missing from PARAMETERS fails."""

import keras
import numpy as np
import pytest

from kmodels import MODELS, Experiment, InputError, build_model
from kmodels.models import trainable_parameters
from kmodels.training.runs import build_trainer

# Trainable parameters for ten classes at 32x32. Models 2 to 4 as the report prints them.
PARAMETERS = {
    "conv_net": 62_006,
    "model1": 41_274,
    "model2": 42_506,
    "model3": 42_218,
    "model4": 42_314,
    "model5": 42_314,
    "model6": 42_410,
}

every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)


@every_model
def test_parameters_are_pinned(name):
    assert name in PARAMETERS, f"add the parameter count of {name} to this table"
    assert trainable_parameters(build_model(name, (32, 32, 3), 10)) == PARAMETERS[name]


@every_model
def test_pixels_in_logits_out_with_the_taps_on_the_way(name, images):
    network = build_model(name, (16, 16, 3), 7)
    assert network.input_shape == (None, 16, 16, 3)
    assert network.output_shape == (None, 7)
    assert len(network.get_layer("feature_map").output.shape) == 4
    assert len(network.get_layer("embedding").output.shape) == 2
    assert network.get_layer("logits").input is network.get_layer("embedding").output
    whole, fractions = network(images), network(images.astype("float32"))
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (whole, fractions)), atol=1e-6)


@every_model
def test_layers_have_the_same_names_each_time(name):
    def names():
        return [layer.name for layer in build_model(name, (16, 16, 3), 3).layers]

    assert names() == names()
    assert not any(layer.startswith(("conv2d", "dense_", "re_lu", "dropout")) for layer in names())


@every_model
def test_one_step_is_finite_and_moves_every_trainable_weight(name, images):
    keras.utils.set_random_seed(0)
    network = build_model(name, (16, 16, 3), 3)
    experiment = Experiment(name="tests/step", model=name, optimizer="sgd", learning_rate=0.1)
    trainer = build_trainer(experiment, network, seed=0)
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in network.trainable_weights]
    loss = trainer.train_on_batch(images, np.array([0, 1, 2, 0]))[0]
    assert np.isfinite(loss)
    still = [
        weight.path
        for weight, old in zip(network.trainable_weights, before, strict=True)
        if np.array_equal(keras.ops.convert_to_numpy(weight), old)
    ]
    assert still == []


@every_model
def test_save_and_load_give_equal_outputs(name, images, tmp_path):
    network = build_model(name, (16, 16, 3), 3)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    outputs = [keras.ops.convert_to_numpy(model(images)) for model in (network, loaded)]
    np.testing.assert_array_equal(*outputs)


@every_model
def test_too_small_images_and_other_channels_are_refused(name):
    with pytest.raises(InputError, match="needs images of at least"):
        build_model(name, (4, 4, 3), 10)
    with pytest.raises(InputError, match=r"input_shape must be \(height, width, 3\)"):
        build_model(name, (32, 32, 1), 10)


def test_an_unknown_option_names_those_there_are():
    with pytest.raises(InputError, match="model 'model4' has no option 'dropot'; it has: dropout"):
        build_model("model4", (32, 32, 3), 10, dropot=0.1)
    with pytest.raises(InputError, match="model 'model5' has no option 'dropout'; it has: none"):
        build_model("model5", (32, 32, 3), 10, dropout=0.1)


def test_dropout_is_the_rate_that_was_asked_for():
    network = build_model("model4", (32, 32, 3), 10, dropout=0.45)
    assert [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)] == [0.45, 0.45]


def test_initial_weights_are_drawn_as_in_torch():
    keras.utils.set_random_seed(0)
    network = build_model("model2", (32, 32, 3), 10)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            kernel, bias = (keras.ops.convert_to_numpy(weight) for weight in layer.weights)
            limit = 1 / np.sqrt(np.prod(kernel.shape[:-1]))
            assert np.abs(kernel).max() <= limit
            assert np.abs(kernel).max() > 0.95 * limit
            assert np.abs(kernel.std() / (limit / np.sqrt(3)) - 1) < 0.1
            assert 0 < np.abs(bias).max() <= limit
