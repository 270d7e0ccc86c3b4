"""run: from an experiment to a record, and what happens when it ends early."""

import os
import signal
import subprocess
import sys
import time
import weakref
from dataclasses import replace
from importlib import import_module

import keras
import numpy as np
import pytest

from kmodels import Experiment, InputError, load_dataset, read_record, read_records, run, run_seeds
from kmodels.analysis import confusion_matrix, predict_logits
from kmodels.backend import needs_xnnpack_off
from kmodels.data.batches import EpochOrder
from kmodels.training.train import Training

runs, jobs = import_module("kmodels.training.run"), import_module("kmodels.training.job")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small network that has learnt the digits a little, with ReduceLROnPlateau at work."""
    out = tmp_path_factory.mktemp("finished")
    experiment = Experiment(
        name="tests/digits",
        dataset="digits",
        image_size=16,
        model="conv_net",
        learning_rate=0.01,
        batch_size=64,
        epochs=6,
        patience=5,
        plateau_patience=1,
    )
    return run(experiment, seed=3, out=out, verbose=0), out


def test_the_record_reads_back_equal(finished):
    record, out = finished
    assert read_record(out / f"{record.stem}.json") == record
    assert list(read_records(out).values()) == [record]


def test_the_kept_weights_have_the_val_loss_of_their_epoch(finished):
    record, _ = finished
    assert record.val.loss == pytest.approx(record.history["val_loss"][record.best_epoch - 1], rel=1e-4)
    assert record.warnings == ()


@pytest.mark.skipif(
    not needs_xnnpack_off(), reason="only some versions of JAX validate with weights of an epoch before"
)
def test_versions_of_jax_that_validate_wrongly_are_cured(tmp_path):
    experiment = Experiment(
        name="tests/stale", dataset="digits", image_size=32, model="conv_net", epochs=3, patience=None, batch_size=64
    )
    record = run(experiment, 0, tmp_path, verbose=0)
    assert record.val.loss == pytest.approx(record.history["val_loss"][record.best_epoch - 1], rel=1e-4)


def test_kept_weights_with_another_val_loss_are_told_and_recorded(tiny, tmp_path, capsys):
    class Spoil(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            weights = self.model.trainable_variables[0]
            weights.assign(weights * 5)

    record = run(replace(tiny, epochs=1), 0, tmp_path, verbose=0, callbacks=[Spoil()])
    (warning,) = record.warnings
    assert f"is {record.val.loss:.4f} with these weights" in warning
    assert f"warning: {warning}" in capsys.readouterr().out
    assert read_record(tmp_path / f"{record.stem}.json") == record


def test_the_record_says_what_ran_where(finished, backend):
    record, _ = finished
    assert record.status == "completed"
    assert record.seed == 3
    assert record.backend == backend
    assert record.parameters == 15_926
    assert record.image_shape == (16, 16, 3)
    assert record.versions["keras"] == keras.__version__
    assert {"python", "kmodels", "numpy", backend} <= set(record.versions)
    assert record.precision == "float32"
    assert record.compile_seconds > 0
    assert record.train_seconds > 0
    assert record.images_per_second > 0


def test_every_image_of_every_split_is_evaluated_with_the_saved_weights(finished):
    record, out = finished
    dataset = load_dataset("digits", image_size=16)
    network = keras.models.load_model(out / f"{record.stem}.keras")
    for name in ("train", "val", "test"):
        split, evaluation = getattr(dataset, name), getattr(record, name)
        predictions = predict_logits(network, split.images).argmax(axis=1)
        assert evaluation.examples == len(split) == np.sum(evaluation.confusion_matrix)
        assert evaluation.accuracy == pytest.approx((predictions == split.labels).mean())
        np.testing.assert_array_equal(evaluation.confusion_matrix, confusion_matrix(split.labels, predictions, 10))


def test_the_weights_kept_are_those_of_the_lowest_validation_loss(finished):
    record, _ = finished
    assert record.best_epoch == 1 + int(np.argmin(record.history["val_loss"]))
    assert record.val.loss == pytest.approx(min(record.history["val_loss"]), rel=1e-4)
    assert record.test.accuracy > 0.5


def test_the_learning_rate_falls_after_a_plateau_and_only_then(finished):
    record, _ = finished
    losses, rates = record.history["val_loss"], record.history["learning_rate"]
    lowest = np.minimum.accumulate(losses)
    for epoch in range(1, len(losses)):
        stalled = losses[epoch - 1] > lowest[epoch - 2] if epoch > 1 else False
        assert rates[epoch] == pytest.approx(rates[epoch - 1] * (0.1 if stalled else 1), rel=1e-4)


def test_one_seed_repeats_bit_for_bit_and_another_does_not(tiny, tmp_path):
    # model4 drops out: that draw must follow the seed too.
    dropping = replace(tiny, model="model4", model_options={"dropout": 0.5})

    def outcome(seed, out):
        record = run(dropping, seed, out, verbose=0)
        return record.history["loss"], record.history["val_loss"], record.test

    first = outcome(0, tmp_path / "a")
    assert outcome(0, tmp_path / "b") == first
    assert outcome(1, tmp_path / "c")[0] != first[0]


def test_seeds_make_a_record_each(tiny, tmp_path):
    records = run_seeds(replace(tiny, epochs=1), [0, 1], tmp_path, verbose=0)
    assert [record.seed for record in records] == [0, 1]
    assert len(read_records(tmp_path)) == 2


def test_a_run_lets_go_of_the_networks_of_those_before(tiny, tmp_path, monkeypatch):
    built, build = [], runs.build_model

    def remember(*arguments, **options):
        network = build(*arguments, **options)
        built.append(weakref.ref(network))
        return network

    monkeypatch.setattr(runs, "build_model", remember)
    for seed in (0, 1, 2):
        run(replace(tiny, epochs=1), seed, tmp_path, verbose=0)
    assert [reference() is None for reference in built[:2]] == [True, True]


def test_early_stopping_ends_the_run(tiny, tmp_path):
    stuck = replace(tiny, optimizer="sgd", learning_rate=1e-12, augmentation="none", epochs=30, patience=2)
    record = run(stuck, 0, tmp_path, verbose=0)
    assert record.epochs_run < 30
    assert record.epochs_run - record.best_epoch >= 2


@pytest.mark.usefixtures("nan_loss")
def test_a_nan_loss_ends_the_run_with_a_record_that_says_so(tiny, tmp_path, capsys):
    record = run(replace(tiny, epochs=5), 0, tmp_path, verbose=0)
    assert record.status == "diverged"
    assert record.test is None
    assert record.history["loss"] == (None,)
    assert "not finite; training ends here" in capsys.readouterr().out
    assert read_record(tmp_path / f"{record.stem}.json") == record


def test_ctrl_c_keeps_the_finished_epochs(tiny, tmp_path, monkeypatch):
    original = EpochOrder.on_epoch_begin

    def interrupt(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt
        original(self, epoch, logs)

    monkeypatch.setattr(EpochOrder, "on_epoch_begin", interrupt)
    with pytest.raises(KeyboardInterrupt, match=r"the 2 finished epochs are in .*json"):
        run(replace(tiny, epochs=9), 0, tmp_path, verbose=0)
    (record,) = read_records(tmp_path).values()
    assert record.status == "interrupted"
    assert record.epochs_run == 2
    assert record.test is None


def test_an_interrupted_repeat_leaves_the_completed_record_and_its_network(tiny, tmp_path, monkeypatch):
    done = run(tiny, 0, tmp_path, verbose=0)
    files = {path: path.read_bytes() for path in (tmp_path / "tests" / "tiny").iterdir()}

    def interrupt(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(EpochOrder, "on_epoch_begin", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tiny, 0, tmp_path, verbose=0, again=True)
    assert {path: path.read_bytes() for path in files} == files
    statuses = [record.status for record in read_records(tmp_path).values()]
    assert sorted(statuses) == ["completed", "interrupted"]
    assert read_record(tmp_path / f"{done.stem}.json") == done


def test_ctrl_c_before_the_first_epoch_ends_leaves_nothing(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(
        EpochOrder, "on_epoch_begin", lambda *arguments, **options: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt, match="no epoch was finished, nothing is recorded"):
        run(tiny, 0, tmp_path, verbose=0)
    assert list(tmp_path.iterdir()) == []


def test_whatever_else_ends_a_run_is_recorded_and_raised(tiny, tmp_path, monkeypatch):
    def fail(self, epoch, logs=None):
        if epoch == 1:
            raise MemoryError("out of memory")

    monkeypatch.setattr(EpochOrder, "on_epoch_begin", fail)
    with pytest.raises(MemoryError, match="out of memory"):
        run(tiny, 0, tmp_path, verbose=0)
    (record,) = read_records(tmp_path).values()
    assert (record.status, record.error, record.epochs_run) == ("failed", "MemoryError: out of memory", 1)


def test_what_fails_after_training_is_recorded_and_can_be_resumed(tiny, tmp_path, monkeypatch, outcome):
    whole = run(tiny, 0, tmp_path / "whole", verbose=0)

    def fail(network, path, about):
        raise TypeError("no such argument")

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "save_network", fail)
        with pytest.raises(TypeError, match="no such argument"):
            run(tiny, 0, tmp_path, verbose=0)
    (record,) = read_records(tmp_path / "tests").values()
    assert (record.status, record.error, record.epochs_run) == ("failed", "TypeError: no such argument", 2)
    assert outcome(run(tiny, 0, tmp_path, verbose=0, resume=True)) == outcome(whole)


def test_a_record_that_cannot_be_written_is_kept_elsewhere(tiny, tmp_path, monkeypatch, capsys):
    original = jobs.write_record

    def refuse(record, out):
        if out == tmp_path:
            raise InputError("cannot write: no space")
        return original(record, out)

    monkeypatch.setattr(jobs, "write_record", refuse)
    record = run(tiny, 0, tmp_path, verbose=0)
    kept = capsys.readouterr().out.split("the record is in ")[1].strip()
    assert read_record(kept) == record


@pytest.mark.parametrize("seed", [20_260_101, 2**40, np.int64(7)])
def test_any_number_is_a_seed(tiny, tmp_path, seed):
    record = run(replace(tiny, epochs=1), seed, tmp_path, verbose=0)
    assert record.seed == seed
    assert read_records(tmp_path)


def test_a_batch_larger_than_the_train_split_is_refused(tiny, tmp_path):
    with pytest.raises(InputError, match=r"batch_size must be at most 40\b.*Received: 41"):
        run(replace(tiny, batch_size=41), 0, tmp_path)


def test_a_bad_seed_and_an_unwritable_folder_are_refused_before_training(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Training, "fit", lambda self: pytest.fail("it trained"))
    for seed in (-1, True, 0.5, "0"):
        with pytest.raises(InputError, match=r"seed must be an integer of at least 0. Received: "):
            run(tiny, seed, tmp_path)
    with pytest.raises(InputError, match="seeds must differ from each other"):
        run_seeds(tiny, [0, 0], tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="the folder to write into is a file"):
        run(tiny, 0, tmp_path / "file")


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("number", "status", "line"), [(signal.SIGINT, 130, "interrupted: the"), (signal.SIGTERM, 143, "terminated: the")]
)
def test_ctrl_c_and_sigterm_in_a_script_are_a_line_and_a_status(tmp_path, number, status, line):
    script = tmp_path / "script.py"
    script.write_text(
        "from kmodels.experiment import Experiment\n"
        "from kmodels.script import main\n"
        "main([Experiment(name='tests/long', dataset='synthetic', image_size=16, model='mlp', batch_size=8,\n"
        "                 epochs=100_000, patience=None)], __doc__)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-u", str(script), "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    for printed in process.stdout:
        if printed.startswith("Epoch 4/"):
            break
    time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == status
    assert line in errors
    assert "Traceback" not in errors
    (record,) = read_records(tmp_path).values()
    assert record.status == "interrupted"
    assert record.epochs_run >= 3


def test_a_loss_that_is_more_than_cross_entropy_is_told_with_and_without(tiny, tmp_path):
    plain = run(replace(tiny, epochs=1), 0, tmp_path, verbose=0)
    assert "cross_entropy" not in plain.history
    for change in ({"label_smoothing": 0.1}, {"class_weight": (5,) + 9 * (1,)}, {"augmentation": "mixup"}):
        history = run(replace(tiny, epochs=1, **change), 0, tmp_path, verbose=0).history
        assert history["cross_entropy"] != history["loss"]
        # Smoothing belongs to evaluation too; weights and mixing to training alone.
        smoothed = "label_smoothing" in change
        assert (history["val_cross_entropy"] != pytest.approx(history["val_loss"])) is smoothed


def test_balanced_weights_follow_the_training_images(tiny, tmp_path):
    counts = (4, 1) + 8 * (2,)
    weighted = replace(tiny, epochs=1, batch_size=10, class_counts=counts, class_weight="balanced")
    weights = tuple(21 / (10 * count) for count in counts)
    first = run(weighted, 0, tmp_path, verbose=0)
    second = run(replace(weighted, name="tests/numbers", class_weight=weights), 0, tmp_path, verbose=0)
    assert first.history["loss"] == pytest.approx(second.history["loss"], rel=1e-6)
    with pytest.raises(InputError, match="class_weight must be 10 numbers of at least 0, one for each of class 0"):
        run(replace(weighted, class_weight=(1, 2)), 0, tmp_path, verbose=0)


def test_a_completed_run_is_not_repeated_unless_asked(tiny, tmp_path, monkeypatch, capsys):
    first = run(replace(tiny, epochs=1), 0, tmp_path, verbose=0)
    fits, fit = [], Training.fit
    monkeypatch.setattr(Training, "fit", lambda self: fits.append(1) or fit(self))
    assert run(replace(tiny, epochs=1), 0, tmp_path) == first
    assert "recorded already" in capsys.readouterr().out
    assert fits == []
    again = run(replace(tiny, epochs=1), 0, tmp_path, verbose=0, again=True)
    assert fits == [1]
    assert again.history["loss"] == first.history["loss"]


def test_the_last_weights_are_kept_where_that_is_asked_for(tiny, tmp_path, network_weights, capsys):
    # So high a rate that val_loss rises after the first epoch.
    rising = replace(tiny, epochs=3, optimizer="sgd", learning_rate=0.5, patience=None)
    last = run(replace(rising, keep="last"), 0, tmp_path, verbose=2)
    assert last.best_epoch == 3
    assert "the last epoch" in capsys.readouterr().out
    assert last.val.loss == pytest.approx(last.history["val_loss"][-1], rel=1e-4)
    best = run(rising, 0, tmp_path, verbose=0)
    assert best.history["loss"] == last.history["loss"]
    assert best.val.loss == pytest.approx(min(best.history["val_loss"]), rel=1e-4)
    by_accuracy = run(replace(rising, monitor="val_accuracy"), 0, tmp_path, verbose=0)
    assert by_accuracy.val.accuracy == pytest.approx(max(by_accuracy.history["val_accuracy"]))
    assert by_accuracy.best_epoch == 1 + int(np.argmax(by_accuracy.history["val_accuracy"]))
