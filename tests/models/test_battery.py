"""What every network must do. A network missing from PARAMETERS fails."""

import importlib.util
import re

import keras
import numpy as np
import pytest

from kmodels import MODELS, InputError, build_model
from kmodels.models import builder, trainable_parameters
from kmodels.models.saving import load_network, save_network
from kmodels.training.optimizers import build_optimizer
from kmodels.training.trainer import build_trainer

# Trainable parameters for ten classes at the size in SIZES, else 32x32. Models 2 to 4 as the report prints them.
PARAMETERS = {
    "alexnet": 57_044_810,
    "alexnet_cifar": 27_279_882,
    "basic_cnn": 62_006,
    "conv_net": 62_006,
    "conv_net_5x5": 1_854_218,
    "conv_net_tuned": 4_275_978,
    "densenet121": 6_964_106,
    "efficientnet_lite0": 3_383_818,
    "mlp": 298_442,
    "mobilenet": 749_642,
    "model1": 41_274,
    "model2": 42_506,
    "model3": 42_218,
    "model4": 42_314,
    "model5": 42_314,
    "model6": 42_410,
    "resnet18_cifar": 11_173_962,
    "resnet32_cifar": 464_154,
    "resnet50": 23_528_522,
    "two_layer_net": 197_322,
}
# What a report prints for six scenes, at the size its experiments take.
SIX_CLASSES = {"alexnet": (150, 57_028_422), "mlp": (48, 666_950), "mobilenet": (150, 747_590)}
# What the layers that report `cifar100_to_stl10` prints have for a hundred classes at 32x32.
HUNDRED_CLASSES = {
    "conv_net": {"dense2": 10_164},
    "conv_net_tuned": {"conv1": 1_792, "conv2": 73_856, "dense1": 8192 * 512 + 512, "logits": 51_300},
    "two_layer_net": {"dense1": 3072 * 64 + 64, "logits": 6_500},
}
SIZES = {"alexnet": 64}

PURELY_DENSE = ("mlp", "two_layer_net")

every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(scope="module", params=MODELS)
def network(request, initialised_by_numpy):
    """Every network, built once: a deep one takes seconds."""
    size = SIZES.get(request.param, 32)
    with initialised_by_numpy():
        return build_model(request.param, (size, size, 3), 10)


@pytest.fixture
def images(network):
    return np.random.default_rng(0).integers(0, 256, (4, *network.input_shape[1:]), np.uint8)


def test_parameters_are_pinned(network):
    assert network.name in PARAMETERS, f"add the parameter count of {network.name} to this table"
    assert trainable_parameters(network) == PARAMETERS[network.name]


@pytest.mark.parametrize("name", SIX_CLASSES)
def test_parameters_for_six_scenes_are_those_of_the_report(name, initialised_by_numpy):
    size, parameters = SIX_CLASSES[name]
    with initialised_by_numpy():
        assert trainable_parameters(build_model(name, (size, size, 3), 6)) == parameters


@pytest.mark.parametrize("name", HUNDRED_CLASSES)
def test_layers_for_a_hundred_classes_are_those_of_the_report(name):
    network = build_model(name, (32, 32, 3), 100)
    printed = HUNDRED_CLASSES[name]
    assert {layer: trainable_parameters(network.get_layer(layer)) for layer in printed} == printed


def test_the_tuned_networks_of_the_report_have_its_widths():
    widths = [(3072, 128), (128, 128), (128, 128), (128, 100)]
    network = build_model("two_layer_net", (32, 32, 3), 100, hidden=(128, 128, 128))
    assert [layer.kernel.shape for layer in network.layers if isinstance(layer, keras.layers.Dense)] == widths
    transferred = build_model("conv_net_tuned", (96, 96, 3), 5)
    assert transferred.get_layer("dense1").kernel.shape == (73_728, 512)


def test_pixels_in_logits_out_with_the_taps_on_the_way(network, images):
    size = SIZES.get(network.name, 32)
    assert network.input_shape == (None, size, size, 3)
    assert network.output_shape == (None, 10)
    if network.name not in PURELY_DENSE:
        assert len(network.get_layer("feature_map").output.shape) == 4
    assert len(network.get_layer("embedding").output.shape) == 2
    assert network.get_layer("logits").input is network.get_layer("embedding").output
    # Whole numbers and fractions are the same pixels; from the first layer on, the network sees no difference.
    scale = network.get_layer("scale")
    assert isinstance(network.layers[1], keras.layers.Rescaling)
    assert network.layers[1] is scale
    whole, fractions = scale(images), scale(images.astype("float32"))
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (whole, fractions)), atol=1e-6)


