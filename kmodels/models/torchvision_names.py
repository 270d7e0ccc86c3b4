"""What torchvision calls the layers of AlexNet, ResNet and DenseNet.

Its names are in every file of weights that was published for them, and in the files of code that followed it. Where
they are known, the order in which a file has its weights does not matter; safetensors keeps none.
"""

import re

# For each family {our layer, as a pattern: the module, from the numbers in the layer's name}.
FAMILIES = (
    {
        r"conv(\d)": lambda i: f"features.{(0, 3, 6, 8, 10)[i - 1]}",
        r"dense(\d)": lambda i: f"classifier.{3 * i - 2}",
        "logits": lambda: "classifier.6",
    },
    {
        "stem": lambda: "conv1",
        "stem_norm": lambda: "bn1",
        r"stage(\d)_block(\d+)_conv(\d)": lambda stage, block, i: f"layer{stage}.{block - 1}.conv{i}",
        r"stage(\d)_block(\d+)_norm(\d)": lambda stage, block, i: f"layer{stage}.{block - 1}.bn{i}",
        r"stage(\d)_block(\d+)_shortcut": lambda stage, block: f"layer{stage}.{block - 1}.downsample.0",
        r"stage(\d)_block(\d+)_shortcut_norm": lambda stage, block: f"layer{stage}.{block - 1}.downsample.1",
        "logits": lambda: "fc",
    },
    {
        "stem": lambda: "features.conv0",
        "stem_norm": lambda: "features.norm0",
        r"block(\d)_layer(\d+)_(conv|norm)(\d)": (
            lambda block, layer, kind, i: f"features.denseblock{block}.denselayer{layer}.{kind}{i}"
        ),
        r"transition(\d)_(conv|norm)": lambda i, kind: f"features.transition{i}.{kind}",
        "norm": lambda: "features.norm5",
        "logits": lambda: "classifier",
    },
)
# Other names of the same modules: code for CIFAR's ResNets, and the published files of DenseNet.
VARIANTS = ((r"\bshortcut\.", "downsample."), (r"^linear$", "fc"), (r"\.(norm|conv)\.(\d)$", r".\1\2"))


def module_names(layers, modules):
    """Which module belongs to which layer, where the names tell.

    Args:
        layers: names of all layers with weights of a network of ours.
        modules: names of all modules with weights.

    Returns:
        {layer: module}; None where the names are not torchvision's, or not those of all layers.
    """
    usual = {_usual(module): module for module in modules}
    for family in FAMILIES:
        names = {layer: _module(layer, family) for layer in layers}
        if len(usual) == len(modules) and set(names.values()) == set(usual):
            return {layer: usual[name] for layer, name in names.items()}
    return None


def _module(layer, family):
    for pattern, name in family.items():
        if found := re.fullmatch(pattern, layer):
            return name(*(int(part) if part.isdigit() else part for part in found.groups()))
    return None


def _usual(module):
    for pattern, name in VARIANTS:
        module = re.sub(pattern, name, module)
    return module
