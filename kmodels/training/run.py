"""`run`: an experiment and a seed in, a record out. Names are resolved here; `train` does the training."""

import contextlib
import datetime
import random
import tempfile

import numpy as np

from kmodels.components import call_with, load_component, source_digest
from kmodels.data import Dataset, load_dataset
from kmodels.data.cache import SPLITS
from kmodels.errors import InputError, describe_error, require, shorten
from kmodels.files import writable_folder
from kmodels.models import build_model, trainable_parameters
from kmodels.models.saving import load_network, save_network, weights_checksum
from kmodels.models.transfer import freeze, transfer_weights
from kmodels.records import Record, finite, read_record, record_stem, write_record
from kmodels.training import heads
from kmodels.training.environment import environment
from kmodels.training.parents import parent_network
from kmodels.training.precision import computing_in, resolve
from kmodels.training.train import Training, check_on_device

# The fields of an Experiment that are arguments of `train`.
OF_TRAIN = (
    "epochs", "batch_size", "schedule", "warmup_epochs", "plateau_patience", "plateau_factor", "sampler",
    "label_smoothing", "class_weight", "keep", "monitor", "patience", "data_loader",
)  # fmt: skip
OF_OPTIMIZER = ("learning_rate", "momentum", "weight_decay")


def run(
    experiment,
    seed=0,
    out="results",
    *,
    data_dir=None,
    again=False,
    resume=False,
    verbose=None,
    on_device=None,
    devices=1,
    callbacks=(),
):
    """Trains on train, chooses the weights on val, evaluates test once, writes a record.

    Args:
        experiment: an Experiment.
        seed: decides initial weights, order and augmentation; at least 0. Python's and NumPy's generators are reseeded.
        out: the results folder. The record goes to `<out>/<record.stem>.json`, the network beside it as .keras (the
            heads "svm" and "nearest_mean" have none), and until then the state for a resume as .checkpoint.
        data_dir: where the dataset's files are; see `load_dataset`.
        again: repeat a run that is recorded in `out`; otherwise its record is returned.
        resume: continue from the checkpoint of an earlier, killed or interrupted run of the same experiment and seed,
            and end as that one would have; without a checkpoint, start at the beginning.
        verbose: as in Keras: 0 silent, 1 a bar, 2 a line per epoch; None: a bar on a terminal, else lines.
        on_device: hold all images on the device and train an epoch in one call (JAX only); None: where that is faster.
        devices: how many to divide each batch among (JAX only). The outcome differs by rounding only.
        callbacks: further Keras callbacks, called after kmodels' own. The record names them; the name of the run does
            not depend on them.

    Returns:
        The Record. Its status is "diverged" if the loss stopped being a finite number.

    Raises:
        InputError: for bad data, a batch larger than the train split or not divisible by `devices`, more devices than
            there are, or an `out` that cannot be written.
        KeyboardInterrupt: on Ctrl-C, after the finished epochs were written to a record marked "interrupted".
        Exception: whatever else ended the training (memory, for example), after a record marked "failed".
    """
    check_on_device(on_device, experiment.data_loader)
    job = Job(experiment, seed, out, data_dir)
    if not again and (record := job.recorded()):
        if verbose != 0:
            print(f"{experiment.name}, seed {job.seed} is recorded already: {job.path('.json')}; again repeats it")
        return record
    return execute(job, resume=resume, verbose=verbose, on_device=on_device, devices=devices, callbacks=callbacks)


def execute(job, *, verbose=None, **options):
    """Trains or fits what a Job describes, and returns its Record; options as in `run`."""
    if job.experiment.is_fitted:
        return heads.fit_head(job, verbose)
    training = prepare(job, verbose=verbose, **options)
    with job.recording_failure(training):
        training.fit()
    return finish(job, training)


def prepare(job, *, resume=False, verbose=None, on_device=None, devices=1, callbacks=()):
    """The Training of a Job, ready to be fitted; options as in `run`."""
    experiment, path = job.experiment, job.path(".checkpoint")
    if path.exists() and not resume and verbose != 0:
        print("ignoring the checkpoint of an earlier run; pass resume to continue it", flush=True)
    _seed_generators(job.seed)
    if experiment.head == "crt":
        network, dataset = heads.classifier_on_features(job, verbose)
    else:
        network, dataset = first_network(job, verbose), job.dataset
    # An optimizer of the user's has these settings itself.
    settings = OF_TRAIN if "optimizer" in job.components else (*OF_TRAIN, *OF_OPTIMIZER)
    return Training(
        network,
        dataset,
        **{name: getattr(experiment, name) for name in settings},
        optimizer=job.optimizer(),
        augmentation=job.augmentation(),
        seed=job.seed,
        checkpoint=path,
        resume=resume,
        on_device=on_device,
        devices=devices,
        callbacks=callbacks,
        verbose=verbose,
    )


