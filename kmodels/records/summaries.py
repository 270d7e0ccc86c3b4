"""Records of several seeds together: which runs are alike, their mean and spread, and differences seed by seed."""

import itertools
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kmodels.analysis.metrics import shot_accuracy
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


def runs_alike(records, networks=None):
    """Groups records by experiment, pixels, backend and precision, in the order given.

    Of several records of one seed a completed one counts before any other, then one that started from a network that
    has a record, and of equal ones the newest.

    Args:
        records: Records.
        networks: as `by_network` returns; None: of these records.

    Returns:
        A list of lists of Records, one of each seed in a list.
    """
    records, groups = list(records), {}
    networks = by_network(records) if networks is None else networks

    def rank(record):
        """What decides between records of one seed: the larger counts."""
        status = {"completed": 2, "diverged": 1}.get(record.status, 0)
        return status, parent_of(record, networks) is not None, record.started

    for record in records:
        seeds = groups.setdefault(alike(record), {})
        # Runs of one seed may differ in the weights that they started from.
        if record.seed not in seeds or rank(seeds[record.seed]) <= rank(record):
            seeds[record.seed] = record
    return [list(seeds.values()) for seeds in groups.values()]


def summarise(records, networks=None):
    """Averages over the seeds of each group of `runs_alike`.

    Args:
        records, networks: as in `runs_alike`.

    Returns:
        A list of Summary, one for each group.
    """
    return [_summary(group) for group in runs_alike(records, networks)]


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
    return list(map(mean, zip(*(record.test.per_class_accuracy for record in summary.records), strict=True)))


def mean(numbers):
    """The mean of numbers; None where one of them is None, or there is none."""
    return statistics.fmean(numbers) if numbers and None not in numbers else None


def by_shots(records):
    """{"all", "many", "medium", "few": mean test accuracy} of completed runs; groups are their experiment's `shots`."""
    accuracies = [
        {
            "all": record.test.accuracy,
            **shot_accuracy(record.test.confusion_matrix, training_counts(record), *record.experiment.shots),
        }
        for record in records
    ]
    return {name: mean([groups[name] for groups in accuracies]) for name in ("all", "many", "medium", "few")}


def training_counts(record):
    """How many training images of each class a completed run had."""
    return [sum(row) for row in record.train.confusion_matrix]


def by_network(records):
    """{file name: [Record]} of the networks that runs leave beside their records.

    Args:
        records: Records. Experiments with equal settings have networks of the same name.
    """
    found = {}
    for record in records:
        found.setdefault(_network_name(record), []).append(record)
    return found


def parent_of(record, networks):
    """The Record of the run whose network another run started from.

    The file's name is not enough: a repeat of a run replaces its network under the same name. So the weights must be
    those that the other run started from, where the record of the network says which it has.

    Args:
        record: a Record.
        networks: as `by_network` returns.

    Returns:
        None where the run started from no network, or from one without a record.
    """
    name = record.started_from and record.started_from["network"]
    parents = [one for one in networks.get(name, ()) if _is_parent(one, record)]
    named = [one for one in parents if one.experiment.name == record.experiment.init_from]
    return (named or parents or [None])[-1]


def first_runs(records):
    """The first completed run of each seed, or else the first that was not completed; by seed.

    Args:
        records: Records of one experiment.
    """
    ordered = sorted(records, key=_in_order)
    return sorted({record.seed: record for record in reversed(ordered)}.values(), key=lambda record: record.seed)


def paired_differences(one, other, number):
    """number(one) - number(other) for each seed that both have, if two runs of each of these seeds share a network.

    They do where one started from the network of the other, or both from the same: they differ by less than separate
    runs do. Equal seeds of different networks make no pairs. Of several pairs of a seed the first counts.

    Args:
        one, other: lists of Records, with several of one seed where it was run on several backends, for instance.
        number: from a Record to a float.

    Returns:
        A list, in the order of the seeds; [] where the runs of a seed share no network.
    """
    seeds = sorted({record.seed for record in one} & {record.seed for record in other})
    pairs = [_first_pair(*([r for r in side if r.seed == seed] for side in (one, other))) for seed in seeds]
    if None in pairs:
        return []
    # What is equal must not differ by the rounding of a subtraction.
    return [round(number(ours) - number(theirs), 12) for ours, theirs in pairs]


def _first_pair(ours, theirs):
    pairs = [pair for pair in itertools.product(ours, theirs) if _share_network(*pair)]
    # The later run of a pair decides, so that it is the same pair whichever side is subtracted.
    return min(pairs, key=lambda pair: sorted(map(_in_order, pair), reverse=True), default=None)


def _in_order(record):
    """Sorts completed runs before others, and then by time."""
    return record.status != "completed", record.started


def _share_network(one, other):
    if one.started_from and other.started_from:
        starts = {(record.started_from["network"], record.weights_sha256) for record in (one, other)}
        if len(starts) == 1:
            return True
    return _is_parent(one, other) or _is_parent(other, one)


def _is_parent(one, other):
    """Whether a run started from the network of another."""
    start = other.started_from
    if not start or start["network"] != _network_name(one):
        return False
    # Records older than this field do not say which weights their networks have.
    return one.network_sha256 in (None, other.weights_sha256)


def _network_name(record):
    return f"{Path(record.stem).name}.keras"
