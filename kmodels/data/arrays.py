"""Check and convert the user's own arrays and batches, for `Dataset.from_arrays` and `Dataset.from_batches`."""

import numbers

import numpy as np

from kmodels.data.cache import SPLITS, checksum
from kmodels.data.dataset import Split
from kmodels.data.splits import cut_missing_splits
from kmodels.errors import InputError, require, shorten

# tf.data's value for the cardinality of an endless dataset.
INFINITE = -1
# Images checked at once, so that a memory-mapped array need not fit in memory.
BLOCK = 1024
# Values may be beyond those of the training images by so many times their range. Standardised images have extremes of
# their own; pixels 0..255 are further beyond those of any usual scaling.
BEYOND = 10
# Floats that are no pixels, with a largest value below this, are not on the scale of pixels 0..255.
LARGE_PIXEL = 64
# A larger label is taken for a mistake, such as an id, unless there are class names.
MOST_CLASSES = 100_000


def dataset_fields(kind, train, val, test, class_names, name):
    """Everything that a Dataset is made of.

    Args:
        kind: "arrays" or "batches", for `source`.
        train: a pair (images, labels), see `Dataset.from_arrays`.
        val: the same, or None.
        test: the same, or None.
        class_names: in the order of the labels, or None.
        name: of the dataset.

    Returns:
        The arguments of Dataset, a dict.

    Raises:
        InputError: see `Dataset.from_arrays`.
    """
    require(isinstance(name, str) and name, "the name of a dataset must be text", name)
    pairs = {split: pair for split, pair in zip(SPLITS, (train, val, test), strict=True) if pair is not None}
    require("train" in pairs, "train must be a pair (images, labels)", train)
    images, labels = {}, {}
    for split, pair in pairs.items():
        is_pair = isinstance(pair, tuple | list) and len(pair) == 2
        require(is_pair, f"{split} must be a pair (images, labels)", type(pair))
        images[split], labels[split] = _images(split, pair[0]), _labels(split, pair[1])
        if len(images[split]) != len(labels[split]):
            raise InputError(f"{split} has {len(images[split])} images but {len(labels[split])} labels")
    _require_equal("shape", {split: array.shape[1:] for split, array in images.items()})
    _require_equal("dtype", {split: str(array.dtype) for split, array in images.items()})
    trained = range_unless_pixels(images["train"])
    for split, array in images.items():
        require_same_values(f"{split} images", array, trained)
    class_names, labels = _with_class_names(labels, class_names)

    splits = {split: Split(images[split], labels[split], np.arange(len(labels[split]))) for split in pairs}
    description = "as given"
    if len(splits) < len(SPLITS):
        indices, description = cut_missing_splits(labels["train"], pairs.keys(), class_names, description)
        splits |= {split: splits["train"].take(part) for split, part in indices.items()}
    splits = {split: splits[split] for split in SPLITS}
    source = {
        "kind": kind,
        "name": name,
        "original": False,
        "counts": {split: len(arrays) for split, arrays in splits.items()},
        "split": description,
        "sha256": checksum(splits.values()),
        "notes": [*_range_note(images), *_empty_class_notes(splits, class_names)],
    }
    return {"name": name, **splits, "class_names": class_names, "source": source}


def labelled_images(what, pair):
    """Images and labels as `Dataset.from_arrays` takes them, where labels are numbers or one-hot.

    Args:
        what: they are, for messages.
        pair: (images, labels).

    Returns:
        Images (n, height, width, channels), uint8 or float32, and labels, ints (n,).

    Raises:
        InputError: for anything else.
    """
    is_pair = isinstance(pair, tuple | list) and len(pair) == 2
    require(is_pair, f"{what} must be a pair (images, labels)", type(pair))
    images, labels = _images(what, pair[0]), _labels(what, pair[1])
    require(
        labels.dtype.kind != "U", f"{what} labels must be numbers, of the classes in their order", labels[:3].tolist()
    )
    require(len(images) == len(labels), f"{what} must have as many labels as images", (len(images), len(labels)))
    return images, labels.argmax(axis=1) if labels.ndim == 2 else labels


def read_batches(split, batches):
    """Reads batches to their end.

    Args:
        split: its name, for messages.
        batches: an iterable, see `Dataset.from_batches`.

    Returns:
        Images (n, ...) and labels (n, ...), each of the common type of the batches.

    Raises:
        InputError: if there is no end or no batch, or the batches do not fit together.
    """
    images, labels = [], []
    for element in _finite(split, batches):
        pixels, targets = _batch(split, element)
        if images and pixels.shape[1:] != images[0].shape[1:]:
            raise InputError(
                f"the {split} images differ in size: {_shape(images[0].shape[1:])} and {_shape(pixels.shape[1:])}; "
                "resize them first"
            )
        if labels and targets.shape[1:] != labels[0].shape[1:]:
            raise InputError(f"the {split} labels differ in shape: {labels[0].shape[1:]} and {targets.shape[1:]}")
        images.append(pixels)
        labels.append(targets)
    if not images:
        raise InputError(f"{split} is empty: it has no batch; a generator can be read only once")
    return np.concatenate(images), np.concatenate(labels)


