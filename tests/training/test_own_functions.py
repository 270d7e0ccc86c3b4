"""An experiment that names functions of one's own: model, dataset, augmentation, optimizer and head."""

import subprocess
import sys
from dataclasses import replace

import pytest

from kmodels import Experiment, InputError, read_record, run, run_seeds
from kmodels.training.job import Job
from kmodels.training.run import arguments

MODULE = """
import keras
import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from kmodels import Dataset


def network(input_shape, num_classes, *, width=4):
    image = keras.Input(input_shape)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Dense(width, activation="relu", name="embedding")(x)
    return keras.Model(image, keras.layers.Dense(num_classes, activation="softmax", name="logits")(x))


def unnamed(input_shape, num_classes):
    layers = [keras.layers.Flatten(), keras.layers.Dense(6), keras.layers.Dense(num_classes)]
    return keras.Sequential([keras.Input(input_shape), *layers])


class Penalty(keras.layers.Layer):
    def call(self, x):
        self.add_loss(keras.ops.mean(x * x))
        return x


def with_losses(input_shape, num_classes, *, kind):
    layers = {
        "kernel": keras.layers.Dense(6, kernel_regularizer="l2"),
        "activity": keras.layers.Dense(6, activity_regularizer="l2"),
        "added": Penalty(),
    }
    start = [keras.Input(input_shape), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    return keras.Sequential([*start, layers[kind], keras.layers.Dense(num_classes)])


def images(image_size=8):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    pixels = rng.integers(0, 60, (60, image_size, image_size, 3))
    pixels[np.arange(60), labels] += 190
    return Dataset.from_arrays(train=(pixels, labels), class_names=["a", "b", "c"])


def invert(images):
    return 255.0 - images


flip = keras.layers.RandomFlip()


GENERATOR = keras.random.SeedGenerator(5)


def darken(images):
    return images * keras.random.uniform((keras.ops.shape(images)[0], 1, 1, 1), seed=GENERATOR)


def optimizer(learning_rate, weight_decay=0.1):
    return keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay)


def neighbours():
    return KNeighborsClassifier(3)


class Seeded(KNeighborsClassifier):
    def __init__(self, seed=7):
        super().__init__(3)
        self.seed = seed
        print("the head has seed", seed, "and", np.random.get_state()[1][0])
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes the module, in a version where `change` is replaced; returns the experiment that uses it."""
    monkeypatch.syspath_prepend(tmp_path)

    def own(*change, name="own_functions"):
        (tmp_path / f"{name}.py").write_text(MODULE.replace(*change) if change else MODULE)
        sys.modules.pop(name, None)
        return Experiment(
            name="tests/own",
            dataset=f"{name}:images",
            image_size=8,
            model=f"{name}:network",
            model_options={"width": 6},
            augmentation=f"{name}:invert",
            optimizer=f"{name}:optimizer",
            learning_rate=0.01,
            weight_decay=0.01,
            epochs=2,
            batch_size=12,
        )

    yield own
    sys.modules.pop("own_functions", None)


def test_a_run_of_own_functions_has_a_record_like_any_other(own, tmp_path):
    experiment = own()
    record = run(experiment, 0, tmp_path, verbose=0)
    assert record.status == "completed"
    assert (record.class_names, record.parameters) == (("a", "b", "c"), 8 * 8 * 3 * 6 + 6 + 6 * 3 + 3)
    assert set(record.code_sha256) == {"dataset", "model", "augmentation", "optimizer"}
    assert read_record(tmp_path / f"{record.stem}.json") == record
    # The augmentation and the optimizer did act.
    for change in ({"augmentation": "none"}, {"optimizer": "adam", "weight_decay": None}):
        assert run(replace(experiment, **change), 0, tmp_path, verbose=0).history["loss"] != record.history["loss"]


def test_changed_code_is_another_run(own, tmp_path, capsys):
    first = run(own(), 0, tmp_path, verbose=0)
    assert run(own(), 0, tmp_path, verbose=2).stem == first.stem
    assert "recorded already" in capsys.readouterr().out
    changed = run(own('activation="relu"', 'activation="tanh"'), 0, tmp_path, verbose=0)
    assert changed.stem != first.stem
    assert changed.history["loss"] != first.history["loss"]


def test_another_part_of_the_same_images_is_another_run(own, tmp_path, monkeypatch):
    experiment = own(
        'class_names=["a", "b", "c"])',
        'class_names=["a", "b", "c"]).with_class_counts([int(os.environ["EACH"])] * 3, 0)',
    )
    source = tmp_path / "own_functions.py"
    source.write_text(f"import os\n{source.read_text()}")
    for each in (10, 6):
        monkeypatch.setenv("EACH", str(each))
        assert run(experiment, 0, tmp_path, verbose=0).source["counts"]["train"] == 3 * each


def test_the_settings_that_make_a_run_smaller_do_not_change_its_data(tiny):
    whole = Job(tiny, 0, ".").dataset.source
    for setting in ({"subset": 60}, {"long_tail": 2.0}, {"class_counts": (3,) * 10}):
        part = Job(replace(tiny, **setting), 0, ".").dataset.source
        assert part["counts"] != whole["counts"]
        assert part["sha256"] == whole["sha256"]


