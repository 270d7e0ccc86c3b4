"""The networks of keras.applications as models: their preprocessing, ends, weights and names."""

import functools
import inspect

import keras
import numpy as np
import pytest

from kmodels import Experiment, InputError, build_model
from kmodels.analysis.cam import grad_cam
from kmodels.analysis.predict import embed
from kmodels.commands.train import WITHOUT_BATCH_NORM
from kmodels.models import applications, builder, trainable_parameters
from kmodels.models.blocks import IMAGENET_MEAN, IMAGENET_STD
from kmodels.models.saving import load_network, save_network
from kmodels.models.transfer import freeze, transfer_weights

ALL = applications.architectures()
SMALL, MINIMALISTIC = {"alpha": 0.25}, {"minimalistic": True}
slow = pytest.mark.slow
SIZE = 32
pytestmark = pytest.mark.usefixtures("networks_by_numpy")


def build(name, classes=3, size=SIZE, **options):
    return build_model(f"applications:{name}", (size, size, 3), classes, **options)


@pytest.fixture(scope="module")
def images():
    images = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)
    return (images // np.array([1, 2, 3, 4]).reshape(4, 1, 1, 1)).astype("float32")


@pytest.fixture(scope="module")
def small():
    return build("MobileNet", **SMALL)


def keras_own(name, classes=7, **options):
    """Keras' own network with top; EfficientNetB0 to B7 with the normalisation that their files of weights have."""
    network = ALL[name](weights=None, input_shape=(SIZE, SIZE, 3), classes=classes, **options)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.load_own_variables({"0": np.array(IMAGENET_MEAN), "1": np.square(IMAGENET_STD), "2": 0})
    return network


def with_layers(layers):
    """The layers that have weights, those of nested networks too, without preprocessing."""
    for layer in layers:
        if isinstance(layer, keras.Model):
            yield from with_layers(layer.layers)
        elif layer.weights and not isinstance(layer, keras.layers.Normalization):
            yield layer


def assert_same_function(name, images, **options):
    """Ours gives the logits of the probabilities that Keras' own gives with the same weights."""
    theirs, ours = keras_own(name, **options), build(name, 7, **options)
    for mine, other in zip(with_layers(ours.layers), with_layers(theirs.layers), strict=True):
        mine.set_weights([a.reshape(b.shape) for a, b in zip(other.get_weights(), mine.weights, strict=True)])
    prepared = inspect.getmodule(ALL[name]).preprocess_input(images.copy())
    outputs = [network(x, training=False) for network, x in ((ours, images), (theirs, prepared))]
    logits, expected = map(keras.ops.convert_to_numpy, outputs)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities / probabilities.sum(axis=1, keepdims=True), expected, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_pixels_are_prepared_as_keras_prepares_them(name):
    images = np.random.default_rng(0).uniform(0, 255, (2, 5, 4, 3)).astype("float32")
    scale, offset, flipped = applications.preprocessing(ALL[name])
    prepared = (images * scale + offset)[..., :: -1 if flipped else 1]
    expected = inspect.getmodule(ALL[name]).preprocess_input(images.copy())
    np.testing.assert_allclose(prepared, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_options_are_those_of_keras_that_leave_the_ends_alone(name):
    options = set(list(inspect.signature(builder(f"applications:{name}")).parameters)[2:])
    assert {"weights", "dropout"} <= options
    assert options <= {"weights", "dropout", "hidden_top", "alpha", "depth_multiplier", "minimalistic"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MobileNet", SMALL),
        # Hidden layers of its top in 4-D.
        pytest.param("MobileNetV3Small", MINIMALISTIC, marks=slow),
        # Blue first; constants that Keras has as weights; hidden layers of its top in 2-D; nested networks.
        *(pytest.param(name, {}, marks=slow) for name in ("ResNet50", "EfficientNetB0", "VGG16", "ConvNeXtTiny")),
    ],
)
def test_a_network_computes_what_it_computes_in_keras(name, options, images):
    assert_same_function(name, images, **options)


@slow
@pytest.mark.parametrize("name", ALL)
def test_every_network_keeps_the_contract(name):
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)
    network = build(name, size=96)
    check_ends(network)
    hidden = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]
    after = hidden[-2].output.shape[1:3] == (1, 1) or len(hidden[-2].output.shape) == 2
    assert after == (name in applications.WITH_HIDDEN_TOP)
    norms = any(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers)
    assert norms != f"applications:{name}".startswith(WITHOUT_BATCH_NORM)
    assert network(images).shape == (2, 3)


