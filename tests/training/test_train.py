"""train: anyone's network, data, augmentation, optimizer, callbacks and metrics."""

import itertools
import random
import re

import keras
import numpy as np
import pytest

from kmodels import Dataset, InputError, build_model, load_dataset, train
from kmodels.training import checkpoint


def images_and_labels(n, classes=3, side=8, channels=3, seed=0):
    """Noise with a bright row, whose number is the label: learnt in a few steps."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    images = rng.integers(0, 60, (n, side, side, channels))
    images[np.arange(n), labels] += 190
    return images.astype(np.uint8), labels


@pytest.fixture(scope="module")
def dataset():
    return Dataset.from_arrays(
        train=images_and_labels(96), val=images_and_labels(30, seed=1), test=images_and_labels(30, seed=2)
    )


def tiny(units=3, activation=None, shape=(8, 8, 3), dropout=0.0):
    keras.utils.set_random_seed(0)
    image = keras.Input(shape)
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Flatten()(x)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return keras.Model(image, keras.layers.Dense(units, activation=activation, name="end")(x))


def test_a_network_learns_and_says_what_came_out(dataset):
    network = tiny()
    before = network.get_weights()
    fitted = train(network, dataset, epochs=20, batch_size=16, learning_rate=0.01, verbose=0)
    assert fitted.network is network
    assert not np.array_equal(network.get_weights()[0], before[0])
    assert set(fitted.history) == {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"}
    assert len(fitted.history["loss"]) == 20
    assert fitted.best_epoch == 1 + int(np.argmin(fitted.history["val_loss"]))
    evaluation = fitted.evaluate(dataset.val)
    assert evaluation.loss == pytest.approx(min(fitted.history["val_loss"]), rel=1e-4)
    assert fitted.evaluate((dataset.test.images, dataset.test.labels)) == fitted.evaluate(dataset.test)
    predictions = network.predict(dataset.test.images, verbose=0).argmax(axis=1)
    assert fitted.evaluate(dataset.test).accuracy == pytest.approx(np.mean(predictions == dataset.test.labels))
    assert fitted.evaluate(dataset.test).accuracy > 0.9
    assert fitted.train_seconds > 0
    assert not fitted.diverged


def test_an_end_in_probabilities_is_trained_on_its_logits_and_stays(dataset):
    plain, ended = tiny(), tiny(activation="softmax")
    settings = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01, "verbose": 0}
    expected, fitted = train(plain, dataset, **settings), train(ended, dataset, **settings)
    assert fitted.history["loss"] == pytest.approx(expected.history["loss"], rel=1e-5)
    assert fitted.evaluate(dataset.test).loss == pytest.approx(expected.evaluate(dataset.test).loss, rel=1e-5)
    outputs = ended.predict(dataset.test.images, verbose=0)
    assert outputs.min() >= 0
    assert outputs.max() <= 1
    assert ended.get_layer("end").activation.__name__ == "softmax"


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_one_unit_stands_for_two_classes(activation):
    dataset = Dataset.from_arrays(train=images_and_labels(80, classes=2), test=images_and_labels(30, 2, seed=1))
    network = tiny(units=1, activation=activation)
    fitted = train(network, dataset, epochs=20, batch_size=16, learning_rate=0.01, verbose=0)
    evaluation = fitted.evaluate(dataset.test)
    outputs = network.predict(dataset.test.images, verbose=0)[:, 0]
    threshold = 0.5 if activation else 0
    assert evaluation.accuracy == pytest.approx(np.mean((outputs > threshold) == dataset.test.labels))
    assert evaluation.accuracy > 0.9


def test_probabilities_whose_end_cannot_be_seen_are_refused(dataset):
    class Hidden(keras.layers.Layer):
        def call(self, x):
            return keras.ops.softmax(keras.ops.sum(x, axis=(1, 2)))

    image = keras.Input((8, 8, 3))
    with pytest.raises(InputError, match="outputs that look like probabilities"):
        train(keras.Model(image, Hidden()(keras.layers.Conv2D(3, 1)(image))), dataset, verbose=0)


class OwnStep(keras.Model):
    def train_step(self, *arguments):
        return super().train_step(*arguments)


class OwnLoss(keras.Model):
    def compute_loss(self, *arguments, **options):
        return super().compute_loss(*arguments, **options)


@pytest.mark.parametrize(("kind", "name"), [(OwnStep, "train_step"), (OwnLoss, "compute_loss")])
def test_a_training_step_or_loss_that_would_not_be_used_is_refused(dataset, kind, name):
    network = tiny()
    own = kind(network.inputs[0], network.outputs[0])
    with pytest.raises(InputError, match=rf"cross entropy.* give keras.Sequential\(.*Received: '{name}'"):
        train(own, dataset, verbose=0)
    nested = keras.Sequential([keras.Input((8, 8, 3)), own])
    settings = {"epochs": 1, "batch_size": 16, "verbose": 0}
    assert train(nested, dataset, **settings).history["loss"] == train(tiny(), dataset, **settings).history["loss"]


def test_a_network_of_which_nothing_trains_is_refused(dataset):
    frozen = tiny()
    frozen.trainable = False
    without = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D()])
    for network in (frozen, without):
        with pytest.raises(InputError, match="must have layers that train; it has none, or all of them are frozen"):
            train(network, dataset)


@pytest.mark.parametrize("layer", [keras.layers.Conv2D, keras.layers.BatchNormalization, keras.layers.Dropout])
def test_an_activity_regularizer_is_part_of_the_loss(dataset, layer):
    options = {keras.layers.Conv2D: {"filters": 3, "kernel_size": 1}, keras.layers.Dropout: {"rate": 0.5}}
    penalty = keras.regularizers.L2(100.0)
    image = keras.Input((8, 8, 3))
    x = layer(activity_regularizer=penalty, **options.get(layer, {}))(keras.layers.Rescaling(1 / 255)(image))
    network = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    fitted = train(network, dataset, epochs=1, batch_size=16, learning_rate=1e-9, verbose=0)
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    expected = network.evaluate(dataset.val.images, dataset.val.labels, batch_size=30, verbose=0)
    assert expected > 100
    assert fitted.history["val_loss"][0] == pytest.approx(expected, rel=1e-3)


class Invert(keras.layers.Layer):
    """A deterministic augmentation layer that knows no `training`."""

    def call(self, images):
        return 255.0 - images


def shift(images):
    return keras.ops.roll(images, 1, axis=2)


def halve(images):
    return images[:, :4]


@pytest.mark.parametrize("augmentation", [Invert(), shift, [Invert(), shift, "flip"], keras.layers.RandomFlip(seed=3)])
def test_an_augmentation_of_ones_own_changes_training_images_only(dataset, augmentation):
    settings = {"epochs": 2, "batch_size": 16, "learning_rate": 0.001, "verbose": 0}
    plain = train(tiny(), dataset, **settings)
    fitted = train(tiny(), dataset, augmentation=augmentation, **settings)
    assert fitted.history["loss"] != plain.history["loss"]
    again = train(tiny(), dataset, augmentation=augmentation, **settings)
    assert again.history["loss"] == fitted.history["loss"]
    assert fitted.evaluate(dataset.val).loss == pytest.approx(min(fitted.history["val_loss"]), rel=1e-4)


class Darken:
    """Scales all images of a batch by one random factor; its generator belongs to no layer."""

    def __init__(self):
        self.generator = keras.random.SeedGenerator(5)

    def __call__(self, images):
        return images * keras.random.uniform((), seed=self.generator)


def darken_by_closure():
    generator = keras.random.SeedGenerator(5)
    return lambda images: images * keras.random.uniform((), seed=generator)


class DarkenLayer(keras.layers.Layer):
    """A layer with random numbers of its own (for some noise), that calls a function with others."""

    darken = staticmethod(darken_by_closure())

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.noise = keras.layers.GaussianNoise(1.0)

    def call(self, images, training=False):
        return self.noise(self.darken(images), training=training)


def darken_step_by_step():
    step = keras.Variable(0.0)

    def darken(images):
        step.assign_add(1)
        return images / step

    return darken


@pytest.mark.parametrize("make", [Darken, darken_by_closure, DarkenLayer, darken_step_by_step])
def test_variables_of_no_layer_change_from_step_to_step(dataset, make):
    """With all images in one step, of weights that do not change, only these variables make epochs differ."""
    settings = {"batch_size": 96, "optimizer": "sgd", "learning_rate": 1e-12, "verbose": 0}
    augmentation = make()

    def losses():
        return train(tiny(), dataset, augmentation=augmentation, epochs=4, **settings).history["loss"]

    first = losses()
    assert all(abs(one - other) > 1e-5 for one, other in itertools.combinations(first, 2))
    # A second training starts as the first did.
    assert losses() == first


@pytest.mark.parametrize("make", [lambda: keras.layers.RandomBrightness(0.5, seed=9), Darken, DarkenLayer])
def test_random_numbers_of_ones_own_augmentation_follow_the_seed(dataset, make):
    def losses(seed):
        return train(tiny(), dataset, augmentation=make(), epochs=1, seed=seed, verbose=0).history["loss"]

    assert losses(0) == losses(0)
    assert losses(0) != losses(1)


class Scale(keras.layers.Layer):
    """Has an argument that Keras cannot save, and no get_config."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, images):
        return self.function(images)


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        (halve, "images of the shape"),
        (Scale(halve), "augmentation Scale cannot be copied .* needs a get_config"),
        (3, "Received: 3"),
        ("flipp", "unknown augmentation 'flipp'; did you mean flip"),
    ],
)
def test_an_augmentation_that_cannot_be_used_is_refused(dataset, augmentation, message):
    with pytest.raises(InputError, match=message):
        train(tiny(), dataset, augmentation=augmentation, verbose=0)


