"""The forward pass: to the logits, or to layers on the way."""

import warnings
import weakref

import keras
import numpy as np

from kmodels.errors import InputError, require, unknown
from kmodels.models.faster_layers import use_fast_layers
from kmodels.models.graph import has_graph, inputs_of, require_model
from kmodels.models.logits import end_of, two_logits, why_no_logits

# Model -> {what was asked of it: the model of its layers that computes it}. Features of train, validation and test are
# three calls, and each new model would be compiled again.
_DERIVED = weakref.WeakKeyDictionary()
# Images per step at most, and their pixels: of larger images, what the layers compute would fill the memory.
MOST_IMAGES, MOST_PIXELS = 512, 512 * 64 * 64


def usual_batch(image_shape):
    """How many images to evaluate in one step: 512 of up to 64x64 pixels, fewer of larger ones.

    Args:
        image_shape: (height, width, ...); of anything else, features for instance, 512.
    """
    pixels = image_shape[0] * image_shape[1] if len(image_shape) == 3 else 1
    return max(1, min(MOST_IMAGES, MOST_PIXELS // max(1, pixels)))


class _Batches(keras.utils.PyDataset):
    def __init__(self, inputs, batch_size):
        super().__init__()
        # TensorFlow takes no lists from a generator.
        self.inputs, self.batch_size = keras.tree.lists_to_tuples(inputs), batch_size

    def __len__(self):
        return -(-count(self.inputs) // self.batch_size)

    def __getitem__(self, index):
        def batch(array):
            rows = array[index * self.batch_size : (index + 1) * self.batch_size]
            if index > 0 and len(rows) < self.batch_size:
                # Another size would be compiled again, for one batch.
                rows = np.concatenate([rows, array[: self.batch_size - len(rows)]])
            return rows

        return (keras.tree.map_structure(batch, self.inputs),)


def predict_logits(model, images, batch_size=None, output=None):
    """Logits float32 (n, classes) of all images, in order.

    A last softmax or sigmoid is left out where it is visible, and one unit z for two classes becomes [0, z]; so the
    softmax of the logits is the probability, and the class with the largest one is the predicted class. A warning tells
    where it is not the probability, because the activation is hidden or each class has a sigmoid of its own.

    Args:
        model: a built keras.Model from pixels to logits or probabilities.
        images: (n, height, width, channels), as the model takes them; of a model with several inputs a list or dict of
            arrays. May be memory-mapped, only a batch is read at a time.
        batch_size: images per step; None: as `usual_batch` says.
        output: name or index of the output, of a model with several.

    Raises:
        InputError: if the model has no weights yet, the images do not fit, or it is not said which output is meant; for
            one unit that is a probability all the same.
    """
    inputs = model_inputs(model, images)
    logits = _before_end(model, inputs, batch_size, output)
    if problem := _problem(model, logits.shape[-1], inputs, output):
        if logits.shape[-1] == 1:
            # The larger one of [0, p] would always be p.
            raise InputError(problem)
        warnings.warn(problem, stacklevel=2)
    return np.concatenate([np.zeros_like(logits), logits], axis=1) if logits.shape[-1] == 1 else logits


def logits_model(model, output=None):
    """The model from the same inputs to the logits, see `predict_logits`; the same one each time it is asked for.

    Raises:
        InputError: if the model has no graph (a `call` of its own), or it is not said which output is meant.
    """
    rule = "the network must be functional or Sequential, without a call of its own, to be cut before its softmax"
    require(has_graph(model), rule, model.name)
    logits = logits_end(model, output).logits or model
    if logits.outputs[0].shape[-1] > 1:
        return logits
    return _derived(model, ("two logits", output), lambda: two_logits(logits))


def require_logits(model, images):
    """Raises InputError where the softmax of the logits is not the probability of each class, see `predict_logits`.

    Args:
        model: a keras.Model with a graph and one output.
        images: (n, height, width, channels), one or more.
    """
    if problem := _problem(model, model.outputs[0].shape[-1], images, None):
        raise InputError(problem)


def logits_end(model, output=None):
    """The End of a model with a graph; in the place of its `logits` a faster model, or None for the model itself.

    Args:
        model: a keras.Model.
        output: as in `predict_logits`.
    """
    return _derived(model, ("logits", output), lambda: _end(model, output))


def _end(model, output):
    tensor = choose_output(model, output_structure(model), output)
    require(
        len(tensor.shape) == 2,
        "the network's output must be (batch, classes); end it with Flatten or GlobalAveragePooling2D and Dense",
        tuple(tensor.shape),
    )
    one = model if len(model.outputs) == 1 and not nested(model) else keras.Model(inputs_of(model), tensor)
    end = end_of(one)
    logits = use_fast_layers(end.logits, training=False)
    # A reference to the model itself would keep it alive.
    return end._replace(logits=None if logits is model else logits)


def _before_end(model, inputs, batch_size, output):
    """What a model computes before its softmax or sigmoid: float32 (n, units)."""
    if has_graph(model):
        return _predict(logits_end(model, output).logits or model, inputs, batch_size)
    outputs = choose_output(model, _predict(model, inputs, batch_size), output)
    require(outputs.ndim == 2, "the network's output must be (batch, classes)", outputs.shape)
    return outputs


def _problem(model, units, inputs, output):
    """Why `_before_end` returns no logits, in words; None where it does."""
    activation = logits_end(model, output).activation if has_graph(model) else None

    def compute(few):
        return _before_end(model, few, None, output)

    return why_no_logits(activation, units, compute, inputs if count(inputs) else None)


def predict_outputs(model, images, batch_size=None):
    """The output of a model in inference mode, whatever it is, for all images in order: float32 (n, ...).

    Args:
        model: a keras.Model with a graph and one output.
        images, batch_size: as in `features`.

    Raises:
        InputError: if the images do not fit.
    """
    faster = _derived(model, "outputs", lambda: use_fast_layers(model, training=False))
    return _predict(faster, model_inputs(model, images), batch_size)


def features(model, images, layer, batch_size=None):
    """The output of a layer in inference mode, for all images in order: float32 (n, ...), in the layer's own shape.

    Args:
        model: a flat functional network (or Sequential), from pixels.
        images: (n, height, width, channels), as the model takes them; of a model with several inputs a list or dict of
            arrays. May be memory-mapped, only a batch is read at a time.
        layer: the layer's name.
        batch_size: images per step; None: as `usual_batch` says.

    Raises:
        InputError: if there is no such layer, or it is a nested model, or inside one, or the images do not fit.
    """
    return _outputs(model, images, (layer,), batch_size)[layer]


def embed(model, images, layer="embedding", batch_size=None):
    """The embedding of each image: float32 (n, d), the output of a layer with 2-D output, in the order of the images.

    Arguments and errors as in `features`; a layer whose output is not 2-D is an InputError, too.
    """
    _chosen_outputs(model, (layer,), ranks=(2,))
    return features(model, images, layer, batch_size)


def feature_maps(model, images, layers, batch_size=None):
    """Outputs of several layers from one forward pass: {layer: float32 array}, in the order of `layers`.

    Arguments and errors as in `features`.

    Args:
        layers: names of layers with 4-D output (n, rows, columns, channels) or 2-D output (n, d).

    Raises:
        InputError: if there is no layer, or one whose output is neither 4-D nor 2-D.
    """
    require(not isinstance(layers, str), "layers must be a list of names", layers)
    layers = tuple(layers)
    require(layers, "layers must name at least one layer", layers)
    _chosen_outputs(model, layers, ranks=(2, 4))
    return _outputs(model, images, layers, batch_size)


def model_inputs(model, images):
    """The images as NumPy arrays, arranged as the model takes them.

    Args:
        model: a keras.Model.
        images: an array; of a model with several inputs a list or dict of arrays, with as many rows each.

    Returns:
        An array, or a list or dict of arrays.

    Raises:
        InputError: if the model has no weights yet, or the images are not those that it takes.
    """
    require_model(model, "model")
    if not has_graph(model):
        several = isinstance(images, dict) or (
            isinstance(images, list | tuple) and any(np.ndim(array) == 4 for array in images)
        )
        inputs = keras.tree.map_structure(_array, images) if several else _array(images)
        count(inputs)
        return inputs
    structure, names = inputs_of(model), [tensor.name for tensor in model.inputs]
    keys = list(structure) if isinstance(structure, dict) else names
    if isinstance(images, dict):
        require(set(images) == set(keys), f"the network's inputs are {', '.join(keys)}; give each", sorted(images))
        arrays = [images[key] for key in (sorted(keys) if isinstance(structure, dict) else keys)]
    elif len(names) == 1:
        one_of_one = isinstance(images, list | tuple) and len(images) == 1 and np.ndim(images[0]) == 4
        arrays = [images[0] if one_of_one else images]
    else:
        given = isinstance(images, list | tuple) and len(images) == len(names)
        rule = f"the network has {len(names)} inputs: give a list or dict of arrays for {', '.join(keys)}"
        require(given, rule, np.shape(images) if isinstance(images, np.ndarray) else type(images).__name__)
        arrays = images
    arrays = [_array(array) for array in arrays]
    for tensor, array in zip(keras.tree.flatten(structure), arrays, strict=True):
        wanted, shape = tuple(tensor.shape)[1:], array.shape[1:]
        # Keras itself adds or removes a last dimension of 1.
        fits = len(wanted) != len(shape) or all(size in (None, side) for size, side in zip(wanted, shape, strict=True))
        require(fits, f"input {tensor.name!r} of the network has the shape {wanted}", shape)
    count(arrays)
    return keras.tree.pack_sequence_as(structure, arrays)


def _array(values):
    try:
        array = keras.ops.convert_to_numpy(values) if keras.ops.is_tensor(values) else np.asarray(values)
    except ValueError as error:
        raise InputError(f"images must be arrays of numbers, all of one shape: {error}") from error
    numbers = array.dtype.kind in "buif" or array.dtype.name == "bfloat16"
    require(array.ndim > 0 and numbers, "images must be arrays of numbers", (array.dtype.name, array.shape))
    return array


def count(inputs):
    """How many images there are; an InputError if the inputs differ in it."""
    lengths = [len(array) for array in keras.tree.flatten(inputs)]
    require(len(set(lengths)) == 1, "every input must have as many rows", lengths)
    return lengths[0]


def output_structure(model):
    """The symbolic outputs of a model with a graph, as its builder arranged them."""
    return model.outputs[0] if isinstance(model, keras.Sequential) else model.output


def nested(model):
    """Whether the outputs of a model with a graph are in a list or dict."""
    return isinstance(output_structure(model), dict | list | tuple)


def choose_output(model, outputs, output):
    """One of a model's outputs.

    Args:
        model: a keras.Model.
        outputs: what it returned: a tensor, or a list or dict of tensors.
        output: a name or index; None: the only one.

    Raises:
        InputError: if there are several and none is chosen, or none of that name.
    """
    if not isinstance(outputs, dict | list | tuple):
        outputs = [outputs]
    if isinstance(outputs, dict):
        names, values = list(outputs), list(outputs.values())
    else:
        names, values = list(getattr(model, "output_names", None) or range(len(outputs))), list(outputs)
    known = [str(name) for name in names]
    if output is None:
        require(len(values) == 1, f"the network has {len(values)} outputs; choose one by output=", ", ".join(known))
        return values[0]
    if isinstance(output, int) and 0 <= output < len(values) and output not in names:
        return values[output]
    if output not in names:
        raise unknown("output", output, known)
    return values[names.index(output)]


def _predict(model, inputs, batch_size):
    """The outputs for all images, float32, also for none."""
    n = count(inputs)
    if batch_size is None:
        batch_size = min(usual_batch(array.shape[1:]) for array in keras.tree.flatten(inputs))
    if n == 0:
        # One black image tells the shape, whatever kind of network it is.
        inputs = keras.tree.map_structure(lambda array: np.zeros((1, *array.shape[1:]), array.dtype), inputs)
    outputs = model.predict(_Batches(inputs, batch_size), verbose=0)
    return keras.tree.map_structure(lambda array: array[:n].astype("float32"), outputs)


def _outputs(model, images, names, batch_size):
    outputs = _chosen_outputs(model, names)
    inputs = model_inputs(model, images)
    extractor = _derived(model, names, lambda: _cut(model, outputs))
    predicted = _predict(extractor, inputs, batch_size)
    return {name: predicted[name] for name in names}


def _derived(model, key, build):
    known = _DERIVED.setdefault(model, {})
    if key not in known:
        derived = build()
        # A reference to the model itself would keep it alive.
        known[key] = None if derived is model else derived
    return known[key] or model


def _cut(model, outputs):
    return use_fast_layers(keras.Model(inputs_of(model), outputs), training=False)


def layer_outputs(model):
    """{layer's name: its output tensor in the graph of this model}, of several calls there that of the first.

    `layer.output` is that of the layer's first call anywhere, which may be in another network. Layers with several
    outputs are left out; of a model without a graph there are none.
    """
    if not has_graph(model):
        return {}
    # A Sequential model does not have the nodes itself.
    graph = keras.Model(inputs_of(model), output_structure(model))
    nodes = {node for nodes in graph._nodes_by_depth.values() for node in nodes}
    firsts = {layer.name: next(node for node in layer._inbound_nodes if node in nodes) for layer in graph.layers}
    return {name: node.output_tensors[0] for name, node in firsts.items() if len(node.output_tensors) == 1}


def _chosen_outputs(model, names, ranks=None):
    """{name: output tensor} of some layers of the model, each with a number of dimensions from `ranks`, if given."""
    layers, outputs = {layer.name: layer for layer in model.layers}, layer_outputs(model)
    for name in names:
        if name not in layers:
            raise unknown("layer", name, layers)
        require(
            not isinstance(layers[name], keras.Model),
            "the network cannot be cut at a layer that is itself a model; choose a layer before or after it",
            name,
        )
        rule = "the layer must have one output in the graph of a functional or Sequential network"
        require(name in outputs, rule, name)
        if ranks and len(outputs[name].shape) not in ranks:
            fitting = [known for known in layers if known in outputs and len(outputs[known].shape) in ranks]
            dimensions = " or ".join(f"{rank}-D" for rank in ranks)
            raise InputError(f"layer {name!r} must have {dimensions} output; layers that have: {', '.join(fitting)}")
    return {name: outputs[name] for name in names}
