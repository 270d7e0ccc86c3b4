"""find_learning_rate: what it suggests, what it says where it cannot, and that it leaves everything as it was."""

import re

import keras
import numpy as np
import pytest

from kmodels import Dataset, InputError, build_model, find_learning_rate, load_dataset
from kmodels.data.order import epoch_order


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits", image_size=8)


def network(dropout=0.0, frozen=()):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Dense(32, name="hidden")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dropout(dropout)(keras.layers.ReLU()(x))
    model = keras.Model(image, keras.layers.Dense(10, name="logits")(x))
    for name in frozen:
        model.get_layer(name).trainable = False
    return model


def values(model):
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in model.variables]


@pytest.mark.parametrize(
    ("optimizer", "momentum", "least", "most"),
    # Three epochs are best at 0.01 to 0.03 (validation accuracy 0.96), and at 0.03 to 0.1 (0.96).
    [("adam", 0.0, 1e-3, 1e-1), ("sgd", 0.9, 1e-2, 1e-0)],
)
def test_the_suggestion_is_within_a_decade_of_what_trains_best(digits, optimizer, momentum, least, most):
    found = find_learning_rate(network(), digits, batch_size=32, optimizer=optimizer, momentum=momentum)
    assert found.reason is None
    assert least < found.suggestion < most
    assert found.suggestion in found.rates


def test_the_network_stays_as_it_was_and_the_seed_decides(digits):
    model = network(dropout=0.3)
    before = values(model)
    first = find_learning_rate(model, digits, steps=30, batch_size=16, augmentation="crop")
    assert all(map(np.array_equal, values(model), before))
    assert find_learning_rate(model, digits, steps=30, batch_size=16, augmentation="crop") == first
    assert find_learning_rate(model, digits, steps=30, batch_size=16, augmentation="crop", seed=1) != first
    assert find_learning_rate(model, digits, steps=30, batch_size=16).losses != first.losses


def test_an_interrupt_leaves_the_network_as_it_was_too(digits, monkeypatch):
    from kmodels import learning_rate

    def interrupt(self, batch, logs=None):
        if batch == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(learning_rate._Losses, "on_train_batch_end", interrupt)
    model = network()
    before = values(model)
    with pytest.raises(KeyboardInterrupt):
        find_learning_rate(model, digits, lowest=0.1, steps=30)
    assert all(map(np.array_equal, values(model), before))


def test_losses_are_those_of_the_batches_in_the_order_of_as_many_epochs_as_needed():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, (50, 8, 8, 3)).astype(np.uint8), np.arange(50) % 10
    dataset = Dataset.from_arrays(train=(images, labels), val=(images, labels), test=(images, labels))
    model = network(frozen=["norm"])
    # Rates that change nothing.
    found = find_learning_rate(model, dataset, lowest=1e-20, highest=1e-19, steps=7, batch_size=16, seed=3)
    expected = []
    for epoch in range(3):
        order = epoch_order(labels, 3, epoch)
        for start in (0, 16, 32):
            chosen = order[start : start + 16]
            logits = keras.ops.convert_to_tensor(model.predict_on_batch(images[chosen]))
            loss = keras.losses.sparse_categorical_crossentropy(labels[chosen], logits, from_logits=True)
            expected.append(float(keras.ops.convert_to_numpy(keras.ops.mean(loss))))
    assert found.losses == pytest.approx(expected[:7], rel=1e-4)
    # Fewer images than a batch are one batch.
    whole = find_learning_rate(model, dataset, lowest=1e-20, highest=1e-19, steps=3, batch_size=64)
    assert whole.losses == pytest.approx([np.mean(whole.losses)] * 3, rel=1e-4)
    assert found.rates == pytest.approx(np.geomspace(1e-20, 1e-19, 7))