def check_ends(network):
    assert len(network.get_layer("feature_map").output.shape) == 4
    assert len(network.get_layer("embedding").output.shape) == 2
    assert network.get_layer("logits").input is network.get_layer("embedding").output
    assert network.get_layer("logits").activation is keras.activations.linear
    assert not any(isinstance(layer, keras.Model | keras.layers.Lambda) for layer in network.layers)


def test_the_names_of_layers_are_the_same_each_time():
    # Keras counts through all networks of a process.
    networks = [build("MobileNetV3Small", **MINIMALISTIC) for _ in range(2)]
    names, again = ([layer.name for layer in network.layers] for network in networks)
    assert names == again
    assert len(set(names)) == len(names)
    check_ends(networks[0])
    assert networks[0].name == "MobileNetV3Small"


def test_what_is_done_with_our_networks_can_be_done_with_these(small, images, tmp_path):
    loaded = load_network(save_network(small, tmp_path / "network.keras"))
    np.testing.assert_array_equal(*(network.predict_on_batch(images) for network in (small, loaded)))
    assert grad_cam(small, images).shape == images.shape[:3]
    assert embed(small, images).shape == (4, small.get_layer("embedding").output.shape[-1])
    again = build("MobileNet", 5, **SMALL)
    assert transfer_weights(again, loaded).initialised == ("logits",)
    freeze(again)
    assert len(again.trainable_weights) == 2


