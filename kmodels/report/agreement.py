"""Published numbers beside measured ones: does the one run of a report look like one more run of ours?

A report prints one run and no spread, so its number is compared with the 95 % prediction interval for a single further
run, mean ± t s sqrt(1 + 1/n) over n seeds. With two seeds that interval reaches 16 standard deviations to each side,
and nearly every number lies in it, so fewer than three say nothing. A published 22 % stands for all that is rounded to
it. Only published images and listed settings count, and not where a report does not say which images it used.
"""

import statistics
from typing import NamedTuple

from kmodels.analysis.intervals import mean_difference, next_run_interval, sign_test
from kmodels.experiment import Experiment
from kmodels.records.descriptions import backends
from kmodels.report.claims import rounded_to
from kmodels.report.verdicts import FEWEST_SEEDS, runs_by_setting


class Agreement(NamedTuple):
    """The test accuracy of one experiment, fractions of 1.

    Attributes:
        experiment: an Experiment.
        images: in words.
        missing: how many of the published images are missing.
        seeds: how many completed runs.
        diverged: how many further runs diverged.
        mean: over the seeds; None where all diverged.
        spread: the sample standard deviation; None with fewer than two seeds.
        published: the number of the report.
        low, high: the prediction interval for one more run; None with fewer than two seeds, or where all are equal.
        backends: how many runs are of which, in words.
    """

    experiment: Experiment
    images: str
    missing: int
    seeds: int
    diverged: int
    mean: float | None
    spread: float | None
    published: float
    low: float | None
    high: float | None
    backends: str

    @property
    def difference(self):
        """Measured minus published; None where nothing was measured."""
        return None if self.mean is None else self.mean - self.published

    @property
    def within(self):
        """Whether `published` lies in the interval; None with fewer than three seeds, or where one diverged.

        And where all numbers are equal, which have no interval.
        """
        if self.seeds < FEWEST_SEEDS or self.diverged or self.low is None:
            return None
        low, high = rounded_to(100 * self.published)
        return 100 * self.low <= high and low <= 100 * self.high


class AgreementSummary(NamedTuple):
    """What a list of Agreements comes to.

    Attributes:
        published: how many experiments have a published test accuracy, run or not; the same ones count once.
        measured: how many of them were run.
        judged: how many of these with enough seeds to say whether the published number lies in the interval.
        within: how many of the judged do.
        above, below: how many measured means are above and below the published number, judged or not.
        p: of the sign test that they are as often above as below, as if experiments were independent.
    """

    published: int
    measured: int
    judged: int
    within: int
    above: int
    below: int
    p: float


def agreements(experiments, records):
    """Compares published test accuracies with measured ones.

    Args:
        experiments: Experiments as the reports list them; those without a published test accuracy are left out, and
            those whose report does not say which images it used.
        records: Records, of any experiments.

    Returns:
        Agreements, in the order of the experiments, without those that were not run on the published images with the
        listed settings.
    """
    listed = {one.name: one for one in experiments}
    distinct, found = [one.name for one in _distinct(experiments)], {}
    for setting, by_name in runs_by_setting(records, listed).items():
        for name in by_name.keys() & set(distinct) if setting.as_published else ():
            found.setdefault(name, []).append(_agreement(listed[name], setting, by_name[name]))
    # Of several copies of the images the one with most runs, as for verdicts.
    return [max(found[name], key=lambda one: (one.seeds, -one.missing)) for name in distinct if name in found]


def setting_of_runs(runs, experiments, records=()):
    """The Setting of verdicts.py of some runs, which tells whether a published number can be compared with them.

    Args:
        runs: Records, a list of `runs_alike`.
        experiments: Experiments as the reports list them; any other counts as listed.
        records: further Records, of the networks that the runs may have started from.

    Returns:
        A Setting, of several one that is not as published; None where no run completed or diverged.
    """
    one = runs[0].experiment
    listed = {item.name: item for item in experiments}
    others = [record for record in records if record.experiment.name != one.name]
    found = runs_by_setting([*others, *runs], {**listed, one.name: listed.get(one.name, one)})
    settings = [setting for setting, by_name in found.items() if one.name in by_name]
    return min(settings, key=lambda setting: setting.as_published, default=None)


def summarise_agreement(experiments, found):
    """The AgreementSummary of Agreements.

    Args:
        experiments: as in `agreements`.
        found: what it returned.
    """
    judged = [one.within for one in found if one.within is not None]
    differences = [one.difference for one in found if one.difference is not None]
    return AgreementSummary(
        published=len(_distinct(experiments)),
        measured=len(found),
        judged=len(judged),
        within=sum(judged),
        above=sum(number > 0 for number in differences),
        below=sum(number < 0 for number in differences),
        p=sign_test(differences),
    )


def _distinct(experiments):
    """Those with a published test accuracy; of a report's experiments that are the same under two names, the first."""
    found = {}
    for one in experiments:
        if _published(one) is not None:
            found.setdefault((one.report, one.fingerprint, _published(one)), one)
    return list(found.values())


def _published(experiment):
    return experiment.published and experiment.published.comparable_accuracy


def _agreement(experiment, setting, runs):
    accuracies = [record.test.accuracy for record in runs if record.status == "completed"]
    low, high = next_run_interval([accuracies]) if accuracies else (None, None)
    return Agreement(
        experiment=experiment,
        images=setting.words,
        missing=setting.missing,
        seeds=len(accuracies),
        diverged=len(runs) - len(accuracies),
        mean=mean_difference([accuracies]) if accuracies else None,
        spread=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        published=_published(experiment),
        low=low,
        high=high,
        backends=backends(runs),
    )
