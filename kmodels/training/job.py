"""`Job`: one run's data, what it starts from, and the files that it leaves; `Outcome`: what became of it."""

import contextlib
import datetime
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kmodels.analysis.evaluation import evaluate_logits, evaluate_predictions, finite
from kmodels.augment.custom import from_component
from kmodels.components import call_with, load_component, source_digest
from kmodels.data import Dataset, load_dataset
from kmodels.data.arrays import range_unless_pixels
from kmodels.data.folder import require_outside
from kmodels.errors import InputError, describe_error, require, require_whole
from kmodels.experiment import Experiment
from kmodels.files import writable_folder
from kmodels.models import trainable_parameters
from kmodels.models.about import About
from kmodels.models.saving import save_network, weights_checksum
from kmodels.records import Record, read_record, record_stem, write_record
from kmodels.records.predictions import KEPT, predictions_of, write_predictions
from kmodels.tracking import Tracker
from kmodels.training.checkpoint import checkpoint_files, continued_from
from kmodels.training.environment import environment
from kmodels.training.parents import parent_network
from kmodels.training.precision import resolve
from kmodels.training.settings import checked_class_weight

# The statuses of records of attempts at a run.
INCOMPLETE = ("interrupted", "failed")


def reduced(dataset, experiment, seed):
    """The Dataset with its train split reduced as an Experiment says.

    Raises:
        InputError: if an Experiment's number for each class is not of as many classes.
    """
    part = dataset
    if experiment.subset is not None:
        part = part.subset(experiment.subset)
    if experiment.imbalance:
        kind, value = experiment.imbalance
        part = getattr(part, f"with_{kind}")(value, seed)
    # Heads read the weights without a check of their number.
    checked_class_weight(experiment.class_weight, part)
    # The settings of the experiment say which part it is; its runs are compared by the checksum of the whole.
    return replace(part, source={**part.source, "sha256": dataset.source["sha256"]})


def check_out(experiment, out, data_dir):
    """Raises InputError where the records of an experiment on a folder would be written among its images."""
    if experiment.dataset == "folder" and data_dir is not None:
        require_outside(Path(out) / experiment.name, data_dir)


def open_dataset(experiment, data_dir=None, skip_unreadable=False):
    """The whole Dataset of an Experiment, also where that names a function of the user's; raises as `load_dataset`."""
    if "dataset" not in experiment.references:
        return load_dataset(experiment.dataset, experiment.image_size, data_dir, skip_unreadable, experiment.group_by)
    function = load_component("dataset", experiment.dataset)
    arguments = {"image_size": experiment.image_size, "data_dir": data_dir}
    arguments["skip_unreadable"] = skip_unreadable or None
    dataset = call_with("dataset", experiment.dataset, function, **arguments)
    require(isinstance(dataset, Dataset), f"{experiment.dataset} must return a kmodels.Dataset", type(dataset))
    return dataset


def open_augmentation(experiment):
    """What `train` takes as augmentation: the name, or the function or layers that the user's function stands for."""
    if "augmentation" not in experiment.references:
        return experiment.augmentation
    return from_component(experiment.augmentation, load_component("augmentation", experiment.augmentation))


