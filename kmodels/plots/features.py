"""Embeddings and feature maps of images."""

import numpy as np

from kmodels.errors import require
from kmodels.plots.pixels import to_rgb
from kmodels.plots.style import CLASS_COLOURS, COLOURS, Figure, caption, entry, plain

MARKERS = "o^sDvPX<>p"
# Of a layer, in a square.
CHANNELS = 16


def embedding(points, labels, class_names, silhouette=None, title=""):
    """Images as points in a plane, each class with a colour and a marker of its own (up to 100 classes).

    Args:
        points: (n, 2), for instance from t-SNE; its axes have no unit.
        labels: ints (n,), the classes.
        class_names: one for each class.
        silhouette: how far the classes lie apart, -1..1; None: not shown.
        title: of the figure.

    Raises:
        InputError: if points or labels do not fit.
    """
    points, labels = np.asarray(points), np.asarray(labels)
    require(
        points.ndim == 2 and points.shape[1] == 2 and labels.shape == (len(points),) and len(points) > 0,
        "points must be (n, 2) and labels (n,), n at least 1",
        (points.shape, labels.shape),
    )
    present = np.unique(labels).tolist()
    require(
        set(present) <= set(range(len(class_names))),
        f"labels must be integers from 0 to {len(class_names) - 1}",
        present,
    )
    columns = -(-len(present) // 25)
    figure = Figure(figsize=(6.6 + 1.5 * columns, 5.6), layout="constrained")
    axes = figure.subplots()
    for label in present:
        axes.scatter(
            *points[labels == label].T,
            s=20 if len(points) > 300 else 36,
            color=CLASS_COLOURS[label % 10],
            marker=MARKERS[(label + label // 10) % 10],
            linewidths=0.3,
            edgecolors="white",
            alpha=0.85,
            label=entry(class_names[label], 24),
        )
    axes.set(xticks=[], yticks=[], title=caption(title, 60))
    axes.set_aspect("equal", "datalim")
    axes.spines[:].set_color("#DDDDDD")
    figure.legend(
        loc="outside right upper",
        frameon=False,
        fontsize=9 if columns == 1 else 7.5,
        ncols=columns,
        markerscale=1.6,
        title=None if silhouette is None else f"silhouette {round(silhouette, 2) + 0.0:.2f}",
        alignment="left",
    )
    return figure


def feature_maps(image, maps, title=""):
    """One image and what layers make of it: the channels of 4-D layers as a square of maps, 2-D layers as a line.

    Of more than 16 channels the 16 with the largest mean are drawn, in the order of the layer; each channel from its
    own least value, dark, to its greatest, bright.

    Args:
        image: (height, width, channels), of integers 0..255, or floats, which are stretched to their range.
        maps: {layer name: (rows, columns, channels) or (d,)}, finite, in the order of the network.
        title: of the figure.

    Raises:
        InputError: if there is no layer, or one of another shape.
    """
    maps = {name: np.asarray(values, np.float32) for name, values in maps.items()}
    require(
        maps and all(values.ndim in (1, 3) and values.size for values in maps.values()),
        "maps must be {layer: (rows, columns, channels) or (d,)}, at least one layer",
        {name: values.shape for name, values in maps.items()},
    )
    squares = [name for name, values in maps.items() if values.ndim == 3]
    lines = [name for name in maps if name not in squares]
    columns = min(4, 1 + len(squares))
    rows = -(-(1 + len(squares)) // columns)
    width = max(2.6 * columns, 6.5 if lines else 0)
    figure = Figure(figsize=(width, 2.95 * rows + 1.7 * len(lines) + 0.3), layout="constrained")
    grid = figure.add_gridspec(rows + len(lines), columns, height_ratios=[2.95] * rows + [1.7] * len(lines))
    axes = [figure.add_subplot(grid[i // columns, i % columns]) for i in range(1 + len(squares))]
    axes[0].imshow(to_rgb(image))
    axes[0].set_title("image", fontsize=9)
    for panel, name in zip(axes[1:], squares, strict=True):
        _channels(panel, name, maps[name])
    for panel in axes:
        panel.set_axis_off()
        panel.set_anchor("N")
    for row, name in enumerate(lines, start=rows):
        _line(figure.add_subplot(grid[row, :]), name, maps[name])
    figure.suptitle(caption(title, 40), fontsize=11)
    return figure


def _channels(axes, name, values):
    channels = values.shape[-1]
    kept = np.sort(np.argsort(-values.mean(axis=(0, 1)), kind="stable")[:CHANNELS])
    side = int(np.ceil(np.sqrt(len(kept))))
    rows, columns = values.shape[:2]
    # Gaps between the maps, thin beside a map of any size.
    gap = max(1, round(min(rows, columns) / 10)) if min(rows, columns) > 1 else 0
    square = np.full((-(-len(kept) // side) * (rows + gap) - gap, side * (columns + gap) - gap), np.nan, np.float32)
    for index, channel in enumerate(kept):
        top, left = index // side * (rows + gap), index % side * (columns + gap)
        square[top : top + rows, left : left + columns] = _stretched(values[..., channel])
    axes.imshow(square, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    number = f"{channels} channels" if len(kept) == channels else f"{len(kept)} strongest of {channels} channels"
    axes.set_title(f"{name}, {rows}x{columns}\n{number}", fontsize=9)


def _stretched(values):
    """From 0 to 1; all 0 for a map that is the same everywhere."""
    reach = np.ptp(values)
    return (values - values.min()) / reach if reach > 0 else np.zeros_like(values)


def _line(axes, name, values):
    axes.plot(values, color=COLOURS[0], linewidth=1, marker="." if len(values) <= 32 else None)
    axes.set_title(f"{name}, {len(values)} features", fontsize=9)
    axes.set_xlabel("feature", fontsize=8.5)
    axes.set_ylabel("value", fontsize=8.5)
    axes.tick_params(labelsize=8)
    axes.margins(x=0.01)
    axes.xaxis.get_major_locator().set_params(integer=True)
    plain(axes)
