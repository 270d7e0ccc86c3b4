"""Several devices, and runs spread over processes: the outcome is that of one device."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import keras
import numpy as np
import pytest

from kmodels import Experiment, InputError, read_record, read_records, run, run_seeds, workers
from kmodels.models.saving import load_network
from kmodels.training import sweep
from kmodels.training.devices import copy_of

# 630, 70 and 360 images: steps of 64 leave 54 in train, and none of 54, 118 (630 - 512) and 70 divides by 8.
SCRIPT = """
from dataclasses import replace
import json, sys
from pathlib import Path
import keras
from kmodels import Experiment, load_dataset, run, train
from kmodels.data.batches import EpochOrder
from kmodels.training import checkpoint

DIGITS = Experiment(
    name="tests/mlp", dataset="digits", subset=700, image_size=16, model="mlp", augmentation="crop", batch_size=64,
    epochs=2,
)
# One epoch: rounding decides between equal maxima of its pooling, on one device as on many.
NORMED = replace(
    DIGITS, name="tests/model4", subset=100, model="model4", model_options={"dropout": 0.2}, epochs=1
)
out = Path(sys.argv[1])

def go(name, experiment, **options):
    return run(experiment, 3, out / name, verbose=0, **options)

go("one", DIGITS)
go("eight", DIGITS, devices=8)
assert keras.distribution.distribution() is None
go("on_device", DIGITS, devices=8, on_device=True)
go("normed_one", NORMED)
go("normed_eight", NORMED, devices=8)

begin, checkpoint.COPY_EVERY, checkpoint.WRITE_EVERY = EpochOrder.on_epoch_begin, 0, 0
def interrupt(self, epoch, logs=None):
    if epoch == 1:
        for thread in checkpoint.threading.enumerate():
            if thread.name == "checkpoint":
                thread.join()
        raise KeyboardInterrupt
    begin(self, epoch, logs)

for first, then in ((8, 1), (1, 8)):
    EpochOrder.on_epoch_begin = interrupt
    try:
        go(f"from_{first}", DIGITS, devices=first)
    except KeyboardInterrupt as error:
        assert "resume=True (--resume) continues from epoch 2" in str(error), error
    assert keras.distribution.distribution() is None
    EpochOrder.on_epoch_begin = begin
    go(f"from_{first}", DIGITS, devices=then, resume=True)

