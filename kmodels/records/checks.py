"""Whether what a record's file holds is what runs write: types, ranges, and how its parts belong together."""

import datetime
import re
from collections.abc import Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from kmodels.analysis.evaluation import Evaluation
from kmodels.analysis.metrics import Calibration
from kmodels.backend import BACKENDS
from kmodels.data.cache import SPLITS
from kmodels.errors import require, require_whole


def check_types(value):
    """Raises InputError unless every field of a dataclass, and of those in it, has the type that it declares."""
    for item in fields(value):
        inner = getattr(value, item.name)
        require(_fits(inner, item.type), f"{item.name} must be {getattr(item.type, '__name__', item.type)}", inner)
        if isinstance(inner, Evaluation | Calibration):
            check_types(inner)


def _fits(value, kind):
    """Whether a value has a type as annotations have it; a whole number is a float too, and no truth value a number."""
    if kind is Any:
        return True
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool)
    parts = get_args(kind)
    if isinstance(kind, UnionType):
        return any(_fits(value, part) for part in parts)
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            return False
        parts = parts[:1] * len(value) if parts[1:] == (...,) else parts
        return len(parts) == len(value) and all(map(_fits, value, parts))
    if get_origin(kind) is Mapping:
        return isinstance(value, Mapping) and all(
            _fits(name, parts[0]) and _fits(inner, parts[1]) for name, inner in value.items()
        )
    return isinstance(value, kind or NoneType)


def check_ranges(record):
    """Raises InputError for values that no run writes."""
    source, classes = record.source, len(record.class_names)
    for name, value in (
        ("weights_sha256", record.weights_sha256),
        ("network_sha256", record.network_sha256),
        ("source's sha256", source["sha256"]),
        ("source's pixels_sha256", source.get("pixels_sha256")),
        *(record.code_sha256 or {}).items(),
    ):
        hexadecimal = value is None or (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value))
        require(hexadecimal, f"{name} must be 64 hexadecimal digits", value)
    require(record.backend in BACKENDS, f"backend must be one of {', '.join(BACKENDS)}", record.backend)
    require(re.fullmatch(r"\w+", record.precision, re.ASCII), "precision must be a word", record.precision)
    counts = source["counts"]
    counted = _fits(counts, Mapping[str, int]) and set(counts) <= set(SPLITS) and min(counts.values(), default=-1) >= 0
    require(counted, f"source's counts must be numbers of images of {', '.join(SPLITS)}", counts)
    words = dict.fromkeys(("kind", "name", "split", "copy"), str)
    for name, kind in {**words, "original": bool, "notes": tuple[str, ...], "missing": Mapping[str, int]}.items():
        fits = name not in source or _fits(as_tuples(source[name]), kind)
        require(fits, f"source's {name} must be {getattr(kind, '__name__', kind)}", source)
    for name, least in (("seed", 0), ("parameters", 0), ("devices", 1), ("seeds_at_once", 1)):
        require_whole(name, getattr(record, name), least)
    for name in ("compile_seconds", "train_seconds", "images_per_second"):
        require((getattr(record, name) or 0) >= 0, f"{name} must be at least 0", getattr(record, name))
    require(classes >= 2, "class_names must be two or more", record.class_names)
    require(min(record.image_shape) >= 1, "image_shape must be numbers of at least 1", record.image_shape)
    require(len({len(v) for v in record.history.values()}) < 2, "columns of history must be equally long", None)
    best = record.best_epoch
    require(best is None or 1 <= best <= record.epochs_run, f"best_epoch must be 1 to {record.epochs_run}", best)
    datetime.datetime.fromisoformat(record.started)
    for evaluation in filter(None, (record.train, record.val, record.test)):
        matrix, of_classes = evaluation.confusion_matrix, evaluation.per_class_accuracy
        square = len(matrix) == classes and all(len(row) == classes and min(row) >= 0 for row in matrix)
        require(square, f"confusion_matrix must be {classes} rows of {classes} counts", len(matrix))
        total = sum(map(sum, matrix))
        require(total == evaluation.examples >= 1, f"confusion_matrix must count {evaluation.examples} images", total)
        shares = (evaluation.accuracy, *(share for share in of_classes if share is not None))
        require(
            len(of_classes) == classes and 0 <= min(shares) <= max(shares) <= 1, "accuracies must be 0 to 1", shares
        )
        require((evaluation.loss or 0) >= 0, "loss must be at least 0", evaluation.loss)
        if bins := evaluation.calibration:
            lengths = {len(bins.counts), len(bins.confidences), len(bins.accuracies)}
            require(len(lengths) == 1, "the columns of calibration must be equally long", lengths)


def as_tuples(value):
    """The value with every list in it, at any depth, as a tuple."""
    if isinstance(value, dict):
        return {name: as_tuples(inner) for name, inner in value.items()}
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value
