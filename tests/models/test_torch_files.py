"""Checkpoints as people have them: where the weights are in a file, and what files cannot be read."""

import argparse
import json
import os
import pickle
import sys
import warnings
import zipfile

import numpy as np
import pytest
from test_torch_weights import basic_cnn_state

from kmodels import InputError, cli
from kmodels.models.saving import load_network
from kmodels.models.torch_files import read_state_dict

torch = pytest.importorskip("torch")
nn = torch.nn
FACTORS = {"model": 1, "ema": 2, "best": 3}


def tensors(factor=1):
    return {name: factor * torch.tensor(value) for name, value in basic_cnn_state().items()}


def saved(tmp_path, content, name="weights.pth", **options):
    path = tmp_path / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, path, **options)
    return path


def refusal(path, key=None):
    """The message of the error, which must be a sentence of our own and never torch's advice."""
    with pytest.raises(InputError) as refused:
        read_state_dict(path, key)
    message = str(refused.value)
    assert "weights_only" not in message
    assert "\n" not in message
    return message


def same(path, key=None, factor=1):
    arrays, notes = read_state_dict(path, key)
    assert list(arrays) == list(basic_cnn_state())
    for name, value in basic_cnn_state().items():
        np.testing.assert_array_equal(arrays[name], factor * value)
    return notes


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"net": state, "acc": 70.1},
        lambda state: {"anything": state, "acc": np.float64(70.1), "args": argparse.Namespace(lr=0.1)},
        lambda state: {"epoch": 3, "run": {"last": [{"weights": state}]}},
        lambda state: (3, state),
        lambda state: {"model": state, "state_dict": state},
        lambda state: {"model": state, "optimizer": {"state": {0: {"exp_avg": state["a.weight"]}}, "copy": state}},
        lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
        lambda state: {f"model.backbone.{name}" if name < "d" else name: value for name, value in state.items()},
    ],
)
def test_the_one_network_in_a_file_is_found_at_any_depth_and_under_any_prefix(wrap, tmp_path):
    assert same(saved(tmp_path, wrap(tensors()))) == ()


def test_what_is_no_layer_of_the_network_is_left_out_and_said(tmp_path):
    beside = {
        "criterion.weight": torch.ones(10),
        "val_metric.total": torch.ones(()),
        "mean": torch.ones(1, 3, 1, 1),
        "a.num_batches_tracked": torch.tensor(3),
        "hyper": 7,
    }
    (note,) = same(saved(tmp_path, {"state_dict": tensors() | beside}))
    assert note.endswith("criterion.weight, val_metric.total, mean, hyper")


def test_of_a_network_and_its_copies_the_network_is_taken_or_the_one_that_the_user_chooses(tmp_path):
    path = saved(tmp_path, {"run": {name: tensors(factor) for name, factor in FACTORS.items()}})
    (note,) = same(path)
    assert "took 'run.model'; --key takes another one: run.ema, run.best" in note
    assert same(path, "ema", 2) == same(path, "run.ema", 2) == ()
    assert "no weights under the key 'emma'; it has 'run.model', 'run.ema', 'run.best'" in refusal(path, "emma")
    flat = {f"{module}.{name}": v for module, factor in FACTORS.items() for name, v in tensors(factor).items()}
    path = saved(tmp_path, {name: value for name, value in flat.items() if not name.startswith("best")})
    same(path)
    same(path, "ema", 2)
    path = saved(tmp_path, {"student": tensors(), "other": tensors()})
    assert "holds 2 networks; choose one with --key: student, other" in refusal(path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_become_single(dtype, tmp_path):
    arrays = read_state_dict(saved(tmp_path, {name: value.to(dtype) for name, value in tensors().items()})).arrays
    assert {value.dtype for value in arrays.values()} == {np.dtype("float32")}
    np.testing.assert_allclose(arrays["a.weight"], basic_cnn_state()["a.weight"], rtol=1e-2)


def test_files_from_before_the_zip_format_are_read(tmp_path):
    path = saved(tmp_path, tensors(), _use_new_zipfile_serialization=False)
    same(path)
    path.write_bytes(path.read_bytes()[:-9])
    assert "is damaged, incomplete" in refusal(path)


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.empty(2, 2, device="meta"), "a meta tensor, which has no values"),
        (quantised(), r"quantised .* \(qint8\)"),
        (torch.ones(2, 2, dtype=torch.int8), r"quantised .* \(int8\)"),
        (torch.ones(2, 2, dtype=torch.complex64), r"quantised .* \(complex64\)"),
        (torch.eye(2).to_sparse(), r"sparse \(sparse_coo\)"),
    ],
)
def test_tensors_without_a_number_for_each_weight_are_refused_by_name(tensor, message, tmp_path):
    with pytest.raises(InputError, match=f"fc.weight is {message}"):
        read_state_dict(saved(tmp_path, {"fc.weight": tensor}))


