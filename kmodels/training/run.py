"""`run`: an experiment and a seed in, a record out. Names are resolved here; `train` does the training."""

import math
import random

import numpy as np

from kmodels.data.cache import SPLITS
from kmodels.errors import shorten
from kmodels.interrupts import Interrupts, interruptible
from kmodels.models import build_model
from kmodels.models.saving import loading_problem
from kmodels.models.transfer import freeze, freeze_batch_norm, transfer_weights
from kmodels.records.networks import load_network_of_run
from kmodels.text import counted
from kmodels.tracking import check_tracking, make_tracker
from kmodels.training import heads
from kmodels.training.job import Job, check_out, open_augmentation
from kmodels.training.precision import computing_in
from kmodels.training.settings import listed
from kmodels.training.train import Training, check_on_device

# The fields of an Experiment that are arguments of `train`.
OF_TRAIN = (
    "epochs", "batch_size", "schedule", "warmup_epochs", "plateau_patience", "plateau_factor", "sampler",
    "label_smoothing", "class_weight", "keep", "monitor", "patience", "data_loader",
)  # fmt: skip
# How far the same loss, computed in two programs, may differ.
ROUNDING = {
    "float32": {"rel_tol": 1e-3, "abs_tol": 1e-4},
    "float16": {"rel_tol": 2e-2, "abs_tol": 1e-3},
    "bfloat16": {"rel_tol": 5e-2, "abs_tol": 1e-2},
}
OF_OPTIMIZER = ("learning_rate", "momentum", "weight_decay")


@interruptible
def run(
    experiment,
    seed=0,
    out="results",
    *,
    data_dir=None,
    skip_unreadable=False,
    again=False,
    resume=False,
    verbose=None,
    on_device=None,
    devices=1,
    callbacks=(),
    track=None,
):
    """Trains on train, chooses the weights on val, evaluates test once, writes a record.

    Args:
        experiment: an Experiment.
        seed: decides initial weights, order and augmentation; at least 0. Python's and NumPy's generators are reseeded.
        out: the results folder. The record goes to `<out>/<record.stem>.json`, the network beside it as .keras (the
            heads "svm" and "nearest_mean" have none), and until then the state for a resume as .checkpoint.
        data_dir: where the dataset's files are; see `load_dataset`.
        skip_unreadable: leave out image files that cannot be read; see `load_dataset`.
        again: repeat a run that is recorded in `out`; otherwise its record is returned.
        resume: continue from the checkpoint of an earlier, killed or interrupted run of the same experiment and seed,
            and end as that one would have; without a checkpoint, start at the beginning.
        verbose: as in Keras: 0 silent, 1 a bar, 2 a line per epoch; None: a bar on a terminal, else lines.
        on_device: hold all images on the device and train an epoch in one call (JAX only); None: where that is faster.
        devices: how many to divide each batch among (JAX only). The outcome differs by rounding only.
        callbacks: further Keras callbacks, called after kmodels' own. The record names them; the name of the run does
            not depend on them.
        track: show the run in "tensorboard" or "mlflow" while it trains; see kmodels/tracking.py. The record
            does not depend on it.

    Returns:
        The Record. Its status is "diverged" if the loss stopped being a finite number.

    Raises:
        InputError: for bad data, a batch larger than the train split or not divisible by `devices`, more devices than
            there are, an `out` that cannot be written, or a `track` whose package is missing or whose store cannot be
            written.
        KeyboardInterrupt: on Ctrl-C or a notebook's stop button, after the finished epochs were written to a record
            marked "interrupted"; the message says how to resume. SIGTERM does the same, and ends the process with
            status 143.
        Exception: whatever else ended the training (memory, for example), after a record marked "failed".
    """
    # Before data are opened, which may take long.
    check_on_device(on_device, experiment.data_loader)
    check_tracking(track)
    check_out(experiment, out, data_dir)
    job = Job(experiment, seed, out, data_dir, skip_unreadable)
    if not again and (record := job.recorded()):
        if verbose != 0:
            print(f"{experiment.name}, seed {job.seed} is recorded already: {job.path('.json')}; again=True repeats it")
        return record
    options = {"on_device": on_device, "devices": devices, "callbacks": callbacks, "track": track}
    return execute(job, resume=resume, verbose=verbose, **options)


def execute(job, *, verbose=None, track=None, **options):
    """Trains or fits what a Job describes, and returns its Record; options as in `run`."""
    with Interrupts():
        if job.experiment.is_fitted:
            job.tracker = make_tracker(track, job)
            _seed_generators(job.seed)
            return heads.fit_head(job, verbose)
        training = prepare(job, verbose=verbose, track=track, **options)
        with job.recording_failure(training):
            training.fit()
        return finish(job, training)