def test_each_step_has_its_rate(digits):
    # With one weight and SGD, the losses say which rates the steps had: a decay of each step by its rate.
    class Bias(keras.layers.Layer):
        def build(self, shape):
            self.bias = self.add_weight(shape=(2,), initializer="zeros")

        def call(self, x):
            return keras.ops.zeros_like(x[:, 0, 0, :2]) + self.bias

    image = keras.Input((8, 8, 3))
    model = keras.Model(image, Bias()(image))
    images = np.zeros((8, 8, 8, 3), np.uint8)
    labels = np.array([0, 0, 0, 0, 0, 0, 0, 1])
    dataset = Dataset.from_arrays(train=(images, labels), val=(images, labels), test=(images, labels))
    found = find_learning_rate(model, dataset, lowest=0.01, highest=1.0, steps=5, batch_size=8, optimizer="sgd")
    bias, expected = np.zeros(2), []
    for rate in np.geomspace(0.01, 1, 5):
        shares = np.exp(bias) / np.exp(bias).sum()
        expected.append(-(7 * np.log(shares[0]) + np.log(shares[1])) / 8)
        bias -= rate * (shares - [7 / 8, 1 / 8])
    assert found.losses == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"steps": 10}, "10 steps are too few; at least 20"),
        ({"highest": 1e-6}, "never fell.*end higher than 1e-06"),
        ({"highest": 3e-3}, "still falling at the highest learning rate, 0.003"),
        ({"lowest": 1e-2, "highest": 1e4}, "fell from the first step on; begin lower than 0.01"),
        ({"lowest": 1e6, "highest": 1e7, "optimizer": "sgd"}, "diverged at once, after . steps"),
    ],
)
def test_where_nothing_can_be_suggested_it_says_why(digits, settings, reason):
    found = find_learning_rate(network(), digits, **{"steps": 40, "batch_size": 64, **settings})
    assert found.suggestion is None
    assert re.search(reason, found.reason)


def test_frozen_layers_stay_and_the_others_are_tested(digits):
    assert find_learning_rate(network(frozen=["hidden", "norm"]), digits, batch_size=64).suggestion > 1e-4
    with pytest.raises(InputError, match="all of them are frozen"):
        find_learning_rate(network(frozen=["hidden", "norm", "logits"]), digits)


def test_a_keras_optimizer_with_a_schedule_is_copied(digits):
    given = keras.optimizers.Lion(keras.optimizers.schedules.CosineDecay(1e-3, 5))
    found = find_learning_rate(network(), digits, optimizer=given, steps=60, batch_size=64)
    assert not given.built
    assert 1e-5 < found.suggestion < 1e-1


def test_a_loss_that_is_no_number_ends_the_test(digits, nan_loss):
    found = find_learning_rate(network(), digits, steps=30, batch_size=64)
    assert len(found.losses) == 1
    assert "diverged at once" in found.reason


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lowest": 0}, "lowest must be a number above 0"),
        ({"lowest": "a"}, r"lowest must be a number above 0.*Received: \('a', 10.0\)"),
        ({"lowest": 1, "highest": 0.1}, "highest a number above lowest"),
        ({"steps": 0}, "steps must be an integer of at least 1"),
        ({"optimizer": "adamm"}, "did you mean adam"),
        ({"optimizer": keras.optimizers.Lion(), "momentum": 0.9}, "momentum must be left out"),
    ],
)
def test_what_is_wrong_is_named(digits, settings, message):
    with pytest.raises(InputError, match=message):
        find_learning_rate(network(), digits, **settings)


def test_arrays_are_no_dataset(digits):
    with pytest.raises(InputError, match=r"dataset must be a kmodels\.Dataset; Dataset\.from_arrays"):
        find_learning_rate(network(), (digits.train.images, digits.train.labels))


def test_a_model_of_ours_can_be_tested_by_its_name(digits):
    model = build_model("mlp", digits.image_shape, 10)
    assert 1e-5 < find_learning_rate(model, digits, batch_size=64).suggestion < 1