def test_a_keras_optimizer_and_schedules(dataset):
    steps = 96 // 16
    optimizer = keras.optimizers.Lion(0.001)
    fitted = train(tiny(), dataset, epochs=4, batch_size=16, optimizer=optimizer, schedule="cosine", verbose=0)
    cosine = [0.001 * (1 + np.cos(np.pi * epoch / 4)) / 2 for epoch in range(1, 5)]
    assert fitted.history["learning_rate"] == pytest.approx(cosine, abs=1e-7)
    assert not optimizer.built
    warm = train(tiny(), dataset, epochs=3, batch_size=16, learning_rate=0.1, warmup_epochs=1, verbose=0)
    assert warm.history["learning_rate"] == pytest.approx([0.1, 0.1, 0.1])
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, steps, 0.5)
    own = train(tiny(), dataset, epochs=2, batch_size=16, schedule=decay, verbose=0)
    assert own.history["learning_rate"] == pytest.approx([0.05, 0.025])
    with pytest.raises(InputError, match="learning_rate must be left out"):
        train(tiny(), dataset, optimizer=keras.optimizers.Lion(), learning_rate=0.1)


def test_a_keras_optimizer_without_a_schedule(dataset):
    fitted = train(tiny(), dataset, epochs=2, batch_size=16, optimizer=keras.optimizers.AdamW(0.01), verbose=0)
    assert fitted.history["learning_rate"] == pytest.approx([0.01, 0.01])


