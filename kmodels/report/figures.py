"""The figures of a report that show several runs: FIGURES of an experiment file.

A figure is a value: a title, the experiments it is about, and how it is drawn from their records. `draw` raises an
InputError where records are missing; a line says so, and the other figures are drawn.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kmodels import plots
from kmodels.errors import InputError, require, shorten
from kmodels.experiment import IMBALANCES, Experiment
from kmodels.records.descriptions import changed_settings, settings, source_name
from kmodels.records.summaries import by_shots, class_accuracies, summarise

# The settings that decide which images are used.
OF_DATA = ("dataset", "image_size", "subset", *IMBALANCES)


class Material(NamedTuple):
    """The data that figures are drawn from.

    Attributes:
        records: of the report, in its order.
        listed: {name: Experiment as the file lists it}.
        data_dir: where the dataset's files are; see `load_dataset`.
    """

    records: list
    listed: dict
    data_dir: object


@dataclass(frozen=True)
class Curves:
    """Losses and accuracies over the epochs, of the first seed of each experiment."""

    title: str
    experiments: tuple[Experiment, ...]

    def summaries(self, material):
        """As `measured_alike`; a head has no epochs."""
        trained = [record for record in material.records if record.epochs_run]
        return measured_alike(self.experiments, material._replace(records=trained))

    def draw(self, material):
        return plots.training_curves([summary.records[0] for summary in self.summaries(material).values()])


@dataclass(frozen=True)
class Sweep:
    """Test accuracy against a setting, with the published accuracies.

    Attributes:
        setting: a field of Experiment or an option of the network; the experiments are in its ascending order.
    """

    title: str
    setting: str
    experiments: tuple[Experiment, ...]

    def draw(self, material):
        values = [settings(experiment).get(self.setting) for experiment in self.experiments]
        require(None not in values, f"every experiment must have a value of {self.setting}", values)
        summaries = measured_alike(self.experiments, material)
        measured = [summaries.get(experiment.name) for experiment in self.experiments]
        return plots.sweep(
            values,
            [summary and (summary.mean, summary.spread) for summary in measured],
            [experiment.published and experiment.published.test_accuracy for experiment in self.experiments],
            setting=self.setting.replace("_", " "),
            measured_on=source_name(next(iter(summaries.values())).source) + _diverged(material, self, values),
        )


@dataclass(frozen=True)
class ClassComparison:
    """Test accuracy class by class of two experiments, with the classes that differ most named."""

    title: str
    experiments: tuple[Experiment, Experiment]

    def draw(self, material):
        first, second = summaries = list(measured_alike(self.experiments, material).values())
        return plots.class_comparison(
            class_accuracies(first),
            class_accuracies(second),
            first.records[0].class_names,
            [summary.experiment.short_name for summary in summaries],
        )


@dataclass(frozen=True)
class LongTail:
    """Test accuracy over all classes, and over those with many, medium and few training images."""

    title: str
    experiments: tuple[Experiment, ...]

    def summaries(self, material):
        """As `measured_alike`: a head and its network share the data, other settings may not be as listed."""
        return measured_alike(self.experiments, material, OF_DATA)

    def draw(self, material):
        summaries = self.summaries(material).values()
        return plots.long_tail_accuracy({one.experiment.short_name: by_shots(one.records) for one in summaries})


@dataclass(frozen=True)
class ImageGrid:
    """Training images, a row for each class, of the data that an experiment was measured on.

    Attributes:
        experiments: the one whose data are shown.
        classes: labels of the classes; None: the first ten.
        images: how many for each class.
    """

    title: str
    experiments: tuple[Experiment]
    classes: tuple[int, ...] | None = None
    images: int = 8

    def draw(self, material):
        from kmodels.report.network_pictures import dataset_of

        (experiment,) = self.experiments
        record = next((item for item in material.records if item.experiment.name == experiment.name), None)
        require(record, "it needs a record of the experiment whose images it shows", experiment.name)
        dataset = dataset_of(record, material.data_dir)
        known = range(len(dataset.class_names))
        classes = known[:10] if self.classes is None else self.classes
        require(set(classes) <= set(known), f"classes must be from 0 to {len(known) - 1}", classes)
        rows = [np.flatnonzero(dataset.train.labels == label)[: self.images] for label in classes]
        return plots.image_grid(
            [dataset.train.images[row] for row in rows], row_titles=[dataset.class_names[label] for label in classes]
        )


def _diverged(material, sweep, values):
    """Which values of a sweep have seeds that diverged, in words; "" where none has."""
    names = [experiment.name for experiment in sweep.experiments]
    lost = {}
    for summary in summarise([record for record in material.records if record.experiment.name in names]):
        if summary.diverged:
            value = values[names.index(summary.experiment.name)]
            lost[value] = lost.get(value, 0) + summary.diverged
    return "".join(f"; diverged at {value}: {number}" for value, number in lost.items())


def measured_alike(experiments, material, alike=None):
    """The largest group of these experiments that was measured under one set of conditions.

    Args:
        experiments: Experiments as listed.
        material: a Material.
        alike: the settings that must have been changed alike; None: all.

    Returns:
        {name: Summary}, in the order of the experiments.

    Raises:
        InputError: if there are not two.
    """
    names, groups = [experiment.name for experiment in experiments], {}
    for summary in summarise([record for record in material.records if record.experiment.name in names]):
        if summary.records:
            key = _conditions(summary.records[0], material.listed, alike)
            known = groups.setdefault(key, {}).setdefault(summary.experiment.name, summary)
            if len(known.records) < len(summary.records):
                groups[key][summary.experiment.name] = summary
    group = max(
        groups.values(), key=lambda group: (len(group), sum(len(one.records) for one in group.values())), default={}
    )
    _require_two(group, names)
    return {name: group[name] for name in names if name in group}


def _require_two(found, names):
    if len(found) < 2:
        raise InputError(f"it needs records of at least two of {shorten(names)}, on the same images")


def _conditions(record, listed, alike=None):
    """What must be equal for two records to be compared: backend, images, and the settings that are not as listed.

    The images are compared by their source and counts. Their checksum depends on the size, which experiments choose.
    """
    source, experiment = record.source, record.experiment
    changed = [
        f"{name}={value}"
        for name, value in changed_settings(experiment, listed[experiment.name]).items()
        if alike is None or name in alike
    ]
    counts = source["counts"].get("val"), source["counts"].get("test")
    return record.backend, source["kind"], source["name"], *counts, *changed
