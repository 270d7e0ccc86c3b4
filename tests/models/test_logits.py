"""Logits of networks that end in softmax or sigmoid: right values, and the very same variables."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmodels import Dataset, InputError, build_model, train
from kmodels.analysis import predict_logits
from kmodels.models.logits import last_dense, logits_network, looks_like_probabilities


def images(n=5):
    return np.random.default_rng(0).uniform(0, 1, (n, 8, 8, 3)).astype("float32")


def assert_close(received, expected):
    np.testing.assert_allclose(ops.convert_to_numpy(received), ops.convert_to_numpy(expected), atol=1e-6)


def functional(*end):
    image = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(image))
    for layer in end:
        x = layer(x)
    return keras.Model(image, x, name="network")


def sequential(*end):
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), *end])


def nested(*end):
    image = keras.Input((8, 8, 3))
    return keras.Model(image, functional(*end)(layers.Rescaling(2.0)(image), training=False))


def shared(*end):
    """The same nested model was first called in another network, and is compiled."""
    inner = sequential(*end)
    other, image = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    keras.Model(other, inner(layers.Rescaling(2.0)(other)))
    network = keras.Model(image, inner(image))
    network.compile("adam", "categorical_crossentropy")
    return network


ENDS = {
    "dense": lambda: [layers.Dense(3, activation="softmax")],
    "no bias": lambda: [layers.Dense(3, activation="softmax", use_bias=False)],
    "operation": lambda: [layers.Dense(3, activation=ops.softmax)],
    "activation": lambda: [layers.Dense(3), layers.Activation("softmax")],
    "softmax": lambda: [layers.Dense(3), layers.Softmax()],
    "dropout": lambda: [layers.Dense(3, activation="softmax"), layers.Dropout(0.5)],
    "linear": lambda: [layers.Dense(3, activation="softmax"), layers.Activation("linear"), layers.Identity()],
}


@pytest.mark.parametrize("build", [functional, sequential, nested, shared])
@pytest.mark.parametrize("end", ENDS)
def test_softmax_of_the_logits_is_the_output_and_variables_are_the_same(build, end):
    network = build(*ENDS[end]())
    logits = logits_network(network, 3)
    assert_close(ops.softmax(logits(images())), network(images()))
    assert not looks_like_probabilities(ops.convert_to_numpy(logits(images())))
    assert {id(v) for v in logits.variables} == {id(v) for v in network.variables}
    assert not logits.compiled


@pytest.mark.parametrize("end", [[layers.Dense(1)], [layers.Dense(1, activation="sigmoid")]], ids=["logit", "sigmoid"])
def test_one_unit_for_two_classes(end):
    network = functional(*end)
    logits = logits_network(network, 2)
    positive = network(images()) if end[0].activation is keras.activations.sigmoid else ops.sigmoid(network(images()))
    assert_close(ops.softmax(logits(images()))[:, 1:], positive)
    assert logits.output_shape == (None, 2)


CLASSIFIERS = ENDS | {
    "logits": lambda: [layers.Dense(3)],
    "log_softmax": lambda: [layers.Dense(3), layers.Activation("log_softmax")],
    "dropout before": lambda: [layers.Dropout(0.5), layers.Dense(3)],
    "layers before": lambda: [layers.Dense(5), layers.BatchNormalization(), layers.ReLU(), layers.Dense(3)],
    "operation after": lambda: [layers.Dense(3), ops.softmax],
}


@pytest.mark.parametrize("build", [functional, sequential, nested, shared])
@pytest.mark.parametrize("end", CLASSIFIERS)
def test_the_classifier_is_the_dense_layer_that_the_logits_come_from(build, end):
    if end == "operation after" and build in (sequential, shared):
        pytest.skip("a Sequential network has layers only")
    network = build(*CLASSIFIERS[end]())
    layer, features = last_dense(network)
    kernel, *bias = map(ops.convert_to_numpy, layer.weights)
    logits = predict_logits(features, images()) @ kernel + sum(bias)
    assert_close(ops.softmax(logits), ops.softmax(predict_logits(network, images())))
    layer.set_weights([0 * kernel, *bias])
    assert np.ptp(predict_logits(network, images()), axis=0).max() == 0


OTHER_ENDS = {
    "no layer": lambda: [layers.Activation("softmax")],
    "norm": lambda: [layers.Dense(3), layers.BatchNormalization()],
    "own": lambda: [OwnDense(3)],
    "relu": lambda: [layers.Dense(3, activation="relu")],
    "softmax twice": lambda: [layers.Dense(3, activation="softmax"), layers.Softmax()],
}


@pytest.mark.parametrize("end", OTHER_ENDS)
def test_a_network_whose_logits_are_not_those_of_a_dense_layer_has_no_classifier(end):
    for build in (functional, nested):
        assert last_dense(build(*OTHER_ENDS[end]())) is None
    image = keras.Input((8, 8, 3))
    assert last_dense(keras.Model(image, [functional(layers.Dense(3))(image)] * 2)) is None


OPERATIONS = {
    "ops.softmax": (3, ops.softmax),
    "activations.softmax": (3, keras.activations.softmax),
    "ops.log_softmax": (3, ops.log_softmax),
    "ops.sigmoid": (1, ops.sigmoid),
    "dropout": (1, lambda x: layers.Dropout(0.5)(ops.sigmoid(x))),
}


@pytest.mark.parametrize("end", OPERATIONS)
def test_an_operation_at_the_end_is_left_out_like_a_layer(end):
    units, operation = OPERATIONS[end]
    network = outputs_of(operation, units)
    probabilities = ops.softmax(logits_network(network, max(units, 2), images())(images()))
    outputs = network(images())
    if end == "ops.log_softmax":
        outputs = ops.exp(outputs)
    assert_close(probabilities if units > 1 else probabilities[:, 1:], outputs)


@pytest.mark.parametrize("end", [lambda: layers.Dense(3, activation="sigmoid"), lambda: layers.Activation("sigmoid")])
def test_a_network_for_several_classes_at_once_is_refused(end):
    for build in (functional, nested):
        with pytest.raises(InputError, match=r"must be of one class.*Received: a sigmoid for each of 3 classes"):
            logits_network(build(layers.Dense(3), end()), 3)


class OwnDense(layers.Dense):
    pass


class Flipped(keras.Model):
    """A functional network that computes another thing than its graph."""

    def call(self, inputs, training=None, mask=None):
        return ops.flip(super().call(inputs, training=training), axis=-1)


def flipped(*end):
    network = functional(*end)
    return keras.Sequential([keras.Input((8, 8, 3)), Flipped(network.inputs[0], network.outputs[0])])


# Ends that compute probabilities; the number of units.
HIDDEN = {
    "sigmoid of a subclass": (1, lambda: functional(OwnDense(1, activation="sigmoid"))),
    "sigmoid and more": (1, lambda: outputs_of(lambda x: 1 - layers.Activation("sigmoid")(x), 1)),
    "sigmoid in a model": (1, lambda: sequential(Subclassed(1, "sigmoid"))),
    "sigmoid in a call": (1, lambda: flipped(layers.Dense(1, activation="sigmoid"))),
    "softmax of a subclass": (3, lambda: functional(OwnDense(3, activation="softmax"))),
    "softmax of EinsumDense": (3, lambda: functional(layers.EinsumDense("ab,bc->ac", 3, activation="softmax"))),
    "softmax and more": (3, lambda: outputs_of(lambda x: ops.flip(ops.softmax(x), axis=-1))),
    "softmax of half precision": (3, lambda: sequential(Subclassed(3, "softmax", dtype="mixed_bfloat16"))),
    "softmax in a call": (3, lambda: flipped(layers.Dense(3, activation="softmax"))),
    "dropout of a prediction": (3, lambda: outputs_of(lambda x: layers.Dropout(0.0)(ops.softmax(x), training=True))),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_probabilities_of_a_hidden_end_are_refused(name):
    units, build = HIDDEN[name]
    with pytest.raises(InputError, match=r"softmax or sigmoid that can be seen.*look like probabilities"):
        logits_network(build(), max(units, 2), images())


def test_a_hidden_layer_that_begins_with_zeros_ends_in_logits():
    network = functional(OwnDense(1, kernel_initializer="zeros"))
    assert logits_network(network, 2, images()).output_shape == (None, 2)


@pytest.mark.parametrize(("units", "mean", "spread"), [(1, 0.5, 0.1), (3, 1 / 3, 0.003)])
def test_logits_of_a_hidden_end_are_not_mistaken_for_probabilities(units, mean, spread):
    # Those of a new network may all be between 0 and 1, and have a sum of 1.
    small = keras.initializers.RandomNormal(0, spread, seed=0)
    start = {"kernel_initializer": small, "bias_initializer": keras.initializers.Constant(mean)}
    for network in (functional(OwnDense(units, **start)), sequential(Subclassed(units, None, **start))):
        assert looks_like_probabilities(ops.convert_to_numpy(network(images())))
        assert logits_network(network, max(units, 2), images()).output_shape == (None, max(units, 2))


def test_an_activity_regularizer_of_an_end_that_is_left_out_is_refused():
    regularised = {"activity_regularizer": keras.regularizers.L2(0.1)}
    for end in (
        [layers.Dense(3, activation="softmax", **regularised)],
        [layers.Dense(3), layers.Activation("softmax", **regularised)],
    ):
        for build in (functional, nested):
            with pytest.raises(InputError, match=r"activity_regularizer at the end .* Received: '(dense|activation)"):
                logits_network(build(*end), 3)
    network = functional(layers.Dense(3, **regularised))
    assert logits_network(network, 3) is network


def test_logits_stay_as_they_are():
    for network in (
        build_model("conv_net", (16, 16, 3), 3),
        functional(layers.Dense(3)),
        functional(layers.Dense(3, activation="log_softmax")),
        nested(layers.Dense(3)),
        sequential(layers.Dense(3), layers.Dropout(0.5)),
    ):
        assert logits_network(network, 3) is network


def test_training_the_logits_trains_the_network_as_its_probabilities_would():
    network = functional(layers.Dense(3, activation="softmax"))
    network.layers[1].trainable = False
    twin = keras.models.clone_model(network)
    twin.set_weights(network.get_weights())
    before = twin.get_weights()
    for model, from_logits in ((logits_network(network, 3), True), (twin, False)):
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits))
        model.fit(images(), np.arange(5) % 3, verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True)]
    assert changed == [False, False, True, True]
    for ours, theirs in zip(network.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_frozen_classifier_stays_frozen():
    network = functional(layers.Dense(3, activation="softmax"))
    network.layers[-1].trainable = False
    assert len(logits_network(network, 3).trainable_variables) == 2


def test_half_precision_stays_what_it_is():
    half = functional(layers.Dense(3, activation="softmax", dtype="mixed_bfloat16"))
    assert keras.backend.standardize_dtype(logits_network(half, 3)(images()).dtype) == "bfloat16"
    mixed = functional(layers.Dense(3, dtype="mixed_bfloat16"), layers.Activation("softmax", dtype="float32"))
    assert keras.backend.standardize_dtype(logits_network(mixed, 3)(images()).dtype) == "float32"


def test_an_activation_shared_with_the_middle_stays_there():
    image, softmax = keras.Input((8, 8, 3)), layers.Activation("softmax")
    x = layers.GlobalAveragePooling2D()(softmax(layers.Conv2D(3, 3)(image)))
    network = keras.Model(image, softmax(x))
    assert_close(ops.softmax(logits_network(network, 3)(images())), network(images()))


def test_a_network_of_keras_applications():
    network = keras.applications.MobileNet(weights=None, input_shape=(32, 32, 3), classes=3, alpha=0.25)
    logits = logits_network(network, 3)
    assert logits.layers[-1].activation is keras.activations.linear
    assert {id(v) for v in logits.variables} == {id(v) for v in network.variables}


class Subclassed(keras.Model):
    def __init__(self, units=3, activation="softmax", dtype=None, **options):
        super().__init__(dtype=dtype)
        self.flatten, self.classify = layers.Flatten(), layers.Dense(units, activation, dtype=dtype, **options)

    def call(self, inputs):
        return self.classify(self.flatten(inputs))


def test_the_end_of_a_subclassed_network_is_not_visible_but_its_outputs_are():
    network = Subclassed()
    with pytest.raises(InputError, match="call it once"):
        logits_network(network, 3)
    outputs = ops.convert_to_numpy(network(images()))
    assert logits_network(network, 3) is network
    assert looks_like_probabilities(outputs)
    assert looks_like_probabilities(outputs[:1])
    assert looks_like_probabilities(outputs[:, :1])
    assert not looks_like_probabilities(outputs * 1.05)
    assert not looks_like_probabilities(outputs[:, :1] - 1)
    assert not looks_like_probabilities(np.full((2, 3), np.nan))


def own_graph(*end):
    network = functional(*end)
    return Flipped(network.inputs[0], network.outputs[0])


@pytest.mark.parametrize("build", [lambda: Subclassed(3, None), lambda: own_graph(layers.Dense(3))])
def test_a_network_with_a_call_of_its_own_is_trained_inside_another_one(build):
    network = build()
    network(images())
    dataset = Dataset.from_arrays((images(60), np.arange(60) % 3))
    with pytest.raises(InputError, match=r"give keras.Sequential\(\[keras.Input\(\(8, 8, 3\)\), network\]\)"):
        train(network, dataset, epochs=1, verbose=0)
    before = [ops.convert_to_numpy(weight) for weight in network.weights]
    wrapped = keras.Sequential([keras.Input((8, 8, 3)), network])
    fitted = train(wrapped, dataset, epochs=1, batch_size=16, verbose=0)
    assert not np.array_equal(before[0], ops.convert_to_numpy(network.weights[0]))
    assert_close(fitted.logits(dataset.val), network(dataset.val.images))


def two_inputs():
    image, more = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    return keras.Model([image, more], layers.Dense(3)(layers.Flatten()(layers.Add()([image, more]))))


def outputs_of(make, units=3):
    image = keras.Input((8, 8, 3))
    return keras.Model(image, make(layers.Dense(units)(layers.Flatten()(image))))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: "network", "network must be a keras.Model. Received: 'network'"),
        (two_inputs, "must have one input, images"),
        (
            lambda: keras.Sequential([keras.Input((8, 3)), layers.Flatten(), layers.Dense(3)]),
            "must have one input, images",
        ),
        (lambda: outputs_of(lambda x: [x, x]), "must have one output"),
        (lambda: outputs_of(lambda x: {"a": x}), r"must have one output.*Received: \['a'\]"),
        (lambda: keras.Sequential([keras.Input((8, 8, 3)), layers.Dense(3)]), r"output must be \(batch, classes\)"),
        (lambda: functional(layers.Dense(4)), "each of the 3 classes.*Received: 4"),
        (lambda: functional(layers.Dense(1)), "each of the 3 classes.*Received: 1"),
        (lambda: keras.Sequential([layers.Flatten(), layers.Dense(3)]), "call it once"),
        (lambda: functional(layers.Dense(3, activation="relu")), "remove the activation.*Received: relu"),
        (lambda: functional(layers.Dense(3), layers.Activation("tanh")), "remove the activation.*Received: tanh"),
        (lambda: functional(layers.Dense(3), layers.LeakyReLU()), "remove the activation.*Received: LeakyReLU"),
        (lambda: nested(layers.Dense(3, activation="tanh")), "remove the activation.*Received: tanh"),
    ],
)
def test_what_has_no_logits_is_refused(build, message):
    with pytest.raises(InputError, match=message):
        logits_network(build(), 3)


def test_softmax_over_one_unit_is_refused():
    with pytest.raises(InputError, match="it is always 1"):
        logits_network(functional(layers.Dense(1), layers.Softmax()), 2)