def test_further_metrics_and_callbacks(dataset):
    epochs = []

    class Note(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            epochs.append((epoch, set(logs)))

    metric = keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")
    fitted = train(tiny(), dataset, epochs=2, metrics=[metric], callbacks=[Note()], verbose=0)
    assert [epoch for epoch, _ in epochs] == [0, 1]
    assert {"val_loss", "learning_rate", "seconds"} <= epochs[0][1]
    assert fitted.history["val_top2"][-1] >= fitted.history["val_accuracy"][-1]
    with pytest.raises(InputError, match=r"callbacks must be a list of keras\.callbacks\.Callback\. Received: 'Note'"):
        train(tiny(), dataset, callbacks=["Note"])


def test_no_callback_restores_other_weights_than_those_kept(dataset):
    # The loss as the best value would have the first epoch restored.
    stop = keras.callbacks.EarlyStopping("val_loss", mode="max", patience=9, restore_best_weights=True)
    fitted = train(tiny(), dataset, epochs=3, learning_rate=0.01, callbacks=stop, verbose=0)
    assert (fitted.best_epoch, stop.best_epoch) == (3, 0)
    assert fitted.evaluate(dataset.val).loss == pytest.approx(min(fitted.history["val_loss"]), rel=1e-4)
    with pytest.raises(InputError, match="must not have restore_best_weights=True where keep is 'last'"):
        train(tiny(), dataset, keep="last", callbacks=stop, verbose=0)


def test_callbacks_set_a_constant_learning_rate_and_monitor_what_is_measured(dataset):
    monitors = [CALLBACKS.EarlyStopping("val_top2", patience=9), CALLBACKS.EarlyStopping("mine", mode="max")]
    note = CALLBACKS.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(mine=1.0))
    callbacks = [SET_RATE, note, *monitors]
    history = train(tiny(), dataset, epochs=2, optimizer="sgd", metrics=TOP2, callbacks=callbacks, verbose=0).history
    assert history["learning_rate"] == pytest.approx([0.1, 0.05])


