"""`train`: any network, on any dataset. Knows no experiment and writes no record.

It reads from top to bottom: `train` prepares a `Training`, fits it, and returns what came out as a `Fitted`.
"""

import gc
import inspect
import sys
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np

from kmodels import cell_output, notebook
from kmodels.analysis.evaluation import evaluate_logits
from kmodels.analysis.predict import predict_logits, usual_batch
from kmodels.augment import check_pixel_values
from kmodels.backend import keep_compiled
from kmodels.data import Split
from kmodels.data.arrays import labelled_images, range_unless_pixels, require_same_values
from kmodels.data.batches import ArrayBatches, EpochOrder, divided_stream, stream_batches
from kmodels.data.order import images_shown
from kmodels.errors import require
from kmodels.interrupts import Interrupts, interruptible
from kmodels.models.checks import check_graph
from kmodels.models.logits import logits_network
from kmodels.text import counted
from kmodels.training import checkpoint as checkpoints
from kmodels.training.callbacks import Clock, EndAtInterrupt, EpochLines, KeepWeights, StopOnNaN, best_mode
from kmodels.training.devices import choose_devices, copy_of, copy_variables
from kmodels.training.losses import class_weights
from kmodels.training.optimizers import EXCLUDED, build_optimizer, set_schedule
from kmodels.training.precision import LOSS_SCALE
from kmodels.training.settings import check_rate_callbacks, check_settings, compared_settings, described
from kmodels.training.trainer import build_state, build_trainer


@interruptible
def train(
    network,
    dataset,
    *,
    epochs=50,
    batch_size=128,
    optimizer="adam",
    learning_rate=None,
    momentum=0.0,
    weight_decay=None,
    schedule=None,
    warmup_epochs=0,
    plateau_patience=None,
    plateau_factor=0.1,
    augmentation="none",
    sampler="shuffle",
    label_smoothing=0.0,
    class_weight=None,
    metrics=(),
    callbacks=(),
    keep="best",
    monitor="val_loss",
    patience=None,
    seed=0,
    checkpoint=None,
    resume=False,
    data_loader="arrays",
    on_device=None,
    devices=1,
    verbose=None,
):
    """Trains a network on the train split of a dataset, and chooses its weights on the val split.

        fitted = kmodels.train(network, dataset, epochs=30, learning_rate=1e-3, augmentation="flip_crop", patience=5)
        fitted.best_epoch, fitted.history["val_loss"], fitted.evaluate(dataset.test).accuracy

    Args:
        network: a keras.Model, functional or Sequential (which may hold a subclassed one), from images (batch, height,
            width, channels) to logits (batch, classes). An end in softmax is recognised, and so is one unit for two
            classes, a logit or a sigmoid: the loss is computed before it, and the network is left as it is. Several
            sigmoids are refused, since an image is of one class, and so is a network with its own train_step or
            compute_loss: the loss is the cross entropy. Its weights are changed in place.
        dataset: a Dataset: `load_dataset(...)`, `Dataset.from_arrays(...)`, `Dataset.from_batches(...)`.
        epochs: the largest number of epochs.
        batch_size: images per training step; the last step of an epoch may have fewer, and is left out if it had less
            than an eighth (`kmodels.data.order.images_shown`).
        optimizer: "adam", "adamw", "sgd", "rmsprop" or "adagrad", with PyTorch's constants and arithmetic; or a
            keras.optimizers.Optimizer, of which a copy without state is used.
        learning_rate: initial; None: 0.001, or that of the optimizer given.
        momentum: of "sgd" and "rmsprop".
        weight_decay: added to the gradient, decoupled for "adamw"; None: PyTorch's default (adamw 0.01, others 0).
        schedule: of the learning rate: None (constant), "plateau", "cosine" or "linear" (to 0 at the last epoch), or a
            keras.optimizers.schedules.LearningRateSchedule, without learning_rate.
        warmup_epochs: in which the learning rate rises linearly from 0 to that with which the schedule then begins;
            below `epochs`.
        plateau_patience: multiply the learning rate by plateau_factor after this many epochs in which `monitor` did not
            improve; None: never, or with schedule "plateau" 5. Not together with another schedule or a warm-up.
            PyTorch's scheduler waits for one epoch more, and ignores a relative gain under 1e-4.
        plateau_factor: above 0 and below 1.
        augmentation: random changes of training images, computed on the device: the name of a policy (see
            `kmodels.POLICIES`), a Keras layer, a list of policies, layers and functions, or a function from images
            (batch, height, width, channels) to images of the same shape, written with keras.ops. Its random numbers
            come from a keras.random.SeedGenerator; those of functions and layers follow `seed`.
        sampler: which training images an epoch shows: "shuffle", "oversample" or "sqrt"; see `epoch_order`.
        label_smoothing: share of the target that is spread evenly over all classes, 0 to below 1.
        class_weight: None, "balanced" or a number for each class: its weight in the training loss; or a dict from
            indices of classes to numbers, in which a class left out weighs 1.
        metrics: further Keras metrics of labels (batch,) and logits (batch, classes), with names of their own; accuracy
            is always there.
        callbacks: Keras callbacks (a list, or one), called after kmodels' own. What they save is the network; what they
            add to `logs` is not in the history. Where EarlyStopping has restore_best_weights=True, the weights are
            restored that `keep` and `monitor` say, and `keep` must be "best".
        keep: which weights the network has in the end: "best" (of the epoch with the best `monitor`) or "last".
        monitor: "val_loss" or "val_accuracy": what best means, for keep, patience and plateaus.
        patience: end training after this many epochs in which `monitor` did not improve; None: never. Resumed with
            more, a training that had ended continues.
        seed: of order and augmentation, at least 0. Initial weights and dropout are the network's: call
            keras.utils.set_random_seed before building it.
        checkpoint: a file in which the state is saved after epochs; None: none.
        resume: continue from `checkpoint`, if it is there, and end exactly as an uninterrupted training would; the
            network must be built as it was then. A callback with state of its own takes part by get_state and
            set_state (see checkpoint.py); of any other a line says that it starts afresh.
        data_loader: "arrays" (batches from arrays), or "stream" (tf.data from the files of tfds).
        on_device: hold all images on the device and train an epoch in one call (JAX only); None: where that is faster.
        devices: how many to divide each batch among (JAX only); the outcome differs by rounding only.
        verbose: as in Keras: 0 silent, 1 a bar, 2 a line per epoch; None: a bar on a terminal, else lines.

    Returns:
        A Fitted.

    Raises:
        InputError: for a network, dataset or setting that does not fit; says what is allowed.
        KeyboardInterrupt: on Ctrl-C or a notebook's stop button. The network has the weights of the moment, the
            checkpoint those of an epoch; the message says how to resume.
    """
    training = Training(**locals())
    try:
        return training.fit()
    except KeyboardInterrupt as error:
        error.args = (training.how_to_resume(),)
        raise


