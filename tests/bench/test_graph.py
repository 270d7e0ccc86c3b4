"""Every network of ours can be rebuilt by hand."""

import keras
import pytest

from kmodels import MODELS, InputError, build_model
from kmodels.bench import jax_layers
from kmodels.bench.graph import handler_of, nodes

try:
    from kmodels.bench import torch_layers
except ImportError:
    torch_layers = None

layers = keras.layers


@pytest.mark.parametrize("name", MODELS)
def test_the_layers_of_every_network_have_counterparts(name):
    graph = nodes(build_model(name, (64, 64, 3), 3))
    assert graph[-1].layer.name == "logits"
    for node in graph[1:]:
        handler_of(node.layer, jax_layers.HANDLERS, "plain JAX")
        if torch_layers:
            handler_of(node.layer, torch_layers.HANDLERS, "PyTorch")


def test_a_layer_used_twice_and_a_frozen_one_are_refused():
    image = layers.Input((8, 8, 3))
    twice = layers.Conv2D(3, 3, padding="same", name="conv")
    with pytest.raises(InputError, match="reads a layer that is used more than once"):
        nodes(keras.Model(image, layers.ReLU()(twice(twice(image)))))
    network = keras.Model(image, layers.Conv2D(3, 3, name="conv")(image))
    network.get_layer("conv").trainable = False
    with pytest.raises(InputError, match=r"layer 'conv' of .* is frozen"):
        nodes(network)
