"""Pictures and the page, from real records.

Tests share one trained network (`trained`): what they need besides is a copy of its record with other settings.
"""

import html.parser
import re
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import make_record
from matplotlib.figure import Figure
from PIL import Image

from kmodels import Dataset, Experiment, InputError, Published, build_model, cli, plots, run
from kmodels.components import source_digest
from kmodels.models import trainable_parameters
from kmodels.models.saving import save_network, weights_checksum
from kmodels.records import write_record
from kmodels.report import architecture, network_pictures, write_report
from kmodels.report.figures import ClassComparison, Curves, ImageGrid, LongTail, Material, Sweep
from kmodels.report.network_pictures import write_network_pictures
from kmodels.report.page import write_page
from kmodels.report.pictures import write_pictures

NETWORK_PICTURES = ("ten", "grad_cam", "grad_cam_layers", "tsne", "features")
ONE = Experiment(
    name="tests/one",
    dataset="synthetic",
    image_size=16,
    model="conv_net",
    augmentation="rotate_flip",
    epochs=1,
    batch_size=16,
)
TWO = replace(ONE, name="tests/two", augmentation="none")
BOTH = (ONE, TWO)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The record of a real run, without augmentation to compile sooner, and the file of its network."""
    out = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KMODELS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        record = run(TWO, 0, out, verbose=0)
    return record, out / f"{record.stem}.keras"


@pytest.fixture
def as_run(trained, tmp_path):
    """Writes a record as if an experiment had been run, with its network or, faster to draw, without; returns it."""

    def as_run(experiment, network=None, **changes):
        record = replace(trained[0], experiment=experiment, **changes)
        write_record(record, tmp_path)
        path = tmp_path / f"{record.stem}.keras"
        if network == "trained":
            shutil.copy(trained[1], path)
        elif network is not None:
            record = replace(record, network_sha256=weights_checksum(save_network(network, path)))
        return record

    return as_run


@pytest.fixture
def only_figures(monkeypatch):
    """Leaves out what `write_report` does beside figures, for tests of these."""
    monkeypatch.setattr("kmodels.report.pictures.write_pictures", lambda record, out: [])
    monkeypatch.setattr("kmodels.report.page.write_page", lambda records, out, path, figures, report: path)


def own_network(input_shape, num_classes):
    """A network of somebody else: pixels as they are, no taps, softmax at its end."""
    pixels = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, activation="relu", name="edges")(keras.layers.Rescaling(1 / 255)(pixels))
    return keras.Model(pixels, keras.layers.Dense(num_classes, activation="softmax")(keras.layers.Flatten()(x)))


def nested_network(input_shape, num_classes):
    """The same, inside another model."""
    return keras.Sequential([keras.Input(input_shape), own_network(input_shape, num_classes)])


def own_dataset(image_size):
    """Black and white squares."""
    images = np.repeat(np.array([0, 255], np.uint8), 10).reshape(20, 1, 1, 1) * np.ones((16, 16, 3), np.uint8)
    return Dataset.from_arrays((images, np.repeat([0, 1], 10)))


def failing_dataset():
    raise KeyError("the disk is not mounted")


def test_a_report_is_pictures_beside_the_records_and_one_page(as_run, tmp_path):
    records = as_run(ONE, "trained"), as_run(TWO)
    paths = write_report(BOTH, tmp_path, [Curves("Without and with", BOTH)])
    names = {path.relative_to(tmp_path).as_posix() for path in paths}
    for record, pictures in zip(records, (NETWORK_PICTURES, ()), strict=True):
        for picture in ("curves", "confusion", "classes", "reliability", *pictures):
            assert f"{record.stem}_{picture}.webp" in names
    assert {"tests/without_and_with.webp", "tests/index.html"} <= names
    for path in paths:
        if path.suffix == ".webp":
            with Image.open(path) as image:
                assert min(image.size) > 100
    page = (tmp_path / "tests" / "index.html").read_text()
    html.parser.HTMLParser().feed(page)
    # Self-contained: whatever it shows is in it.
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert page.count("data:image/webp;base64,") == len(NETWORK_PICTURES) + 1
    for record in records:
        assert record.source["sha256"] in page
        assert f"{record.stem}.json" in page
    assert "weights of the epoch with the lowest validation loss" in page
    assert "<figcaption>Without and with</figcaption>" in page


def test_what_cannot_be_drawn_is_named_and_the_rest_is_drawn(as_run, tmp_path, capsys):
    record = as_run(ONE)
    paths = write_report(BOTH, tmp_path, [Curves("Both", BOTH)])
    printed = capsys.readouterr().out
    assert re.search(rf"no pictures of the network of {record.stem}: .*\.keras is missing", printed)
    assert "no figure 'Both': it needs records of at least two of tests/one, tests/two" in printed
    assert [path.name for path in paths if path.name == "index.html"]


def test_a_page_tells_of_a_run_that_diverged(as_run, tmp_path):
    lost = {"train": None, "val": None, "test": None, "best_epoch": None, "history": {"loss": (None,)}}
    page = write_page([as_run(ONE), as_run(ONE, seed=1, status="diverged", **lost)], tmp_path, tmp_path / "page.html")
    assert "Seed 1: diverged</b> (the loss was no longer a number)" in page.read_text()
    assert ">1, 1 diverged</td>" in page.read_text()


@pytest.mark.usefixtures("only_figures")
def test_figures_show_a_completed_run_that_was_repeated_and_interrupted(as_run, tmp_path, monkeypatch):
    lost = {"train": None, "val": None, "test": None, "started": "2099-01-01T00:00:00+00:00"}
    completed, _, two = as_run(ONE), as_run(ONE, status="interrupted", **lost), as_run(TWO)
    shown = []
    monkeypatch.setattr(plots, "training_curves", lambda records: shown.append(list(records)) or Figure())
    write_report(BOTH, tmp_path, [Curves("Both", BOTH)])
    assert shown == [[completed, two]]


def test_no_record_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no record of tests/one, tests/two under"):
        write_report(BOTH, tmp_path)


def test_a_record_of_names_that_are_not_registered_is_shown_as_far_as_it_can_be(as_run, tmp_path, capsys, monkeypatch):
    names = {"model": "gone_net", "dataset": "gone_set", "augmentation": "gone_policy"}
    record = as_run(Experiment.from_record({"name": ONE.name, **names}), "trained")
    (tmp_path / "tests" / "bad-seed0.json").write_text("{")
    names = [path.name for path in write_report([ONE], tmp_path, [ImageGrid("Images", (ONE,))])]
    assert f"{Path(record.stem).name}_curves.webp" in names
    printed = capsys.readouterr()
    assert re.search("no pictures of the network of .*'gone_set'", printed.out)
    assert "no figure 'Images'" in printed.out
    assert "bad-seed0.json" in printed.err
    page = (tmp_path / "tests" / "index.html").read_text()
    accuracy = f"{100 * record.test.accuracy:.2f}"
    assert page.count("unknown model &#39;gone_net&#39;") == 1
    assert f"<b>{accuracy} %</b>" in page
    # Not to write into the README of the checkout.
    monkeypatch.chdir(tmp_path / "tests")
    assert cli.report(tmp_path) == 0
    (row,) = [line for line in (tmp_path / "README.md").read_text().splitlines() if f"| {accuracy} (n=1) |" in line]
    assert "| gone_net, gone_policy, " in row


@pytest.mark.parametrize("build", [own_network, nested_network])
def test_networks_of_somebody_else_have_pictures_and_a_layer_table(build, as_run, tmp_path, capsys):
    own = replace(ONE, model=f"{__name__}:{build.__name__}")
    network = build((16, 16, 3), 10)
    record = as_run(own, network, code_sha256={"model": source_digest(build)})
    found = {path.name.removeprefix(f"{Path(record.stem).name}_") for path in write_network_pictures(record, tmp_path)}
    assert {"ten.webp", "grad_cam.webp", "grad_cam_layers.webp"} <= found
    assert "tsne.webp" not in found
    # Layers inside another model cannot be read.
    assert ("features.webp" in found) == (build is own_network)
    printed = capsys.readouterr().out
    assert re.search("no t-SNE of .*'embedding'", printed)
    assert ("no feature maps of " in printed) == (build is nested_network)
    # Its end is softmax: probabilities are what it gives, not the softmax of that.
    loaded = network_pictures.load_trained(record, tmp_path, None)
    probabilities = network_pictures._probabilities(loaded, loaded.dataset.test.images)
    np.testing.assert_allclose(probabilities, network.predict(loaded.dataset.test.images, verbose=0), atol=1e-5)
    page = write_page([record], tmp_path, tmp_path / "page.html").read_text()
    assert ("<td>edges</td>" if build is own_network else "<td>Functional</td>") in page
    changed = replace(record, code_sha256={"model": "0" * 64})
    assert "has changed" in write_page([changed], tmp_path, tmp_path / "page.html").read_text()


def test_datasets_of_somebody_else_are_loaded_for_pictures(trained):
    own = replace(ONE, dataset=f"{__name__}:own_dataset")
    dataset = own_dataset(16)
    record = replace(trained[0], experiment=own, source=dict(dataset.source))
    assert network_pictures.dataset_of(record).source == dataset.source
    with pytest.raises(InputError, match="checksum"):
        network_pictures.dataset_of(replace(record, source=trained[0].source))
    failing = replace(own, dataset=f"{__name__}:failing_dataset", image_size=None)
    with pytest.raises(InputError, match="not mounted"):
        network_pictures.dataset_of(replace(record, experiment=failing))


def test_the_layer_table_adds_up():
    network = build_model("model4", (32, 32, 3), 10)
    rows = architecture.layer_table(network)
    assert rows[0] == ("layer", "kind", "output", "parameters")
    assert sum(int(row[3].replace(",", "")) for row in rows[1:]) == trainable_parameters(network)
    assert ("conv2_norm", "BatchNormalization", "32x32x32", "64") in rows


def test_a_layer_table_has_dashes_for_layers_outside_of_a_graph():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(2, name="inner")

    assert architecture.layer_table(Own())[1] == ("inner", "Dense", "-", "0")


def test_a_drawing_needs_graphviz_and_a_known_ending(tmp_path, monkeypatch):
    network = build_model("conv_net", (16, 16, 3), 10)
    if architecture.can_draw():
        path = architecture.draw(network, tmp_path / "net.png")
        with Image.open(path) as image:
            assert image.height > 300
        with pytest.raises(InputError, match=r"must be a \.png, \.svg or \.pdf file"):
            architecture.draw(network, tmp_path / "net.txt")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="needs graphviz"):
        architecture.draw(network, tmp_path / "net.png")


@pytest.mark.usefixtures("only_figures")
def test_a_sweep_draws_measured_and_published_points_and_names_what_diverged(as_run, tmp_path, monkeypatch):
    rates = [
        replace(
            ONE,
            name=f"tests/rate_{i}",
            model="model4",
            model_options={"dropout": i / 10},
            published=Published(test_accuracy=0.1),
        )
        for i in (0, 3, 5)
    ]
    for experiment in rates[:2]:
        as_run(experiment)
    for experiment in rates[1:]:
        as_run(experiment, seed=1, status="diverged", train=None, val=None, test=None)
    labels = []
    draw = plots.sweep
    monkeypatch.setattr(
        plots, "sweep", lambda *args, **words: labels.append(words["measured_on"]) or draw(*args, **words)
    )
    paths = write_report(rates, tmp_path, [Sweep("Against dropout", "dropout", rates)])
    assert tmp_path / "tests" / "against_dropout.webp" in paths
    assert labels[0].endswith("; diverged at 0.3: 1; diverged at 0.5: 1")


def test_a_network_without_convolutions_has_no_grad_cam(as_run, tmp_path):
    record = as_run(replace(ONE, model="mlp"), build_model("mlp", (16, 16, 3), 10))
    names = [path.name for path in write_network_pictures(record, tmp_path)]
    assert names == [f"{Path(record.stem).name}_{picture}.webp" for picture in ("ten", "tsne", "features")]


def test_ten_test_images_are_the_first_unless_these_are_of_one_class():
    assert network_pictures._ten(np.arange(40) % 4).tolist() == list(range(10))
    assert network_pictures._ten(np.arange(40) // 20).tolist() == [0, 4, 9, 13, 17, 22, 26, 30, 35, 39]
    assert network_pictures._ten(np.zeros(3)).tolist() == [0, 1, 2]


@pytest.mark.usefixtures("only_figures")
def test_records_are_compared_across_image_sizes_but_not_across_changed_settings(as_run, tmp_path, capsys):
    other = replace(TWO, image_size=24)
    as_run(ONE)
    as_run(replace(other, epochs=2), image_shape=(24, 24, 3))
    write_report((ONE, other), tmp_path, [Curves("Both", (ONE, other))])
    assert "no figure 'Both'" in capsys.readouterr().out
    as_run(other, image_shape=(24, 24, 3))
    assert tmp_path / "tests" / "both.webp" in write_report((ONE, other), tmp_path, [Curves("Both", (ONE, other))])


@pytest.mark.usefixtures("only_figures")
def test_a_comparison_is_drawn_of_those_that_were_measured(as_run, tmp_path):
    three = (*BOTH, replace(ONE, name="tests/three"))
    for experiment in BOTH:
        as_run(experiment)
    assert tmp_path / "tests" / "three.webp" in write_report(three, tmp_path, [Curves("Three", three)])


def test_a_published_matrix_of_other_classes_is_left_out(as_run, tmp_path):
    published = Published(confusion_matrix=((1, 0), (0, 1)), per_class_accuracy=(1.0, 1.0))
    assert len(write_pictures(as_run(replace(ONE, published=published)), tmp_path)) == 4


def test_changed_runs_are_drawn_beside_one_that_ran_as_listed(as_run, tmp_path):
    as_run(ONE)
    record = as_run(replace(TWO, epochs=2))
    names = [path.name for path in write_report(BOTH, tmp_path)]
    assert f"{Path(record.stem).name}_curves.webp" in names


def test_classes_long_tails_and_images_are_figures_too(tmp_path, capsys):
    # With the class sizes of the long tail in its record, which no copy of another one has.
    tail = {"class_counts": (4, 4, 3, 3, 2, 2, 1, 1, 1, 1), "batch_size": 8, "shots": (3, 2)}
    one, other = (replace(experiment, **tail, augmentation="none") for experiment in BOTH)
    nearest = replace(one, name="tests/nearest", init_from=one.name, head="nearest_mean")
    figures = [
        ClassComparison("Class by class", (one, other)),
        LongTail("Groups", (one, other, nearest)),
        ImageGrid("Some classes", (other,), classes=(1, 3)),
        Curves("Curves", (one, nearest)),
    ]
    base = run(one, 0, tmp_path, verbose=0)
    record = run(nearest, 0, tmp_path, verbose=0)
    write_record(replace(base, experiment=other), tmp_path)
    # Without its network, which takes longest to draw.
    (tmp_path / f"{base.stem}.keras").unlink()
    paths = {path.name for path in write_report((one, other, nearest), tmp_path, figures)}
    assert {"class_by_class.webp", "groups.webp", "some_classes.webp"} <= paths
    assert f"{Path(record.stem).name}_long_tail.webp" in paths
    printed = capsys.readouterr().out
    assert "no figure 'Curves': it needs records of at least two of tests/one, tests/nearest" in printed
    assert f"no pictures of the network of {record.stem}: head 'nearest_mean' has no network of its own" in printed
    page = (tmp_path / "tests" / "index.html").read_text()
    assert "classes with fewer than 2" in page
    assert "starts from" in page


def test_figures_of_numbers_are_over_all_seeds(monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "class_comparison", lambda *of: drawn.update(classes=of[:2]))
    monkeypatch.setattr(plots, "long_tail_accuracy", lambda of: drawn.update(tail=of))
    records = [
        make_record(seed, accuracy, experiment=experiment)
        for experiment, accuracies in ((ONE, (0.4, 0.6)), (TWO, (0.8,)))
        for seed, accuracy in enumerate(accuracies)
    ]
    material = Material(records, {experiment.name: experiment for experiment in BOTH}, None)
    ClassComparison("Classes", BOTH).draw(material)
    LongTail("Groups", BOTH).draw(material)
    assert drawn["classes"] == ([pytest.approx(0.5), None], [pytest.approx(0.8), None])
    assert {name: groups["all"] for name, groups in drawn["tail"].items()} == pytest.approx({"one": 0.5, "two": 0.8})
