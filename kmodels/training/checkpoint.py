"""Exact resume: a training that was killed and resumed ends as if it had never stopped, bit for bit on a CPU.

What is saved, between two epochs, is all that the rest of the training depends on: weights, batch-norm statistics, the
seed generators of dropout and augmentation, the optimizer with its learning rate and step count, the best weights so
far, the state of the callbacks, the history, the number of finished epochs, whether training had already decided to
stop, and on PyTorch the generators of Python, NumPy and PyTorch. The order of the examples need not be saved: it is a
function of seed and epoch. (Keras' BackupAndRestore keeps weights, optimizer and epoch; a training resumed from it
reduces the rate and stops at other epochs.) A training that had ended continues where the present settings would not
have ended it: with more patience, or without the callback that did.

A callback takes part with `get_state()`, which returns numbers, text, arrays, and lists and dicts of these (with text
as keys), and `set_state(state)`, which is called when training begins again. EarlyStopping, ReduceLROnPlateau and
History of Keras are known without, their subclasses are not. Any other callback starts afresh, and a line says so.

How it is written. One .npz file under the name with `.new` added, flushed to the disk, then renamed; the previous one
stays, with `.previous` added. A kill at any moment leaves a whole file under one of the two names. NumPy's format is a
zip with a checksum for each array: `load` reads all of it, and falls back to the previous file where it is corrupt. A
full disk costs the checkpoint, not the training.

What it costs. Only the copy to host memory happens while training waits; a thread writes. It is `async_safe`: with a
callback that is not, Keras would wait for the device after every step. Saves are skipped so that copying takes at most
one part in COPY_EVERY of the time and writing one in WRITE_EVERY; what a kill then loses is computed again. The state
of the last epoch is always saved, so that training can resume with more epochs.
"""

import hashlib
import json
import os
import random
import threading
import time
from pathlib import Path

import keras
import numpy as np

from kmodels.errors import InputError, require, shorten
from kmodels.interrupts import Interrupts
from kmodels.training.callback_state import ended_by, restore_states, state_of, why_ended
from kmodels.training.environment import versions

COPY_EVERY, WRITE_EVERY = 200, 10
# Raise it when what a checkpoint holds, or in what order, changes.
FORMAT = 5


