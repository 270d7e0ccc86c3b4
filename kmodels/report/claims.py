"""What the reports claim, as values in the experiment files: `--claims` judges them (verdicts.py).

A claim is one or more bounds: a number measured on the runs of an experiment, or how much larger it is than the same
number of another experiment, lies between two values.
"""

import itertools
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from kmodels.experiment import Experiment
from kmodels.records import Record
from kmodels.report.tables import by_shots


class Measure(NamedTuple):
    """A number of a completed run.

    Attributes:
        says: what it is, in words.
        of: from a Record to the number; None where the run has none.
        published: the same of a Published; None where the report prints none.
        digits: behind the point, where it is shown.
        exact: whether it is the same for every seed.
        needs: fields of the experiment without which, as they are listed, it says nothing.
    """

    says: str
    of: Callable[[Record], float | None]
    published: Callable = lambda published: None
    digits: int = 2
    exact: bool = False
    needs: tuple[str, ...] = ()


def _points(fraction):
    return None if fraction is None else 100 * fraction


def _gap(train, test):
    return None if train is None or test is None else 100 * (train - test)


def _unrest(record):
    losses = [loss for loss in record.history.get("val_loss", ()) if loss is not None]
    return statistics.fmean(abs(b - a) for a, b in itertools.pairwise(losses)) if len(losses) > 1 else None


def _lowest_val_loss(record):
    # Not record.best_epoch: that is the last epoch where `keep` is "last".
    losses = {epoch: loss for epoch, loss in enumerate(record.history.get("val_loss", ()), 1) if loss is not None}
    return min(losses, key=losses.get, default=None)


TEST_ACCURACY = Measure(
    "test accuracy, %", lambda record: _points(record.test.accuracy), lambda said: _points(said.test_accuracy)
)
FEW_ACCURACY = Measure("test accuracy of classes with few images, %", lambda record: _points(by_shots(record)["few"]))
GENERALISATION_GAP = Measure(
    "training minus test accuracy, points",
    lambda record: _gap(record.train.accuracy, record.test.accuracy),
    lambda said: _gap(said.train_accuracy, said.test_accuracy),
)
PARAMETERS = Measure("trainable parameters, millions", lambda record: record.parameters / 1e6, exact=True)
BEST_EPOCH = Measure("epoch of the lowest validation loss", _lowest_val_loss, digits=0, needs=("epochs",))
UNREST = Measure("mean change of the validation loss from one epoch to the next", _unrest, digits=4)


def epochs_to(share):
    """The first epoch whose validation accuracy reaches this share, 0 to 1, of the best one of the run."""

    def of(record):
        accuracies = [accuracy or 0.0 for accuracy in record.history.get("val_accuracy", ())]
        target = share * max(accuracies, default=0.0)
        return next((epoch for epoch, accuracy in enumerate(accuracies, 1) if accuracy >= target), None)

    return Measure(f"epochs to {100 * share:g} % of the best validation accuracy", of, digits=1)


def lead_of_others(*names):
    """How many points of test accuracy the worst of the other classes is above the best of these."""

    def of(record):
        accuracies = dict(zip(record.class_names, record.test.per_class_accuracy, strict=True))
        here = [accuracies.pop(name, None) for name in names]
        if None in here or None in accuracies.values() or not accuracies:
            return None
        return 100 * (min(accuracies.values()) - max(here))

    return Measure(f"worst of the other classes minus best of {', '.join(names)}, points", of)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a claim comes to, as a number.

    Attributes:
        of: the experiment that is measured.
        over: the one whose number is taken from it; None: none.
        measure: what is measured.
        least, most: between which values it must lie; None: any.
    """

    of: Experiment
    over: Experiment | None = None
    measure: Measure = TEST_ACCURACY
    least: float | None = None
    most: float | None = None

    @property
    def sides(self):
        """The experiments that it is about: one or two."""
        return [one for one in (self.of, self.over) if one]

    @property
    def names(self):
        """Of those experiments."""
        return [one.name for one in self.sides]

    def holds(self, low, high):
        """Whether an interval lies between its values; a zero is not above zero."""
        return (self.least is None or self.least < low) and (self.most is None or high < self.most)

    def fails(self, low, high):
        """Whether an interval lies outside of its values."""
        return (self.least is not None and high < self.least) or (self.most is not None and low > self.most)


def beats(winner, loser, *, by=0.0, measure=TEST_ACCURACY):
    """A Bound: larger, by more than this. Of "about x points" in a report, `by` is half of x."""
    return Bound(of=winner, over=loser, least=by, measure=measure)


def equals(one, other, *, within):
    """A Bound: equal but for so many points of test accuracy."""
    return Bound(of=one, over=other, least=-within, most=within)


class Claim(NamedTuple):
    """Something that a report says.

    Attributes:
        says: as a sentence.
        bounds: what must hold, all of it.
    """

    says: str
    bounds: tuple[Bound, ...]

    @property
    def report(self):
        """The name of the report."""
        return self.bounds[0].of.name.split("/")[0]
