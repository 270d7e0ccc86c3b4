"""From a split to the batches that `fit` takes, in the order of `order.py`.

`ArrayBatches` gathers batches from arrays, usually memory-mapped ones. `stream_batches` reads the files of tfds through
tf.data. Both hand uint8 pixels to the device.
"""

import math

import keras
import numpy as np

from kmodels.backend import import_tensorflow
from kmodels.data.order import epoch_order, images_shown
from kmodels.errors import InputError

# What the stream keeps decoded in memory, as a cache and again as a shuffle buffer; a larger set is decoded again in
# each epoch and shuffled within a buffer of this size.
STREAM_BYTES = 2**30


class ArrayBatches(keras.utils.PyDataset):
    """Batches of a split, in a new order each epoch; the last one may be smaller, see `images_shown`.

    Args:
        split: a Split.
        batch_size: images per batch.
        seed: of the order; None keeps the order of the split, and shows all of it.
        sampler: see `epoch_order`.
        devices: the Devices among which each batch is divided; None for one.
    """

    def __init__(self, split, batch_size, seed=None, sampler="shuffle", devices=None):
        super().__init__()
        self.split, self.batch_size, self.seed, self.sampler, self.devices = split, batch_size, seed, sampler, devices
        self.start_epoch(0)

    def start_epoch(self, epoch):
        """Shuffles for this epoch, counted from 0."""
        self.order = epoch_order(self.split.labels, self.seed, epoch, self.sampler)
        if self.seed is not None:
            self.order = self.order[: images_shown(len(self.order), self.batch_size)]

    def __len__(self):
        return math.ceil(len(self.order) / self.batch_size)

    def __getitem__(self, index):
        indices = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        batch = self.split.images[indices], self.split.labels[indices]
        return tuple(map(self.devices.divided, batch)) if self.devices else batch


class EpochOrder(keras.callbacks.Callback):
    """Tells batches which epoch begins; Keras itself resets them at other times too."""

    # Does nothing between batches.
    async_safe = True

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start_epoch(epoch)


def divided_stream(devices, batches):
    """The batches of a stream, divided among devices."""
    for images, labels in batches.as_numpy_iterator():
        yield devices.divided(images), devices.divided(labels)


def stream_batches(dataset, batch_size, seed, epochs, first_epoch=0):
    """The training images as an endless-enough tf.data.Dataset: the epochs one after the other.

    Args:
        dataset: a Dataset whose source can stream.
        batch_size: images per batch; the last one of each epoch may be smaller, see `images_shown`.
        seed: of the order.
        epochs: the first epoch that is not provided.
        first_epoch: where to begin, counted from 0.

    Returns:
        The tf.data.Dataset of (uint8 images, labels) and the number of batches per epoch.

    Raises:
        InputError: if the source cannot stream.
    """
    if dataset.stream is None:
        raise InputError(
            f"data_loader 'stream' reads data prepared by tfds, and dataset {dataset.name!r} is not; 'arrays' reads "
            "its memory-mapped cache and does not hold it in memory either"
        )
    tf = import_tensorflow()
    # tf.data mixes TensorFlow's own seed into every shuffle: the user's would change the order, and a 0 is an error.
    tf.random.set_seed(1)
    source = dataset.stream()
    chosen = np.zeros(int(source.cardinality()), bool)
    chosen[dataset.train.index] = True
    chosen = tf.constant(chosen)
    examples = source.enumerate().filter(lambda index, _: chosen[index])
    # tfds has int64 labels; JAX warns of them.
    examples = examples.map(lambda _, example: (example[0], tf.cast(example[1], tf.int32)))
    shown = images_shown(len(dataset.train), batch_size)
    fitting = STREAM_BYTES // math.prod(dataset.image_shape)
    if len(dataset.train) <= fitting:
        examples = examples.cache()

    def epoch_batches(epoch):
        # A seed for each epoch, as a tensor: one graph serves them all, and no order depends on an earlier one.
        order = examples.shuffle(
            min(len(dataset.train), fitting), seed=epoch * 1_000_003 + seed, reshuffle_each_iteration=False
        )
        return order.take(shown).batch(batch_size)

    batches = tf.data.Dataset.range(first_epoch, epochs).flat_map(epoch_batches).prefetch(tf.data.AUTOTUNE)
    return batches, math.ceil(shown / batch_size)
