"""Policies: drawn per image and per epoch, repeatable, absent from evaluation, and compiled. What each layer does."""

import colorsys
import random

import keras
import numpy as np
import pytest

from kmodels import POLICIES, InputError, build_model
from kmodels.augment import build_augmentation, check_pixel_values
from kmodels.augment.colour import RandomColorJitter, RandomSharpness
from kmodels.augment.layers import RandomErasing, RandomShiftCrop, RandomTranspose, RandomTurn
from kmodels.augment.mixing import CutMix, MixUp, mixing_layer
from kmodels.training.optimizers import build_optimizer
from kmodels.training.trainer import build_trainer

acting = pytest.mark.parametrize("policy", [policy for policy, what in POLICIES.items() if what.layers])


@pytest.fixture(scope="module")
def same():
    """Sixteen times the same image."""
    image = np.random.default_rng(0).integers(0, 256, (1, 12, 12, 3), np.uint8)
    return np.repeat(image, 16, axis=0)


@pytest.fixture
def varied():
    """Thirty-two different images, far from 0 and 255."""
    return np.random.default_rng(2).uniform(90, 160, (32, 12, 12, 3)).astype(np.float32)


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


def fade(images):
    return images * keras.random.uniform((keras.ops.shape(images)[0], 1, 1, 1), 0.5, 1.0, "float32", seed=3)


class Fade(keras.layers.Layer):
    """Multiplies what it computes in with float32, which TensorFlow refuses for any other dtype."""

    def call(self, images):
        return fade(images)


@pytest.mark.parametrize("dtype_policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_augmentation_computes_in_float32_whatever_the_dtype_policy_is(dtype_policy, varied):
    def drawn():
        sequence = keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomBrightness(0.2)])
        changes = ["everything", "rotate_flip", "geometric", "erase", "cutmix", fade, Fade(), sequence]
        models = [build_augmentation(change, (12, 12, 3), seed=0) for change in changes]
        return [model(varied, training=True) for model in models]

    expected = drawn()
    keras.config.set_dtype_policy(dtype_policy)
    try:
        for ours, theirs in zip(drawn(), expected, strict=True):
            assert keras.backend.standardize_dtype(ours.dtype) == "float32"
            np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (ours, theirs)))
    finally:
        keras.config.set_dtype_policy("float32")


def test_what_python_and_numpy_draw_is_one_constant_where_steps_are_compiled(varied, backend):
    """A step is compiled several times: again in a later epoch on JAX, and by a resumed training."""
    model = build_augmentation(lambda images: images * random.random() * np.random.uniform(), (12, 12, 3), seed=0)
    random.seed(1)
    expected = random.random()
    random.seed(1)
    first, second = (augmented(model, varied) for _ in range(2))
    assert np.array_equal(first, second) == (backend != "torch")
    # The generators of the process do not notice.
    assert (random.random() == expected) == (backend != "torch")


@acting
def test_the_training_step_stays_compiled(policy, backend):
    network = build_model("mlp", (16, 16, 3), 3)
    trainer = build_trainer(network, build_optimizer("adam", 0.001), augmentation=policy)
    if backend == "jax":
        assert trainer.jit_compile
    images, labels = np.zeros((4, 16, 16, 3), np.uint8), np.zeros(4, np.int32)
    trainer.train_on_batch(images, labels)
    # A compiled step never comes back to the layers' Python code. (Keras compiles none on PyTorch by itself.)
    calls = []
    (augment,) = (layer for layer in trainer.layers if layer.name == f"augment_{policy}")
    for layer in augment.layers:
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
    build_trainer(network, build_optimizer("adam", 0.001), augmentation="rotate_flip")
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


def test_turned_to_the_nearest_pixel_an_image_has_no_other_colours():
    images = np.random.default_rng(0).choice([50.0, 200.0], (8, 12, 12, 3)).astype(np.float32)
    nearest = augmented(RandomTurn(40, nearest=True, seed=0), images)
    assert set(np.unique(nearest)) <= {0, 50, 200}
    blended = augmented(RandomTurn(40, seed=0), images)
    assert len(np.unique(blended)) > 100


@pytest.mark.parametrize("degrees", [0, 181])
def test_impossible_angles_are_refused(degrees):
    with pytest.raises(InputError, match="degrees must be above 0 and at most 180"):
        RandomTurn(degrees, seed=0)


def test_unknown_policies_and_paddings_are_refused():
    with pytest.raises(InputError, match="unknown augmentation 'crops'; did you mean crop"):
        build_augmentation("crops", (12, 12, 3), 0)
    with pytest.raises(InputError, match="padding must be at least 1 pixel"):
        RandomShiftCrop(0, seed=0)


@pytest.mark.parametrize("channels", [1, 4])
def test_colours_of_images_without_three_are_not_changed(channels):
    with pytest.raises(InputError, match=r"three colours \(RGB\).* Received: \(12, 12, "):
        build_augmentation("everything", (12, 12, channels), 0)


