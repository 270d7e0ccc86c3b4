"""Weights of a PyTorch network in the Keras network of the same architecture.

PyTorch code names its modules as it likes, so names do not tell which belongs where. Order can: the convolutions of a
state_dict, its batch norms and its dense layers, each kind by itself, are in the order in which the network
uses them, if its code defines them in that order, and so do those of our networks. Every shape is checked before
anything is changed.
"""

from pathlib import Path

import keras
import numpy as np

from kmodels.errors import InputError, require

# What the module of each kind has in a state_dict, in the order of the Keras layer's weights.
PARTS = {
    "convolution": ("weight", "bias"),
    "batch norm": ("weight", "bias", "running_mean", "running_var"),
    "dense layer": ("weight", "bias"),
}


def read_state_dict(path):
    """The arrays of a PyTorch file, {name: array}, in the file's order. Needs torch; runs no code of the file.

    Raises:
        InputError: if torch is not installed, or the file is missing or holds no state_dict.
    """
    path = Path(path)
    require(path.is_file(), "the PyTorch weights must be a file that exists", str(path))
    try:
        import torch
    except ImportError as error:
        raise InputError('reading PyTorch weights needs torch: pip install "kmodels[torch]"') from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"{path} is no file of weights alone (torch.save(model.state_dict(), FILE) makes one): "
            f"{str(error).splitlines()[0]}"
        ) from error
    for wrapper in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(map(_is_weight, content, content.values())):
        raise InputError(f"{path} holds no state_dict, a dict of dense tensors. Received: {type(content).__name__}")
    # DataParallel puts "module." before every name.
    return {name.removeprefix("module."): value.detach().float().numpy() for name, value in content.items()}


def _is_weight(name, value):
    import torch

    dense = isinstance(value, torch.Tensor) and value.layout == torch.strided
    return isinstance(name, str) and dense and not value.is_complex()


def class_count(state_dict):
    """How many classes the last dense layer of a state_dict tells apart.

    Raises:
        InputError: if there is no dense layer.
    """
    found = _modules(state_dict)["dense layer"]
    require(found, "the weights must end in a dense layer", ", ".join(state_dict) or "nothing")
    return len(list(found.values())[-1]["weight"])


def from_torch(network, state_dict):
    """The weights of a state_dict in Keras' layout.

    Args:
        network: one of ours; left as it is.
        state_dict: {name: array} with PyTorch's names and layout.

    Returns:
        {layer name: [arrays, as for `layer.set_weights`]} for all layers with weights.

    Raises:
        InputError: if the state_dict is of another architecture; names the layers and modules that differ.
    """
    modules = _modules(state_dict)
    layers = {kind: [layer for layer in network.layers if _kind(layer) == kind] for kind in PARTS}
    differing, weights = [], {}
    for kind, parts in PARTS.items():
        pairs = list(zip(layers[kind], modules[kind].items(), strict=False))
        for layer, (name, arrays) in pairs:
            wanted = dict(zip(parts, _torch_shapes(layer), strict=False))
            found = {part: array.shape for part, array in arrays.items()}
            if wanted != found:
                differing.append(f"{layer.name} wants {_shapes(wanted)}, {name} has {_shapes(found)}")
            else:
                weights[layer.name] = _to_keras(layer, [arrays[part] for part in wanted], _flattened(network, layer))
        lacking = [layer.name for layer in layers[kind][len(pairs) :]]
        unused = list(modules[kind])[len(pairs) :]
        differing += [f"no {kind} for {', '.join(lacking)}"] if lacking else []
        differing += [f"no layer for the {kind} {', '.join(unused)}"] if unused else []
    if differing:
        more = [f"and {len(differing) - 6} more"] if len(differing) > 6 else []
        raise InputError(f"these weights are not of {network.name}:\n  " + "\n  ".join([*differing[:6], *more]))
    return weights


def load_torch_weights(network, state_dict):
    """Sets all weights of the network from a state_dict. Arguments and errors as in `from_torch`."""
    for name, arrays in from_torch(network, state_dict).items():
        network.get_layer(name).set_weights(arrays)


def _modules(state_dict):
    """{kind: {module name: {part: array}}}, in the order of the state_dict."""
    modules = {}
    for name, array in state_dict.items():
        module, _, part = name.rpartition(".")
        if part != "num_batches_tracked":
            modules.setdefault(module, {})[part] = array
    kinds = {kind: {} for kind in PARTS}
    for module, parts in modules.items():
        dimensions = np.ndim(parts.get("weight"))
        if "running_mean" in parts:
            kinds["batch norm"][module] = parts
        elif dimensions in (2, 4):
            kinds["convolution" if dimensions == 4 else "dense layer"][module] = parts
        else:
            raise InputError(f"{module!r} is no convolution, batch norm or dense layer: {', '.join(parts)}")
    return kinds


def _kind(layer):
    if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
        return "convolution"
    if isinstance(layer, keras.layers.BatchNormalization):
        return "batch norm"
    return "dense layer" if isinstance(layer, keras.layers.Dense) else None


def _torch_shapes(layer):
    """Shapes of the layer's weights as PyTorch has them."""
    shapes = [tuple(weight.shape) for weight in layer.weights]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        height, width, channels, _ = shapes[0]
        shapes[0] = (channels, 1, height, width)
    elif len(shapes[0]) == 4:
        height, width, channels, filters = shapes[0]
        shapes[0] = (filters, channels, height, width)
    else:
        shapes[0] = shapes[0][::-1]
    return shapes


def _to_keras(layer, arrays, flattened):
    kernel, *rest = arrays
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        kernel = kernel.transpose(2, 3, 0, 1)
    elif kernel.ndim == 4:
        kernel = kernel.transpose(2, 3, 1, 0)
    elif kernel.ndim == 2:
        if flattened:
            # PyTorch flattens (channels, rows, columns), Keras (rows, columns, channels).
            rows, columns, channels = flattened
            kernel = kernel.reshape(-1, channels, rows, columns).transpose(0, 2, 3, 1).reshape(kernel.shape)
        kernel = kernel.T
    return [kernel, *rest]


def _flattened(network, layer):
    """(rows, columns, channels) of what was flattened into the layer's input; None where nothing was."""
    makers = {id(maker.output): maker for maker in network.layers}
    maker = makers[id(layer.input)]
    while isinstance(maker, keras.layers.Dropout):
        maker = makers[id(maker.input)]
    return tuple(maker.input.shape[1:]) if isinstance(maker, keras.layers.Flatten) else None


def _shapes(shapes):
    return ", ".join(f"{part} {'x'.join(map(str, shape))}" for part, shape in shapes.items()) or "nothing"
