"""PyTorch's weights in our networks: matched by order and shape, refused with the names that differ."""

import numpy as np
import pytest

from kmodels import InputError, build_model
from kmodels.models.torch_weights import class_count, from_torch, load_torch_weights


def basic_cnn_state(classes=10):
    """A state_dict of `basic_cnn`, with module names that say nothing."""
    shapes = {"a": (6, 3, 5, 5), "b": (16, 6, 5, 5), "c": (120, 400), "d": (84, 120), "e": (classes, 84)}
    rng = np.random.default_rng(0)
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = rng.normal(size=shape).astype("float32")
        state[f"{name}.bias"] = rng.normal(size=shape[:1]).astype("float32")
    return state


def test_every_weight_is_set_whatever_the_modules_are_called():
    network = build_model("basic_cnn", (32, 32, 3), 10)
    state = basic_cnn_state()
    assert load_torch_weights(network, state) == "their order and shapes"
    kernel, bias = network.get_layer("conv2").get_weights()
    np.testing.assert_array_equal(kernel, state["b.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(bias, state["b.bias"])
    assert class_count(state) == 10


def test_another_architecture_is_refused_with_the_names_that_differ():
    network = build_model("alexnet_cifar", (32, 32, 3), 10)
    with pytest.raises(InputError) as refused:
        from_torch(network, basic_cnn_state())
    counts = "5 convolutions, 0 batch norms, 3 dense layers; received 2 convolutions, 0 batch norms, 3 dense layers"
    assert f"these weights are not of alexnet_cifar ({counts})" in str(refused.value)
    assert "conv1 wants weight 96x3x5x5, bias 96, a has weight 6x3x5x5, bias 6" in str(refused.value)
    assert "no convolution for conv3, conv4, conv5" in str(refused.value)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(wrong):
    network, state = build_model("basic_cnn", (32, 32, 3), 10), basic_cnn_state()
    before = network.get_layer("conv1").get_weights()[0]
    state["b.bias"][3:5] = wrong
    with pytest.raises(InputError, match=r"b\.bias must have finite numbers, and 2 of 16 are not"):
        load_torch_weights(network, state)
    np.testing.assert_array_equal(network.get_layer("conv1").get_weights()[0], before)


def test_another_class_count_and_a_lacking_bias_are_refused():
    network = build_model("basic_cnn", (32, 32, 3), 10)
    with pytest.raises(InputError, match="logits wants weight 10x84, bias 10, e has weight 7x84, bias 7"):
        from_torch(network, basic_cnn_state(7))
    state = basic_cnn_state()
    del state["a.bias"]
    with pytest.raises(InputError, match="conv1 wants weight 6x3x5x5, bias 6, a has weight 6x3x5x5"):
        from_torch(network, state)
    state = {**basic_cnn_state(), "f.weight": np.zeros((2, 10)), "f.bias": np.zeros(2)}
    with pytest.raises(InputError, match="no layer for the dense layer f"):
        from_torch(network, state)


@pytest.mark.parametrize("order", [sorted, reversed])
def test_weights_in_another_order_are_matched_by_shapes(order):
    names = {"a": "features.first", "b": "features.second", "c": "body", "d": "head1", "e": "classifier"}
    state = {f"{names[name[0]]}{name[1:]}": value for name, value in basic_cnn_state(7).items()}
    state = {name: state[name] for name in order(list(state))}
    assert class_count(state) == 7
    weights, rule = from_torch(build_model("basic_cnn", (32, 32, 3), 7), state)
    assert rule.startswith("their shapes")
    np.testing.assert_array_equal(weights["dense2"][1], state["head1.bias"])
    np.testing.assert_array_equal(weights["logits"][1], state["classifier.bias"])


def deep_perceptron_state(names):
    """Of `two_layer_net` with layers of equal shapes; the bias of each layer is its number."""
    state = {}
    for i, name in enumerate(names):
        state[f"{name}.bias"] = np.full(8, i, "float32")
        state[f"{name}.weight"] = np.zeros((8, 192 if i == 0 else 8), "float32")
    return state | {"z.bias": np.zeros(3, "float32"), "z.weight": np.zeros((3, 8), "float32")}


def test_layers_of_equal_shapes_are_in_natural_order_where_the_file_has_that_of_the_alphabet():
    network = build_model("two_layer_net", (8, 8, 3), 3, hidden=(8,) * 11)
    state = deep_perceptron_state([f"layers.{i}" for i in range(11)])
    weights, rule = from_torch(network, {name: state[name] for name in sorted(state)})
    assert [int(weights[f"dense{i + 1}"][1][0]) for i in range(11)] == list(range(11))
    assert "conv2 before conv10" in rule
    assert "check" not in rule
    # Words tell no order.
    state = deep_perceptron_state(["a", *(f"{word}_layer" for word in ("one", "two", "three")), *"bcdefgh"])
    _, rule = from_torch(network, {name: state[name] for name in sorted(state)})
    assert "check that this is the order of b, c, d, e, f and 5 more" in rule
