"""The settings of `train`: which of them are refused, and in which a checkpoint must agree with a training."""

import functools
import numbers
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import keras
import numpy as np

from kmodels.data import Dataset
from kmodels.data.order import SAMPLERS, require_sampler
from kmodels.errors import require, require_whole, shorten, unknown
from kmodels.experiment import DATA_LOADERS, KEEPS, MONITORS, PLATEAU_PATIENCE, RANGES
from kmodels.training.checkpoint import checkpoint_files, is_checkpoint
from kmodels.training.optimizers import TORCH, configuration

# The settings that are numbers, and need not be whole.
NUMBERS = ("learning_rate", "momentum", "weight_decay", "label_smoothing", "plateau_factor")
OPTIONAL = ("patience", "plateau_patience", "learning_rate", "weight_decay")
# What the history has without further metrics; each also of the val split, as val_...
MEASURED = ("loss", "accuracy", "cross_entropy", "learning_rate", "seconds")
# Keras numbers names in the order of creation; seeds follow that of the training.
CHANGING = ("name", "seed")


def check_settings(s, dataset):
    """Refuses settings that training would fail on, or ignore, and brings the others to one form."""
    check_dataset(dataset)
    _check_numbers(s)
    for name, known in (
        ("keep", KEEPS),
        ("monitor", MONITORS),
        ("sampler", SAMPLERS),
        ("data_loader", DATA_LOADERS),
    ):
        if getattr(s, name) not in known:
            raise unknown(name, getattr(s, name), known)
    require_sampler(s.sampler, s.data_loader)
    if s.schedule == "plateau" and s.plateau_patience is None:
        s.plateau_patience = PLATEAU_PATIENCE
    if s.checkpoint is not None:
        _check_checkpoint(s.checkpoint)
    require(s.checkpoint or not s.resume, "resume needs a checkpoint to resume from", s.checkpoint)
    for name, kind in (("callbacks", keras.callbacks.Callback), ("metrics", keras.metrics.Metric)):
        setattr(s, name, listed(getattr(s, name)))
        for item in getattr(s, name):
            require(isinstance(item, kind), f"{name} must be a list of keras.{name}.{kind.__name__}", item)
    _check_callbacks(s)
    for metric in s.metrics:
        rule = f"a metric must not have the name of what is measured anyway: {', '.join(MEASURED)}, or val_..."
        require(metric.name not in MEASURED and not metric.name.startswith("val_"), rule, metric.name)
    s.augmentation = _without_lambda_layers(s.augmentation)
    sizes = np.bincount(dataset.train.labels, minlength=len(dataset.class_names))
    empty = ", ".join(name for name, size in zip(dataset.class_names, sizes, strict=True) if not size)
    require(
        not empty or s.sampler == "shuffle",
        f"sampler must be 'shuffle' where a class has no training image ({empty})",
        s.sampler,
    )
    s.class_weight = checked_class_weight(s.class_weight, dataset)


def check_dataset(dataset):
    """Raises InputError for what is no Dataset, arrays for instance."""
    rule = "dataset must be a kmodels.Dataset; Dataset.from_arrays(train=(images, labels)) makes one of arrays"
    require(isinstance(dataset, Dataset), rule, type(dataset))


def _check_numbers(s):
    """Checks the settings that are one number each, and makes them Python's own."""
    for name, value in vars(s).items():
        if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
            setattr(s, name, value.item())
    for name, least in (("seed", 0), ("epochs", 1), ("batch_size", 1), ("patience", 0), ("plateau_patience", 0)):
        if getattr(s, name) is not None or name not in OPTIONAL:
            require_whole(name, getattr(s, name), least)
    rule = f"warmup_epochs must be at least 0 and below epochs ({s.epochs})"
    require(is_number(s.warmup_epochs) and 0 <= s.warmup_epochs < s.epochs, rule, s.warmup_epochs)
    for name in NUMBERS:
        value, (rule, holds) = getattr(s, name), RANGES[name]
        # A schedule is a function of the step.
        if (value is None and name in OPTIONAL) or (name == "learning_rate" and callable(value)):
            continue
        if name == "learning_rate":
            rule += " or a Keras schedule"
        require(is_number(value) and holds(value), f"{name} must be {rule}", value)
        setattr(s, name, float(value))
    own = s.schedule is not None and not isinstance(s.schedule, str)
    rule = "learning_rate must be left out where schedule is a Keras schedule, which has rates of its own"
    require(not own or s.learning_rate is None, rule, s.learning_rate)
    without = [name for name in TORCH if name not in ("sgd", "rmsprop")]
    rule = f"momentum belongs to sgd and rmsprop, not to {s.optimizer}"
    require(not s.momentum or s.optimizer not in without, rule, s.momentum)


