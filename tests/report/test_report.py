"""Pictures and the page, from real records."""

import html.parser
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmodels import InputError, Published, build_model, run
from kmodels.models import trainable_parameters
from kmodels.report import architecture, write_report
from kmodels.report.figures import ClassComparison, Curves, ImageGrid, LongTail, Sweep
from kmodels.report.network_pictures import _ten, write_network_pictures
from kmodels.report.pictures import write_pictures

NETWORK_PICTURES = ("ten", "grad_cam", "grad_cam_layers", "tsne", "features")


@pytest.fixture
def two(tiny):
    return replace(tiny, name="tests/one", epochs=1), replace(tiny, name="tests/two", epochs=1, augmentation="none")


def run_without_network(experiment, out):
    """A record whose network is gone, so that nothing is drawn with it: for tests of what is drawn of records alone."""
    record = run(experiment, 0, out, verbose=0)
    (out / f"{record.stem}.keras").unlink()
    return record


def test_a_report_is_pictures_beside_the_records_and_one_page(two, tmp_path):
    records = [run(experiment, 0, tmp_path, verbose=0) for experiment in two]
    paths = write_report(two, tmp_path, [Curves("Without and with", two)])
    names = {path.relative_to(tmp_path).as_posix() for path in paths}
    for record in records:
        for picture in ("curves", "confusion", "classes", "reliability", *NETWORK_PICTURES):
            assert f"{record.stem}_{picture}.png" in names
    assert {"tests/without_and_with.png", "tests/index.html"} <= names
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert min(image.size) > 100
    page = (tmp_path / "tests" / "index.html").read_text()
    html.parser.HTMLParser().feed(page)
    # Self-contained: whatever it shows is in it.
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert page.count("data:image/webp;base64,") >= 9
    for record in records:
        assert record.source["sha256"] in page
        assert f"{record.stem}.json" in page


def test_what_cannot_be_drawn_is_said_and_the_rest_is_drawn(two, tmp_path, capsys):
    record = run(two[0], 0, tmp_path, verbose=0)
    (tmp_path / f"{record.stem}.keras").unlink()
    paths = write_report(two, tmp_path, [Curves("Both", two)])
    said = capsys.readouterr().out
    assert re.search(r"no pictures of the network of .*its network .*\.keras is not here", said)
    assert "no figure 'Both': it needs records of at least two of tests/one, tests/two, on the same images" in said
    assert [path.name for path in paths if path.name == "index.html"]


@pytest.mark.usefixtures("nan_loss")
def test_a_page_tells_of_a_run_that_diverged(two, tmp_path):
    run(two[0], 0, tmp_path, verbose=0)
    write_report(two, tmp_path)
    assert "Diverged: the loss was no longer a number" in (tmp_path / "tests" / "index.html").read_text()


def test_no_record_is_an_error(two, tmp_path):
    with pytest.raises(InputError, match="no record of tests/one, tests/two under"):
        write_report(two, tmp_path)


def test_the_layer_table_adds_up():
    network = build_model("model4", (32, 32, 3), 10)
    rows = architecture.layer_table(network)
    assert rows[0] == ("layer", "kind", "output", "parameters")
    assert sum(int(row[3].replace(",", "")) for row in rows[1:]) == trainable_parameters(network)
    assert ("conv2_norm", "BatchNormalization", "32x32x32", "64") in rows


def test_a_drawing_needs_graphviz_and_a_known_ending(tmp_path, monkeypatch):
    network = build_model("conv_net", (16, 16, 3), 3)
    if architecture.can_draw():
        path = architecture.draw(network, tmp_path / "net.png")
        with Image.open(path) as image:
            assert image.height > 300
        with pytest.raises(InputError, match=r"must be a \.png, \.svg or \.pdf file"):
            architecture.draw(network, tmp_path / "net.txt")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="needs graphviz"):
        architecture.draw(network, tmp_path / "net.png")


