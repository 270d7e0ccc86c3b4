"""Many runs in a row skip what is there, and do not stop at a failure."""

from dataclasses import replace
from importlib import import_module

import keras
import numpy as np
import pytest

from kmodels import InputError, run, run_seeds
from kmodels.text import duration
from kmodels.training import sweeps
from kmodels.training.job import Outcome
from kmodels.training.sweeps import failures, sweep
from kmodels.training.train import Training

jobs, runs = import_module("kmodels.training.job"), import_module("kmodels.training.run")


@pytest.fixture
def fits(monkeypatch):
    """The seeds that were trained, in order."""
    seeds, fit = [], Training.fit
    monkeypatch.setattr(Training, "fit", lambda self: seeds.append(self.settings.seed) or fit(self))
    return seeds


def fail_for(monkeypatch, seed):
    fit = Training.fit

    def fail(self):
        if self.settings.seed == seed:
            raise MemoryError("out of memory")
        return fit(self)

    monkeypatch.setattr(Training, "fit", fail)


def test_a_run_in_a_sweep_equals_the_run_alone(tiny, tmp_path, outcome, same_weights):
    base = replace(tiny, model="model4", epochs=1, model_options={"dropout": 0.7})
    other = replace(base, name="tests/other", optimizer="sgd", momentum=0.9, model_options={"dropout": 0.2})
    records = [done.record for done in sweep([base, other], (1,), tmp_path / "sweep", verbose=0)]
    alone = run(other, 1, tmp_path / "alone", verbose=0)
    assert outcome(records[1]) == outcome(alone)
    assert same_weights(records[1], tmp_path / "sweep", alone, tmp_path / "alone")


def test_what_is_recorded_is_skipped_unless_asked_for_again(tiny, tmp_path, fits, capsys):
    first = run_seeds(replace(tiny, epochs=1), [0], tmp_path, verbose=2)
    both = run_seeds(replace(tiny, epochs=1), [1, 0], tmp_path, verbose=2)
    assert [record.seed for record in both] == [1, 0]
    assert both[1] == first[0]
    assert fits == [0, 1]
    assert "tests/tiny, seed 0 is recorded already" in capsys.readouterr().out
    run_seeds(replace(tiny, epochs=1), [0], tmp_path, verbose=0, again=True)
    assert fits == [0, 1, 0]


def test_a_failed_run_is_reported_and_does_not_keep_the_next_from_running(tiny, tmp_path, monkeypatch, capsys):
    fail_for(monkeypatch, 1)
    bad = replace(tiny, name="tests/bad", batch_size=41)
    outcomes = list(sweep([replace(tiny, epochs=1), bad], (0, 1, 2), tmp_path, verbose=2))
    assert [done.record is not None for done in outcomes] == [True, False, True, False, False, False]
    printed = capsys.readouterr().out
    assert "[2/6] tests/tiny, seed 1 failed: MemoryError: out of memory" in printed
    assert "left)" in printed
    first, second = failures(outcomes)
    assert first == "tests/tiny seed 1: MemoryError: out of memory"
    assert second.startswith("tests/bad seed 0, tests/bad seed 1, tests/bad seed 2: batch_size must be at most 40")


def test_the_first_error_of_seeds_is_raised_after_the_others_are_done(tiny, tmp_path, monkeypatch, fits):
    fail_for(monkeypatch, 0)
    with pytest.raises(MemoryError):
        run_seeds(replace(tiny, epochs=1), [0, 1], tmp_path, verbose=0)
    assert fits == [1]


def test_data_that_cannot_be_opened_are_tried_once(tiny, tmp_path, monkeypatch):
    calls = []

    def refuse(*arguments):
        calls.append(arguments)
        raise InputError("no such data")

    monkeypatch.setattr(jobs, "load_dataset", refuse)
    outcomes = list(sweep([tiny, replace(tiny, name="tests/other")], (0, 1), tmp_path, verbose=0))
    assert [str(done.error) for done in outcomes] == ["no such data"] * 4
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (44, "44 s"), (90, "2 min"), (3600, "1 h 0 min"), (9000, "2 h 30 min")]
)
def test_the_time_left_is_in_a_unit_that_fits(seconds, text):
    assert duration(seconds) == text