# The defaults are written once, in the signature of `train`.
DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(train).parameters.items()
    if parameter.default is not inspect.Parameter.empty
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Fitted:
    """What `train` returns.

    Attributes:
        network: that was given to `train`, with the kept weights.
        history: {name: values by epoch}: loss, accuracy, val_loss, val_accuracy (fractions of 1), learning_rate,
            seconds and the metrics given. Where the loss has label smoothing, class weights or mixed images, also
            cross_entropy and val_cross_entropy, without them.
        best_epoch: the epoch whose weights were kept, from 1; None where no epoch has ended with a finite value.
        diverged: whether the loss stopped being a finite number, which ended training.
        compile_seconds: on JAX tracing and compiling the training step; elsewhere the first step. None before it.
        train_seconds: all training steps without that; validation excluded.
        images_per_second: training images over train_seconds; None where that cannot be measured.
    """

    network: keras.Model
    history: Mapping[str, list]
    best_epoch: int | None
    diverged: bool
    compile_seconds: float | None
    train_seconds: float
    images_per_second: float | None
    _logits: Any
    _value_range: tuple[float, float] | None

    def __repr__(self):
        return f"<Fitted {self.network.name}: {notebook.course(self)}>"

    def _repr_html_(self):
        return notebook.fitted_html(self)

    def evaluate(self, split):
        """The Evaluation of every image of a split: loss, accuracy, accuracy per class, confusion matrix, calibration.

        Args:
            split: a Split, as dataset.test, or a pair (images, labels) as `Dataset.from_arrays` takes it, with labels
                that are numbers or one-hot.

        Raises:
            InputError: for what is no such pair, and for images on another scale than the training images.
        """
        if not isinstance(split, Split):
            images, labels = labelled_images("evaluated", split)
            split = Split(images, labels, np.arange(len(labels)))
        require_same_values("evaluated images", split.images, self._value_range)
        return evaluate_logits(split.labels, self.logits(split))

    def logits(self, split):
        """What the network says of every image of a Split, in its order: float32 (n, classes)."""
        return self._logits(split)


