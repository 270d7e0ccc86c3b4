"""A contender in hand-written PyTorch: a Keras network as a module with the same weights, and its training.

The module takes our images, (batch, height, width, 3), as what PyTorch calls channels_last: nothing is copied for it.
"""

import keras
import numpy as np
import torch
from keras import layers
from torch import nn

from kmodels.bench.blocks import SEED, build_network, in_epochs, synthetic_split, timed
from kmodels.bench.graph import nodes


class TorchNetwork(nn.Module):
    """The network in PyTorch, with its weights.

    Args:
        network: a functional keras.Model with layers that `graph.nodes` accepts.

    Raises:
        InputError: for another layer.
    """

    def __init__(self, network):
        super().__init__()
        (first, _), *graph = nodes(network)
        self.first = first.name
        self.paths = [(layer.name, inputs) for layer, inputs in graph]
        self.parts = nn.ModuleDict({layer.name: _module(layer) for layer, _ in graph})

    def forward(self, images):
        """Logits (batch, classes) of uint8 images (batch, height, width, 3)."""
        values = {self.first: images.permute(0, 3, 1, 2)}
        for name, inputs in self.paths:
            values[name] = self.parts[name](*(values[source] for source in inputs))
        return values[self.paths[-1][0]]


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


class Scale(nn.Module):
    """Pixels times a scale plus an offset, each one number or one per channel."""

    def __init__(self, scale, offset):
        super().__init__()
        for name, value in (("scale", scale), ("offset", offset)):
            self.register_buffer(name, torch.tensor(np.asarray(value, np.float32).reshape(-1, 1, 1)))

    def forward(self, images):
        return images.float() * self.scale + self.offset


def _module(layer):
    match layer:
        case layers.Rescaling():
            return Scale(layer.scale, layer.offset)
        case layers.Conv2D():
            sizes = layer.input.shape[-1], layer.filters, layer.kernel_size, layer.strides
            return _filled(nn.Conv2d(*sizes, layer.padding, bias=layer.use_bias), layer, (3, 2, 0, 1))
        case layers.Dense():
            return _filled(nn.Linear(*layer.kernel.shape, bias=layer.use_bias), layer, (1, 0))
        case layers.BatchNormalization():
            kind = nn.BatchNorm2d if len(layer.input.shape) == 4 else nn.BatchNorm1d
            module = kind(layer.input.shape[-1], layer.epsilon, 1 - layer.momentum)
            arrays = (module.weight, module.bias, module.running_mean, module.running_var)
            for array, variable in zip(arrays, layer.weights, strict=True):
                array.data.copy_(_tensor(variable))
            return module
        case layers.ReLU():
            return nn.ReLU()
        case layers.MaxPooling2D():
            return nn.MaxPool2d(layer.pool_size, layer.strides)
        case layers.AveragePooling2D():
            return nn.AvgPool2d(layer.pool_size, layer.strides)
        case layers.GlobalAveragePooling2D():
            return Call(lambda x: x.mean((2, 3)))
        case layers.ZeroPadding2D():
            (top, bottom), (left, right) = layer.padding
            return nn.ZeroPad2d((left, right, top, bottom))
        case layers.Flatten():
            # In Keras' order, rows, columns, channels: the order in channels_last memory.
            return Call(lambda x: x.movedim(1, -1).flatten(1))
        case layers.Dropout():
            return nn.Dropout(layer.rate)
        case layers.Add():
            return Call(lambda *x: sum(x[1:], x[0]))
        case layers.Concatenate():
            return Call(lambda *x: torch.cat(x, 1))


def _filled(module, layer, order):
    """The module with the kernel of a layer, its axes in this order, and its bias."""
    module.weight.data.copy_(_tensor(layer.kernel).permute(order))
    if layer.use_bias:
        module.bias.data.copy_(_tensor(layer.bias))
    return module


def _tensor(variable):
    return torch.tensor(keras.ops.convert_to_numpy(variable))


def step_blocks(job):
    """The module trained by hand: images on the device, channels_last; compiled and with a fused optimizer on a GPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(SEED)
    # What XLA does with float32 on a GPU.
    torch.set_float32_matmul_precision("high")
    # cuDNN tries its algorithms and takes the fastest, as XLA does.
    torch.backends.cudnn.benchmark = True
    network = TorchNetwork(build_network(job)).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), job.learning_rate, fused=device.type == "cuda")
    split = synthetic_split(job, job.epoch_steps)
    images, labels = torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).long().to(device)
    half = job.precision == "bfloat16"

    def loss_of(batch, target):
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = network(batch)
        return nn.functional.cross_entropy(logits.float(), target), (logits.argmax(1) == target).sum()

    # Its compiler needs compute capability 7.0 or newer.
    if device.type == "cuda" and torch.cuda.get_device_capability() >= (7, 0):
        loss_of = torch.compile(loss_of)
    sums = torch.zeros((), device=device), torch.zeros((), dtype=torch.long, device=device)

    def train(epochs, steps):
        for _ in range(epochs):
            order = torch.randperm(len(labels), device=device)[: steps * job.batch_size].reshape(steps, -1)
            for indices in order:
                optimizer.zero_grad(set_to_none=True)
                loss, correct = loss_of(images[indices], labels[indices])
                loss.backward()
                optimizer.step()
                sums[0].add_(loss.detach())
                sums[1].add_(correct)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return in_epochs(timed(train), job.epoch_steps)
