"""From a split to the batches that `fit` takes, in the order of `order.py`.

`arrays` gathers batches from the memory-mapped cache. `stream` reads the files of tfds through tf.data. Both hand
uint8 pixels to the device.
"""

import math

import keras
import numpy as np

from kmodels.backend import import_tensorflow
from kmodels.data.order import epoch_order
from kmodels.errors import InputError

# What the stream keeps decoded in memory, as a cache and again as a shuffle buffer; a larger set is decoded anew each
# epoch and shuffled within a buffer of this size.
STREAM_BYTES = 2**30


class ArraysFeed(keras.utils.PyDataset):
    """Batches of a split, in a new order each epoch; the last one may be smaller.

    Args:
        split: a Split.
        batch_size: images a batch.
        seed: of the order; None keeps the split's own order.
        sampler: see `epoch_order`.
    """

    def __init__(self, split, batch_size, seed=None, sampler="shuffle"):
        super().__init__()
        self.split, self.batch_size, self.seed, self.sampler = split, batch_size, seed, sampler
        self.start_epoch(0)

    def start_epoch(self, epoch):
        """Draws the order of this epoch."""
        self.order = epoch_order(self.split.labels, self.seed, epoch, self.sampler)

    def __len__(self):
        return math.ceil(len(self.split) / self.batch_size)

    def __getitem__(self, index):
        places = self.places(index)
        return self.split.images[places], self.split.labels[places]

    def places(self, index):
        """Where the images of a batch are in the split."""
        return self.order[index * self.batch_size : (index + 1) * self.batch_size]


class DividedFeed(ArraysFeed):
    """An ArraysFeed whose batches are divided among devices; it reads what this host's devices take.

    Args:
        devices: a Devices.
        *arguments: of an ArraysFeed.
    """

    def __init__(self, devices, *arguments):
        super().__init__(*arguments)
        self.devices = devices

    def __getitem__(self, index):
        places = self.places(index)
        return self.devices.rows(self.split.images, places), self.devices.rows(self.split.labels, places)


def divided_stream(devices, batches):
    """The batches of a stream, divided among devices; every host reads them whole."""
    for images, labels in batches.as_numpy_iterator():
        yield devices.divided(images), devices.divided(labels)


class EpochOrder(keras.callbacks.Callback):
    """Tells a feed which epoch begins; Keras itself resets feeds at other times too."""

    def __init__(self, feed):
        super().__init__()
        self.feed = feed

    def on_epoch_begin(self, epoch, logs=None):
        self.feed.start_epoch(epoch)


def stream_feed(dataset, batch_size, seed, epochs, first_epoch=0):
    """The training images as an endless-enough tf.data.Dataset: the epochs one after the other.

    Args:
        dataset: a Dataset whose source can stream.
        batch_size: images a batch; the last one of each epoch may be smaller.
        seed: of the order.
        epochs: the first epoch that is not provided.
        first_epoch: where to begin, counted from 0.

    Returns:
        The tf.data.Dataset of (uint8 images, labels) and the number of batches an epoch.

    Raises:
        InputError: if the source cannot stream.
    """
    if dataset.stream is None:
        raise InputError(
            f"feed 'stream' reads data prepared by tfds, and dataset {dataset.name!r} is not; feed 'arrays' reads "
            "its memory-mapped cache and does not hold it in memory either"
        )
    tf = import_tensorflow()
    # tf.data mixes TensorFlow's own seed into every shuffle: the user's would change the order, and a 0 is an error.
    tf.random.set_seed(1)
    source = dataset.stream()
    chosen = np.zeros(int(source.cardinality()), bool)
    chosen[dataset.train.index] = True
    chosen = tf.constant(chosen)
    examples = source.enumerate().filter(lambda place, _: chosen[place])
    # tfds has int64 labels; JAX warns of them.
    examples = examples.map(lambda _, example: (example[0], tf.cast(example[1], tf.int32)))
    fitting = STREAM_BYTES // math.prod(dataset.image_shape)
    if len(dataset.train) <= fitting:
        examples = examples.cache()

    def epoch_batches(epoch):
        # A seed for each epoch, as a tensor: one graph serves them all, and no order depends on an earlier one.
        order = examples.shuffle(
            min(len(dataset.train), fitting), seed=epoch * 1_000_003 + seed, reshuffle_each_iteration=False
        )
        return order.batch(batch_size)

    batches = tf.data.Dataset.range(first_epoch, epochs).flat_map(epoch_batches).prefetch(tf.data.AUTOTUNE)
    return batches, math.ceil(len(dataset.train) / batch_size)
