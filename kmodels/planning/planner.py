"""What is measured already and what can be measured here: the data, records, networks and speeds behind a plan.

A run is recorded if there is a record of it on the same images, with the same settings and precision, from any device
and backend: all backends compute the same.
"""

import os
from pathlib import Path

import keras

from kmodels.backend import device_name
from kmodels.data.downloads import without_downloads
from kmodels.data.here import check_here, data_dir_of
from kmodels.errors import InputError
from kmodels.experiment import OF_TRAINING
from kmodels.planning.estimates import Data, Estimator, measured_speed
from kmodels.planning.plan import PlanBuilder
from kmodels.records import read_records
from kmodels.records.descriptions import changed_settings, on_published_data
from kmodels.records.summaries import by_network, parent_of
from kmodels.training.job import open_dataset, reduced
from kmodels.training.precision import resolve

# A run that takes longer than this, in hours, is not for this device; where no other limit is given.
LONGEST = 2.0


class Planner:
    """Makes plans, again after every run: with each record, claims need less and estimates are better.

    Args:
        experiments: Experiments to be measured.
        claims: Claims about them.
        seeds: how many and which seeds each is to have.
        out: the results folder; it need not exist.
        data_dir: a folder with the data of several datasets, or of one, see `data_dir_of`.
        skip_unreadable: as in `load_dataset`.
        longest: in hours: longer runs are not done.
        others: further Experiments, whose networks these may start from.
        measure: whether to measure the speed of networks that no record tells of.

    Example:
        planner = Planner(EXPERIMENTS, CLAIMS, seeds=range(5), data_dir="data")
        print(planner.plan().runs[0])
    """

    def __init__(
        self,
        experiments,
        claims,
        seeds,
        out="results",
        data_dir=None,
        *,
        skip_unreadable=False,
        longest=LONGEST,
        others=(),
        measure=True,
    ):
        self.wanted, self.claims, self.seeds, self.out = tuple(experiments), tuple(claims), tuple(seeds), Path(out)
        self.by_name = {one.name: one for one in (*others, *experiments)}
        self._fingerprints = {name: one.fingerprint for name, one in self.by_name.items()}
        self.refresh()
        self._data_dir, self._skip, self.longest = data_dir, skip_unreadable, longest
        self.device, self.backend = device_name(), keras.backend.backend()
        self._measure = measured_speed(self.device, self.backend) if measure else None
        self._opened, self._data = {}, {}

    def plan(self, without=()):
        """The Plan as things are now.

        Args:
            without: {(name of an experiment, seed)} that are not to be tried, because they were and failed.
        """
        return PlanBuilder(self, set(without)).plan()

    def add(self, record):
        """Takes the record of a run into account that has ended, and those that other processes wrote meanwhile."""
        self.refresh()
        if record.stem not in {known.stem for known in self.records}:
            self.records.append(record)
            self._networks = by_network(self.records)

    def refresh(self):
        """Reads the records again: other processes may have written some."""
        self.records = list(read_records(self.out).values()) if self.out.is_dir() else []
        self._networks = by_network(self.records)

    def data_dir(self, experiment):
        """The `data_dir` of the dataset of an experiment; None where there is none, or none is needed."""
        return data_dir_of(experiment.dataset, self._data_dir)

    def dataset(self, experiment):
        """The whole Dataset of an experiment; raises InputError where it is not on this machine."""
        key = (experiment.dataset, experiment.image_size, experiment.group_by)
        if key not in self._opened:
            data_dir = self.data_dir(experiment)
            try:
                check_here(experiment.dataset, data_dir)
                with without_downloads():
                    self._opened[key] = open_dataset(experiment, data_dir, self._skip)
            except InputError as error:
                self._opened[key] = error
        if isinstance(self._opened[key], InputError):
            raise self._opened[key]
        return self._opened[key]

    def data(self, experiment):
        """The Data that an experiment trains on; raises as `dataset`."""
        key = experiment.fingerprint
        if key not in self._data:
            dataset = reduced(self.dataset(experiment), experiment, self.seeds[0])
            self._data[key] = Data(len(dataset.train), dataset.image_shape, len(dataset.class_names))
        return self._data[key]

    def counts(self, record, experiment):
        """Whether a record is of an experiment as it is here: completed or diverged, on the same images and settings.

        Where the data are not here, those on the published images count. Runs that started from a network which a
        repeat has replaced do not.
        """
        # Experiments with equal settings have several names.
        equal = self._fingerprints.get(record.experiment.name) == self._fingerprints[experiment.name]
        if record.status not in ("completed", "diverged") or not equal:
            return False
        ignored = {"precision", *(OF_TRAINING if experiment.is_fitted else ())}
        if changed_settings(record.experiment, experiment).keys() - ignored:
            return False
        precision = "float32" if experiment.head else resolve(experiment.precision)
        if record.precision != precision or self._from_replaced(record):
            return False
        return self._same_images(record, experiment)

    def _from_replaced(self, record):
        """Whether there is a record of the network that a run started from, and it has other weights by now."""
        known = bool(record.started_from) and record.started_from["network"] in self._networks
        return known and parent_of(record, self._networks) is None

    def _same_images(self, record, experiment):
        try:
            return record.source["sha256"] == self.dataset(experiment).source["sha256"]
        except InputError:
            return on_published_data(record.source)

    def estimate(self, experiment, device=None, backend=None):
        """The Estimate of a run here, or of one on another device, of which only records tell; None where none does."""
        try:
            data = self.data(experiment)
        except InputError:
            return None
        if device:
            return Estimator(self.records, device, backend)(experiment, data)
        return Estimator(self.records, self.device, self.backend, self._measure)(experiment, data)

    def network(self, name, seed):
        """The network of an experiment that others start from, with a record that counts; None where it is not here."""
        for record in self.records:
            file = self.out / f"{record.stem}.keras"
            if record.seed == seed and self.counts(record, self.by_name[name]) and file.is_file():
                return file
        return None

    def missing(self, experiment):
        """What an experiment needs that is not on this machine, in words; None."""
        try:
            self.dataset(experiment)
            self.data(experiment)
        except InputError as error:
            return str(error)
        return _missing_weights(experiment)

    def failed(self, experiment, seed):
        """What a run here failed on before, with the record that says so; None."""
        for record in self.records:
            here = (record.device, record.backend) == (self.device, self.backend)
            same = record.experiment.fingerprint == experiment.fingerprint and record.seed == seed
            if record.status == "failed" and here and same and record.experiment.name == experiment.name:
                return f"it failed here: {record.error}; to try it again, remove {record.stem}.json"
        return None

    def begun(self, experiment, seed):
        """Whether a run was interrupted here that can be resumed."""
        pattern = f"{self.backend}*-{experiment.fingerprint}-*seed{seed}.checkpoint*"
        return any((self.out / experiment.name).glob(pattern))


def _missing_weights(experiment):
    """Which published weights an experiment starts from that are not on this machine, in words; None."""
    weights = experiment.model_options.get("weights")
    if weights is None:
        return None
    if weights != "imagenet":
        return None if Path(weights).is_file() else f"there is no file {Path(weights).name} with weights"
    if experiment.model == "resnet50":
        from kmodels.models.resnet import KERAS_FILE

        folder = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"))
        if not (folder / "models" / KERAS_FILE).is_file():
            return f"ImageNet weights of resnet50 are not on this machine ({KERAS_FILE}, 94 MB, downloaded by Keras)"
    if experiment.model == "efficientnet_lite0":
        from kmodels.models.efficientnet import packaged

        try:
            packaged()
        except InputError as error:
            return str(error)
    return None
