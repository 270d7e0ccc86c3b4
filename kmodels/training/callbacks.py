"""The callbacks of every training: when it stops, which weights are kept, what it took."""

import math
import time

import keras

from kmodels.interrupts import Interrupts
from kmodels.training.compilation import compile_seconds


def best_mode(monitor):
    """Whether the best value of "val_loss" or "val_accuracy" is the "min" or the "max"."""
    return "max" if monitor == "val_accuracy" else "min"


class KeepWeights(keras.callbacks.EarlyStopping):
    """Ends training when the monitored value has stopped improving, and keeps the best or the last weights.

    Args:
        keep: "best" (restored when training ends) or "last".
        monitor: "val_loss" or "val_accuracy".
        patience: epochs without improvement after which training ends; None: never.
        epochs: the largest number of epochs.
    """

    def __init__(self, keep, monitor, patience, epochs):
        super().__init__(
            monitor=monitor,
            mode=best_mode(monitor),
            patience=epochs if patience is None else patience,
            restore_best_weights=keep == "best",
        )

    def kept_epoch(self, epochs_run):
        """The epoch whose weights are kept, from 1, after so many epochs; None where none had a finite value."""
        if not self.restore_best_weights:
            return epochs_run or None
        return self.best_epoch + 1 if epochs_run and math.isfinite(self.best) else None


class EndAtInterrupt(keras.callbacks.Callback):
    """Raises an interrupt that was dropped, at the beginning of an epoch."""

    # Does nothing between batches.
    async_safe = True

    def on_epoch_begin(self, epoch, logs=None):
        Interrupts.check()


class StopOnNaN(keras.callbacks.Callback):
    """Ends training after an epoch whose loss or val_loss is not a finite number.

    Attributes:
        diverged: whether it did.
    """

    async_safe = True
    diverged = False

    def on_epoch_end(self, epoch, logs=None):
        bad = [name for name in ("loss", "val_loss") if not math.isfinite(logs.get(name, 0.0))]
        if bad:
            self.diverged = True
            self.model.stop_training = True
            what = f"{' and '.join(bad)} {'are' if bad[1:] else 'is'} not finite"
            print(f"epoch {epoch + 1}: {what}; training ends here; a lower learning rate may help")


class EpochLines(keras.callbacks.Callback):
    """A line for each epoch in a notebook, which shows the step until the epoch has ended.

    Args:
        file: to write to; a carriage return overwrites the last line.
    """

    # Does nothing after batches.
    async_safe = True

    def __init__(self, file):
        super().__init__()
        self._file = file

    def on_epoch_begin(self, epoch, logs=None):
        self._name = f"epoch {epoch + 1}/{self.params['epochs']}"

    def on_train_batch_begin(self, batch, logs=None):
        self._file.write(f"\r{self._name}: step {batch + 1}/{self.params['steps']}")

    def on_test_begin(self, logs=None):
        self._file.write(f"\r{self._name}: validation")

    def on_epoch_end(self, epoch, logs=None):
        measured = {name: value for name, value in logs.items() if name not in ("learning_rate", "seconds")}
        texts = [f"{name} {measured[name]:.4f}" for name in sorted(measured, key=_rank)]
        texts += [f"learning_rate {logs['learning_rate']:.2g}", f"{logs['seconds']:.1f} s"]
        self._file.write(f"\r{self._name}: {', '.join(texts)}\n")


def _rank(name):
    """Training before validation, and the loss before what else is measured."""
    return name.startswith("val_"), name.removeprefix("val_") != "loss"


class Clock(keras.callbacks.Callback):
    """Measures compilation and training apart, and writes learning_rate and seconds into the logs.

    Attributes:
        compile_seconds: tracing and compiling the training step on JAX; elsewhere the whole first step.
        train_seconds: all training steps without that, validation excluded.
        excludes_first_step: whether train_seconds is without the first step, where compilation cannot be measured.
    """

    # Only reads the time in batch hooks, so that steps on JAX need not wait for it.
    async_safe = True

    def __init__(self):
        super().__init__()
        self.compile_seconds = None
        self.train_seconds = 0.0
        self.excludes_first_step = compile_seconds() is None
        self._training = False

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_start = self._lap = time.perf_counter()
        self._compiled_before = compile_seconds()
        self._training = True

    def on_train_batch_end(self, batch, logs=None):
        if self.excludes_first_step and self.compile_seconds is None:
            now = time.perf_counter()
            self.compile_seconds, self._lap = now - self._lap, now

    def on_test_begin(self, logs=None):
        self._end_training()

    def on_epoch_end(self, epoch, logs=None):
        self._end_training()
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        logs["seconds"] = time.perf_counter() - self._epoch_start

    def _end_training(self):
        if not self._training:
            return
        # Reading a variable waits for the steps that are still running on the device.
        keras.ops.convert_to_numpy(self.model.optimizer.iterations)
        self.train_seconds += time.perf_counter() - self._lap
        if not self.excludes_first_step:
            compiled = compile_seconds() - self._compiled_before
            self.train_seconds -= compiled
            self.compile_seconds = (self.compile_seconds or 0.0) + compiled
        self._training = False
