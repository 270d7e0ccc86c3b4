"""Contenders that train through Keras' `fit`: ours as a run trains, and the stock way."""

import time

import keras

from kmodels.bench.blocks import SEED, Block, build_network, epochs_for, experiment_of, made_up_split
from kmodels.data import Split
from kmodels.data.feeds import ArraysFeed, EpochOrder
from kmodels.training.trainer import build_state, build_trainer


class Stopwatch(keras.callbacks.Callback):
    """Times the epochs of a `fit`, from the start of the first until the device has finished the last.

    Attributes:
        seconds: so far.
    """

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 0:
            self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        # Reading a variable waits for the steps that are still under way on the device.
        keras.ops.convert_to_numpy(self.model.optimizer.iterations)
        self.seconds = time.perf_counter() - self._start


def ours(job):
    """The trainer of a run, fed from memory a batch at a time."""
    return fit_blocks(job, new_trainer(job), arrays(job))


def ours_epoch(job):
    """The trainer of a run, whose epochs are one program over images that lie on the device."""
    return fit_blocks(job, new_trainer(job), resident(job), job.program_steps)


def validated(job):
    """Ours, fed as a run is on this device and validated after every epoch; blocks take callbacks."""
    trainer, validation = new_trainer(job), ArraysFeed(made_up_split(job, 1), job.batch_size)
    if on_gpu_with_jax():
        return fit_blocks(job, trainer, resident(job), job.program_steps, validation_data=validation)
    return fit_blocks(job, trainer, arrays(job), validation_data=validation)


def on_gpu_with_jax():
    """Whether an epoch is one program here."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.devices()[0].platform != "cpu"


def new_trainer(job):
    """The trainer of a run with the Job's network, in its first state."""
    trainer = build_trainer(experiment_of(job), build_network(job), SEED)
    build_state(trainer)
    return trainer


def arrays(job):
    """A function from steps an epoch to the feed that hands them out a batch at a time."""
    split = made_up_split(job, job.epoch_steps)
    return lambda steps: ArraysFeed(_first(split, steps * job.batch_size), job.batch_size, SEED)


def resident(job):
    """A function from steps an epoch, of which there is one number, to the feed that hands out the epoch as a whole."""
    import jax

    from kmodels.training.epoch_program import ResidentFeed

    split = made_up_split(job, job.program_steps)
    feed = ResidentFeed(*jax.device_put((split.images, split.labels)), job.batch_size, SEED)
    return lambda steps: feed


def fit_blocks(job, trainer, feed_of, program_steps=None, *, validation_data=None):
    """Blocks that are a `fit` each; where an epoch is a program, all epochs have `program_steps` steps."""

    def block(steps, callbacks=()):
        epochs, each = epochs_for(steps, program_steps or job.epoch_steps)
        each = program_steps or each
        feed, watch = feed_of(each), Stopwatch()
        trainer.fit(
            feed,
            epochs=epochs,
            validation_data=validation_data,
            callbacks=[EpochOrder(feed), *callbacks, watch],
            shuffle=False,
            verbose=0,
        )
        return Block(epochs * each, watch.seconds)

    return block


def state_of(model):
    """What Keras on JAX hands to a step of a built model: the values of its variables, in four tuples."""
    groups = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    return tuple([variable.value for variable in group] for group in (*groups, model.metrics_variables))


def stock_network(job):
    """The network compiled with Keras' own optimizer and loss."""
    network = build_network(job)
    optimizer = keras.optimizers.Adam if job.optimizer == "adam" else keras.optimizers.SGD
    network.compile(
        optimizer=optimizer(job.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return network


def stock_fit(job):
    """The stock network, fed with NumPy arrays."""
    network = stock_network(job)
    split = made_up_split(job, job.epoch_steps)

    def block(steps):
        epochs, each = epochs_for(steps, job.epoch_steps)
        part, watch = _first(split, each * job.batch_size), Stopwatch()
        network.fit(part.images, part.labels, batch_size=job.batch_size, epochs=epochs, callbacks=[watch], verbose=0)
        return Block(epochs * each, watch.seconds)

    return block


def input_alone(job):
    """Our batches from memory to the device, and nothing done with them."""
    import jax

    feed = ArraysFeed(made_up_split(job, job.epoch_steps), job.batch_size, SEED)

    def block(steps):
        epochs, each = epochs_for(steps, job.epoch_steps)
        start = time.perf_counter()
        for epoch in range(epochs):
            feed.start_epoch(epoch)
            for index in range(each):
                batch = jax.device_put(feed[index])
        jax.block_until_ready(batch)
        return Block(epochs * each, time.perf_counter() - start)

    return block


def _first(split, examples):
    return Split(split.images[:examples], split.labels[:examples], split.index[:examples])
