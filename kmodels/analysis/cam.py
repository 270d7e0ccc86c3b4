"""Grad-CAM: which part of an image is evidence for a class.

Source: Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, 2017.

One way for JAX, TensorFlow and PyTorch, and for functional, Sequential, nested and subclassed networks: a zero tensor
is added to the output of the chosen layer during one forward pass, and the class logit is differentiated with respect
to it. The graph is never cut, so nested models, skip connections and shared layers work. `call` of every layer is
replaced for the time of a forward pass (`_forward`). A pass over one image finds the layers that are called, and the
one that the network ends in (`_explain`).
"""

import re
import warnings
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import activations, ops
from PIL import Image

from kmodels.analysis.gradients import depends_on, gradient_of
from kmodels.analysis.predict import choose_output, count, logits_end, model_inputs
from kmodels.errors import InputError, describe_error, require, shorten, unknown
from kmodels.models.graph import all_layers, has_graph, layers_within
from kmodels.models.logits import HIDDEN, LOGITS, end_activation, looks_like_probabilities, require_sigmoid

# Pixels in one forward pass, of at most 64 images: the outputs of all layers are held for the gradient.
PIXELS = 2**20
# Where a network is sure, the gradient of these vanishes: what they are computed from is differentiated instead.
SATURATING = (activations.softmax, activations.log_softmax, activations.sigmoid)
# The score is multiplied by it and the gradient divided: float16 has no numbers below 6e-8. A power of two changes no
# digit of other types.
SCALE = 1024


class _Call(NamedTuple):
    """A call of a layer in a forward pass: of a shared layer the first has index 0, the second 1."""

    layer: Any
    index: int


class _Pass(NamedTuple):
    """What a forward pass over one image shows.

    Attributes:
        four_d: {_Call: its output}, those with 4-D output, in order; on JAX shapes may stand for outputs.
        ends: the _Calls that returned the chosen output itself.
        units: of the chosen output.
    """

    four_d: dict
    ends: list
    units: int


class _Explained(NamedTuple):
    """What is explained in a network.

    Attributes:
        call: the _Call whose output is explained.
        shape: of that output for one image: (1, rows, columns, channels).
        end: the _Call whose activation is left out; None where the network ends in none.
        hidden_end: whether outputs may be probabilities: no activation is left out, and no logits are visible.
        output: name or index of the output.
        units: of that output.
    """

    call: _Call
    shape: tuple
    end: _Call | None
    hidden_end: bool
    output: Any
    units: int


def grad_cam(model, images, layer=None, classes=None, *, input=None, output=None):
    """Heat maps: 1 where the evidence for a class is strongest, 0 where there is none or it is against the class.

    A last softmax or sigmoid is left out where it is visible (a Dense, Activation or Softmax layer); a warning tells
    where the outputs are probabilities all the same, for which the gradient vanishes where the network is sure. Of a
    single unit for two classes, class 1 is explained by the unit and class 0 by its negative.

    Args:
        model: a built keras.Model, channels last, whose output is (batch, classes) or (batch, 1). It is left as it is.
        images: (n, height, width, channels), as the model takes them; of a model with several inputs a list or dict of
            arrays.
        layer: name of a layer with 4-D output, also inside a nested model (of several calls of a shared layer, the last
            one counts), or of a nested model; None: "feature_map" or, in a model without one, the last layer whose 4-D
            output has more than one row and column and leads to that of the network.
        classes: ints (n,), the class to explain for each image; None: the predicted one.
        input: name or index of the input that is explained, of a model with several inputs of images.
        output: name or index of the output that is explained, of a model with several.

    Returns:
        float32 (n, height, width) in [0, 1], each map divided by its maximum; all 0 without evidence for the class.

    Raises:
        InputError: if the layer does not exist, its output is not 4-D or does not lead to that of the network, or
            model, images or `classes` do not fit.
    """
    maps, (height, width) = _unscaled(model, images, layer, classes, input, output)
    resized = np.zeros((len(maps), height, width), np.float32)
    for i, heat in enumerate(maps):
        # In Pillow rather than keras.ops: the same on every backend.
        larger = Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR)
        resized[i] = np.asarray(larger)
    peak = resized.max(axis=(1, 2), keepdims=True, initial=0)
    return np.divide(resized, peak, out=np.zeros_like(resized), where=peak > 0)


