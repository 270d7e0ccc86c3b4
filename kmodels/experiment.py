"""Experiment: everything that decides the outcome of a training run, except the seed."""

import hashlib
import json
import math
import re
from dataclasses import dataclass, field, fields
from types import NoneType, UnionType
from typing import get_args

from kmodels.augment import POLICIES
from kmodels.data import DATASETS
from kmodels.errors import InputError, require, unknown
from kmodels.models import MODELS

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "adagrad")
FEEDS = ("arrays", "stream")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
# The fields that are options of a network's builder.
MODEL_OPTIONS = ("dropout", "batch_norm", "weights", "frozen", "small_stem")


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a report printed for this experiment: fractions of 1, None where it printed nothing."""

    train_loss: float | None = None
    train_accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    epochs: int | None = None
    per_class_accuracy: tuple[float, ...] | None = None
    confusion_matrix: tuple[tuple[int, ...], ...] | None = None


def option(default, text):
    """A field with the help text that the command line shows for it."""
    return field(default=default, metadata={"help": text})


# Field -> what its value must be, in words and as a test; None is left alone.
_RANGES = (
    ("image_size", "at least 8", lambda value: value >= 8),
    ("subset", "at least 1", lambda value: value >= 1),
    (
        "class_fractions",
        "numbers from 0 to 1, one for each class, not all 0",
        lambda value: all(0 <= share <= 1 for share in value) and any(value),
    ),
    ("dropout", "at least 0 and below 1", lambda value: 0 <= value < 1),
    ("learning_rate", "a number above 0", lambda value: 0 < value < math.inf),
    ("momentum", "at least 0 and below 1", lambda value: 0 <= value < 1),
    ("weight_decay", "at least 0", lambda value: 0 <= value < math.inf),
    ("label_smoothing", "at least 0 and below 1", lambda value: 0 <= value < 1),
    ("batch_size", "at least 1", lambda value: value >= 1),
    ("epochs", "at least 1", lambda value: value >= 1),
    ("patience", "at least 1", lambda value: value >= 1),
    ("plateau_patience", "at least 1", lambda value: value >= 1),
    ("plateau_factor", "above 0 and below 1", lambda value: 0 < value < 1),
)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One training run, seed apart. A variant is a difference: `replace(BASE, name=..., optimizer="sgd")`.

    Raises:
        InputError: for an unknown name or an impossible value; says what is allowed.
    """

    name: str = field(metadata={"help": "where its records go: <report>/<name>"})
    description: str = option("", "one line for lists and pages")
    published: Published | None = option(None, "the numbers a report printed for it")

    dataset: str = option("cifar10", "name of the data, one of `kmodels data`")
    image_size: int | None = option(None, "height and width in pixels; None: as stored")
    subset: int | None = option(None, "keep this many of the train and val images together, stratified")
    augmentation: str = option("none", f"what happens to training images, anew each epoch: {', '.join(POLICIES)}")
    feed: str = option("arrays", "how batches reach the device: arrays or stream (tf.data from tfds)")

    class_fractions: tuple[float, ...] | None = option(
        None, "the share of each class's training images to keep, 0 to 1 in the order of the classes; drawn by the seed"
    )

    model: str = option("model4", "name of the network, one of `kmodels models`")
    dropout: float | None = option(None, "dropout rate; None: the network's own")
    batch_norm: bool | None = option(None, "batch normalisation in alexnet; None: the network's own")
    weights: str | None = option(None, "resnet50's first weights: imagenet, or a file; None: drawn")
    frozen: bool | None = option(None, "train resnet50's classifier only; needs weights")
    small_stem: bool | None = option(None, "resnet50's stem for small images")

    optimizer: str = option("adam", f"one of {', '.join(OPTIMIZERS)}; constants are PyTorch's")
    learning_rate: float = option(1e-3, "initial learning rate")
    momentum: float = option(0.0, "momentum of sgd and rmsprop")
    weight_decay: float | None = option(
        None, "added to the gradient, decoupled for adamw; None: PyTorch's default (adamw 0.01, others 0)"
    )
    label_smoothing: float = option(0.0, "share of the target spread evenly over all classes")
    precision: str = option(
        "auto",
        "what the network computes in: float32, bfloat16, float16, or auto: the fastest that the device has units for",
    )
    batch_size: int = option(128, "images a training step")
    epochs: int = option(50, "most epochs to train")
    patience: int | None = option(10, "stop after this many epochs without a lower val_loss; None: never")
    plateau_patience: int | None = option(
        None, "lower the learning rate after this many epochs without a lower val_loss; None: never"
    )
    plateau_factor: float = option(0.1, "what the learning rate is multiplied by on a plateau")

    def __new__(cls, **values):
        for name in values:
            if name not in cls.__dataclass_fields__:
                raise unknown("field of Experiment", name, cls.__dataclass_fields__)
        return super().__new__(cls)

    def __post_init__(self):
        for item in fields(self):
            value = _checked(item, getattr(self, item.name))
            object.__setattr__(self, item.name, value)
        require(
            re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)+", self.name, re.ASCII),
            "name must be <report>/<name>: letters, digits, '_', '.' and '-' in parts joined by '/'",
            self.name,
        )
        for kind, known in (
            ("dataset", DATASETS),
            ("model", MODELS),
            ("augmentation", POLICIES),
            ("optimizer", OPTIMIZERS),
            ("feed", FEEDS),
            ("precision", PRECISIONS),
        ):
            if getattr(self, kind) not in known:
                raise unknown(kind, getattr(self, kind), known)
        for name, rule, holds in _RANGES:
            value = getattr(self, name)
            require(value is None or holds(value), f"{name} must be {rule}", value)
        self._check_together()

    def _check_together(self):
        """Refuses values that are possible by themselves and not with each other."""
        require(
            not self.momentum or self.optimizer in ("sgd", "rmsprop"),
            f"momentum belongs to sgd and rmsprop, not to {self.optimizer}",
            self.momentum,
        )
        require(self.weights != "", "weights must be None, 'imagenet' or a file", self.weights)
        require(self.weights or not self.frozen, "frozen needs weights", self.weights)
        if self.feed == "stream":
            require(
                DATASETS[self.dataset] == "tfds_sets",
                "feed 'stream' reads the files of tfds; it needs a dataset from there, and 'arrays' serves all others "
                "(from a memory-mapped cache, so that no set is too large for it)",
                self.dataset,
            )
            require(
                self.image_size is None,
                "feed 'stream' reads images as tfds stores them; image_size must be None",
                self.image_size,
            )
        if self.patience is not None and self.plateau_patience is not None:
            require(
                self.plateau_patience < self.patience,
                f"plateau_patience must be below patience ({self.patience}), or it never acts",
                self.plateau_patience,
            )

    @property
    def model_options(self):
        """The keyword arguments that the builder of the network gets."""
        given = {name: getattr(self, name) for name in MODEL_OPTIONS}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def fingerprint(self):
        """Eight hex digits of what decides the outcome; name, description and published numbers do not.

        Fields at their default are left out, so that a field added later does not rename what was recorded before.
        """
        deciding = {item.name: getattr(self, item.name) for item in deciding_fields()}
        changed = {name: value for name, value in deciding.items() if value != _DEFAULTS[name]}
        return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]


def deciding_fields():
    """The fields that decide the outcome: all but name, description and published numbers."""
    return [item for item in fields(Experiment) if item.name not in ("name", "description", "published")]


_DEFAULTS = {item.name: item.default for item in deciding_fields()}


def kinds(item):
    """The types that a field may have: (int, NoneType) for `int | None`."""
    return get_args(item.type) if isinstance(item.type, UnionType) else (item.type,)


def kind_name(kind):
    """A type as people say it."""
    return {NoneType: "None", tuple[float, ...]: "numbers"}.get(kind) or kind.__name__


def _checked(item, value):
    """The value if it is of the field's type; an int becomes a float where one is wanted, so that 1 equals 1.0."""
    allowed = kinds(item)
    if float in allowed and type(value) is int:
        return float(value)
    if tuple[float, ...] in allowed and isinstance(value, list | tuple):
        if all(type(number) in (int, float) for number in value):
            return tuple(map(float, value))
    elif type(value) in allowed or (isinstance(value, Published) and Published in allowed):
        return value
    raise InputError(f"{item.name} must be {' or '.join(map(kind_name, allowed))}. Received: {value!r}")
