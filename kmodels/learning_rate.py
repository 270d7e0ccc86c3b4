"""`find_learning_rate`: the range test, a short training in which the learning rate rises at every step.

Source: Smith 2015, Cyclical learning rates for training neural networks, section 3.3. The learning rate rises
exponentially over 100 steps, and the test ends when the smoothed loss exceeds four times its best, as in the `lr_find`
of fastai and of PyTorch Lightning. The suggestion is the rate of the steepest descent, as Lightning's is, with three
differences. The loss is smoothed on both sides: a running mean, which both use, lags behind and moves the steepest
descent towards the rates that diverge. The slope is over the logarithm of the rate, in which the steps are even. And it
is that of the logarithm of the loss, or a network that learns much during the test, as with batch norm, would be given
the rate at which its first and largest losses fall.

Measured on digits with eight pairs of network and optimizer (two without batch norm, one with; Adam, SGD with and
without momentum): the best of rates half a decade apart, after three epochs, was at most 0.8 decades from the
suggestion, above it or below. fastai's "valley" was 0.1 to 1.1 decades below the best.
"""

import math
import sys
from dataclasses import dataclass, field

import keras
import numpy as np

from kmodels.errors import require, require_whole
from kmodels.interrupts import Interrupts
from kmodels.training.optimizers import copy_of
from kmodels.training.settings import check_dataset, is_number
from kmodels.training.train import DEFAULTS, Training

# The running mean that ends the test: its last ten steps or so count.
MOMENTUM, STOP_AT = 0.9, 4.0
# Standard deviation of the smoothing, in steps: 0.4 decades where 100 steps go from 1e-7 to 10.
WIDTH = 5
LEAST_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """What `find_learning_rate` returns.

    Attributes:
        rates: the learning rate of each step, in ascending order.
        losses: the training loss of each step's batch, before the step; the last ones may not be finite.
        smoothed: the same, between the loss of the beginning and a tenth of it, and smoothed over neighbouring steps.
        suggestion: the rate at which the smoothed loss falls fastest, relative to itself; None where there is none.
        reason: why nothing can be suggested; None where there is a suggestion.
    """

    rates: tuple[float, ...] = field(repr=False)
    losses: tuple[float, ...] = field(repr=False)
    smoothed: tuple[float, ...] = field(repr=False)
    suggestion: float | None
    reason: str | None


def find_learning_rate(
    network,
    dataset,
    *,
    lowest=1e-7,
    highest=10.0,
    steps=100,
    batch_size=DEFAULTS["batch_size"],
    optimizer=DEFAULTS["optimizer"],
    momentum=DEFAULTS["momentum"],
    weight_decay=DEFAULTS["weight_decay"],
    augmentation=DEFAULTS["augmentation"],
    sampler=DEFAULTS["sampler"],
    label_smoothing=DEFAULTS["label_smoothing"],
    class_weight=DEFAULTS["class_weight"],
    seed=DEFAULTS["seed"],
    verbose=None,
):
    """Suggests a learning rate for `train`: trains a few steps at rising rates, and restores the network.

        found = kmodels.find_learning_rate(network, dataset, batch_size=32, optimizer="sgd", momentum=0.9)
        kmodels.train(network, dataset, batch_size=32, optimizer="sgd", momentum=0.9, learning_rate=found.suggestion)
        kmodels.plots.learning_rate_test(found.rates, found.losses, found.smoothed, found.suggestion)

    The suggestion depends on all other settings, so give those that the training will have. It is a starting point: a
    rate a third or three times as large may train as well.

    Args:
        network: as in `train`. Frozen layers stay frozen; weights and batch-norm statistics are restored at the end.
        dataset: as in `train`; only its train split is used, in as many epochs as the steps need.
        lowest: learning rate of the first step, above 0; so small that it changes next to nothing.
        highest: learning rate of the last step, above `lowest`.
        steps: training steps, at least 20 for a suggestion; they end where the loss exceeds four times its best.
        batch_size: images per step; of a smaller train split all are one batch.
        optimizer: as in `train`; a keras.optimizers.Optimizer is copied, and its learning rate or schedule is replaced.
        momentum, weight_decay, augmentation, sampler, label_smoothing, class_weight, seed: as in `train`.
        verbose: 0 silent, 1 a progress bar; None: a bar on a terminal.

    Returns:
        A RangeTest.

    Raises:
        InputError: for a network, dataset or setting that does not fit; says what is allowed.
    """
    require_whole("steps", steps, 1)
    require_whole("batch_size", batch_size, 1)
    numbers = is_number(lowest) and is_number(highest)
    rule = "lowest must be a number above 0, and highest a number above lowest"
    require(numbers and 0 < lowest < highest < math.inf, rule, (lowest, highest))
    check_dataset(dataset)
    training = Training(
        network,
        dataset,
        batch_size=min(batch_size, len(dataset.train)),
        **_rising_rate(optimizer, lowest, highest, steps),
        momentum=momentum,
        weight_decay=weight_decay,
        augmentation=augmentation,
        sampler=sampler,
        label_smoothing=label_smoothing,
        class_weight=class_weight,
        seed=seed,
        # Many steps in one call would not give their losses apart, nor end early.
        on_device=False,
    )
    noted = _train_and_restore(training, steps, int(sys.stdout.isatty()) if verbose is None else verbose)
    losses = np.array(noted.losses)
    rates = np.geomspace(lowest, highest, steps)[: len(losses)]
    smoothed = _smooth(losses)
    suggestion, reason = _suggest(rates, losses, smoothed, noted.diverged)
    return RangeTest(
        rates=tuple(rates.tolist()),
        losses=tuple(losses.tolist()),
        smoothed=tuple(smoothed.tolist()),
        suggestion=suggestion,
        reason=reason,
    )


