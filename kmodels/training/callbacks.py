"""What happens between epochs."""

import math
import signal
import threading
import time

import keras

from kmodels.records import finite
from kmodels.training.checkpoint import Checkpoint
from kmodels.training.compilation import compile_seconds


class Watch:
    """The callbacks that every run has, and what they saw.

    Args:
        experiment: an Experiment; says when training stops and when its learning rate falls.
        path: of the checkpoint.
        saved: the checkpoint to go on from; None to start at the beginning.

    Attributes:
        callbacks: for `fit`, in this order.
        checkpoint: the last of them.
        interrupts: the first; a context to train in.
    """

    def __init__(self, experiment, path, saved=None):
        self._clock, self._nan, self._history = Clock(), StopOnNaN(), keras.callbacks.History()
        # Keeps the best weights also where it never stops the run.
        patience = experiment.patience or experiment.epochs
        self._best = keras.callbacks.EarlyStopping(monitor="val_loss", patience=patience, restore_best_weights=True)
        self.interrupts = Interrupts()
        self.callbacks = [self.interrupts, self._clock, self._best, self._nan, self._history]
        if experiment.plateau_patience is not None:
            self.callbacks.append(
                keras.callbacks.ReduceLROnPlateau(
                    monitor="val_loss",
                    factor=experiment.plateau_factor,
                    patience=experiment.plateau_patience,
                    min_delta=0,
                )
            )
        self.checkpoint = Checkpoint(path, self.callbacks, saved)
        self.callbacks.append(self.checkpoint)

    @property
    def epochs(self):
        """How many were finished."""
        return len(self._history.history.get("loss", ()))

    @property
    def diverged(self):
        """Whether the loss stopped being a number."""
        return self._nan.diverged

    def seen(self, train_images, batch_size):
        """The fields of a Record that tell how training went."""
        seconds = self._clock.train_seconds
        images = train_images * self.epochs - (batch_size if self._clock.leaves_first_step_out else 0)
        return {
            "history": {name: tuple(map(finite, values)) for name, values in self._history.history.items()},
            "best_epoch": self._best.best_epoch + 1 if self.epochs and math.isfinite(self._best.best) else None,
            "compile_seconds": self._clock.compile_seconds,
            "train_seconds": seconds,
            "images_per_second": images / seconds if images > 0 and seconds > 0 else None,
        }


class Interrupts(keras.callbacks.Callback):
    """As a context around training, makes sure that Ctrl-C ends it.

    Python drops an exception that is raised while it collects garbage, and JAX has it call back there: one interrupt in
    four was lost so in short runs. What came is remembered here, and raised again when the next epoch begins.
    """

    _came, _before = False, None

    def __enter__(self):
        self._came, self._before = False, None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
        # Another program's handler, or none (a worker in the background), stays as it is.
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *raised):
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._before)
        if self._came and raised[0] is None:
            raise KeyboardInterrupt

    def _note(self, *arguments):
        self._came = True
        self._before(*arguments)

    def on_epoch_begin(self, epoch, logs=None):
        if self._came:
            raise KeyboardInterrupt


class StopOnNaN(keras.callbacks.Callback):
    """Ends training after an epoch whose loss or val_loss is not a finite number.

    Attributes:
        diverged: whether it did.
    """

    diverged = False

    def on_epoch_end(self, epoch, logs=None):
        bad = [name for name in ("loss", "val_loss") if not math.isfinite(logs.get(name, 0.0))]
        if bad:
            self.diverged = True
            self.model.stop_training = True
            print(f"epoch {epoch + 1}: {' and '.join(bad)} is not a number; training ends here")


class Clock(keras.callbacks.Callback):
    """Tells compilation, training and the rest apart, and writes learning_rate and seconds into the logs.

    Attributes:
        compile_seconds: tracing and compiling the training step on JAX; elsewhere the whole first step.
        train_seconds: all training steps without that, validation excluded.
        leaves_first_step_out: whether train_seconds is without the first step, for want of anything finer.
    """

    # Only reads the time in batch hooks, so that steps on JAX need not wait for it.
    async_safe = True

    def __init__(self):
        super().__init__()
        self.compile_seconds = None
        self.train_seconds = 0.0
        self.leaves_first_step_out = compile_seconds() is None
        self._training = False

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_start = self._lap = time.perf_counter()
        self._compiled_before = compile_seconds()
        self._training = True

    def on_train_batch_end(self, batch, logs=None):
        if self.leaves_first_step_out and self.compile_seconds is None:
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
        # Reading a variable waits for the steps that are still under way on the device.
        keras.ops.convert_to_numpy(self.model.optimizer.iterations)
        self.train_seconds += time.perf_counter() - self._lap
        if not self.leaves_first_step_out:
            compiled = compile_seconds() - self._compiled_before
            self.train_seconds -= compiled
            self.compile_seconds = (self.compile_seconds or 0.0) + compiled
        self._training = False
