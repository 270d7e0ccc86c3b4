"""Weights of a PyTorch network in the Keras network of the same architecture.

Where a file has torchvision's names, these tell which weights belong to which layer. Other code names its modules as
it likes. Then order tells: the convolutions of a state_dict, its batch norms and its dense layers, each kind by itself,
are in the order in which the network uses them, if its code defines them in that order, and so are those of our
networks.
Where a file's order is that of the alphabet or does not fit, weights are matched by their shapes, those of equal shapes
in the natural order of their names (conv2 before conv10). Every shape is checked before anything is changed.
"""

import re
from collections import Counter
from typing import NamedTuple

import keras
import numpy as np

from kmodels.errors import InputError, require, shorten
from kmodels.models.torchvision_names import module_names
from kmodels.text import counted

# What the module of each kind has in a state_dict, in the order of the Keras layer's weights.
PARTS = {
    "convolution": ("weight", "bias"),
    "batch norm": ("weight", "bias", "running_mean", "running_var"),
    "dense layer": ("weight", "bias"),
}


class Matched(NamedTuple):
    """Which weights belong to which layer.

    Attributes:
        weights: {layer name: [arrays, as for `layer.set_weights`]} for all layers with weights.
        rule: by what they were matched, in words.
    """

    weights: dict
    rule: str


def class_count(state_dict):
    """How many classes the last dense layer of a state_dict tells apart.

    Raises:
        InputError: if there is no dense layer.
    """
    found = [parts["weight"].shape for parts in _in_order(state_dict)["dense layer"].values()]
    require(found, "the weights must end in a dense layer", shorten(state_dict) or "nothing")
    # Whatever the order: the numbers that a dense layer gives to no other one are the logits.
    ends = [classes for classes, _ in found if classes not in [inputs for _, inputs in found]]
    return ends[0] if len(ends) == 1 else found[-1][0]


def from_torch(network, state_dict):
    """The weights of a state_dict in Keras' layout.

    Args:
        network: one of ours; left as it is.
        state_dict: {name: array} with PyTorch's names and layout.

    Returns:
        A Matched.

    Raises:
        InputError: if the state_dict is of another architecture (names the layers and modules that differ), or has
            numbers that are not finite.
    """
    modules, ordered = _modules(state_dict), _in_order(state_dict)
    layers = {kind: [layer for layer in network.layers if _kind(layer) == kind] for kind in PARTS}
    differing = _differing(layers, ordered)
    names = module_names(
        [layer.name for found in layers.values() for layer in found],
        [name for found in modules.values() for name in found],
    )
    if names:
        owners = {kind: [names[layer.name] for layer in found] for kind, found in layers.items()}
        found = {kind: {name: modules[kind].get(name, {}) for name in owned} for kind, owned in owners.items()}
        differing, rule = _differing(layers, found), "torchvision's names"
    elif differing or list(state_dict) == sorted(state_dict):
        found, rule = _by_shape(layers, modules)
        differing = [] if found else differing
    else:
        found, rule = modules, "their order and shapes"
    if differing:
        more = [f"and {len(differing) - 6} more"] if len(differing) > 6 else []
        raise InputError(
            f"these weights are not of {network.name} ({_counts(layers)}; received {_counts(modules)}):",
            *(f"  {line}" for line in [*differing[:6], *more]),
        )
    _check_finite(state_dict)
    weights = {}
    for kind, parts in PARTS.items():
        for layer, arrays in zip(layers[kind], found[kind].values(), strict=True):
            wanted = parts[: len(layer.weights)]
            weights[layer.name] = _to_keras(layer, [arrays[part] for part in wanted], _flattened(network, layer))
    return Matched(weights, rule)


def load_torch_weights(network, state_dict):
    """Sets all weights of the network from a state_dict, and returns by what they were matched, in words.

    Arguments and errors as in `from_torch`.
    """
    weights, rule = from_torch(network, state_dict)
    for name, arrays in weights.items():
        network.get_layer(name).set_weights(arrays)
    return rule


def _check_finite(state_dict):
    for name, array in state_dict.items():
        wrong = np.size(array) - np.count_nonzero(np.isfinite(array))
        if wrong:
            raise InputError(
                f"{name} must have finite numbers, and {wrong:,} of {np.size(array):,} are not; take a checkpoint from "
                "before the training diverged"
            )


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


def _in_order(state_dict):
    """The modules in the state_dict's order; in natural order if that is the alphabet's, which tells nothing."""
    names = list(state_dict)
    if names == sorted(names):
        names.sort(key=_natural)
    return _modules({name: state_dict[name] for name in names})


def _natural(name):
    """A key to sort by: conv2 before conv10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _by_shape(layers, modules):
    """The modules in the order of the layers, matched by shapes, and the rule in words; (None, "") without a match."""
    matched, unlike = {}, []
    for kind, parts in PARTS.items():
        waiting = {}
        for name in sorted(modules[kind], key=_natural):
            waiting.setdefault(_key(_shapes_of(modules[kind][name])), []).append(name)
        wanted = [_key(dict(zip(parts, _torch_shapes(layer), strict=False))) for layer in layers[kind]]
        if Counter(wanted) != {shapes: len(names) for shapes, names in waiting.items()}:
            return None, ""
        for names in waiting.values():
            # Numbers tell an order, words do not.
            unlike += names if len({re.sub(r"\d+", "", name) for name in names}) > 1 else []
        matched[kind] = {name: modules[kind][name] for name in [waiting[shapes].pop(0) for shapes in wanted]}
    rule = "their shapes, those of equal shapes in the natural order of their names (conv2 before conv10)"
    return matched, rule + (f"; check that this is the order of {shorten(unlike)}" if unlike else "")


def _differing(layers, modules):
    """Lines on what is different, the modules taken as they are ordered; empty where nothing is."""
    lines = []
    for kind, parts in PARTS.items():
        pairs = list(zip(layers[kind], modules[kind].items(), strict=False))
        for layer, (name, arrays) in pairs:
            wanted = dict(zip(parts, _torch_shapes(layer), strict=False))
            found = _shapes_of(arrays)
            if wanted != found:
                lines.append(f"{layer.name} wants {_shapes(wanted)}, {name} has {_shapes(found)}")
        lacking = [layer.name for layer in layers[kind][len(pairs) :]]
        unused = list(modules[kind])[len(pairs) :]
        lines += [f"no {kind} for {shorten(lacking)}"] if lacking else []
        lines += [f"no layer for the {kind} {shorten(unused)}"] if unused else []
    return lines


def _counts(kinds):
    numbers = [(len(found), kind) for kind, found in kinds.items()]
    return ", ".join(counted(number, kind) for number, kind in numbers)


def _shapes_of(arrays):
    return {part: array.shape for part, array in arrays.items()}


def _key(shapes):
    return tuple(sorted(shapes.items()))


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
