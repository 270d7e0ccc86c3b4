"""Exact resume: a run that was killed and goes on ends as if it had never stopped, bit for bit on a CPU.

What is saved, between two epochs, is all that the rest of the run depends on: weights, batch-norm statistics, the seed
generators of dropout and augmentation, the optimizer with its learning rate and step count, the best weights so far,
the counters of EarlyStopping and ReduceLROnPlateau, the History, the number of finished epochs, and whether training
had already decided to stop. The order of the examples needs no saving: it is a function of seed and epoch. (Keras'
BackupAndRestore keeps weights, optimizer and epoch; a run resumed from it reduces the rate and stops at other epochs.)

How it is written. One .npz beside the record-to-be, under a fixed other name, flushed to the disk, then renamed; the
one before stays as `.previous`. A kill at any moment leaves a whole file under one of the two names. NumPy's format is
a zip with a checksum for each array: `load` reads all of it, and where a file is damaged it says so and takes the
previous one. A full disk costs the checkpoint, not the run.

What it costs. Only the copy to host memory happens while training waits; a thread writes. It is `async_safe`: with a
callback that is not, Keras would wait for the device after every step. Saves are skipped so that the copying takes at
most one part in COPY_EVERY of the time and the writing one in WRITE_EVERY; what a kill then loses is recomputed.
"""

import json
import os
import threading
import time
from pathlib import Path

import keras
import numpy as np

from kmodels.errors import InputError
from kmodels.training import hosts
from kmodels.training.environment import versions

# What the callbacks count, by class name; all of it is set anew by their on_train_begin.
COUNTERS = {
    "EarlyStopping": ("wait", "best", "best_epoch", "stopped_epoch"),
    "ReduceLROnPlateau": ("wait", "best", "cooldown_counter"),
    "StopOnNaN": ("diverged",),
    "Clock": ("compile_seconds", "train_seconds"),
    "History": ("epoch", "history"),
}
COPY_EVERY, WRITE_EVERY = 200, 10
# Raise it when what a checkpoint holds, or in what order, changes.
FORMAT = 1


class Checkpoint(keras.callbacks.Callback):
    """Saves the state of training after epochs, and gives it back to a trainer.

    Args:
        path: the .npz file.
        callbacks: those of the run, EarlyStopping among them; this one must be last in `fit`'s list.
        saved: what `load` returned, to go on from; None to start at the beginning.
    """

    # Does nothing between batches.
    async_safe = True

    def __init__(self, path, callbacks, saved=None):
        super().__init__()
        self.path = Path(path)
        self.epochs_done = saved["meta"]["epochs_done"] if saved else 0
        self.stopped = saved["meta"]["stopped"] if saved else False
        self._watched = [callback for callback in callbacks if type(callback).__name__ in COUNTERS]
        self._saved, self._thread, self._failed = saved, None, False
        self._copied_at = self._copy_seconds = self._write_seconds = 0.0

    def restore(self, trainer):
        """Gives the saved state to a trainer whose variables exist; callbacks get theirs when training begins.

        Raises:
            InputError: if it is the state of another network, or was saved by another version of this file.
        """
        if not self._saved:
            return
        meta, values = self._saved["meta"], self._saved["variables"]
        variables = _variables(trainer)
        if meta["format"] != FORMAT or [v.shape for v in values] != [tuple(v.shape) for v in variables]:
            raise InputError(
                f"{self.path} is a checkpoint of another network or another version of kmodels; "
                "to begin anew, run without resume"
            )
        if meta["versions"] != versions():
            print(f"the checkpoint was made by {meta['versions']}; from here on rounding may differ")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def on_train_begin(self, logs=None):
        if not self._saved:
            return
        for callback in self._watched:
            for name, value in self._saved["meta"]["counters"][type(callback).__name__].items():
                setattr(callback, name, value)
            if isinstance(callback, keras.callbacks.EarlyStopping):
                callback.best_weights = self._saved["best"]
        self._saved = None

    def on_epoch_end(self, epoch, logs=None):
        if hosts.is_first() and self._due():
            start = time.perf_counter()
            state = self._state(epoch)
            self._copied_at = time.perf_counter()
            self._copy_seconds = self._copied_at - start
            self._thread = threading.Thread(target=self._write, args=(state,), name="checkpoint")
            self._thread.start()

    def close(self):
        """Waits until what was copied is written."""
        if self._thread:
            self._thread.join()

    def remove(self):
        """Deletes the files of a run that is completed."""
        self.close()
        if not hosts.is_first():
            return
        for path in (self.path, *_others(self.path)):
            path.unlink(missing_ok=True)

    def _due(self):
        if self._thread and self._thread.is_alive():
            return False
        passed = time.perf_counter() - self._copied_at
        return passed >= max(COPY_EVERY * self._copy_seconds, WRITE_EVERY * self._write_seconds)

    def _state(self, epoch):
        stopping = next(callback for callback in self._watched if isinstance(callback, keras.callbacks.EarlyStopping))
        counters = {
            type(callback).__name__: {name: getattr(callback, name) for name in COUNTERS[type(callback).__name__]}
            for callback in self._watched
        }
        meta = {
            "format": FORMAT,
            "versions": versions(),
            "epochs_done": epoch + 1,
            "stopped": bool(self.model.stop_training),
            "counters": counters,
        }
        arrays = {"meta": np.array(json.dumps(meta, default=float))}
        for i, variable in enumerate(_variables(self.model)):
            # A copy: on a CPU the array may be the variable's own memory, which the next step writes over.
            arrays[f"variable{i}"] = np.array(keras.ops.convert_to_numpy(variable))
        for i, weight in enumerate(stopping.best_weights or ()):
            arrays[f"best{i}"] = weight
        return arrays

    def _write(self, arrays):
        start = time.perf_counter()
        new, previous = _others(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            if self.path.exists():
                os.replace(self.path, previous)
            os.replace(new, self.path)
            self._failed = False
        except OSError as error:
            new.unlink(missing_ok=True)
            if not self._failed:
                print(
                    f"\ncannot write the checkpoint {self.path}: {error.strerror or error}; training goes on, and "
                    "could be resumed from an earlier epoch only"
                )
            self._failed = True
        self._write_seconds = time.perf_counter() - start


def load(path):
    """Reads a checkpoint, or the one before it where it is damaged or missing; None where there is none.

    Returns:
        A dict: variables and best (lists of arrays, best None where there was none yet), meta.
    """
    path = Path(path)
    for candidate in (path, _others(path)[1]):
        if not candidate.exists():
            continue
        try:
            with candidate.open("rb") as file, np.load(file) as arrays:
                meta = json.loads(str(arrays["meta"]))
                best = _numbered(arrays, "best")
                return {"meta": meta, "variables": _numbered(arrays, "variable"), "best": best or None}
        except Exception:
            # Whatever is wrong with bytes that a crash or a disk left: zip, zlib, NumPy and JSON have their own errors.
            print(f"the checkpoint {candidate} is damaged, not a whole file; the one before it is taken, or none")
    return None


def _numbered(arrays, name):
    numbers = sorted(int(key.removeprefix(name)) for key in arrays.files if key.startswith(name))
    return [arrays[f"{name}{number}"] for number in numbers]


def _others(path):
    """The names of the file that is being written and of the one before."""
    return path.with_suffix(".new"), path.with_suffix(".previous")


def _variables(trainer):
    return [*trainer.variables, *trainer.optimizer.variables]