def first_network(job, verbose=None):
    """The network as training begins: initialised or with the weights of another one, and frozen if asked for."""
    experiment, classes = job.experiment, len(job.dataset.class_names)
    with computing_in(job.precision):
        network = build_model(experiment.model, job.dataset.image_shape, classes, **experiment.model_options)
    initialised = ()
    if job.parent:
        transferred, initialised = transfer_weights(network, load_network(job.parent))
        job.started_from = {"network": job.parent.name, "taken": transferred, "drawn": initialised}
        if verbose != 0:
            new = shorten(initialised) or "none"
            print(f"weights of {job.parent}: {shorten(transferred)}; initialised: {new}", flush=True)
    if experiment.frozen:
        freeze(network, (*initialised, "logits"))
    return network


def finish(job, training, seeds_at_once=1):
    """Evaluates a fitted Training, writes network and record, and returns the record."""
    fitted = training.fitted()
    if fitted.diverged:
        record, _ = job.write("diverged", training, seeds_at_once=seeds_at_once)
        job.clean_up(training)
        return record
    with job.recording_failure(training):
        evaluations = {name: fitted.evaluate(getattr(training.dataset, name)) for name in SPLITS}
    network = training.network
    if job.experiment.head == "crt":
        network = heads.with_classifier(job.backbone, *network.get_layer("logits").get_weights())
    # Before the record: a record that says completed always has its own network beside it.
    save_network(network, job.path(".keras"))
    job.remember_network()
    record, _ = job.write("completed", training, seeds_at_once=seeds_at_once, **evaluations)
    job.clean_up(training)
    if training.settings.verbose != 0:
        kept = "the last epoch" if job.experiment.keep == "last" else f"epoch {record.best_epoch}, with the best"
        kept += "" if job.experiment.keep == "last" else f" {job.experiment.monitor}"
        print(
            f"{record.epochs_run} epochs; kept the weights of {kept}; test accuracy "
            f"{100 * record.test.accuracy:.2f} % of {record.test.examples:,} images",
            flush=True,
        )
    return record


