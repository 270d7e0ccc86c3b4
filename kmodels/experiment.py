"""Experiment: everything that decides the outcome of a training run, except the seed."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, get_args

from kmodels.augment import POLICIES
from kmodels.components import check_name, is_reference
from kmodels.data import DATASETS, check_pattern
from kmodels.data.order import SAMPLERS, require_sampler
from kmodels.errors import InputError, require, unknown
from kmodels.models import APPLICATIONS, MODELS
from kmodels.notebook import WIDTH, changed_fields, experiment_html
from kmodels.text import clip

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "adagrad")
SCHEDULES = ("plateau", "cosine", "linear")
# Of schedule "plateau".
PLATEAU_PATIENCE = 5
DATA_LOADERS = ("arrays", "stream")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
# What may be fitted on the features of a trained network: see kmodels/training/heads.py.
HEADS = ("crt", "logistic", "nearest_mean", "svm", "tau_norm")
KERNELS = ("linear", "rbf")
KEEPS = ("best", "last")
MONITORS = ("val_loss", "val_accuracy")
# The fields that only training reads.
OF_TRAINING = (
    "optimizer", "learning_rate", "momentum", "weight_decay", "label_smoothing", "precision", "batch_size", "epochs",
    "patience", "plateau_patience", "plateau_factor", "schedule", "warmup_epochs", "keep", "monitor",
)  # fmt: skip
# The seeds that a plan gives each experiment: an interval over five is a third as wide as one over three.
PLANNED_SEEDS = (0, 1, 2, 3, 4)
# The fields that thin out the training images of classes; an experiment has one of them at most.
IMBALANCES = ("class_fractions", "class_counts", "long_tail")
# Options of networks that were fields of Experiment once, and a field that had another name: committed records have
# them so, and fingerprints are computed from them.
FORMER_FIELDS = ("hidden", "dropout", "batch_norm", "factorised", "noise_std", "weights", "small_stem")
FORMER_NAMES = {"feed": "data_loader"}
# Field -> what the names of a library's begin with; they look like "module:function", and are no functions of the user.
LIBRARIES = {"dataset": "tfds:", "model": APPLICATIONS}


class Options(dict):
    """The options of a network: a dict that cannot be changed, so that it can be hashed and shared.

    `replace(experiment, model_options={**experiment.model_options, "dropout": 0.3})` changes one of them.
    """

    def _refuse(self, *arguments, **options):
        raise TypeError("model_options cannot be changed; use dataclasses.replace(experiment, model_options={...})")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self):
        return hash(frozenset(self.items()))

    def __reduce__(self):
        return type(self), (dict(self),)


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a report printed for this experiment: fractions of 1, None where it printed nothing.

    `same_images` is whether the report says which images it trained and tested on. Where it does not, its numbers stand
    beside measured ones and are not judged.

    Tables of runs show the accuracies on val and test beside measured ones, but no losses, and no training accuracy:
    that of a report is a mean over the augmented batches of an epoch, ours is of the kept weights on clean images.
    """

    train_loss: float | None = None
    train_accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    epochs: int | None = None
    same_images: bool = True
    per_class_accuracy: tuple[float, ...] | None = field(default=None, repr=False)
    confusion_matrix: tuple[tuple[int, ...], ...] | None = field(default=None, repr=False)

    @property
    def comparable_accuracy(self):
        """`test_accuracy`; None where it is of images that the report does not name."""
        return self.test_accuracy if self.same_images else None


def option(default, text):
    """A field with the help text that the command line shows for it."""
    return field(default=default, metadata={"help": text})