def test_callbacks_save_and_look_into_the_network_itself(dataset, tmp_path):
    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(np.asarray(self.model.get_layer("end").get_weights()[0]))

    seen, network = [], tiny()
    whole, weights = tmp_path / "whole.keras", tmp_path / "only.weights.h5"
    saving = [keras.callbacks.ModelCheckpoint(file, save_weights_only=file is weights) for file in (whole, weights)]
    train(network, dataset, epochs=2, augmentation="flip", callbacks=[*saving, Look()], keep="last", verbose=0)
    loaded = tiny()
    loaded.load_weights(weights)
    for saved in (keras.models.load_model(whole), loaded):
        for ours, expected in zip(saved.get_weights(), network.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(seen[1], network.get_weights()[0])
    assert not np.array_equal(*seen)


class Counter(keras.callbacks.Callback):
    """Has state of its own: an array and a number; ends training after `last` epochs."""

    def __init__(self, last=5):
        super().__init__()
        self.last = last

    def on_train_begin(self, logs=None):
        self.seen, self.total = np.zeros(2), 0

    def on_epoch_end(self, epoch, logs=None):
        self.total += 1
        self.seen[epoch % 2] += 1
        if self.total == self.last:
            self.model.stop_training = True

    def get_state(self):
        return {"seen": self.seen, "total": self.total}

    def set_state(self, state):
        self.seen, self.total = state["seen"], state["total"]


class StopAt(keras.callbacks.Callback):
    """Interrupts when an epoch begins; has no state."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        for thread in checkpoint.threading.enumerate():
            if thread.name == "checkpoint":
                thread.join()
        if epoch == self.epoch:
            raise KeyboardInterrupt


def test_a_resumed_training_ends_as_an_uninterrupted_one(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "COPY_EVERY", 0)
    monkeypatch.setattr(checkpoint, "WRITE_EVERY", 0)
    settings = {"epochs": 9, "batch_size": 16, "augmentation": "flip", "schedule": "cosine", "optimizer": "sgd"}
    settings |= {"learning_rate": 0.05, "momentum": 0.9, "seed": 4, "verbose": 0, "patience": 6, "monitor": "val_loss"}
    # It is interrupted within the warm-up.
    settings["warmup_epochs"] = 3

    def fit(counter, *others, **changes):
        network = tiny(dropout=0.3)
        return train(network, dataset, callbacks=[counter, *others], **{**settings, **changes})

    whole_counter, counter = Counter(), Counter()
    whole = fit(whole_counter)
    path = tmp_path / "training.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        fit(Counter(), StopAt(2), checkpoint=path)
    pieces = fit(counter, StopAt(-1), checkpoint=path, resume=True, verbose=2)
    printed = capsys.readouterr().out
    assert "resuming from epoch 3" in printed
    assert "StopAt; they start afresh" in printed
    for name in ("loss", "val_loss", "learning_rate"):
        assert pieces.history[name] == whole.history[name]
    assert len(whole.history["loss"]) == 5
    assert (counter.total, list(counter.seen)) == (5, list(whole_counter.seen))
    pairs = zip(pieces.network.get_weights(), whole.network.get_weights(), strict=True)
    assert all(np.array_equal(ours, theirs) for ours, theirs in pairs)
    # What has ended is not trained further.
    again = fit(Counter(), StopAt(-1), checkpoint=path, resume=True)
    assert again.history["loss"] == whole.history["loss"]
    with pytest.raises(InputError, match=r"other settings: seed=4, not 5"):
        fit(Counter(), checkpoint=path, resume=True, seed=5)
    with pytest.raises(InputError, match=r"other settings: epochs=9, not 12"):
        fit(Counter(), checkpoint=path, resume=True, epochs=12)
    with pytest.raises(InputError, match=r"other settings: warmup_epochs=3, not 2"):
        fit(Counter(), checkpoint=path, resume=True, warmup_epochs=2)
    with pytest.raises(InputError, match="resume needs a checkpoint"):
        fit(Counter(), resume=True)


class End(keras.callbacks.Callback):
    """Ends training after two epochs."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 1


def stop(patience):
    return keras.callbacks.EarlyStopping(monitor="loss", min_delta=10, patience=patience)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({"patience": 1}, {"patience": 9}, "val_loss had not improved for 1 epochs; a larger patience continues it"),
        ({"callbacks": [stop(1)]}, {"callbacks": [stop(9)]}, "loss had not improved for 1 epochs"),
        ({"callbacks": [stop(1)]}, {}, "loss had not improved"),
        ({"callbacks": [Counter(2)]}, {}, "a callback of these had ended it: Counter; without it"),
        (
            {"callbacks": [Counter(), End()]},
            {"callbacks": [Counter()]},
            "a callback of these .*: Counter, End; without it",
        ),
        # One that only looks does not keep a training from continuing.
        ({"patience": 1, "callbacks": [Counter()]}, {"patience": 9, "callbacks": [Counter()]}, "val_loss had not impr"),
    ],
)
def test_a_training_that_had_ended_continues_where_the_settings_would_not_end_it(
    tmp_path, capsys, first, second, reason
):
    # The labels of val are wrong: its loss is lowest after the first epoch.
    images, labels = images_and_labels(30, seed=1)
    wrong = Dataset.from_arrays(train=images_and_labels(96), val=(images, (labels + 1) % 3))
    settings = {"epochs": 4, "learning_rate": 0.01, "batch_size": 48}
    whole = train(tiny(), wrong, verbose=0, **settings, **second).history
    settings["checkpoint"] = tmp_path / "ck"
    ended = train(tiny(), wrong, verbose=0, **settings, **first).history
    assert len(ended["loss"]) == 2
    capsys.readouterr()
    assert train(tiny(), wrong, resume=True, verbose=2, **settings, **first).history == ended
    assert re.search(f"nothing is left to train after epoch 2: {reason}", capsys.readouterr().out)
    longer = train(tiny(), wrong, resume=True, verbose=2, **settings, **second).history
    assert "resuming from epoch 3" in capsys.readouterr().out
    assert len(longer["loss"]) == 4
    assert longer["val_loss"] == whole["val_loss"]


class CountingStop(keras.callbacks.EarlyStopping):
    """Counts more than Keras' own, and has no get_state."""


def test_a_subclass_of_a_known_callback_starts_afresh_and_is_named(dataset, tmp_path, capsys):
    settings = {"callbacks": [CountingStop(patience=5)], "checkpoint": tmp_path / "ck", "verbose": 0}
    train(tiny(), dataset, epochs=1, **settings)
    train(tiny(), dataset, epochs=2, resume=True, **settings)
    assert "CountingStop; they start afresh" in capsys.readouterr().out


def test_the_state_of_a_callback_has_text_as_keys(dataset, tmp_path):
    class Numbered(Counter):
        def get_state(self):
            return {"seen": {1: 2}}

    with pytest.raises(InputError, match=r"must have text as keys\. Received: 1"):
        train(tiny(), dataset, epochs=1, callbacks=[Numbered()], checkpoint=tmp_path / "ck", verbose=0)