def _unscaled(model, images, layer=None, classes=None, input=None, output=None):
    """Maps before they are resized and scaled, float32 (n, rows, columns), at least 0; and the size of the images.

    Arguments and errors as in `grad_cam`.
    """
    inputs = model_inputs(model, images)
    image = _explained_input(model, inputs, input)
    maps = _maps(model, inputs, _explain(model, inputs, layer, image, output), classes)
    return maps, keras.tree.flatten(inputs)[image].shape[1:3]


def cam_layers(model, at_most=5):
    """Names of up to `at_most` layers to look at with Grad-CAM, evenly from the first to the last.

    They are activations whose 4-D output has more than one row and column; in a model that has none as layers, its
    convolutions. A name that several layers have, in different nested models, is left out: `grad_cam` cannot tell which
    one is meant.

    Args:
        model: a keras.Model.
        at_most: how many names.

    Returns:
        A list of names, empty for a model without convolutions and for one without a graph.
    """
    layers = all_layers(model)
    known = Counter(layer.name for layer in layers)
    spatial = [layer for layer in layers if known[layer.name] == 1 and _is_spatial(_output_shape(layer))]
    activations = [layer for layer in spatial if isinstance(layer, keras.layers.ReLU | keras.layers.Activation)]
    convolutions = [layer for layer in spatial if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)]
    names = [layer.name for layer in activations or convolutions]
    indices = np.linspace(0, len(names) - 1, min(at_most, len(names)))
    return [names[round(index)] for index in indices]


