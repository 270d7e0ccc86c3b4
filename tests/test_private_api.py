"""What is used of the private parts of Keras, JAX, TensorFlow and PyTorch: all of it is listed here, with its reason.

A new version of these libraries may take any of it away: then the second test says what, and why it was needed.
"""

import ast
from pathlib import Path

import keras
import pytest

import kmodels

# Name of a private attribute or module -> (where it is found: a function, why it is needed).
PRIVATE = {
    "_symbolic_build": (
        lambda: keras.Model,
        "creates the variables of metrics without a step, so that a checkpoint can be restored into them",
    ),
    "_flatten_layers": (
        lambda: keras.layers.Layer,
        "finds the layers within any layer, of which only a model has public names for",
    ),
    "_nodes_by_depth": (
        lambda: _identity(),
        "tells which calls of a layer are in the graph of a model, where the layer is in several models",
    ),
    "_inbound_nodes": (lambda: keras.layers.Layer(), "as _nodes_by_depth: the calls of a layer, in order"),
    "tensorflow.python.framework.config": (
        lambda: __import__("tensorflow.python.framework.config", fromlist=["config"]),
        "tells whether TensorFlow's operations are deterministic, which its public API can only switch on",
    ),
    "_momentums": (
        lambda: _built(keras.optimizers.Adam()),
        "the moments of Adam, which have no public name",
    ),
    "_velocities": (lambda: _built(keras.optimizers.Adam()), "as _momentums"),
    "_accumulators": (lambda: _built(keras.optimizers.Adagrad()), "the sums of Adagrad, which have no public name"),
    "_learning_rate": (
        lambda: keras.optimizers.Adam(),
        "the schedule of an optimizer; the public name has the rate of the present step",
    ),
    "_get_variable_index": (lambda: keras.optimizers.Adam(), "finds the slots of a variable in an optimizer's update"),
}
# Python's own, which is public: its threads need no lock that interrupted code may hold.
PUBLIC_MODULES = ("_thread",)
# Parts of the names of modules that are not public.
PRIVATE_MODULES = (".src.", "._src.", ".python.", ".externals.")


def _built(optimizer):
    optimizer.build([keras.Variable([1.0])])
    return optimizer


def _identity():
    pixel = keras.Input((1,))
    return keras.Model(pixel, keras.layers.Identity()(pixel))


def uses():
    """{private name: files that use it}: attributes with "_" that are not kmodels' own, and private modules."""
    trees = {path: ast.parse(path.read_text()) for path in Path(kmodels.__file__).parent.rglob("*.py")}
    own = set()
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                own.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                # Set past Keras by object.__setattr__(self, "_share", ...).
                own.add(node.value)
    found = {}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                # os._exit and the methods of named tuples are public.
                names = [node.attr] if node.attr not in {*own, "_exit", "_replace", "_fields", "_asdict"} else []
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                if name in PUBLIC_MODULES:
                    continue
                if name.startswith("_") or any(part in f".{name}." for part in PRIVATE_MODULES):
                    found.setdefault(name, set()).add(path.name)
    return found


def test_all_private_api_in_use_is_listed():
    assert sorted(uses()) == sorted(PRIVATE)


@pytest.mark.parametrize("name", PRIVATE)
def test_private_api_is_still_there(name):
    where, reason = PRIVATE[name]
    found = where()
    assert "." in name or hasattr(found, name), f"{name} is gone; it {reason}"
