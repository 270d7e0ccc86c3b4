"""What the reports claim, and what the records say of it: a verdict for each claim, over seeds.

A claim is one or more bounds: a number measured on the runs of an experiment, or how much larger it is than the same
number of another experiment, lies between two values. Claims are values in the experiment files; `--claims` judges
them, and claim_tables.py puts the verdicts into words.

A bound is kept where the 95 % confidence interval over the seeds (Student's t; Welch's for a difference) lies between
its values, and broken where it lies outside. Anything else is open, and so is whatever was run with one seed.
"""

import itertools
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kmodels.experiment import OF_TRAINING, Experiment, deciding_fields
from kmodels.records import Record, summarise
from kmodels.report.tables import by_shots, on_published_data, pixels_name, size_name

CONFIDENCE = 0.95
# Said by the words for the images.
OF_THE_IMAGES = ("dataset", "image_size", "subset")
KEPT, BROKEN, OPEN = "kept", "broken", "open"


class Measure(NamedTuple):
    """A number of a completed run.

    Attributes:
        says: what it is, in words.
        of: from a Record to the number; None where the run has none.
        published: the same of a Published; None where the report prints none.
    """

    says: str
    of: Callable[[Record], float | None]
    published: Callable = lambda published: None


def _points(fraction):
    return None if fraction is None else 100 * fraction


def _gap(train, test):
    return None if train is None or test is None else 100 * (train - test)


TEST_ACCURACY = Measure(
    "test accuracy, %", lambda record: _points(record.test.accuracy), lambda said: _points(said.test_accuracy)
)
GENERALISATION_GAP = Measure(
    "training minus test accuracy, points",
    lambda record: _gap(record.train.accuracy, record.test.accuracy),
    lambda said: _gap(said.train_accuracy, said.test_accuracy),
)
FEW_ACCURACY = Measure("test accuracy of classes with few images, %", lambda record: _points(by_shots(record)["few"]))
PARAMETERS = Measure("trainable parameters, millions", lambda record: record.parameters / 1e6)
BEST_EPOCH = Measure("epoch of the lowest validation loss", lambda record: record.best_epoch)


def _unrest(record):
    losses = [loss for loss in record.history["val_loss"] if loss is not None]
    return statistics.fmean(abs(b - a) for a, b in itertools.pairwise(losses)) if len(losses) > 1 else None


UNREST = Measure("mean change of the validation loss from one epoch to the next", _unrest)


def epochs_to(share):
    """The first epoch whose validation accuracy reaches this share, 0 to 1, of the best one of the run."""

    def of(record):
        accuracies = record.history["val_accuracy"]
        return 1 + next(i for i, accuracy in enumerate(accuracies) if accuracy >= share * max(accuracies))

    return Measure(f"epochs to {100 * share:g} % of the best validation accuracy", of)


def lead_of_others(*names):
    """How many points of test accuracy the worst of the other classes is above the best of these."""

    def margin(accuracies, class_names):
        here = [accuracy for name, accuracy in zip(class_names, accuracies, strict=True) if name in names]
        others = [accuracy for name, accuracy in zip(class_names, accuracies, strict=True) if name not in names]
        return 100 * (min(others) - max(here))

    def of(record):
        return margin(record.test.per_class_accuracy, record.class_names)

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
    def names(self):
        """Of the experiments that it is about."""
        return [one.name for one in self.sides]

    @property
    def sides(self):
        """Those experiments: one or two."""
        return [one for one in (self.of, self.over) if one]


def beats(winner, loser, *, by=0.0, measure=TEST_ACCURACY):
    """A Bound: this much larger or more. Of "about x points" in a report, `by` is x / 2."""
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


class Finding(NamedTuple):
    """What the runs on one set of images say of a bound.

    Attributes:
        bound: a Bound.
        seeds: how many runs, of both experiments the fewer.
        value: the mean, or the difference of means.
        low, high: the confidence interval; None with fewer than two seeds.
        outcome: KEPT, BROKEN or OPEN.
    """

    bound: Bound
    seeds: int
    value: float
    low: float | None
    high: float | None
    outcome: str