def test_layers_have_the_same_names_each_time(network):
    # Keras itself calls them by their class and a number that counts up from network to network.
    for layer in network.layers:
        by_keras = re.fullmatch("_?".join(type(layer).__name__.lower()) + "(_[0-9]+)?", layer.name)
        # Our own name for the only one of its kind.
        assert not by_keras or layer.name == "flatten"


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is not None, reason="test_torch_parity.py shows more, and compiles as much"
)
def test_one_step_is_finite_and_moves_every_trainable_weight(network, images):
    trainer = build_trainer(network, build_optimizer("sgd", 0.1))
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in network.trainable_weights]
    loss = trainer.train_on_batch(images, np.array([0, 1, 2, 0]))[0]
    assert np.isfinite(loss)
    still = [
        weight.path
        for weight, old in zip(network.trainable_weights, before, strict=True)
        if np.array_equal(keras.ops.convert_to_numpy(weight), old)
    ]
    assert still == []


def test_save_and_load_give_equal_outputs(network, images, tmp_path, initialised_by_numpy):
    with initialised_by_numpy():
        loaded = load_network(save_network(network, tmp_path / "network.keras"))
    outputs = [model.predict_on_batch(images) for model in (network, loaded)]
    np.testing.assert_array_equal(*outputs)


@every_model
def test_too_small_images_and_other_channels_are_refused(name):
    if name not in PURELY_DENSE:
        with pytest.raises(InputError, match="needs images of at least"):
            build_model(name, (3, 3, 3), 10)
    with pytest.raises(InputError, match=r"input_shape must be \(height, width, 3\)"):
        build_model(name, (32, 32, 1), 10)


def test_an_unknown_option_names_those_there_are():
    with pytest.raises(InputError, match="model 'model4' has no option 'dropot'; it has: dropout"):
        build_model("model4", (32, 32, 3), 10, dropot=0.1)
    with pytest.raises(InputError, match="model 'model5' has no option 'dropout'; it has: none"):
        build_model("model5", (32, 32, 3), 10, dropout=0.1)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("alexnet", "batch_norm"),
        ("densenet121", "factorised"),
        ("resnet50", "small_stem"),
        ("applications:MobileNetV3Small", "hidden_top"),
        ("applications:MobileNetV3Small", "minimalistic"),
    ],
)
@pytest.mark.parametrize("value", ["no", 0, None])
def test_options_that_are_true_or_false_are_nothing_else(name, option, value):
    with pytest.raises(InputError, match=f"the option {option} of model '{name}' must be true or false. Received: "):
        builder(name, {option: value})
    assert callable(builder(name, {option: False}))


@pytest.mark.parametrize("classes", [None, "6", 2.5, 1, True])
def test_a_number_of_classes_that_is_none_is_refused(classes):
    with pytest.raises(InputError, match="num_classes must be an integer of at least 2"):
        build_model("mlp", (8, 8, 3), classes)


def test_what_is_no_builder_of_networks_is_refused():
    for name in (["mlp"], None, 3):
        with pytest.raises(InputError, match="a model must be given by its name or as a function"):
            build_model(name, (8, 8, 3), 2)
    with pytest.raises(InputError, match=r"model 'os:getcwd' must take \(input_shape, num_classes, \*\*options\)"):
        build_model("os:getcwd", (8, 8, 3), 2)


@pytest.mark.parametrize("hidden", [(), (64, 0), (64, 32.0), (True,), 64, None])
def test_hidden_widths_that_are_no_whole_numbers_are_refused(hidden):
    with pytest.raises(InputError, match=r"hidden must be one or more whole numbers from 1 up. Received: "):
        build_model("two_layer_net", (32, 32, 3), 10, hidden=hidden)


def test_dropout_is_the_rate_that_was_asked_for():
    network = build_model("model4", (32, 32, 3), 10, dropout=0.45)
    assert [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)] == [0.45, 0.45]


def test_initial_weights_are_those_of_torch():
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
