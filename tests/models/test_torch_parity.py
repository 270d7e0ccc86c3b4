"""The networks, written here in PyTorch as the reports or torchvision have them: equal weights give equal logits and
equal training steps.

In double precision: in single, PyTorch does not even agree with itself. Where two values of a max-pooling window differ
by a rounding error, the gradient goes to one or the other, and batch normalisation makes much of it (seen: 1e-2 after
three steps, between PyTorch in single and in double). In double, the deepest agree to 1e-7.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras.src.backend.common import dtypes

from kmodels import MODELS, build_model
from kmodels.models.torch_weights import from_torch, load_torch_weights
from kmodels.training import trainer as trainers
from kmodels.training.optimizers import build_optimizer

torch = pytest.importorskip("torch")
nn = torch.nn


def five_convolutions(norm_after=()):
    """Models 2 to 6 without dropout, layer by layer as the report prints them."""

    def norm(layer, channels):
        return [nn.BatchNorm2d(channels)] if layer in norm_after else []

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


def lenet(pooling):
    """The LeNet-like networks."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), pooling(2), nn.Conv2d(6, 16, 5), nn.ReLU(), pooling(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def perceptron(*hidden):
    """The multi-layer perceptrons, for 16x16."""
    widths = (768, *hidden)
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(widths[-1], 10))


def conv_net(kernel_size, padding, pooling, flat):
    """The tuned convolutional network and the one with 5x5 kernels; `flat` numbers leave the last pooling."""
    return nn.Sequential(
        nn.Conv2d(3, 64, kernel_size, padding=padding), nn.BatchNorm2d(64), nn.ReLU(), pooling(2),
        nn.Conv2d(64, 128, kernel_size, padding=padding), nn.BatchNorm2d(128), nn.ReLU(), pooling(2),
        nn.Flatten(), nn.Linear(flat, 512), nn.ReLU(), nn.Linear(512, 10),
    )  # fmt: skip


def alexnet(norm=False):
    """torchvision's, without its dropout; with a batch norm after each convolution where wanted."""

    def conv(channels, filters, size, **options):
        return [nn.Conv2d(channels, filters, size, **options), *([nn.BatchNorm2d(filters)] if norm else []), nn.ReLU()]

    return nn.Sequential(
        *conv(3, 64, 11, stride=4, padding=2), nn.MaxPool2d(3, 2), *conv(64, 192, 5, padding=2), nn.MaxPool2d(3, 2),
        *conv(192, 384, 3, padding=1), *conv(384, 256, 3, padding=1), *conv(256, 256, 3, padding=1),
        nn.MaxPool2d(3, 2), nn.AdaptiveAvgPool2d(6), nn.Flatten(),
        nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 10),
    )  # fmt: skip


def alexnet_cifar():
    """As the report's appendix prints it."""
    return nn.Sequential(
        nn.Conv2d(3, 96, 5, stride=2, padding=2), nn.ReLU(), nn.MaxPool2d(2, 2),
        nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2, 2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Flatten(),
        nn.Linear(384 * 2 * 2, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 10),
    )  # fmt: skip


def mobilenet():
    """Of the two blocks that the report prints."""

    def conv_bn(inputs, outputs, stride):
        return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    def conv_dw(inputs, outputs, stride):
        return [
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), nn.BatchNorm2d(inputs), nn.ReLU(),
            nn.Conv2d(inputs, outputs, 1, 1, 0, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
        ]  # fmt: skip

    widths = ((32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), *4 * [(256, 256, 1)], (256, 512, 2))
    return nn.Sequential(
        *conv_bn(3, 32, 2), *(layer for width in widths for layer in conv_dw(*width)), *conv_dw(512, 512, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


class Bottleneck(nn.Module):
    """torchvision's block; the names are theirs, so that state_dict has their order."""

    def __init__(self, inputs, filters, stride, projected):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, filters, 1, bias=False), nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.conv3, self.bn3 = nn.Conv2d(filters, 4 * filters, 1, bias=False), nn.BatchNorm2d(4 * filters)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, 4 * filters, 1, stride, bias=False), nn.BatchNorm2d(4 * filters))
            if projected
            else nn.Identity()
        )

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def resnet50(small_stem=False):
    """torchvision's; or with the stem that is usual for CIFAR."""
    blocks, channels = [], 64
    for filters, number in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(number):
            blocks.append(Bottleneck(channels, filters, 2 if filters > 64 and i == 0 else 1, i == 0))
            channels = 4 * filters
    stem = (
        [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        if small_stem
        else [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    )
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 10))