class Checkpoint(keras.callbacks.Callback):
    """Saves the state of training after epochs, and restores it.

    Args:
        path: the .npz file.
        callbacks: of the training, in order; this one must come after them in the list of `fit`.
        settings: {name: JSON value} of what must be equal for a checkpoint to be of the same training.
        saved: what `load` returned, to resume from; None to start at the beginning.

    Attributes:
        epochs_done: how many epochs the state has that `restore` restores.
        epochs_saved: how many epochs the newest file has.
        ended: why nothing is left to train, where training had ended then and would with the present callbacks.
    """

    # Does nothing between batches.
    async_safe = True

    def __init__(self, path, callbacks, settings, saved=None):
        super().__init__()
        self.path, self.callbacks, self.settings = Path(path), callbacks, settings
        self.epochs_done = self.epochs_saved = saved["meta"]["epochs_done"] if saved else 0
        self.ended = why_ended(saved["meta"].get("ended"), callbacks) if saved else None
        self._saved, self._thread, self._failed = saved, None, False
        self._copied_at = self._copy_seconds = self._write_seconds = 0.0

    def restore(self, trainer):
        """Restores the saved variables of a trainer; callbacks are restored when training begins.

        Raises:
            InputError: if it is the state of another network or of other settings, or of another version of this file.
        """
        if not self._saved:
            return
        meta, values = self._saved["meta"], self._saved["variables"]
        variables = _variables(trainer)
        other_network = InputError(
            f"{self.path} is a checkpoint of another network or another version of kmodels; "
            "to start at the beginning, run without resume"
        )
        if meta["format"] != FORMAT:
            raise other_network
        other = [
            f"{name}={meta['settings'].get(name)!r}, not {value!r}"
            for name, value in self.settings.items()
            # What an older version did not write may be equal.
            if meta["settings"].get(name, value) != value
        ]
        if other:
            raise InputError(
                f"{self.path} is a checkpoint of a training with other settings: {shorten(other)}; "
                "to start at the beginning, run without resume"
            )
        # After the settings: another optimizer or schedule has other variables.
        if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
            raise other_network
        if meta["versions"] != versions():
            print(f"the checkpoint was written with {meta['versions']}; from here on rounding may differ")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def on_train_begin(self, logs=None):
        if not self._saved:
            return
        afresh = restore_states(self.callbacks, self._saved["callbacks"])
        if afresh and not self.ended:
            print(
                f"not restored, since they have no get_state and set_state: {', '.join(afresh)}; they start afresh",
                flush=True,
            )
        # Last, since callbacks may draw random numbers as they begin.
        _set_generators(self._saved["generators"])
        self._saved = None

    def on_epoch_end(self, epoch, logs=None):
        # The last epoch always: when training has ended, the best weights take the place of its own.
        last = self.model.stop_training or epoch + 1 == self.params["epochs"]
        if not (last or self._due()):
            return
        self.close()
        start = time.perf_counter()
        state = self._state(epoch + 1)
        self._copied_at = time.perf_counter()
        self._copy_seconds = self._copied_at - start
        # A thread whose start is interrupted cannot be waited for.
        with Interrupts.held():
            self._thread = threading.Thread(target=self._write, args=(epoch + 1, state), name="checkpoint")
            self._thread.start()

    def close(self):
        """Waits until what was copied is written."""
        if self._thread:
            self._thread.join()

    def _due(self):
        if self._thread and self._thread.is_alive():
            return False
        passed = time.perf_counter() - self._copied_at
        return passed >= max(COPY_EVERY * self._copy_seconds, WRITE_EVERY * self._write_seconds)

    def _state(self, epochs_done):
        arrays = {}
        for i, variable in enumerate(_variables(self.model)):
            # A copy: on a CPU the array may be the variable's own memory, which the next step overwrites.
            arrays[f"variable{i}"] = np.array(keras.ops.convert_to_numpy(variable))
        meta = {
            "format": FORMAT,
            "versions": versions(),
            "epochs_done": epochs_done,
            "ended": ended_by(self.callbacks, epochs_done) if self.model.stop_training else None,
            "settings": self.settings,
            "callbacks": [[type(item).__name__, _packed(state_of(item), arrays)] for item in self.callbacks],
            "generators": _packed(_generators(), arrays),
        }
        return {"meta": np.array(json.dumps(meta)), **arrays}

    def _write(self, epochs_done, arrays):
        start = time.perf_counter()
        new, previous = _others(self.path)
        arrays = {**arrays, "digest": np.array(_digest(arrays))}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            if self.path.exists():
                os.replace(self.path, previous)
            os.replace(new, self.path)
            self._failed, self.epochs_saved = False, epochs_done
        except OSError as error:
            new.unlink(missing_ok=True)
            if not self._failed:
                print(
                    f"\ncannot write the checkpoint {self.path}: {error.strerror or error}; training continues, and "
                    f"could be resumed from an earlier epoch only; make space in {self.path.parent}"
                )
            self._failed = True
        self._write_seconds = time.perf_counter() - start


def load(path):
    """Reads a checkpoint, or the previous one where it is corrupt or missing.

    Args:
        path: the file that a Checkpoint writes.

    Returns:
        A dict: meta, variables (a list of arrays), callbacks (a list of (class name, state or None)) and generators
        (their states by name, or None); None where there is no file that can be read.
    """
    path = Path(path)
    for candidate in (path, _others(path)[1]):
        if not candidate.exists():
            continue
        try:
            with candidate.open("rb") as file, np.load(file) as arrays:
                arrays = dict(arrays)
            meta, digest = json.loads(str(arrays["meta"])), str(arrays.pop("digest", None))
            if meta["format"] == FORMAT and digest != _digest(arrays):
                raise ValueError("it was changed since it was written")
            numbers = sorted(int(key.removeprefix("variable")) for key in arrays if key.startswith("variable"))
            return {
                "meta": meta,
                "variables": [arrays[f"variable{number}"] for number in numbers],
                "callbacks": [(kind, _unpacked(state, arrays)) for kind, state in meta.get("callbacks", ())],
                # Earlier versions had none.
                "generators": _unpacked(meta.get("generators"), arrays),
            }
        except Exception:
            # Whatever is wrong with bytes that a crash or a disk left: zip, zlib, NumPy and JSON have their own errors.
            print(f"the checkpoint {candidate} is corrupt; falling back to the previous checkpoint, if there is one")
    return None


