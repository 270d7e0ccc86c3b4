"""Figures show the numbers they are given."""

import numpy as np
import pytest
from test_records import make

from kmodels import InputError, plots


def lines(axes):
    return {line.get_label(): line.get_ydata() for line in axes.get_lines() if not line.get_label().startswith("_")}


def test_curves_show_both_splits_in_percent_and_the_kept_epoch():
    history = {"loss": (2.0, 1.0), "val_loss": (2.5, 1.5), "accuracy": (0.1, 0.2), "val_accuracy": (0.3, None)}
    loss, accuracy = plots.training_curves([make(history=history, best_epoch=2)], ["first"]).axes
    assert lines(loss)["first, training"].tolist() == [2.0, 1.0]
    drawn = lines(accuracy)["first, validation"]
    assert drawn[0] == pytest.approx(30)
    assert np.isnan(drawn[1])
    (dot,) = [line for line in loss.get_lines() if line.get_marker() == "o"]
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (2, 1.5)


def test_curves_need_an_epoch():
    with pytest.raises(InputError, match="curves need a record with a finished epoch"):
        plots.training_curves([make(history={})])


def test_the_confusion_matrix_shows_counts_and_shares_of_rows():
    axes = plots.confusion_matrix([[9, 1], [0, 0]], ("cat", "dog")).axes[0]
    assert [text.get_text() for text in axes.texts] == ["9", "1", "0", "0"]
    np.testing.assert_allclose(axes.images[0].get_array(), [[90, 10], [0, 0]])
    with pytest.raises(InputError, match="matrix must be 3 x 3"):
        plots.confusion_matrix([[9, 1], [0, 0]], ("a", "b", "c"))


def test_class_bars_are_sorted_and_say_where_there_was_no_image():
    axes = plots.per_class_accuracy((0.5, None, 0.9), ("a", "b", "c")).axes[0]
    assert [text.get_text() for text in axes.texts] == ["no image", "50.0", "90.0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a", "c"]


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