class BasicBlock(nn.Module):
    """torchvision's; or with the paper's shortcut A, which has no weights."""

    def __init__(self, inputs, filters, stride, projected=True):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2, self.bn2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False), nn.BatchNorm2d(filters)
        self.downsample = nn.Sequential()
        if inputs != filters and not projected:
            self.downsample = Subsample(filters - inputs)
        elif inputs != filters:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.downsample(x))


class Subsample(nn.Module):
    """Every other row and column, with as many channels of zeros behind as are added."""

    def __init__(self, added):
        super().__init__()
        self.added = added

    def forward(self, x):
        return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.added))


def resnet18_cifar():
    """As it is usual for CIFAR."""
    widths = ((64, 64, 1), (64, 64, 1), *(w for n in (64, 128, 256) for w in ((n, 2 * n, 2), (2 * n, 2 * n, 1))))
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), *(BasicBlock(*w) for w in widths),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


def resnet32_cifar():
    """As in section 4.2 of the paper, n = 5."""
    widths = (*5 * [(16, 16, 1)], (16, 32, 2), *4 * [(32, 32, 1)], (32, 64, 2), *4 * [(64, 64, 1)])
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        *(BasicBlock(*width, projected=False) for width in widths),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


class DenseLayer(nn.Module):
    """torchvision's layer of a dense block; or with its 3x3 convolution factorised."""

    def __init__(self, inputs, factorised):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 128, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(128)
        self.conv2 = (
            nn.Sequential(
                nn.Conv2d(128, 32, (1, 3), padding=(0, 1), bias=False),
                nn.Conv2d(32, 32, (3, 1), padding=(1, 0), bias=False),
            )
            if factorised
            else nn.Conv2d(128, 32, 3, padding=1, bias=False)
        )

    def forward(self, x):
        y = self.conv1(torch.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(torch.relu(self.norm2(y)))], 1)


def densenet121(factorised=False):
    """torchvision's; or factorised."""
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for depth in (6, 12, 24, 16):
        if channels > 64:
            half = channels // 2
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, half, 1, bias=False), nn.AvgPool2d(2)]
            channels = half
        layers += [DenseLayer(channels + 32 * i, factorised) for i in range(depth)]
        channels += 32 * depth
    return nn.Sequential(
        *layers, nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)
    )


