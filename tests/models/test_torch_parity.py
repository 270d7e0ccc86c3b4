"""The networks of the report, written here in PyTorch: equal weights give equal logits and equal training steps.

In double precision: in single, PyTorch does not even agree with itself. Where two values of a max-pooling window differ
by a rounding error, the gradient goes to one or the other, and batch normalisation makes much of it (seen: 1e-2 after
three steps, between PyTorch in single and in double).
"""

import keras
import numpy as np
import pytest

from kmodels import Experiment, build_model
from kmodels.training.runs import build_trainer

torch = pytest.importorskip("torch")
nn = torch.nn


def five_convolutions(norm_after=()):
    """Models 2 to 6 without dropout, layer by layer as the report prints them."""

    def norm(place, channels):
        return [nn.BatchNorm2d(channels)] if place in norm_after else []

    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), *norm("conv1", 64),
        nn.Conv2d(64, 32, 3, padding=1), nn.ReLU(), *norm("conv2", 32),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), *norm("pool1", 32),
        nn.Conv2d(32, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), *norm("pool2", 16),
        nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 6 * 6, 10),
    )  # fmt: skip


def three_convolutions():
    """Model 1."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip


def lenet():
    """The LeNet-like network."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


TWINS = {
    "conv_net": lenet,
    "model1": three_convolutions,
    "model2": lambda: five_convolutions(("conv1", "conv2", "pool1", "pool2")),
    "model3": five_convolutions,
    "model4": lambda: five_convolutions(("conv2", "pool2")),
    "model5": lambda: five_convolutions(("conv2", "pool2")),
    "model6": lambda: five_convolutions(("conv1", "pool1")),
}
# Exact in single precision, in which Keras keeps it.
RATE = 0.0625
NO_DROPOUT = {name: {"dropout": 0.0} for name in ("model2", "model3", "model4", "model6")}


def to_keras_layout(twin):
    """Weights of the torch network in the order and layout of the Keras one."""
    weights, channels = [], 3
    flattened = False
    for layer in twin:
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
            weights += [layer.weight.permute(2, 3, 1, 0), layer.bias]
        elif isinstance(layer, nn.BatchNorm2d):
            weights += [layer.weight, layer.bias, layer.running_mean, layer.running_var]
        elif isinstance(layer, nn.Linear):
            kernel = layer.weight
            if not flattened:
                # torch flattens (channels, rows, columns), Keras (rows, columns, channels).
                side = int((layer.in_features // channels) ** 0.5)
                kernel = kernel.reshape(-1, channels, side, side).permute(0, 2, 3, 1).reshape(kernel.shape)
                flattened = True
            weights += [kernel.T, layer.bias]
    return [weight.detach().cpu().numpy().copy() for weight in weights]


@pytest.fixture
def double_precision(backend):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    if backend == "jax":
        import jax

        with jax.enable_x64(True):
            yield
    else:
        yield
    keras.config.set_dtype_policy(policy)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("name", TWINS)
def test_equal_logits_and_equal_weights_after_three_steps(name):
    torch.manual_seed(0)
    twin = TWINS[name]().double()
    # Statistics as after some training: at 0 and 1 a swapped axis would not show.
    for layer in twin:
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.5, 1.5)
    network = build_model(name, (32, 32, 3), 10, **NO_DROPOUT.get(name, {}))
    network.set_weights(to_keras_layout(twin))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 8, 32, 32, 3), np.uint8)
    labels = rng.integers(0, 10, (3, 8))

    def to_torch(batch):
        pixels = torch.tensor(batch).permute(0, 3, 1, 2).double() / 255
        return (pixels - 0.5) / 0.5 if name == "conv_net" else pixels

    twin.eval()
    with torch.no_grad():
        expected = twin(to_torch(images[0])).numpy()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(network(images[0], training=False)), expected, atol=1e-6)

    twin.train()
    optimizer = torch.optim.SGD(twin.parameters(), lr=RATE, momentum=0.9)
    settings = Experiment(name="tests/parity", model=name, optimizer="sgd", learning_rate=RATE, momentum=0.9)
    trainer = build_trainer(settings, network, seed=0)
    for batch, target in zip(images, labels, strict=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(twin(to_torch(batch)), torch.tensor(target)).backward()
        optimizer.step()
        trainer.train_on_batch(batch, target)
    for weight, expected in zip(network.weights, to_keras_layout(twin), strict=True):
        if "moving_variance" in weight.path:
            # torch keeps the unbiased variance of a batch, Keras the biased one: n / (n - 1), here at most 0.2 %.
            np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), expected, rtol=5e-3)
        else:
            np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), expected, atol=1e-6, err_msg=weight.path)
