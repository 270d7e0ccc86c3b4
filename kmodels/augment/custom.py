"""Augmentation of your own: a Keras layer, a function of images, or a list of these and of policies' names."""

import contextlib
import inspect
import random

import keras
import numpy as np

from kmodels.augment.mixing import Mixing
from kmodels.errors import InputError, not_copied, require
from kmodels.models.graph import layers_within


class TrainingOnly(keras.layers.Layer):
    """Changes images while training, and leaves them as they are elsewhere; takes and returns them in float32.

    A function may update variables that belong to no layer, as the state of its SeedGenerator. On JAX, Keras would lose
    the update after every step, and no checkpoint would have it. So the layer has copies of these variables, which the
    function uses in their place.

    Args:
        change: a Keras layer, or a function from images (batch, height, width, channels) to images of the same shape,
            written with keras.ops.
        seed: of all random numbers of Keras, whatever their generators started from.
    """

    def __init__(self, change, seed, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.change, self._seed = change, seed
        self._takes_training = isinstance(change, keras.layers.Layer) and "training" in _parameters(change.call)

    def build(self, input_shape):
        inner = []
        if isinstance(self.change, keras.layers.Layer):
            if not self.change.built:
                self.change.build(input_shape)
            inner = self.change.variables
        originals = self._updated(inner, input_shape)
        self.copies = [_copy_of(variable) for variable in originals]
        # Past Keras, which would take the originals for variables of this layer.
        object.__setattr__(self, "_originals", originals)
        reseed(self, self._seed)

    def call(self, images, training=False):
        if not training:
            return images
        if not self._originals:
            return self._changed(images)
        # The scope hides the one of the step, which on JAX has the values of all variables.
        same = [(variable, variable) for variable in self.variables]
        pairs = [*same, *zip(self._originals, map(_variable, self.copies), strict=True)]
        with keras.StatelessScope(pairs) as scope:
            changed = self._changed(images)
        for original, variable in pairs:
            variable.assign(scope.get_current_value(original))
        return changed

    def _updated(self, known, input_shape):
        """The variables besides those known that a call updates."""
        with _Updates() as scope:
            self._changed(keras.ops.zeros((2, *input_shape[1:]), "float32"))
        for variable in known:
            scope.updated.pop(id(variable), None)
        return list(scope.updated.values())

    def _changed(self, images):
        with _same_when_compiled(self._seed):
            changed = self.change(images, training=True) if self._takes_training else self.change(images)
        require(
            tuple(changed.shape[1:]) == tuple(images.shape[1:]),
            f"augmentation {describe(self.change)} must return images of the shape it was given, {images.shape[1:]}",
            tuple(changed.shape[1:]),
        )
        return keras.ops.cast(changed, images.dtype)


@contextlib.contextmanager
def _same_when_compiled(seed):
    """Starts the generators of Python and NumPy from a seed inside, where steps are compiled: not on PyTorch.

    What they draw is then a constant of the step. JAX compiles a step again in a later epoch, and a resumed training
    does: it must be the same constant.
    """
    if keras.backend.backend() == "torch":
        yield
        return
    states = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


class _Updates(keras.StatelessScope):
    """A scope in which no variable changes; `updated` has those that would have, by id."""

    def __init__(self):
        super().__init__()
        self.updated = {}

    def add_update(self, update):
        self.updated[id(update[0])] = update[0]
        super().add_update(update)


def _copy_of(variable):
    if _is_seed(variable):
        return keras.random.SeedGenerator(0)
    return keras.Variable(keras.ops.convert_to_numpy(variable), dtype=variable.dtype, trainable=False)


def _variable(copy):
    return copy.state if isinstance(copy, keras.random.SeedGenerator) else copy


def _is_seed(variable):
    return variable.path.endswith("seed_generator_state")


def custom_layer(change, seed):
    """The layer of an augmentation of the user's: TrainingOnly, but for kmodels' own that mix images, a copy.

    Args:
        change: a Keras layer, of which a copy is used that computes in float32, or a function; see TrainingOnly.
        seed: of the random numbers.

    Raises:
        InputError: for anything else, for layers that mix images and leave the labels as they are, and for layers that
            cannot be copied.
    """
    if isinstance(change, keras.layers.Layer):
        _check_mixing(change)
        copy = _copy_of_layer(change)
        for inner in layers_within(copy):
            inner.dtype_policy = "float32"
        # The loss finds the layer that mixes among those of the augmentation.
        if not isinstance(copy, Mixing):
            return TrainingOnly(copy, seed)
        reseed(copy, seed)
        return copy
    if callable(change) and not inspect.isclass(change):
        return TrainingOnly(change, seed)
    raise InputError(
        "augmentation must be the name of a policy, a Keras layer, a function from images to images, or a list of "
        f"these. Received: {change!r}"
    )


def _copy_of_layer(layer):
    try:
        return type(layer).from_config(layer.get_config())
    except Exception as error:
        raise not_copied("augmentation", layer, error) from error


def _check_mixing(layer):
    """Refuses layers that mix images where the loss does not see it, so that labels would stay as they are."""
    for inner in layers_within(layer):
        name = type(inner).__name__
        rule = f"augmentation must not have keras.layers.{name}, which mixes images and not their labels here; "
        rule += f"use {name.lower()!r}, which mixes both"
        require(not isinstance(inner, keras.layers.MixUp | keras.layers.CutMix), rule, describe(layer))
        rule = f"a layer that mixes images must be an item of the augmentation list; {describe(inner)} is inside one"
        require(inner is layer or not isinstance(inner, Mixing), rule, describe(layer))


def from_component(reference, function):
    """The augmentation that "module:function" names, as an argument of `build_augmentation`.

    Args:
        reference: the name, for messages.
        function: a function of images; or one without required arguments, or a class, that returns a Keras layer, a
            function of images or a list of these; or a Keras layer.
    """
    if isinstance(function, keras.layers.Layer):
        return function
    required = [p for p in _parameters(function).values() if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
    if inspect.isclass(function) or not required:
        require(not required, f"augmentation {reference} must need no arguments", [p.name for p in required])
        return function()
    return function


def reseed(layer, seed):
    """Makes the random numbers of a layer, and of those inside it, follow a seed."""
    number = 0
    for variable in layer.variables:
        if _is_seed(variable):
            variable.assign([(seed + number) % 2**31, 0])
            number += 1


def describe(change):
    """The name of a layer or function."""
    return getattr(change, "name", None) or getattr(change, "__name__", repr(change))


def _parameters(function):
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
