"""The trainer: a network with its augmentation in front, compiled with loss, optimizer and metrics."""

import keras

from kmodels.augment import build_augmentation
from kmodels.augment.mixing import mixing_layer
from kmodels.models.faster_layers import use_fast_layers
from kmodels.training.losses import CrossEntropy


class Trainer(keras.Model):
    """A Keras model that tells its loss whether a step trains."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        # Python state of one trace of a step.
        self.loss.training = training
        return super().compute_loss(x, y, y_pred, sample_weight, training)


def build_trainer(
    network, optimizer, *, augmentation="none", seed=0, label_smoothing=0.0, class_weight=None, metrics=()
):
    """The network with its augmentation in front, compiled.

    Training it trains `network`, whose variables it shares; augmentation acts only while training. Where the loss is
    more than the plain cross entropy, that is measured too, as "cross_entropy".

    Args:
        network: a keras.Model from images (batch, height, width, channels) to logits (batch, classes).
        optimizer: a keras.optimizers.Optimizer that no other trainer uses.
        augmentation: as `build_augmentation` takes it.
        seed: of the augmentation.
        label_smoothing: share of the target that is spread evenly over all classes, 0 to below 1.
        class_weight: float32 (classes,), the weight of each class in the training loss; None: all the same.
        metrics: Keras metrics of labels and logits, in addition to accuracy.

    Returns:
        A compiled keras.Model. What callbacks save or load, and the layers that they look up by name, are those of
        `network`; its optimizer is the trainer's.
    """
    image = keras.Input(network.input_shape[1:], name="image")
    augment = build_augmentation(augmentation, network.input_shape[1:], seed)
    trainer = _trainer_class()(image, use_fast_layers(network)(augment(image)), name="trainer")
    mixing = mixing_layer(augment)
    measured = [keras.metrics.SparseCategoricalAccuracy(name="accuracy"), *metrics]
    if label_smoothing or class_weight is not None or mixing:
        measured.append(keras.metrics.SparseCategoricalCrossentropy("cross_entropy", from_logits=True))
    trainer.compile(
        optimizer=optimizer,
        loss=CrossEntropy(label_smoothing, class_weight, mixing),
        metrics=measured,
        # Keras' own scaling adapts its factor in a branch of every step.
        auto_scale_loss=False,
    )
    for name in ("save", "save_weights", "load_weights", "get_layer"):
        setattr(trainer, name, getattr(network, name))
    return trainer


def _trainer_class():
    if keras.backend.backend() != "jax":
        return Trainer
    from kmodels.training.epoch_program import EpochTrainer

    return EpochTrainer


def build_state(trainer, image_dtype="uint8"):
    """Creates every variable of training now: the optimizer's and the metrics', which Keras creates at the first step.

    Args:
        trainer: what `build_trainer` returned.
        image_dtype: of the images that it will see.
    """
    trainer.optimizer.build(trainer.trainable_variables)
    images = keras.KerasTensor((2, *trainer.input_shape[1:]), image_dtype)
    trainer._symbolic_build(data_batch=(images, keras.KerasTensor((2,), "int32")))
