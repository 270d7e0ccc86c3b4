"""Verdicts on claims: one for each claim and each set of images, over the seeds.

A bound is kept where the 95 % confidence interval over the seeds (Student's t; Welch's for a difference) lies between
its values, and broken where it lies outside. Otherwise it is open, as it is with one seed or where a seed diverged.
Runs are compared if they are on the same images and differ from the listed settings in the same way, but not in a
setting that the bound is about. claim_tables.py puts verdicts into words.
"""

import statistics
from pathlib import Path
from typing import NamedTuple

from kmodels.analysis.intervals import CONFIDENCE, t_interval
from kmodels.experiment import OF_TRAINING
from kmodels.report.claims import Bound, Claim
from kmodels.report.tables import changed_settings, on_published_data, pixels_name, size_name

KEPT, BROKEN, OPEN = "kept", "broken", "open"
# Fields that the words for the images cover.
OF_THE_IMAGES = ("dataset", "image_size", "subset")


class Finding(NamedTuple):
    """The outcome of a bound on one set of images.

    Attributes:
        bound: a Bound.
        seeds: how many completed runs; of two experiments the smaller number.
        diverged: how many further runs diverged.
        value: the mean, or the difference of means; None where all runs of an experiment diverged.
        low, high: the confidence interval; None where there is none.
        outcome: KEPT, BROKEN or OPEN.
    """

    bound: Bound
    seeds: int
    diverged: int
    value: float | None
    low: float | None
    high: float | None
    outcome: str


class Verdict(NamedTuple):
    """The outcome of a claim on one set of images.

    Attributes:
        claim: a Claim.
        images: in words, with the settings that differ from the listed ones.
        as_published: whether the images are those of the report, and all settings are as listed.
        findings: one for each bound that was measured on them.
        outcome: BROKEN where one finding is, KEPT where all bounds were found kept, OPEN otherwise.
    """

    claim: Claim
    images: str
    as_published: bool
    findings: tuple[Finding, ...]
    outcome: str


def judge(claims, records):
    """Judges claims by records.

    Args:
        claims: Claims.
        records: Records, of any experiments.

    Returns:
        A Verdict for each claim and each set of images on which one of its bounds was measured.
    """
    settings = _by_setting(claims, records)
    verdicts = []
    for claim in claims:
        for setting, runs in settings.items():
            findings = tuple(filter(None, (_finding(bound, runs, len(claim.bounds)) for bound in claim.bounds)))
            if findings:
                outcome = _together([finding.outcome for finding in findings], len(claim.bounds))
                verdicts.append(Verdict(claim, setting.words, setting.as_published, findings, outcome))
    return verdicts


def _together(outcomes, bounds):
    if BROKEN in outcomes:
        return BROKEN
    return KEPT if outcomes == [KEPT] * bounds else OPEN


class _Setting(NamedTuple):
    """What runs must have in common to be compared; the checksum distinguishes images with the same name."""

    words: str
    as_published: bool
    sha256: str


def _by_setting(claims, records):
    """{_Setting: {experiment name: [Record]}}; of a seed's runs the newest completed one, or else diverged one."""
    records = [record for record in records if record.status in ("completed", "diverged")]
    listed = {one.name: one for claim in claims for bound in claim.bounds for one in bound.sides}
    networks = {f"{Path(record.stem).name}.keras": record for record in records}
    found = {}
    for record in sorted(records, key=lambda record: (record.status == "completed", record.started)):
        if record.experiment.name in listed:
            setting = _setting(record, listed, networks)
            # All backends compute the same.
            found.setdefault(setting, {}).setdefault(record.experiment.name, {})[record.seed] = record
    return {
        setting: {name: list(by_seed.values()) for name, by_seed in by_name.items()}
        for setting, by_name in found.items()
    }


def _setting(record, listed, networks):
    images = _images(record)
    changes, as_listed = _changes(record, listed, networks)
    precision = [] if record.precision == "float32" else [record.precision]
    return _Setting(", ".join([images, *precision, *changes]), as_listed, record.source["sha256"])


def _images(record):
    return f"{pixels_name(record.source)}, {size_name(record.image_shape)}"


def _changes(record, listed, networks):
    """How a run, and the runs whose network it started from, differ from the listed settings.

    So a head is compared with the network that its features come from.

    Returns:
        ["epochs=8"], without what the words for the images cover; and whether nothing differs.
    """
    experiment, changes = record.experiment, []
    wanted = listed.get(experiment.name, experiment)
    same_images = on_published_data(record.source) and all(
        getattr(experiment, name) == getattr(wanted, name) for name in OF_THE_IMAGES
    )
    if record.started_from:
        parent = networks.get(record.started_from["network"])
        if parent is None:
            changes, same_images = ["from a network without a record"], False
        else:
            changes, as_listed = _changes(parent, listed, networks)
            same_images = same_images and as_listed
            if _images(parent) != _images(record):
                changes.append(f"from {parent.experiment.name} on {_images(parent)}")
    # What a run computed in is told by itself, whatever it was that asked for it.
    unread = (*OF_THE_IMAGES, "precision", *(OF_TRAINING if experiment.is_fitted else ()))
    changed = changed_settings(experiment, wanted)
    changes += [f"{name}={value}" for name, value in changed.items() if name not in unread]
    changes = list(dict.fromkeys(changes))
    return changes, same_images and not changes


def _finding(bound, runs, bounds):
    """The Finding of a bound; None where an experiment was not run, or not in a way that the bound can be judged.

    Args:
        bound: a Bound.
        runs: {experiment name: [Record]} of one setting.
        bounds: how many the claim has. One broken bound breaks the claim, so with several of them each needs a higher
            confidence to count as broken (Bonferroni).
    """
    sides = [runs.get(name) for name in bound.names]
    if not all(sides) or not _tells(bound, [side[0].experiment for side in sides]):
        return None
    completed = [[record for record in side if record.status == "completed"] for side in sides]
    numbers = [[bound.measure.of(record) for record in side] for side in completed]
    if any(number is None for side in numbers for number in side):
        return None
    diverged = sum(len(side) for side in sides) - sum(len(side) for side in completed)
    if not all(numbers):
        return Finding(bound, 0, diverged, None, None, None, OPEN)
    low, high = _interval(numbers, CONFIDENCE, bound.measure.exact)
    value = statistics.fmean(numbers[0]) - (statistics.fmean(numbers[1]) if bound.over else 0)
    outcome = OPEN
    if low is not None and not diverged:
        if bound.holds(low, high):
            outcome = KEPT
        elif bound.fails(*_interval(numbers, 1 - (1 - CONFIDENCE) / bounds, bound.measure.exact)):
            outcome = BROKEN
    return Finding(bound, min(map(len, numbers)), diverged, value, low, high, outcome)


def _tells(bound, run):
    """Whether experiments as run differ in the settings that the bound compares, and have what its measure needs."""
    if any(
        getattr(one, name) != getattr(as_run, name)
        for name in bound.measure.needs
        for one, as_run in zip(bound.sides, run, strict=True)
    ):
        return False
    if not bound.over:
        return True
    return changed_settings(bound.of, bound.over).keys() <= changed_settings(*run).keys()


def _interval(numbers, confidence, exact):
    """The confidence interval of a mean, or of the difference of two; (None, None) where more runs are needed.

    Args:
        numbers: one or two lists.
        confidence: 0 to 1.
        exact: whether one run is enough.
    """
    if exact:
        value = statistics.fmean(numbers[0]) - (statistics.fmean(numbers[1]) if len(numbers) > 1 else 0)
        return value, value
    return t_interval(numbers, confidence)
