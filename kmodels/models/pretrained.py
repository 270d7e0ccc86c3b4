"""Weights that somebody else trained, brought into our networks."""

from pathlib import Path

import keras
import numpy as np

from kmodels.errors import InputError
from kmodels.models.saving import load_network

RESNET50_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
RESNET50_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{RESNET50_FILE}"


def resnet50(weights):
    """A ResNet50 of ours with these weights.

    Args:
        weights: "imagenet", an .h5 file of `keras.applications.ResNet50` without top, or a .keras file of ours.

    Raises:
        InputError: if the weights cannot be had, or are of another network.
    """
    if weights != "imagenet" and not Path(weights).is_file():
        raise InputError(f"weights must be 'imagenet' or a file that exists. Received: {str(weights)!r}")
    if weights == "imagenet" or Path(weights).suffix == ".h5":
        return from_keras_applications(_keras_resnet50(weights))
    if Path(weights).suffix == ".keras":
        return load_network(weights)
    raise InputError(
        f"weights in a file must be .keras or .h5. Received: {str(weights)!r}; PyTorch's are read by "
        "kmodels convert FILE.pth --model resnet50"
    )


def take_over(network, source, drawn_anew=("logits",)):
    """Copies all weights of `source` into `network` but those of the layers drawn anew.

    Raises:
        InputError: if the two differ in more than these layers; names the first layers that do.
    """
    ours, theirs = (
        {
            layer.name: [tuple(weight.shape) for weight in layer.weights]
            for layer in model.layers
            if layer.weights and layer.name not in drawn_anew
        }
        for model in (network, source)
    )
    differing = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if differing:
        more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
        raise InputError(f"the weights are of another network than {network.name}: {', '.join(differing[:5])}{more}")
    for name in ours:
        network.get_layer(name).set_weights(source.get_layer(name).get_weights())


def _keras_resnet50(weights):
    try:
        return keras.applications.ResNet50(include_top=False, weights=weights, input_shape=(None, None, 3))
    except Exception as error:
        if weights == "imagenet":
            raise InputError(
                f"cannot download ResNet50's weights: {error}\n"
                f"Download {RESNET50_URL} yourself and give that file as weights"
            ) from error
        raise InputError(
            f"{weights} does not hold the weights of keras.applications.ResNet50 without top ({RESNET50_FILE}): {error}"
        ) from error


def from_keras_applications(theirs):
    """The same function as Keras' ResNet50 without top, in our layers.

    Theirs takes blue, green, red; its convolutions have biases, which here go into the batch norm that follows; and
    its epsilon is 1.001e-5, of which the part that ours lacks goes into the variances.
    """
    from kmodels.models.resnet import KERAS_APPLICATIONS, STAGES, assemble

    ours = assemble((224, 224, 3), 2, KERAS_APPLICATIONS)
    pairs = {"stem": ("conv1", "stem_norm")}
    for stage, (_, blocks) in enumerate(STAGES, start=1):
        for block in range(1, blocks + 1):
            name, their_name = f"stage{stage}_block{block}", f"conv{stage + 1}_block{block}"
            for i in (1, 2, 3):
                pairs[f"{name}_conv{i}"] = (f"{their_name}_{i}", f"{name}_norm{i}")
        pairs[f"stage{stage}_block1_shortcut"] = (
            f"conv{stage + 1}_block1_0",
            f"stage{stage}_block1_shortcut_norm",
        )
    for name, (their_name, norm_name) in pairs.items():
        kernel, bias = theirs.get_layer(f"{their_name}_conv").get_weights()
        norm = theirs.get_layer(f"{their_name}_bn")
        gamma, beta, mean, variance = norm.get_weights()
        ours.get_layer(name).set_weights([kernel[:, :, ::-1] if name == "stem" else kernel])
        our_norm = ours.get_layer(norm_name)
        our_norm.set_weights([gamma, beta, mean - bias, variance + np.float32(norm.epsilon - our_norm.epsilon)])
    return ours