def _check_callbacks(s):
    """Refuses callbacks that contradict `keep`, or cannot do what they are for.

    Keras would tell the latter after an epoch.
    """
    for callback in s.callbacks:
        name = type(callback).__name__
        restores = getattr(callback, "restore_best_weights", False) and s.keep != "best"
        require(not restores, "callbacks must not have restore_best_weights=True where keep is 'last'", name)
        averages = isinstance(callback, keras.callbacks.SwapEMAWeights)
        require(not averages, "callbacks must not have SwapEMAWeights: no averages of weights are kept", name)
        # Of a name with a mode, another callback may write the value.
        monitor = getattr(callback, "monitor", None) if getattr(callback, "mode", None) == "auto" else None
        known = ["loss", "accuracy", "cross_entropy", *(metric.name for metric in s.metrics)]
        known += [f"val_{measured}" for measured in known]
        rule = f"{name} must monitor one of {', '.join(known)}, or be given mode='min' or mode='max'"
        require(monitor is None or monitor in known, rule, monitor)


def check_rate_callbacks(callbacks, optimizer):
    """Refuses callbacks that set the learning rate, which Keras refuses after an epoch where it follows a schedule.

    Args:
        callbacks: a list of Keras callbacks.
        optimizer: the keras.optimizers.Optimizer, with its schedule.
    """
    setting = keras.callbacks.LearningRateScheduler | keras.callbacks.ReduceLROnPlateau
    names = [type(callback).__name__ for callback in callbacks if isinstance(callback, setting)]
    rule = (
        "callbacks must not set the learning rate where it follows a schedule or has a warm-up; leave out one of them"
    )
    require(not names or isinstance(optimizer.learning_rate, keras.Variable), rule, names)


def is_number(value):
    """Whether a value is a number, Python's or NumPy's, and no bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def listed(items):
    """What may be a list, one item or None, as a tuple."""
    if items is None:
        return ()
    return tuple(items) if isinstance(items, Iterable) and not isinstance(items, str) else (items,)


def checked_class_weight(given, dataset):
    """class_weight as floats, one for each class of a Dataset; None and "balanced" stay.

    Args:
        given: as of `train`.
        dataset: whose train split has images of the classes.

    Raises:
        InputError: if there are not as many as classes, or those of all classes with images are 0.
    """
    if given is None or isinstance(given, str):
        if given not in (None, "balanced"):
            raise unknown("class_weight", given, ("balanced",), "or a number for each class")
        return given
    class_names, count = dataset.class_names, len(dataset.class_names)
    rule = f"class_weight must be {count} numbers of at least 0, one for each of {shorten(class_names, 20)}; or a dict "
    rule += f"from some of their indices, 0 to {count - 1}, to numbers"
    weights = given
    if isinstance(given, Mapping):
        require(set(given) <= set(range(count)), rule, given)
        weights = [given.get(index, 1.0) for index in range(count)]
    try:
        weights = np.asarray(weights, float)
    except (TypeError, ValueError):
        require(False, rule, given)
    require(weights.shape == (count,) and (weights >= 0).all() and np.isfinite(weights).all(), rule, given)
    rule = "class_weight must be above 0 for a class that has training images"
    require(weights[dataset.train.labels].any(), rule, given)
    return tuple(weights.tolist())


def _without_lambda_layers(augmentation):
    """An augmentation with each Lambda layer as a function: Keras copies no layer of a function of the user's."""
    if isinstance(augmentation, list | tuple):
        return [_without_lambda_layers(change) for change in augmentation]
    inner = [layer for layer in getattr(augmentation, "layers", ()) if isinstance(layer, keras.layers.Lambda)]
    rule = "augmentation must be a list of layers and functions where one of the layers is a Lambda"
    require(not inner, rule, augmentation)
    if not isinstance(augmentation, keras.layers.Lambda):
        return augmentation

    @functools.wraps(augmentation.function)
    def change(images):
        return augmentation(images, training=True)

    return change