def test_a_run_starts_from_one_before_it_in_the_same_process(own, tmp_path):
    parent = replace(own(), model="own_functions:unnamed", model_options={})
    run(parent, 0, tmp_path, verbose=0)
    record = run(replace(parent, name="tests/child", init_from="tests/own"), 0, tmp_path, verbose=0)
    assert (len(record.started_from["taken"]), record.started_from["drawn"]) == (2, ())


@pytest.mark.parametrize("kind", ["kernel", "activity", "added"])
def test_a_network_with_losses_of_its_own_gives_no_warning(own, tmp_path, kind):
    experiment = replace(own(), model="own_functions:with_losses", model_options={"kind": kind}, epochs=1)
    record = run(experiment, 0, tmp_path, verbose=0)
    assert record.history["val_loss"][0] > record.val.loss + 0.01
    assert record.warnings == ()


def test_a_head_of_ones_own_is_fitted_on_features(own, tmp_path):
    parent = own()
    run(parent, 0, tmp_path, verbose=0)
    head = replace(
        parent, name="tests/head", init_from="tests/own", head="own_functions:neighbours", augmentation="none"
    )
    record = run(head, 0, tmp_path, verbose=0)
    assert record.status == "completed"
    assert set(record.code_sha256) == {"dataset", "model", "optimizer", "head"}
    assert record.train.accuracy > 0.5


def test_a_head_of_ones_own_has_the_seed_of_the_run(own, tmp_path, capsys):
    parent = own()
    run(parent, 3, tmp_path, verbose=0)
    head = {"name": "tests/head", "init_from": "tests/own", "head": "own_functions:Seeded", "augmentation": "none"}
    run(replace(parent, **head), 3, tmp_path, verbose=0)
    assert "the head has seed 3 and 3" in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "warned"), [("kernel", False), ("added", True)])
def test_a_network_that_will_not_load_again_is_warned_of_before_training(own, tmp_path, capsys, kind, warned):
    experiment = replace(own(), model="own_functions:with_losses", model_options={"kind": kind})
    arguments(Job(experiment, 0, tmp_path))
    assert ("not load it again: it needs Penalty, from the module own_functions" in capsys.readouterr().out) == warned


def test_a_layer_of_ones_own_is_an_augmentation(own, tmp_path):
    named = run(replace(own(), augmentation="own_functions:flip"), 0, tmp_path, verbose=0)
    assert named.history["loss"] != run(replace(own(), augmentation="none"), 0, tmp_path, verbose=0).history["loss"]
    # It is the same run, and is not repeated.
    assert run(replace(own(), augmentation="own_functions:flip"), 0, tmp_path, verbose=0) == named


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "own_functions:netwrk"}, "own_functions has no 'netwrk'; it has: "),
        ({"model_options": {"widht": 1}}, "model 'own_functions:network' has no option 'widht'; it has: width"),
        ({"model": "own_functions:neighbours", "model_options": {"depth": 1}}, "has no option 'depth'; it has: none"),
        ({"dataset": "own_functions:neighbours", "image_size": None}, "must return a kmodels.Dataset"),
        ({"optimizer": "own_functions:optimizer", "momentum": 0.9}, "takes no momentum; it takes: learning_rate"),
        ({"augmentation": "own_functions:images"}, "augmentation must be the name of a policy, a Keras layer"),
        ({"optimizer": "own_functions:invert"}, "takes no learning_rate"),
    ],
)
def test_what_an_own_function_cannot_do_is_named(own, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(replace(own(), **changes), 0, tmp_path, verbose=0)


SCRIPT = """
import sys

import keras

import kmodels


def tiny(input_shape, num_classes):
    image = keras.Input(input_shape)
    return keras.Model(image, keras.layers.Dense(num_classes)(keras.layers.Flatten()(image)))


if __name__ == "__main__":
    experiment = kmodels.Experiment(
        name="tests/main", dataset="digits", image_size=8, model="__main__:tiny", epochs=1, batch_size=64
    )
    records = kmodels.run_seeds(experiment, [0, 1], sys.argv[1], devices=2, split="runs", verbose=0)
    print([record.status for record in records])
"""


def test_functions_of_a_script_reach_the_processes_of_a_sweep(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py", "out"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "['completed', 'completed']", done.stdout + done.stderr


def test_seeds_trained_together_share_no_random_numbers_of_a_function(own, tmp_path, backend):
    if backend != "jax":
        pytest.skip("JAX only")
    experiment = replace(own(), augmentation="own_functions:darken")
    together, alone = (
        run_seeds(experiment, [0, 1], tmp_path / str(one), verbose=0, together=one) for one in (True, False)
    )
    assert [record.seeds_at_once for record in together] == [2, 2]
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.history["loss"] == pytest.approx(theirs.history["loss"], rel=2e-4)


def test_seeds_of_own_functions_are_kept_apart_from_those_of_other_code(own, tmp_path):
    from kmodels.records.summaries import summarise

    records = run_seeds(own(), [0, 1], tmp_path, verbose=0)
    records += run_seeds(own("60, (60", "50, (60"), [0], tmp_path, verbose=0)
    assert [len(summary.records) for summary in summarise(records)] == [2, 1]
