"""Every policy: drawn per image and per epoch, repeatable, absent from evaluation, and compiled."""

import keras
import numpy as np
import pytest

from kmodels import POLICIES, Experiment, InputError, build_model
from kmodels.augment import build_augmentation
from kmodels.augment.layers import RandomShiftCrop, RandomTurn
from kmodels.training.trainer import build_trainer

acting = pytest.mark.parametrize("policy", [policy for policy, what in POLICIES.items() if what.layers])


@pytest.fixture(scope="module")
def same():
    """Sixteen times the same image."""
    image = np.random.default_rng(0).integers(0, 256, (1, 12, 12, 3), np.uint8)
    return np.repeat(image, 16, axis=0)


def augmented(model, images, training=True):
    return keras.ops.convert_to_numpy(model(images, training=training))


@acting
def test_images_of_a_batch_differ_and_so_do_epochs(policy, same):
    model = build_augmentation(policy, (12, 12, 3), seed=0)
    first, second = augmented(model, same), augmented(model, same)
    assert first.shape == same.shape
    assert len(np.unique(first.reshape(16, -1), axis=0)) > 1
    assert not np.array_equal(first, second)


@acting
def test_the_same_seed_draws_the_same_and_another_does_not(policy, same):
    one, two, other = (build_augmentation(policy, (12, 12, 3), seed) for seed in (7, 7, 8))
    for _ in range(2):
        drawn = augmented(one, same)
        np.testing.assert_array_equal(drawn, augmented(two, same))
        assert not np.array_equal(drawn, augmented(other, same))


@pytest.mark.parametrize("policy", POLICIES)
def test_evaluation_sees_the_images_as_they_are(policy, same):
    model = build_augmentation(policy, (12, 12, 3), seed=0)
    np.testing.assert_array_equal(augmented(model, same, training=False), same)


@pytest.mark.parametrize("policy", POLICIES)
def test_pixels_stay_in_range(policy, same):
    drawn = augmented(build_augmentation(policy, (12, 12, 3), seed=0), same)
    assert drawn.min() >= 0
    assert drawn.max() <= 255


@acting
def test_the_training_step_stays_compiled(policy, backend):
    experiment = Experiment(name="tests/compiled", model="conv_net", augmentation=policy)
    network = build_model("conv_net", (16, 16, 3), 3)
    trainer = build_trainer(experiment, network, seed=0)
    if backend == "jax":
        assert trainer.jit_compile
    images, labels = np.zeros((4, 16, 16, 3), np.uint8), np.zeros(4, np.int32)
    trainer.train_on_batch(images, labels)
    # A compiled step never comes back to the layers' Python code. (Keras compiles none on PyTorch by itself.)
    calls = []
    for layer in trainer.get_layer(f"augment_{policy}").layers:
        original = layer.call
        object.__setattr__(layer, "call", lambda *a, _call=original, **k: calls.append(1) or _call(*a, **k))
    trainer.train_on_batch(images, labels)
    if backend == "torch":
        assert calls
    else:
        assert not calls


def test_the_saved_network_has_no_augmentation():
    network = build_model("conv_net", (16, 16, 3), 3)
    names = [layer.name for layer in network.layers]
    build_trainer(Experiment(name="tests/a", model="conv_net", augmentation="rotate_flip"), network, seed=0)
    assert [layer.name for layer in network.layers] == names


def test_a_crop_is_a_window_of_the_padded_image():
    images = np.random.default_rng(1).integers(1, 256, (6, 9, 9, 3)).astype(np.float32)
    cropped = augmented(RandomShiftCrop(2, seed=3), images)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for image, result in zip(padded, cropped, strict=True):
        windows = [image[y : y + 9, x : x + 9] for y in range(5) for x in range(5)]
        assert any(np.array_equal(window, result) for window in windows)


def test_a_turn_keeps_the_centre_and_moves_the_edge_as_far_as_its_angle():
    images = np.zeros((32, 65, 65, 1), np.float32)
    images[:, 31:34, 31:34] = 100
    images[:, 31:34, 60:63] = 200
    turned = augmented(RandomTurn(30, seed=0), images)
    np.testing.assert_allclose(turned[:, 32, 32, 0], 100, atol=0.01)
    angles = []
    for image in turned[..., 0]:
        weights = np.where(image > 100.5, image, 0)
        y, x = (np.average(axis, weights=weights) - 32 for axis in np.indices((65, 65)))
        angles.append(np.degrees(np.arctan2(y, x)))
        assert np.hypot(x, y) == pytest.approx(29, abs=0.5)
    assert np.abs(angles).max() <= 30.5
    assert np.std(angles) > 8


@pytest.mark.parametrize("degrees", [0, 181])
def test_impossible_angles_are_refused(degrees):
    with pytest.raises(InputError, match="degrees must be above 0 and at most 180"):
        RandomTurn(degrees, seed=0)


def test_unknown_policies_and_paddings_are_refused():
    with pytest.raises(InputError, match="unknown augmentation 'crops'; did you mean crop"):
        build_augmentation("crops", (12, 12, 3), 0)
    with pytest.raises(InputError, match="padding must be at least 1 pixel"):
        RandomShiftCrop(0, seed=0)
