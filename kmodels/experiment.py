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
from kmodels.data.order import SAMPLERS
from kmodels.errors import InputError, require, unknown
from kmodels.models import MODELS

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "adagrad")
FEEDS = ("arrays", "stream")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
# What may be fitted on the features of a trained network: see kmodels/training/heads.py.
HEADS = ("crt", "nearest_mean", "svm", "tau_norm")
KERNELS = ("linear", "rbf")
# The fields that are options of a network's builder.
MODEL_OPTIONS = ("hidden", "dropout", "batch_norm", "factorised", "noise_std", "weights", "small_stem")
# The fields that only training reads.
OF_TRAINING = (
    "optimizer", "learning_rate", "momentum", "weight_decay", "label_smoothing", "precision", "batch_size", "epochs",
    "patience", "plateau_patience", "plateau_factor",
)  # fmt: skip
# The fields that thin out the training images of classes; an experiment has one of them at most.
IMBALANCES = ("class_fractions", "class_counts", "long_tail")


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
    (
        "class_counts",
        "whole numbers of at least 0, one for each class, not all 0",
        lambda value: min(value, default=0) >= 0 and any(value),
    ),
    ("long_tail", "a ratio of at least 1", lambda value: 1 <= value < math.inf),
    (
        "class_weight",
        "'balanced' or numbers above 0, one for each class",
        lambda value: (
            value == "balanced"
            or (isinstance(value, tuple) and value and all(0 < weight < math.inf for weight in value))
        ),
    ),
    (
        "shots",
        "two whole numbers, the larger first: of training images, above which a class has many and below which few",
        lambda value: len(value) == 2 and value[0] >= value[1] >= 0,
    ),
    ("hidden", "one or more whole numbers of at least 1", lambda value: value and min(value) >= 1),
    ("dropout", "at least 0 and below 1", lambda value: 0 <= value < 1),
    ("noise_std", "from 0 to 1", lambda value: 0 <= value <= 1),
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
    shots: tuple[int, ...] = option(
        (100, 20), "classes with more training images than the first number have many, with fewer than the second few"
    )

    dataset: str = option("cifar10", "name of the data, one of `kmodels data`")
    image_size: int | None = option(None, "height and width in pixels; None: as stored")
    subset: int | None = option(None, "keep this many of the train and val images together, stratified")
    augmentation: str = option("none", f"what happens to training images, anew each epoch: {', '.join(POLICIES)}")
    feed: str = option("arrays", "how batches reach the device: arrays or stream (tf.data from tfds)")

    class_fractions: tuple[float, ...] | None = option(
        None, "the share of each class's training images to keep, 0 to 1 in the order of the classes; drawn by the seed"
    )
    class_counts: tuple[int, ...] | None = option(
        None, "how many training images of each class to keep, in the order of the classes; drawn by the seed"
    )
    long_tail: float | None = option(
        None, "keep all training images of the first class, 1/this of the last, falling exponentially between"
    )
    sampler: str = option(
        "shuffle",
        "which training images an epoch shows: shuffle (each once), oversample (as many of every class) or sqrt (of a "
        "class in proportion to the square root of its size); an epoch has as many as the train split",
    )

    model: str = option("model4", "name of the network, one of `kmodels models`")
    hidden: tuple[int, ...] | None = option(None, "widths of two_layer_net's hidden layers; None: its own")
    dropout: float | None = option(None, "dropout rate; None: the network's own")
    batch_norm: bool | None = option(None, "batch normalisation in alexnet; None: the network's own")
    factorised: bool | None = option(None, "densenet121 with 1x3 and 3x1 convolutions in place of each 3x3")
    noise_std: float | None = option(None, "densenet121's Gaussian noise after its first six convolutions, in training")
    weights: str | None = option(None, "resnet50's first weights: imagenet, or a file; None: drawn")
    small_stem: bool | None = option(None, "resnet50's stem for small images")
    init_from: str | None = option(
        None,
        "start from a trained network: the name of its experiment, whose network with the same seed lies in the "
        "results folder, or a .keras file; layers whose name and shape fit are taken over",
    )
    frozen: bool | None = option(None, "train only the layers that were drawn anew, and the classifier; needs weights")
    head: str | None = option(
        None, f"train no network; fit this head on the features of init_from's: {', '.join(HEADS)}"
    )
    kernel: str | None = option(None, f"of head svm: {' or '.join(KERNELS)}; None: linear")

    optimizer: str = option("adam", f"one of {', '.join(OPTIMIZERS)}; constants are PyTorch's")
    learning_rate: float = option(1e-3, "initial learning rate")
    momentum: float = option(0.0, "momentum of sgd and rmsprop")
    weight_decay: float | None = option(
        None, "added to the gradient, decoupled for adamw; None: PyTorch's default (adamw 0.01, others 0)"
    )
    label_smoothing: float = option(0.0, "share of the target spread evenly over all classes")
    class_weight: str | tuple[float, ...] | None = option(
        None,
        "weight of each class in the loss of training, in the order of the classes, or balanced: inverse to its "
        "training images; of head svm: what the penalty C of each class is multiplied by",
    )
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
            ("sampler", SAMPLERS),
            ("head", (None, *HEADS)),
            ("kernel", (None, *KERNELS)),
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
        require(self.weights or self.init_from or not self.frozen, "frozen needs weights or init_from", self.frozen)
        start = self.init_from
        rule = "init_from must be None, the <report>/<name> of an experiment, or a .keras file"
        require(start is None or start.endswith(".keras") or "/" in start, rule, start)
        require(start != self.name, "init_from must be another experiment", start)
        require(not (self.weights and self.init_from), "weights must be None where there is init_from", self.weights)
        given = [name for name in IMBALANCES if getattr(self, name) is not None]
        require(len(given) < 2, f"only one of {', '.join(IMBALANCES)} can be given", given)
        self._check_head()
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
            require(
                self.sampler == "shuffle", "feed 'stream' shows each image once; sampler must be shuffle", self.sampler
            )
        if self.patience is not None and self.plateau_patience is not None:
            require(
                self.plateau_patience < self.patience,
                f"plateau_patience must be below patience ({self.patience}), or it never acts",
                self.plateau_patience,
            )

    def _check_head(self):
        require(self.head == "svm" or self.kernel is None, "kernel belongs to head svm", self.kernel)
        if self.head is None:
            return
        if self.head == "svm" and self.kernel is None:
            object.__setattr__(self, "kernel", "linear")
        require(self.feed == "arrays", "feed must be 'arrays' where there is a head", self.feed)
        require(self.init_from, f"head {self.head!r} needs init_from, the network whose features it takes", None)
        require(
            not self.frozen, f"frozen must be left out where there is a head: {self.head!r} trains no network", True
        )
        none = f"augmentation must be 'none' where there is a head: {self.head!r} sees features, not images"
        require(self.augmentation == "none", none, self.augmentation)
        trained = self.head == "crt" or self.sampler == "shuffle"
        require(trained, f"sampler must be 'shuffle' for head {self.head!r}, which sees all at once", self.sampler)
        require(
            self.head in ("svm", "crt") or self.class_weight is None,
            f"class_weight belongs to training and to the heads svm and crt, not to {self.head!r}",
            self.class_weight,
        )

    @property
    def is_fitted(self):
        """Whether it is a head that is fitted in one go, without training."""
        return self.head not in (None, "crt")

    @property
    def imbalance(self):
        """(field, value) of what thins out the classes, the field one of IMBALANCES; None where nothing does."""
        return next(((name, getattr(self, name)) for name in IMBALANCES if getattr(self, name) is not None), None)

    @property
    def model_options(self):
        """The keyword arguments that the builder of the network gets."""
        given = {name: getattr(self, name) for name in MODEL_OPTIONS}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def fingerprint(self):
        """Eight hex digits of what decides the outcome; name, description and published numbers do not.

        Fields at their default are left out, so that a field added later does not rename what was recorded before; and
        those of training where a head is fitted without it.
        """
        deciding = {item.name: getattr(self, item.name) for item in deciding_fields()}
        if self.is_fitted:
            deciding = {name: value for name, value in deciding.items() if name not in OF_TRAINING}
        changed = {name: value for name, value in deciding.items() if value != _DEFAULTS[name]}
        return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]