def test_a_training_resumed_with_more_epochs_equals_one_of_all_epochs(dataset, tmp_path, monkeypatch):
    # No epoch is due for saving; the labels of val are wrong, so that the best epoch is an early one.
    monkeypatch.setattr(checkpoint.Checkpoint, "_due", lambda self: False)
    images, labels = images_and_labels(30, seed=1)
    wrong = Dataset.from_arrays(train=images_and_labels(96), val=(images, (labels + 1) % 3))
    settings = {"batch_size": 16, "learning_rate": 0.01, "verbose": 0}
    whole = train(tiny(), wrong, epochs=5, **settings)
    path = tmp_path / "training.checkpoint"
    assert train(tiny(), wrong, epochs=3, checkpoint=path, **settings).best_epoch < 3
    resumed = train(tiny(), wrong, epochs=5, checkpoint=path, resume=True, **settings)
    for name in ("loss", "val_loss"):
        assert resumed.history[name] == whole.history[name]


def darken_by_python(images):
    return images * random.random()


@pytest.mark.parametrize(
    "augmentation", [Darken(), DarkenLayer(), darken_step_by_step(), darken_by_python, keras.layers.Dropout(0.3)]
)
def test_random_numbers_continue_where_the_training_stopped(dataset, tmp_path, augmentation):
    settings = {"batch_size": 48, "augmentation": augmentation, "verbose": 0}
    whole = train(tiny(dropout=0.3), dataset, epochs=3, **settings).history["loss"]
    settings["checkpoint"] = tmp_path / "ck"
    train(tiny(dropout=0.3), dataset, epochs=1, **settings)
    assert train(tiny(dropout=0.3), dataset, epochs=3, resume=True, **settings).history["loss"] == whole


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule without get_config, which has no more than its name to compare."""

    def __call__(self, step):
        return 0.01 * keras.ops.power(0.5, keras.ops.cast(step, "float32"))


DECAY = keras.optimizers.schedules.ExponentialDecay
TURN = keras.layers.RandomRotation
CALLBACKS = keras.callbacks
SET_RATE = CALLBACKS.LearningRateScheduler(lambda epoch: 0.1 * 0.5**epoch)
TOP2 = keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"learning_rate": 0.01}, {"learning_rate": 0.5}, "learning_rate=0.01, not 0.5"),
        (
            {"optimizer": keras.optimizers.Lion(0.01)},
            {"optimizer": keras.optimizers.Lion(0.5)},
            "learning_rate=0.01, n",
        ),
        ({"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.9}, "optimizer.momentum=0.0, not 0.9"),
        ({"weight_decay": 0.1}, {"weight_decay": 0.2}, "optimizer.weight_decay=0.1, not 0.2"),
        ({}, {"optimizer": "adamw"}, "optimizer.decoupled=False, not True"),
        ({"schedule": DECAY(0.1, 5, 0.5)}, {"schedule": DECAY(0.1, 9, 0.5)}, "schedule.decay_steps=5, not 9"),
        ({"schedule": Halving()}, {"schedule": "cosine"}, "schedule='Halving', not 'cosine'"),
        ({"augmentation": "flip"}, {"augmentation": ["flip", shift]}, r"augmentation='flip', not \['flip', 'shift'\]"),
        ({"augmentation": TURN(0.1)}, {"augmentation": TURN(0.2)}, "augmentation="),
        ({"class_weight": "balanced"}, {"class_weight": (1, 2, 3)}, "class_weight='balanced', not "),
        ({"plateau_patience": 1}, {"plateau_patience": 2}, "plateau_patience=1, not 2"),
        ({"schedule": "plateau"}, {"schedule": "plateau", "plateau_factor": 0.5}, "plateau_factor=0.1, not 0.5"),
        ({"warmup_epochs": 1}, {}, "warmup_epochs=1, not 0"),
        ({"label_smoothing": 0.1}, {"label_smoothing": 0.2}, "label_smoothing=0.1, not 0.2"),
        ({}, {"metrics": TOP2}, r"metrics=\[\], not \['top2'\]"),
        ({"metrics": TOP2}, {}, r"metrics=\['top2'\], not \[\]"),
    ],
)
def test_a_training_with_a_setting_changed_does_not_resume(dataset, tmp_path, first, second, message):
    settings = {"epochs": 2, "batch_size": 48, "checkpoint": tmp_path / "ck", "verbose": 0}
    train(tiny(), dataset, **settings, **first)
    with pytest.raises(InputError, match=f"other settings: .*{message}"):
        train(tiny(), dataset, resume=True, **settings, **second)


@pytest.mark.parametrize(
    "setting",
    [
        # Of layers, Keras numbers the names, and chooses a seed.
        lambda: {"augmentation": keras.Sequential([keras.layers.RandomFlip(), TURN(0.1)]), "class_weight": (1, 2, 3)},
        lambda: {"augmentation": [keras.layers.RandomCrop(8, 8), shift], "schedule": DECAY(0.1, 5, 0.5)},
        lambda: {"optimizer": keras.optimizers.Lion(DECAY(0.1, 5, 0.5))},
        lambda: {"schedule": Halving(), "warmup_epochs": 1},
        lambda: {"optimizer": keras.optimizers.SGD(Halving(), momentum=0.9)},
        lambda: {"metrics": TOP2},
    ],
)
def test_a_training_with_equal_settings_resumes_and_may_last_longer(dataset, tmp_path, setting):
    settings = {"batch_size": 48, "checkpoint": tmp_path / "ck", "verbose": 0}
    train(tiny(), dataset, epochs=2, **settings, **setting())
    longer = {"epochs": 3, "patience": 7, "callbacks": [Counter()], "resume": True}
    assert len(train(tiny(), dataset, **longer, **settings, **setting()).history["loss"]) == 3


def test_a_checkpoint_of_an_earlier_version_with_fewer_settings_resumes(dataset, tmp_path, monkeypatch):
    settings = {"learning_rate": 0.01, "augmentation": "flip", "checkpoint": tmp_path / "ck", "verbose": 0}
    init = checkpoint.Checkpoint.__init__

    def with_fewer(self, path, callbacks, same, saved=None):
        init(self, path, callbacks, {name: same[name] for name in ("batch_size", "seed", "schedule", "data")}, saved)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "__init__", with_fewer)
        train(tiny(), dataset, epochs=1, **settings)
    assert len(train(tiny(), dataset, epochs=2, resume=True, **settings).history["loss"]) == 2


def test_a_training_with_another_part_of_a_dataset_does_not_resume(dataset, tmp_path):
    settings = {"epochs": 1, "batch_size": 16, "checkpoint": tmp_path / "ck", "verbose": 0}
    train(tiny(), dataset.with_class_counts((9, 9, 9), seed=0), **settings)
    with pytest.raises(InputError, match="other settings: data="):
        train(tiny(), dataset.with_class_counts((9, 9, 9), seed=1), **settings, resume=True)


def test_checkpoints_whose_names_differ_after_the_last_dot_share_no_file(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "COPY_EVERY", 0)
    monkeypatch.setattr(checkpoint, "WRITE_EVERY", 0)
    paths = {seed: tmp_path / f"ck.seed{seed}" for seed in (0, 1)}
    files = [set(checkpoint.checkpoint_files(path)) for path in paths.values()]
    assert not files[0] & files[1]
    for seed, path in paths.items():
        train(tiny(), dataset, epochs=2, seed=seed, checkpoint=path, verbose=0)
    paths[0].write_bytes(b"corrupt")
    assert checkpoint.load(paths[0])["meta"]["settings"]["seed"] == 0


@pytest.mark.parametrize("folder", ["ck", "ck.previous", "ck.new"])
def test_a_checkpoint_that_is_a_folder_is_refused_and_the_folder_stays(dataset, tmp_path, folder):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "photo.png").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"there is a folder of that name.*Received: '.*ck"):
        train(tiny(), dataset, epochs=1, checkpoint=tmp_path / "ck", verbose=0)
    assert [path.name for path in tmp_path.rglob("*")] == [folder, "photo.png"]


def test_a_checkpoint_of_zeros_is_corrupt_and_refused_by_nothing(dataset, tmp_path):
    (tmp_path / "ck").write_bytes(bytes(5000))
    assert (
        len(train(tiny(), dataset, epochs=1, checkpoint=tmp_path / "ck", resume=True, verbose=0).history["loss"]) == 1
    )


def test_a_class_with_the_name_of_keras_may_end_training_after_the_first_epoch(dataset, tmp_path):
    class EarlyStopping(keras.callbacks.EarlyStopping):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    def epochs(**options):
        callbacks = [EarlyStopping()]
        fitted = train(tiny(), dataset, epochs=3, checkpoint=tmp_path / "ck", callbacks=callbacks, verbose=0, **options)
        return len(fitted.history["loss"])

    assert (epochs(), epochs(resume=True)) == (1, 1)


@pytest.mark.parametrize("name", ["mine.keras", "mine.keras.previous"])
def test_a_file_that_is_no_checkpoint_is_refused_and_stays(dataset, tmp_path, name):
    (tmp_path / "mine.keras").touch()
    tiny().save(tmp_path / "network.keras")
    before = (tmp_path / "network.keras").rename(tmp_path / name).read_bytes()
    with pytest.raises(InputError, match=r"not there yet, or a checkpoint of kmodels.*Received: '.*mine.keras"):
        train(tiny(), dataset, epochs=1, checkpoint=tmp_path / "mine.keras", verbose=0)
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep": "first"}, "unknown keep 'first'"),
        ({"monitor": "loss"}, "unknown monitor 'loss'"),
        ({"sampler": "over"}, "unknown sampler 'over'"),
        ({"epochs": 0}, "epochs must be an integer of at least 1. Received: 0"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"class_weight": "equal"}, "unknown class_weight 'equal'"),
        ({"class_weight": (1, 2)}, "class_weight must be 3 numbers"),
        ({"optimizer": "adamm"}, "unknown optimizer 'adamm'; did you mean adam"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'"),
        ({"warmup_epochs": 2, "epochs": 2}, r"warmup_epochs must be at least 0 and below epochs \(2\)"),
        ({"schedule": DECAY(0.1, 5, 0.5), "learning_rate": 0.1}, "learning_rate must be left out where schedule is a"),
        ({"warmup_epochs": -1}, "warmup_epochs must be at least 0"),
        # They failed at the first plateau, after hours perhaps.
        ({"warmup_epochs": 1, "plateau_patience": 2}, "not with plateaus"),
        ({"schedule": "linear", "plateau_patience": 2}, "not with plateaus"),
        ({"learning_rate": -0.1}, "learning_rate must be a number above 0 or a Keras schedule. Received: -0.1"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0"),
        ({"learning_rate": "0.1"}, "learning_rate must be a number above 0"),
        ({"label_smoothing": 1}, "label_smoothing must be at least 0 and below 1. Received: 1"),
        ({"label_smoothing": -0.1}, "label_smoothing must be at least 0"),
        ({"momentum": 0.9}, "momentum belongs to sgd and rmsprop, not to adam. Received: 0.9"),
        ({"momentum": 1.0, "optimizer": "sgd"}, "momentum must be at least 0 and below 1"),
        ({"weight_decay": -1}, "weight_decay must be at least 0"),
        ({"plateau_factor": 1.0}, "plateau_factor must be above 0 and below 1"),
        ({"patience": "3"}, "patience must be an integer of at least 0. Received: '3'"),
        ({"class_weight": (1, -1, 1)}, "class_weight must be 3 numbers of at least 0"),
        ({"class_weight": (1, float("inf"), 1)}, "class_weight must be 3 numbers of at least 0"),
        ({"class_weight": (0, 0, 0)}, "class_weight must be above 0 for a class that has training images"),
        ({"class_weight": {3: 1.0}}, "from some of their indices, 0 to 2, to numbers. Received: {3: 1.0}"),
        ({"class_weight": 2}, "class_weight must be 3 numbers"),
        ({"callbacks": "Note"}, "callbacks must be a list of keras.callbacks.Callback. Received: 'Note'"),
        (
            {"callbacks": CALLBACKS.EarlyStopping(monitor="val_acc")},
            "EarlyStopping must monitor one of loss, accuracy, cross_entropy, val_loss, .* Received: 'val_acc'",
        ),
        ({"callbacks": CALLBACKS.ReduceLROnPlateau("val_top2")}, "ReduceLROnPlateau must monitor one of loss"),
        ({"callbacks": CALLBACKS.SwapEMAWeights()}, "no averages of weights are kept"),
        ({"schedule": "cosine", "callbacks": CALLBACKS.ReduceLROnPlateau()}, r"schedule or .*\['ReduceLROnPlateau'\]"),
        ({"warmup_epochs": 1, "callbacks": SET_RATE}, r"a schedule or has a warm-up.*\['LearningRateScheduler'\]"),
        ({"optimizer": keras.optimizers.SGD(DECAY(0.1, 5, 0.5)), "callbacks": SET_RATE}, "a schedule or has a warm-up"),
        ({"augmentation": keras.Sequential([keras.layers.Lambda(shift)])}, "a list of layers and functions where one"),
        ({"checkpoint": True}, "checkpoint must be the path of a file, or None. Received: True"),
        ({"checkpoint": ""}, "there is a folder of that name"),
        ({"data_loader": "stream", "sampler": "oversample"}, "shows each image once; sampler must be shuffle"),
        ({"metrics": ["accuracy"]}, "metrics must be a list of keras.metrics.Metric"),
        ({"metrics": keras.metrics.Mean(name="loss")}, "a metric must not have the name of what .* Received: 'loss'"),
        ({"metrics": keras.metrics.Mean(name="val_top2")}, "a metric must not have the name of what"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(dataset, change, message):
    with pytest.raises(InputError, match=message):
        train(tiny(), dataset, **change)


def test_images_that_the_network_cannot_take_are_refused():
    grey = Dataset.from_arrays(train=images_and_labels(30, channels=1))
    with pytest.raises(InputError, match=r"takes images \(8, 8, 3\), and those of the dataset are \(8, 8, 1\).*repeat"):
        train(tiny(), grey)
    assert train(tiny(shape=(8, 8, 1)), grey, epochs=1, batch_size=8, verbose=0).best_epoch == 1
    images, labels = images_and_labels(30)
    scaled = Dataset.from_arrays(train=(images / 255, labels))
    layers = keras.layers
    nested = keras.Sequential([layers.Rescaling(1 / 255), layers.RandomFlip()])
    nested = keras.Sequential([keras.Input((8, 8, 3)), nested, layers.Flatten(), layers.Dense(3)])
    for network in (tiny(), nested):
        with pytest.raises(InputError, match=r"divides pixels by 255 itself.*Received: float32"):
            train(network, scaled)


def test_a_pair_is_evaluated_in_every_form_that_a_dataset_takes():
    (images, labels), (others, right) = images_and_labels(60, channels=1), images_and_labels(30, channels=1, seed=1)
    grey = Dataset.from_arrays(train=(images[..., 0], labels), test=(others, right))
    fitted = train(tiny(shape=(8, 8, 1)), grey, epochs=2, batch_size=8, verbose=0)
    expected = fitted.evaluate(grey.test)
    for pair in ((others[..., 0], right), (others, right[:, None]), (others.tolist(), np.eye(3)[right])):
        assert fitted.evaluate(pair) == expected
    for pair, message in (
        ((others, ["a"] * 30), "labels must be numbers.*'a'"),
        ((others, right[:9]), "as many labels as images"),
        (others, "a pair"),
    ):
        with pytest.raises(InputError, match=message):
            fitted.evaluate(pair)


def test_images_on_another_scale_than_those_of_training_are_not_evaluated(dataset):
    images, labels = images_and_labels(60)
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)))
    scaled = Dataset.from_arrays(train=(images / 255, labels))
    fitted = train(network, scaled, epochs=1, batch_size=12, verbose=0)
    assert fitted.evaluate((images / 255, labels)).examples == 60
    for split in (dataset.test, (images, labels)):
        with pytest.raises(InputError, match=r"evaluated images .* floats from 0 to 0.9\d*. Received: 'uint8 from 0"):
            fitted.evaluate(split)
    fitted = train(tiny(), dataset, epochs=1, batch_size=12, verbose=0)
    assert fitted.evaluate((images.astype("float32"), labels)) == fitted.evaluate((images, labels))
    with pytest.raises(InputError, match=r"evaluated images .* pixels 0\.\.255. Received: 'float32 from 0"):
        fitted.evaluate((images / 255, labels))


def test_policies_of_pixel_values_refuse_floats_that_are_none():
    images, labels = images_and_labels(60)
    scaled = Dataset.from_arrays(train=(images / 255, labels))
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)))
    with pytest.raises(InputError, match="augmentation color_jitter takes pixels from 0 to 255"):
        train(network, scaled, augmentation="color_jitter")


def test_float_images_are_taken_as_they_are():
    images, labels = images_and_labels(60)
    scaled = Dataset.from_arrays(train=(images / 255, labels))
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)))
    fitted = train(network, scaled, epochs=2, batch_size=8, augmentation="none", verbose=0)
    assert np.isfinite(fitted.history["loss"]).all()


def test_a_training_changes_neither_keras_nor_the_network(dataset):
    network = tiny(dropout=0.5)
    layers, config = list(network.layers), network.get_config()
    for _ in range(2):
        train(network, dataset, epochs=1, verbose=0)
    assert (list(network.layers), network.get_config()) == (layers, config)
    assert not any("call" in vars(layer) for layer in network.layers)


def test_arrays_in_place_of_a_dataset_are_refused_with_what_makes_one_of_them():
    with pytest.raises(InputError, match=r"Dataset.from_arrays\(train=\(images, labels\)\) makes one.*tuple"):
        train(tiny(), images_and_labels(30))


def test_usual_forms_of_settings_are_taken(dataset, tmp_path):
    def fit(**settings):
        history = train(tiny(), dataset, **{"epochs": 2, "batch_size": 32, "verbose": 0, **settings}).history
        return history["loss"], history["val_loss"]

    assert fit(class_weight={0: 5, np.int64(2): 0.5}) == fit(class_weight=[5, 1, 0.5]) != fit()
    counter = Counter()
    assert fit(callbacks=counter) == fit(callbacks=None, metrics=None) == fit()
    assert counter.total == 2
    whole = {"batch_size": np.int64(32), "warmup_epochs": np.int64(1), "label_smoothing": np.float32(0.5)}
    plain = {name: value.item() for name, value in whole.items()}
    assert fit(**whole, checkpoint=str(tmp_path / "ck")) == fit(**plain)
    assert fit(learning_rate=np.float64(1), optimizer="sgd") == fit(learning_rate=1, optimizer="sgd")
    assert fit(augmentation=keras.layers.Lambda(lambda images: shift(images))) == fit(augmentation=shift) != fit()


def right(labels, logits):
    return keras.ops.equal(keras.ops.reshape(labels, (-1,)), keras.ops.cast(keras.ops.argmax(logits, -1), labels.dtype))


@pytest.mark.parametrize("function", [right, lambda labels, logits: right(labels, logits)])
def test_a_metric_of_a_function_is_measured_in_each_of_two_trainings(dataset, function):
    metric = keras.metrics.MeanMetricWrapper(function, name="right")
    for _ in range(2):
        history = train(tiny(), dataset, epochs=2, metrics=metric, verbose=0).history
        assert history["val_right"] == pytest.approx(history["val_accuracy"])


def test_a_batch_of_classes_without_weight_changes_nothing(dataset):
    history = train(tiny(), dataset, epochs=1, batch_size=1, class_weight=(1, 0, 0), verbose=0).history
    assert np.isfinite([history["loss"], history["val_loss"]]).all()


def test_a_batch_may_be_larger_than_the_split(dataset):
    fitted = train(tiny(), dataset, epochs=1, batch_size=1000, verbose=0)
    assert len(fitted.history["loss"]) == 1


def test_registered_networks_and_datasets_are_trained_too():
    digits = load_dataset("digits", image_size=16).subset(100)
    network = build_model("model4", (16, 16, 3), 10)
    fitted = train(network, digits, epochs=1, batch_size=32, class_weight="balanced", label_smoothing=0.1, verbose=0)
    assert {"cross_entropy", "val_cross_entropy"} <= set(fitted.history)
