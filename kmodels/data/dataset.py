"""What every source ends in: three splits of images and labels, and where they came from."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kmodels.data.splits import keep_counts, keep_of_classes, long_tail, stratified_sample
from kmodels.errors import require


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one split.

    Attributes:
        images: uint8 (n, height, width, 3), 0..255; usually memory-mapped.
        labels: int32 (n,), 0..classes-1.
        index: int64 (n,), the place of each image in the source's own order.
    """

    images: np.ndarray
    labels: np.ndarray
    index: np.ndarray

    def __len__(self):
        return len(self.labels)

    def take(self, places):
        """The part of the split at these places, copied."""
        return Split(np.asarray(self.images[places]), self.labels[places], self.index[places])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits with their class names.

    Attributes:
        source: where the pixels came from, as plain JSON values: kind, name, counts, split, checksum and notes; and
            `original`, whether they are those of the published set rather than a copy or part of it.
        stream: for tfds sets, a function that opens the source's own training files as a tf.data.Dataset.
    """

    name: str
    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...]
    source: Mapping[str, Any]
    stream: Callable | None = field(default=None, repr=False, compare=False)

    @property
    def image_shape(self):
        """(height, width, 3)."""
        return tuple(self.train.images.shape[1:])

    def subset(self, examples):
        """A stratified part: `examples` of the train and val images together, in their own ratio; all of test.

        The same images for the same number, whatever the training seed.

        Raises:
            InputError: if there are not so many.
        """
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
        counts = {**self.source["counts"], "train": len(train), "val": len(val)}
        return replace(self, train=train, val=val, source={**self.source, "counts": counts, "subset": examples})

    def with_class_fractions(self, fractions, seed):
        """The dataset with a share of each class's training images; val and test are as they were.

        Args:
            fractions: for each class, in the order of `class_names`, the share to keep: 0 (none) to 1 (all).
            seed: of the draw. The same images for the same seed, and of two shares the smaller within the larger.

        Raises:
            InputError: for another number of fractions than classes, or values outside 0 to 1.
        """
        self._one_for_each_class("class_fractions", fractions)
        return self._with_train(keep_of_classes(self.train.labels, fractions, seed))

    def with_class_counts(self, counts, seed):
        """The dataset with so many training images of each class, in the order of `class_names`; all where fewer are.

        Val and test are as they were. For the same seed the same images, and of two counts the smaller within the
        larger.

        Raises:
            InputError: for another number of counts than classes, or a count below 0.
        """
        self._one_for_each_class("class_counts", counts)
        require(min(counts) >= 0 < max(counts), "class_counts must be whole numbers from 0 up, not all 0", counts)
        return self._with_train(keep_counts(self.train.labels, counts, seed))

    def with_long_tail(self, ratio, seed):
        """The dataset with a long-tailed train split (see `splits.long_tail`); val and test are as they were."""
        return self._with_train(keep_counts(self.train.labels, long_tail(self.train.labels, ratio), seed))

    def _one_for_each_class(self, name, values):
        require(
            len(values) == len(self.class_names),
            f"{name} must be {len(self.class_names)} numbers, one for each of {', '.join(self.class_names)}",
            values,
        )

    def _with_train(self, places):
        train = self.train.take(places)
        counts = {**self.source["counts"], "train": len(train)}
        return replace(self, train=train, source={**self.source, "counts": counts})
