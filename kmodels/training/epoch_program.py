"""The epoch program: on a GPU, JAX trains a whole epoch in one call.

Why. The step of a small network takes the device less time than it takes to copy its batch and to call it: stock
`fit` then measures Python. Here the whole split is on the device as uint8, and one compiled program gathers the batches
in the order of the epoch, augments, and takes the steps in a `lax.scan`. The host sends the order, four bytes per
image, and reads the logs, once per epoch.

How. Keras on JAX calls `train_step(state, data)` with what its dataset yields. `DeviceBatches` yields, instead of one
batch, a chunk of steps: all images and labels of the split (they are on the device already, nothing moves), and the
indices of the images of every step. An `EpochTrainer` scans its own, stock step over such a chunk; given a plain batch
it is the stock model. So `fit` keeps its epochs, callbacks, validation and History, and both ways take the same steps:
losses differ by rounding only. Evaluation and prediction go the same way.

A chunk has at most CHUNK_STEPS steps, so that Ctrl-C and the progress bar need not wait for a long epoch. The last
batch of an epoch may be smaller. It is one more step after the scan, in the same program: batch norm sees no padding,
and no epoch compiles anything that the first one did not.

The images are an argument of the program. As a constant (closed over) they would be compiled into it; as a weight they
would be saved with it.

When. `fits_on_device` says: on a GPU, where the splits take at most a quarter of the free memory. On a CPU there is
nothing to gain, and XLA runs convolutions inside a loop about sixty times slower there than outside.
"""

from contextlib import nullcontext

import jax
import keras
import numpy as np

from kmodels.data.batches import ArrayBatches
from kmodels.training.trainer import Trainer

CHUNK_STEPS = 1000
SHARE_OF_FREE_MEMORY = 0.25


def fits_on_device(dataset):
    """Whether to hold the splits on the device: a GPU, where they take at most a quarter of the free memory."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return False
    memory = device.memory_stats() or {}
    free = memory.get("bytes_limit", 0) - memory.get("bytes_in_use", 0)
    needed = sum(split.images.nbytes for split in (dataset.train, dataset.val, dataset.test))
    return needed <= SHARE_OF_FREE_MEMORY * free


class DeviceBatches(ArrayBatches):
    """Chunks of steps over a split that is on the device, in the order of ArrayBatches.

    Args:
        split, batch_size, seed, sampler: as of ArrayBatches; the split is copied to the device.
        devices: the Devices among which each step is divided; None for one.
        chunk_steps: the largest number of steps in a chunk.
    """

    def __init__(self, split, batch_size, seed=None, sampler="shuffle", devices=None, chunk_steps=CHUNK_STEPS):
        super().__init__(split, batch_size, seed, sampler, devices)
        copy = devices.copied if devices else jax.device_put
        self.images, self.labels = copy(np.asarray(split.images)), copy(np.asarray(split.labels))
        self.chunk_steps = chunk_steps

    def __len__(self):
        return -(-len(self.order) // (self.batch_size * self.chunk_steps))

    def __getitem__(self, index):
        images_per_chunk = self.batch_size * self.chunk_steps
        indices = self.order[index * images_per_chunk : (index + 1) * images_per_chunk].astype(np.int32)
        whole = len(indices) // self.batch_size * self.batch_size
        chunk = {"images": self.images, "steps": indices[:whole].reshape(-1, self.batch_size)}
        if whole < len(indices):
            chunk["rest"] = indices[whole:]
        if self.devices:
            # Every device has all images, and gathers those of its indices.
            chunk |= {name: self.devices.divided(chunk[name], -1) for name in ("steps", "rest") if name in chunk}
        return chunk, self.labels


class EpochTrainer(Trainer):
    """A Trainer whose steps also take the chunks of DeviceBatches, and may be divided among devices.

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
        # On every device, whichever computed them.
        return self.devices.gathered(outputs) if self.devices else outputs, state[1]

    # Within the scope Keras compiles a step that leaves the variables on the devices where they were.

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

        def one(state, indices):
            result, state = step(state, (chunk["images"][indices], None if labels is None else labels[indices]))
            return state, result if joined else None

        if len(chunk["steps"]):
            state, scanned = jax.lax.scan(one, state, chunk["steps"])
            results.append(jax.tree.map(lambda values: values.reshape(-1, *values.shape[2:]), scanned))
        if "rest" in chunk:
            state, result = one(state, chunk["rest"])
            results.append(result)
        return (jax.numpy.concatenate(results) if joined else self._logs(state)), state

    def _logs(self, state):
        # The logs of a step are what its metrics have summed up: once per chunk is enough.
        with keras.StatelessScope(state_mapping=zip(self.metrics_variables, state[-1], strict=True)):
            return self.get_metrics_result()
