"""PyTorch's weights in our networks: matched by order and shape, refused with the names that differ."""

import sys

import numpy as np
import pytest

from kmodels import InputError, build_model
from kmodels.models.torch_weights import class_count, from_torch, load_torch_weights, read_state_dict


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
    load_torch_weights(network, state)
    kernel, bias = network.get_layer("conv2").get_weights()
    np.testing.assert_array_equal(kernel, state["b.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(bias, state["b.bias"])
    assert class_count(state) == 10


def test_another_architecture_is_refused_with_the_names_that_differ():
    network = build_model("alexnet_cifar", (32, 32, 3), 10)
    with pytest.raises(InputError) as refused:
        from_torch(network, basic_cnn_state())
    assert "these weights are not of alexnet_cifar" in str(refused.value)
    assert "conv1 wants weight 96x3x5x5, bias 96, a has weight 6x3x5x5, bias 6" in str(refused.value)
    assert "no convolution for conv3, conv4, conv5" in str(refused.value)


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


def test_files_that_hold_no_weights_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    with pytest.raises(InputError, match="must be a file that exists"):
        read_state_dict(tmp_path / "none.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "pickled.pth")
    with pytest.raises(InputError, match=r"is no file of weights alone .*torch.save\(model.state_dict\(\), FILE\)"):
        read_state_dict(tmp_path / "pickled.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match=r"holds no state_dict, a dict of dense tensors. Received: list"):
        read_state_dict(tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match="is no file of weights alone"):
        read_state_dict(tmp_path / "text.pth")


def test_wrapped_and_parallel_state_dicts_are_read(tmp_path):
    torch = pytest.importorskip("torch")
    state = {f"module.{name}": torch.tensor(value) for name, value in basic_cnn_state().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "wrapped.pth")
    read = read_state_dict(tmp_path / "wrapped.pth")
    assert list(read) == list(basic_cnn_state())


def test_without_torch_the_message_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "weights.pth").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"needs torch: pip install"):
        read_state_dict(tmp_path / "weights.pth")
