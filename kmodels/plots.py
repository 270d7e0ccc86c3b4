"""Numbers to matplotlib figures. Nothing here trains, or reads or writes a file.

Figures are made without pyplot: no window opens, no global state grows, and the caller says where they go:
`figure.savefig("curves.png")`.
"""

import numpy as np
from matplotlib.figure import Figure

from kmodels.errors import require

# Colours that differ in lightness too, for colour-blind readers and grey prints (after Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D", "#B8A000")


def training_curves(records, labels=None):
    """Loss and accuracy over the epochs, side by side: training dashed, validation solid, the kept epoch marked.

    Args:
        records: Records with at least one finished epoch.
        labels: one for each record; None takes the last part of the experiment's name.

    Raises:
        InputError: if no record has a finished epoch.
    """
    records = list(records)
    labels = [record.experiment.name.split("/")[-1] for record in records] if labels is None else labels
    require(any(record.epochs_run for record in records), "curves need a record with a finished epoch", len(records))
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for i, (record, label) in enumerate(zip(records, labels, strict=True)):
        colour = COLOURS[i % len(COLOURS)]
        epochs = np.arange(1, record.epochs_run + 1)
        for axes, name, scale in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
            for prefix, style in (("", "--"), ("val_", "-")):
                values = _numbers(record.history[prefix + name]) * scale
                title = f"{label}, {'validation' if prefix else 'training'}"
                marker = "o" if len(epochs) == 1 else None
                axes.plot(epochs, values, style, color=colour, label=title, linewidth=1.4, marker=marker)
                if prefix and record.best_epoch:
                    axes.plot(record.best_epoch, values[record.best_epoch - 1], "o", color=colour, markersize=6)
    loss.set(title="Loss", xlabel="epoch", ylabel="cross entropy (nats)")
    accuracy.set(title="Accuracy", xlabel="epoch", ylabel="accuracy (%)")
    for axes in (loss, accuracy):
        axes.xaxis.get_major_locator().set_params(integer=True)
        _plain(axes)
    loss.legend(fontsize=8, frameon=False, title="dot: the epoch that was kept", title_fontsize=8)
    return figure


def confusion_matrix(matrix, class_names):
    """The confusion matrix with counts; the shade is the share of each row, the true class.

    Args:
        matrix: counts (classes, classes), rows true, columns predicted.
        class_names: one for each class.
    """
    matrix = np.asarray(matrix)
    n = len(class_names)
    require(matrix.shape == (n, n), f"matrix must be {n} x {n}, a row and a column for each class name", matrix.shape)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    side = 1.8 + 0.42 * n
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    for row in range(n):
        for column in range(n):
            axes.text(
                column,
                row,
                f"{matrix[row, column]}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if shares[row, column] > 0.55 else "#222222" if matrix[row, column] else "#BBBBBB",
            )
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, class_names)) > 2 else {}
    axes.set_xticks(range(n), class_names, fontsize=8, **slanted)
    axes.set_yticks(range(n), class_names, fontsize=8)
    axes.set(xlabel="predicted", ylabel="true")
    figure.colorbar(picture, ax=axes, shrink=0.75, label="share of the true class (%)")
    return figure


def per_class_accuracy(accuracies, class_names):
    """Bars, best class first, with each class's percentage.

    Args:
        accuracies: fractions of 1, None for a class without images.
        class_names: one for each class.
    """
    order = sorted(range(len(class_names)), key=lambda i: -1 if accuracies[i] is None else accuracies[i])
    figure = Figure(figsize=(6, 0.9 + 0.3 * len(class_names)), layout="constrained")
    axes = figure.subplots()
    values = [100 * (accuracies[i] or 0) for i in order]
    axes.barh(range(len(order)), values, color=COLOURS[0], height=0.7)
    for place, i in enumerate(order):
        text = "no image" if accuracies[i] is None else f"{100 * accuracies[i]:.1f}"
        axes.text(values[place] + 1, place, text, va="center", fontsize=8)
    axes.set_yticks(range(len(order)), [class_names[i] for i in order], fontsize=8)
    axes.set(xlabel="accuracy (%), best class first", ylabel="true class", xlim=(0, 108))
    _plain(axes)
    axes.grid(visible=False)
    return figure


def grad_cam_panels(images, maps, titles):
    """Three panels an image: the image, the heat map with its 0..1 colour bar, the image masked by the map.

    Args:
        images: (n, height, width, 3), 0..255.
        maps: (n, height, width) in [0, 1], from `grad_cam`.
        titles: one for each image.
    """
    images = np.asarray(images).astype(np.float32) / 255
    require(
        len(images) == len(maps) == len(titles) and len(images) > 0,
        "images, maps and titles must be equally many, at least one",
        (len(images), len(maps), len(titles)),
    )
    columns = 2 if len(images) > 3 else 1
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(5.6 * columns, 1.85 * rows), layout="constrained")
    grid = figure.subplots(rows, 3 * columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for i, (image, heat, title) in enumerate(zip(images, maps, titles, strict=True)):
        left, middle, right = grid[i % rows, 3 * (i // rows) : 3 * (i // rows) + 3]
        left.imshow(image, vmin=0, vmax=1)
        left.set_title(title, fontsize=9, loc="left")
        picture = middle.imshow(heat, cmap="jet", vmin=0, vmax=1)
        middle.set_title("heat map" if heat.max() > 0 else "no evidence: all 0", fontsize=8, color="#666666")
        bar = figure.colorbar(picture, ax=middle, fraction=0.046, pad=0.03, ticks=(0, 0.5, 1))
        bar.ax.tick_params(labelsize=7)
        right.imshow(image * heat[..., None], vmin=0, vmax=1)
        right.set_title("image x map", fontsize=8, color="#666666")
    return figure


def _numbers(values):
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _plain(axes):
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
