"""Heads on the frozen features of a trained network."""

import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from kmodels import Experiment, InputError, build_model, load_dataset, run
from kmodels.analysis import predict_logits
from kmodels.analysis.evaluation import evaluate_logits
from kmodels.components import load_component
from kmodels.models.saving import load_network, save_network
from kmodels.models.transfer import transfer_weights
from kmodels.training.embeddings import embedded, features_path
from kmodels.training.heads import PENALTIES

BACKBONE = Experiment(
    name="tests/backbone",
    dataset="digits",
    image_size=8,
    model="model1",
    long_tail=5,
    learning_rate=0.01,
    batch_size=32,
    epochs=8,
    patience=None,
)


def on_features(head, **changes):
    return replace(BACKBONE, name=f"tests/{head}", init_from=BACKBONE.name, head=head, **changes)


HEADS = (
    on_features("svm", class_weight="balanced"),
    on_features("svm", kernel="rbf", class_weight=(0.1,) + 9 * (1,)),
    on_features("nearest_mean"),
    on_features("logistic"),
    on_features("tau_norm"),
    on_features("crt", sampler="oversample", epochs=20),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The results folder and the record of the backbone."""
    out = tmp_path_factory.mktemp("results")
    return out, run(BACKBONE, 0, out, verbose=0)


@pytest.mark.parametrize("experiment", HEADS, ids=lambda item: f"{item.head}-{item.kernel}")
def test_a_head_is_a_run_with_a_record_like_any_other(experiment, trained):
    out, backbone = trained
    record = run(experiment, 0, out, verbose=0)
    assert record.status == "completed"
    for split in ("train", "val", "test"):
        assert getattr(record, split).examples == getattr(backbone, split).examples
    assert record.source == backbone.source
    assert record.started_from["network"] == f"{backbone.stem.split('/')[-1]}.keras"
    assert ("logits" in record.started_from["taken"]) is (experiment.head == "tau_norm")
    assert record.started_from["drawn"] == (("logits",) if experiment.head == "crt" else ())
    assert record.parameters > 300
    assert record.test.accuracy > backbone.test.accuracy - 0.05
    if experiment.head == "svm":
        scores = record.head["val_accuracy"]
        assert list(scores)[: len(PENALTIES)] == [f"{penalty:g}" for penalty in PENALTIES]
        assert scores[f"{record.head['C']:g}"] == max(scores.values()) == pytest.approx(record.val.accuracy)
        assert record.test.loss is record.test.calibration is None


def test_larger_penalties_are_tried_until_the_largest_is_not_the_best(trained):
    """Where small weights multiply the penalty, a network of the same features needs a larger one."""
    out, _ = trained
    plain, small = (
        run(on_features("svm", kernel="rbf", class_weight=weights), 0, out, verbose=0)
        for weights in ((1,) * 10, (1e-4,) * 10)
    )
    assert small.head["C"] == pytest.approx(1e4 * plain.head["C"])
    assert small.test.accuracy == plain.test.accuracy
    assert max(map(float, small.head["val_accuracy"])) == 10 * small.head["C"]


@pytest.mark.parametrize("number", [2, 12])
def test_a_head_needs_a_weight_for_each_class(number, trained):
    out, _ = trained
    for head in ("logistic", "svm"):
        with pytest.raises(InputError, match="class_weight must be 10 numbers"):
            run(on_features(head, class_weight=(1,) * number), 0, out, verbose=0)


@pytest.mark.parametrize("experiment", HEADS[-3:], ids=lambda item: item.head)
def test_a_linear_head_leaves_a_whole_network(experiment, trained):
    out, backbone = trained
    record = run(experiment, 0, out, verbose=0)
    network = load_network(out / f"{record.stem}.keras")
    test = load_dataset("digits", 8).test
    accuracy = (predict_logits(network, test.images).argmax(axis=1) == test.labels).mean()
    assert accuracy == pytest.approx(record.test.accuracy)
    before = load_network(out / f"{backbone.stem}.keras")
    np.testing.assert_array_equal(
        network.get_layer("conv1").get_weights()[0], before.get_layer("conv1").get_weights()[0]
    )
    pairs = zip(network.get_layer("logits").get_weights(), before.get_layer("logits").get_weights(), strict=True)
    assert not all(np.array_equal(ours, theirs) for ours, theirs in pairs)


def test_a_head_takes_the_features_of_pretrained_weights_and_training_goes_on_from_it(tmp_path):
    """A linear probe, then all layers: the two runs of pretrained training."""
    weights = save_network(build_model("model1", (8, 8, 3), 4), tmp_path / "pretrained.keras")
    probe = Experiment(
        name="tests/probe",
        dataset="digits",
        image_size=8,
        model=f"{__name__}:pretrained",
        model_options={"weights": str(weights)},
        head="logistic",
    )
    first = run(probe, 0, tmp_path / "out", verbose=0)
    assert first.test.accuracy > 0.5
    finetuned = replace(
        probe,
        name="tests/finetuned",
        model_options={},
        head=None,
        init_from="tests/probe",
        learning_rate=1e-5,
        epochs=2,
    )
    second = run(finetuned, 0, tmp_path / "out", verbose=0)
    assert "logits" in second.started_from["taken"]
    assert second.test.accuracy > first.test.accuracy - 0.05


def pretrained(input_shape, num_classes, *, weights=None):
    """model1, with the convolutions of a file."""
    network = build_model("model1", input_shape, num_classes)
    if weights:
        transfer_weights(network, load_network(weights))
    return network


def test_features_are_computed_once_and_never_those_of_other_weights_or_images(trained, tmp_path):
    out, backbone = trained
    network = load_network(out / f"{backbone.stem}.keras")
    file = save_network(network, tmp_path / "network.keras")
    lines = []
    dataset = load_dataset("digits", 8).subset(100)
    first = embedded(network, file, dataset, lines.append)
    assert lines == ["computing the features of 459 images"]
    assert first.train.images.shape == (len(dataset.train), 32)
    assert first.source == dataset.source
    again = embedded(network, file, dataset, lines.append)
    assert len(lines) == 1
    np.testing.assert_array_equal(again.val.images, first.val.images)

    embedded(network, file, load_dataset("digits", 8).subset(120), lines.append)
    assert lines[1:] == [
        "network_features.npz holds the features of other weights or images; not used",
        "computing the features of 479 images",
    ]
    network.get_layer("conv1").set_weights(
        [keras.ops.convert_to_numpy(w) * 2 for w in network.get_layer("conv1").weights]
    )
    save_network(network, file)
    doubled = embedded(network, file, dataset, lines.append)
    assert lines[-2].endswith("not used")
    assert not np.allclose(doubled.test.images, first.test.images)
    features_path(file).write_bytes(features_path(file).read_bytes()[:-100])
    embedded(network, file, dataset, lines.append)
    assert lines[-2] == "network_features.npz is corrupt; not used"


def test_what_cannot_be_is_refused(trained):
    out, backbone = trained
    file = f"{out / backbone.stem}.keras"
    alone = on_features("svm", class_counts=(9,) + 9 * (0,), long_tail=None)
    with pytest.raises(InputError, match="only one class"):
        run(replace(alone, init_from=file), 0, out, verbose=0)
    for head in ("svm", "logistic"):
        with pytest.raises(InputError, match=r"must take images \(16, 16, 3\)\. Received: \(8, 8, 3\)"):
            run(replace(on_features(head, image_size=16), init_from=file), 0, out, verbose=0)
    with pytest.raises(InputError, match=r"must be the experiment's mlp\. Received: 'model1'"):
        run(on_features("svm", model="mlp"), 0, out, verbose=0)
    missing = replace(HEADS[0], init_from="tests/nothing")
    with pytest.raises(InputError, match="there is no network of 'tests/nothing' with seed 0"):
        run(missing, 0, out, verbose=0)
    empty = on_features("crt", class_counts=(9,) + 8 * (2,) + (0,), long_tail=None, sampler="oversample", batch_size=8)
    with pytest.raises(InputError, match=r"sampler must be 'shuffle' where a class has no training image \(9\)"):
        run(replace(empty, init_from=file), 0, out, verbose=0)


OWN = """
import keras
import numpy as np

from kmodels import Dataset

layers = keras.layers
ENDS = {
    "relu after": lambda n: [
        layers.Dense(8, name="embedding"), layers.BatchNormalization(), layers.ReLU(), layers.Dense(n, name="logits")
    ],
    "no names": lambda n: [layers.Dense(8, activation="relu"), layers.Dense(n, activation="softmax")],
    "dropout": lambda n: [layers.Dense(8, name="embedding"), layers.Dropout(0.5), layers.Dense(n, name="out")],
    "activation": lambda n: [layers.Dense(8), layers.Dense(n), layers.Softmax()],
    "no bias": lambda n: [layers.Dense(8, name="embedding"), layers.Dense(n, use_bias=False, name="logits")],
    "one unit": lambda n: [layers.Dense(8), layers.Dense(1, activation="sigmoid")],
    "norm last": lambda n: [layers.Dense(8, name="embedding"), layers.Dense(n), layers.BatchNormalization()],
    "no features": lambda n: [layers.Dense(n), layers.BatchNormalization()],
}


def network(input_shape, num_classes, *, end, nested=False):
    image = keras.Input(input_shape)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(image))
    for layer in ENDS[end](num_classes):
        x = layer(x)
    model = keras.Model(image, x)
    return keras.Sequential([keras.Input(input_shape), model]) if nested else model