class Job:
    """One experiment with one seed: its data, what it starts from, and the files that it leaves.

    Args:
        experiment, seed, out, data_dir, skip_unreadable: as in `run`.
        parents: {(name of an experiment, seed): .keras file}, the networks that `init_from` means before any other;
            this job's own is added once it is there.
        opened: {what `load_dataset` takes: Dataset or InputError} of jobs before; filled.

    Attributes:
        dataset: the Dataset, its train split reduced as the experiment says.
        parent: the file of the network that `init_from` means; None: none.
        started_from: as in a Record, once the network is there.
        backbone: the network whose features a head takes, once it is loaded.
        components: {field: function} of the names "module:function".
        tracker: the Tracker that shows this run elsewhere; None: none.
    """

    def __init__(self, experiment, seed, out, data_dir=None, skip_unreadable=False, parents=None, opened=None):
        require_whole("seed", seed, 0)
        self.experiment, self.seed, self.out, self.data_dir = experiment, int(seed), writable_folder(out), data_dir
        self.started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.components = {name: load_component(name, text) for name, text in experiment.references.items()}
        references = experiment.references
        self.code = {name: source_digest(one, references[name]) for name, one in self.components.items()} or None
        self.dataset = self._open(data_dir, skip_unreadable, {} if opened is None else opened)
        # The record would not say what the step really was.
        images, batch_size = len(self.dataset.train), experiment.batch_size
        rule = f"batch_size must be at most {images}, the size of the train split"
        require(experiment.is_fitted or batch_size <= images, rule, batch_size)
        self._parents = {} if parents is None else parents
        known = self._parents.get((experiment.init_from, self.seed))
        self.parent = known or parent_network(experiment, self.seed, self.out, self.dataset.source)
        self.weights_sha256 = weights_checksum(self.parent or experiment.model_options.get("weights"))
        self.precision = "float32" if experiment.head else resolve(experiment.precision)
        self.environment = {**environment(), "precision": self.precision}
        self.started_from = self.backbone = self.tracker = None

    def _open(self, data_dir, skip_unreadable, opened):
        experiment = self.experiment
        key = (experiment.dataset, experiment.image_size, data_dir, skip_unreadable, experiment.group_by)
        if key not in opened:
            try:
                opened[key] = open_dataset(experiment, data_dir, skip_unreadable)
            except InputError as error:
                opened[key] = error
        dataset = opened[key]
        if isinstance(dataset, InputError):
            raise dataset
        return reduced(dataset, experiment, self.seed)

    @property
    def stem(self):
        """Where the files of this run lie under `out`, once it is completed, without suffix."""
        backend, precision = self.environment["backend"], self.environment["precision"]
        return record_stem(
            self.experiment, self.seed, self.dataset.source, self.weights_sha256, backend, precision, self.code
        )

    def path(self, suffix):
        """A file of this run, once completed: its record (.json), network (.keras) or checkpoint (.checkpoint)."""
        return self.out / f"{self.stem}{suffix}"

    @property
    def about(self):
        """What the network's file says of itself."""
        return About(
            class_names=tuple(self.dataset.class_names),
            image_shape=tuple(self.dataset.image_shape),
            record=self.stem,
            data_sha256=self.dataset.source["sha256"],
            value_range=range_unless_pixels(self.dataset.train.images),
        )

    def recorded(self):
        """The record of an earlier run of the same, if that was completed and has its own network; None otherwise."""
        path, network = self.path(".json"), self.path(".keras")
        if not path.exists():
            return None
        record = read_record(path)
        digest = weights_checksum(network)
        if digest and record.network_sha256 not in (None, digest):
            print(f"{network} is not the network of {path.name}: a repeat was killed between the two; running it again")
            return None
        self.remember_network()
        # What is newer is of a repeat that was killed, and may be resumed.
        completed = path.stat().st_mtime_ns
        for left in self._left_by_attempts():
            with contextlib.suppress(OSError):
                if left.stat().st_mtime_ns <= completed:
                    left.unlink()
        return record

    def remember_network(self):
        """Lets later jobs that start from this one's network have this and no other of its name."""
        if self.path(".keras").exists():
            self._parents[self.experiment.name, self.seed] = self.path(".keras")

    def optimizer(self):
        """What `train` takes: the name, or the optimizer that the experiment's own function returns."""
        experiment = self.experiment
        if "optimizer" not in self.components:
            return experiment.optimizer
        return call_with(
            "optimizer",
            experiment.optimizer,
            self.components["optimizer"],
            learning_rate=experiment.learning_rate,
            momentum=experiment.momentum or None,
            weight_decay=experiment.weight_decay,
        )

    def evaluations(self, outputs):
        """{split: Evaluation}.

        Args:
            outputs: {split: logits, floats (n, classes), or predicted classes, ints (n,)}.
        """
        classes = len(self.dataset.class_names)

        def evaluation(labels, output):
            if np.shape(output)[1:] == (classes,):
                return evaluate_logits(labels, output)
            return evaluate_predictions(labels, output, classes)

        return {name: evaluation(getattr(self.dataset, name).labels, output) for name, output in outputs.items()}

    def keep_predictions(self, outputs):
        """Writes the predictions of each image beside the record, see predictions.py; arguments as `evaluations`.

        After the record, which matters more where the disk is full.
        """
        try:
            kept = {name: predictions_of(getattr(self.dataset, name), outputs[name], self.data_dir) for name in KEPT}
            write_predictions(self.path(".json"), kept)
        except InputError as error:
            print(f"{error}; the predictions of each image are not kept")

    def write(self, status, training=None, error=None, **fields):
        """Writes the record, to a temporary folder where `out` has become unwritable; returns it and its path."""
        record = Record(
            experiment=self.experiment,
            seed=self.seed,
            status=status,
            source=dict(self.dataset.source),
            class_names=self.dataset.class_names,
            image_shape=self.dataset.image_shape,
            **(_measured(training) if training else {}),
            **fields,
            started=self.started,
            weights_sha256=self.weights_sha256,
            started_from=self.started_from,
            code_sha256=self.code,
            error=error,
            **self.environment,
        )
        try:
            path = write_record(record, self.out)
        except InputError as unwritable:
            path = write_record(record, tempfile.mkdtemp(prefix="kmodels-"))
            print(f"{unwritable}; the record is in {path}")
        if self.tracker:
            self.tracker.end(record, path)
        return record, path

    def save(self, network, training, **fields):
        """Writes the network, and the record of a completed run; returns the record.

        The network first: a record that says completed has its own network beside it. Where the disk is full, a
        copy of the network in the system's temporary folder comes first, then the record, and the network takes the
        space of the checkpoint; where it does not fit either, the copy stays, and lines say what is where.
        """
        path = self.path(".keras")
        try:
            save_network(network, path, self.about)
        except InputError as error:
            print(error)
            return self._save_what_fits(network, path, training, fields)
        record, _ = self.write("completed", training, network_sha256=weights_checksum(path), **fields)
        self.remember_network()
        self.clean_up(training)
        return record

    def _save_what_fits(self, network, path, training, fields):
        # A copy, since without the checkpoint there is no other.
        spare = Path(tempfile.mkdtemp(prefix="kmodels-")) / path.name
        digest = weights_checksum(spare) if _saved(network, spare, self.about) else None
        saved = False
        try:
            record, _ = self.write("completed", training, network_sha256=digest, **fields)
            self.clean_up(training)
            if saved := _saved(network, path, self.about):
                spare.unlink(missing_ok=True)
        finally:
            # Also when it is interrupted.
            if spare.exists():
                print(f"the network is in {spare}")
        if saved:
            self.remember_network()
        elif not digest:
            print("the network is lost; to have it, make space and run this again with again=True (--again)")
        if digest or not saved:
            return record
        return self.write("completed", training, network_sha256=weights_checksum(path), **fields)[0]

    @contextlib.contextmanager
    def recording_failure(self, training):
        """A context that records the finished epochs where an error ends it, and tells the error where they are."""
        try:
            yield
        except BaseException as error:
            training.checkpoint.close()
            if not isinstance(error, InputError):
                self._record_failure(training, error)
            if self.tracker:
                self.tracker.abandon(error)
            raise

    def _record_failure(self, training, error):
        interrupted, epochs = isinstance(error, KeyboardInterrupt | SystemExit), training.epochs_run
        if interrupted and not epochs:
            where = "no epoch was finished, nothing is recorded"
        else:
            status, message = ("interrupted", None) if interrupted else ("failed", describe_error(error))
            _, path = self.write(status, training, message)
            where = f"{'the finished epoch is' if epochs == 1 else f'the {epochs} finished epochs are'} in {path}"
            if saved := training.checkpoint.epochs_saved:
                where += f"; {continued_from(saved, epochs, 'resume=True (--resume)')}"
        if isinstance(error, KeyboardInterrupt):
            error.args = (where,)
        elif isinstance(error, SystemExit):
            print(f"terminated: {where}", file=sys.stderr, flush=True)
        else:
            error.add_note(where)

    def clean_up(self, training):
        """Removes what earlier attempts at this run left, now that it is completed."""
        training.checkpoint.close()
        for left in self._left_by_attempts():
            left.unlink(missing_ok=True)

    def _left_by_attempts(self):
        """The files that attempts at this run may have left which did not complete it."""
        records = (self.path(f"-{status}.json") for status in INCOMPLETE)
        return *checkpoint_files(self.path(".checkpoint")), *records


def _measured(training):
    """The fields of a Record that describe what was trained, and how that went."""
    fitted = training.fitted()
    return {
        "parameters": trainable_parameters(training.network),
        "history": {name: tuple(map(finite, values[: training.epochs_run])) for name, values in fitted.history.items()},
        "best_epoch": fitted.best_epoch,
        "compile_seconds": fitted.compile_seconds,
        "train_seconds": fitted.train_seconds,
        "images_per_second": fitted.images_per_second,
        "devices": training.devices.count if training.devices else 1,
        "callbacks": tuple(type(one).__name__ for one in training.settings.callbacks if not isinstance(one, Tracker)),
    }


def _saved(network, path, about):
    """Whether the network could be written."""
    try:
        return bool(save_network(network, path, about))
    except InputError:
        return False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one run of a sweep.

    Attributes:
        record: None where it failed.
        error: what it failed on; None otherwise.
        recorded: whether the record was there before.
    """

    experiment: Experiment
    seed: int
    record: Record | None = None
    error: Exception | None = None
    recorded: bool = False
