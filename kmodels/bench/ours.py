"""Contenders that train through Keras' `fit`: kmodels as `train` prepares it, and the stock way."""

import time

import keras

from kmodels.bench.blocks import SEED, build_network, in_epochs, synthetic_split, timed
from kmodels.data import Dataset
from kmodels.data.batches import ArrayBatches, EpochOrder
from kmodels.training.train import Training


class Stopwatch(keras.callbacks.Callback):
    """Times a `fit` from the start of its first epoch until the device has finished the last.

    Attributes:
        seconds: so far.
    """

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 0:
            self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        # Reading a variable waits for the steps that are still running on the device.
        keras.ops.convert_to_numpy(self.model.optimizer.iterations)
        self.seconds = time.perf_counter() - self._start


def ours(job):
    """kmodels, with batches from memory, a step at a time."""
    return fit_blocks(job, training_of(job, job.epoch_steps, on_device=False))


def ours_epoch(job):
    """kmodels, with the images on the device, an epoch as one program."""
    return fit_blocks(job, training_of(job, job.program_steps, on_device=True))


def training_of(job, steps, on_device=None):
    """A Training of the Job's network on synthetic images for so many steps, as `kmodels.train` prepares it."""
    splits = {"train": synthetic_split(job, steps), "val": synthetic_split(job, 1), "test": synthetic_split(job, 1)}
    pairs = {name: (split.images, split.labels) for name, split in splits.items()}
    dataset = Dataset.from_arrays(**pairs, class_names=[f"class {i}" for i in range(job.num_classes)], name="synthetic")
    settings = {"batch_size": job.batch_size, "learning_rate": job.learning_rate, "seed": SEED}
    return Training(build_network(job), dataset, on_device=on_device, **settings)


def fit_blocks(job, training):
    """`block(steps)` that fits the trainer of a Training; epochs on the device always have all steps."""
    split = training.dataset.train
    on_device = training.train_batches() if training.on_device else None

    def train(epochs, steps):
        batches = on_device or training.batches(split.take(range(steps * job.batch_size)), job.batch_size, SEED)
        callbacks = [EpochOrder(batches), Stopwatch()]
        training.trainer.fit(batches, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0)
        return callbacks[-1].seconds

    return in_epochs(train, len(split) // job.batch_size, whole=training.on_device)


def stock_network(job):
    """The network compiled with Keras' own optimizer and loss."""
    network = build_network(job)
    network.compile(
        optimizer=keras.optimizers.Adam(job.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return network


def stock_fit(job):
    """The stock network, trained on NumPy arrays."""
    network, split = stock_network(job), synthetic_split(job, job.epoch_steps)

    def train(epochs, steps):
        part, watch = split.take(range(steps * job.batch_size)), Stopwatch()
        network.fit(part.images, part.labels, batch_size=job.batch_size, epochs=epochs, callbacks=[watch], verbose=0)
        return watch.seconds

    return in_epochs(train, job.epoch_steps)


def input_alone(job):
    """Our batches from memory to the device, and nothing done with them."""
    import jax

    batches = ArrayBatches(synthetic_split(job, job.epoch_steps), job.batch_size, SEED)

    def train(epochs, steps):
        for epoch in range(epochs):
            batches.start_epoch(epoch)
            for index in range(steps):
                batch = jax.device_put(batches[index])
        jax.block_until_ready(batch)

    return in_epochs(timed(train), job.epoch_steps)


def state_of(model):
    """What Keras on JAX hands to a step of a built model: the values of its variables, in four tuples."""
    groups = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    return tuple([variable.value for variable in group] for group in (*groups, model.metrics_variables))