def deciding_fields():
    """The fields that decide the outcome: all but name, description, published numbers and how classes are grouped."""
    return [item for item in fields(Experiment) if item.name not in ("name", "description", "published", "shots")]


_DEFAULTS = {item.name: item.default for item in deciding_fields()}


def kinds(item):
    """The types that a field may have: (int, NoneType) for `int | None`."""
    return get_args(item.type) if isinstance(item.type, UnionType) else (item.type,)


def kind_name(kind):
    """A type as people say it."""
    return {NoneType: "None", tuple[float, ...]: "numbers", tuple[int, ...]: "whole numbers"}.get(kind) or kind.__name__


def _checked(item, value):
    """The value if it is of the field's type; an int becomes a float where one is wanted, so that 1 equals 1.0."""
    allowed = kinds(item)
    if float in allowed and type(value) is int:
        return float(value)
    if isinstance(value, list | tuple):
        for kind, numbers in ((tuple[int, ...], (int,)), (tuple[float, ...], (int, float))):
            if kind in allowed and all(type(number) in numbers for number in value):
                return tuple(map(numbers[-1], value))
    elif type(value) in allowed or (isinstance(value, Published) and Published in allowed):
        return value
    raise InputError(f"{item.name} must be {' or '.join(map(kind_name, allowed))}. Received: {value!r}")
