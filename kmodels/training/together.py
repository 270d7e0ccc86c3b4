"""Several seeds at once: a network too small to fill the device trains with several seeds in one program (JAX).

Each seed keeps a trainer, callbacks and a history of its own. For an epoch, the states of all trainers are stacked, and
`jax.vmap` of the step of one trains them all: its own weights, order, augmentation, dropout and learning rate for each,
the same images in the device's memory for all. Between epochs every trainer has its state back, so that early stopping,
plateaus, best weights and checkpoints work on it as they do alone. Results differ from those of one seed after the
other by rounding.

A seed that has stopped is still computed, since another number of seeds would have to be compiled, and its results are
not used.
"""

import time
from functools import partial
from operator import itemgetter

import jax
import keras

from kmodels.interrupts import Interrupts

# A larger network fills any device by itself.
MOST_PARAMETERS = 5_000_000
# At most this many seconds for each second that the seeds would take one after the other.
WORTH = 0.8


def train_together(trainings):
    """Fits prepared Trainings of one experiment, whose images are on the device, in one program.

    Args:
        trainings: with different seeds, each at its first epoch.
    """
    seeds = _Seeds(trainings)
    epochs, verbose = trainings[0].settings.epochs, trainings[0].settings.verbose
    lists = [keras.callbacks.CallbackList(one.callbacks, model=one.trainer, epochs=epochs) for one in trainings]
    for training, callbacks in zip(trainings, lists, strict=True):
        training.trainer.stop_training = False
        callbacks.on_train_begin()
    with Interrupts():
        for epoch in range(epochs):
            active = [i for i, training in enumerate(trainings) if not training.trainer.stop_training]
            if not active:
                break
            logs = _epoch(epoch, active, seeds, lists)
            if verbose != 0:
                losses = " ".join(f"{logs[i]['val_loss']:.4f}" for i in active)
                names = " ".join(str(trainings[i].settings.seed) for i in active)
                print(f"epoch {epoch + 1}/{epochs}: val_loss of seeds {names}: {losses}", flush=True)
    for callbacks in lists:
        callbacks.on_train_end()


def _epoch(epoch, active, seeds, lists):
    """One epoch of all; only the active ones change. Returns their logs, in the order of all."""
    for i in active:
        lists[i].on_epoch_begin(epoch)
    logs = seeds.train(epoch, active)
    for i in active:
        lists[i].on_test_begin()
    for i, validated in enumerate(seeds.validate()):
        logs[i] |= {f"val_{name}": value for name, value in validated.items()}
    for i in active:
        lists[i].on_epoch_end(epoch, logs[i])
    return logs


def small_enough(training):
    """Whether to ask `worth_it`: not on a CPU, which one seed keeps busy and whose convolutions get slower."""
    return jax.devices()[0].platform != "cpu" and training.network.count_params() <= MOST_PARAMETERS


def worth_it(trainings):
    """Whether these seeds train faster together, as measured: a chunk of steps of one against the same of all."""
    return _Seeds(trainings).seconds() < WORTH * len(trainings) * _Seeds(trainings[:1]).seconds()


class _Seeds:
    """The trainers of several seeds as one stacked state, and the programs that change it."""

    def __init__(self, trainings):
        self._trainers = [training.trainer for training in trainings]
        lead = trainings[0].trainer
        self._batches = [training.train_batches() for training in trainings]
        for other in self._batches[1:]:
            # They are equal: one copy in the device's memory is enough.
            other.images, other.labels = self._batches[0].images, self._batches[0].labels
        self._val = trainings[0].batches(trainings[0].dataset.val)

        def train(state, images, labels, indices):
            return jax.vmap(lambda s, i: lead.train_step(s, ({"images": images, **i}, labels)))(state, indices)

        def test(state, data):
            return jax.vmap(lambda s: lead.test_step(s, data))(state)

        self._train, self._test = jax.jit(train, donate_argnums=0), jax.jit(test)

    def train(self, epoch, active):
        """One epoch of all; only the active trainers change. Returns their logs, in the order of all runs."""
        for trainer, batches in zip(self._trainers, self._batches, strict=True):
            trainer.reset_metrics()
            batches.start_epoch(epoch)
        state = self._stacked("trainable_variables", "non_trainable_variables", "optimizer", "metrics_variables")
        for index in range(len(self._batches[0])):
            logs, state = self._train(state, *self._chunk(index))
        states = _separate(state, len(self._trainers))
        for i in active:
            _assign(_variables(self._trainers[i]), states[i])
        return self._unstacked(logs)

    def validate(self):
        """The logs of every trainer on the validation split."""
        for trainer in self._trainers:
            trainer.reset_metrics()
        state = self._stacked("trainable_variables", "non_trainable_variables", "metrics_variables")
        for index in range(len(self._val)):
            logs, state = self._test(state, self._val[index])
        return self._unstacked(logs)

    def seconds(self):
        """How long a chunk of training steps takes, compiled; no trainer changes."""
        names = ("trainable_variables", "non_trainable_variables", "optimizer", "metrics_variables")
        jax.block_until_ready(self._train(self._stacked(*names), *self._chunk(0)))
        state = jax.block_until_ready(self._stacked(*names))
        start = time.perf_counter()
        jax.block_until_ready(self._train(state, *self._chunk(0)))
        return time.perf_counter() - start

    def _chunk(self, index):
        """Images and labels, which all share, and the indices of every seed's steps, stacked."""
        chunks = [batches[index] for batches in self._batches]
        images, labels = chunks[0][0]["images"], chunks[0][1]
        indices = [{name: value for name, value in chunk.items() if name != "images"} for chunk, _ in chunks]
        return images, labels, jax.tree.map(lambda *values: jax.numpy.stack(values), *indices)

    def _stacked(self, *names):
        states = [tuple([v.value for v in _named(trainer, name)] for name in names) for trainer in self._trainers]
        return _stack(states)

    def _unstacked(self, logs):
        logs = jax.device_get(logs)
        return [{name: float(values[i]) for name, values in logs.items()} for i in range(len(self._trainers))]


# Compiled, since one operation for each variable of each seed can take longer than the epoch.


@jax.jit
def _stack(states):
    return jax.tree.map(lambda *values: jax.numpy.stack(values), *states)


@partial(jax.jit, static_argnums=1)
def _separate(state, number):
    return [jax.tree.map(itemgetter(index), state) for index in range(number)]


def _named(trainer, name):
    return trainer.optimizer.variables if name == "optimizer" else getattr(trainer, name)


def _variables(trainer):
    names = ("trainable_variables", "non_trainable_variables", "optimizer", "metrics_variables")
    return tuple(_named(trainer, name) for name in names)


def _assign(variables, values):
    for group, new in zip(variables, values, strict=True):
        for variable, value in zip(group, new, strict=True):
            variable.assign(value)
