"""DenseNet-121: as large as Keras' own, drawn as torchvision's, factorised, noisy at its first convolutions."""

import keras
import numpy as np
import pytest

from kmodels import InputError, build_model
from kmodels.models import trainable_parameters
from kmodels.models.densenet import NOISY
from kmodels.models.saving import load_network, save_network

SHAPE = (29, 29, 3)
STD = 0.25
# One image twice: what differs within the batch is noise.
TWICE = np.random.default_rng(0).integers(0, 256, (1, *SHAPE), np.uint8).repeat(2, axis=0)


@pytest.fixture(scope="module")
def plain():
    return build_model("densenet121", SHAPE, 10)


@pytest.fixture(scope="module")
def factorised():
    return build_model("densenet121", SHAPE, 10, factorised=True, noise_std=STD)


@pytest.fixture
def beginning(factorised):
    """All that has noise, up to what the last noise adds to."""
    return keras.Model(factorised.input, factorised.get_layer(f"{NOISY[-1]}_noise").output)


def test_it_is_as_large_as_keras_own(plain):
    theirs = keras.applications.DenseNet121(include_top=False, weights=None)
    ours = keras.Model(plain.input, plain.get_layer("feature_map").output)
    assert ours.count_params() == theirs.count_params() == 7_037_504
    assert sorted(tuple(layer.kernel.shape) for layer in _convolutions(ours)) == sorted(
        tuple(layer.kernel.shape) for layer in _convolutions(theirs)
    )


def test_weights_are_drawn_as_in_torchvision(plain):
    for layer in _convolutions(plain):
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        deviation = np.sqrt(2 / np.prod(kernel.shape[:-1]))
        assert kernel.std() == pytest.approx(deviation, rel=0.1), layer.name
        # A normal distribution that is not cut at two deviations.
        assert np.abs(kernel).max() > 3 * deviation
    kernel, bias = plain.get_layer("logits").get_weights()
    assert 0.95 / np.sqrt(1024) < np.abs(kernel).max() <= 1 / np.sqrt(1024)
    assert not bias.any()


def test_factorised_has_pairs_in_place_of_every_3x3_and_is_smaller(plain, factorised):
    sizes = [layer.kernel_size for layer in _convolutions(factorised)]
    assert [sizes.count(size) for size in ((3, 3), (1, 3), (3, 1))] == [0, 58, 58]
    first, second = (factorised.get_layer(f"block4_layer16_conv2_{size}") for size in ("1x3", "3x1"))
    assert second.input is first.output
    assert first.filters == second.filters == 32
    assert trainable_parameters(plain) - trainable_parameters(factorised) == 58 * (9 * 128 - 3 * 128 - 3 * 32) * 32
    assert trainable_parameters(factorised) == 5_716_874


def test_each_of_the_first_six_convolutions_is_followed_by_noise(plain, factorised):
    noises = [layer for layer in factorised.layers if isinstance(layer, keras.layers.GaussianNoise)]
    assert not [layer for layer in plain.layers if isinstance(layer, keras.layers.GaussianNoise)]
    assert [layer.name for layer in noises] == [f"{name}_noise" for name in NOISY]
    convolutions = [layer for layer in _convolutions(factorised) if not layer.name.endswith("_1x3")]
    assert [layer.input for layer in noises] == [layer.output for layer in convolutions[:6]]


def test_noise_differs_from_image_to_image_and_call_to_call_and_is_not_there_at_inference(beginning):
    noises = [layer for layer in beginning.layers if isinstance(layer, keras.layers.GaussianNoise)]
    around = keras.Model(beginning.input, [[layer.input, layer.output] for layer in noises])

    def added(training):
        pairs = around(TWICE, training=training)
        return [keras.ops.convert_to_numpy(after) - keras.ops.convert_to_numpy(before) for before, after in pairs]

    for once, again, at_inference in zip(added(True), added(True), added(False), strict=True):
        assert once.std() == pytest.approx(STD, rel=0.1)
        assert abs(once.mean()) < 0.1 * STD
        assert (once[0] != once[1]).mean() > 0.99
        assert (once != again).mean() > 0.99
        assert not at_inference.any()


def test_noise_differs_from_one_compiled_step_to_the_next(beginning):
    # Without a learning rate, and with the statistics of the batch, all that can change the loss is noise.
    beginning.compile(keras.optimizers.SGD(0.0), loss=lambda _, output: keras.ops.mean(output))

    def loss(step):
        # Keras before 3.15 averages over the batches since the last reset.
        beginning.reset_metrics()
        return float(step(TWICE, np.zeros(2)))

    training = [loss(beginning.train_on_batch) for _ in range(3)]
    testing = [loss(beginning.test_on_batch) for _ in range(2)]
    assert len(set(training)) == 3
    assert len(set(testing)) == 1


def test_factorised_and_noisy_it_is_the_same_after_saving(beginning, tmp_path):
    loaded = load_network(save_network(beginning, tmp_path / "network.keras"))
    outputs = [keras.ops.convert_to_numpy(network(TWICE)) for network in (beginning, loaded)]
    np.testing.assert_array_equal(*outputs)
    assert loaded.get_layer("stem_noise").stddev == STD


@pytest.mark.parametrize("std", [-0.1, 1.5])
def test_a_deviation_that_cannot_be_is_refused(std):
    with pytest.raises(InputError, match=r"noise_std must be from 0 to 1. Received: "):
        build_model("densenet121", SHAPE, 10, noise_std=std)


def _convolutions(network):
    return [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