def test_one_failure_is_its_message_alone(tiny):
    assert failures([Outcome(experiment=tiny, seed=0, error=InputError("bad"))]) == ["bad"]


def test_seeds_trained_together_are_the_seeds_trained_alone(tiny, tmp_path, backend):
    if backend != "jax":
        pytest.skip("vmap is JAX's")
    # They stop after different numbers of epochs.
    experiment = replace(tiny, dataset="digits", subset=200, model="mlp", epochs=6, learning_rate=0.03, patience=1)
    seeds = [0, 1, 5]
    together = run_seeds(experiment, seeds, tmp_path / "together", verbose=0, together=True)
    alone = run_seeds(experiment, seeds, tmp_path / "alone", verbose=0, together=False)
    assert [record.seeds_at_once for record in together] == [3, 3, 3]
    assert [record.seeds_at_once for record in alone] == [1, 1, 1]
    for ours, theirs in zip(together, alone, strict=True):
        assert (ours.seed, ours.epochs_run, ours.best_epoch) == (theirs.seed, theirs.epochs_run, theirs.best_epoch)
        for name in ("loss", "val_loss", "learning_rate"):
            np.testing.assert_allclose(ours.history[name], theirs.history[name], rtol=1e-4)
        assert ours.test.accuracy == pytest.approx(theirs.test.accuracy, abs=0.01)
    assert len({record.epochs_run for record in alone}) > 1


def test_seeds_that_cannot_be_built_fail_one_by_one_and_the_next_experiment_runs(tiny, tmp_path, backend):
    if backend != "jax":
        pytest.skip("only JAX builds several at once")
    bad, good = replace(tiny, name="tests/bad", model="resnet50"), replace(tiny, model="mlp", epochs=1)
    outcomes = list(sweep([bad, good], (0, 1), tmp_path, verbose=0, on_device=True))
    assert [done.record is not None for done in outcomes] == [False, False, True, True]
    assert "at least 32x32 pixels" in str(outcomes[0].error)


def test_what_cannot_train_together_is_refused(tiny, tmp_path):
    with pytest.raises(InputError, match="together needs JAX"):
        run_seeds(replace(tiny, class_fractions=(0.5,) * 10), [0, 1], tmp_path, together=True)
    with pytest.raises(InputError, match=r"together must be None or False .* with callbacks"):
        run_seeds(tiny, [0, 1], tmp_path, together=True, callbacks=[keras.callbacks.Callback()])


def test_a_callback_follows_one_seed_at_a_time(tiny, tmp_path, monkeypatch):
    many = []
    monkeypatch.setattr(sweeps, "_prepared_together", lambda jobs, *_: many.append(jobs) if len(jobs) > 1 else None)
    stop = keras.callbacks.EarlyStopping(patience=1, min_delta=10)
    records = run_seeds(replace(tiny, epochs=4), [0, 1], tmp_path, verbose=0, callbacks=(one for one in [stop]))
    assert [(record.epochs_run, record.callbacks) for record in records] == [(2, ("EarlyStopping",))] * 2
    assert not many


@pytest.mark.parametrize("deterministic", [False, True])
def test_no_clock_decides_how_seeds_train_where_results_are_to_repeat(
    tmp_path, monkeypatch, backend, tiny, deterministic
):
    if backend != "jax":
        pytest.skip("only JAX trains several seeds at once")
    from kmodels.training import together

    asked = []
    monkeypatch.setattr(sweeps, "deterministic", lambda: deterministic)
    monkeypatch.setattr(together, "small_enough", lambda training: True)
    monkeypatch.setattr(together, "worth_it", lambda trainings: asked.append(len(trainings)))
    run_seeds(replace(tiny, epochs=1), [0, 1], tmp_path, verbose=0, on_device=True)
    assert asked == ([] if deterministic else [2])