class Verdict(NamedTuple):
    """What the runs on one set of images say of a claim.

    Attributes:
        claim: a Claim.
        images: on which, in words, and what was run otherwise than listed.
        as_published: whether they are those of the report, and nothing was run otherwise.
        findings: one for each bound that was measured on them.
        outcome: BROKEN where one finding is, KEPT where all bounds were found kept, OPEN otherwise.
    """

    claim: Claim
    images: str
    as_published: bool
    findings: tuple[Finding, ...]
    outcome: str


def judge(claims, records):
    """A Verdict for each claim and each set of images on which one of its bounds was measured."""
    measured = _by_setting(claims, records)
    verdicts = []
    for claim in claims:
        for (images, as_published), runs in measured.items():
            findings = tuple(filter(None, (_finding(bound, runs) for bound in claim.bounds)))
            if findings:
                verdicts.append(Verdict(claim, images, as_published, findings, _together(claim, findings)))
    return verdicts


def _together(claim, findings):
    outcomes = [finding.outcome for finding in findings]
    if BROKEN in outcomes:
        return BROKEN
    return KEPT if outcomes == [KEPT] * len(claim.bounds) else OPEN


def _by_setting(claims, records):
    """{(images in words, whether as published): {experiment name: its completed Records}}."""
    records = list(records)
    listed = {one.name: one for claim in claims for bound in claim.bounds for one in bound.sides}
    networks = {f"{Path(record.stem).name}.keras": record for record in records}
    found = {}
    for summary in summarise(records):
        if summary.experiment.name in listed and summary.records:
            first = summary.records[0]
            changes = _changes(first, listed, networks)
            images = f"{pixels_name(summary.source)}, {size_name(first.image_shape)}"
            where = (", ".join([images, *changes]), on_published_data(summary.source) and not changes)
            runs = found.setdefault(where, {}).setdefault(summary.experiment.name, {})
            # A seed counts once, whichever backend it ran on.
            runs |= {record.seed: record for record in summary.records if record.seed not in runs}
    return {where: {name: list(runs.values()) for name, runs in by_name.items()} for where, by_name in found.items()}


def _changes(record, listed, networks):
    """What of a run, and of those whose network it started from, is otherwise than listed, but for its images.

    ["epochs=8"]; a classifier that is fitted apart is thus compared with the network that its features come from.
    """
    experiment, changes = record.experiment, []
    parent = networks.get(record.started_from["network"]) if record.started_from else None
    if parent:
        changes += _changes(parent, listed, networks)
    if experiment.name in listed:
        unread = (*OF_THE_IMAGES, *(OF_TRAINING if experiment.is_fitted else ()))
        names = [item.name for item in deciding_fields() if item.name not in unread]
        wanted = listed[experiment.name]
        changes += [
            f"{name}={getattr(experiment, name)}"
            for name in names
            if getattr(experiment, name) != getattr(wanted, name)
        ]
    return list(dict.fromkeys(changes))


def _finding(bound, runs):
    """None where one of the experiments was not run."""
    sides = [runs.get(one.name) for one in bound.sides]
    if not all(sides):
        return None
    numbers = [[bound.measure.of(record) for record in side] for side in sides]
    if any(number is None for side in numbers for number in side):
        return None
    means = [statistics.fmean(side) for side in numbers]
    value = means[0] - (means[1] if bound.over else 0)
    seeds = min(map(len, numbers))
    low, high = _interval(numbers) if seeds > 1 else (None, None)
    return Finding(bound, seeds, value, low, high, _outcome(bound, low, high))


def _outcome(bound, low, high):
    least = float("-inf") if bound.least is None else bound.least
    most = float("inf") if bound.most is None else bound.most
    if low is None:
        return OPEN
    if least <= low and high <= most:
        return KEPT
    return BROKEN if high < least or low > most else OPEN


def _interval(numbers):
    """The confidence interval of a mean, or of the difference of two."""
    from scipy import stats

    if all(len(set(side)) == 1 for side in numbers):
        value = numbers[0][0] - (numbers[1][0] if len(numbers) > 1 else 0)
        return value, value
    if len(numbers) == 1:
        interval = stats.ttest_1samp(numbers[0], 0).confidence_interval(CONFIDENCE)
    else:
        interval = stats.ttest_ind(*numbers, equal_var=False).confidence_interval(CONFIDENCE)
    return float(interval.low), float(interval.high)
