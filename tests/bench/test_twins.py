"""The hand-written networks compute what the Keras networks compute, in a step what the trainer's step does."""

import keras
import numpy as np
import pytest
from keras import layers

from kmodels import InputError, build_model
from kmodels.bench import graph
from kmodels.bench.settings import DEFAULT_MODELS
from kmodels.models.densenet import dense_block, transition
from kmodels.training.optimizers import build_optimizer
from kmodels.training.trainer import build_trainer

jax = pytest.importorskip("jax")
jax_twin = pytest.importorskip("kmodels.bench.jax_twin")
# (start, update), without state.
SGD = lambda weights: {}, lambda w, slots, g: (jax.tree.map(lambda w, g: w - 0.01 * g, w, g), slots)
SLOW = ("resnet18_cifar", "resnet50", "densenet121")


@pytest.fixture
def network():
    """A network with every layer that the hand-written networks know."""
    keras.utils.set_random_seed(0)
    image = layers.Input((8, 8, 3), name="image")
    x = layers.Rescaling([1 / 255, 1 / 128, 1 / 100], [-0.5, 0.0, 0.1])(image)
    x = layers.Conv2D(6, 3, padding="same", bias_initializer="uniform")(x)
    x = layers.Conv2D(6, 3, 2, use_bias=False)(layers.ZeroPadding2D(((1, 2), (0, 1)))(x))
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.8, epsilon=1e-5)(x))
    x = layers.Add()([x, layers.MaxPooling2D(3, 1)(layers.ZeroPadding2D(1)(x))])
    x = transition(dense_block(x, 1, 2, name="block"), name="transition")
    x = layers.Concatenate()([layers.Flatten()(x), layers.GlobalAveragePooling2D()(x)])
    return keras.Model(image, layers.Dense(4)(layers.Dropout(0.0)(x)), name="every_layer")


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (3, 8, 8, 8, 3), np.uint8), rng.integers(0, 4, (3, 8)).astype(np.int32)


def logits_of(network, images):
    return keras.ops.convert_to_numpy(keras.ops.stop_gradient(network(images, training=False)))


def test_both_hand_written_networks_have_the_logits_and_layers_of_keras(network, batches):
    assert {type(layer) for layer in network.layers} == set(graph.KNOWN)
    images, _ = batches
    expected = logits_of(network, images[0])
    apply, weights, moving = jax_twin.jax_network(network)
    np.testing.assert_allclose(jax.jit(apply)(weights, moving, images[0])[0], expected, atol=2e-5)
    torch = pytest.importorskip("torch")
    from kmodels.bench.torch_twin import TorchNetwork

    with torch.no_grad():
        logits = TorchNetwork(network).to(memory_format=torch.channels_last).eval()(torch.from_numpy(images[0]))
    np.testing.assert_allclose(logits.numpy(), expected, atol=2e-5)


def test_three_steps_give_the_weights_of_the_trainer(network, batches):
    torch = pytest.importorskip("torch")
    from kmodels.bench.torch_twin import TorchNetwork

    step, state = jax_twin.training(network, SGD)
    step, module = jax.jit(step, donate_argnums=0), TorchNetwork(network).train()
    sgd = torch.optim.SGD(module.parameters(), 0.01)
    trainer = build_trainer(network, build_optimizer("sgd", 0.01))
    for images, labels in zip(*batches, strict=True):
        trainer.train_on_batch(images, labels)
        state = step(state, images, labels)
        sgd.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(torch.from_numpy(images)), torch.from_numpy(labels).long())
        loss.backward()
        sgd.step()
    for layer in network.layers:
        found = (*state["weights"][layer.name], *state["moving"].get(layer.name, ()))
        wanted = [*layer.trainable_weights, *layer.non_trainable_weights] if found else []
        for array, variable in zip(found, wanted, strict=True):
            np.testing.assert_allclose(array, keras.ops.convert_to_numpy(variable), atol=2e-5, err_msg=variable.path)
    after = TorchNetwork(network).state_dict()
    for name, array in module.state_dict().items():
        # PyTorch's running variance counts n - 1 values.
        if not name.endswith(("running_var", "num_batches_tracked")):
            np.testing.assert_allclose(array, after[name], atol=2e-5, err_msg=name)


def test_adam_takes_the_steps_of_ours():
    # On given gradients: those of a network near 0 differ in sign by rounding, which Adam makes steps of.
    rng = np.random.default_rng(0)
    start, update = jax_twin.adam(0.01)
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

    jax.block_until_ready(jax.jit(jax_twin.epoch_of(step, 8))({"key": jax.random.key(0)}, images, labels))
    jax.effects_barrier()
    assert len(seen) == 3
    assert sorted(image.sum() for image in np.concatenate(seen)) == sorted(image.sum() for image in images)


def test_dropout_drops_its_share_differently_each_time_and_only_in_training():
    image = layers.Input((8, 8, 3))
    apply, weights, moving = jax_twin.jax_network(keras.Model(image, layers.Dropout(0.25)(image)))
    ones = np.ones((64, 8, 8, 3), np.float32)
    first, second = (apply(weights, moving, ones, jax.random.key(i))[0] for i in (0, 1))
    assert abs(float((first == 0).mean()) - 0.25) < 0.02
    assert float(first.max()) == pytest.approx(1 / 0.75)
    assert (first != second).any()
    assert (apply(weights, moving, ones)[0] == 1).all()


@pytest.mark.parametrize(
    "name",
    ["mlp", *(pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in DEFAULT_MODELS)],
)
def test_networks_that_are_measured_by_default_can_be_written_by_hand(name):
    network = build_model(name, (32, 32, 3), 3)
    assert graph.nodes(network)[-1][0].name == "logits"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.Softmax(name="it"), "layer 'it', a Softmax, is not one that the hand-written networks know"),
        (layers.Conv2D(4, 3, 2, padding="same", name="it"), "has strides and padding 'same'"),
        (layers.Conv2D(4, 3, activation="relu", name="it"), "has activation='relu', not 'linear'"),
        (layers.ReLU(6, name="it"), "layer 'it', a ReLU, has max_value=6"),
        (layers.Conv2D(4, 3, name="it", trainable=False), "'it', a Conv2D, is frozen"),
    ],
)
def test_what_cannot_be_written_by_hand_is_named(layer, message):
    image = layers.Input((8, 8, 3))
    with pytest.raises(InputError, match=message):
        graph.nodes(keras.Model(image, layer(image)))


def test_a_sequential_network_can_be_written_by_hand_and_one_without_layers_cannot():
    sequential = keras.Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(4)])
    apply, weights, moving = jax_twin.jax_network(sequential)
    images = np.ones((2, 8, 8, 3), np.uint8)
    np.testing.assert_allclose(apply(weights, moving, images)[0], logits_of(sequential, images), atol=1e-5)

    class Subclassed(keras.Model):
        def call(self, images):
            return images

    with pytest.raises(InputError, match="network 'it' has no graph of layers"):
        graph.nodes(Subclassed(name="it"))


def test_a_layer_used_twice_is_refused():
    image, twice = layers.Input((8, 8, 3)), layers.Conv2D(3, 3, padding="same", name="conv")
    with pytest.raises(InputError, match="takes the output of a layer that is used more than once"):
        graph.nodes(keras.Model(image, layers.ReLU()(twice(twice(image)))))
