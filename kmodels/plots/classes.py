"""Single classes and groups of them: where two networks differ, and what unequal numbers of images do."""

import textwrap

import numpy as np
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter

from kmodels.errors import require
from kmodels.plots.style import CLASS_COLOURS, COLOURS, SOFT, Figure, entry, label, plain

# More bars than this have no room for a number each.
NUMBERS_UP_TO = 20
GROUPS = ("many", "medium", "few")


def class_comparison(first, second, class_names, names, best=10):
    """The classes' accuracies in two experiments, a dumbbell each, from the largest gain to the largest loss.

    Of more than `2 * best` classes only the `best` that gain most and the `best` that lose most are drawn. Below stand
    the classes that each experiment recognises best and worst.

    Args:
        first: the classes' accuracies, fractions of 1; None for a class without images.
        second: the same, of the other experiment.
        class_names: one for each class.
        names: of the two experiments.
        best: how many classes to draw at either end.

    Raises:
        InputError: if the numbers do not fit or no class has images in both.
    """
    require(
        len(first) == len(second) == len(class_names) and len(names) == 2,
        "first, second and class_names must be equally many, names two",
        (len(first), len(second), len(class_names), len(names)),
    )
    require(best >= 1, "best must be at least 1", best)
    pairs = {i: (first[i], second[i]) for i in range(len(class_names)) if None not in (first[i], second[i])}
    require(pairs, "a comparison needs a class with images in both experiments", (first, second))
    order = sorted(pairs, key=lambda i: pairs[i][1] - pairs[i][0])
    shown = order if len(order) <= 2 * best else order[:best] + order[-best:]
    figure = Figure(figsize=(7.6, 2.0 + 0.27 * len(shown)), layout="constrained")
    axes = figure.subplots()
    # A gap between those that lose and those that gain.
    rows = [row + (len(shown) < len(order) and row >= best) for row in range(len(shown))]
    values = 100 * np.array([pairs[i] for i in shown])
    gains = values[:, 1] - values[:, 0]
    axes.hlines(rows, *values.T, color=["#8FCBB6" if gain >= 0 else "#EDB38C" for gain in gains], linewidth=4)
    for column, name, style in ((0, names[0], {"facecolors": "white"}), (1, names[1], {})):
        axes.scatter(values[:, column], rows, s=34, color=COLOURS[0], zorder=3, label=entry(name), **style)
    for row, gain, end in zip(rows, gains, values.max(axis=1), strict=True):
        style = {"textcoords": "offset points", "va": "center", "fontsize": 8, "color": SOFT}
        axes.annotate(f"{gain:+.1f}", (end, row), (8, 0), **style)
    axes.set_yticks(rows, [label(class_names[i]) for i in shown], fontsize=8.5)
    axes.set(xlim=(0, 109), ylim=(-0.8, rows[-1] + 0.8), xticks=range(0, 101, 20))
    axes.set_xlabel("accuracy (%); beside it the difference in percentage points", fontsize=9)
    plain(axes)
    axes.grid(visible=False, axis="y")
    if len(shown) < len(order):
        axes.set_title(f"the {best} highest and the {best} lowest differences of {len(order)} classes", fontsize=10)
    notes = [*_extremes(pairs, class_names, names), *_without_images(pairs, class_names)]
    text = "\n".join(textwrap.fill(note, 105, subsequent_indent="    ") for note in notes)
    figure.supxlabel(text, x=0.02, ha="left", fontsize=8.5, linespacing=1.5)
    figure.legend(fontsize=9, frameon=False, loc="outside upper center", ncols=2)
    return figure


