"""Weights of one network taken over by another of the same layers, and frozen there."""

from kmodels.errors import InputError


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


def freeze(network):
    """Leaves only the classifier to be trained; batch-norm statistics stay as they are, too."""
    for layer in network.layers:
        layer.trainable = layer.name == "logits"
