"""Cross entropy from logits and integer labels, with label smoothing as in PyTorch, and of images that were mixed."""

import keras
import numpy as np
from keras import ops

from kmodels.augment.mixing import before


@keras.saving.register_keras_serializable("kmodels")
class CrossEntropy(keras.losses.Loss):
    """Mean over the batch of -sum(target * log softmax(logits)), in nats.

    Args:
        label_smoothing: the share of the target that is spread evenly over all classes, 0 to below 1.
        class_weight: floats (classes,), the weight of each class in training, above 0 for classes that occur; None: all
            the same. The mean over a batch is divided by the mean weight of its labels, as in PyTorch. It counts in
            training only, so that val_loss is that of runs without class weights. (Validation images have the class
            sizes of the data; weighing them too would let the smallest classes decide alone.)
        mixing: the layer of kmodels.augment.mixing through which the images of a training step went, if one did: each
            image then counts for its own label and its partner's, by its share.

    Attributes:
        training: whether the step that is being traced trains; set by the Trainer.
    """

    def __init__(self, label_smoothing=0.0, class_weight=None, mixing=None, name="cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.label_smoothing, self.class_weight, self.mixing = label_smoothing, class_weight, mixing
        self.training = True

    def call(self, labels, logits):
        # At least single precision, whatever the network computes in.
        log_probabilities = ops.log_softmax(ops.cast(logits, keras.backend.result_type(logits.dtype, "float32")))
        index = ops.expand_dims(ops.cast(ops.reshape(labels, (-1,)), "int32"), -1)
        share = self.mixing.take_share() if self.mixing else None
        weights = self.class_weight if self.training else None
        if weights is not None:
            weights = ops.cast(weights, log_probabilities.dtype)
            log_probabilities = log_probabilities * weights
        even = ops.mean(log_probabilities, axis=-1)
        smoothing = ops.cast(self.label_smoothing, log_probabilities.dtype)
        loss = -(1 - smoothing) * _at(log_probabilities, index, share) - smoothing * even
        if weights is None:
            return loss
        mean = ops.mean(_at(weights, index, share))
        if np.all(self.class_weight):
            return loss / mean
        # A batch of classes that all weigh 0 has no loss.
        return ops.where(mean > 0, loss / ops.where(mean > 0, mean, 1), 0)

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def _at(values, index, share):
    """Of each row the value at its label; of a mixed image that and its partner's, by their shares."""
    own = _at_label(values, index)
    if share is None:
        return own
    share = ops.cast(share, values.dtype)
    return share * own + (1 - share) * _at_label(values, before(index))


def _at_label(values, index):
    # A sum of one value and zeros: the gradient of indexing would add with atomics on a GPU, in a random order.
    classes = ops.arange(values.shape[-1], dtype=index.dtype)
    return ops.sum(ops.where(classes == index, values, ops.zeros((), values.dtype)), axis=-1)


def class_weights(given, labels, num_classes):
    """The weights of the classes: float32 (num_classes,), above 0 for classes with images; None for None.

    Args:
        given: numbers, one for each class; or "balanced": inverse to the number of images of a class, with a mean over
            the images of 1, and 0 for a class without images; or None.
        labels: ints (n,), those trained on.
        num_classes: how many classes there are.
    """
    if given is None:
        return None
    if not isinstance(given, str):
        return np.asarray(given, np.float32)
    sizes = np.bincount(labels, minlength=num_classes)
    weights = len(labels) / (np.count_nonzero(sizes) * np.maximum(sizes, 1))
    return np.where(sizes > 0, weights, 0).astype(np.float32)
