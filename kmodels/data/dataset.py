"""What every source returns: three splits of images and labels, and where they came from."""

import hashlib
import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kmodels.data.splits import keep_counts, keep_fractions, long_tail, stratified_sample
from kmodels.errors import require, require_whole
from kmodels.notebook import SPLITS, WIDTH, dataset_html, images_text
from kmodels.text import clip, printable


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images and labels of one split.

    Attributes:
        images: uint8 (n, height, width, channels), 0..255, usually memory-mapped, with 3 channels for every dataset
            that has a name. Datasets from arrays have any number of channels, and may have float32 pixels.
        labels: int32 (n,), 0..classes-1.
        index: int64 (n,), the index of each image in the order of its source.
        files: bytes (n,), the path of each image file from the top of its folder, as the system has it; None for images
            of no files of their own.

    Example:
        train = load_dataset("digits").train
        train.images.shape, train.labels.shape  # (1078, 8, 8, 3), (1078,)
        first_hundred = train.take(range(100))
    """

    images: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    files: np.ndarray | None = None

    def __len__(self):
        return len(self.labels)

    def __repr__(self):
        return f"<Split: {len(self):,} images, {images_text(self.images)}>"

    def take(self, indices):
        """Copies the images at these indices into a new Split."""
        indices = np.asarray(indices)
        files = None if self.files is None else self.files[indices]
        return Split(np.asarray(self.images[indices]), self.labels[indices], self.index[indices], files)


def image_name(part, i):
    """What to call an image: its file, or its index in the source.

    Args:
        part: a Split, or what else has `index` and `files`, as Predictions.
        i: of the image in that part, from 0.
    """
    return f"image {part.index[i]}" if part.files is None else os.fsdecode(part.files[i])


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Three splits with their class names.

    Attributes:
        name: of the dataset.
        train: the Split to train on.
        val: the Split to choose weights and settings on.
        test: the Split to report on.
        class_names: in the order of the labels.
        source: where the pixels came from, as plain JSON values: kind, name, counts, split, sha256 and notes; and
            `original`, whether they are those of the published dataset rather than a copy or part of it. The sha256 is
            equal for equal data: a part of a dataset has another than the whole.
        stream: for datasets from tfds, a function that opens the source's own train split as a tf.data.Dataset of
            (image, label) in the order that `train.index` counts in; else None.

    Example:
        digits = load_dataset("digits", image_size=32)
        mine = Dataset.from_arrays(train=(x, y), test=(x_test, y_test), class_names=["cat", "dog"])
        small = mine.subset(100)
    """

    name: str
    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...]
    source: Mapping[str, Any]
    stream: Callable | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_arrays(cls, train, val=None, test=None, *, class_names=None, name="arrays"):
        """Makes a dataset of images and labels in memory.

        Nothing is copied if the images are uint8 or float32 arrays (memory-mapped ones stay so) and val and test are
        given. Missing splits are copied out of train: 60/20/20 if both are missing, else 80/20, stratified, with a
        fixed seed.

        Args:
            train: a pair (images, labels). Images: (n, height, width, channels), or (n, height, width) for grey ones;
                anything that `np.asarray` reads. Integers must be within 0..255 and become uint8; floats become
                float32 and keep their range. Labels: ints (n,) or (n, 1), one-hot (n, classes), or strings (n,).
            val: the same for validation, or None.
            test: the same for testing, or None.
            class_names: names in the order of the labels. None takes string labels in sorted order, else "class 0",
                "class 1", ...
            name: of the dataset, for records and messages.

        Returns:
            A Dataset. `Split.index` counts in the arrays given.

        Raises:
            InputError: for arrays that do not fit together, values out of range, or a class with too few images to
                divide.
        """
        from kmodels.data.arrays import dataset_fields

        return cls(**dataset_fields("arrays", train, val, test, class_names, name))

    @classmethod
    def from_batches(cls, train, val=None, test=None, *, class_names=None, name="batches"):
        """Makes a dataset of batches, which are read once, to their end, into memory.

        Where val or test is cut from train, the cut depends on the order of train: an iterable that shuffles gives
        other splits each time.

        Args:
            train: an iterable of (images, labels): a tf.data.Dataset, torch DataLoader, keras PyDataset, list or
                generator. Elements may also be dicts with "image" and "label", and single examples instead of batches.
                Images and labels are as for `from_arrays`.
            val: the same for validation, or None.
            test: the same for testing, or None.
            class_names: as for `from_arrays`.
            name: of the dataset, for records and messages.

        Returns:
            A Dataset. `Split.index` counts in the order of reading.

        Raises:
            InputError: for an endless or empty iterable, images of different sizes, and as in `from_arrays`.
        """
        from kmodels.data.arrays import dataset_fields, read_batches

        parts = {"train": train, "val": val, "test": test}
        arrays = {split: None if part is None else read_batches(split, part) for split, part in parts.items()}
        return cls(**dataset_fields("batches", **arrays, class_names=class_names, name=name))

    def __repr__(self):
        counts = ", ".join(f"{name} {len(getattr(self, name)):,}" for name in SPLITS)
        what = f"{len(self.class_names)} classes, {images_text(self.train.images)}"
        return f"<Dataset {clip(printable(self.name), WIDTH)}: {what}; {counts} images>"

    def _repr_html_(self):
        return dataset_html(self)

    @property
    def image_shape(self):
        """(height, width, channels)."""
        return tuple(self.train.images.shape[1:])

    def subset(self, examples):
        """A stratified part of train and val together, in their own ratio; all of test.

        Every class that has images in train keeps at least one there, and likewise in val. The same images are chosen
        for the same number, whatever the training seed.

        Args:
            examples: how many of the train and val images to keep.

        Raises:
            InputError: if it is no integer, there are not so many, or too few for an image of each class.
        """
        require_whole("subset", examples, 1)
        total = len(self.train) + len(self.val)
        least = math.ceil(len(self.class_names) * total / min(len(self.train), len(self.val)))
        require(
            least <= examples <= total,
            f"subset must be {least} (an image a class in train and val) to {total}, the size of train and val",
            examples,
        )
        train_examples = math.floor(examples * len(self.train) / total)
        train = self.train.take(stratified_sample(self.train.labels, train_examples))
        val = self.val.take(stratified_sample(self.val.labels, examples - train_examples))
        return self._reduced(train, val, subset=examples)

    def with_class_fractions(self, fractions, seed):
        """Keeps a share of each class's training images; val and test are unchanged.

        Args:
            fractions: for each class, in the order of `class_names`, the share to keep: 0 (none) to 1 (all).
            seed: of the choice. With the same seed, a smaller share keeps a subset of what a larger one keeps.

        Raises:
            InputError: for another number of fractions than classes, or values outside 0 to 1.
        """
        fractions = self._one_for_each_class("class_fractions", fractions)
        require_whole("seed", seed, 0)
        return self._with_train(keep_fractions(self.train.labels, fractions, seed))

    def with_class_counts(self, counts, seed):
        """Keeps a number of each class's training images, or all where a class has fewer; val and test are unchanged.

        Args:
            counts: for each class, in the order of `class_names`, how many to keep.
            seed: of the choice. With the same seed, a smaller count keeps a subset of what a larger one keeps.

        Raises:
            InputError: for another number of counts than classes, or a count below 0.
        """
        counts = self._one_for_each_class("class_counts", counts)
        whole = all(isinstance(count, numbers.Integral) for count in counts)
        rule = "class_counts must be whole numbers from 0 up, not all 0"
        require(whole and min(counts) >= 0 < max(counts), rule, counts)
        require_whole("seed", seed, 0)
        return self._with_train(keep_counts(self.train.labels, counts, seed))

    def with_long_tail(self, ratio, seed):
        """Makes the train split long-tailed; val and test are unchanged.

        Args:
            ratio: of the largest class to the smallest one, see `splits.long_tail`.
            seed: of the choice, as in `with_class_counts`.

        Raises:
            InputError: if the ratio is below 1, or so large that a class would be empty.
        """
        require_whole("seed", seed, 0)
        return self._with_train(keep_counts(self.train.labels, long_tail(self.train.labels, ratio), seed))

    def _one_for_each_class(self, name, values):
        """The values as a tuple."""
        several = isinstance(values, Iterable) and not isinstance(values, str | Mapping)
        given = tuple(values) if several else ()
        rule = f"{name} must be {len(self.class_names)} numbers, one for each of {', '.join(self.class_names)}"
        require(len(given) == len(self.class_names), rule, values)
        return given

    def _with_train(self, indices):
        return self._reduced(self.train.take(indices), self.val)

    def _reduced(self, train, val, **source):
        """A dataset with a part of train and val, whose source has other counts and another sha256."""
        counts = {**self.source["counts"], "train": len(train), "val": len(val)}
        source = {**self.source, **source, "counts": counts}
        if (len(train), len(val)) != (len(self.train), len(self.val)):
            digest = hashlib.sha256(source["sha256"].encode())
            for split in (train, val):
                # Of equal bytes on every system.
                digest.update(len(split).to_bytes(8, "little") + split.index.astype("<i8").tobytes())
            source["sha256"] = digest.hexdigest()
        return replace(self, train=train, val=val, source=source)
