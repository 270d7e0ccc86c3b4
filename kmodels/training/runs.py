"""One run, from data to record. The only place that compiles, fits and evaluates."""

import datetime
import gc
import hashlib
import random
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from kmodels.analysis.metrics import calibration, confusion_matrix, log_softmax, per_class_accuracy
from kmodels.analysis.predict import predict_logits
from kmodels.augment import build_augmentation
from kmodels.data import load_dataset
from kmodels.data.feeds import ArraysFeed, EpochOrder, stream_feed
from kmodels.errors import InputError, require
from kmodels.files import writable_folder
from kmodels.models import build_model, trainable_parameters
from kmodels.models.saving import save_network
from kmodels.records import Evaluation, Record, write_record
from kmodels.training.callbacks import Watch, finite
from kmodels.training.environment import environment
from kmodels.training.losses import CrossEntropy
from kmodels.training.optimizers import build_optimizer

EVALUATION_BATCH = 512


def run(experiment, seed=0, out="results", *, data_dir=None, verbose=None):
    """Trains on train, keeps the weights of the lowest val_loss, evaluates test once, writes a record.

    Args:
        experiment: an Experiment.
        seed: decides initial weights, order and augmentation; at least 0. Python's and NumPy's generators are reseeded.
        out: the results folder. The record goes to `<out>/<record.stem>.json`, the network beside it as .keras.
        data_dir: where the dataset's files are; see `load_dataset`.
        verbose: as in Keras: 0 silent, 1 a bar, 2 a line an epoch; None: a bar on a terminal, else lines.

    Returns:
        The Record. Its status is "diverged" if the loss stopped being a number.

    Raises:
        InputError: for bad data, a batch larger than the train split, or an unwritable `out`.
        KeyboardInterrupt: on Ctrl-C, after the finished epochs were written to a record marked "interrupted".
        Exception: whatever else ended the training (memory, say), after a record marked "failed".
    """
    require(
        isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0,
        "seed must be an integer of at least 0",
        seed,
    )
    seed = int(seed)
    writable_folder(out)
    # A network and its optimizer refer to each other: those of an earlier run would stay in memory for long.
    gc.collect()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    dataset = _open(experiment, seed, data_dir)
    _seed(seed)
    network = build_model(experiment.model, dataset.image_shape, len(dataset.class_names), **experiment.model_options)

    weights_sha256 = _checksum(experiment.weights)
    watch = Watch(experiment.patience or experiment.epochs)
    status, evaluations, failure = _train_and_evaluate(experiment, seed, dataset, network, watch, verbose)
    if status == "interrupted" and not watch.epochs:
        raise KeyboardInterrupt("no epoch was finished, nothing is recorded")
    record = Record(
        experiment=experiment,
        seed=seed,
        status=status,
        source=dict(dataset.source),
        class_names=dataset.class_names,
        image_shape=dataset.image_shape,
        parameters=trainable_parameters(network),
        **evaluations,
        **watch.seen(len(dataset.train), experiment.batch_size),
        started=started,
        weights_sha256=weights_sha256,
        error=None if failure is None else f"{type(failure).__name__}: {failure}",
        **environment(),
    )
    if status == "completed":
        # Before the record: a record that says completed always has its own network beside it.
        save_network(network, Path(out) / f"{record.stem}.keras")
    path = _write(record, out)
    if status == "interrupted":
        raise KeyboardInterrupt(f"the {watch.epochs} finished epochs are in {path}")
    if failure is not None:
        failure.add_note(f"the {watch.epochs} finished epochs are in {path}")
        raise failure
    if status == "completed" and verbose != 0:
        print(
            f"{watch.epochs} epochs; kept the weights of epoch {record.best_epoch}, where val_loss was lowest; "
            f"test accuracy {100 * record.test.accuracy:.2f} % of {record.test.examples:,} images"
        )
    return record


def run_seeds(experiment, seeds, out="results", **options):
    """`run` once for each seed; returns the list of records.

    Raises:
        InputError: if a seed is given twice, which would count one run as two.
    """
    seeds = list(seeds)
    require(len(set(seeds)) == len(seeds), "seeds must differ from each other", seeds)
    return [run(experiment, seed, out, **options) for seed in seeds]


