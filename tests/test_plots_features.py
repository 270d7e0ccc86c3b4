"""Figures of features and of single classes show the numbers they are given."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from kmodels import InputError, plots


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def drawn(figure):
    """The figure, once it has been laid out: warnings of the layout are errors here."""
    figure.canvas.draw()
    return figure


def test_points_of_a_class_share_a_colour_and_a_marker_that_no_other_class_has():
    n = 100
    figure = drawn(plots.embedding(np.random.default_rng(0).random((n, 2)), range(n), [f"class {i}" for i in range(n)]))
    scatters = figure.axes[0].collections
    looks = {(to_hex(s.get_facecolor()[0]), s.get_paths()[0].vertices.tobytes()) for s in scatters}
    assert len(looks) == n
    assert len({colour for colour, _ in list(looks)}) == 10
    np.testing.assert_array_equal(texts(figure.legends[0]), [f"class {i}" for i in range(n)])


def test_the_silhouette_stands_above_the_classes_that_occur():
    points = np.array([[0, 0], [1, 1], [2, 2]])
    figure = drawn(plots.embedding(points, [2, 0, 2], ("a", "b", "c"), 0.314, "t-SNE"))
    assert texts(figure.legends[0]) == ["a", "c"]
    assert figure.legends[0].get_title().get_text() == "silhouette 0.31"
    np.testing.assert_array_equal(figure.axes[0].collections[1].get_offsets(), points[[0, 2]])
    assert figure.axes[0].get_title() == "t-SNE"
    assert plots.embedding(points, [2, 0, 2], ("a", "b", "c")).legends[0].get_title().get_text() == ""


def test_few_classes_are_all_compared_from_gain_to_loss():
    figure = drawn(plots.class_comparison([0.5, 0.9, None], [0.7, 0.8, 0.1], ("a", "b", "c"), ("old", "new")))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    assert [text.get_text() for text in axes.texts] == ["-10.0", "+20.0"]
    old, new = axes.collections[1:]
    np.testing.assert_allclose(old.get_offsets(), [[90, 0], [50, 1]])
    np.testing.assert_allclose(new.get_offsets(), [[80, 0], [70, 1]])
    assert figure.get_supxlabel().splitlines() == [
        "old: best b (90.0); worst a (50.0)",
        "new: best b (80.0); worst a (70.0)",
        "no image: c",
    ]


def test_of_many_classes_those_that_change_most_are_compared():
    names = [f"class {i}" for i in range(100)]
    figure = drawn(plots.class_comparison([0.5] * 100, [0.2 + 0.005 * i for i in range(100)], names, ("a", "b"), 3))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["class 0", "class 1", "class 2", "class 97", "class 98", "class 99"]
    assert figure.axes[0].get_title() == "the 3 highest and the 3 lowest differences of 100 classes"
    assert "b: best class 99 (69.5), class 98 (69.0), class 97 (68.5); worst class 0 (20.0)," in figure.get_supxlabel()


def test_the_strongest_channels_are_drawn_each_from_dark_to_bright():
    maps = np.zeros((2, 2, 40), np.float32)
    maps[..., 20:] = np.arange(20)
    maps[0, 0, 20:] += 1
    figure = drawn(plots.feature_maps(np.zeros((8, 8, 3), np.uint8), {"conv": maps, "pool": np.arange(5)}, "a frog"))
    image, square, line = figure.axes
    assert image.get_title() == "image"
    assert square.get_title() == "conv, 2x2\n16 strongest of 40 channels"
    shown = np.ma.filled(square.images[0].get_array(), np.nan)
    assert shown.shape == (4 * 2 + 3, 4 * 2 + 3)
    np.testing.assert_array_equal(shown[:2, :2], [[1, 0], [0, 0]])
    assert np.isnan(shown[2]).all()
    assert line.get_title() == "pool, 5 features"
    np.testing.assert_array_equal(line.get_lines()[0].get_ydata(), np.arange(5))


def test_a_channel_that_is_the_same_everywhere_is_dark():
    figure = drawn(plots.feature_maps(np.zeros((8, 8, 3)), {"conv": np.full((3, 3, 1), 7.0)}))
    assert figure.axes[1].images[0].get_array().max() == 0
    assert figure.axes[1].get_title() == "conv, 3x3\n1 channels"


def test_long_tail_sorts_classes_and_says_how_many_are_in_each_group():
    figure = drawn(plots.long_tail([19, 5000, 100, 0], ("a", "b", "c", "d")))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["b", "c", "a", "d"]
    assert [bar.get_height() for bar in axes.patches] == [5000, 100, 19, 0]
    assert [text.get_text() for text in axes.texts] == ["5,000", "100", "19", "0"]
    assert axes.get_yscale() == "log"
    assert texts(figure.legends[0]) == [
        "many: more than 100 (1 class)",
        "medium: 20 to 100 (1 class)",
        "few: fewer than 20 (2 classes)",
    ]
    drawn(plots.long_tail(range(1, 101), [f"class {i}" for i in range(100)]))


def test_a_group_without_a_class_is_a_gap_that_says_so():
    heads = {
        "own": {"all": 0.5, "many": 0.6, "medium": 0.4, "few": None},
        "svm": {"all": 0.55, "many": 0.5, "medium": 0.6, "few": None},
    }
    figure = drawn(plots.long_tail_accuracy(heads))
    (axes,) = figure.axes
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], [50, 60, 40, 0, 55, 50, 60, 0])
    assert [text.get_text() for text in axes.texts] == [
        *("50.0", "60.0", "40.0", "no class"),
        *("55.0", "50.0", "60.0", "no class"),
    ]
    assert texts(figure.legends[0]) == ["own", "svm"]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.embedding(np.zeros((2, 3)), [0, 1], "ab"), r"points must be \(n, 2\) and labels \(n,\)"),
        (lambda: plots.embedding(np.zeros((2, 2)), [0, 2], "ab"), "labels must be integers from 0 to 1"),
        (lambda: plots.class_comparison([0.5], [0.5, 1], "ab", "xy"), "must be equally many"),
        (lambda: plots.class_comparison([None], [0.5], "a", "xy"), "a class with images in both"),
        (lambda: plots.class_comparison([0.1], [0.5], "a", "xy", best=0), "best must be at least 1"),
        (lambda: plots.feature_maps(np.zeros((8, 8, 3)), {}), "at least one layer"),
        (lambda: plots.feature_maps(np.zeros((8, 8, 3)), {"conv": np.zeros((1, 4, 4, 2))}), "maps must be"),
        (lambda: plots.long_tail([1, 2], "a"), "counts and class_names must be equally many"),
        (lambda: plots.long_tail([1], "a", many=1, few=2), "many must be at least few"),
        (lambda: plots.long_tail_accuracy({"own": {"all": 1.0}}), "with the groups all, many, medium, few"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises(InputError, match=message):
        draw()
