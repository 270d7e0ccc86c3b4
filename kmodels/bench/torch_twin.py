"""A network of ours as a PyTorch module with the same weights, and its training as one would write it in PyTorch.

The module takes our images, (batch, height, width, 3), as what PyTorch calls channels_last: nothing is copied for it.
"""

import time

import torch
from torch import nn

from kmodels.bench.blocks import SEED, Block, build_network, epochs_for, made_up_split
from kmodels.bench.graph import handler_of, nodes
from kmodels.bench.torch_layers import HANDLERS


class Twin(nn.Module):
    """The network in PyTorch.

    Args:
        network: a flat functional network whose layers are all in HANDLERS.

    Raises:
        InputError: for a layer without a counterpart here.
    """

    def __init__(self, network):
        super().__init__()
        graph = nodes(network)
        self.first = graph[0].layer.name
        self.paths = [(node.layer.name, node.inputs) for node in graph[1:]]
        self.parts = nn.ModuleDict(
            {node.layer.name: handler_of(node.layer, HANDLERS, "PyTorch")(node.layer) for node in graph[1:]}
        )

    def forward(self, images):
        """Logits (batch, classes) of uint8 images (batch, height, width, 3)."""
        values = {self.first: images.permute(0, 3, 1, 2)}
        for name, inputs in self.paths:
            values[name] = self.parts[name](*(values[source] for source in inputs))
        return values[self.paths[-1][0]]


def blocks(job):
    """The module trained by hand: images on the device, channels_last; compiled and with fused Adam on a GPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(SEED)
    # What XLA does with float32 on a GPU.
    torch.set_float32_matmul_precision("high")
    # Convolutions by the algorithm that is the fastest when tried, as XLA's are.
    torch.backends.cudnn.benchmark = True
    twin = Twin(build_network(job)).to(device, memory_format=torch.channels_last)
    optimizer = _optimizer(job, twin, device)
    split = made_up_split(job, job.epoch_steps)
    images = torch.from_numpy(split.images).to(device)
    labels = torch.from_numpy(split.labels).long().to(device)
    half = job.precision == "bfloat16"

    def loss_of(batch, target):
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = twin(batch)
        return nn.functional.cross_entropy(logits.float(), target), (logits.argmax(1) == target).sum()

    # Its compiler makes programs for compute capability 7.0 and newer.
    if device.type == "cuda" and torch.cuda.get_device_capability() >= (7, 0):
        loss_of = torch.compile(loss_of)
    sums = torch.zeros((), device=device), torch.zeros((), dtype=torch.long, device=device)

    def block(steps):
        epochs, each = epochs_for(steps, job.epoch_steps)
        start = time.perf_counter()
        for _ in range(epochs):
            order = torch.randperm(len(labels), device=device)[: each * job.batch_size].reshape(each, -1)
            for places in order:
                optimizer.zero_grad(set_to_none=True)
                loss, right = loss_of(images[places], labels[places])
                loss.backward()
                optimizer.step()
                sums[0].add_(loss.detach())
                sums[1].add_(right)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return Block(epochs * each, time.perf_counter() - start)

    return block


def _optimizer(job, twin, device):
    kind = torch.optim.Adam if job.optimizer == "adam" else torch.optim.SGD
    return kind(twin.parameters(), job.learning_rate, fused=device.type == "cuda")
