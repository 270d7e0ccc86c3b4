"""A run that stopped and was resumed ends as one that did not stop."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

from kmodels import InputError, read_records, run
from kmodels.data.batches import EpochOrder
from kmodels.training import checkpoint


@pytest.fixture
def eventful(tiny):
    """Augmentation, classes drawn and weighted, label smoothing; the learning rate falls, and training stops by
    itself."""
    return replace(
        tiny,
        dataset="digits",
        subset=200,
        long_tail=3,
        sampler="sqrt",
        class_weight="balanced",
        label_smoothing=0.1,
        epochs=12,
        learning_rate=0.01,
        plateau_patience=1,
        patience=3,
        plateau_factor=0.5,
    )


@pytest.fixture
def stop_at(monkeypatch):
    """Interrupts a run when the given epoch, from 0, begins; everything is saved after every epoch."""
    monkeypatch.setattr(checkpoint, "COPY_EVERY", 0)
    monkeypatch.setattr(checkpoint, "WRITE_EVERY", 0)
    begin = EpochOrder.on_epoch_begin

    def stop_at(stop):
        def interrupt(self, epoch, logs=None):
            for thread in checkpoint.threading.enumerate():
                if thread.name == "checkpoint":
                    thread.join()
            if epoch == stop:
                raise KeyboardInterrupt
            begin(self, epoch, logs)

        monkeypatch.setattr(EpochOrder, "on_epoch_begin", interrupt)

    return stop_at


@pytest.mark.parametrize("batches", ["arrays", "on_device"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    eventful, tmp_path, stop_at, backend, batches, outcome, same_weights
):
    if batches == "on_device":
        if backend != "jax":
            pytest.skip("the epoch program is JAX's")
    else:
        # With dropout and batch norm.
        eventful = replace(eventful, model="model4")
    options = {"verbose": 0, "on_device": batches == "on_device" or None}
    whole = run(eventful, 3, tmp_path / "whole", **options)
    assert min(whole.history["learning_rate"]) < eventful.learning_rate
    assert whole.epochs_run > 5
    out = tmp_path / "pieces"
    for stop in (2, 5):
        stop_at(stop)
        with pytest.raises(
            KeyboardInterrupt,
            match=rf"the {stop} finished epochs are in .*; resume=True \(--resume\) continues from epoch {stop + 1}",
        ):
            run(eventful, 3, out, resume=True, **options)
    stop_at(None)
    pieces = run(eventful, 3, out, resume=True, **options)
    assert outcome(pieces) == outcome(whole)
    assert same_weights(pieces, out, whole, tmp_path / "whole")
    assert [path.suffix for path in sorted(out.rglob("*seed*"))] == [".json", ".keras", ".npz"]


def test_a_retrained_classifier_and_what_starts_from_a_network_resume_too(tiny, tmp_path, stop_at, outcome):
    stop_at(None)
    parent = run(replace(tiny, name="tests/parent", epochs=1), 0, tmp_path, verbose=0)
    start = {"init_from": str(tmp_path / f"{parent.stem}.keras"), "augmentation": "none", "epochs": 5}
    for changes in ({"head": "crt", "sampler": "oversample"}, {"frozen": True}):
        child = replace(tiny, name="tests/child", **start, **changes)
        whole = run(child, 0, tmp_path / "whole", verbose=0)
        stop_at(2)
        with pytest.raises(KeyboardInterrupt, match="the 2 finished epochs are in"):
            run(child, 0, tmp_path / "pieces", verbose=0)
        stop_at(None)
        assert outcome(run(child, 0, tmp_path / "pieces", verbose=0, resume=True)) == outcome(whole)


def test_without_resume_a_run_starts_at_the_beginning_and_says_so(eventful, tmp_path, stop_at, capsys):
    stop_at(2)
    with pytest.raises(KeyboardInterrupt):
        run(replace(eventful, epochs=3), 0, tmp_path, verbose=0)
    stop_at(None)
    record = run(replace(eventful, epochs=3), 0, tmp_path, verbose=2)
    assert record.epochs_run == 3
    printed = capsys.readouterr().out
    assert "resuming from" not in printed
    assert "ignoring the checkpoint" in printed


def test_a_run_killed_after_its_last_epoch_trains_no_further(eventful, tmp_path, stop_at, monkeypatch, outcome):
    stop_at(None)
    eventful = replace(eventful, patience=2, epochs=30)
    whole = run(eventful, 0, tmp_path / "whole", verbose=0)
    assert whole.epochs_run < 30
    # Killed while it evaluates: training had ended by itself.
    from kmodels.training.train import Fitted

    logits = Fitted.logits
    monkeypatch.setattr(Fitted, "logits", lambda self, split: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(eventful, 0, tmp_path, verbose=0)
    monkeypatch.setattr(Fitted, "logits", logits)
    resumed = run(eventful, 0, tmp_path, verbose=0, resume=True)
    assert outcome(resumed) == outcome(whole)


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(eventful, tmp_path, stop_at, capsys, outcome):
    stop_at(None)
    whole = run(eventful, 0, tmp_path / "whole", verbose=0)
    stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        run(eventful, 0, tmp_path, verbose=0)
    (path,) = tmp_path.rglob("*.checkpoint")
    data = path.read_bytes()
    assert checkpoint.load(path)["meta"]["epochs_done"] == 4
    middle = len(data) // 2
    for damaged in (b"", data[:middle], data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]):
        path.write_bytes(damaged)
        assert checkpoint.load(path)["meta"]["epochs_done"] == 3
        assert f"the checkpoint {path} is corrupt" in capsys.readouterr().out
    stop_at(None)
    resumed = run(eventful, 0, tmp_path, verbose=2, resume=True)
    assert "resuming from epoch 4" in capsys.readouterr().out
    assert outcome(resumed) == outcome(whole)


def test_a_checkpoint_of_another_network_is_refused_with_a_way_out(eventful, tmp_path, stop_at, monkeypatch):
    stop_at(1)
    with pytest.raises(KeyboardInterrupt):
        run(eventful, 0, tmp_path, verbose=0)
    stop_at(None)
    monkeypatch.setattr(checkpoint, "FORMAT", 0)
    with pytest.raises(InputError, match="another network or another version of kmodels"):
        run(eventful, 0, tmp_path, verbose=0, resume=True)
    assert [path.suffix for path in tmp_path.rglob("*interrupted*")] == [".json"]


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(eventful, tmp_path, stop_at, monkeypatch, capsys):
    save, calls = np.savez, []

    def full_from_the_third(file, **arrays):
        calls.append(arrays)
        if len(calls) > 2:
            file.write(b"half of")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(file, **arrays)

    monkeypatch.setattr(checkpoint.np, "savez", full_from_the_third)
    stop_at(5)
    with pytest.raises(
        KeyboardInterrupt,
        match=r"the 5 finished epochs are in .*; the last checkpoint is of epoch 2, so .* repeats epochs 3 to 5",
    ):
        run(eventful, 0, tmp_path, verbose=0)
    assert len(calls) == 5
    printed = capsys.readouterr().out
    assert printed.count("cannot write the checkpoint") == 1
    assert "No space left on device; training continues" in printed
    (path,) = tmp_path.rglob("*.checkpoint")
    assert checkpoint.load(path)["meta"]["epochs_done"] == 2
    assert not list(tmp_path.rglob("*.new"))


def test_saving_takes_a_small_share_of_the_time(monkeypatch, tmp_path):
    clock = iter([10.0, 10.0, 11.0, 30.0, 211.0, 211.0, 212.0, 213.0, 214.0])
    saver = checkpoint.Checkpoint(tmp_path / "a.checkpoint", [], {})
    saver.set_model(SimpleNamespace(stop_training=False))
    saver.set_params({"epochs": 4})
    monkeypatch.setattr(checkpoint.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(saver, "_state", lambda epochs: {})
    written = []
    monkeypatch.setattr(saver, "_write", lambda epochs, arrays: written.append(epochs))
    for epoch in range(4):
        saver.on_epoch_end(epoch)
        saver.close()
    # Copying took 1 s, at 10: nothing at 30, and the next one from 11 + 200 on. The last epoch is saved in any case.
    assert written == [1, 3, 4]


SCRIPT = """
import sys
from kmodels import Experiment, run
from kmodels.training import checkpoint
checkpoint.COPY_EVERY = checkpoint.WRITE_EVERY = 0
experiment = Experiment(
    name="tests/killed", dataset="synthetic", image_size=16, model="model4", augmentation="rotate_flip", batch_size=16,
    learning_rate=0.03, plateau_patience=6, patience=60, plateau_factor=0.5, epochs=60,
)
print("ready", flush=True)
run(experiment, 1, sys.argv[1], verbose=0, resume=True)
"""


@pytest.mark.slow
def test_twenty_kills_leave_no_trace(tmp_path, backend, outcome, same_weights):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def start(out):
        return subprocess.Popen([sys.executable, str(script), str(out)], stdout=subprocess.PIPE, text=True)

    process = start(tmp_path / "whole")
    process.communicate()
    assert process.returncode == 0
    (whole,) = read_records(tmp_path / "whole").values()
    draws, during_save, out = random.Random(0), 0, tmp_path / "pieces"
    for kill in range(20):
        process = start(out)
        process.stdout.readline()
        # Every other one comes while a checkpoint is written.
        during_save += _kill(process, out, draws.uniform(0.5, 5), while_saving=kill % 2)
        if list(out.rglob("*seed1.json")):
            # It had come to its end before the kill: the same must hold, and the next one starts at the beginning.
            (record,) = read_records(out).values()
            assert outcome(record) == outcome(whole)
            for path in out.rglob("*seed1*"):
                path.unlink()
    process = start(out)
    process.communicate()
    assert process.returncode == 0
    (record,) = read_records(out).values()
    assert outcome(record) == outcome(whole)
    assert same_weights(record, out, whole, tmp_path / "whole")
    assert during_save > 1
    assert sorted(path.suffix for path in out.rglob("*seed1*")) == [".json", ".keras", ".npz"]


def _kill(process, out, seconds, while_saving):
    """Kills after some seconds, and then `while_saving` as soon as a save begins; returns whether one was running."""
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        if time.monotonic() > deadline and (_saves(out) or not while_saving):
            break
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return _saves(out)


def _saves(out):
    """Whether a checkpoint is being written, or was when the process was killed."""
    try:
        return bool(list(out.rglob("*.new")))
    except FileNotFoundError:
        # A temporary folder went while it was being searched: the network was saved, and training is over.
        return False


def test_what_a_run_could_not_remove_at_its_end_is_removed_by_the_next_call(tiny, tmp_path, monkeypatch):
    jobs = import_module("kmodels.training.job")
    with monkeypatch.context() as patched:
        patched.setattr(jobs.Job, "clean_up", lambda self, training: training.checkpoint.close())
        record = run(tiny, 0, tmp_path, verbose=0)
    checkpoint = tmp_path / f"{record.stem}.checkpoint"
    assert checkpoint.exists()
    os.utime(tmp_path / f"{record.stem}.json")
    assert run(tiny, 0, tmp_path, verbose=0) == record
    assert not checkpoint.exists()
    # A newer one is of a repeat, which may be resumed.
    checkpoint.write_bytes(b"newer")
    run(tiny, 0, tmp_path, verbose=0)
    assert checkpoint.exists()


@pytest.mark.parametrize("edit", [{"state0": np.zeros(3)}, {"variable1": np.zeros(3)}, {"digest": np.array("")}])
def test_an_edited_checkpoint_is_corrupt(tiny, tmp_path, monkeypatch, capsys, edit):
    jobs = import_module("kmodels.training.job")
    with monkeypatch.context() as patched:
        patched.setattr(jobs.Job, "clean_up", lambda self, training: training.checkpoint.close())
        record = run(tiny, 0, tmp_path, verbose=0)
    path = tmp_path / f"{record.stem}.checkpoint"
    with path.open("rb") as file, np.load(file) as arrays:
        arrays = {**arrays, **edit}
    with path.open("wb") as file:
        np.savez(file, **arrays)
    path.with_name(f"{path.name}.previous").unlink(missing_ok=True)
    assert checkpoint.load(path) is None
    assert "is corrupt" in capsys.readouterr().out