@pytest.mark.parametrize("policy", ["color_jitter", "erase", "sharpness", ["flip", "everything"]])
def test_policies_of_pixel_values_refuse_other_floats(policy):
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 12, 12, 3)).astype("float32")
    for images in (pixels, pixels.astype("uint8"), 0 * pixels):
        check_pixel_values(policy, images)
    for images in (pixels / 255, pixels / 127.5 - 1, pixels + 1):
        with pytest.raises(
            InputError, match=r"takes pixels from 0 to 255; .*, or one of none, crop, flip.*images from"
        ):
            check_pixel_values(policy, images)
    for others in ("flip_crop", "mixup", ["flip", lambda images: -images]):
        check_pixel_values(others, pixels / 127.5 - 1)


def versions(images):
    return {image.tobytes() for image in np.asarray(images, np.float32)}


def test_flips_toss_a_coin_for_each_way(same):
    image = same[0]
    drawn = versions(
        np.concatenate([augmented(build_augmentation("flips", image.shape, seed), same) for seed in (0, 1)])
    )
    assert drawn == versions([image, image[:, ::-1], image[::-1], image[::-1, ::-1]])


def test_transposing_exchanges_rows_and_columns_of_some_square_images(same):
    image = same[0]
    assert versions(augmented(RandomTranspose(seed=0), same)) == versions([image, image.transpose(1, 0, 2)])
    with pytest.raises(
        InputError, match=r"images must be square to exchange rows and columns. Received: \(12, 10, 3\)"
    ):
        build_augmentation("geometric", (12, 10, 3), 0)


def test_sharpening_is_torchvisions(varied):
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    smooth = varied.copy()
    for y in range(1, 11):
        for x in range(1, 11):
            smooth[:, y, x] = np.einsum("nyxc,yx->nc", varied[:, y - 1 : y + 2, x - 1 : x + 2], kernel)
    for factor in (0, 0.5, 2, 9):
        expected = np.clip(smooth + factor * (varied - smooth), 0, 255)
        sharpened = augmented(RandomSharpness(factor, probability=1, seed=0), varied)
        np.testing.assert_allclose(sharpened, expected, atol=1e-3)
        for edge in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
            np.testing.assert_array_equal(sharpened[edge], varied[edge])
    np.testing.assert_array_equal(augmented(RandomSharpness(2, probability=0, seed=0), varied), varied)


def test_sharpening_leaves_a_flat_image_and_about_half_of_all(varied):
    flat = np.full((4, 9, 9, 3), 77, np.float32)
    np.testing.assert_allclose(augmented(RandomSharpness(2, probability=1, seed=0), flat), flat, atol=1e-4)
    changed = np.abs(augmented(RandomSharpness(2, seed=0), varied) - varied).max(axis=(1, 2, 3)) > 1
    assert 5 < changed.sum() < 27


def grey(images):
    return (images @ np.array([0.2989, 0.587, 0.114], np.float32))[..., None]


def test_jitter_of_nothing_changes_nothing(varied):
    np.testing.assert_array_equal(augmented(RandomColorJitter(seed=0), varied), varied)


