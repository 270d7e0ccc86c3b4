"""Layers that train faster: values and gradients as they were, and nothing that a GPU adds in a random order."""

import inspect

import keras
import numpy as np
import pytest

from kmodels import build_model
from kmodels.models.faster_layers import FastLayer, use_fast_layers
from kmodels.models.graph import all_layers
from kmodels.training.optimizers import build_optimizer
from kmodels.training.trainer import build_state, build_trainer


@pytest.fixture
def jax_only(backend):
    if backend != "jax":
        pytest.skip("these layers are JAX's")


@pytest.mark.usefixtures("jax_only")
@pytest.mark.parametrize(
    ("size", "strides", "padding"),
    [
        ((2, 2), (2, 2), ((0, 0), (0, 0))),
        ((3, 3), (2, 2), ((0, 0), (0, 0))),
        ((3, 3), (2, 2), ((1, 1), (1, 1))),
        ((3, 2), (1, 3), ((0, 1), (1, 0))),
        ((2, 2), (3, 3), ((0, 0), (0, 0))),
        ((1, 1), (1, 1), ((0, 0), (0, 0))),
    ],
)
def test_pooling_and_its_gradient_are_jax_own(size, strides, padding):
    import jax
    from jax import lax

    from kmodels.models.jax_ops import max_pool

    def stock(images):
        window, step, around = (1, *size, 1), (1, *strides, 1), ((0, 0), *padding, (0, 0))
        return lax.reduce_window(images, -np.inf, lax.max, window, step, around)

    rng = np.random.default_rng(0)
    # Few values, so that pixels of a window are often equal; negative ones, so that padding must not win.
    images = rng.integers(-3, 1, (2, 9, 10, 3)).astype(np.float32)
    expected, back = jax.vjp(stock, images)
    largest, our_back = jax.vjp(lambda images: max_pool(images, size, strides, padding), images)
    np.testing.assert_array_equal(largest, expected)
    np.testing.assert_array_equal(max_pool(images, size, strides, padding), expected)
    gradient = rng.normal(size=expected.shape).astype(np.float32)
    np.testing.assert_allclose(*our_back(gradient), *back(gradient), atol=1e-6)


@pytest.mark.usefixtures("jax_only")
def test_pooling_works_in_half_precision_and_for_several_seeds_at_once():
    import jax
    import jax.numpy as jnp

    from kmodels.models.jax_ops import max_pool

    def gradient(images):
        return jax.grad(lambda images: (max_pool(images, (3, 3), (2, 2), ((1, 1), (1, 1))) ** 2).sum())(images)

    images = np.random.default_rng(0).normal(size=(3, 2, 7, 7, 4)).astype(np.float32)
    alone = [gradient(one) for one in images]
    np.testing.assert_array_equal(jax.vmap(gradient)(images), alone)
    half = gradient(jnp.asarray(images[0], "bfloat16"))
    assert half.dtype == "bfloat16"
    np.testing.assert_allclose(half.astype("float32"), alone[0], atol=0.2)


@pytest.mark.usefixtures("jax_only")
@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.DepthwiseConv2D(3, padding="same"),
        keras.layers.DepthwiseConv2D((2, 5), 2, padding="same", activation="relu", bias_initializer="ones"),
        keras.layers.DepthwiseConv2D(3, 2, use_bias=False),
        keras.layers.Conv2D(4, 1, activation="relu", bias_initializer="ones"),
        keras.layers.Conv2D(4, 1, (2, 3), padding="same", use_bias=False),
        keras.layers.MaxPooling2D(3, 2, padding="valid"),
        keras.layers.MaxPooling2D(3, 2, padding="same"),
        keras.layers.AdaptiveAveragePooling2D(3),
        keras.layers.AdaptiveAveragePooling2D((2, 9)),
    ],
)
def test_a_faster_layer_computes_the_same_and_the_network_stays_as_it_was(layer):
    import jax

    image = keras.Input((7, 8, 3))
    network = keras.Model(image, layer(image))
    images = np.random.default_rng(0).normal(size=(2, 7, 8, 3)).astype(np.float32)

    def gradient(network):
        return jax.grad(lambda images: (network(images) ** 2).sum())(images)

    config, layers = network.get_config(), list(network.layers)
    fast = use_fast_layers(network)
    assert isinstance(fast.layers[-1], FastLayer)
    np.testing.assert_allclose(fast(images), network(images), atol=1e-6)
    np.testing.assert_allclose(gradient(fast), gradient(network), atol=1e-5)
    assert (network.get_config(), network.layers) == (config, layers)
    assert not any("call" in vars(layer) for layer in network.layers)


