"""Several seeds at once: a network too small to fill the device trains with several seeds in one program (JAX).

Each seed keeps a trainer, callbacks and a history of its own. For an epoch, the states of all trainers are stacked, and
`jax.vmap` of the step of one trains them all: its own weights, order, augmentation, dropout and learning rate for each,
the same images in the device's memory for all. Between epochs every trainer has its state back, so that early stopping,
plateaus, best weights and checkpoints work on it as they do alone. Results differ from those of one seed after the
other by rounding.

A seed that has stopped is computed further, as another number of seeds would have to be compiled, and what comes of it
is thrown away.
"""

import time
from functools import partial
from operator import itemgetter

import jax
import keras

# A larger network fills any device by itself.
MOST_PARAMETERS = 5_000_000
# Fewer than this many seconds for each second that the seeds would take one after the other.
WORTH = 0.8


def train_together(runs):
    """Trains built Runs of one experiment, whose images are on the device, instead of `train` of each."""
    crew = _Crew(runs)
    for run in runs:
        run.seeds_at_once = len(runs)
    lists = [
        keras.callbacks.CallbackList(run.watch.callbacks, model=run.trainer, epochs=run.experiment.epochs)
        for run in runs
    ]
    for run, callbacks in zip(runs, lists, strict=True):
        run.trainer.stop_training = False
        callbacks.on_train_begin()
    with runs[0].watch.interrupts:
        _epochs(runs, crew, lists)
    for callbacks in lists:
        callbacks.on_train_end()


def _epochs(runs, crew, lists):
    for epoch in range(runs[0].experiment.epochs):
        active = [i for i, run in enumerate(runs) if not run.trainer.stop_training]
        if not active:
            break
        for i in active:
            lists[i].on_epoch_begin(epoch)
        logs = crew.train(epoch, active)
        for i in active:
            lists[i].on_test_begin()
        for i, validated in enumerate(crew.validate()):
            logs[i] |= {f"val_{name}": value for name, value in validated.items()}
        for i in active:
            lists[i].on_epoch_end(epoch, logs[i])
        if runs[0].options.verbose != 0:
            losses = " ".join(f"{logs[i]['val_loss']:.4f}" for i in active)
            seeds = " ".join(str(runs[i].seed) for i in active)
            print(f"epoch {epoch + 1}/{runs[0].experiment.epochs}: val_loss of seeds {seeds}: {losses}", flush=True)


def small_enough(run):
    """Whether to ask `worth_it`: not on a CPU, which one seed keeps busy and whose convolutions get slower."""
    return jax.devices()[0].platform != "cpu" and run.network.count_params() <= MOST_PARAMETERS


def worth_it(runs):
    """Whether these seeds train faster together, by the clock: a chunk of steps of one against the same of all."""
    return _Crew(runs).seconds() < WORTH * len(runs) * _Crew(runs[:1]).seconds()


class _Crew:
    """The trainers of several seeds as one stacked state, and the programs that change it."""

    def __init__(self, runs):
        self._trainers = [run.trainer for run in runs]
        experiment, lead = runs[0].experiment, runs[0].trainer
        self._feeds = [run.feed("train", experiment.batch_size, run.seed) for run in runs]
        self._val = runs[0].feed("val")

        def train(state, images, labels, places):
            return jax.vmap(lambda s, p: lead.train_step(s, ({"images": images, **p}, labels)))(state, places)

        def test(state, data):
            return jax.vmap(lambda s: lead.test_step(s, data))(state)

        self._train, self._test = jax.jit(train, donate_argnums=0), jax.jit(test)

    def train(self, epoch, active):
        """One epoch of all; only the active trainers change. Returns their logs, in the order of all runs."""
        for trainer, feed in zip(self._trainers, self._feeds, strict=True):
            trainer.reset_metrics()
            feed.start_epoch(epoch)
        state = self._stacked("trainable_variables", "non_trainable_variables", "optimizer", "metrics_variables")
        for index in range(len(self._feeds[0])):
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
        """Images and labels, which all share, and the places of every seed's steps, stacked."""
        chunks = [feed[index] for feed in self._feeds]
        images, labels = chunks[0][0]["images"], chunks[0][1]
        places = [{name: value for name, value in chunk.items() if name != "images"} for chunk, _ in chunks]
        return images, labels, jax.tree.map(lambda *values: jax.numpy.stack(values), *places)

    def _stacked(self, *names):
        states = [tuple([v.value for v in _named(trainer, name)] for name in names) for trainer in self._trainers]
        return _stack(states)

    def _unstacked(self, logs):
        logs = jax.device_get(logs)
        return [{name: float(values[i]) for name, values in logs.items()} for i in range(len(self._trainers))]


# Compiled, since an operation for each variable of each seed can take longer than the epoch.


@jax.jit
def _stack(states):
    return jax.tree.map(lambda *values: jax.numpy.stack(values), *states)


@partial(jax.jit, static_argnums=1)
def _separate(state, number):
    return [jax.tree.map(itemgetter(place), state) for place in range(number)]


def _named(trainer, name):
    return trainer.optimizer.variables if name == "optimizer" else getattr(trainer, name)


def _variables(trainer):
    names = ("trainable_variables", "non_trainable_variables", "optimizer", "metrics_variables")
    return tuple(_named(trainer, name) for name in names)


def _assign(variables, values):
    for group, new in zip(variables, values, strict=True):
        for variable, value in zip(group, new, strict=True):
            variable.assign(value)
