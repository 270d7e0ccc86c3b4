"""A network as a table of its layers, or as a drawing."""

import importlib.util
import shutil
from pathlib import Path

import keras

from kmodels.analysis.predict import layer_outputs
from kmodels.errors import InputError, require
from kmodels.models import trainable_parameters


def layer_table(network):
    """A network as a table.

    Args:
        network: a keras.Model.

    Returns:
        Rows of strings (name, kind, output shape, trainable parameters), one for each layer in order, after a head. The
        shape of a layer with several outputs, or of one that is not in a graph, is "-".
    """
    rows = [("layer", "kind", "output", "parameters")]
    outputs = layer_outputs(network)
    for layer in network.layers:
        shape = "x".join(map(str, outputs[layer.name].shape[1:])) if layer.name in outputs else "-"
        rows.append((layer.name, type(layer).__name__, shape, f"{trainable_parameters(layer):,}"))
    return rows


def can_draw():
    """Whether graphviz and pydot are installed."""
    return shutil.which("dot") is not None and importlib.util.find_spec("pydot") is not None


def check_drawing(path):
    """Checks, before any work, that a network can be drawn into this file.

    Args:
        path: of the file.

    Raises:
        InputError: if graphviz (its command `dot`) or pydot is missing, or the file is no .png, .svg or .pdf.
    """
    require(Path(path).suffix in (".png", ".svg", ".pdf"), "a drawing must be a .png, .svg or .pdf file", str(path))
    if not can_draw():
        raise InputError(
            "drawing a network needs graphviz (its command dot, from your system's packages) and pydot "
            '(pip install "kmodels[vis]")'
        )


def draw(network, path):
    """Draws a network as a graph of its layers.

    Args:
        network: a keras.Model.
        path: of a .png, .svg or .pdf file.

    Returns:
        The path, as a Path.

    Raises:
        InputError: as `check_drawing`.
    """
    path = Path(path)
    check_drawing(path)
    keras.utils.plot_model(network, path, show_shapes=True, show_layer_names=True, dpi=72)
    return path
