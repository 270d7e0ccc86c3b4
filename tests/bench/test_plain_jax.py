"""The hand-written network computes what the Keras network computes, in a step what the trainer's step does."""

import keras
import numpy as np
import pytest

from kmodels import Experiment, InputError, build_model
from kmodels.bench.graph import hand_count
from kmodels.training.optimizers import build_optimizer
from kmodels.training.trainer import build_trainer

jax = pytest.importorskip("jax")
jax_layers = pytest.importorskip("kmodels.bench.jax_layers")
plain_jax = pytest.importorskip("kmodels.bench.plain_jax")
plain_training = pytest.importorskip("kmodels.bench.plain_training")
layers = keras.layers


def every_layer():
    """A network with every layer type that has a counterpart."""
    keras.utils.set_random_seed(0)
    image = layers.Input((12, 12, 3), name="image")
    x = layers.Rescaling([1 / 255, 1 / 128, 1 / 100], [-0.5, 0.0, 0.1])(image)
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    x = layers.Conv2D(6, 3, groups=2, use_bias=False)(layers.ZeroPadding2D(1)(x))
    x = layers.ReLU()(layers.BatchNormalization(scale=False, momentum=0.8)(x))
    y = layers.Activation("tanh")(layers.DepthwiseConv2D(3, padding="same")(x))
    x = layers.Concatenate()([layers.Add()([x, y]), layers.Identity()(x)])
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    x = layers.AveragePooling2D(2, 1, padding="same")(x)
    x = layers.UpSampling2D((1, 2))(layers.GaussianNoise(0.0)(layers.Dropout(0.0)(x)))
    x = layers.AdaptiveAveragePooling2D((6, 5))(x)
    pooled = layers.GlobalAveragePooling2D()(x)
    x = layers.ZeroPadding2D(((0, 1), (2, 1)), data_format="channels_first")(layers.Reshape((3, 10, 12))(x))
    x = layers.Flatten()(x)
    x = layers.Concatenate()([x, pooled])
    return keras.Model(image, layers.Dense(4)(x), name="every_layer")


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (3, 8, 12, 12, 3), np.uint8), rng.integers(0, 4, (3, 8)).astype(np.int32)


def test_the_made_up_network_has_every_layer_type():
    kinds = {type(layer) for layer in every_layer().layers}
    assert set(jax_layers.HANDLERS) <= kinds


def test_logits_are_those_of_keras(batches):
    images, _ = batches
    network = every_layer()
    apply, weights, moving = plain_jax.plain_function(network)
    logits, _ = jax.jit(apply)(weights, moving, images[0])
    np.testing.assert_allclose(logits, keras.ops.convert_to_numpy(network(images[0], training=False)), atol=2e-5)


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_three_steps_give_the_weights_of_the_trainer(batches, momentum):
    network = every_layer()
    apply, weights, moving = plain_jax.plain_function(network)
    start, update = plain_training.optimizer("sgd", 0.01, momentum)
    step = jax.jit(plain_training.step_of(apply, update), donate_argnums=0)
    state = plain_training.first_state(weights, moving, start)
    settings = Experiment(name="tests/bench", optimizer="sgd", learning_rate=0.01, momentum=momentum)
    trainer = build_trainer(settings, network, seed=0)
    for images, labels in zip(*batches, strict=True):
        trainer.train_on_batch(images, labels)
        state = step(state, images, labels)
    for layer in network.layers:
        found = (*state["weights"].get(layer.name, ()), *state["moving"].get(layer.name, ()))
        wanted = [*layer.trainable_weights, *layer.non_trainable_weights] if layer.weights else []
        for array, variable in zip(found, wanted, strict=True):
            np.testing.assert_allclose(array, keras.ops.convert_to_numpy(variable), atol=2e-4, err_msg=variable.path)


def test_adam_takes_the_steps_of_ours():
    # On gradients that are given: those of a network near 0 differ in sign by rounding, which Adam makes steps of.
    rng = np.random.default_rng(0)
    start, update = plain_training.optimizer("adam", 0.01)
    weights = {"layer": (rng.normal(size=(3, 4)).astype(np.float32),)}
    variable = keras.Variable(weights["layer"][0])
    slots, adam = start(weights), build_optimizer("adam", 0.01)
    for _ in range(3):
        gradient = rng.normal(size=(3, 4)).astype(np.float32)
        weights, slots = update(weights, slots, {"layer": (gradient,)})
        adam.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    np.testing.assert_allclose(weights["layer"][0], keras.ops.convert_to_numpy(variable), atol=1e-6)


def test_an_epoch_takes_every_image_once(batches):
    images, labels = (np.concatenate(part) for part in batches)
    seen = []

    def step(state, images, labels):
        jax.debug.callback(lambda batch: seen.append(np.asarray(batch)), images, ordered=True)
        return state

    epoch = jax.jit(plain_training.epoch_of(step, 8))
    jax.block_until_ready(epoch({"key": jax.random.key(0)}, images, labels))
    jax.effects_barrier()
    assert len(seen) == 3
    assert sorted(image.sum() for image in np.concatenate(seen)) == sorted(image.sum() for image in images)


def test_dropout_drops_its_share_anew_each_time_and_only_in_training():
    image = layers.Input((8, 8, 3))
    network = keras.Model(image, layers.Flatten()(layers.Dropout(0.25)(image)))
    apply, weights, moving = plain_jax.plain_function(network)
    ones = np.ones((64, 8, 8, 3), np.float32)
    first, second = (apply(weights, moving, ones, jax.random.key(i), training=True)[0] for i in (0, 1))
    assert abs(float((first == 0).mean()) - 0.25) < 0.02
    assert float(first.max()) == pytest.approx(1 / 0.75)
    assert (first != second).any()
    assert (apply(weights, moving, ones)[0] == 1).all()


def test_noise_has_its_deviation_differs_each_time_and_is_there_only_in_training():
    image = layers.Input((8, 8, 3))
    network = keras.Model(image, layers.GaussianNoise(0.5)(layers.GaussianNoise(0.5)(image)))
    apply, weights, moving = plain_jax.plain_function(network)
    zeros = np.zeros((64, 8, 8, 3), np.float32)
    first, second = (apply(weights, moving, zeros, jax.random.key(i), training=True)[0] for i in (0, 1))
    # Of two independent draws; twice the same would have 1.
    assert float(first.std()) == pytest.approx(0.5**0.5, rel=0.05)
    assert (first != second).all()
    assert (apply(weights, moving, zeros)[0] == 0).all()


def test_a_layer_without_counterpart_is_named():
    image = layers.Input((8, 8, 3))
    network = keras.Model(image, layers.Softmax(name="shares")(image))
    with pytest.raises(InputError, match="layer 'shares', a Softmax, has no counterpart in plain JAX; known: "):
        plain_jax.plain_function(network)


def test_operations_are_counted_by_xla_and_by_hand():
    network = build_model("model5", (32, 32, 3), 10)
    apply, weights, moving = plain_jax.plain_function(network)
    images, labels = np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2, np.int32)
    counted = plain_training.training_flops(apply, weights, moving, images, labels)
    assert 0.8 < counted / hand_count(network) < 1.1