class Job:
    """One experiment with one seed: its data, what it starts from, and the files that it leaves.

    Args:
        experiment, seed, out, data_dir: as in `run`.
        parents: {(name of an experiment, seed): .keras file}, the networks that `init_from` means before any other;
            this job's own is added once it is there.
        opened: {(dataset, image_size, data_dir): Dataset or InputError} of jobs before; filled.

    Attributes:
        dataset: the Dataset, its train split reduced as the experiment says.
        parent: the file of the network that `init_from` means; None: none.
        started_from: as in a Record, once the network is there.
        backbone: the network whose features a head takes, once it is loaded.
        components: {field: function} of the names "module:function".
    """

    def __init__(self, experiment, seed, out, data_dir=None, parents=None, opened=None):
        is_seed = isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0
        require(is_seed, "seed must be an integer of at least 0", seed)
        self.experiment, self.seed, self.out = experiment, int(seed), writable_folder(out)
        self.started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.components = {name: load_component(name, text) for name, text in experiment.references.items()}
        self.code = {name: source_digest(component) for name, component in self.components.items()} or None
        self.dataset = self._open(data_dir, {} if opened is None else opened)
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
        self.started_from = self.backbone = None

    def _open(self, data_dir, opened):
        experiment = self.experiment
        key = (experiment.dataset, experiment.image_size, data_dir)
        if key not in opened:
            try:
                opened[key] = self._load(data_dir)
            except InputError as error:
                opened[key] = error
        dataset = opened[key]
        if isinstance(dataset, InputError):
            raise dataset
        if experiment.subset is not None:
            dataset = dataset.subset(experiment.subset)
        if experiment.imbalance:
            kind, value = experiment.imbalance
            dataset = getattr(dataset, f"with_{kind}")(value, self.seed)
        return dataset

    def _load(self, data_dir):
        experiment = self.experiment
        if "dataset" not in self.components:
            return load_dataset(experiment.dataset, experiment.image_size, data_dir)
        function = self.components["dataset"]
        arguments = {"image_size": experiment.image_size, "data_dir": data_dir}
        dataset = call_with("dataset", experiment.dataset, function, **arguments)
        require(isinstance(dataset, Dataset), f"{experiment.dataset} must return a kmodels.Dataset", type(dataset))
        return dataset

    def path(self, suffix):
        """A file of this run, once completed: its record (.json), network (.keras) or checkpoint (.checkpoint)."""
        backend, precision = self.environment["backend"], self.environment["precision"]
        stem = record_stem(
            self.experiment, self.seed, self.dataset.source, self.weights_sha256, backend, precision, self.code
        )
        return self.out / f"{stem}{suffix}"

    def recorded(self):
        """The record of an earlier run of the same, if that was completed; None otherwise."""
        if not self.path(".json").exists():
            return None
        self.remember_network()
        return read_record(self.path(".json"))

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

    def augmentation(self):
        """What `train` takes: the name, or the function or layers that the experiment's own function stands for."""
        from kmodels.augment.custom import from_component

        if "augmentation" not in self.components:
            return self.experiment.augmentation
        return from_component(self.experiment.augmentation, self.components["augmentation"])

    def write(self, status, training=None, error=None, seeds_at_once=1, **fields):
        """Writes the record, to a temporary folder where `out` has become unwritable; returns it and its path."""
        devices = training.devices.count if training and training.devices else 1
        record = Record(
            experiment=self.experiment,
            seed=self.seed,
            status=status,
            source=dict(self.dataset.source),
            class_names=self.dataset.class_names,
            image_shape=self.dataset.image_shape,
            **(measured(training) if training else {}),
            **fields,
            started=self.started,
            weights_sha256=self.weights_sha256,
            started_from=self.started_from,
            code_sha256=self.code,
            seeds_at_once=seeds_at_once,
            error=error,
            devices=devices,
            **self.environment,
        )
        try:
            return record, write_record(record, self.out)
        except InputError as unwritable:
            path = write_record(record, tempfile.mkdtemp(prefix="kmodels-"))
            print(f"{unwritable}; the record is in {path}")
            return record, path

    @contextlib.contextmanager
    def recording_failure(self, training):
        """A context that records the finished epochs where an error ends it, and tells the error where they are."""
        try:
            yield
        except BaseException as error:
            self._record_failure(training, error)
            raise

    def _record_failure(self, training, error):
        if training.checkpoint:
            training.checkpoint.close()
        if isinstance(error, InputError):
            return
        interrupted, epochs = isinstance(error, KeyboardInterrupt), training.epochs_run
        if interrupted and not epochs:
            error.args = ("no epoch was finished, nothing is recorded",)
            return
        message = None if interrupted else describe_error(error)
        _, path = self.write("interrupted" if interrupted else "failed", training, message)
        where = f"the {epochs} finished epochs are in {path}"
        if saved := training.checkpoint.epochs_saved:
            where += f"; resume continues from epoch {saved + 1}"
        if interrupted:
            error.args = (where,)
        else:
            error.add_note(where)

    def clean_up(self, training):
        """Removes what earlier attempts at this run left, now that it is completed."""
        training.checkpoint.remove()
        for status in ("interrupted", "failed"):
            self.path(f"-{status}.json").unlink(missing_ok=True)


def measured(training):
    """The fields of a Record that describe what was trained, and how that went."""
    fitted = training.fitted()
    return {
        "parameters": trainable_parameters(training.network),
        "history": {name: tuple(map(finite, values)) for name, values in fitted.history.items()},
        "best_epoch": fitted.best_epoch,
        "compile_seconds": fitted.compile_seconds,
        "train_seconds": fitted.train_seconds,
        "images_per_second": fitted.images_per_second,
        "callbacks": tuple(type(callback).__name__ for callback in training.settings.callbacks),
    }


def _seed_generators(seed):
    # Every random number in Keras (initial weights, dropout) starts from these. keras.utils.set_random_seed would also
    # import TensorFlow, on every backend, and let it take the GPU.
    random.seed(seed)
    np.random.seed(seed % 2**32)
