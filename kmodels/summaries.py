"""Records of several seeds together: which runs are alike, their mean and spread, and differences seed by seed."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kmodels.experiment import Experiment


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Test accuracy over the seeds of one experiment on one set of pixels, one backend and one precision.

    Attributes:
        records: the completed ones, by seed.
        mean: of the test accuracies, fraction of 1; None without a completed record.
        spread: their standard deviation (n - 1); None for fewer than two.
        diverged: how many further seeds diverged: their loss was no longer a finite number, so they have no accuracy.
        runs: the completed records, or those that diverged where none was completed.
    """

    experiment: Experiment
    source: Mapping[str, Any] = field(repr=False)
    records: tuple[Any, ...]
    mean: float | None
    spread: float | None
    diverged: int = 0
    runs: tuple[Any, ...] = field(default=(), repr=False)


def alike(record):
    """What runs have in common that differ in their seed only, as a key: the name and settings of the experiment, the
    pixels, backend, precision and code."""
    experiment = record.experiment
    code = tuple(sorted((record.code_sha256 or {}).items()))
    pixels = record.source["sha256"]
    return experiment.name, experiment.fingerprint, pixels, record.backend, record.precision, code


def runs_alike(records):
    """Groups records by experiment, pixels, backend and precision, in the order given.

    Of several records of one seed a completed one counts before any other, and of equal ones the newest.

    Args:
        records: Records.

    Returns:
        A list of lists of Records, one of each seed in a list.
    """
    groups = {}
    for record in records:
        seeds = groups.setdefault(alike(record), {})
        # Runs of one seed may differ in the weights that they started from: the last one counts.
        if record.seed not in seeds or _rank(seeds[record.seed]) <= _rank(record):
            seeds[record.seed] = record
    return [list(seeds.values()) for seeds in groups.values()]


def summarise(records):
    """Averages over the seeds of each group of `runs_alike`.

    Args:
        records: Records.

    Returns:
        A list of Summary, one for each group.
    """
    return [_summary(group) for group in runs_alike(records)]


def _summary(group):
    completed = tuple(sorted((r for r in group if r.status == "completed"), key=lambda r: r.seed))
    diverged = tuple(record for record in group if record.status == "diverged")
    accuracies = [record.test.accuracy for record in completed]
    return Summary(
        experiment=group[0].experiment,
        source=group[0].source,
        records=completed,
        mean=statistics.fmean(accuracies) if accuracies else None,
        spread=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        diverged=len(diverged),
        runs=completed or diverged,
    )


def class_accuracies(summary):
    """The mean test accuracy of each class over the completed seeds of a Summary.

    Returns:
        A list of fractions of 1; None for a class without test images.
    """
    columns = zip(*(record.test.per_class_accuracy for record in summary.records), strict=True)
    return [None if None in column else statistics.fmean(column) for column in columns]


def _rank(record):
    """What decides between records of one seed, the larger counts."""
    return {"completed": 2, "diverged": 1}.get(record.status, 0), record.started


def paired_differences(one, other, number):
    """number(one) - number(other) for each seed that both have, if the two runs of each of these share a network.

    They do where one started from the network of the other, or both from the same: they differ by less than separate
    runs do. Equal seeds of different networks make no pairs.

    Args:
        one, other: lists of Records, one for each seed.
        number: from a Record to a float.

    Returns:
        A list, in the order of the seeds; [] where runs share no network.
    """
    sides = [{record.seed: record for record in side} for side in (one, other)]
    common = sorted(sides[0].keys() & sides[1].keys())
    if not all(_share_network(sides[0][seed], sides[1][seed]) for seed in common):
        return []
    # What is equal must not differ by the rounding of a subtraction.
    return [round(number(sides[0][seed]) - number(sides[1][seed]), 12) for seed in common]


def _share_network(one, other):
    own, theirs = (
        record.started_from["network"] if record.started_from else f"{Path(record.stem).name}.keras"
        for record in (one, other)
    )
    # Experiments with equal settings have networks of the same name.
    return own == theirs and bool(one.started_from or other.started_from)