class Malicious:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_files_that_hold_more_than_weights_are_refused_and_their_code_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "torch.nn.modules.linear.Linear" in refusal(saved(tmp_path, nn.Linear(2, 2)))
    assert "torch.save(model.state_dict(), FILE)" in refusal(saved(tmp_path, nn.Linear(2, 2)))
    for zipped in (True, False):
        path = saved(tmp_path, {"net": tensors(), "x": Malicious()}, _use_new_zipfile_serialization=zipped)
        assert "posix.system" in refusal(path)
    path.write_bytes(pickle.dumps(Malicious()))
    assert "not of torch.save" in refusal(path)
    assert not (tmp_path / "pwned").exists()


def test_damaged_and_foreign_files_are_named(tmp_path):
    path = tmp_path / "none.pth"
    assert "must be a file that exists" in refusal(path)
    path.touch()
    assert "is empty" in refusal(path)
    path.write_bytes(saved(tmp_path, tensors()).read_bytes()[:-100])
    assert "is damaged, incomplete" in refusal(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "no file of torch.save; it begins with b'version https://git-lfs" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cats/1.jpg", b"")
    assert "is a zip file, but not of torch.save; it holds cats/1.jpg" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", b"")
    assert "is a Keras network already" in refusal(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(2, 2)).save(path)
    assert "is TorchScript" in refusal(path)
    assert "holds no state_dict, a dict with the tensors of layers. Received: list" in refusal(saved(tmp_path, [1, 2]))
    assert "dict of 'epoch' (int), 'log' (dict)" in refusal(saved(tmp_path, {"epoch": 1, "log": {}}))


def test_safetensors_are_read_where_the_package_is_there(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    header = json.dumps({"a.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + np.array([3, 4], "float32").tobytes())
    # The package may be missing, and a fresh import of it may not.
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    assert "pip install safetensors" in refusal(path)
    monkeypatch.undo()
    pytest.importorskip("safetensors")
    assert read_state_dict(path).arrays["a.weight"].tolist() == [[3, 4]]
    path.write_bytes(path.read_bytes()[:-4])
    assert "is no safetensors file, or is damaged" in refusal(path)


def test_without_torch_the_message_says_what_to_install(tmp_path, monkeypatch):
    path = saved(tmp_path, tensors())
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "needs torch, which is not installed here: pip install" in refusal(path)


def test_convert_takes_a_key_and_says_what_was_chosen_and_matched(tmp_path, monkeypatch, capsys):
    path = saved(tmp_path, {"net": tensors(), "ema": tensors(2)})
    assert cli.convert(path, "basic_cnn") == 0
    printed = capsys.readouterr().out
    assert "took 'net'; --key takes another one: ema" in printed
    assert "matched by their order and shapes" in printed
    cli.convert(path, "basic_cnn", key="ema", out=tmp_path / "ema.keras")
    networks = [load_network(tmp_path / name) for name in ("weights.keras", "ema.keras")]
    first, second = (network.get_layer("conv1").get_weights()[1] for network in networks)
    np.testing.assert_array_equal(2 * first, second)


def test_what_is_allowed_beside_tensors_is_forgotten_again(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    same(saved(tmp_path, {"net": tensors(), "acc": np.float64(1)}))
    assert set(torch.serialization.get_safe_globals()) == before