@slow
@pytest.mark.parametrize("name", ["ResNet50", "ConvNeXtTiny"])
def test_operations_between_layers_are_saved_too_also_in_half_precision(name, images, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = build(name)
    finally:
        keras.config.set_dtype_policy("float32")
    check_ends(half)
    loaded = load_network(save_network(half, tmp_path / "network.keras"))
    assert {layer.compute_dtype for layer in loaded.layers} == {"float32"}
    outputs = [keras.ops.convert_to_numpy(network(images[:1])) for network in (half, loaded)]
    np.testing.assert_allclose(*outputs, atol=0.1)


def test_dropout_is_that_of_keras_unless_it_is_given():
    def rate(name, **options):
        return build(name, **options).get_layer("embedding").rate

    assert rate("MobileNet", **SMALL) == 0.001
    assert rate("MobileNetV3Small", **MINIMALISTIC) == 0.2
    assert rate("MobileNet", **SMALL, dropout=0.5) == 0.5
    with pytest.raises(InputError, match="cannot be built"):
        rate("MobileNet", **SMALL, dropout=2)


@pytest.mark.parametrize("include_top", [True, False])
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".keras"])
def test_weights_of_a_file_go_everywhere_but_into_the_classifier(include_top, suffix, images, tmp_path):
    theirs = ALL["MobileNet"](weights=None, include_top=include_top, alpha=0.25)
    path = tmp_path / f"weights{suffix}"
    theirs.save_weights(path) if suffix == ".weights.h5" else theirs.save(path)
    ours = build("MobileNet", **SMALL, weights=str(path))
    mine = [layer for layer in with_layers(ours.layers) if layer.name != "logits"]
    for layer, other in zip(mine, with_layers(theirs.layers), strict=False):
        for a, b in zip(layer.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert ours.output_shape == (None, 3)


def test_weights_of_our_own_file_are_those_of_the_network(small, tmp_path):
    path = save_network(small, tmp_path / "network.keras")
    ours = build("MobileNet", 4, size=40, **SMALL, weights=str(path))
    for layer in small.layers:
        if layer.name != "logits":
            for a, b in zip(ours.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)


def test_weights_of_other_networks_are_refused_in_a_sentence(small, tmp_path):
    path, damaged = tmp_path / "other.weights.h5", tmp_path / "damaged.h5"
    ALL["MobileNet"](weights=None, alpha=0.5).save_weights(path)
    damaged.write_bytes(b"no such format")
    for weights in (path, damaged):
        with pytest.raises(InputError, match=f"{weights.name} does not hold the weights of .*MobileNet"):
            build("MobileNet", **SMALL, weights=str(weights))
    with pytest.raises(InputError, match=r"has no weights for conv1.* of MobileNet"):
        build("MobileNet", alpha=0.5, weights=str(save_network(small, tmp_path / "small.keras")))
    with pytest.raises(InputError, match="a file that exists"):
        build("MobileNet", weights="nowhere.h5")


def test_a_hidden_top_that_a_file_lacks_can_be_left_out(tmp_path):
    theirs = ALL["MobileNetV3Small"](weights=None, include_top=False, input_shape=(SIZE, SIZE, 3), **MINIMALISTIC)
    theirs.save_weights(path := tmp_path / "notop.weights.h5")
    with pytest.raises(InputError, match=r"no weights for conv_2 .*hidden_top=false"):
        build("MobileNetV3Small", weights=str(path), **MINIMALISTIC)
    ours = build("MobileNetV3Small", weights=str(path), hidden_top=False, **MINIMALISTIC)
    check_ends(ours)
    pairs = zip(with_layers(ours.layers), with_layers(theirs.layers), strict=False)
    assert all(np.array_equal(a, b) for m, o in pairs for a, b in zip(m.get_weights(), o.get_weights(), strict=True))


def test_imagenet_weights_are_those_of_keras_and_a_failed_download_says_what_to_do(monkeypatch):
    function = ALL["MobileNet"]
    downloaded = function(weights=None, include_top=False, **SMALL)

    @functools.wraps(function)
    def online(**arguments):
        return downloaded if arguments["weights"] == "imagenet" else function(**arguments)

    @functools.wraps(function)
    def offline(**arguments):
        if arguments["weights"] == "imagenet":
            raise Exception("URL fetch failure on https://storage: Name or service not known")
        return function(**arguments)

    monkeypatch.setattr(keras.applications, "MobileNet", online)
    network = build("MobileNet", **SMALL, weights="imagenet")
    for layer in with_layers(downloaded.layers):
        for a, b in zip(network.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    monkeypatch.setattr(keras.applications, "MobileNet", offline)
    with pytest.raises(InputError, match=r"cannot download .*\.keras/models.*URL fetch.*weights=FILE"):
        build("MobileNet", **SMALL, weights="imagenet")


def test_names_options_and_sizes_are_checked():
    for name, options, message in (
        ("MobilNetV2", {}, "did you mean MobileNetV2"),
        ("", {}, "unknown network of keras.applications"),
        ("mobilenet", {}, "unknown network of keras.applications"),
        ("imagenet_utils", {}, "unknown network of keras.applications"),
        ("MobileNet", {"include_top": False}, "no option 'include_top'; it has: weights, dropout, alpha"),
        ("MobileNet", {"pooling": "max"}, "no option 'pooling'"),
        ("MobileNet", {"hidden_top": False}, "no option 'hidden_top'"),
        (
            "InceptionV3",
            {},
            "InceptionV3 cannot be built for images of 32x32 pixels: .* at least 75x75",
        ),
        ("MobileNet", {"alpha": "wide"}, "cannot be built for images of 32x32 pixels and options"),
    ):
        with pytest.raises(InputError, match=message) as error:
            build(name, **options)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"input_shape must be \(height, width, 3\)"):
        build_model("applications:MobileNet", (32, 32, 1), 3)


def test_an_experiment_does_not_take_it_for_a_function_of_the_users(tmp_path, monkeypatch):
    (tmp_path / "applications.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    experiment = Experiment(name="tests/application", model="applications:MobileNet", model_options={"alpha": 0.25})
    assert experiment.references == {}
    assert trainable_parameters(build_model(experiment.model, (32, 32, 3), 3, **experiment.model_options)) > 0
    assert Experiment(name="tests/own", model="my.applications:net").references == {"model": "my.applications:net"}
