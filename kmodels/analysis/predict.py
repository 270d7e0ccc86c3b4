"""The forward pass: to the logits, or to layers on the way."""

import weakref

import keras
import numpy as np

from kmodels.errors import InputError, require, unknown

# Model -> {layer names: the model that ends in them}. Features of train, validation and test are three calls, and each
# new model would be compiled again.
_EXTRACTORS = weakref.WeakKeyDictionary()


class _Batches(keras.utils.PyDataset):
    def __init__(self, images, batch_size):
        super().__init__()
        self.images, self.batch_size = images, batch_size

    def __len__(self):
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index):
        batch = self.images[index * self.batch_size : (index + 1) * self.batch_size]
        if index > 0 and len(batch) < self.batch_size:
            # Another size would be compiled again, for one batch.
            batch = np.concatenate([batch, self.images[: self.batch_size - len(batch)]])
        return (batch,)


def predict_logits(model, images, batch_size=512):
    """Logits float32 (n, classes) of all images, in order.

    Args:
        model: a network from pixels to logits.
        images: (n, height, width, 3), 0..255; may be memory-mapped, only a batch is read at a time.
        batch_size: images per step.
    """
    return model.predict(_Batches(images, batch_size), verbose=0)[: len(images)].astype("float32")


def features(model, images, layer, batch_size=512):
    """The output of a layer in inference mode, for all images in order: float32 (n, ...), in the layer's own shape.

    Args:
        model: a flat functional network (or Sequential), from pixels.
        images: (n, height, width, 3), 0..255; may be memory-mapped, only a batch is read at a time.
        layer: the layer's name.
        batch_size: images per step.

    Raises:
        InputError: if there is no such layer, or it is a nested model, or inside one.
    """
    return _outputs(model, images, (layer,), batch_size)[layer]


def embed(model, images, layer="embedding", batch_size=512):
    """The embedding of each image: float32 (n, d), the output of a layer with 2-D output, in the order of the images.

    Arguments and errors as in `features`; a layer whose output is not 2-D is an InputError, too.
    """
    _require_rank(model, layer, (2,))
    return features(model, images, layer, batch_size)


def feature_maps(model, images, layers, batch_size=512):
    """Outputs of several layers from one forward pass: {layer: float32 array}, in the order of `layers`.

    Arguments and errors as in `features`.

    Args:
        layers: names of layers with 4-D output (n, rows, columns, channels) or 2-D output (n, d).

    Raises:
        InputError: if there is no layer, or one whose output is neither 4-D nor 2-D.
    """
    layers = tuple(layers)
    require(layers, "layers must name at least one layer", layers)
    for name in layers:
        _require_rank(model, name, (2, 4))
    return _outputs(model, images, layers, batch_size)


def _outputs(model, images, names, batch_size):
    outputs = {name: _output(model, name) for name in names}
    if not len(images):
        return {name: np.zeros((0, *output.shape[1:]), np.float32) for name, output in outputs.items()}
    predicted = _extractor(model, outputs).predict(_Batches(images, batch_size), verbose=0)
    return {name: predicted[name][: len(images)].astype("float32") for name in outputs}


def _extractor(model, outputs):
    known = _EXTRACTORS.setdefault(model, {})
    names = tuple(outputs)
    if names not in known:
        try:
            known[names] = keras.Model(model.inputs, outputs)
        except ValueError as error:
            raise InputError(
                f"the network cannot be cut at {', '.join(names)}: no path leads there from its input"
            ) from error
    return known[names]


def _output(model, name):
    """The output tensor of a layer in the graph of the model; of several calls of the layer, that of the first."""
    layers = {layer.name: layer for layer in model.layers}
    if name not in layers:
        raise unknown("layer", name, layers)
    require(
        not isinstance(layers[name], keras.Model),
        "the network cannot be cut at a layer that is itself a model; choose a layer before or after it",
        name,
    )
    require(
        output_rank(layers[name]) is not None,
        "the layer must have one output in the graph of a functional or Sequential network",
        name,
    )
    return layers[name].output


def _require_rank(model, name, ranks):
    if len(_output(model, name).shape) not in ranks:
        fitting = [layer.name for layer in model.layers if output_rank(layer) in ranks]
        dimensions = " or ".join(f"{rank}-D" for rank in ranks)
        raise InputError(f"layer {name!r} must have {dimensions} output; layers that have: {', '.join(fitting)}")


def output_rank(layer):
    """Dimensions of the layer's output; None where it has not one output (several, or never called)."""
    try:
        return len(layer.output.shape)
    except (AttributeError, ValueError):
        return None
