"""Cross entropy from logits and integer labels, with label smoothing as in PyTorch, and of images that were mixed."""

import keras
import numpy as np
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
        class_weight: a function without arguments that gives, when a step is traced, what every class counts in it,
            (classes,), above 0 for classes that occur, or None where all count the same. The mean over the batch is
            divided by the mean weight of its labels, as in PyTorch. Saved without it.
    """

    def __init__(self, label_smoothing=0.0, mixing=None, class_weight=None, name="cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing
        self.mixing = mixing
        self.class_weight = class_weight

    def call(self, labels, logits):
        # At least single precision, whatever the network computes in.
        log_probabilities = ops.log_softmax(ops.cast(logits, keras.backend.result_type(logits.dtype, "float32")))
        index = ops.expand_dims(ops.cast(ops.reshape(labels, (-1,)), "int32"), -1)
        share = self.mixing.take_share() if self.mixing else None
        weights = self.class_weight() if self.class_weight else None
        if weights is not None:
            weights = ops.cast(weights, log_probabilities.dtype)
            log_probabilities = log_probabilities * weights
        even = ops.mean(log_probabilities, axis=-1)
        smoothing = ops.cast(self.label_smoothing, log_probabilities.dtype)
        loss = -(1 - smoothing) * _at(log_probabilities, index, share) - smoothing * even
        if weights is None:
            return loss
        return loss / ops.mean(_at(weights, index, share))

    def get_config(self):
        return {**super().get_config(), "label_smoothing": float(ops.convert_to_numpy(self.label_smoothing))}


def _at(values, index, share):
    """Of each row the value at its label; of a mixed image that and its partner's, by their shares."""
    own = _picked(values, index)
    if share is None:
        return own
    share = ops.cast(share, values.dtype)
    return share * own + (1 - share) * _picked(values, before(index))


def _picked(values, index):
    # A sum of one value and zeros. The gradient of indexing would add with atomics on a GPU, in an order of chance.
    places = ops.arange(values.shape[-1], dtype=index.dtype)
    return ops.sum(ops.where(places == index, values, ops.zeros((), values.dtype)), axis=-1)


def class_weights(given, labels, num_classes):
    """The weights of the classes as an experiment gives them: float32 (num_classes,), above 0 for classes with images.

    Args:
        given: numbers, one for each class; or "balanced": inverse to the number of images of a class, with a mean over
            the images of 1, and 0 for a class without images; None for None.
        labels: ints (n,), those trained on.
    """
    if given != "balanced":
        return None if given is None else np.asarray(given, np.float32)
    sizes = np.bincount(labels, minlength=num_classes)
    weights = len(labels) / (np.count_nonzero(sizes) * np.maximum(sizes, 1))
    return np.where(sizes > 0, weights, 0).astype(np.float32)
