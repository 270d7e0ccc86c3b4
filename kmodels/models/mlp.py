"""Multi-layer perceptron of report `intel_scenes`.

The report gives its size, 667K parameters for six classes, and no layers. Two hidden layers of 96 and 32 on images of
48x48 pixels have 666,950: a reconstruction.
"""

import keras
from keras import layers

from kmodels.models.blocks import dense, logits, pixels


def mlp(input_shape, num_classes):
    """Dense layers of 96, 32 and the classes, with ReLU: 666,950 parameters for six classes at 48x48."""
    image, x = pixels(input_shape, smallest=1, mean=0.5, std=0.5)
    x = layers.Flatten(name="flatten")(x)
    x = layers.ReLU(name="relu1")(dense(x, 96, name="dense1"))
    x = layers.ReLU(name="embedding")(dense(x, 32, name="dense2"))
    return keras.Model(image, logits(x, num_classes), name="mlp")