def _train_and_evaluate(experiment, seed, dataset, network, watch, verbose):
    """Returns the status, the evaluations by split (none unless completed), and what a failed run failed on."""
    try:
        _fit(experiment, seed, dataset, network, watch.callbacks, verbose)
        if watch.diverged:
            return "diverged", {}, None
        return "completed", {split: _evaluate(network, dataset, split) for split in ("train", "val", "test")}, None
    except KeyboardInterrupt:
        return "interrupted", {}, None
    except InputError:
        raise
    except Exception as error:
        return "failed", {}, error


def _seed(seed):
    # Every draw in Keras (initial weights, dropout) starts from these. keras.utils.set_random_seed would also
    # import TensorFlow, on every backend, and let it take the GPU.
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if keras.backend.backend() == "torch":
        # Its dropout does not ask Keras for a seed.
        import torch

        torch.manual_seed(seed)


def _open(experiment, seed, data_dir):
    dataset = load_dataset(experiment.dataset, experiment.image_size, data_dir)
    if experiment.subset is not None:
        dataset = dataset.subset(experiment.subset)
    if experiment.class_fractions is not None:
        dataset = dataset.with_class_fractions(experiment.class_fractions, seed)
    require(
        experiment.batch_size <= len(dataset.train),
        f"batch_size must be at most {len(dataset.train)}, the size of the train split",
        experiment.batch_size,
    )
    return dataset


def _checksum(weights):
    """SHA-256 of a file of weights; None where there is none."""
    if weights is None or not Path(weights).is_file():
        return None
    with Path(weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fit(experiment, seed, dataset, network, callbacks, verbose):
    trainer = build_trainer(experiment, network, seed)
    if experiment.plateau_patience is not None:
        plateau = keras.callbacks.ReduceLROnPlateau(
            monitor="val_loss",
            factor=experiment.plateau_factor,
            patience=experiment.plateau_patience,
            min_delta=0,
        )
        callbacks = [*callbacks, plateau]
    if experiment.feed == "stream":
        feed, steps = stream_feed(dataset, experiment.batch_size, seed, experiment.epochs)
    else:
        feed, steps = ArraysFeed(dataset.train, experiment.batch_size, seed), None
        callbacks = [*callbacks, EpochOrder(feed)]
    trainer.fit(
        feed,
        steps_per_epoch=steps,
        epochs=experiment.epochs,
        validation_data=ArraysFeed(dataset.val, EVALUATION_BATCH),
        callbacks=callbacks,
        # Our feeds decide the order; Keras would shuffle the batches once more.
        shuffle=False,
        verbose=(1 if sys.stdout.isatty() else 2) if verbose is None else verbose,
    )


def build_trainer(experiment, network, seed):
    """The network with its augmentation in front, compiled as the experiment says.

    Training it trains `network`, whose weights it shares; augmentation acts only while training.
    """
    image = keras.Input(network.input_shape[1:], name="image")
    augmentation = build_augmentation(experiment.augmentation, network.input_shape[1:], seed)
    trainer = keras.Model(image, network(augmentation(image)), name="trainer")
    trainer.compile(
        optimizer=build_optimizer(
            experiment.optimizer,
            experiment.learning_rate,
            momentum=experiment.momentum,
            weight_decay=experiment.weight_decay,
        ),
        loss=CrossEntropy(experiment.label_smoothing),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    return trainer


def _evaluate(network, dataset, name):
    split, num_classes = getattr(dataset, name), len(dataset.class_names)
    log_probabilities = log_softmax(predict_logits(network, split.images, EVALUATION_BATCH))
    predictions = log_probabilities.argmax(axis=1)
    matrix = confusion_matrix(split.labels, predictions, num_classes)
    return Evaluation(
        examples=len(split),
        loss=finite(-np.mean(log_probabilities[np.arange(len(split)), split.labels])),
        accuracy=float(np.trace(matrix) / len(split)),
        per_class_accuracy=tuple(per_class_accuracy(matrix)),
        confusion_matrix=tuple(tuple(map(int, row)) for row in matrix),
        calibration=calibration(np.exp(log_probabilities.max(axis=1)), predictions == split.labels),
    )


def _write(record, out):
    try:
        return write_record(record, out)
    except InputError as error:
        path = write_record(record, tempfile.mkdtemp(prefix="kmodels-"))
        print(f"{error}; the record is in {path}")
        return path