def _rising_rate(optimizer, lowest, highest, steps):
    """The settings of a Training whose learning rate rises exponentially with every step."""
    if isinstance(optimizer, keras.optimizers.Optimizer):
        # Of one with a schedule of its own, the rate could not be changed.
        optimizer = copy_of(optimizer, learning_rate=lowest)
    # A schedule, since on JAX a rate that is set between the steps of an epoch has no effect.
    schedule = keras.optimizers.schedules.ExponentialDecay(lowest, max(steps - 1, 1), highest / lowest)
    return {"optimizer": optimizer, "schedule": schedule}


def _train_and_restore(training, steps, verbose):
    """Trains so many steps, and returns their _Losses; the network is then as before."""
    variables, noted = training.network.variables, _Losses()
    before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    try:
        with Interrupts():
            training.trainer.fit(
                _Steps(training.train_batches(), steps),
                callbacks=[noted],
                # The batches decide the order.
                shuffle=False,
                verbose=verbose,
            )
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
    return noted


class _Losses(keras.callbacks.Callback):
    """Notes the loss of each step, and ends training when it diverges.

    Attributes:
        losses: of the steps.
        diverged: whether it ended training.
    """

    def __init__(self):
        super().__init__()
        self.losses, self.diverged = [], False
        self._sum = self._running = 0.0
        self._best = math.inf

    def on_train_batch_end(self, batch, logs=None):
        # What Keras reports is the mean over all steps so far.
        total = logs["loss"] * (batch + 1)
        self.losses.append(float(total - self._sum))
        self._sum = total
        self._running = MOMENTUM * self._running + (1 - MOMENTUM) * self.losses[-1]
        mean = self._running / (1 - MOMENTUM ** len(self.losses))
        self._best = min(self._best, mean)
        # Not the opposite comparison, which is false for NaN.
        if not mean <= STOP_AT * self._best:
            self.diverged = self.model.stop_training = True


class _Steps(keras.utils.PyDataset):
    """So many whole batches, from as many epochs as that takes; all of one size, so that steps count alike."""

    def __init__(self, batches, steps):
        super().__init__()
        self.batches, self.steps, self.epoch = batches, steps, 0
        self.per_epoch = max(len(batches.order) // batches.batch_size, 1)

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        epoch, index = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self.batches.start_epoch(epoch)
            self.epoch = epoch
        return self.batches[index]


def _smooth(losses):
    """Geometric means over neighbouring steps, weighted by a normal distribution, of which an end has a part.

    What exceeds the loss of the beginning counts as that: the steps of a divergence would hide the fall before them.
    What is below a tenth of it counts as a tenth: the logarithm would make much of nearly nothing.
    """
    beginning = np.mean(losses[: _first(losses)])
    losses = np.fmax(np.fmin(losses, beginning), beginning / 10)
    distance = np.subtract.outer(np.arange(len(losses)), np.arange(len(losses)))
    weights = np.exp(-0.5 * (distance / WIDTH) ** 2)
    return np.exp(weights @ np.log(losses) / weights.sum(axis=1))


def _first(losses):
    """How many steps are the beginning, in which the learning rate does not matter yet."""
    return max(5, len(losses) // 10)


def _suggest(rates, losses, smoothed, diverged):
    """(learning rate, None), or (None, why there is none); arguments as in a RangeTest."""
    steps, first = len(losses), _first(losses)
    if steps < LEAST_STEPS:
        if diverged:
            return None, (
                f"the loss diverged at once, after {steps} steps, at a learning rate of {rates[-1]:.2g}; "
                f"begin lower than {rates[0]:.2g}"
            )
        return None, f"{steps} steps are too few; at least {LEAST_STEPS} are needed, and 100 are usual"
    beginning, lowest = np.mean(smoothed[:first]), int(np.argmin(smoothed))
    # Of one batch from another, by a measure that the few steps of a divergence do not change.
    noise = np.median(np.abs(np.diff(losses[: steps // 2]))) / (0.6745 * math.sqrt(2))

    def clear(fall, *counts):
        """Whether it is more than the means of so many steps differ by chance."""
        return fall > max(0.01 * beginning, 3 * noise * math.sqrt(sum(1 / count for count in counts)))

    half = first // 2
    too_high = f"the loss fell from the first step on; begin lower than {rates[0]:.2g}"
    if clear(np.mean(losses[:half]) - np.mean(losses[half:first]), half, first - half):
        return None, too_high
    fall = beginning - smoothed[lowest]
    # The weights of the smoothing are as those of so many steps.
    if not clear(fall, first, 2 * math.sqrt(math.pi) * WIDTH):
        higher = "" if diverged else f"end higher than {rates[-1]:.2g}, or "
        return None, (
            f"the loss never fell clearly below the {beginning:.3g} of the beginning, at rates from {rates[0]:.2g} to "
            f"{rates[-1]:.2g}; {higher}see whether the layers that train can learn from these images, or know them"
        )
    # Flat at its lowest is another matter: all is learnt, or units have died, as those of ReLU do at high rates.
    if not diverged and smoothed[-1 - steps // 10] - smoothed[-1] > 0.05 * fall:
        return None, (
            f"the loss was still falling at the highest learning rate, {rates[-1]:.2g}; end higher than that, or take "
            "it for a start"
        )
    slopes = np.gradient(np.log(smoothed))
    # From where the loss has fallen by a tenth of the fall: before, slopes are noise.
    above = np.flatnonzero(smoothed[:lowest] >= beginning - 0.1 * fall)
    start = int(above[-1]) if len(above) else 0
    steepest = start + int(np.argmin(slopes[start : lowest + 1]))
    if steepest < first:
        return None, too_high
    return float(rates[steepest]), None