def _maps(model, inputs, explained, classes):
    n, pixels = count(inputs), max(np.prod(array.shape[1:3]) for array in keras.tree.flatten(inputs))
    if classes is not None:
        classes, num_classes = np.asarray(classes, None if n else int), max(2, explained.units)
        fits = classes.shape == (n,) and np.issubdtype(classes.dtype, np.integer)
        require(
            fits and np.isin(classes, range(num_classes)).all(),
            f"classes must be {n} integers from 0 to {num_classes - 1}, one per image",
            classes.tolist(),
        )
    maps, logits = [np.zeros((0, *explained.shape[1:3]), np.float32)], [np.zeros((0, explained.units))]
    size = int(np.clip(PIXELS // pixels, 1, 64))
    for start in range(0, n, size):
        part = slice(start, start + size)
        batch = keras.tree.map_structure(lambda array, part=part: array[part], inputs)
        gradient, activation, scores = _gradient(model, batch, explained, None if classes is None else classes[part])
        weights = gradient.mean(axis=(1, 2), keepdims=True)
        maps.append(np.maximum((weights * activation).sum(axis=-1), 0).astype(np.float32))
        logits.append(scores)
    if explained.hidden_end:
        _check_logits(np.concatenate(logits), classes)
    return np.concatenate(maps)


def _check_logits(logits, classes):
    """Outputs whose last activation is not visible may be probabilities."""
    if logits.shape[-1] > 1:
        if looks_like_probabilities(logits):
            warnings.warn(HIDDEN, stacklevel=4)
    elif classes is None and looks_like_probabilities(logits):
        raise InputError(
            "the network's one output may be a logit or a probability, so the predicted class is not known; give "
            "classes, or end the network with a Dense or Activation layer"
        )


def _explained_input(model, inputs, input):
    """The index of the input that is explained, among the flattened ones."""
    arrays = keras.tree.flatten(inputs)
    if isinstance(inputs, dict):
        names = sorted(inputs)
    else:
        names = [tensor.name for tensor in model.inputs] if has_graph(model) else [str(i) for i in range(len(arrays))]
    if input is None:
        of_images = [i for i, array in enumerate(arrays) if array.ndim == 4]
        rule = f"the network has {len(of_images)} inputs of images; choose the one to explain by input="
        require(len(of_images) <= 1, rule, ", ".join(names[i] for i in of_images))
        index = of_images[0] if of_images else 0
    elif isinstance(input, int) and 0 <= input < len(arrays):
        index = input
    elif input in names:
        index = names.index(input)
    else:
        raise unknown("input", input, names)
    require(arrays[index].ndim == 4, "images must be (n, height, width, channels)", arrays[index].shape)
    return index


def _explain(model, inputs, layer, image, output):
    """The _Explained: which call of which layer, and which activation to leave out.

    Args:
        model, layer, output: those of `grad_cam`.
        inputs: from `model_inputs`.
        image: from `_explained_input`.
    """
    for other in (*all_layers(model), *layers_within(model)):
        rule = "Grad-CAM needs a network with channels last; build it with data_format='channels_last'"
        require(getattr(other, "data_format", None) != "channels_first", rule, f"channels_first in {other.name}")
    arrays = keras.tree.flatten(inputs)
    several_images = sum(array.ndim == 4 for array in arrays) > 1
    ones = [array[:1] if len(array) else np.zeros((1, *array.shape[1:]), array.dtype) for array in arrays]
    one = keras.tree.pack_sequence_as(inputs, ones)
    seen = _pass(model, one, output, several_images)
    four_d = {call: value for call, value in seen.four_d.items() if value.shape[0] == 1}
    if several_images:
        # Another image changes the outputs of the layers that depend on it.
        noise = np.random.default_rng(0).uniform(0, 1 + float(np.abs(ones[image]).max()), ones[image].shape)
        ones[image] = noise.astype(ones[image].dtype)
        changed = _pass(model, keras.tree.pack_sequence_as(inputs, ones), output, True).four_d
        four_d = {call: value for call, value in four_d.items() if not np.array_equal(value, changed[call])}
    candidates = _candidates(model, four_d, layer)
    visible = {call: end_activation(call.layer) for call in seen.ends}
    end = next((call for call, activation in visible.items() if activation in SATURATING), None)
    if end:
        require_sigmoid(end.layer, visible[end], seen.units)
    hidden = end is None and not _ends_in_logits(model, seen.ends, output)
    for call in candidates:
        explained = _Explained(call, tuple(four_d[call].shape), end, hidden, output, seen.units)
        # Some layers lead to another output only, or to none, as an auxiliary head does in use.
        if _leads_to_output(model, one, explained):
            return explained
    name = "the network's output" if output is None else f"output {output!r}"
    raise InputError(f"no gradient of {name} reaches {shorten(call.layer.name for call in candidates)}")


def _ends_in_logits(model, ends, output):
    """Whether it is visible that an output of a model is logits; `ends` are the _Calls that returned it."""
    dense = any(type(call.layer) is keras.layers.Dense and call.layer.activation in LOGITS for call in ends)
    return dense or (has_graph(model) and logits_end(model, output).activation in LOGITS)


def _candidates(model, four_d, name):
    """The calls that may be explained, the best one first."""
    if name is None:
        spatial = [call for call, value in four_d.items() if _is_spatial(value.shape)][::-1]
        rule = "Grad-CAM needs a layer with 4-D output of more than one row and column; this model has none"
        require(spatial, rule, model.name)
        # False comes before True.
        return sorted(spatial, key=lambda call: call.layer.name != "feature_map")
    named = {layer for layer in all_layers(model) if layer.name == name}
    names = list(dict.fromkeys(call.layer.name for call in four_d))
    if not named:
        raise unknown("layer", name, names)
    require(len(named) == 1, "the name of the layer must not be that of several", name)
    found = [call for call in four_d if call.layer in named]
    if not found:
        raise InputError(
            f"layer {name!r} must have 4-D output (batch, rows, columns, channels) that depends on the image; the last "
            f"of those that have: {shorten(names[::-1]) or 'none'}"
        )
    return found[::-1]


def _is_spatial(shape):
    return len(shape) == 4 and tuple(shape[1:3]) != (1, 1)


def _output_shape(layer):
    try:
        return layer.output.shape
    except (AttributeError, ValueError):
        # It has several, or was never called on a symbolic tensor.
        return ()


@contextmanager
def _replaced(layer, name, value):
    """A block in which an attribute of the layer, its own or that of its class, has another value."""
    own = {key: found for key, found in vars(layer).items() if key == name}
    # Past Keras' attribute tracking.
    vars(layer)[name] = value
    try:
        yield
    finally:
        del vars(layer)[name]
        vars(layer).update(own)


def _forward(model, inputs, replace):
    """What the model returns in inference mode, if every call of a layer returns replace(_Call, compute, its input).

    `compute()` is what the layer would return. No variable is changed.
    """
    indices = Counter()

    def watched(layer, original):
        def call(*args, **kwargs):
            made = _Call(layer, indices[layer])
            indices[layer] += 1
            return replace(made, lambda: original(*args, **kwargs), next(iter((*args, *kwargs.values())), None))

        return call

    # In the scope, numbers that layers count and losses that they add stay as they are.
    with ExitStack() as stack, keras.StatelessScope():
        for layer in all_layers(model):
            stack.enter_context(_replaced(layer, "call", watched(layer, layer.call)))
        return model(keras.tree.map_structure(ops.convert_to_tensor, inputs), training=False)


def _pass(model, inputs, output, values):
    """The _Pass over one image; without `values`, JAX computes shapes only."""
    facts = {}

    def run(inputs):
        outputs = {}

        def replace(call, compute, _):
            outputs[call] = compute()
            return outputs[call]

        results = _forward(model, inputs, replace)
        chosen = choose_output(model, results, output)
        require(len(chosen.shape) == 2, "the network's output must be (batch, classes)", tuple(chosen.shape))
        four_d = {call: value for call, value in outputs.items() if len(getattr(value, "shape", ())) == 4}
        facts.update(
            calls=list(four_d),
            ends=[call for call, value in outputs.items() if value is chosen],
            units=chosen.shape[-1],
        )
        return list(four_d.values())

    try:
        if keras.backend.backend() == "jax" and not values:
            import jax

            found = jax.eval_shape(run, inputs)
        else:
            found = [ops.convert_to_numpy(value) for value in run(inputs)]
    except InputError:
        raise
    except Exception as error:
        # Whatever the layers of the user's own network raise.
        shapes = ", ".join(str(array.shape) for array in keras.tree.flatten(inputs))
        # Keras writes several lines, with codes for bold letters.
        reason = " ".join(re.sub(r"\x1b\[\d+m", "", describe_error(error)).split())
        raise InputError(
            f"the network {model.name!r} cannot be called on images of shape {shapes}: {reason}"
        ) from error
    return _Pass(dict(zip(facts.pop("calls"), found, strict=True)), **facts)


def _gradient(model, inputs, explained, classes):
    """The gradient of the class logits with respect to the layer's output, that output, and all logits: float32."""

    def score(delta):
        logits, activation = _with_added(model, inputs, explained, delta)
        # Of one unit for two classes: its negative, and itself.
        scores = logits if explained.units > 1 else ops.concatenate([-logits, logits], axis=-1)
        index = ops.argmax(scores, axis=-1) if classes is None else ops.convert_to_tensor(classes)
        chosen = ops.take_along_axis(scores, ops.expand_dims(ops.cast(index, "int32"), -1), axis=-1)
        # With the second term, a layer that does not lead to the output has a gradient, of 0.
        return SCALE * ops.sum(chosen) + 0 * ops.sum(delta), (activation, logits)

    zero = ops.zeros((count(inputs), *explained.shape[1:]), "float32")
    gradient, (activation, logits) = gradient_of(score, zero)
    gradient, activation, logits = (
        ops.convert_to_numpy(value).astype(np.float32) for value in (gradient, activation, logits)
    )
    return gradient / SCALE, activation, logits


def _with_added(model, inputs, explained, delta):
    """All logits, float32, and the layer's output, if `delta` is added to that output."""
    seen = {}

    def replace(call, compute, first):
        if call == explained.end:
            return _before_activation(call.layer, compute, first)
        value = compute()
        if call == explained.call:
            value = seen["activation"] = value + ops.cast(delta, value.dtype)
        return value

    logits = choose_output(model, _forward(model, inputs, replace), explained.output)
    return ops.cast(logits, "float32"), seen["activation"]


def _leads_to_output(model, inputs, explained):
    """Whether the logits are computed from the layer's output. Where they are, the gradient may be 0 all the same."""
    zero = ops.zeros((count(inputs), *explained.shape[1:]), "float32")
    return depends_on(lambda delta: _with_added(model, inputs, explained, delta)[0], zero)


def _before_activation(layer, compute, first):
    """What a layer that ends in an activation returns without it; `first` is its input."""
    if isinstance(layer, keras.layers.Activation | keras.layers.Softmax):
        return first
    with _replaced(layer, "activation", activations.linear):
        return compute()
