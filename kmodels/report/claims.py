"""The claims of the reports, as values in the experiment files: `--claims` judges them (verdicts.py).

A claim is one or more bounds. A bound says that a number of an experiment's runs, or the difference of that number
between two experiments, lies between two values, or that a gain is of about a size.
"""

import itertools
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from kmodels.experiment import Experiment
from kmodels.records import Record
from kmodels.records.summaries import by_shots


class Measure(NamedTuple):
    """A number of a completed run.

    Attributes:
        says: what it is, in words.
        of: from a Record to the number; None where the run has none.
        published: the same of a Published; None where the report prints none.
        digits: after the decimal point, where it is shown.
        exact: whether it is the same for every seed.
        needs: fields of the experiment that must be as the report lists them, or the number means nothing.
        of_diverged: the same of a Record that diverged; None: it has none, and what was claimed stays open.
    """

    says: str
    of: Callable[[Record], float | None]
    published: Callable = lambda published: None
    digits: int = 2
    exact: bool = False
    needs: tuple[str, ...] = ()
    of_diverged: Callable[[Record], float] | None = None


def _percent(fraction):
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
    "test accuracy, %",
    lambda record: _percent(record.test.accuracy),
    lambda published: _percent(published.test_accuracy),
)
# For claims that a training fails: one that diverged does.
TEST_ACCURACY_OR_GUESSING = TEST_ACCURACY._replace(
    says="test accuracy, %; diverged runs count as chance",
    of_diverged=lambda record: 100 / len(record.class_names),
)
FEW_ACCURACY = Measure(
    "test accuracy of classes with few images, %", lambda record: _percent(by_shots([record])["few"])
)
GENERALISATION_GAP = Measure(
    "training minus test accuracy, percentage points",
    lambda record: _gap(record.train.accuracy, record.test.accuracy),
    lambda published: _gap(published.train_accuracy, published.test_accuracy),
)
PARAMETERS = Measure("trainable parameters, millions", lambda record: record.parameters / 1e6, exact=True)
BEST_EPOCH = Measure("epoch of the lowest validation loss", _lowest_val_loss, digits=0, needs=("epochs",))
UNREST = Measure("mean change of the validation loss from one epoch to the next", _unrest, digits=4)


def epochs_to(share):
    """A Measure: the first epoch whose validation accuracy reaches a share of the best one of the run.

    Args:
        share: 0 to 1.
    """

    def of(record):
        accuracies = [accuracy or 0.0 for accuracy in record.history.get("val_accuracy", ())]
        target = share * max(accuracies, default=0.0)
        return next((epoch for epoch, accuracy in enumerate(accuracies, 1) if accuracy >= target), None)

    return Measure(f"epochs to {100 * share:g} % of the best validation accuracy", of, digits=1)


def lead_of_others(*names):
    """A Measure: test accuracy of the worst of the other classes minus that of the best of these.

    Args:
        *names: of classes.
    """

    def of(record):
        others = dict(zip(record.class_names, record.test.per_class_accuracy, strict=True))
        named = [others.pop(name, None) for name in names]
        if None in named or None in others.values() or not others:
            return None
        return 100 * (min(others.values()) - max(named))

    return Measure(f"worst of the other classes minus best of {', '.join(names)}, percentage points", of)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a claim means, in numbers.

    >>> Bound(of=MODEL4, over=MODEL3, least=0)  # model 4 has a higher test accuracy than model 3

    Attributes:
        of: the experiment that is measured.
        over: the experiment whose number is subtracted; None: none.
        measure: what is measured.
        least, most: the values between which the number must lie; None: no limit.
        gain: whether they are the claimed size of a gain, see `gains`.
    """

    of: Experiment
    over: Experiment | None = None
    measure: Measure = TEST_ACCURACY
    least: float | None = None
    most: float | None = None
    gain: bool = False

    @property
    def sides(self):
        """The one or two experiments that it is about."""
        return [one for one in (self.of, self.over) if one]

    @property
    def names(self):
        """The names of those experiments."""
        return [one.name for one in self.sides]

    @property
    def published(self):
        """The number, or the difference, that the report prints; None where it prints none."""
        numbers = [one.published and self.measure.published(one.published) for one in self.sides]
        return None if None in numbers else numbers[0] - sum(numbers[1:])

    def holds(self, low, high, further=None):
        """Whether the interval from `low` to `high` shows it.

        It does where it lies between the values; zero is not above zero. It shows a gain where it lies above zero, and
        the difference of one further run on each side, as the report has it, may have the claimed size.

        Args:
            low, high: of the confidence interval.
            further: (low, high) of a further difference; None: as they are.
        """
        least, most = self._limits
        if self.gain:
            further_low, further_high = further or (low, high)
            return low > 0 and further_low <= most and further_high >= least
        return least < low and high < most

    def fails(self, low, high, further=None):
        """Whether the interval lies outside the values; of a gain, whether it is a loss or has another size.

        Args:
            low, high, further: as in `holds`.
        """
        least, most = self._limits
        if self.gain:
            further_low, further_high = further or (low, high)
            return high < 0 or further_high < least or further_low > most
        return high < least or low > most

    def edge(self, value):
        """The one of the values that a number is beyond; None where it is beyond none."""
        least, most = self._limits
        return least if value < least else most if value > most else None

    @property
    def _limits(self):
        return -math.inf if self.least is None else self.least, math.inf if self.most is None else self.most


def beats(winner, loser, *, by=0.0, measure=TEST_ACCURACY):
    """A Bound: one experiment has a larger number than another.

    Args:
        winner: an Experiment.
        loser: an Experiment.
        by: the difference must be larger than this.
        measure: what is compared.
    """
    return Bound(of=winner, over=loser, least=by, measure=measure)


def rounded_to(printed):
    """(low, high) of all numbers that are rounded to one that was printed: 4.5 and 5.5 of 5, 3.15 and 3.25 of 3.2.

    Args:
        printed: a float, or an integer. Zeros at its end are lost, so 78.0 is like 78.
    """
    number = Decimal(f"{printed:.6g}").normalize()
    half = Decimal((0, (5,), min(number.as_tuple().exponent, 0) - 1))
    return float(number - half), float(number + half)


def gains(winner, loser, *, about):
    """A Bound: one experiment has a higher test accuracy than another, by about so much.

    >>> gains(M5, M1, about=(2, 5))

    Args:
        winner: an Experiment.
        loser: an Experiment.
        about: the claimed size in percentage points, above 0: a range, or a number as it is printed, which stands for
            all that are rounded to it (5 for 4.5 to 5.5, 3.2 for 3.15 to 3.25).
    """
    least, most = about if isinstance(about, tuple) else rounded_to(about)
    return Bound(of=winner, over=loser, least=least, most=most, gain=True)


def equals(one, other, *, within):
    """A Bound: two experiments have equal test accuracies.

    Args:
        one: an Experiment.
        other: an Experiment.
        within: percentage points by which they may differ: the equivalence margin.
    """
    return Bound(of=one, over=other, least=-within, most=within)


class Claim(NamedTuple):
    """A claim of a report.

    >>> Claim("Batch 512 beats batch 256.", (beats(M6, M5),))

    Attributes:
        says: the claim, as a sentence.
        bounds: all of them must hold.
    """

    says: str
    bounds: tuple[Bound, ...]

    @property
    def report(self):
        """The name of the report."""
        return self.bounds[0].of.report
