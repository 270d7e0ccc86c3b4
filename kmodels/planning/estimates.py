"""How long a run will take on this device: from records, or from a few training steps.

An estimate is seconds for an epoch and image, times the images, times the epochs. Its basis is the first of these that
there is: records of the same experiment on this device and backend; records there of the same network and augmentation
with other settings, scaled by the multiply-adds of the network; a measurement on random pixels, which the cache of
datasets keeps in a small file.
"""

import functools
import json
import math
import statistics
import time
from typing import NamedTuple

import keras
import numpy as np

from kmodels.errors import InputError
from kmodels.files import cache_folder, write_atomically
from kmodels.records.descriptions import changed_settings

# Batches of another size than this many times ours say little: small steps are dominated by what each one costs.
LIKE_BATCH = 4
# Epochs of so many steps. The first one compiles, and the fastest one counts: the device may do other work meanwhile.
# After so many seconds no further epoch begins.
STEPS, EPOCHS, LIMIT = 2, 8, 6.0
# Fewer epochs than this have no median without the one that compiles.
FOR_MEDIAN = 3
# What loading, compiling and evaluating take at least, in seconds.
OVERHEAD = 10.0
KEPT = "speed.json"


class Estimate(NamedTuple):
    """How long a run will take.

    Attributes:
        seconds: that the whole run is expected to take.
        basis: what that is estimated from, in words.
    """

    seconds: float
    basis: str


class Data(NamedTuple):
    """What an estimate needs to know of a dataset: training images, their shape, the number of classes."""

    images: int
    shape: tuple[int, int, int]
    classes: int


class Estimator:
    """Estimates runs on one device and backend.

    Args:
        records: Records.
        device, backend: as in a Record.
        measure: from an Experiment and a Data to the seconds for an epoch and image; None: nothing is measured.

    Example:
        estimate = Estimator(records, device_name(), "jax")(experiment, Data(40_000, (32, 32, 3), 10))
    """

    def __init__(self, records, device, backend, measure=None):
        here = [record for record in records if (record.device, record.backend) == (device, backend)]
        self._records = [record for record in here if record.status != "failed" and record.devices == 1]
        self._all, self._measure = list(records), measure

    def __call__(self, experiment, data):
        """The Estimate of a run; None where there is nothing to estimate it from."""
        if experiment.is_fitted:
            same = [record.train_seconds for record in self._of(experiment, data) if record.train_seconds is not None]
            if same:
                return Estimate(OVERHEAD + statistics.median(same), _records(same))
        found = self._speed(experiment, data)
        if found is None:
            return None
        speed, basis = found
        if experiment.head:
            # The features are computed once; what is fitted on them takes no longer.
            return Estimate(OVERHEAD + speed * data.images, f"an epoch of its network; {basis}")
        return Estimate(OVERHEAD + speed * data.images * self._epochs(experiment), basis)

    def _speed(self, experiment, data):
        """Seconds for an epoch and image, and the basis; None."""
        if not experiment.head and (same := _speeds(self._of(experiment, data))):
            return statistics.median(same), _records(same)
        like = [record for record in self._records if _alike(record.experiment, experiment)]
        speeds = [
            speed * _work(experiment.model, experiment.model_options, Data(0, data.shape, data.classes)) / work
            for record in like
            if (work := _work(record.experiment.model, record.experiment.model_options, _data_of(record)))
            for speed in _speeds([record])
        ]
        if speeds:
            return statistics.median(speeds), f"{_records(speeds)} of {experiment.model} with other settings"
        speed = self._measure and self._measure(experiment, data)
        return (speed, "measured in a few steps") if speed else None

    def _of(self, experiment, data):
        """The records of this experiment, also where it saw fewer images of the same size or for fewer epochs."""
        return [
            record
            for record in self._records
            if (record.experiment.name, tuple(record.image_shape)) == (experiment.name, data.shape)
            and (record.experiment.model, record.experiment.model_options, record.experiment.augmentation)
            == (experiment.model, experiment.model_options, experiment.augmentation)
        ]

    def _epochs(self, experiment):
        """How many epochs a run will have: if it may stop early, as many as others had, and never more than asked."""
        if experiment.patience is None:
            return experiment.epochs
        same = [
            record.epochs_run
            for record in self._all
            if record.status == "completed"
            and record.experiment.name == experiment.name
            and changed_settings(record.experiment, experiment).keys() <= {"precision"}
        ]
        published = experiment.published and experiment.published.epochs
        return min(statistics.fmean(same) if same else published or experiment.epochs, experiment.epochs)