def prepare(job, *, resume=False, verbose=None, on_device=None, devices=1, callbacks=(), track=None):
    """The Training of a Job, ready to be fitted; options as in `run`."""
    path = job.path(".checkpoint")
    if path.exists() and not resume and verbose != 0:
        print("ignoring the checkpoint of an earlier run; resume=True (--resume) continues it", flush=True)
    network, dataset, settings = arguments(job, verbose)
    if track:
        job.tracker = make_tracker(track, job)
        callbacks = [*listed(callbacks), job.tracker]
    return Training(
        network,
        dataset,
        **settings,
        checkpoint=path,
        resume=resume,
        on_device=on_device,
        devices=devices,
        callbacks=callbacks,
        verbose=verbose,
    )


def arguments(job, verbose=None):
    """What `train` takes for a Job: the network, the dataset, and the settings that an Experiment has."""
    experiment = job.experiment
    _seed_generators(job.seed)
    if experiment.head == "crt":
        network, dataset = heads.classifier_on_features(job, verbose)
    else:
        network, dataset = first_network(job, verbose), job.dataset
    # An optimizer of the user's has these settings itself.
    settings = OF_TRAIN if "optimizer" in job.components else (*OF_TRAIN, *OF_OPTIMIZER)
    values = {name: getattr(experiment, name) for name in settings}
    return (
        network,
        dataset,
        {**values, "optimizer": job.optimizer(), "augmentation": open_augmentation(experiment), "seed": job.seed},
    )


def first_network(job, verbose=None):
    """The network as training begins: initialised or with the weights of another one, and frozen if asked for."""
    experiment, classes = job.experiment, len(job.dataset.class_names)
    with computing_in(job.precision):
        network = build_model(experiment.model, job.dataset.image_shape, classes, **experiment.model_options)
    if problem := loading_problem(network):
        print(f"warning: kmodels will save the network of this run and not load it again: {problem}", flush=True)
    initialised = ()
    if job.parent:
        transferred, initialised = transfer_weights(network, load_network_of_run(job.parent))
        job.started_from = {"network": job.parent.name, "taken": transferred, "drawn": initialised}
        if verbose != 0:
            new = shorten(initialised) or "none"
            print(f"weights of {job.parent}: {shorten(transferred)}; initialised: {new}", flush=True)
    if experiment.frozen:
        freeze(network, initialised)
    if experiment.frozen_batch_norm:
        freeze_batch_norm(network)
    return network


def finish(job, training, seeds_at_once=1):
    """Evaluates a fitted Training, writes network and record, and returns the record."""
    fitted = training.fitted()
    if fitted.diverged:
        record, _ = job.write("diverged", training, seeds_at_once=seeds_at_once)
        job.clean_up(training)
        return record
    with job.recording_failure(training):
        outputs = {name: fitted.logits(getattr(training.dataset, name)) for name in SPLITS}
        evaluations = job.evaluations(outputs)
        network = training.network
        warnings = _warnings(fitted, evaluations["val"], training.dataset.val.images[:1])
        for warning in warnings:
            print(f"warning: {warning}", flush=True)
        if job.experiment.head == "crt":
            network = heads.with_classifier(job.backbone, *network.get_layer("logits").get_weights())
        record = job.save(network, training, seeds_at_once=seeds_at_once, warnings=warnings, **evaluations)
    job.keep_predictions(outputs)
    if training.settings.verbose != 0:
        best = f"epoch {record.best_epoch}, with the best {job.experiment.monitor}"
        epochs = counted(record.epochs_run, "epoch")
        kept = "the last epoch" if job.experiment.keep == "last" else best
        print(
            f"{epochs}; kept the weights of {kept}; test accuracy "
            f"{100 * record.test.accuracy:.2f} % of {record.test.examples:,} images",
            flush=True,
        )
    return record


def _warnings(fitted, val, images):
    """Sentences on what may be wrong: the kept weights must have the val_loss that their epoch had."""
    losses = fitted.history.get("val_cross_entropy", fitted.history.get("val_loss", ()))
    reported = losses[fitted.best_epoch - 1] if fitted.best_epoch else None
    # Keras' policy, where the user has set it, may be another one: float64.
    rounding = ROUNDING.get(fitted.network.compute_dtype, ROUNDING["float32"])
    if reported is None or val.loss is None or math.isclose(reported, val.loss, **rounding):
        return ()
    # val_loss has the network's own losses in it: regularisation, or what its layers add while they are called.
    if "val_cross_entropy" not in fitted.history and _has_losses(fitted.network, images):
        return ()
    return (
        f"val_loss was {reported:.4f} after epoch {fitted.best_epoch}, whose weights were kept, and is {val.loss:.4f} "
        "with these weights; they should be equal, so one of the two is computed wrongly here",
    )


def _has_losses(network, images):
    network(images)
    return bool(network.losses)


def _seed_generators(seed):
    # Every random number in Keras (initial weights, dropout) starts from these. keras.utils.set_random_seed would also
    # import TensorFlow, on every backend, and let it take the GPU.
    random.seed(seed)
    np.random.seed(seed % 2**32)