def _finite(split, batches):
    """An iterator over the batches; raises an InputError if it would not end."""
    endless = InputError(f"{split} is endless, so it cannot be read into memory; limit it, as with .take(n)")
    if hasattr(batches, "cardinality"):
        if int(batches.cardinality()) == INFINITE:
            raise endless
    elif hasattr(batches, "num_batches") and hasattr(batches, "__getitem__"):
        # PyDataset of older Keras has no __iter__: Python would read it by index without end.
        if batches.num_batches is None:
            raise endless
        return (batches[i] for i in range(batches.num_batches))
    try:
        return iter(batches)
    except TypeError as error:
        raise InputError(f"{split} must be an iterable of (images, labels). Received: {type(batches)}") from error


def _batch(split, element):
    """One element as arrays: images (n, ...) and labels (n, ...)."""
    if isinstance(element, dict):
        require({"image", "label"} <= element.keys(), f"{split} must have keys image and label", sorted(element))
        element = element["image"], element["label"]
    if not isinstance(element, tuple | list) or len(element) != 2:
        received = f"{len(element)} parts" if isinstance(element, tuple | list) else type(element)
        raise InputError(f"{split} must yield pairs (images, labels). Received: {received}")
    images, labels = (
        to_array(f"{split} {part}", values) for part, values in zip(("images", "labels"), element, strict=True)
    )
    return (images[None], labels[None]) if _is_one_example(images, labels) else (images, labels)


def _is_one_example(images, labels):
    if labels.ndim == 0:
        return True
    # 3-D images with one label each are a grey batch; with a one-hot label they are one image.
    same_length = labels.shape[:1] == images.shape[:1]
    return (images.ndim == 2 and not same_length) or (images.ndim == 3 and not (same_length and images.shape[-1] > 4))


def to_array(what, values):
    """Anything that NumPy reads, as an array; without a copy where it can be.

    Args:
        what: it is, for messages, in the plural.
        values: an array, a tensor of any framework, or nested lists.

    Raises:
        InputError: if it is no array.
    """
    if isinstance(values, np.memmap):
        return values
    if hasattr(values, "detach"):
        # A torch tensor that needs gradients, or is on a GPU, is not read by NumPy.
        values = values.detach().cpu()
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"the {what} differ in size, so they form no array: {error}") from error
    except (TypeError, RuntimeError) as error:
        raise InputError(f"the {what} cannot be read as an array: {error}") from error


def _images(split, values):
    """uint8 or float32 (n, height, width, channels)."""
    images = to_array(f"{split} images", values)
    if images.dtype == object:
        raise InputError(f"the {split} images differ in size, or are not numbers; resize them first")
    if images.ndim == 3:
        images = images[..., None]
    require(
        images.ndim == 4 and images.size > 0,
        f"{split} images must have the shape (n, height, width, channels), or (n, height, width) for grey ones",
        images.shape,
    )
    _, height, width, channels = images.shape
    if channels > 4 and ((height == 3 and width > 4) or (height == 1 and width == channels)):
        raise InputError(
            f"{split} images have their channels first, {images.shape}; channels come last here: use "
            "images.transpose(0, 2, 3, 1), or .permute in PyTorch"
        )
    return _as_pixels(split, images)


def _as_pixels(split, images):
    """uint8 unchanged, other integers as uint8, floats as float32."""
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind in "iu":
        low, high = value_range(images)
        require(low >= 0 and high <= 255, f"{split} images of integers must be within 0 to 255", f"{low} to {high}")
        return images.astype(np.uint8)
    require(
        np.issubdtype(images.dtype, np.floating),
        f"{split} images must be integers within 0 to 255 or floats",
        str(images.dtype),
    )
    with np.errstate(over="ignore"):
        # What is too large for float32 becomes infinite and is refused.
        images = images.astype(np.float32, copy=False)
    require(np.isfinite(value_range(images)).all(), f"{split} images must be finite", "NaN or infinity")
    return images


def value_range(images):
    """The smallest and the largest value of an array; NaN if there is one."""
    blocks = [images[start : start + BLOCK] for start in range(0, len(images), BLOCK)]
    return np.min([block.min() for block in blocks]), np.max([block.max() for block in blocks])


def range_unless_pixels(images):
    """The smallest and the largest value of floats that are not pixels 0..255.

    Args:
        images: an array of finite numbers.

    Returns:
        A pair of floats; None of integers, of floats that are pixels, and of no images.
    """
    if images.dtype.kind != "f" or not images.size:
        return None
    low, high = map(float, value_range(images))
    # All 0 is black.
    return None if low >= 0 and (1 < high <= 255 or high == 0) else (low, high)