def _check_checkpoint(path):
    """Refuses what is no path of a file, before a folder or file of the user's is renamed."""
    require(isinstance(path, str | os.PathLike), "checkpoint must be the path of a file, or None", path)
    rule = "checkpoint must be the path of a file, and there is a folder of that name; name a file in it, for instance"
    require(not Path(path).is_dir(), rule, str(path))
    # The files that are written beside it.
    for file in checkpoint_files(path):
        require(not file.is_dir(), rule, str(file))
        other = (
            "checkpoint must be a file that is not there yet, or a checkpoint of kmodels; name another, or remove it"
        )
        require(not file.exists() or is_checkpoint(file), other, str(file))


def compared_settings(s, optimizer):
    """{name: JSON value} of what must be equal for a checkpoint to be of the same training.

    How long training lasts (epochs, patience), what is printed, and callbacks may change.

    Args:
        s: the settings, checked.
        optimizer: what `described` returned of the optimizer, before it has its schedule.
    """
    names = ("batch_size", "seed", "sampler", "label_smoothing", "keep", "monitor", "data_loader", "warmup_epochs")
    same = {name: getattr(s, name) for name in names}
    schedule = described(s.schedule)
    if isinstance(schedule, dict):
        same |= {f"schedule.{name}": value for name, value in schedule.items() if name != "class"}
        schedule = schedule["class"]
    same["schedule"] = None if schedule == "plateau" else schedule
    # Resumed with more epochs, a rate that has come near 0 would rise again.
    same["epochs"] = s.epochs if schedule in ("cosine", "linear") else None
    same |= {"plateau_patience": s.plateau_patience, "plateau_factor": s.plateau_patience and s.plateau_factor}
    # The history has a value of each for every epoch.
    same["metrics"] = [metric.name for metric in s.metrics]
    same |= {"augmentation": described(s.augmentation), "class_weight": described(s.class_weight)}
    optimizer = {**optimizer, "learning_rate": optimizer.get("learning_rate")}
    # The weight_decay of `train`; Keras' own is another.
    optimizer["weight_decay"] = optimizer.pop("torch_decay", optimizer.get("weight_decay"))
    same |= {"optimizer": optimizer.pop("class"), "learning_rate": optimizer.pop("learning_rate")}
    return same | {f"optimizer.{name}": value for name, value in optimizer.items()}


def described(item):
    """An object of Keras, a function or a value as JSON, the same in every process.

    Functions, and objects without a configuration, are described by their names only.
    """
    if hasattr(item, "tolist"):
        item = item.tolist()
    if isinstance(item, float):
        # What Keras holds as float32 is not quite what was given.
        return float(f"{item:.7g}")
    if isinstance(item, str | int | None):
        return item
    if isinstance(item, list | tuple):
        return [described(inner) for inner in item]
    if isinstance(item, Mapping):
        return {str(name): described(value) for name, value in item.items() if name not in CHANGING}
    if isinstance(item, keras.Model):
        # The configuration of its graph is full of names that Keras numbers.
        return {"class": type(item).__name__, "layers": described(item.layers)}
    if not hasattr(item, "get_config"):
        return getattr(item, "__name__", type(item).__name__)
    try:
        config = configuration(item) if isinstance(item, keras.optimizers.Optimizer) else item.get_config()
    except NotImplementedError:
        config = {}
    return {"class": type(item).__name__, **described(config)}
