"""Accuracy of a network by class, and its calibration."""

import numpy as np

from kmodels.errors import require
from kmodels.plots.style import COLOURS, SOFT, Figure, label, plain
from kmodels.text import columns

# In larger matrices the cells are too small for a second line, and in much larger ones for any.
PERCENTAGES_UP_TO, NUMBERS_UP_TO = 12, 30


def confusion_matrix(matrix, class_names, published=None):
    """The confusion matrix with counts and percentages of rows; the shade is the percentage, too.

    Args:
        matrix: counts (classes, classes), rows true, columns predicted.
        class_names: one for each class.
        published: a report's matrix, to stand beside it; None: none.

    Raises:
        InputError: if a matrix has not a row and a column for each class.
    """
    matrices = {"measured": matrix, "published": published} if published is not None else {"": matrix}
    n, class_names = len(class_names), [label(name, 24) for name in class_names]
    # Of the usual length, names have room; longer ones need more.
    longest = max(map(columns, class_names), default=0)
    side = 1.8 + (0.55 if n <= PERCENTAGES_UP_TO else 0.42 if n <= NUMBERS_UP_TO else 0.11) * n
    side += 0.12 * max(0, longest - 12)
    figure = Figure(figsize=(side * len(matrices) + 0.6, side), layout="constrained")
    panels = figure.subplots(1, len(matrices), squeeze=False)[0]
    for axes, (title, counts) in zip(panels, matrices.items(), strict=True):
        picture = _matrix(axes, np.asarray(counts), class_names)
        axes.set_title(title)
    figure.colorbar(picture, ax=list(panels), shrink=0.75, label="share of the true class (%)")
    return figure


def _matrix(axes, matrix, class_names):
    n = len(class_names)
    require(matrix.shape == (n, n), f"matrix must be {n} x {n}, a row and a column for each class name", matrix.shape)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), count in np.ndenumerate(matrix if n <= NUMBERS_UP_TO else ()):
        colour = "white" if shares[row, column] > 55 else "#222222" if count else "#BBBBBB"
        text = f"{count}"
        if n <= PERCENTAGES_UP_TO and count:
            text += f"\n{shares[row, column]:.1f} %"
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, linespacing=1.3, color=colour)
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, class_names)) > 2 else {}
    size = 8 if n <= NUMBERS_UP_TO else 5
    axes.set_xticks(range(n), class_names, fontsize=size, **slanted)
    axes.set_yticks(range(n), class_names, fontsize=size)
    axes.set(xlabel="predicted", ylabel="true")
    return picture


def per_class_accuracy(accuracies, class_names, published=None):
    """Bars, best class first, with each class's percentage; published values as diamonds.

    Args:
        accuracies: fractions of 1, None for a class without images.
        class_names: one for each class.
        published: a report's fractions, one for each class; None: none.
    """
    order = sorted(range(len(class_names)), key=lambda i: -1 if accuracies[i] is None else accuracies[i])
    many = len(class_names) > NUMBERS_UP_TO
    figure = Figure(figsize=(6, 0.9 + (0.15 if many else 0.3) * len(class_names)), layout="constrained")
    axes = figure.subplots()
    values = [100 * (accuracies[i] or 0) for i in order]
    axes.barh(range(len(order)), values, color=COLOURS[0], height=0.7)
    for row, i in enumerate(order):
        text = "no image" if accuracies[i] is None else f"{100 * accuracies[i]:.1f}"
        axes.text(values[row] + 1, row, text, va="center", fontsize=6 if many else 8)
    axes.set_yticks(range(len(order)), [label(class_names[i]) for i in order], fontsize=6 if many else 8)
    axes.set(xlabel="accuracy (%), best class first", ylabel="true class", xlim=(0, 108))
    axes.set_ylim(-1, len(order))
    plain(axes)
    axes.grid(visible=False)
    if published is not None:
        require(len(published) == len(class_names), f"published must be {len(class_names)} numbers", tuple(published))
        diamonds = [100 * published[i] for i in order]
        axes.plot(diamonds, range(len(order)), "D", color=COLOURS[1], markeredgecolor="white", label="published")
        figure.legend(fontsize=8, frameon=False, loc="outside upper right")
    return figure


def reliability_diagram(calibration):
    """Accuracy against confidence, bin by bin, over how many predictions had it.

    Bars below the diagonal show overconfidence.

    Args:
        calibration: a Calibration.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017.
    """
    bins = len(calibration.counts)
    centres = (np.arange(bins) + 0.5) / bins * 100
    figure = Figure(figsize=(4.6, 4.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    filled = [i for i, count in enumerate(calibration.counts) if count]
    accuracies = [100 * calibration.accuracies[i] for i in filled]
    confidences = [100 * calibration.confidences[i] for i in filled]
    upper.plot((0, 100), (0, 100), "--", color=SOFT, linewidth=1, label="as sure as right")
    upper.bar(centres[filled], accuracies, width=90 / bins, color=COLOURS[0], label="accuracy")
    upper.plot(confidences, confidences, "_", color=COLOURS[1], markersize=11, markeredgewidth=2, label="confidence")
    upper.set(ylabel="accuracy (%)", xlim=(0, 100), ylim=(0, 100))
    upper.set_title(f"expected calibration error {100 * calibration.error:.1f} %", fontsize=10)
    upper.legend(fontsize=8, frameon=False, loc="upper left")
    lower.bar(centres, calibration.counts, width=90 / bins, color=SOFT)
    lower.set(xlabel="confidence (%)", ylabel="images")
    for axes in (upper, lower):
        plain(axes)
    return figure
