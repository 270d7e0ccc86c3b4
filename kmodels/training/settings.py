"""The settings of `train`: which of them are refused, and in which a checkpoint must agree with a training."""

import os
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from kmodels.data.order import SAMPLERS
from kmodels.errors import require, require_whole, unknown
from kmodels.training.checkpoint import checkpoint_files

# Keras numbers names in the order of creation; seeds follow that of the training.
CHANGING = ("name", "seed")


def check_settings(s, dataset):
    """Refuses settings that training would fail on, or ignore, and fills in what follows from others."""
    for name, least in (("seed", 0), ("epochs", 1), ("batch_size", 1)):
        require_whole(name, getattr(s, name), least)
    s.seed = int(s.seed)
    rule = f"warmup_epochs must be at least 0 and below epochs ({s.epochs})"
    require(0 <= s.warmup_epochs < s.epochs, rule, s.warmup_epochs)
    for name, known in (
        ("keep", ("best", "last")),
        ("monitor", ("val_loss", "val_accuracy")),
        ("sampler", SAMPLERS),
        ("data_loader", ("arrays", "stream")),
    ):
        if getattr(s, name) not in known:
            raise unknown(name, getattr(s, name), known)
    if s.schedule == "plateau" and s.plateau_patience is None:
        s.plateau_patience = 5
    if s.checkpoint is not None:
        _check_checkpoint(s.checkpoint)
    require(s.checkpoint or not s.resume, "resume needs a checkpoint to resume from", s.checkpoint)
    for name, kind in (("callbacks", keras.callbacks.Callback), ("metrics", keras.metrics.Metric)):
        for item in getattr(s, name):
            require(isinstance(item, kind), f"{name} must be a list of keras.{name}.{kind.__name__}", item)
    sizes = np.bincount(dataset.train.labels, minlength=len(dataset.class_names))
    empty = ", ".join(name for name, size in zip(dataset.class_names, sizes, strict=True) if not size)
    require(
        not empty or s.sampler == "shuffle",
        f"sampler must be 'shuffle' where a class has no training image ({empty})",
        s.sampler,
    )
    if s.class_weight is not None and not isinstance(s.class_weight, str):
        rule = f"class_weight must be {len(sizes)} numbers, one for each of {', '.join(dataset.class_names)}"
        require(len(s.class_weight) == len(sizes), rule, s.class_weight)
    elif s.class_weight not in (None, "balanced"):
        raise unknown("class_weight", s.class_weight, ("balanced",), "or a number for each class")


def _check_checkpoint(path):
    """Refuses what is no path of a file, before a folder of the user's is renamed."""
    require(isinstance(path, str | os.PathLike), "checkpoint must be the path of a file, or None", path)
    rule = "checkpoint must be the path of a file, and there is a folder of that name; name a file in it, for instance"
    require(not Path(path).is_dir(), rule, str(path))
    # The files that are written beside it.
    for file in checkpoint_files(path):
        require(not file.is_dir(), rule, str(file))


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
        config = item.get_config()
    except NotImplementedError:
        config = {}
    return {"class": type(item).__name__, **described(config)}