class Training:
    """One call of `train`, prepared: data, trainer and callbacks are there, nothing is trained.

    Args:
        network, dataset, **settings: those of `train`.

    Attributes:
        settings: all arguments of `train`, by name.
        trainer: the network with augmentation and loss, as it is compiled.
        callbacks: in the order in which they are called.
        checkpoint: the Checkpoint, the last of them; None without one.
        on_device: whether the images are held on the device.
    """

    def __init__(self, network, dataset, **settings):
        self.network, self.dataset = network, dataset
        self.settings = s = SimpleNamespace(**{**DEFAULTS, **settings})
        check_settings(s, dataset)
        check_on_device(s.on_device, s.data_loader)
        check_graph(network, dataset.image_shape)
        # A network and its optimizer refer to each other: those of an earlier training would stay in memory for long.
        gc.collect()
        self.devices = choose_devices(s.devices, s.batch_size)
        saved = checkpoints.load(s.checkpoint) if s.resume and s.checkpoint else None
        keep_compiled()
        classes = len(dataset.class_names)
        weights = class_weights(s.class_weight, dataset.train.labels, classes)
        with self.devices.scope() if self.devices else nullcontext():
            self._trained = copy_of(network) if self.devices else network
            logits = logits_network(self._trained, classes, dataset.train.images)
            check_pixel_values(s.augmentation, dataset.train.images)
            self.trainer = build_trainer(
                logits,
                self._optimizer(network),
                augmentation=s.augmentation,
                seed=s.seed,
                label_smoothing=s.label_smoothing,
                class_weight=weights,
                metrics=[_copy_of_metric(metric, self.devices) for metric in s.metrics],
            )
            if self.devices:
                self.trainer.devices = self.devices
            build_state(self.trainer, dataset.train.images.dtype.name)
        self.on_device = self._fits_on_device()
        self._make_callbacks(saved)

    def _optimizer(self, network):
        s = self.settings
        settings = {"momentum": s.momentum, "weight_decay": s.weight_decay}
        if network.compute_dtype == "float16":
            settings["loss_scale"] = LOSS_SCALE
        optimizer = build_optimizer(s.optimizer, s.learning_rate, **settings)
        # The copies of the network have other variables.
        rule = "exclude_from_weight_decay of the optimizer must be by var_names, not by var_list, with several devices"
        require(not (self.devices and getattr(optimizer, EXCLUDED[0], ())), rule, type(optimizer).__name__)
        self._optimizer_described = described(optimizer)
        steps = -(-images_shown(len(self.dataset.train), s.batch_size) // s.batch_size)
        set_schedule(
            optimizer,
            s.schedule,
            warmup_steps=s.warmup_epochs * steps,
            total_steps=s.epochs * steps,
            plateaus=s.plateau_patience is not None,
        )
        check_rate_callbacks(s.callbacks, optimizer)
        return optimizer

    def _make_callbacks(self, saved):
        s = self.settings
        self._clock, self._nan = Clock(), StopOnNaN()
        self._history = keras.callbacks.History()
        self._kept = KeepWeights(s.keep, s.monitor, s.patience, s.epochs)
        # The history before what follows from it: an interrupt may come between two of them.
        stateful = [self._clock, self._history, self._kept, self._nan]
        if s.plateau_patience is not None:
            stateful.append(
                keras.callbacks.ReduceLROnPlateau(
                    monitor=s.monitor,
                    mode=best_mode(s.monitor),
                    factor=s.plateau_factor,
                    patience=s.plateau_patience,
                    min_delta=0,
                )
            )
        stateful += s.callbacks
        self.callbacks, self.checkpoint = [EndAtInterrupt(), *stateful], None
        if any(getattr(callback, "restore_best_weights", False) for callback in s.callbacks):
            # After them, as they may have restored the weights of another epoch than the one that is reported.
            self.callbacks.append(keras.callbacks.LambdaCallback(on_train_end=self._kept.on_train_end))
        if s.checkpoint is not None:
            same = {**compared_settings(s, self._optimizer_described), "data": self.dataset.source["sha256"]}
            self.checkpoint = checkpoints.Checkpoint(s.checkpoint, stateful, same, saved)
            self.checkpoint.restore(self.trainer)
            self.callbacks.append(self.checkpoint)

    def _fits_on_device(self):
        s = self.settings
        if s.on_device is not None or keras.backend.backend() != "jax" or s.data_loader != "arrays":
            return bool(s.on_device)
        from kmodels.training.epoch_program import fits_on_device

        return fits_on_device(self.dataset)

    @property
    def epochs_done(self):
        """How many epochs were finished before, in the checkpoint from which training resumes."""
        return self.checkpoint.epochs_done if self.checkpoint else 0

    @property
    def epochs_run(self):
        """How many epochs are finished, those before a resume included."""
        return min(map(len, self._history.history.values()), default=0)

    def how_to_resume(self):
        """A sentence on an interrupted training."""
        done = f"interrupted after {counted(self.epochs_run, 'epoch')}; the network has the weights of the moment"
        if not self.checkpoint:
            return f"{done}; with checkpoint=FILE, a training can be resumed by resume=True"
        saved = self.checkpoint.epochs_saved
        how = (
            checkpoints.continued_from(saved, self.epochs_run, "resume=True")
            if saved
            else "no checkpoint is written yet"
        )
        return f"{done}; {how}"

    def batches(self, split, batch_size=None, seed=None, sampler="shuffle"):
        """Batches of a split for `fit`, `evaluate` and `predict`; or chunks of steps, where images are on the device.

        Args:
            split: a Split.
            batch_size: images per step; None: as many as are usual for images of that size.
            seed: of the order; None keeps the order of the split.
            sampler: see `epoch_order`.
        """
        batch_size = batch_size or usual_batch(split.images.shape[1:])
        if self.devices:
            batch_size = self.devices.batch_size(batch_size)
        if self.on_device:
            from kmodels.training.epoch_program import DeviceBatches

            return DeviceBatches(split, batch_size, seed, sampler, self.devices)
        return ArrayBatches(split, batch_size, seed, sampler, self.devices)

    def train_batches(self):
        """Batches of the train split, in the order of the seed."""
        s = self.settings
        return self.batches(self.dataset.train, s.batch_size, s.seed, s.sampler)

    def fit(self):
        """Trains from the checkpoint's epoch, or from the beginning, to the end; returns the Fitted."""
        s, first, callbacks, steps = self.settings, self.epochs_done, self.callbacks, None
        ended = self.checkpoint and self.checkpoint.ended
        if first and s.verbose != 0:
            left = f"nothing is left to train after epoch {first}: {ended}"
            print(
                left if ended else f"resuming from epoch {first + 1}, after the {first} of the checkpoint", flush=True
            )
        if s.data_loader == "stream":
            batches, steps = stream_batches(self.dataset, s.batch_size, s.seed, s.epochs, first)
            batches = divided_stream(self.devices, batches) if self.devices else batches
        else:
            batches = self.train_batches()
            callbacks = [EpochOrder(batches), *callbacks]
        verbose, lines = s.verbose, nullcontext()
        if verbose is None:
            verbose = 1 if sys.stdout.isatty() else 2
            if opened := cell_output.epoch_output():
                # What Keras prints for its bar would all be kept in the notebook.
                verbose, lines = 0, opened
        with Interrupts(), lines as file:
            callbacks = [*callbacks, EpochLines(file)] if file else callbacks
            try:
                self.trainer.fit(
                    batches,
                    steps_per_epoch=steps,
                    initial_epoch=first,
                    # A training that was killed after its last epoch has nothing left to train.
                    epochs=first if ended else s.epochs,
                    validation_data=self.batches(self.dataset.val),
                    callbacks=callbacks,
                    # The batches decide the order; Keras would shuffle them once more.
                    shuffle=False,
                    verbose=verbose,
                )
            finally:
                if self.checkpoint:
                    self.checkpoint.close()
        return self.fitted()

    def fitted(self):
        """The Fitted of the epochs that are finished."""
        epochs, clock = self.epochs_run, self._clock
        if self.devices:
            copy_variables(self._trained, self.network)
        shown = images_shown(len(self.dataset.train), self.settings.batch_size)
        images = shown * epochs - (self.settings.batch_size if clock.excludes_first_step else 0)
        seconds = clock.train_seconds
        return Fitted(
            network=self.network,
            history=self._history.history,
            best_epoch=self._kept.kept_epoch(epochs),
            diverged=self._nan.diverged,
            compile_seconds=clock.compile_seconds,
            train_seconds=seconds,
            images_per_second=images / seconds if images > 0 and seconds > 0 else None,
            _logits=self._logits,
            _value_range=range_unless_pixels(self.dataset.train.images),
        )

    def _logits(self, split):
        if self.on_device or self.devices:
            return self.trainer.predict(self.batches(split), verbose=0)
        return predict_logits(self.trainer, split.images)


def _copy_of_metric(metric, devices):
    """A metric without state; where Keras cannot copy it, as one of a function of the user's, the metric itself."""
    try:
        with warnings.catch_warnings():
            # Keras warns of saving a lambda, which is not done here.
            warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`")
            return type(metric).from_config(metric.get_config())
    except (TypeError, ValueError, NotImplementedError) as error:
        rule = f"several devices need metrics that Keras can copy from their configuration ({error})"
        require(not devices, rule, metric)
        return metric


def check_on_device(on_device, data_loader):
    """Raises InputError if images are to be held on the device where they cannot be; arguments as in `train`."""
    require(
        not on_device or (keras.backend.backend() == "jax" and data_loader == "arrays"),
        "on_device must be None or False except on JAX with data_loader 'arrays'",
        on_device,
    )