def _normalising(inputs, **options):
    """A network that is a batch normalisation, of which every value counts."""
    image = keras.Input(inputs.shape[1:])
    layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="norm", **options)
    network = keras.Model(image, layer(image))
    rng = np.random.default_rng(1)
    network.set_weights([np.asarray(rng.uniform(0.5, 2, value.shape), "float32") for value in network.get_weights()])
    return network


def _trained(network, inputs):
    """Outputs and statistics of a training step, and the gradients of weights and inputs."""
    import jax

    fixed = [variable.value for variable in network.non_trainable_variables]
    aim = np.random.default_rng(2).normal(size=inputs.shape).astype(np.float32)

    def loss(weights, inputs):
        outputs, statistics = network.stateless_call(weights, fixed, inputs, training=True)
        return (outputs.astype("float32") * aim).sum(), (outputs, statistics)

    weights = [variable.value for variable in network.trainable_variables]
    gradients, (outputs, statistics) = jax.grad(loss, (0, 1), has_aux=True)(weights, inputs)
    return outputs, statistics, gradients


@pytest.mark.usefixtures("jax_only")
@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (8, 3)])
def test_batch_normalisation_and_its_gradients_are_keras_own(shape):
    import jax

    inputs = np.random.default_rng(0).normal([1, -5, 20], [1, 2, 3], shape).astype(np.float32)
    network = _normalising(inputs)
    fast = use_fast_layers(network)
    assert isinstance(fast.get_layer("norm"), FastLayer)
    assert [id(value) for value in fast.variables] == [id(value) for value in network.variables]
    pairs = zip(jax.tree.leaves(_trained(fast, inputs)), jax.tree.leaves(_trained(network, inputs)), strict=True)
    for ours, theirs in pairs:
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    expected = network(inputs, training=False)
    np.testing.assert_allclose(fast(inputs, training=False), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="an operation of TensorFlow or PyTorch")
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (1, 1, 1, 3)])
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16", "float64"])
def test_batch_normalisation_by_one_operation_and_its_gradients_are_keras_own(dtype, shape, trainable, backend):
    inputs = np.random.default_rng(0).normal([1, -5, 20], [1, 2, 3], shape).astype(np.float32)
    network = _normalising(inputs, dtype=dtype)
    network.get_layer("norm").trainable = trainable
    # With the same rounded inputs for both.
    inputs = keras.ops.cast(inputs, network.get_layer("norm").compute_dtype)
    aim = keras.ops.convert_to_tensor(np.random.default_rng(2).normal(size=shape), "float32")
    before = network.get_weights()
    fast = use_fast_layers(network)
    assert isinstance(fast.get_layer("norm"), FastLayer)
    assert isinstance(use_fast_layers(network, training=False).get_layer("norm"), FastLayer)
    assert [id(value) for value in fast.variables] == [id(value) for value in network.variables]

    def computed(network, training):
        network.set_weights(before)

        def loss(inputs):
            outputs = network(inputs, training=training)
            return keras.ops.sum(keras.ops.cast(outputs, "float32") * aim), outputs

        outputs, gradients = _gradients(backend, loss, inputs, network.trainable_variables)
        return [outputs, *gradients, *(variable.value for variable in network.variables)]

    # Of a single pixel Keras takes the difference of large numbers.
    exact = 1e-3 if shape == (1, 1, 1, 3) else 1e-4
    tolerance = {"mixed_float16": 0.02, "mixed_bfloat16": 0.2}.get(dtype, exact)
    for training in (False, True):
        for ours, theirs in zip(computed(fast, training), computed(network, training), strict=True):
            assert ours.dtype == theirs.dtype
            ours, theirs = (keras.ops.convert_to_numpy(keras.ops.cast(one, "float32")) for one in (ours, theirs))
            np.testing.assert_allclose(ours, theirs, tolerance, tolerance)


def _gradients(backend, loss, inputs, variables):
    """Outputs, and the gradients of inputs and variables."""
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            total, outputs = loss(inputs)
        return outputs, tape.gradient(total, [inputs, *(variable.value for variable in variables)])
    import torch

    inputs = inputs.detach().requires_grad_()
    total, outputs = loss(inputs)
    return outputs.detach(), torch.autograd.grad(total, [inputs, *(variable.value for variable in variables)])