class SamePad(nn.Module):
    """Pads as TensorFlow's "same": what is odd goes below and to the right."""

    def __init__(self, kernel_size, stride):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x):
        outputs = -(-x.shape[-1] // self.stride)
        zeros = max(0, (outputs - 1) * self.stride + self.kernel_size - x.shape[-1])
        return nn.functional.pad(x, 2 * (zeros // 2, zeros - zeros // 2))


class InvertedResidual(nn.Module):
    """EfficientNet-Lite's block, for square images."""

    def __init__(self, inputs, filters, kernel_size, stride, expansion):
        super().__init__()
        inner, self.added = expansion * inputs, stride == 1 and inputs == filters
        expand = [nn.Conv2d(inputs, inner, 1, bias=False), lite_norm(inner), nn.ReLU6()] if expansion > 1 else []
        self.layers = nn.Sequential(
            *expand,
            SamePad(kernel_size, stride), nn.Conv2d(inner, inner, kernel_size, stride, groups=inner, bias=False),
            lite_norm(inner), nn.ReLU6(), nn.Conv2d(inner, filters, 1, bias=False), lite_norm(filters),
        )  # fmt: skip

    def forward(self, x):
        return x + self.layers(x) if self.added else self.layers(x)


def lite_norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def efficientnet_lite0():
    """As its paper's table has it, with 10 classes."""
    stages = (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
    )
    blocks, channels = [], 32
    for repeats, kernel_size, stride, expansion, filters in (*stages, (1, 3, 1, 6, 320)):
        for i in range(repeats):
            blocks.append(InvertedResidual(channels, filters, kernel_size, 1 if i else stride, expansion))
            channels = filters
    return nn.Sequential(
        SamePad(3, 2), nn.Conv2d(3, 32, 3, 2, bias=False), lite_norm(32), nn.ReLU6(), *blocks,
        nn.Conv2d(320, 1280, 1, bias=False), lite_norm(1280), nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 10),
    )  # fmt: skip


class Twin(NamedTuple):
    """A network in PyTorch, and with which options and images it is compared."""

    build: Callable
    options: dict = {}  # noqa: RUF012
    size: int = 32
    mean: tuple = (0, 0, 0)
    std: tuple = (1, 1, 1)


HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
NO_DROPOUT = {"dropout": 0.0}
NORMS = {"batch_norm": True, "dropout": 0.0}
TWINS = {
    "alexnet": Twin(alexnet, NO_DROPOUT, 127, **IMAGENET),
    "alexnet, batch norm": Twin(lambda: alexnet(norm=True), NORMS, 71, **IMAGENET),
    "alexnet_cifar": Twin(alexnet_cifar, **HALF),
    "basic_cnn": Twin(lambda: lenet(nn.MaxPool2d), **HALF),
    "conv_net": Twin(lambda: lenet(nn.AvgPool2d), **HALF),
    "conv_net_5x5": Twin(lambda: conv_net(5, 0, nn.MaxPool2d, 128), {}, 17, **HALF),
    "conv_net_tuned": Twin(lambda: conv_net(3, 1, nn.AvgPool2d, 128 * 4), {}, 11, **HALF),
    "densenet121": Twin(densenet121, {}, 61, **IMAGENET),
    "densenet121, factorised": Twin(lambda: densenet121(factorised=True), {"factorised": True}, 61, **IMAGENET),
    "efficientnet_lite0": Twin(efficientnet_lite0, NO_DROPOUT, 40, **IMAGENET),
    "mlp": Twin(lambda: perceptron(96, 32), {}, 16, **HALF),
    "mobilenet": Twin(mobilenet, {}, 33, **IMAGENET),
    "model1": Twin(three_convolutions),
    "model2": Twin(lambda: five_convolutions(("conv1", "conv2", "pool1", "pool2")), NO_DROPOUT),
    "model3": Twin(five_convolutions, NO_DROPOUT),
    "model4": Twin(lambda: five_convolutions(("conv2", "pool2")), NO_DROPOUT),
    "model5": Twin(lambda: five_convolutions(("conv2", "pool2"))),
    "model6": Twin(lambda: five_convolutions(("conv1", "pool1")), NO_DROPOUT),
    "resnet18_cifar": Twin(resnet18_cifar, {}, 16, **IMAGENET),
    "resnet32_cifar": Twin(resnet32_cifar, {}, 16, **IMAGENET),
    "resnet50": Twin(resnet50, {}, 64, **IMAGENET),
    "resnet50, small stem": Twin(lambda: resnet50(small_stem=True), {"small_stem": True}, 16, **IMAGENET),
    "two_layer_net": Twin(lambda: perceptron(64), {}, 16, **HALF),
    "two_layer_net, deeper": Twin(lambda: perceptron(24, 48, 12), {"hidden": (24, 48, 12)}, 16, **HALF),
}
# Deep networks of layers whose training steps others compare already: compiling another step takes minutes.
LOGITS_ONLY = ("densenet121, factorised", "efficientnet_lite0", "resnet50, small stem")
# Compiling a step of these for JAX takes half a minute each; the others show what JAX makes of such layers' gradients,
# and TensorFlow and PyTorch train these.
LOGITS_ONLY_ON_JAX = ("alexnet", "alexnet, batch norm", "densenet121", "resnet50")
# XLA's convolutions in double precision are loops of its own: in these, running them unoptimised takes longer than
# optimising them; in the others, optimising does.
OPTIMISED = ("mobilenet", "resnet18_cifar", "resnet32_cifar", "resnet50")
# Exact in single precision, in which Keras keeps it.
RATE = 0.0625


@pytest.fixture
def double_precision(request, backend, monkeypatch):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    # Batch normalisation computes in the result type of its input and float32, which Keras cuts to 32 bits.
    monkeypatch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")
    # A loss has a precision of its own.
    monkeypatch.setattr(trainers, "CrossEntropy", partial(trainers.CrossEntropy, dtype="float64"))
    if backend == "jax":
        import jax

        before = jax.config.read("jax_disable_most_optimizations")
        if request.node.callspec.params["name"] in OPTIMISED:
            jax.config.update("jax_disable_most_optimizations", False)
        with jax.enable_x64(True):
            yield
        jax.config.update("jax_disable_most_optimizations", before)
    else:
        yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture
def no_random_weights(monkeypatch):
    """Weights begin at 0: they are loaded anyway, and JAX compiles a program for random numbers of each shape."""

    def zeros(self, shape, dtype=None):
        return keras.ops.convert_to_tensor(np.zeros(shape, dtype))

    for initializer in (keras.initializers.RandomUniform, keras.initializers.VarianceScaling):
        monkeypatch.setattr(initializer, "__call__", zeros)


def state_of(twin):
    return {name: value.detach().cpu().numpy().copy() for name, value in twin.state_dict().items()}


def test_every_network_has_a_twin():
    assert {name.split(",")[0] for name in TWINS} == set(MODELS)


def torchvision_names(name):
    """Of the children of a twin above that have weights, as torchvision calls them."""
    if name == "alexnet":
        return [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)]
    if name == "densenet121":
        names = ["features.conv0", "features.norm0"]
        for block, depth in enumerate((6, 12, 24, 16), start=1):
            if block > 1:
                names += [f"features.transition{block - 1}.{part}" for part in ("norm", "conv")]
            names += [f"features.denseblock{block}.denselayer{i + 1}" for i in range(depth)]
        return [*names, "features.norm5", "classifier"]
    depths = (2, 2, 2, 2) if name == "resnet18_cifar" else (3, 4, 6, 3)
    return ["conv1", "bn1", *(f"layer{i + 1}.{j}" for i, depth in enumerate(depths) for j in range(depth)), "fc"]


# Code for CIFAR's ResNets and torchvision's published files of DenseNet have names of their own.
VARIANTS = {"downsample": "shortcut", "fc.": "linear.", "norm1.": "norm.1.", "conv2.": "conv.2."}


@pytest.mark.usefixtures("no_random_weights")
@pytest.mark.parametrize(
    ("name", "variant"), [("alexnet", False), ("densenet121", True), ("resnet18_cifar", True), ("resnet50", False)]
)
def test_weights_with_torchvision_s_names_are_matched_in_any_order(name, variant):
    twin = TWINS[name].build()
    children = [child for child in twin if child.state_dict()]
    named = {}
    for module, child in zip(torchvision_names(name), children, strict=True):
        named |= {f"{module}.{part}": value for part, value in state_of(child).items()}
    if variant:
        for usual, other in VARIANTS.items():
            if ("." in other[:-1]) == (name == "densenet121"):
                named = {key.replace(usual, other): value for key, value in named.items()}
    network = build_model(name, (64, 64, 3), 10)
    by_order, rule = from_torch(network, state_of(twin))
    assert rule == "their order and shapes"
    by_name, rule = from_torch(network, {key: named[key] for key in sorted(named)})
    assert rule == "torchvision's names"
    for layer, arrays in by_order.items():
        for one, other in zip(arrays, by_name[layer], strict=True):
            np.testing.assert_array_equal(one, other, err_msg=layer)


@pytest.mark.usefixtures("double_precision", "no_random_weights")
@pytest.mark.parametrize("name", TWINS)
def test_equal_logits_and_equal_weights_after_three_steps(name, backend):
    torch.manual_seed(0)
    build, options, size, mean, std = TWINS[name]
    twin = build().double()
    # Statistics as after some training: at 0 and 1 a swapped axis would not show.
    for layer in twin.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.5, 1.5)
    model = name.split(",")[0]
    network = build_model(model, (size, size, 3), 10, **options)
    load_torch_weights(network, state_of(twin))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 8, size, size, 3), np.uint8)
    labels = rng.integers(0, 10, (3, 8))

    normalise = keras.Model(network.input, network.get_layer("scale").output)
    normalised = [keras.ops.convert_to_numpy(normalise(batch)) for batch in images]
    # TensorFlow takes the constants of a Rescaling in single precision; from here on both compute in double.
    np.testing.assert_allclose(normalised, (images / 255 - mean) / std, atol=1e-6)
    batches = [torch.tensor(batch).permute(0, 3, 1, 2) for batch in normalised]

    twin.eval()
    with torch.no_grad():
        expected = twin(batches[0]).numpy()
    # Compiled as a whole: layer by layer, a deep network takes three times as long.
    np.testing.assert_allclose(network.predict_on_batch(images[0]), expected, atol=1e-6)

    if name in LOGITS_ONLY or (backend == "jax" and name in LOGITS_ONLY_ON_JAX):
        return
    twin.train()
    optimizer = torch.optim.SGD(twin.parameters(), lr=RATE, momentum=0.9)
    trainer = trainers.build_trainer(network, build_optimizer("sgd", RATE, momentum=0.9))
    for batch, image, target in zip(batches, images, labels, strict=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(twin(batch), torch.tensor(target)).backward()
        optimizer.step()
        trainer.train_on_batch(image, target)
    for layer, expected in from_torch(network, state_of(twin)).weights.items():
        for weight, wanted in zip(network.get_layer(layer).weights, expected, strict=True):
            # torch keeps the unbiased variance of a batch, Keras the biased one: n / (n - 1), where n is at least 32.
            near = {"rtol": 4e-2} if "moving_variance" in weight.path else {"atol": 1e-6}
            np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), wanted, **near, err_msg=weight.path)
