"""A network as a table of its layers, or as a drawing."""

import importlib.util
import shutil
from pathlib import Path

import keras

from kmodels.errors import InputError, require
from kmodels.models import trainable_parameters


def layer_table(network):
    """Rows (name, kind, output shape, trainable parameters) of every layer in order, as strings, with a head."""
    rows = [("layer", "kind", "output", "parameters")]
    for layer in network.layers:
        shape = "x".join(str(size) for size in layer.output.shape[1:])
        rows.append((layer.name, type(layer).__name__, shape, f"{trainable_parameters(layer):,}"))
    return rows


def can_draw():
    """Whether graphviz and pydot are installed."""
    return shutil.which("dot") is not None and importlib.util.find_spec("pydot") is not None


def check_drawing(path):
    """Raises InputError if graphviz (its command `dot`) or pydot is missing, or the file is no .png, .svg or .pdf."""
    require(Path(path).suffix in (".png", ".svg", ".pdf"), "a drawing must be a .png, .svg or .pdf file", str(path))
    if not can_draw():
        raise InputError(
            "drawing a network needs graphviz (its command dot, from your system's packages) and pydot "
            '(pip install "kmodels[vis]")'
        )


def draw(network, path):
    """Draws the network into a .png, .svg or .pdf file; returns the path. Errors as in `check_drawing`."""
    path = Path(path)
    check_drawing(path)
    keras.utils.plot_model(network, path, show_shapes=True, show_layer_names=True, dpi=72)
    return path