@pytest.mark.parametrize(
    ("what", "anchor"),
    [
        ("brightness", np.zeros_like),
        ("contrast", lambda images: grey(images).mean(axis=(1, 2, 3), keepdims=True)),
        ("saturation", grey),
    ],
)
def test_jitter_blends_each_image_by_a_factor_of_its_own(varied, what, anchor):
    drawn = augmented(RandomColorJitter(**{what: 0.4}, seed=0), varied)
    away, moved = varied - anchor(varied), drawn - anchor(varied)
    factors = (away * moved).sum(axis=(1, 2, 3)) / (away**2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(moved, factors[:, None, None, None] * away, atol=1e-2)
    assert 0.6 <= factors.min() < 0.7
    assert 1.3 < factors.max() <= 1.4


def test_jitter_stops_at_black_and_white():
    extreme = np.zeros((16, 8, 8, 3), np.float32)
    extreme[:, 4:] = 255
    drawn = augmented(RandomColorJitter(1.0, 1.0, 1.0, 0.5, seed=0), extreme)
    assert drawn.min() == 0
    assert drawn.max() <= 255


def test_jitter_moves_the_hue_and_nothing_else(varied):
    drawn = augmented(RandomColorJitter(hue=0.1, seed=0), varied)
    moved = []
    for before, after in zip(varied[:, 5, 5] / 255, drawn[:, 5, 5] / 255, strict=True):
        (old_hue, *old), (new_hue, *new) = colorsys.rgb_to_hsv(*before), colorsys.rgb_to_hsv(*after)
        assert new == pytest.approx(old, abs=1e-4)
        moved.append((new_hue - old_hue + 0.5) % 1 - 0.5)
    assert np.abs(moved).max() <= 0.1001
    assert np.std(moved) > 0.03


def box(mask):
    """The smallest rectangle around what is True, as a pair of slices."""
    return tuple(slice(places.min(), places.max() + 1) for places in np.nonzero(mask))


def test_erasing_fills_one_rectangle_with_noise_and_leaves_the_rest():
    images = np.full((200, 32, 32, 3), -1, np.float32)
    erased = augmented(RandomErasing(probability=1, seed=0), images) != -1
    masks = erased.any(axis=-1)
    areas, aspects = [], []
    for mask, whole in zip(masks, erased.all(axis=-1), strict=True):
        inside = mask[box(mask)]
        assert inside.all()
        assert (mask == whole).all()
        areas.append(mask.mean())
        aspects.append(inside.shape[0] / inside.shape[1])
    # Sides are whole pixels.
    assert 0.01 < min(areas) < 0.06
    assert 0.28 < max(areas) < 0.36
    assert 0.2 < min(aspects) < 0.4
    assert 2.5 < max(aspects) < 5
    # Anywhere, up to the edges.
    reached = masks.any(axis=0)
    assert all(edge.any() for edge in (reached[0], reached[-1], reached[:, 0], reached[:, -1]))
    noise = augmented(RandomErasing(probability=1, seed=0), images)[erased]
    assert noise.mean() == pytest.approx(127.5, abs=6)
    assert noise.std() == pytest.approx(255 / 12**0.5, abs=6)


def test_erasing_changes_as_many_images_as_it_should(varied):
    for probability, low, high in ((0, 0, 0), (0.5, 5, 27), (1, 32, 32)):
        changed = (augmented(RandomErasing(probability, seed=0), varied) != varied).any(axis=(1, 2, 3))
        assert low <= changed.sum() <= high


def taken_share(layer):
    return keras.ops.convert_to_numpy(layer.take_share())


def test_mixup_blends_each_image_with_the_one_before_by_its_share(varied):
    layer = MixUp(seed=0)
    mixed, share = augmented(layer, varied), taken_share(layer)
    assert share.shape == (32,)
    assert 0 <= share.min() < 0.1
    assert 0.9 < share.max() <= 1
    share = share[:, None, None, None]
    np.testing.assert_allclose(mixed, share * varied + (1 - share) * np.roll(varied, 1, axis=0), atol=1e-3)


def test_cutmix_takes_a_rectangle_of_the_image_before_and_counts_its_pixels(varied):
    layer = CutMix(seed=0)
    mixed, share = augmented(layer, varied), taken_share(layer)
    own, theirs = (mixed == varied).all(axis=-1), (mixed == np.roll(varied, 1, axis=0)).all(axis=-1)
    assert (own ^ theirs).all()
    np.testing.assert_allclose(share, own.mean(axis=(1, 2)), atol=1e-6)
    for mask in theirs[theirs.any(axis=(1, 2))]:
        assert mask[box(mask)].all()
    assert len(np.unique(share)) > 10


def test_a_share_is_there_for_the_step_that_drew_it_only(varied):
    model = build_augmentation("mixup", (12, 12, 3), seed=0)
    layer = mixing_layer(model)
    assert layer.take_share() is None
    augmented(model, varied)
    assert layer.take_share() is not None
    assert layer.take_share() is None
    augmented(model, varied)
    augmented(model, varied, training=False)
    assert layer.take_share() is None
    assert mixing_layer(build_augmentation("erase", (12, 12, 3), seed=0)) is None


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        (keras.layers.MixUp(), "keras.layers.MixUp, which mixes images and not .* use 'mixup', which mixes both"),
        (["flip", keras.layers.CutMix()], "keras.layers.CutMix, which .* use 'cutmix', which mixes both"),
        (keras.Sequential([keras.layers.RandomFlip(), keras.layers.MixUp()]), "use 'mixup'.* Received: 'sequential"),
        (keras.layers.Pipeline([keras.layers.CutMix()]), "use 'cutmix'.* Received: 'pipeline"),
        (keras.Sequential([CutMix(seed=0, name="inner")]), "an item of the augmentation list; inner is inside one"),
    ],
)
def test_layers_that_mix_images_and_not_their_labels_are_refused(augmentation, message):
    with pytest.raises(InputError, match=message):
        build_augmentation(augmentation, (12, 12, 3), 0)


@pytest.mark.parametrize("twice", [["mixup", "cutmix"], ["cutmix", CutMix(seed=0)]])
def test_images_are_mixed_once(twice):
    with pytest.raises(InputError, match=r"must mix images once at most, .* Received: \['.*Mix.*', 'CutMix'\]"):
        mixing_layer(build_augmentation(twice, (12, 12, 3), 0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomSharpness(-1, seed=0), "factor must be at least 0. Received: -1"),
        (lambda: RandomSharpness(2, 1.5, seed=0), "probability must be from 0 to 1. Received: 1.5"),
        (lambda: RandomErasing(-0.5, seed=0), "probability must be from 0 to 1. Received: -0.5"),
        (lambda: RandomColorJitter(0.2, 1.2, seed=0), "brightness, contrast and saturation must be from 0 to 1"),
        (lambda: RandomColorJitter(hue=0.6, seed=0), "hue must be from 0 to 0.5. Received: 0.6"),
    ],
)
def test_impossible_amounts_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
