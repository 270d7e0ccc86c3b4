"""The epoch program: on a GPU, JAX trains a whole epoch in one call.

Why. A small network's step takes the device less time than the step's batch takes to arrive and its call to be made:
stock `fit` then measures Python. Here the whole split waits on the device as uint8, and one compiled program gathers
the batches in the epoch's order, augments, and takes the steps in a `lax.scan`. The host sends the order, four bytes an
image, and reads the logs, once an epoch.

How. Keras on JAX calls `train_step(state, data)` with what a feed yields. A `ResidentFeed` yields, in place of one
batch, a chunk of steps: all images and labels of the split (they are on the device already, nothing moves), and the
places of the images of every step. An `EpochTrainer` scans its own, stock step over such a chunk; given a plain batch
it is the stock model. So `fit` keeps its epochs, callbacks, validation and History, and both ways take the same steps:
losses differ by rounding only. Evaluation and prediction go the same way.

A chunk has at most CHUNK_STEPS steps, so that Ctrl-C and the progress bar need not wait for a long epoch. The last
batch of an epoch may be smaller. It is one more step behind the scan, in the same program: no image is left out, batch
norm sees no padding, and no epoch compiles anything that the first one did not.

The images are an argument of the program. As a constant (closed over) they would be compiled into it; as a weight they
would be saved with it.

When. `fits_on_device` says: on a GPU, where the splits take at most a quarter of the free memory. On a CPU there is
nothing to gain, and XLA runs convolutions inside a loop some sixty times slower there than outside.
"""

from contextlib import nullcontext

import jax
import keras
import numpy as np

from kmodels.data.order import epoch_order

CHUNK_STEPS = 1000
SHARE_OF_FREE_MEMORY = 0.25


def fits_on_device(dataset, held=0):
    """Whether the splits are to be held on the device, where an earlier run left `held` bytes of them."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return False
    memory = device.memory_stats() or {}
    free = memory.get("bytes_limit", 0) - memory.get("bytes_in_use", 0) + held
    needed = sum(split.images.nbytes for split in (dataset.train, dataset.val, dataset.test))
    return needed <= SHARE_OF_FREE_MEMORY * free


class ResidentFeed(keras.utils.PyDataset):
    """Chunks of steps over a split that is on the device, in a new order each epoch; takes the place of ArraysFeed.

    Args:
        images: uint8 jax.Array (n, height, width, 3).
        labels: int32 jax.Array (n,).
        batch_size: images a step; the last step of an epoch may have fewer.
        seed: of the order; None keeps the split's own order.
        devices: the Devices that divide each step among them; None for one.
        sampler: see `epoch_order`.
        chunk_steps: most steps a chunk.
    """

    def __init__(self, images, labels, batch_size, seed=None, devices=None, sampler="shuffle", chunk_steps=CHUNK_STEPS):
        super().__init__()
        self.devices, self.sampler = devices, sampler
        # On the host, where the order is drawn.
        self._host_labels = np.asarray(labels)
        self.images, self.labels = images, labels
        self.batch_size, self.seed, self.chunk_steps = batch_size, seed, chunk_steps
        self.start_epoch(0)

    def start_epoch(self, epoch):
        """Draws the order of this epoch."""
        self.order = epoch_order(self._host_labels, self.seed, epoch, self.sampler).astype(np.int32)

    def __len__(self):
        return -(-len(self.images) // (self.batch_size * self.chunk_steps))

    def __getitem__(self, index):
        images_a_chunk = self.batch_size * self.chunk_steps
        places = self.order[index * images_a_chunk : (index + 1) * images_a_chunk]
        whole = len(places) // self.batch_size * self.batch_size
        chunk = {"images": self.images, "steps": places[:whole].reshape(-1, self.batch_size)}
        if whole < len(places):
            chunk["rest"] = places[whole:]
        if self.devices:
            # The images lie whole on every device: a device gathers those of its places.
            chunk |= {name: self.devices.divided(chunk[name], -1) for name in ("steps", "rest") if name in chunk}
        return chunk, self.labels


class EpochTrainer(keras.Model):
    """A Keras model whose steps also take the chunks of a ResidentFeed, and may be divided among devices.

    Attributes:
        devices: the Devices; None for one.
    """

    devices = None

    def train_step(self, state, data):
        return self._over_steps(super().train_step, state, data)

    def test_step(self, state, data):
        return self._over_steps(super().test_step, state, data)

    def predict_step(self, state, data):
        def step(state, data):
            outputs, untrained = super(EpochTrainer, self).predict_step(state, data)
            return outputs, (state[0], untrained)

        outputs, state = self._over_steps(step, state, data, joined=True)
        # On every device, and so on every host, whichever computed them.
        return self.devices.gathered(outputs) if self.devices else outputs, state[1]

    # Within the scope Keras compiles a step whose new variables lie where the old ones did.

    def make_train_function(self, force=False):
        with self._scope():
            super().make_train_function(force)

    def make_test_function(self, force=False):
        with self._scope():
            super().make_test_function(force)

    def make_predict_function(self, force=False):
        with self._scope():
            super().make_predict_function(force)

    def _scope(self):
        return self.devices.scope() if self.devices else nullcontext()

    def _over_steps(self, step, state, data, joined=False):
        """Takes the step for each batch of a chunk, or once where `data` is a batch.

        Returns:
            The logs after the last step, or with `joined` the results of all, one after the other; and the state.
        """
        chunk = data[0]
        if not isinstance(chunk, dict):
            return step(state, data)
        labels = data[1] if len(data) > 1 else None
        results = []

        def one(state, places):
            result, state = step(state, (chunk["images"][places], None if labels is None else labels[places]))
            return state, result if joined else None

        if len(chunk["steps"]):
            state, scanned = jax.lax.scan(one, state, chunk["steps"])
            results.append(jax.tree.map(lambda values: values.reshape(-1, *values.shape[2:]), scanned))
        if "rest" in chunk:
            state, result = one(state, chunk["rest"])
            results.append(result)
        return (jax.numpy.concatenate(results) if joined else self._logs(state)), state

    def _logs(self, state):
        # A step's logs are what its metrics have summed up: once a chunk will do.
        with keras.StatelessScope(state_mapping=zip(self.metrics_variables, state[-1], strict=True)):
            return self.get_metrics_result()
