"""Figures show the numbers they are given."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_record

from kmodels import InputError, plots
from kmodels.analysis import calibration


def lines(axes):
    return {line.get_label(): line.get_ydata() for line in axes.get_lines() if not line.get_label().startswith("_")}


def test_curves_show_both_splits_in_percent_and_the_kept_epoch():
    history = {"loss": (2.0, 1.0), "val_loss": (2.5, 1.5), "accuracy": (0.1, 0.2), "val_accuracy": (0.3, None)}
    loss, accuracy = plots.training_curves([make_record(history=history, best_epoch=2)], ["first"]).axes
    assert lines(loss)["first, training"].tolist() == [2.0, 1.0]
    drawn = lines(accuracy)["first, validation"]
    assert drawn[0] == pytest.approx(30)
    assert np.isnan(drawn[1])
    (dot,) = [line for line in loss.get_lines() if line.get_marker() == "o"]
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (2, 1.5)


def test_curves_need_an_epoch():
    with pytest.raises(InputError, match="curves need a record with a finished epoch"):
        plots.training_curves([make_record(history={})])


def test_a_record_without_epochs_has_no_curve():
    history = dict.fromkeys(("loss", "val_loss", "accuracy", "val_accuracy"), (0.5, 0.4))
    head = make_record(history={}, best_epoch=None)
    trained = make_record(history=history, experiment=replace(make_record().experiment, patience=None))
    loss = plots.training_curves([head, trained], ["head", "trained"]).axes[0]
    assert set(lines(loss)) == {"trained, training", "trained, validation"}
    assert "stopped early" not in loss.get_legend().get_title().get_text()


def test_more_runs_than_three_have_panels_for_training_and_validation():
    history = {"loss": (2.0, 1.0), "val_loss": (2.5, 1.5), "accuracy": (0.1, 0.2), "val_accuracy": (0.3, 0.4)}
    figure = plots.training_curves(10 * [make_record(history=history, best_epoch=2)], [f"rate {i}" for i in range(10)])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["Training loss", "Training accuracy", "Validation loss", "Validation accuracy"]
    assert [len(lines(axes)) for axes in figure.axes] == [10, 10, 10, 10]
    assert lines(figure.axes[3])["rate 4"].tolist() == [30, 40]
    assert len({line.get_color() for line in figure.axes[0].get_lines()}) == 10


def test_early_stopping_is_marked_where_it_acted_and_only_there():
    history = dict.fromkeys(("loss", "val_loss", "accuracy", "val_accuracy"), (0.5, 0.4, 0.6))
    base = make_record(history=history, best_epoch=2)
    stopped = replace(base, experiment=replace(base.experiment, epochs=9, patience=1))
    whole = replace(base, experiment=replace(base.experiment, epochs=3, patience=1))
    for record, marks in ((stopped, 1), (whole, 0)):
        loss = plots.training_curves([record]).axes[0]
        crosses = [line for line in loss.get_lines() if line.get_marker() == "X"]
        assert [line.get_xdata()[0] for line in crosses] == marks * [3]
        assert ("stopped early" in loss.get_legend().get_title().get_text()) is bool(marks)


def test_a_sweep_shows_measured_and_published_in_percent():
    axes = plots.sweep((0.0, 0.5, 0.9), [(0.8, None), None, (0.7, 0.01)], (0.83, 0.84, None), setting="dropout").axes[0]
    published, measured = axes.get_lines()[:2]
    np.testing.assert_allclose(published.get_xydata(), [(0.0, 83), (0.5, 84)])
    np.testing.assert_allclose(measured.get_xydata(), [(0.0, 80), (0.9, 70)])
    assert axes.get_xlabel() == "dropout"
    with pytest.raises(InputError, match="must be equally many"):
        plots.sweep((0.0, 0.5), [None], (0.8, 0.9), setting="dropout")


def test_the_confusion_matrix_shows_counts_and_percentages_of_rows():
    axes = plots.confusion_matrix([[9, 1], [0, 0]], ("cat", "dog")).axes[0]
    assert [text.get_text() for text in axes.texts] == ["9\n90.0 %", "1\n10.0 %", "0", "0"]
    np.testing.assert_allclose(axes.images[0].get_array(), [[90, 10], [0, 0]])
    with pytest.raises(InputError, match="matrix must be 3 x 3"):
        plots.confusion_matrix([[9, 1], [0, 0]], ("a", "b", "c"))


def test_the_published_matrix_stands_beside_the_measured_one():
    figure = plots.confusion_matrix([[9, 1], [0, 5]], ("cat", "dog"), published=((90, 10), (7, 3)))
    assert [axes.get_title() for axes in figure.axes[:2]] == ["measured", "published"]
    assert figure.axes[1].texts[0].get_text() == "90\n90.0 %"


def test_class_bars_are_sorted_and_say_where_there_was_no_image():
    axes = plots.per_class_accuracy((0.5, None, 0.9), ("a", "b", "c")).axes[0]
    assert [text.get_text() for text in axes.texts] == ["no image", "50.0", "90.0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a", "c"]


def test_published_class_accuracies_are_diamonds_on_their_class():
    axes = plots.per_class_accuracy((0.5, 0.9), ("a", "b"), published=(0.6, 0.8)).axes[0]
    (diamonds,) = [line for line in axes.get_lines() if line.get_marker() == "D"]
    np.testing.assert_allclose(diamonds.get_xydata(), [(60, 0), (80, 1)])
    with pytest.raises(InputError, match="published must be 2 numbers"):
        plots.per_class_accuracy((0.5, 0.9), ("a", "b"), published=(0.6,))


def test_the_reliability_diagram_shows_the_bins_that_hold_images():
    measured = calibration(np.array([0.95, 0.95, 0.3]), np.array([True, False, True]), bins=10)
    upper, lower = plots.reliability_diagram(measured).axes
    assert [round(bar.get_height()) for bar in upper.patches] == [100, 50]
    assert [bar.get_height() for bar in lower.patches] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 2]
    assert upper.get_title() == "expected calibration error 53.3 %"


def test_predictions_name_the_class_the_probability_and_the_truth_where_wrong():
    probabilities = np.array([[0.9, 0.1], [0.75, 0.25]])
    figure = plots.predictions(np.zeros((2, 8, 8, 3), np.uint8), probabilities, [0, 1], ("cat", "dog"))
    assert [axes.get_title() for axes in figure.axes] == ["cat 90.0 %", "cat 75.0 %\ntruth: dog"]
    with pytest.raises(InputError, match="must be equally many"):
        plots.predictions(np.zeros((2, 8, 8, 3), np.uint8), probabilities, [0], ("cat", "dog"))


def test_the_maps_of_several_layers_lie_side_by_side():
    images = np.full((2, 8, 8, 3), 255, np.uint8)
    maps = {"first": np.ones((2, 8, 8), np.float32), "last": np.zeros((2, 8, 8), np.float32)}
    axes = plots.grad_cam_layers(images, maps, ("one", "two")).axes
    assert [panel.get_title(loc="left") or panel.get_title() for panel in axes] == [
        *("one", "first", "last: all 0"),
        *("two", "first", "last: all 0"),
    ]
    with pytest.raises(InputError, match="must be equally many"):
        plots.grad_cam_layers(images, maps, ("one",))


@pytest.mark.parametrize("n", [1, 3, 10])
def test_each_image_gets_three_panels(n):
    images = np.full((n, 8, 8, 3), 255, np.uint8)
    maps = np.linspace(0, 1, n * 64, dtype=np.float32).reshape(n, 8, 8)
    figure = plots.grad_cam_panels(images, maps, [f"class {i}" for i in range(n)])
    drawn = [axes.images[0].get_array() for axes in figure.axes if axes.images and axes.get_label() != "<colorbar>"]
    assert len(drawn) == 3 * n
    masked = drawn[3 * (n - 1) + 2] if n == 1 else drawn[2]
    np.testing.assert_allclose(masked[..., 0], maps[0], atol=1e-6)
    with pytest.raises(InputError, match="must be equally many"):
        plots.grad_cam_panels(images, maps, [])


@pytest.mark.parametrize(("n", "with_maps"), [(1, True), (5, True), (6, False)])
def test_mistakes_are_shown_with_their_maps_and_titles(n, with_maps):
    images = np.full((n, 8, 8, 3), 255, np.uint8)
    maps = np.ones((n, 8, 8), np.float32) if with_maps else None
    figure = plots.mistakes(images, maps, [f"cat 99 %, is dog\nphotographs/{i}.jpg" for i in range(n)])
    assert sum(bool(axes.images) for axes in figure.axes) == (2 if with_maps else 1) * n
    assert next(axes.get_title(loc="left") for axes in figure.axes if axes.images).endswith("photographs/0.jpg")
    with pytest.raises(InputError, match="must be equally many"):
        plots.mistakes(images, maps, [])


def test_a_grid_has_rows_of_images_under_their_titles():
    images = [[np.full((8, 8, 3), 10 * i + j, np.uint8) for j in range(length)] for i, length in enumerate((3, 1))]
    figure = plots.image_grid(
        images,
        row_titles=("cat", "dog"),
        column_titles=("first", "second", "third"),
        captions=[("a", "", "b"), ("c",)],
        title="all",
    )
    assert [axes.get_title() for axes in figure.axes] == ["first", "second", "third", "", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["cat", "", "", "dog", "", ""]
    assert [axes.get_xlabel() for axes in figure.axes] == ["a", "", "b", "c", "", ""]
    assert [axes.images[0].get_array()[0, 0, 0] if axes.images else None for axes in figure.axes] == [
        *(0, 1, 2),
        *(10, None, None),
    ]
    assert figure.get_suptitle() == "all"
    assert len(plots.image_grid(np.zeros((2, 4, 8, 8, 3), np.uint8)).axes) == 8


@pytest.mark.parametrize(
    ("images", "titles", "message"),
    [
        ((), {}, "a grid needs rows with images"),
        (np.zeros((2, 0, 8, 8, 3), np.uint8), {}, r"a grid needs rows with images. Received: \[0, 0\]"),
        (np.zeros((2, 3, 8, 8, 3), np.uint8), {"row_titles": ["a"]}, "row_titles must be 2, one for each row"),
        (np.zeros((2, 3, 8, 8, 3), np.uint8), {"column_titles": ["a"]}, "column_titles must be 3, one for each column"),
        (np.zeros((2, 1, 8, 8, 3), np.uint8), {"captions": [["a"]]}, r"captions must be as many .* \[1, 1\]"),
    ],
)
def test_a_grid_refuses_titles_of_another_number(images, titles, message):
    with pytest.raises(InputError, match=message):
        plots.image_grid(images, **titles)
