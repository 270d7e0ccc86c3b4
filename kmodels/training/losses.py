"""Cross entropy from logits and integer labels, with label smoothing as in PyTorch, and of images that were mixed."""

import keras
from keras import ops

from kmodels.augment.mixing import before


@keras.saving.register_keras_serializable("kmodels")
class CrossEntropy(keras.losses.Loss):
    """Mean over the batch of -sum(target * log softmax(logits)), in nats.

    Args:
        label_smoothing: the share of the target that is spread evenly over all classes, 0 to below 1; a number or a
            variable.
        mixing: the layer of kmodels.augment.mixing through which the images of a training step went, if one did: each
            image then counts for its own label and its partner's, by its share. Saved without it.
    """

    def __init__(self, label_smoothing=0.0, mixing=None, name="cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing
        self.mixing = mixing

    def call(self, labels, logits):
        # At least single precision, whatever the network computes in.
        log_probabilities = ops.log_softmax(ops.cast(logits, keras.backend.result_type(logits.dtype, "float32")))
        index = ops.expand_dims(ops.cast(ops.reshape(labels, (-1,)), "int32"), -1)
        true = ops.take_along_axis(log_probabilities, index, axis=-1)[:, 0]
        share = self.mixing.take_share() if self.mixing else None
        if share is not None:
            share = ops.cast(share, log_probabilities.dtype)
            others = ops.take_along_axis(log_probabilities, before(index), axis=-1)[:, 0]
            true = share * true + (1 - share) * others
        even = ops.mean(log_probabilities, axis=-1)
        smoothing = ops.cast(self.label_smoothing, log_probabilities.dtype)
        return -(1 - smoothing) * true - smoothing * even

    def get_config(self):
        return {**super().get_config(), "label_smoothing": float(ops.convert_to_numpy(self.label_smoothing))}