def require_same_values(what, images, trained):
    """Raises InputError for images on another scale than the training images, as 0..255 beside 0..1.

    Args:
        what: they are, for the message.
        images: an array of finite numbers.
        trained: `range_unless_pixels` of the training images.
    """
    if not images.size or (trained is None and range_unless_pixels(images) is None):
        return
    (low, high), (least, most) = value_range(images), trained or (0, 255)
    beyond = BEYOND * (most - least)
    fits = least - beyond <= low and high <= most + beyond and (trained is not None or high >= LARGE_PIXEL)
    rule = f"{what} must be scaled as the training images, which are {values_in_words(trained)}"
    require(fits, rule, f"{images.dtype} from {low:g} to {high:g}")


def values_in_words(found):
    """What images consist of, in words, given their `range_unless_pixels`."""
    return "floats from {:g} to {:g}".format(*found) if found else "pixels 0..255"


def _labels(split, values):
    """Strings (n,), ints (n,) or one-hot ints (n, classes)."""
    labels = to_array(f"{split} labels", values)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind in "SUTO" and labels.ndim == 1:
        names = [_text(split, name) for name in labels.tolist()]
        if not all(isinstance(name, numbers.Integral) for name in names):
            require(all(isinstance(name, str) for name in names), f"{split} labels must be ints or strings", names[:3])
            return np.array(names)
        # As pandas has integers of a column of objects.
        labels = np.array(names)
    if labels.ndim == 2:
        numeric = labels.dtype.kind in "iufb"
        one_hot = numeric and ((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all()
        require(one_hot, f"{split} labels of shape (n, classes) must be one-hot, a single 1 in each row", labels[:2])
        return labels.astype(np.int32)
    require(labels.ndim == 1, f"{split} labels must have the shape (n,), (n, 1) or (n, classes)", labels.shape)
    require(labels.dtype.kind in "iu", f"{split} labels must be integers, one-hot or strings", str(labels.dtype))
    require(labels.min(initial=0) >= 0, f"{split} labels must be 0 to classes-1", labels.min(initial=0))
    return labels


def _text(split, name):
    """A label, of bytes as text."""
    try:
        return name.decode() if isinstance(name, bytes) else name
    except UnicodeDecodeError as error:
        raise InputError(f"{split} labels that are bytes must be UTF-8; use strings. Received: {name!r}") from error


def _with_class_names(labels, class_names):
    """The class names as a tuple, and the labels of each split as int32 (n,)."""
    kinds = {split: "strings" if array.dtype.kind == "U" else f"{array.ndim}-D" for split, array in labels.items()}
    _require_equal("kind of labels", kinds)
    if class_names is not None:
        class_names = checked_names(class_names)
    if "strings" in kinds.values():
        found = sorted(set().union(*(array.tolist() for array in labels.values())))
        class_names = class_names or tuple(found)
        missing = shorten(sorted(set(found) - set(class_names)))
        require(not missing, f"class_names must have every label; missing: {missing}", class_names)
        number = {label: i for i, label in enumerate(class_names)}
        labels = {split: np.array([number[label] for label in array.tolist()]) for split, array in labels.items()}
    elif "2-D" in kinds.values():
        _require_equal("number of one-hot classes", {split: array.shape[1] for split, array in labels.items()})
        class_names = class_names or _numbered(labels["train"].shape[1])
        labels = {split: array.argmax(axis=1) for split, array in labels.items()}
    largest = max(int(array.max()) for array in labels.values())
    if class_names is None:
        require(largest < MOST_CLASSES, "labels must be 0 to classes-1; with so many, give class_names", largest)
        class_names = _numbered(largest + 1)
    require(
        largest < len(class_names), f"class_names must have {largest + 1} names, for labels 0 to {largest}", class_names
    )
    require(len(class_names) > 1, "a dataset needs at least two classes", class_names)
    return class_names, {split: array.astype(np.int32, copy=False) for split, array in labels.items()}


def checked_names(class_names):
    """The names of classes as a tuple; an InputError unless they are a list of different strings."""
    names = tuple(class_names) if isinstance(class_names, list | tuple | np.ndarray) else ()
    names = tuple(str(name) if isinstance(name, np.str_) else name for name in names)
    good = names and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    require(good, "class_names must be a list of different strings, in the order of the labels", class_names)
    return names


def _numbered(classes):
    return tuple(f"class {i}" for i in range(classes))


def _range_note(images):
    """The note on the pixel values of float images."""
    if images["train"].dtype == np.uint8:
        return []
    ranges = {split: value_range(array) for split, array in images.items()}
    return [f"float images; {', '.join(f'{split} from {low:g} to {high:g}' for split, (low, high) in ranges.items())}"]


def _empty_class_notes(splits, class_names):
    """A note for each split that has no image of some classes."""
    for split, arrays in splits.items():
        empty = np.setdiff1d(np.arange(len(class_names)), arrays.labels)
        if len(empty):
            yield f"{split} has no image of {shorten(class_names[i] for i in empty)}"


def _require_equal(what, values):
    """Raises an InputError unless all splits have the same value."""
    if len(set(values.values())) > 1:
        found = ", ".join(f"{split} {value}" for split, value in values.items())
        raise InputError(f"all splits must have the same {what}. Received: {found}")


def _shape(shape):
    return "x".join(map(str, shape))
