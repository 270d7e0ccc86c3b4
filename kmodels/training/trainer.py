"""The trainer: a network with its augmentation in front, compiled as an experiment says."""

import keras
from keras import ops

from kmodels.augment import build_augmentation
from kmodels.augment.mixing import mixing_layer
from kmodels.training.losses import CrossEntropy
from kmodels.training.optimizers import build_optimizer
from kmodels.training.precision import LOSS_SCALE


class StepValues(keras.layers.Layer):
    """Hands images on, and holds what a compiled step reads as values, so that other values need no other step.

    Args:
        dropout: the rate of all Dropout layers.
        label_smoothing: of the loss.
    """

    def __init__(self, dropout, label_smoothing, **kwargs):
        super().__init__(**kwargs)
        self.dropout = self._value(dropout, "dropout")
        self.label_smoothing = self._value(label_smoothing, "label_smoothing")

    def _value(self, number, name):
        return self.add_weight(shape=(), initializer=keras.initializers.Constant(number), trainable=False, name=name)

    def call(self, images):
        return images


def build_trainer(experiment, network, seed):
    """The network with its augmentation in front, compiled as the experiment says.

    Training it trains `network`, whose weights it shares; augmentation acts only while training.
    """
    image = keras.Input(network.input_shape[1:], name="image")
    augmentation = build_augmentation(experiment.augmentation, network.input_shape[1:], seed)
    rates = [layer.rate for layer in _dropouts(network)]
    values = StepValues(max(rates, default=0.0), experiment.label_smoothing)
    for layer in _dropouts(network):
        _take_rate_from(values, layer)
    trainer = _model_class()(image, network(values(augmentation(image))), name="trainer")
    half = network.compute_dtype == "float16"
    trainer.compile(
        optimizer=build_optimizer(
            experiment.optimizer,
            experiment.learning_rate,
            momentum=experiment.momentum,
            weight_decay=experiment.weight_decay,
            loss_scale=LOSS_SCALE if half else None,
        ),
        loss=CrossEntropy(values.label_smoothing, mixing=mixing_layer(augmentation)),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        # Keras' own scaling adapts its factor in a branch of every step.
        auto_scale_loss=False,
    )
    return trainer


def _dropouts(network):
    return [layer for layer in network.layers if isinstance(layer, keras.layers.Dropout)]


def _take_rate_from(values, layer):
    """Lets a Dropout layer read its rate from `values`; its own attribute would be a constant in the compiled step."""

    def call(inputs, training=False):
        # A rate of 0 costs no draws, and is not one of the values.
        if not training or not layer.rate:
            return inputs
        keep = 1 - ops.cast(values.dropout, "float32")
        draws = keras.random.uniform(ops.shape(inputs), dtype="float32", seed=layer.seed_generator)
        return ops.where(draws < keep, inputs / ops.cast(keep, inputs.dtype), ops.zeros_like(inputs))

    layer.call = call


def _model_class():
    if keras.backend.backend() != "jax":
        return keras.Model
    from kmodels.training.epoch_program import EpochTrainer

    return EpochTrainer


def build_state(trainer):
    """Makes every variable of training now: the optimizer's and the metrics', which Keras makes at the first step."""
    trainer.optimizer.build(trainer.trainable_variables)
    images = keras.KerasTensor((2, *trainer.input_shape[1:]), "uint8")
    trainer._symbolic_build(data_batch=(images, keras.KerasTensor((2,), "int32")))


def program_key(experiment, network):
    """Equal for experiments whose trainers differ in values of variables only, so that one can stand for the other."""
    dropout = any(layer.rate for layer in _dropouts(network))
    return (
        experiment.model,
        tuple(sorted(item for item in experiment.model_options.items() if item[0] != "dropout")),
        dropout,
        network.input_shape,
        network.output_shape,
        network.dtype_policy.name,
        experiment.augmentation,
        experiment.optimizer,
        bool(experiment.momentum),
    )


def start_over(trainer, fresh):
    """Gives a trainer the state of a freshly built one of the same program: weights, seeds, optimizer and values."""
    build_state(fresh)
    for ours, theirs in zip(_state(trainer), _state(fresh), strict=True):
        ours.assign(theirs)
    # The network is the last layer; its rates are not in the step, but in what is saved.
    for ours, theirs in zip(_dropouts(trainer.layers[-1]), _dropouts(fresh.layers[-1]), strict=True):
        ours.rate = theirs.rate


def _state(trainer):
    return [*trainer.variables, *trainer.optimizer.variables]
