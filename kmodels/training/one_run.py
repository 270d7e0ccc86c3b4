"""One run, from data to record. The only place that fits networks and evaluates them."""

import datetime
import gc
import random
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from kmodels.analysis.predict import predict_logits
from kmodels.data.feeds import ArraysFeed, DividedFeed, EpochOrder, divided_stream, stream_feed
from kmodels.errors import InputError, few, require
from kmodels.files import writable_folder
from kmodels.models import build_model, trainable_parameters
from kmodels.models.saving import load_network, save_network, weights_checksum
from kmodels.models.transfer import freeze, inherit
from kmodels.records import Record, read_record, record_stem, write_record
from kmodels.training import checkpoint, hosts
from kmodels.training.callbacks import Watch
from kmodels.training.compilation import keep_compiled
from kmodels.training.devices import choose
from kmodels.training.environment import environment
from kmodels.training.evaluate import evaluation_of_logits
from kmodels.training.losses import class_weights
from kmodels.training.parents import parent_network
from kmodels.training.precision import computing_in, resolve
from kmodels.training.trainer import build_state

EVALUATION_BATCH = 512


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run, not what: none of it changes what comes out. See `run`."""

    data_dir: Path | None = None
    verbose: int | None = None
    resume: bool = False
    resident: bool | None = None
    devices: int = 1


class Run:
    """One experiment with one seed on its way to a record. Called, it goes all the way.

    Attributes:
        dataset: the Dataset, train reduced as the experiment says.
        parent: the file of the network that `init_from` means; None: none.
        started_from: as in a Record.
        network: what is trained; there after `build`.
        trainer: `network` as it is compiled.
        seeds_at_once: how many seeds it is trained with in one program.
        watch: its callbacks.
    """

    def __init__(self, experiment, seed, out, options, shelf):
        is_seed = isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0
        require(is_seed, "seed must be an integer of at least 0", seed)
        require(
            not options.resident or (keras.backend.backend() == "jax" and experiment.feed == "arrays"),
            "resident must be None or False but on JAX with feed 'arrays'",
            options.resident,
        )
        self.devices = choose(options.devices, experiment.batch_size)
        if not hosts.is_first():
            options = replace(options, verbose=0)
        self.experiment, self.seed, self.out, self.options = experiment, int(seed), writable_folder(out), options
        self._shelf = shelf
        self.seeds_at_once, self.started_from = 1, None
        self._started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.dataset = shelf.dataset(experiment, self.seed, options.data_dir)
        _check_train(experiment, self.dataset)
        made = shelf.made.get((experiment.init_from, self.seed))
        self.parent = made or parent_network(experiment, self.seed, self.out, self.dataset.source)
        self._weights_sha256 = weights_checksum(self.parent or experiment.weights)
        self._environment = {**environment(), "precision": self.precision}
        files = [self.path(suffix).exists() for suffix in (".json", ".checkpoint")]
        hosts.require_same("the run, its data and what is in `out` of it", (self.path("").name, files))

    def __call__(self):
        with hosts.keeping_batches():
            self.build()
            try:
                self.train()
            except BaseException as error:
                self.give_up(error)
                raise
            return self.finish()

    def path(self, suffix):
        """A file of this run, once completed: its record (.json), network (.keras) or checkpoint (.checkpoint)."""
        stem = record_stem(
            self.experiment,
            self.seed,
            self.dataset.source,
            self._weights_sha256,
            self._environment["backend"],
            self._environment["precision"],
        )
        return self.out / f"{stem}{suffix}"

    @property
    def precision(self):
        """What the network computes in."""
        return resolve(self.experiment.precision)

    def completed(self):
        """The record of an earlier run of the same, if that was completed; None otherwise."""
        if not self.path(".json").exists():
            return None
        self._tell_shelf()
        return read_record(self.path(".json"))

    def _tell_shelf(self):
        """Lets later runs of a sweep that start from this one's network have this and no other of its name."""
        if self.path(".keras").exists():
            self._shelf.made[self.experiment.name, self.seed] = self.path(".keras")

    @property
    def epochs_done(self):
        """How many epochs the checkpoint holds that `train` goes on from."""
        return self.watch.checkpoint.epochs_done

    def build(self, place=0):
        """Makes network, trainer and callbacks, in the state that training begins or goes on from.

        Args:
            place: of the trainer on the shelf; runs that are under way at the same time need different ones.
        """
        experiment = self.experiment
        # A network and its optimizer refer to each other: those of an earlier run would stay in memory for long.
        gc.collect()
        keep_compiled()
        saved = None
        if self.options.resume:
            saved = checkpoint.load(self.path(".checkpoint"))
        elif self.path(".checkpoint").exists() and self.options.verbose != 0:
            print("begins anew, though a checkpoint of an earlier run is there: resume would go on from it", flush=True)
        _seed(self.seed)
        with self.devices.scope() if self.devices else nullcontext():
            with computing_in(self.precision):
                network = self.first_network()
            weights = class_weights(experiment.class_weight, self.dataset.train.labels, len(self.dataset.class_names))
            held = self._shelf.trainer(experiment, network, self.seed, place, self.devices, weights)
            self.trainer, self.network = held
            build_state(self.trainer)
        self.watch = Watch(experiment, self.path(".checkpoint"), saved)
        self.watch.checkpoint.restore(self.trainer)

    def first_network(self):
        """The network as training finds it: drawn, or started from another one, and frozen as the experiment says."""
        experiment, classes = self.experiment, len(self.dataset.class_names)
        network = build_model(experiment.model, self.dataset.image_shape, classes, **experiment.model_options)
        drawn = ()
        if self.parent:
            taken, drawn = inherit(network, load_network(self.parent))
            self.started_from = {"network": self.parent.name, "taken": taken, "drawn": drawn}
            if self.options.verbose != 0:
                print(f"from {self.parent}: {few(taken)}; drawn anew: {few(drawn) or 'none'}", flush=True)
        if experiment.frozen:
            freeze(network, (*drawn, "logits"))
        return network

    def whole_network(self):
        """What lies beside the record: pixels in, logits out."""
        return self.network

    def put_down(self):
        """Lets go of what `build` made."""
        self.trainer = self.network = self.watch = None

    @property
    def examples(self):
        """The splits that the network sees."""
        return self.dataset

    @cached_property
    def resident(self):
        """Whether the images are held on the device."""
        if self.options.resident is not None or keras.backend.backend() != "jax" or self.experiment.feed != "arrays":
            return bool(self.options.resident)
        from kmodels.training.epoch_program import fits_on_device

        # Hosts may differ in free memory, and must not in what they compute.
        return bool(hosts.of_first(fits_on_device(self.examples, self._shelf.bytes_on_device(self.examples))))

    def feed(self, split, batch_size=EVALUATION_BATCH, seed=None):
        """Batches of the split "train", "val" or "test", or where they are resident, chunks of steps.

        Only what is trained on has a `seed`, and is drawn as the experiment's sampler says.
        """
        sampler = self.experiment.sampler if seed is not None else "shuffle"
        split = getattr(self.examples, split)
        if self.devices:
            batch_size = self.devices.batch_size(batch_size)
        if self.resident:
            from kmodels.training.epoch_program import ResidentFeed

            images, labels = self._shelf.on_device(split, self.devices)
            return ResidentFeed(images, labels, batch_size, seed, self.devices, sampler)
        if self.devices:
            return DividedFeed(self.devices, split, batch_size, seed, sampler)
        return ArraysFeed(split, batch_size, seed, sampler)

    def train(self):
        """Fits the network, from the checkpoint's epoch on."""
        experiment, saver = self.experiment, self.watch.checkpoint
        first, verbose = self.epochs_done, self.options.verbose
        if first:
            print(f"goes on after epoch {first}", flush=True)
        callbacks, steps = self.watch.callbacks, None
        if experiment.feed == "stream":
            feed, steps = stream_feed(self.dataset, experiment.batch_size, self.seed, experiment.epochs, first)
            feed = divided_stream(self.devices, feed) if self.devices else feed
        else:
            feed = self.feed("train", experiment.batch_size, self.seed)
            callbacks = [EpochOrder(feed), *callbacks]
        with self.watch.interrupts:
            self.trainer.fit(
                feed,
                steps_per_epoch=steps,
                initial_epoch=first,
                # A run that was killed after its last epoch has nothing left to train.
                epochs=first if saver.stopped else experiment.epochs,
                validation_data=self.feed("val"),
                callbacks=callbacks,
                # Our feeds decide the order; Keras would shuffle the batches once more.
                shuffle=False,
                verbose=(1 if sys.stdout.isatty() else 2) if verbose is None else verbose,
            )

    def finish(self):
        """Evaluates, and writes network and record; returns the record."""
        record = self._finish()
        # Another process may look next for what is in `out`.
        hosts.wait()
        return record

    def _finish(self):
        if self.watch.diverged:
            record, _ = self._write("diverged")
            self._clean_up()
            return record
        try:
            evaluations = {split: self._evaluate(split) for split in ("train", "val", "test")}
        except BaseException as error:
            self.give_up(error)
            raise
        if hosts.is_first():
            # Before the record: a record that says completed always has its own network beside it.
            save_network(self.whole_network(), self.path(".keras"))
        record, _ = self._write("completed", **evaluations)
        self._tell_shelf()
        self._clean_up()
        if self.options.verbose != 0:
            print(
                f"{self.watch.epochs} epochs; kept the weights of epoch {record.best_epoch}, where val_loss was lowest;"
                f" test accuracy {100 * record.test.accuracy:.2f} % of {record.test.examples:,} images"
            )
        return record

    def _clean_up(self):
        """Takes away what earlier attempts at this run left, now that it has come to its end."""
        self.watch.checkpoint.remove()
        for status in ("interrupted", "failed") if hosts.is_first() else ():
            self.path(f"-{status}.json").unlink(missing_ok=True)

    def give_up(self, error):
        """Records what was finished before the error, and tells the error where."""
        self.watch.checkpoint.close()
        if isinstance(error, InputError):
            return
        interrupted = isinstance(error, KeyboardInterrupt)
        if interrupted and not self.watch.epochs:
            error.args = ("no epoch was finished, nothing is recorded",)
            return
        said = None if interrupted else f"{type(error).__name__}: {error}"
        _, path = self._write("interrupted" if interrupted else "failed", error=said)
        where = f"the {self.watch.epochs} finished epochs are in {path}"
        if self.path(".checkpoint").exists():
            where += "; resume goes on from there"
        if interrupted:
            error.args = (where,)
        else:
            error.add_note(where)

    def _evaluate(self, name):
        split = getattr(self.examples, name)
        if self.resident or self.devices:
            logits = self.trainer.predict(self.feed(name), verbose=0)
        else:
            logits = predict_logits(self.trainer, split.images, EVALUATION_BATCH)
        return evaluation_of_logits(split.labels, logits)

    def _measured(self):
        """The fields of a Record that tell what was trained and how that went."""
        seen = self.watch.seen(len(self.dataset.train), self.experiment.batch_size)
        return {"parameters": trainable_parameters(self.network), **seen}

    def _write(self, status, error=None, **evaluations):
        """Writes the record, to a temporary folder where `out` has become unwritable; returns it and its path."""
        record = Record(
            experiment=self.experiment,
            seed=self.seed,
            status=status,
            source=dict(self.dataset.source),
            class_names=self.dataset.class_names,
            image_shape=self.dataset.image_shape,
            **evaluations,
            **self._measured(),
            started=self._started,
            weights_sha256=self._weights_sha256,
            started_from=self.started_from,
            seeds_at_once=self.seeds_at_once,
            error=error,
            devices=self.devices.count if self.devices else 1,
            **self._environment,
        )
        if not hosts.is_first():
            return record, self.out / f"{record.stem}.json"
        try:
            return record, write_record(record, self.out)
        except InputError as unwritable:
            path = write_record(record, tempfile.mkdtemp(prefix="kmodels-"))
            print(f"{unwritable}; the record is in {path}")
            return record, path


def _check_train(experiment, dataset):
    """Raises InputError if the train split cannot be trained on as the experiment says."""
    require(
        experiment.is_fitted or experiment.batch_size <= len(dataset.train),
        f"batch_size must be at most {len(dataset.train)}, the size of the train split",
        experiment.batch_size,
    )
    sizes = np.bincount(dataset.train.labels, minlength=len(dataset.class_names))
    empty = ", ".join(name for name, size in zip(dataset.class_names, sizes, strict=True) if not size)
    require(
        not empty or experiment.sampler == "shuffle",
        f"sampler must be 'shuffle' where a class has no training image ({empty}); none can be drawn of it",
        experiment.sampler,
    )
    weights = experiment.class_weight
    if isinstance(weights, tuple):
        rule = f"class_weight must be {len(sizes)} numbers, one for each of {', '.join(dataset.class_names)}"
        require(len(weights) == len(sizes), rule, weights)


def _seed(seed):
    # Every draw in Keras (initial weights, dropout) starts from these. keras.utils.set_random_seed would also
    # import TensorFlow, on every backend, and let it take the GPU.
    random.seed(seed)
    np.random.seed(seed % 2**32)
