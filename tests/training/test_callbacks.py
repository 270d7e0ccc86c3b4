"""What happens between epochs."""

from types import SimpleNamespace

import numpy as np
import pytest

from kmodels.training import callbacks
from kmodels.training.callbacks import Clock, KeepWeights, StopOnNaN


@pytest.mark.parametrize("logs", [{"loss": float("nan"), "val_loss": 1.0}, {"loss": 1.0, "val_loss": float("inf")}])
def test_a_loss_that_is_no_number_stops_training(logs, capsys):
    callback = StopOnNaN()
    callback.set_model(SimpleNamespace(stop_training=False))
    callback.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0})
    assert not callback.diverged
    callback.on_epoch_end(1, logs)
    assert callback.diverged
    assert callback.model.stop_training
    assert "epoch 2:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("backend_tells", "times"),
    [(False, [0, 5, 7, 10, 20, 23, 30]), (True, [0, 7, 10, 20, 23, 30])],
    ids=["first step", "compile time"],
)
def test_the_clock_keeps_compilation_training_and_validation_apart(monkeypatch, backend_tells, times):
    times, compiled = iter(times), iter([2.0, 2.0, 7.0, 7.0, 7.0])
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(callbacks, "compile_seconds", lambda: next(compiled) if backend_tells else None)
    clock = Clock()
    clock.set_model(SimpleNamespace(optimizer=SimpleNamespace(iterations=np.array(1), learning_rate=np.array(0.5))))
    clock.on_epoch_begin(0)  # 0
    clock.on_train_batch_end(0)  # 5: the first step took 5 s
    clock.on_test_begin()  # 7: and the rest of the epoch 2 s
    logs = {}
    clock.on_epoch_end(0, logs)  # 10: validation took 3 s
    assert logs == {"learning_rate": 0.5, "seconds": 10.0}
    clock.on_epoch_begin(1)  # 20
    clock.on_train_batch_end(0)
    clock.on_test_begin()  # 23
    clock.on_epoch_end(1, logs)  # 30
    assert clock.compile_seconds == 5
    assert clock.train_seconds == 2 + 3


@pytest.mark.parametrize(
    ("keep", "monitor", "values", "kept"),
    [
        ("best", "val_loss", [3.0, 1.0, 2.0], 2),
        ("best", "val_accuracy", [0.1, 0.3, 0.2], 2),
        ("last", "val_loss", [3.0, 1.0, 2.0], 3),
        ("best", "val_loss", [float("nan")], None),
    ],
)
def test_the_kept_epoch_is_the_best_by_what_is_monitored_or_the_last(keep, monitor, values, kept):
    callback = KeepWeights(keep, monitor, patience=None, epochs=9)
    callback.set_model(SimpleNamespace(get_weights=lambda: [], stop_training=False))
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {monitor: value})
    assert callback.kept_epoch(len(values)) == kept
    assert callback.kept_epoch(0) is None
