"""The trainer: a network with its augmentation in front, compiled as an experiment says."""

import keras
from keras import ops

from kmodels.augment import build_augmentation
from kmodels.augment.mixing import mixing_layer
from kmodels.backend import deterministic
from kmodels.training.adaptive_pooling import pool_by_slices
from kmodels.training.losses import CrossEntropy
from kmodels.training.optimizers import build_optimizer
from kmodels.training.precision import LOSS_SCALE


class StepValues(keras.layers.Layer):
    """Hands images on, and holds what a compiled step reads as values, so that other values need no other step.

    Args:
        dropout: the rate of all Dropout layers.
        label_smoothing: of the loss.
        class_weight: of the loss in training, float32 (classes,); None: none.
    """

    def __init__(self, dropout, label_smoothing, class_weight=None, **kwargs):
        super().__init__(**kwargs)
        self.dropout = self._value(dropout, "dropout")
        self.label_smoothing = self._value(label_smoothing, "label_smoothing")
        self.class_weight, self._in_training = None, False
        if class_weight is not None:
            self.class_weight = self._value(class_weight, "class_weight", class_weight.shape)

    def _value(self, number, name, shape=()):
        variable = self.add_weight(shape=shape, initializer="zeros", trainable=False, name=name)
        variable.assign(number)
        return variable

    def call(self, images, training=False):
        # Python state of one trace of a step, as in a layer that mixes: past Keras, which looks into what is set.
        object.__setattr__(self, "_in_training", bool(training))
        return images

    def weights_of_step(self):
        """The class weights for the loss of the step that is traced: those given, in training; None in evaluation.

        So val_loss is that of runs without class weights. (Validation images are as many of each class as there are,
        whatever was taken from the training images: weighing them too would let the smallest classes decide alone.)
        """
        return self.class_weight if self._in_training else None


def build_trainer(experiment, network, seed, class_weight=None):
    """The network with its augmentation in front, compiled as the experiment says.

    Training it trains `network`, whose weights it shares; augmentation acts only while training. Where the loss is more
    than the plain cross entropy, that is measured too, as "cross_entropy".

    Args:
        class_weight: float32 (classes,), what the experiment's own comes to for the labels trained on; None: none.
    """
    image = keras.Input(network.input_shape[1:], name="image")
    augmentation = build_augmentation(experiment.augmentation, network.input_shape[1:], seed)
    rates = [layer.rate for layer in _dropouts(network)]
    values = StepValues(max(rates, default=0.0), experiment.label_smoothing, class_weight)
    for layer in _dropouts(network):
        _take_rate_from(values, layer)
    if keras.backend.backend() == "jax":
        from kmodels.training.faster_layers import quicken

        quicken(network)
    elif keras.backend.backend() == "torch" and deterministic():
        pool_by_slices(network)
    trainer = _model_class()(image, network(values(augmentation(image))), name="trainer")
    half = network.compute_dtype == "float16"
    mixing = mixing_layer(augmentation)
    metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    if experiment.label_smoothing or class_weight is not None or mixing:
        metrics.append(keras.metrics.SparseCategoricalCrossentropy("cross_entropy", from_logits=True))
    trainer.compile(
        optimizer=build_optimizer(
            experiment.optimizer,
            experiment.learning_rate,
            momentum=experiment.momentum,
            weight_decay=experiment.weight_decay,
            loss_scale=LOSS_SCALE if half else None,
        ),
        loss=CrossEntropy(values.label_smoothing, mixing, values.weights_of_step),
        metrics=metrics,
        # Keras' own scaling adapts its factor in a branch of every step.
        auto_scale_loss=False,
    )
    return trainer


def _dropouts(network):
    return [layer for layer in network.layers if isinstance(layer, keras.layers.Dropout)]


def _take_rate_from(values, layer):
    """Lets a Dropout layer read its rate from `values`; its own attribute would be a constant in the compiled step."""

    uniform = _uniform()

    def call(inputs, training=False):
        # A rate of 0 costs no draws, and is not one of the values.
        if not training or not layer.rate:
            return inputs
        keep = 1 - ops.cast(values.dropout, "float32")
        draws = uniform(ops.shape(inputs), seed=layer.seed_generator)
        return ops.where(draws < keep, inputs / ops.cast(keep, inputs.dtype), ops.zeros_like(inputs))

    layer.call = call


def _uniform():
    if keras.backend.backend() != "jax":
        return keras.random.uniform
    from kmodels.training.faster_layers import uniform

    return uniform


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
        tuple(layer.name for layer in network.layers if not layer.trainable),
        network.dtype_policy.name,
        experiment.augmentation,
        experiment.optimizer,
        bool(experiment.momentum),
        bool(experiment.label_smoothing),
        experiment.class_weight is not None,
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