def test_a_sweep_draws_measured_and_published_points(two, tmp_path):
    rates = [
        replace(
            two[1],
            name=f"tests/rate_{i}",
            model="model4",
            model_options={"dropout": i / 10},
            published=Published(test_accuracy=0.1),
        )
        for i in (0, 5)
    ]
    for experiment in rates:
        run_without_network(experiment, tmp_path)
    paths = write_report(rates, tmp_path, [Sweep("Against dropout", "dropout", rates)])
    assert tmp_path / "tests" / "against_dropout.png" in paths
    assert "Against dropout" in (tmp_path / "tests" / "index.html").read_text()


def test_a_network_without_convolutions_has_no_grad_cam(two, tmp_path):
    record = run(replace(two[0], model="mlp"), 0, tmp_path, verbose=0)
    names = [path.name for path in write_network_pictures(record, tmp_path)]
    assert names == [f"{Path(record.stem).name}_{picture}.png" for picture in ("ten", "tsne", "features")]


def test_ten_test_images_are_the_first_unless_these_are_of_one_class():
    assert _ten(np.arange(40) % 4).tolist() == list(range(10))
    assert _ten(np.arange(40) // 20).tolist() == [0, 4, 9, 13, 17, 22, 26, 30, 35, 39]
    assert _ten(np.zeros(3)).tolist() == [0, 1, 2]


def test_records_are_compared_across_image_sizes_but_not_across_changed_settings(two, tmp_path, capsys):
    one, other = two[0], replace(two[1], image_size=24)
    run_without_network(one, tmp_path)
    run_without_network(replace(other, epochs=2), tmp_path)
    write_report((one, other), tmp_path, [Curves("Both", (one, other))])
    assert "no figure 'Both'" in capsys.readouterr().out
    run_without_network(other, tmp_path)
    assert tmp_path / "tests" / "both.png" in write_report((one, other), tmp_path, [Curves("Both", (one, other))])


def test_a_comparison_is_drawn_of_those_that_were_measured(two, tmp_path):
    third = replace(two[0], name="tests/three")
    for experiment in two:
        run_without_network(experiment, tmp_path)
    assert tmp_path / "tests" / "three.png" in write_report((*two, third), tmp_path, [Curves("Three", (*two, third))])


def test_a_published_matrix_of_other_classes_is_left_out(two, tmp_path):
    published = Published(confusion_matrix=((1, 0), (0, 1)), per_class_accuracy=(1.0, 1.0))
    record = run(replace(two[0], published=published), 0, tmp_path, verbose=0)
    assert len(write_pictures(record, tmp_path)) == 4


def test_changed_runs_are_drawn_beside_one_that_ran_as_listed(two, tmp_path):
    one, other = two
    run_without_network(one, tmp_path)
    record = run_without_network(replace(other, epochs=2), tmp_path)
    names = [path.name for path in write_report(two, tmp_path)]
    assert f"{Path(record.stem).name}_curves.png" in names


def test_classes_long_tails_and_images_are_figures_too(two, tmp_path, capsys):
    tail = {"class_counts": (4, 4, 3, 3, 2, 2, 1, 1, 1, 1), "batch_size": 8, "shots": (3, 2)}
    one, other = (replace(experiment, **tail) for experiment in two)
    nearest = replace(one, name="tests/nearest", augmentation="none", init_from=one.name, head="nearest_mean")
    figures = [
        ClassComparison("Class by class", (one, other)),
        LongTail("Groups", (one, other, nearest)),
        ImageGrid("Some classes", (other,), classes=(1, 3)),
        Curves("Curves", (one, nearest)),
    ]
    for experiment in (one, other, nearest):
        record = run(experiment, 0, tmp_path, verbose=0)
    paths = {path.name for path in write_report((one, other, nearest), tmp_path, figures)}
    assert {"class_by_class.png", "groups.png", "some_classes.png"} <= paths
    assert f"{Path(record.stem).name}_long_tail.png" in paths
    said = capsys.readouterr().out
    assert "no figure 'Curves': it needs records of at least two of tests/one, tests/nearest" in said
    assert f"no pictures of the network of {record.stem}: head 'nearest_mean' has no network of its own" in said
    page = (tmp_path / "tests" / "index.html").read_text()
    assert "(classes with fewer than 2)" in page
    assert "starts from" in page
