"""The hand-written PyTorch network computes what the Keras network computes."""

import keras
import numpy as np
import pytest

from kmodels import Experiment, InputError
from kmodels.training.trainer import build_trainer

torch = pytest.importorskip("torch")
torch_twin = pytest.importorskip("kmodels.bench.torch_twin")
layers = keras.layers


def every_layer():
    """A network with every layer type that has a counterpart."""
    keras.utils.set_random_seed(0)
    image = layers.Input((12, 12, 3), name="image")
    x = layers.Rescaling([1 / 255, 1 / 128, 1 / 100], [-0.5, 0.0, 0.1])(image)
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    x = layers.Conv2D(6, 3, strides=2, groups=2, use_bias=False)(layers.ZeroPadding2D(((1, 0), (2, 1)))(x))
    x = layers.ReLU()(layers.BatchNormalization(scale=False, center=False)(x))
    y = layers.Activation("tanh")(layers.DepthwiseConv2D(3, padding="same", depth_multiplier=1)(x))
    x = layers.Concatenate()([layers.Add()([x, y]), layers.Identity()(x)])
    x = layers.MaxPooling2D(2, 1)(x)
    x = layers.AveragePooling2D(3, 1, padding="same")(x)
    x = layers.UpSampling2D((1, 2))(layers.GaussianNoise(0.0)(layers.Dropout(0.0)(x)))
    x = layers.AdaptiveAveragePooling2D((6, 5))(x)
    pooled = layers.GlobalAveragePooling2D()(x)
    x = layers.ZeroPadding2D(((0, 1), (2, 1)), data_format="channels_first")(layers.Reshape((3, 10, 12))(x))
    x = layers.Flatten()(x)
    x = layers.Concatenate()([x, pooled])
    return keras.Model(image, layers.Dense(4)(x), name="every_layer")


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (8, 12, 12, 3), np.uint8)


def test_the_made_up_network_has_every_layer_type():
    assert set(torch_twin.HANDLERS) <= {type(layer) for layer in every_layer().layers}


def test_logits_are_those_of_keras(images):
    network = every_layer()
    twin = torch_twin.Twin(network).to(memory_format=torch.channels_last).eval()
    with torch.no_grad():
        logits = twin(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(logits, keras.ops.convert_to_numpy(network(images, training=False)), atol=2e-5)


def test_a_step_gives_the_weights_of_the_trainer(images):
    network = every_layer()
    twin = torch_twin.Twin(network).train()
    labels = np.arange(8) % 4
    torch.nn.functional.cross_entropy(twin(torch.from_numpy(images)), torch.from_numpy(labels)).backward()
    with torch.no_grad():
        for weight in twin.parameters():
            weight -= 0.1 * weight.grad
    settings = Experiment(name="tests/bench", optimizer="sgd", learning_rate=0.1)
    build_trainer(settings, network, seed=0).train_on_batch(images, labels)
    after = torch_twin.Twin(network).state_dict()
    for name, array in twin.state_dict().items():
        if not name.endswith(("running_var", "num_batches_tracked")):
            np.testing.assert_allclose(array, after[name], atol=2e-5, err_msg=name)


def test_noise_has_its_deviation_differs_each_time_and_is_there_only_in_training():
    image = layers.Input((8, 8, 3))
    twin = torch_twin.Twin(keras.Model(image, layers.GaussianNoise(0.5)(image))).train()
    zeros = torch.zeros((64, 8, 8, 3))
    first, second = twin(zeros), twin(zeros)
    assert float(first.std()) == pytest.approx(0.5, rel=0.05)
    assert (first != second).all()
    assert (twin.eval()(zeros) == 0).all()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.Softmax(name="it"), "layer 'it', a Softmax, has no counterpart in PyTorch"),
        (layers.Conv2D(4, 3, 2, padding="same", name="it"), "padding that is not the same on both sides"),
        (layers.ReLU(6, name="it"), "layer 'it', a ReLU, has no counterpart with a maximum"),
        (layers.UpSampling2D(2, interpolation="bilinear", name="it"), "with interpolation 'bilinear'"),
        (layers.BatchNormalization(axis=1, name="it"), "with axis 1"),
        (layers.Activation("gelu", name="it"), "with activation 'gelu'"),
    ],
)
def test_what_has_no_counterpart_is_named(layer, message):
    image = layers.Input((8, 8, 3))
    with pytest.raises(InputError, match=message):
        torch_twin.Twin(keras.Model(image, layer(image)))