# Field -> what its value must be, in words and as a test; None is left alone.
RANGES = {
    "image_size": ("at least 8", lambda value: value >= 8),
    "subset": ("at least 1", lambda value: value >= 1),
    "class_fractions": (
        "numbers from 0 to 1, one for each class, not all 0",
        lambda value: all(0 <= share <= 1 for share in value) and any(value),
    ),
    "class_counts": (
        "whole numbers of at least 0, one for each class, not all 0",
        lambda value: min(value, default=0) >= 0 and any(value),
    ),
    "long_tail": ("a ratio of at least 1", lambda value: 1 <= value < math.inf),
    "class_weight": (
        "'balanced' or numbers above 0, one for each class",
        lambda value: (
            value == "balanced"
            or (isinstance(value, tuple) and value and all(0 < weight < math.inf for weight in value))
        ),
    ),
    "shots": (
        "two whole numbers, the larger first: of training images, above which a class has many and below which few",
        lambda value: len(value) == 2 and value[0] >= value[1] >= 0,
    ),
    "learning_rate": ("a number above 0", lambda value: 0 < value < math.inf),
    "momentum": ("at least 0 and below 1", lambda value: 0 <= value < 1),
    "weight_decay": ("at least 0", lambda value: 0 <= value < math.inf),
    "label_smoothing": ("at least 0 and below 1", lambda value: 0 <= value < 1),
    "batch_size": ("at least 1", lambda value: value >= 1),
    "epochs": ("at least 1", lambda value: value >= 1),
    "patience": ("at least 1", lambda value: value >= 1),
    "plateau_patience": ("at least 1", lambda value: value >= 1),
    "plateau_factor": ("above 0 and below 1", lambda value: 0 < value < 1),
    "warmup_epochs": ("at least 0", lambda value: value >= 0),
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Experiment:
    """One training run, except for the seed. A variant is a difference:

        base = Experiment(name="mine/adam", dataset="cifar10", model="model4", learning_rate=1e-3, epochs=100)
        variant = replace(base, name="mine/sgd", optimizer="sgd", momentum=0.9)

    Where it takes a name (dataset, model, augmentation, optimizer, head), it also takes a function of your own as
    "module:function", which is imported when it is used.

    Raises:
        InputError: for an unknown name or an impossible value; says what is allowed.
    """

    name: str = field(metadata={"help": "where its records go: <report>/<name>"})
    description: str = option("", "one line for lists and pages")
    published: Published | None = option(None, "the numbers a report printed for it")
    shots: tuple[int, ...] = option(
        (100, 20), "classes with more training images than the first number have many, with fewer than the second few"
    )

    dataset: str = option(
        "cifar10",
        f"one of `kmodels data list`, tfds:NAME, or module:function (returns a Dataset): {', '.join(DATASETS)}",
    )
    image_size: int | None = option(None, "height and width in pixels; None: as stored")
    group_by: str | None = option(
        None,
        "for dataset folder: a regular expression; images whose paths give the same match (of its first group) stay "
        "in one split, as pictures of one series must",
    )
    subset: int | None = option(None, "keep this many of the train and val images together, stratified")
    augmentation: str = option(
        "none",
        "random changes of training images, new in each epoch; or module:function (images to images, or returning a "
        f"Keras layer or a list of them): {', '.join(POLICIES)}",
    )
    data_loader: str = option("arrays", "how batches are read: arrays (from memory) or stream (tf.data from tfds)")

    class_fractions: tuple[float, ...] | None = option(
        None, "the share of each class's training images to keep, 0 to 1 in the order of the classes; sampled by seed"
    )
    class_counts: tuple[int, ...] | None = option(
        None, "how many training images of each class to keep, in the order of the classes; sampled by seed"
    )
    long_tail: float | None = option(
        None, "keep all training images of the first class, 1/this of the last, falling exponentially between"
    )
    sampler: str = option(
        "shuffle",
        "which training images an epoch shows: shuffle (each once), oversample (as many of every class) or sqrt (of a "
        "class in proportion to the square root of its size); an epoch has as many as the train split",
    )

    model: str = option(
        "model4",
        "the network, one of `kmodels models`, applications:NAME (keras.applications), or module:function(input_shape, "
        "num_classes, **options)",
    )
    model_options: Mapping[str, Any] = option(
        Options(), "arguments of the network's builder, as dropout=0.3 batch_norm=true; see `kmodels models NAME`"
    )
    init_from: str | None = option(
        None,
        "start from a trained network: the name of its experiment, whose network with the same seed is in the "
        "results folder, or a .keras file; layers whose name and shape agree are transferred",
    )
    frozen: bool | None = option(
        None, "train only the newly initialised layers and the classifier; needs init_from or the option weights"
    )
    frozen_batch_norm: bool | None = option(
        None,
        "keep the batch norms as they are in the weights that training starts from, their statistics too; needs "
        "init_from or the option weights",
    )
    head: str | None = option(
        None,
        "train no network; fit this head on the features of init_from's or of pretrained weights; or module:function "
        f"(returns a scikit-learn classifier): {', '.join(HEADS)}; the network must end in a Dense layer, whose input "
        "is the features, and crt, logistic and tau_norm need a unit for each class there, the first two also a bias",
    )
    kernel: str | None = option(None, f"for head svm: {' or '.join(KERNELS)}; None: linear")

    optimizer: str = option(
        "adam",
        f"one of {', '.join(OPTIMIZERS)}, with PyTorch's constants; or module:function(learning_rate, ...), as "
        "keras.optimizers:Lion",
    )
    learning_rate: float = option(1e-3, "initial learning rate")
    momentum: float = option(0.0, "momentum of sgd and rmsprop")
    weight_decay: float | None = option(
        None, "added to the gradient, decoupled for adamw; None: PyTorch's default (adamw 0.01, others 0)"
    )
    schedule: str | None = option(
        None,
        "how the learning rate changes: plateau (multiplied by plateau_factor after plateau_patience epochs without "
        "improvement), cosine or linear (to 0 at the last epoch); None: constant",
    )
    warmup_epochs: int = option(0, "epochs in which the learning rate rises linearly from 0")
    label_smoothing: float = option(0.0, "share of the target spread evenly over all classes")
    class_weight: str | tuple[float, ...] | None = option(
        None,
        "weight of each class in the training loss, in the order of the classes, or balanced: inverse to its "
        "training images; of the heads svm and logistic: what the penalty C of each class is multiplied by",
    )
    precision: str = option(
        "auto",
        "what the network computes in: float32, bfloat16, float16, or auto: the fastest that the device has units for",
    )
    batch_size: int = option(128, "images per training step")
    epochs: int = option(50, "the largest number of epochs to train")
    patience: int | None = option(10, "stop after this many epochs in which monitor did not improve; None: never")
    plateau_patience: int | None = option(
        None,
        "lower the learning rate after this many epochs in which monitor did not improve (PyTorch's scheduler waits "
        "for one more, and ignores a relative gain under 1e-4); None: never",
    )
    plateau_factor: float = option(0.1, "what the learning rate is multiplied by on a plateau")
    keep: str = option("best", "which weights to keep: best (of the epoch with the best monitor) or last")
    monitor: str = option("val_loss", f"what best means, for keep, patience and plateaus: {' or '.join(MONITORS)}")

    def __new__(cls, **values):
        for name in values:
            if name in FORMER_FIELDS:
                raise InputError(
                    f"{name} is an option of the network: model_options={{{name!r}: {values[name]!r}}}, on the command "
                    f"line --model-options {name}=..."
                )
            if name in FORMER_NAMES:
                raise InputError(f"{name} is called {FORMER_NAMES[name]} now. Received: {name}={values[name]!r}")
            if name not in cls.__dataclass_fields__:
                raise unknown("field of Experiment", name, cls.__dataclass_fields__)
        return super().__new__(cls)

    def __post_init__(self):
        self._convert()
        for kind, known in (
            ("dataset", DATASETS),
            ("model", MODELS),
            ("augmentation", POLICIES),
            ("optimizer", OPTIMIZERS),
            ("head", (None, *HEADS)),
        ):
            check_name(kind, getattr(self, kind), known, LIBRARIES.get(kind))
        require(self.group_by is None or self.dataset == "folder", "group_by is for dataset 'folder'", self.dataset)
        check_pattern(self.group_by)
        for kind, known in (
            ("data_loader", DATA_LOADERS),
            ("precision", PRECISIONS),
            ("sampler", SAMPLERS),
            ("kernel", (None, *KERNELS)),
            ("schedule", (None, *SCHEDULES)),
            ("keep", KEEPS),
            ("monitor", MONITORS),
        ):
            if getattr(self, kind) not in known:
                raise unknown(kind, getattr(self, kind), known)
        for name, (rule, holds) in RANGES.items():
            value = getattr(self, name)
            require(value is None or holds(value), f"{name} must be {rule}", value)
        self._check_together()

    def __repr__(self):
        # The call that makes it, without what a report published and without defaults.
        values = ", ".join(f"{name}={clip(repr(value), WIDTH)}" for name, value in changed_fields(self).items())
        return f"Experiment({values})"

    def _repr_html_(self):
        return experiment_html(self)

    @classmethod
    def from_record(cls, values):
        """The Experiment of a record, whichever names today's registries hold and whatever is allowed today.

        Args:
            values: {field: value}, as in a record's JSON, of this version or an older one.

        Raises:
            InputError: for a field that is not known, or a value of another type.
        """
        values = {FORMER_NAMES.get(name, name): value for name, value in values.items()}
        former = {name: values.pop(name) for name in FORMER_FIELDS if name in values}
        values["model_options"] = {**values.get("model_options", {}), **former}
        if isinstance(values.get("published"), Mapping):
            values["published"] = Published(**values["published"])
        experiment = object.__new__(cls)
        for item in fields(cls):
            value = values.pop(item.name, item.default)
            require(value is not MISSING, f"an experiment must have a {item.name}", None)
            object.__setattr__(experiment, item.name, value)
        require(not values, "fields of an experiment must be known to this version of kmodels", sorted(values))
        experiment._convert()
        return experiment

    def _convert(self):
        """Brings every value to the type of its field, and checks the name."""
        for item in fields(self):
            object.__setattr__(self, item.name, _checked(item, getattr(self, item.name)))
        # It becomes the name of a folder.
        require(
            re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)+", self.name, re.ASCII),
            "name must be <report>/<name>: letters, digits, '_', '.' and '-' in parts joined by '/'",
            self.name,
        )
        if self.schedule == "plateau":
            # Two ways to write the same: with one of them left, equal experiments are equal.
            object.__setattr__(self, "schedule", None)
            if self.plateau_patience is None:
                object.__setattr__(self, "plateau_patience", PLATEAU_PATIENCE)

    def _check_together(self):
        """Refuses values that are possible by themselves and not with each other."""
        require(
            not self.momentum or self.optimizer in ("sgd", "rmsprop") or is_reference(self.optimizer),
            f"momentum belongs to sgd and rmsprop, not to {self.optimizer}",
            self.momentum,
        )
        weights = self.model_options.get("weights")
        require(weights != "", "the option weights must be None, 'imagenet' or a file", weights)
        for name in ("frozen", "frozen_batch_norm"):
            value = getattr(self, name)
            require(weights or self.init_from or not value, f"{name} needs weights or init_from", value)
        start = self.init_from
        rule = "init_from must be None, the <report>/<name> of an experiment, or a .keras file"
        require(start is None or start.endswith(".keras") or "/" in start, rule, start)
        require(start != self.name, "init_from must be another experiment", start)
        require(not (weights and start), "the option weights must be None where there is init_from", weights)
        given = [name for name in IMBALANCES if getattr(self, name) is not None]
        require(len(given) < 2, f"only one of {', '.join(IMBALANCES)} can be given", given)
        self._check_head()
        if self.data_loader == "stream":
            # Whether a function's dataset streams is known once it is there.
            require(
                DATASETS.get(self.dataset, "tfds_sets") == "tfds_sets",
                "data_loader 'stream' reads the files of tfds; it needs a dataset from there, and 'arrays' serves all "
                "others (from a memory-mapped cache, so that no set is too large for it)",
                self.dataset,
            )
            require_sampler(self.sampler, self.data_loader)
        require(
            self.schedule is None or self.plateau_patience is None,
            "only one of schedule and plateau_patience can be given",
            self.schedule,
        )
        require(
            not self.warmup_epochs or self.plateau_patience is None,
            "only one of warmup_epochs and plateau_patience can be given",
            self.warmup_epochs,
        )
        require(
            self.warmup_epochs < self.epochs,
            f"warmup_epochs must be below epochs ({self.epochs})",
            self.warmup_epochs,
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
        require(self.data_loader == "arrays", "data_loader must be 'arrays' where there is a head", self.data_loader)
        pretrained = self.model_options.get("weights") and self.head != "tau_norm"
        rule = f"head {self.head!r} needs init_from or the option weights: the network whose features it takes"
        require(self.init_from or pretrained, rule, None)
        for name in ("frozen", "frozen_batch_norm"):
            rule = f"{name} must be left out where there is a head: {self.head!r} trains no network"
            require(not getattr(self, name), rule, True)
        none = f"augmentation must be 'none' where there is a head: {self.head!r} sees features, not images"
        require(self.augmentation == "none", none, self.augmentation)
        trained = self.head == "crt" or self.sampler == "shuffle"
        require(trained, f"sampler must be 'shuffle' for head {self.head!r}, which sees all at once", self.sampler)
        require(
            self.head in ("svm", "crt", "logistic") or self.class_weight is None or is_reference(self.head),
            f"class_weight belongs to training and to the heads svm, logistic and crt, not to {self.head!r}",
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
    def references(self):
        """{field: "module:function"} of what is not of a registry."""
        named = {name: getattr(self, name) for name in ("dataset", "model", "augmentation", "optimizer", "head")}
        return {
            name: value
            for name, value in named.items()
            if is_reference(value) and not value.startswith(LIBRARIES.get(name, ()))
        }

    @property
    def report(self):
        """The first part of the name: m1 of cifar10_small_cnns is cifar10_small_cnns/m1."""
        return self.name.partition("/")[0]

    @property
    def short_name(self):
        """The name without the report."""
        return self.name.partition("/")[2] or self.name

    @property
    def fingerprint(self):
        """Eight hex digits of what decides the outcome; name, description and published numbers do not.

        Fields at their default are left out, so that a field added later does not rename what was recorded before; and
        those of training where a head is fitted without it. Fields count under their former names, for the same reason.
        """
        deciding = {item.name: getattr(self, item.name) for item in deciding_fields()}
        if self.is_fitted:
            deciding = {name: value for name, value in deciding.items() if name not in OF_TRAINING}
        changed = {name: value for name, value in deciding.items() if value != _DEFAULTS[name]}
        changed |= {name: changed.pop(later) for name, later in FORMER_NAMES.items() if later in changed}
        options = dict(changed.pop("model_options", {}))
        changed |= {name: options.pop(name) for name in FORMER_FIELDS if name in options}
        if options:
            changed["model_options"] = options
        return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]


def deciding_fields():
    """The fields that decide the outcome: all but name, description, published numbers and how classes are grouped."""
    return [item for item in fields(Experiment) if item.name not in ("name", "description", "published", "shots")]


_DEFAULTS = {item.name: item.default for item in deciding_fields()}


def kinds(item):
    """The types that a field may have: (int, NoneType) for `int | None`."""
    return get_args(item.type) if isinstance(item.type, UnionType) else (item.type,)


def kind_name(kind):
    """A type in words, for messages and help texts."""
    named = {
        NoneType: "None",
        tuple[float, ...]: "numbers",
        tuple[int, ...]: "whole numbers",
        Mapping[str, Any]: "a mapping of options",
    }
    return named.get(kind) or kind.__name__


def _checked(item, value):
    """The value if it is of the field's type; an int becomes a float where one is wanted, so that 1 equals 1.0."""
    allowed = kinds(item)
    value = _plain(value)
    if Mapping[str, Any] in allowed:
        return _options(item.name, value)
    if float in allowed and type(value) is int:
        return float(value)
    if isinstance(value, tuple):
        for kind, numbers in ((tuple[int, ...], (int,)), (tuple[float, ...], (int, float))):
            if kind in allowed and all(type(number) in numbers for number in value):
                return tuple(map(numbers[-1], value))
    elif type(value) in allowed or (isinstance(value, Published) and Published in allowed):
        return value
    raise InputError(f"{item.name} must be {' or '.join(map(kind_name, allowed))}. Received: {value!r}")


def _plain(value):
    """Scalars and arrays of NumPy as Python's own numbers, lists as tuples; anything else as it is."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _options(name, value):
    """The options of a network as `Options`; those that are None are left out, for the builder's default."""
    require(isinstance(value, Mapping), f"{name} must be a mapping from names to values", value)
    options = {key: _plain(option) for key, option in value.items() if option is not None}
    for key, option in options.items():
        require(isinstance(key, str) and key.isidentifier(), f"{name} must have names of arguments as keys", key)
        require(_is_json(option), f"{name} must be text, numbers, true, false, or tuples of these", {key: option})
    return Options(options)


def _is_json(value):
    if isinstance(value, tuple):
        return all(map(_is_json, value))
    return isinstance(value, str | int | float) and not (isinstance(value, float) and not math.isfinite(value))