@functools.cache
def _work(model, options, data):
    """Multiply-adds of a network; 0 where that of an old record cannot be built any more."""
    try:
        return multiply_adds(_network(model, options, data))
    except InputError:
        return 0


def measured_speed(device, backend):
    """The `measure` of an Estimator for this process's device and backend, which remembers what it measured."""
    path = cache_folder() / KEPT

    def measure(experiment, data):
        key = "|".join(map(str, (device, backend, *_what_decides(experiment), data.shape, data.classes)))
        known = _kept(path)
        if key not in known:
            print(f"measuring a few training steps of {experiment.name}", flush=True)
            speed = measure_speed(experiment, data)
            # Another process may have measured meanwhile.
            known = {**_kept(path), key: speed}
            write_atomically(path, json.dumps(known, indent=1, sort_keys=True) + "\n")
        return known[key]

    return measure


def measure_speed(experiment, data):
    """Seconds for a training epoch and image, measured on random pixels; not of the weights that it starts from."""
    from kmodels.data import Dataset
    from kmodels.training.job import open_augmentation
    from kmodels.training.precision import computing_in, resolve
    from kmodels.training.train import train

    images = min(experiment.batch_size * STEPS, max(data.images, experiment.batch_size))
    rng = np.random.default_rng(0)
    labels = np.arange(max(images, data.classes)) % data.classes
    pixels = rng.integers(0, 256, (len(labels), *data.shape), np.uint8)
    few = slice(0, max(data.classes, 2))
    names = [f"class {i}" for i in range(data.classes)]
    parts = (pixels, labels), (pixels[few], labels[few]), (pixels[few], labels[few])
    dataset = Dataset.from_arrays(*parts, class_names=names)
    with computing_in(resolve(experiment.precision)):
        network = _network(experiment.model, experiment.model_options, data)
    fitted = train(
        network,
        dataset,
        epochs=EPOCHS,
        batch_size=experiment.batch_size,
        augmentation=open_augmentation(experiment),
        callbacks=[_Stop()],
        keep="last",
        verbose=0,
    )
    return min(fitted.history["seconds"][1:]) / len(labels)


class _Stop(keras.callbacks.Callback):
    """Ends a measurement after LIMIT seconds, once an epoch was measured."""

    async_safe = True

    def on_train_begin(self, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if epoch and time.perf_counter() - self._start > LIMIT:
            self.model.stop_training = True


def multiply_adds(network):
    """Multiplications with a kernel that a network needs for one image; at least 1."""
    total = 0
    for layer in network.layers:
        if hasattr(layer, "layers"):
            total += multiply_adds(layer)
        elif (kernel := getattr(layer, "kernel", None)) is not None:
            total += math.prod(kernel.shape) * math.prod(layer.output.shape[1:-1])
    return max(total, 1)


def _network(model, options, data):
    """The network with random weights."""
    from kmodels.models import build_model

    options = {name: value for name, value in options.items() if name != "weights"}
    return build_model(model, data.shape, data.classes, **options)


def _what_decides(experiment):
    """The settings that decide how long a step takes."""
    options = json.dumps(experiment.model_options, sort_keys=True)
    return experiment.model, options, experiment.augmentation, experiment.batch_size, experiment.precision


def _alike(record, wanted):
    """Whether a step of one Experiment tells how long one of the other takes."""
    sizes = sorted((record.batch_size, wanted.batch_size))
    same = (record.model, record.augmentation) == (wanted.model, wanted.augmentation)
    return same and sizes[1] <= LIKE_BATCH * sizes[0] and not record.head


def _data_of(record):
    """What decides the work for one image of a record."""
    return Data(0, tuple(record.image_shape), len(record.class_names))


def _speeds(records):
    """Seconds for an epoch and image of each record that tells them."""
    speeds = []
    for record in records:
        seconds = [value for value in record.history.get("seconds", ()) if value]
        if len(seconds) >= FOR_MEDIAN:
            # Neither the epoch that compiles counts, nor one during which the machine slept.
            epoch = statistics.median(seconds)
        elif record.train_seconds and record.epochs_run:
            epoch = record.train_seconds / record.epochs_run
        else:
            continue
        if images := record.source["counts"].get("train"):
            speeds.append(epoch / images / record.seeds_at_once)
    return speeds


def _records(values):
    return "1 record" if len(values) == 1 else f"{len(values)} records"


def _kept(path):
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