def _extremes(pairs, class_names, names):
    """For each experiment a sentence on its best and worst classes, three of each where there are six."""
    number = min(3, len(pairs) // 2)
    for side, name in enumerate(names):
        order = sorted(pairs, key=lambda i: -pairs[i][side])
        texts = [f"{label(class_names[i])} ({100 * pairs[i][side]:.1f})" for i in order]
        if number:
            yield f"{label(name)}: best {', '.join(texts[:number])}; worst {', '.join(texts[: -number - 1 : -1])}"


def _without_images(pairs, class_names):
    missing = [label(name) for i, name in enumerate(class_names) if i not in pairs]
    if missing:
        yield f"no image: {', '.join(missing)}"


def long_tail(counts, class_names, many=100, few=20):
    """Training images of each class, most first, on a logarithmic axis, in three groups.

    Args:
        counts: training images of each class.
        class_names: one for each class.
        many: classes with more images than that are "many".
        few: classes with fewer than that are "few"; those between are "medium".

    Raises:
        InputError: if counts and names differ in number, or many is less than few.
    """
    require(
        len(counts) == len(class_names) > 0,
        "counts and class_names must be equally many, at least one",
        (len(counts), len(class_names)),
    )
    require(many >= few, "many must be at least few", (many, few))
    order = sorted(range(len(counts)), key=lambda i: -counts[i])
    values = np.array([counts[i] for i in order])
    groups = {
        f"many: more than {many}": values > many,
        f"medium: {few} to {many}": (values <= many) & (values >= few),
        f"few: fewer than {few}": values < few,
    }
    large = len(order) > NUMBERS_UP_TO
    figure = Figure(figsize=(min(14, max(6, 2 + (0.12 if large else 0.55) * len(order))), 4.4), layout="constrained")
    axes = figure.subplots()
    for members, colour in zip(groups.values(), COLOURS, strict=False):
        indices = np.flatnonzero(members)
        axes.bar(indices, values[indices], 0.82, color=colour)
    for limit in (many, few):
        axes.axhline(limit, color=SOFT, linewidth=0.9, linestyle="--", zorder=0.9)
    for index, value in enumerate(() if large else values):
        axes.annotate(
            f"{value:,}",
            (index, max(value, 0.8)),
            (0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            # So that no line runs through the number.
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )
    slanted = {"rotation": 90} if large else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(order)), [label(class_names[i]) for i in order], fontsize=6.5 if large else 9, **slanted)
    axes.set(yscale="log", xlim=(-0.7, len(order) - 0.3), ylim=(0.8, 1.6 * max(*values, many)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("training images")
    plain(axes)
    axes.grid(visible=False, axis="x")
    entries = [
        Patch(color=colour, label=f"{text} ({members.sum()} class{'' if members.sum() == 1 else 'es'})")
        for (text, members), colour in zip(groups.items(), COLOURS, strict=False)
    ]
    columns = 3 if figure.get_figwidth() > 7.5 else 1
    figure.legend(handles=entries, fontsize=9, frameon=False, loc="outside upper center", ncols=columns)
    return figure


def long_tail_accuracy(accuracies):
    """Test accuracy of several heads, over all classes and over those with many, medium and few training images.

    Args:
        accuracies: {name: {"all": .., "many": .., "medium": .., "few": ..}}, fractions of 1; None where a group has no
            class.

    Raises:
        InputError: if there is no head, or one that lacks a group.
    """
    groups = ("all", *GROUPS)
    require(
        accuracies and all(set(groups) <= set(values) for values in accuracies.values()),
        f"accuracies must be {{name: {{group: accuracy}}}} with the groups {', '.join(groups)}",
        accuracies,
    )
    width = 0.82 / len(accuracies)
    figure = Figure(figsize=(max(6.5, 2 + 4 * 0.5 * len(accuracies)), 4), layout="constrained")
    axes = figure.subplots()
    for i, (name, values) in enumerate(accuracies.items()):
        positions = np.arange(len(groups)) + (i - (len(accuracies) - 1) / 2) * width
        heights = [100 * (values[group] or 0) for group in groups]
        axes.bar(positions, heights, 0.92 * width, color=CLASS_COLOURS[i % 10], label=entry(name))
        for x, height, group in zip(positions, heights, groups, strict=True):
            missing = values[group] is None
            axes.text(
                x,
                height + 1,
                "no class" if missing else f"{height:.1f}",
                ha="center",
                va="bottom",
                fontsize=8,
                rotation=90 if missing else 0,
                color=SOFT if missing else "black",
            )
    axes.set_xticks(range(len(groups)), ("all classes", *(f"{group}\ntraining images" for group in GROUPS)))
    axes.set(ylabel="test accuracy (%)", ylim=(0, 106))
    plain(axes)
    axes.grid(visible=False, axis="x")
    figure.legend(fontsize=9, frameon=False, loc="outside upper center", ncols=min(4, len(accuracies)))
    return figure