def _digest(arrays):
    """SHA-256 of everything in a checkpoint: what is in callbacks is not checked again when it is used."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _generators():
    """The states of the random generators of the process that a training step may use; None where it uses none.

    On PyTorch, a step is Python code, and Dropout without a seed uses PyTorch's generator. On JAX and TensorFlow,
    Python and NumPy are only called while a step is compiled.
    """
    if keras.backend.backend() != "torch":
        return None
    states = {name: module.get_rng_state() for name, module in _torch_generators().items()}
    return {"python": random.getstate(), "numpy": np.random.get_state(), **states}


def _set_generators(states):
    if states is None or keras.backend.backend() != "torch":
        return
    import torch

    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(states["numpy"])
    for name, module in _torch_generators().items():
        if name in states:
            module.set_rng_state(torch.as_tensor(states[name]))


def _torch_generators():
    """{name: module with the generator} of the devices that PyTorch finds."""
    import torch

    modules = {"cuda": torch.cuda, "mps": torch.mps}
    return {"cpu": torch} | {name: module for name, module in modules.items() if module.device_count()}


def _packed(value, arrays):
    """The value as JSON can hold it; arrays are put into `arrays`, and named in their place."""
    if isinstance(value, dict):
        for name in value:
            require(isinstance(name, str), "a dict in the state of a callback must have text as keys", name)
        return {name: _packed(inner, arrays) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(inner, arrays) for inner in value]
    if isinstance(value, str | bool | int | float | None):
        return value
    array = np.array(keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else value)
    if array.dtype == object:
        raise InputError(
            "the state of a callback must be of numbers, text, arrays, lists and dicts. "
            f"Received: {type(value).__name__}"
        )
    if array.ndim == 0:
        return array.item()
    name = f"state{len(arrays)}"
    arrays[name] = array
    return {"array": name}


def _unpacked(value, arrays):
    if isinstance(value, dict):
        if set(value) == {"array"} and value["array"] in arrays:
            return arrays[value["array"]]
        return {name: _unpacked(inner, arrays) for name, inner in value.items()}
    return [_unpacked(inner, arrays) for inner in value] if isinstance(value, list) else value


def is_checkpoint(path):
    """Whether a file is one that a Checkpoint began to write, perhaps damaged since: its first array is `meta`.

    Args:
        path: of a file that exists.
    """
    with Path(path).open("rb") as file:
        head = file.read(38)
    # Zeros are what a power cut may leave of any file. The name of a zip file's first member is at its 30th byte.
    return not head.strip(b"\0") or (head.startswith(b"PK") and head[30:] == b"meta.npy")


def continued_from(saved, finished, how):
    """What a resume does, in words.

    Args:
        saved: the epochs that the checkpoint has.
        finished: the epochs that were trained.
        how: what the user gives to resume.
    """
    if saved >= finished:
        return f"{how} continues from epoch {saved + 1}"
    repeated = f"epoch {finished}" if finished == saved + 1 else f"epochs {saved + 1} to {finished}"
    return f"the last checkpoint is of epoch {saved}, so {how} repeats {repeated}"


def checkpoint_files(path):
    """The paths of all files that a Checkpoint with this path may have written."""
    path = Path(path)
    return path, *_others(path)


def _others(path):
    """The names of the file that is being written and of the previous one."""
    # After the whole name: of "rate_0.1" and "rate_0.01", the part before the last dot is the same.
    return path.with_name(f"{path.name}.new"), path.with_name(f"{path.name}.previous")


def _variables(trainer):
    return [*trainer.variables, *trainer.optimizer.variables]