def images(classes):
    rng, labels = np.random.default_rng(0), np.arange(120) % classes
    pixels = rng.integers(0, 200, (120, 8, 8, 3))
    pixels[np.arange(120), ..., labels] += 25
    return Dataset.from_arrays(train=(pixels.astype("uint8"), labels))


def two():
    return images(2)


def three():
    return images(3)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Trains a network of the module for an epoch; returns what runs a head on it, in the folder `tmp_path`."""
    (tmp_path / "own_heads.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)

    def own(end, dataset="three", **options):
        model = {"model": "own_heads:network", "model_options": {"end": end, **options}}
        parent = Experiment(name="tests/own", dataset=f"own_heads:{dataset}", epochs=1, batch_size=24, **model)
        run(parent, 0, tmp_path, verbose=0)
        head = replace(parent, name="tests/head", init_from=parent.name)
        return lambda kind: run(replace(head, head=kind), 0, tmp_path, verbose=0)

    yield own
    sys.modules.pop("own_heads", None)


@pytest.mark.parametrize("head", ["crt", "logistic", "tau_norm"])
@pytest.mark.parametrize(
    ("end", "nested"),
    [("relu after", False), ("relu after", True), ("no names", False), ("dropout", False), ("activation", False)],
)
def test_the_network_that_a_head_leaves_is_the_one_that_its_record_measured(own, head, end, nested, tmp_path):
    record = own(end, nested=nested)(head)
    network, test = load_network(tmp_path / f"{record.stem}.keras"), load_component("dataset", "own_heads:three")().test
    measured = evaluate_logits(test.labels, predict_logits(network, test.images))
    assert measured.accuracy == record.test.accuracy
    assert measured.loss == pytest.approx(record.test.loss, rel=1e-4)


def test_features_are_not_those_of_another_layer_that_earlier_versions_kept(own, tmp_path):
    head = own("relu after")
    (file,) = tmp_path.glob("tests/own/*.keras")
    network, dataset = load_network(file), load_component("dataset", "own_heads:three")()
    earlier = keras.Model(network.input, network.get_layer("embedding").output)
    embedded(keras.Sequential([*earlier.layers, keras.layers.Dense(3)]), file, dataset, str)
    assert np.load(features_path(file))["test"].min() < 0
    head("svm")
    assert np.load(features_path(file))["test"].min() == 0


@pytest.mark.parametrize(
    ("end", "heads", "message"),
    [
        (
            "one unit",
            ("crt", "logistic", "tau_norm"),
            r"a unit for each of the 2 classes, Dense\(2\).*Received: '1 unit'",
        ),
        ("no bias", ("crt", "logistic"), r"needs a bias \(use_bias=True\).*Received: 'logits'"),
        ("norm last", ("crt", "logistic", "tau_norm"), "ends in a Dense layer, whose input is the features; svm and"),
        ("no features", ("svm", "nearest_mean"), "ends in a Dense layer, whose input is the features, or has a layer"),
    ],
)
def test_what_a_head_needs_of_a_network_is_said_before_anything_is_computed(own, end, heads, message, tmp_path):
    head = own(end, "two")
    for kind in heads:
        with pytest.raises(InputError, match=message):
            head(kind)
    assert not list(tmp_path.glob("tests/head/*")) + list(tmp_path.rglob("*_features.npz"))


@pytest.mark.parametrize(
    ("end", "heads"),
    [("one unit", ("svm", "nearest_mean")), ("no bias", ("svm", "tau_norm")), ("norm last", ("svm", "nearest_mean"))],
)
def test_a_head_that_needs_less_of_a_network_takes_it(own, end, heads):
    head = own(end, "two")
    for kind in heads:
        assert head(kind).status == "completed"