@pytest.mark.usefixtures("jax_only")
def test_frozen_batch_normalisation_uses_its_moving_statistics():
    inputs = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    network = _normalising(inputs)
    network.get_layer("norm").trainable = False
    fast = use_fast_layers(network)
    before = network.get_weights()
    np.testing.assert_array_equal(fast(inputs, training=True), fast(inputs, training=False))
    for value, old in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


@pytest.mark.usefixtures("jax_only")
@pytest.mark.parametrize("options", [{"scale": False}, {"center": False}, {"renorm": True}, {"axis": 1}])
def test_unusual_batch_normalisation_stays_keras_own(options):
    if not set(options) <= set(inspect.signature(keras.layers.BatchNormalization).parameters):
        pytest.skip("this Keras has no such option")
    network = _normalising(np.zeros((2, 3, 4, 5), np.float32), **options)
    assert use_fast_layers(network) is network


@pytest.mark.usefixtures("jax_only")
def test_batch_normalisation_with_a_mask_or_of_integers_stays_keras_own():
    inputs = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    mask = np.arange(5) < np.arange(1, 5)[:, None]
    outputs = []
    for change in (lambda network: network, use_fast_layers):
        layer = change(_normalising(inputs)).get_layer("norm")
        outputs.append([layer(inputs, training=True, mask=mask), layer(np.arange(30).reshape(2, 5, 3), training=True)])
    for ours, theirs in zip(*outputs, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("jax_only")
def test_batch_normalisation_far_from_zero_loses_no_digits_near_its_moving_mean():
    from kmodels.models.jax_ops import batch_norm

    inputs = np.random.default_rng(0).normal(3000, 1, (4096, 2)).astype(np.float32)
    ones, zeros = np.ones(2, np.float32), np.zeros(2, np.float32)
    _, mean, variance = batch_norm(inputs, ones, zeros, ones * 2999, 1e-5)
    np.testing.assert_allclose(mean, inputs.mean(0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(variance, inputs.var(0, dtype=np.float64), rtol=1e-4)


@pytest.mark.usefixtures("jax_only")
def test_batch_normalisation_works_in_half_precision_and_for_several_seeds_at_once():
    import jax
    import jax.numpy as jnp

    from kmodels.models.jax_ops import batch_norm

    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)

    def gradient(inputs):
        return jax.grad(lambda inputs: (batch_norm(inputs, ones, zeros, zeros, 1e-5)[0] ** 3).sum())(inputs)

    inputs = np.random.default_rng(0).normal(size=(3, 8, 5, 5, 4)).astype(np.float32)
    alone = [gradient(one) for one in inputs]
    np.testing.assert_allclose(jax.vmap(gradient)(inputs), alone, atol=1e-4)
    half = gradient(jnp.asarray(inputs[0], "bfloat16"))
    assert half.dtype == "bfloat16"
    np.testing.assert_allclose(half.astype("float32"), alone[0], rtol=0.02, atol=0.1)


@pytest.mark.usefixtures("jax_only")
def test_random_numbers_are_those_of_keras():
    from kmodels.models.jax_ops import uniform

    ours, theirs = (keras.random.SeedGenerator(3) for _ in range(2))
    for shape in ((5, 7, 11), (1,), ()):
        expected = keras.random.uniform(shape, dtype="float32", seed=theirs)
        np.testing.assert_array_equal(uniform(shape, ours), expected)


@pytest.mark.usefixtures("jax_only")
@pytest.mark.parametrize(
    ("model", "side", "augmentation"),
    [("model4", 32, "mixup"), ("alexnet_cifar", 32, "rotate_flip"), ("alexnet", 71, "none")],
)
def test_a_training_step_on_a_gpu_scatters_nothing(model, side, augmentation):
    # A scatter adds in a random order there, or sorts first where results are to repeat.
    import jax

    network = build_model(model, (side, side, 3), 10)
    trainer = build_trainer(
        network,
        build_optimizer("adam", 0.001),
        augmentation=augmentation,
        label_smoothing=0.1,
        class_weight=np.ones(10, np.float32),
    )
    build_state(trainer)
    groups = (trainer.trainable_variables, trainer.non_trainable_variables, trainer.optimizer.variables)
    state = tuple([v.value for v in group] for group in (*groups, trainer.metrics_variables))
    batch = np.zeros((4, side, side, 3), np.uint8), np.zeros(4, np.int32)
    text = jax.jit(trainer.train_step).trace(state, batch).lower(lowering_platforms=("cuda",)).as_text()
    assert "convolution" in text
    assert "scatter" not in text


def _dropping(rates, nested=False):
    image = keras.Input((64, 64, 2))
    x = image
    for i, rate in enumerate(rates):
        layer = keras.layers.Dropout(rate, seed=i)
        if nested:
            inner = keras.Input(x.shape[1:])
            layer = keras.Model(inner, layer(inner))
        x = layer(x)
    return keras.Model(image, x)


@pytest.mark.parametrize("nested", [False, True])
def test_every_dropout_layer_has_its_own_rate(nested):
    images = np.ones((4, 64, 64, 2), np.float32)
    for rates in ((0.1, 0.8), (0.8,)):
        kept = keras.ops.convert_to_numpy(use_fast_layers(_dropping(rates, nested))(images, training=True)) > 0
        assert kept.mean() == pytest.approx(np.prod([1 - rate for rate in rates]), abs=0.02)


def test_dropout_of_whole_channels_stays_so():
    image = keras.Input((8, 8, 16))
    network = keras.Model(image, keras.layers.SpatialDropout2D(0.5, seed=0)(image))
    kept = use_fast_layers(network)(np.ones((4, 8, 8, 16), np.float32), training=True)
    kept = keras.ops.convert_to_numpy(kept) > 0
    assert (kept.all(axis=(1, 2)) | ~kept.any(axis=(1, 2))).all()


@pytest.mark.parametrize("size", [3, (2, 9), 1])
def test_adaptive_pooling_by_slices_has_the_values_of_keras(size, backend, monkeypatch):
    if backend == "tensorflow":
        pytest.skip("TensorFlow's own repeats")
    from kmodels.models import faster_layers

    layer = keras.layers.AdaptiveAveragePooling2D(size)
    image = keras.Input((7, 8, 3))
    network = keras.Model(image, layer(image))
    images = np.random.default_rng(0).normal(size=(2, 7, 8, 3)).astype(np.float32)
    # PyTorch's own is kept unless results are to repeat.
    assert (use_fast_layers(network) is network) == (backend == "torch")
    monkeypatch.setattr(faster_layers, "deterministic", lambda: True)
    fast = use_fast_layers(network)
    assert isinstance(fast.layers[-1], FastLayer)
    expected = keras.ops.convert_to_numpy(network(images))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(fast(images)), expected, atol=1e-6)


@pytest.mark.parametrize("kind", [keras.Sequential, keras.Model])
@pytest.mark.parametrize("nested", [False, True])
def test_a_call_of_a_models_own_stays(kind, nested):
    class Own(kind):
        def call(self, images, training=None, mask=None):
            return super().call(images / 2, training=training)

    image, drop = keras.Input((4, 4, 3)), keras.layers.Dropout(0.5)
    own = Own([image, drop]) if kind is keras.Sequential else Own(image, drop(image))
    network = keras.Model(image, keras.layers.Dropout(0.5)(own(image))) if nested else own
    fast = use_fast_layers(network)
    assert (fast is network) == (not nested)
    images = np.ones((2, 4, 4, 3), np.float32)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(fast(images)), images / 2)
    assert own in (fast, *fast.layers)


def test_a_layer_shared_by_nested_models_stays_shared():
    image, drop = keras.Input((4, 4, 3)), keras.layers.Dropout(0.5)
    first, second = keras.Sequential([keras.Input((4, 4, 3)), drop]), keras.Model(image, drop(image))
    fast = use_fast_layers(keras.Model(image, drop(second(first(image)))))
    found = [layer for layer in all_layers(fast) if not isinstance(layer, keras.Model)]
    assert len(found) == 1
    assert isinstance(found[0], FastLayer)


def test_a_layer_with_an_activity_regularizer_stays_as_it_is():
    image = keras.Input((4, 4, 3))
    network = keras.Model(image, keras.layers.Dropout(0.5, activity_regularizer="l2")(image))
    assert use_fast_layers(network) is network


def test_a_subclassed_model_and_a_layer_of_a_users_own_stay_as_they_are():
    class Own(keras.layers.Dropout):
        pass

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.drop = keras.layers.Dropout(0.5)

        def call(self, images):
            return self.drop(images)

    image = keras.Input((4, 4, 3))
    for network in (keras.Model(image, Own(0.5)(image)), Model()):
        assert use_fast_layers(network) is network
