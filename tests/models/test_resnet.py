"""ResNet50: frozen is frozen, and ImageNet's weights do here what they do in Keras' own network."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from kmodels import Experiment, InputError, build_model, run
from kmodels.models import trainable_parameters
from kmodels.models.resnet import KERAS_APPLICATIONS, assemble, from_keras_applications
from kmodels.models.saving import load_network, save_network, weights_checksum
from kmodels.models.transfer import copy_weights, freeze
from kmodels.report.page import write_page
from kmodels.training.optimizers import build_optimizer
from kmodels.training.trainer import build_trainer

pytestmark = pytest.mark.usefixtures("networks_by_numpy")
SHAPE = (32, 32, 3)


@pytest.fixture(scope="module")
def theirs():
    """Keras' ResNet50 with random weights, statistics as after training."""
    network = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(None, None, 3))
    rng = np.random.default_rng(0)
    for weight in network.weights:
        positive = weight.path.endswith(("gamma", "moving_variance"))
        weight.assign(rng.uniform(0.5, 1.5, weight.shape) if positive else rng.normal(0, 0.05, weight.shape))
    return network


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A ResNet50 of ours in a file, for four classes."""
    path = tmp_path_factory.mktemp("weights") / "network.keras"
    return save_network(build_model("resnet50", SHAPE, 4), path)


def test_keras_weights_give_the_features_of_keras_network(theirs):
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    network = assemble((64, 64, 3), 6, KERAS_APPLICATIONS)
    copy_weights(network, from_keras_applications(theirs))
    embedding = keras.Model(network.input, network.get_layer("embedding").output)(images, training=False)
    expected = theirs(keras.applications.resnet.preprocess_input(images.copy()), training=False)
    expected = keras.ops.convert_to_numpy(expected).mean(axis=(1, 2))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(embedding), expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_keras_weights_are_read_from_their_file(theirs, tmp_path):
    path = tmp_path / "notop.weights.h5"
    theirs.save_weights(path)
    network = build_model("resnet50", SHAPE, 6, weights=str(path))
    assert network.get_layer("stage2_block1_conv1").strides == (2, 2)
    kernel = theirs.get_layer("conv5_block3_3_conv").get_weights()[0]
    np.testing.assert_array_equal(network.get_layer("stage4_block3_conv3").get_weights()[0], kernel)


def test_frozen_trains_the_classifier_and_leaves_all_else_statistics_included(file):
    network = build_model("resnet50", SHAPE, 6, weights=str(file))
    freeze(network)
    assert trainable_parameters(network) == 12_294
    before = {weight.path: keras.ops.convert_to_numpy(weight).copy() for weight in network.weights}
    images = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), np.uint8)
    build_trainer(network, build_optimizer("sgd", 0.1)).train_on_batch(images, np.array([0, 1, 2, 0]))
    changed = {weight.path for weight in network.weights if not np.array_equal(before[weight.path], _array(weight))}
    assert changed == {"logits/kernel", "logits/bias"}


def test_fine_tuned_starts_from_the_file_and_trains_everything(file):
    network = build_model("resnet50", (40, 40, 3), 6, weights=str(file))
    assert trainable_parameters(network) == 23_520_326
    source = load_network(file)
    np.testing.assert_array_equal(
        _array(network.get_layer("stem").weights[0]), _array(source.get_layer("stem").weights[0])
    )


def small(input_shape, num_classes, *, weights=None):
    """A network with the option of resnet50 and little to compile."""
    network = build_model("mlp", input_shape, num_classes)
    if weights:
        copy_weights(network, load_network(weights))
    return network


def test_a_record_names_the_content_of_the_weights_file_and_its_page_needs_it_no_more(tmp_path):
    file = save_network(build_model("mlp", SHAPE, 4), tmp_path / "weights.keras")
    experiment = Experiment(
        name="tests/frozen", dataset="synthetic", image_size=32, model=f"{__name__}:small",
        model_options={"weights": str(file)}, frozen=True, batch_size=20, epochs=1,
    )  # fmt: skip
    record = run(experiment, 0, tmp_path, verbose=0)
    assert record.parameters == 330
    assert record.weights_sha256 == weights_checksum(file)
    gone = replace(record, experiment=replace(experiment, model_options={"weights": "gone.keras"}))
    page = write_page([gone], tmp_path, tmp_path / "page.html").read_text()
    assert "small, 32x32 pixels, 10 classes" in page
    assert "330" in page


def test_what_cannot_be_is_refused(file, tmp_path):
    other = save_network(build_model("conv_net", (16, 16, 3), 4), tmp_path / "other.keras")
    empty = tmp_path / "empty.h5"
    empty.write_bytes(b"")
    for options, message in (
        ({"small_stem": True, "weights": str(file)}, "small_stem has no published weights"),
        ({"weights": "imagnet"}, "weights must be 'imagenet' or a file that exists. Received: 'imagnet'"),
        ({"weights": str(tmp_path)}, "weights must be 'imagenet' or a file that exists"),
        ({"weights": str(other)}, "the weights are of another network than resnet50: stem, stem_norm"),
        ({"weights": str(empty)}, "does not hold the weights of keras.applications.ResNet50 without top"),
    ):
        with pytest.raises(InputError, match=message):
            build_model("resnet50", SHAPE, 6, **options)
    (tmp_path / "torch.pth").write_bytes(b"")
    with pytest.raises(InputError, match=r"kmodels convert FILE.pth --model resnet50"):
        build_model("resnet50", SHAPE, 6, weights=str(tmp_path / "torch.pth"))


def _array(weight):
    return keras.ops.convert_to_numpy(weight)