class Blocks(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(4)

    def call(self, x):
        return self.dense(self.flatten(x))

frozen = Blocks()
network = keras.Sequential([keras.Input((16, 16, 3)), frozen, keras.layers.Dense(10)])
frozen.trainable = False
before = frozen.get_weights()
train(network, load_dataset("digits", 16), epochs=1, batch_size=16, devices=8, verbose=0)
assert all((old == new).all() for old, new in zip(before, frozen.get_weights()))

messages = []
for number, batch_size in ((8, 60), (9, 64)):
    try:
        go("refused", replace(DIGITS, batch_size=batch_size), devices=number)
    except ValueError as error:
        messages.append(str(error))
(out / "messages.json").write_text(json.dumps(messages))
"""


@pytest.fixture(scope="module")
def jax_only():
    if keras.backend.backend() != "jax":
        pytest.skip("only JAX divides a run")


@pytest.fixture(scope="module")
def outcomes(jax_only, tmp_path_factory):
    """The results folder, and {how it was run: its record}, of a process that has eight devices."""
    out = tmp_path_factory.mktemp("devices")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    variables = {"XLA_FLAGS": flags, "KMODELS_CACHE": f"{out}/cache"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out)], env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out, {folder.name: of(folder) for folder in out.iterdir() if list(folder.rglob("*.keras"))}


def of(folder):
    (record,) = read_records(folder).values()
    return record


@pytest.mark.parametrize(
    ("how", "devices"),
    [("eight", 8), ("on_device", 8), ("from_8", 1), ("from_1", 8)],
)
def test_a_divided_run_equals_one_on_a_single_device(outcomes, how, devices):
    out, records = outcomes
    one, other = records["one"], records[how]
    assert (one.devices, other.devices) == (1, devices)
    assert other.stem == one.stem
    for name in ("loss", "val_loss", "accuracy", "val_accuracy"):
        np.testing.assert_allclose(other.history[name], one.history[name], rtol=1e-4)
    for split in ("train", "val", "test"):
        alone, divided = getattr(one, split), getattr(other, split)
        assert divided.loss == pytest.approx(alone.loss, rel=1e-4)
        assert divided.confusion_matrix == alone.confusion_matrix
        assert np.sum(divided.confusion_matrix) == divided.examples
    assert sorted(path.suffix for path in (out / how).rglob("*seed*")) == [".json", ".keras", ".npz"]


def test_batch_norm_sees_the_whole_batch_and_no_padding(outcomes):
    out, records = outcomes
    one, eight = records["normed_one"], records["normed_eight"]
    np.testing.assert_allclose(eight.history["loss"], one.history["loss"], rtol=1e-5)
    assert eight.test.loss == pytest.approx(one.test.loss, rel=1e-4)
    networks = [load_network(out / how / f"{one.stem}.keras") for how in ("normed_one", "normed_eight")]
    statistics = [[w for w in network.non_trainable_variables if "moving" in w.path] for network in networks]
    assert statistics[0]
    for alone, divided in zip(*statistics, strict=True):
        np.testing.assert_allclose(np.asarray(divided), np.asarray(alone), rtol=1e-3, atol=1e-4)


def test_what_cannot_be_divided_is_refused(outcomes):
    out, _ = outcomes
    indivisible, too_many = json.loads((out / "messages.json").read_text())
    assert "batch_size must be a multiple of 8" in indivisible
    assert "devices must be at most 8" in too_many


class Units(keras.Model):
    """A network of the user's with a call of its own."""

    def __init__(self, sizes, told=True, **kwargs):
        super().__init__(**kwargs)
        self.sizes, self.told = sizes, told
        self.inner = [keras.layers.Dense(size) for size in sizes]

    def call(self, x):
        for layer in self.inner:
            x = layer(x)
        return x

    def get_config(self):
        return {**super().get_config(), "sizes": list(self.sizes) if self.told else []}


def test_what_is_frozen_is_frozen_in_the_copy_for_several_devices():
    units = Units([3, 4])
    network = keras.Sequential([keras.Input((2,)), units, keras.layers.Dense(2)])
    units.trainable = False
    units.inner[1].trainable = True
    units.inner[1].bias.trainable = False
    copy = copy_of(network)
    assert [variable.trainable for variable in copy.variables] == [False, False, True, False, True, True]
    assert [layer.trainable for layer in copy.layers[0].layers] == [False, True]
    assert not copy.layers[0].trainable


def test_a_copy_with_other_layers_is_refused():
    network = keras.Sequential([keras.Input((2,)), Units([3], told=False), keras.layers.Dense(2)])
    with pytest.raises(InputError, match=r"several devices need .* other layers or weights: give .* a get_config"):
        copy_of(network)


@pytest.mark.parametrize("devices", [0, -1, True, 1.0, "2"])
def test_devices_are_counted_in_whole_numbers(tiny, tmp_path, devices):
    with pytest.raises(InputError, match=r"devices must be an integer of at least 1. Received: "):
        run(tiny, 0, tmp_path, devices=devices)


def test_several_devices_need_jax_or_a_split_of_runs(tiny, tmp_path, backend):
    allowed = "devices must be at most 1, as many" if backend == "jax" else "devices must be 1 except on JAX"
    with pytest.raises(InputError, match=allowed):
        run(tiny, 0, tmp_path, devices=2)
    with pytest.raises(InputError, match=r"split must be 'batch' or 'runs'. Received: 'seeds'"):
        run_seeds(tiny, [0], tmp_path, split="seeds")


SMALL = Experiment(name="tests/small", dataset="synthetic", image_size=16, model="mlp", epochs=2, batch_size=16)


def test_runs_spread_over_processes_equal_those_in_a_row(tmp_path, backend, capfd):
    bad = replace(SMALL, name="tests/bad", batch_size=41)
    outcomes = list(sweep([SMALL, bad], [0, 1], tmp_path / "spread", devices=2, split="runs"))
    printed = capfd.readouterr().out
    assert "[tests/small seed 1] Epoch 1/2" in printed
    assert all(line.startswith("[tests/") for line in printed.splitlines())
    errors = [outcome.error for outcome in outcomes if outcome.experiment == bad]
    assert [type(error) for error in errors] == [InputError, InputError]
    done = {outcome.seed: outcome.record for outcome in outcomes if outcome.experiment == SMALL}
    for record in run_seeds(SMALL, [0, 1], tmp_path / "row", verbose=0):
        assert done[record.seed].history["loss"] == record.history["loss"]
        assert done[record.seed].test == record.test
        assert read_record(tmp_path / "spread" / f"{record.stem}.json") == done[record.seed]


def test_a_process_that_dies_costs_its_run_only(tmp_path, monkeypatch):
    (tmp_path / "deadly.py").write_text(
        "import os\nimport signal\n\n\n"
        "def network(input_shape, num_classes):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    deadly = replace(SMALL, name="tests/deadly", model="deadly:network")
    outcomes = list(sweep([SMALL, deadly, replace(SMALL, name="tests/last")], [0], tmp_path, devices=2, split="runs"))
    ended = {outcome.experiment.name: outcome for outcome in outcomes}
    assert ended.keys() == {"tests/small", "tests/deadly", "tests/last"}
    assert "its process ended before its record was written" in str(ended["tests/deadly"].error)
    assert ended["tests/last"].record.status == "completed"


def test_each_process_gets_a_gpu_of_those_that_the_user_left(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 1,0")
    for name in [name for name in os.environ if name.startswith("XLA_PYTHON_CLIENT_")]:
        monkeypatch.delenv(name)
    gpus = workers.visible_gpus()
    assert gpus == ["3", "1", "0"]
    with pytest.raises(InputError, match=r"at most 3, the number of GPUs. Received: 4"):
        list(workers.run_in_workers([(SMALL, 0)], "out", 4))
    monkeypatch.setattr(workers, "_LOCKS", [])
    for gpu in ("3", "1"):
        # As in a process of its own.
        monkeypatch.delenv("KMODELS_WORKER_GPU", raising=False)
        workers._take_gpu({"gpus": gpus, "process": f"test-{os.getpid()}"})
        assert os.environ["CUDA_VISIBLE_DEVICES"] == gpu
        assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    for lock in workers._LOCKS:
        lock.release()
    monkeypatch.delenv("KMODELS_WORKER_GPU")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert workers.visible_gpus() == []


def test_a_record_from_before_there_were_several_devices_is_of_one(tmp_path, backend):
    record = run(replace(SMALL, epochs=1), 0, tmp_path, verbose=0)
    path = tmp_path / f"{record.stem}.json"
    content = json.loads(path.read_text())
    assert content.pop("devices") == 1
    path.write_text(json.dumps(content))
    assert read_record(path) == record


@pytest.mark.slow
def test_ctrl_c_stops_every_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from kmodels.experiment import Experiment\n"
        "from kmodels.script import main\n"
        "main([Experiment(name='tests/long', dataset='synthetic', image_size=16, model='mlp', batch_size=8,\n"
        "                 epochs=100_000, patience=None)], __doc__)\n"
    )
    arguments = ["--out", str(tmp_path), "--devices", "2", "--split", "runs", "--seeds", "0", "1", "2"]
    process = subprocess.Popen(
        [sys.executable, "-u", str(script), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    begun = set()
    for line in process.stdout:
        begun |= {seed for seed in (0, 1) if line.startswith(f"[tests/long seed {seed}] Epoch 4/")}
        if len(begun) == 2:
            break
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in printed
    assert printed.count("] interrupted: the") == 2
    assert [record.status for record in read_records(tmp_path).values()] == ["interrupted"] * 2
